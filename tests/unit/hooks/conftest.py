"""Connections as Airflow reads them, from the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """``connect(conn_type, host=..., extra={...})`` makes a connection and gives its id."""
    count = 0

    def make(conn_type: str, **fields: Any) -> str:
        nonlocal count
        count += 1
        conn_id = f"made_{count}"
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": conn_type, **fields}))
        return conn_id

    yield make
