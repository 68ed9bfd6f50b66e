"""The jobs in tests/data/jobs, and changes to them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "data" / "jobs"


def load(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Conf and DSL of an example: ``toy``, ``hetero_lr_v1`` or ``hetero_lr_v2``."""
    conf, dsl = (json.loads((DATA / f"{name}_{kind}.json").read_text()) for kind in ("conf", "dsl"))
    return conf, dsl


def changed(value: Any, path: str, new: Any) -> Any:
    """A copy of ``value`` with something else at ``path``, keys separated by slashes."""
    result = copy.deepcopy(value)
    *steps, last = path.split("/")
    inner = result
    for step in steps:
        inner = inner[int(step)] if isinstance(inner, list) else inner.setdefault(step, {})
    inner[int(last) if isinstance(inner, list) else last] = new
    return result


def without(value: Any, path: str) -> Any:
    """A copy of ``value`` without what is at ``path``."""
    result = copy.deepcopy(value)
    *steps, last = path.split("/")
    inner = result
    for step in steps:
        inner = inner[step]
    del inner[last]
    return result
