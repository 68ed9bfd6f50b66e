"""Names: which ones are safe in a path, and which known name a wrong one is nearest to."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from airflow_provider_fate.errors import ConfigError

#: A name becomes one segment of a path in HDFS, on a local disk and in a URL. So: it starts with a letter or digit
#: (a leading dot or underscore hides a file from Hadoop), holds no slash, no colon (HDFS forbids it), no equals sign
#: (Spark reads ``k=v`` directories as partitions), no percent sign and no space. ``#`` is in FATE's model ids.
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.#~+@-]*")
SAFE_WORDS = "ASCII letters, digits and _ . # ~ + @ -, starting with a letter or digit, without '..'"
MAX_LENGTH = 200
#: of a job id: it is a part of queue names, which have 255 bytes at most
JOB_ID_LENGTH = 128
_SHOWN = 80

_COMPONENT = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, order=True)
class TableName:
    """The name of a table.

    :param namespace: groups tables
    :param name: within the namespace
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def short(value: Any) -> str:
    """``repr`` of a value for a message, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def text_of(value: Any, path: str) -> str:
    """An id that FATE writes as a number or as text, as text.

    :raises ConfigError: for any other type
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ConfigError(path, f"expected text or a number, got {short(value)}")


def check_name(value: Any, path: str) -> str:
    """A name that is safe as a part of a path: of a table, namespace, model, model version or job.

    :param value: text, or a number, which becomes text
    :param path: where it stands, for the error
    :raises ConfigError: unless it is up to 200 characters of :data:`SAFE`
    """
    text = text_of(value, path)
    if len(text) > MAX_LENGTH:
        raise ConfigError(path, f"a name of {len(text)} characters; at most {MAX_LENGTH} are allowed: {short(text)}")
    if not SAFE.fullmatch(text) or ".." in text:
        raise ConfigError(path, f"{short(text)} is not a safe name; expected {SAFE_WORDS}")
    return text


def check_job_id(value: Any) -> str:
    """A job's id, which names queues and directories.

    :raises ConfigError: unless it is up to 128 characters of :data:`SAFE`
    """
    text = check_name(value, "job_id")
    if len(text) > JOB_ID_LENGTH:
        raise ConfigError("job_id", f"a job id of {len(text)} characters; at most {JOB_ID_LENGTH} are allowed")
    return text


def job_id_of(text: str) -> str:
    """Any text as a job id: what is not allowed becomes ``-``, with a digest so that different texts stay different.

    A text that is a job id already stays as it is. Meant for ids made from Airflow's run ids.
    """
    if SAFE.fullmatch(text) and ".." not in text and len(text) <= JOB_ID_LENGTH:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    kept = re.sub(r"[^A-Za-z0-9_#~+@-]+", "-", text).lstrip("_#~+@-")[: JOB_ID_LENGTH - 20].rstrip("-")
    return f"{kept}-{digest}" if kept else f"n-{digest}"


def check_component(value: Any, path: str) -> str:
    """The name of a component in a DSL, such as ``hetero_lr_0``; it also stands in tags and file names.

    :raises ConfigError: unless it is up to 100 letters, digits and underscores, starting with a letter
    """
    if not isinstance(value, str) or len(value) > 100 or not _COMPONENT.fullmatch(value):
        raise ConfigError(
            path,
            f"{short(value)} is not a component name; expected up to 100 ASCII letters, digits and underscores, "
            "starting with a letter, such as hetero_lr_0",
        )
    return value


def nearest(name: Any, known: Iterable[str]) -> str | None:
    """The known name that ``name`` was most likely meant to be, or ``None``."""
    if not isinstance(name, str) or len(name) > MAX_LENGTH:
        return None
    by_lower: dict[str, str] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), candidate)
    found = difflib.get_close_matches(name.lower(), by_lower, n=5, cutoff=0.6)
    # Of equally near ones the first by name, so x_0 before x_1.
    ranked = sorted(found, key=lambda near: (-difflib.SequenceMatcher(None, near, name.lower()).ratio(), near))
    return by_lower[ranked[0]] if ranked else None


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """What to add to the message about an unknown name: the nearest known one, or the whole list where it is short."""
    known = list(known)
    guess = nearest(name, known)
    if guess is not None:
        return f"did you mean {guess}?"
    if not known:
        return "none is known here"
    if len(known) <= 16:
        return f"expected one of {', '.join(known)}"
    return f"expected one of {', '.join(known[:16])}, ... ({len(known)} in all)"
