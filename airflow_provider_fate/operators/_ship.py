"""This package's own code as one file, for the machines that Spark runs on."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import airflow_provider_fate

#: what runs inside a Spark application; the rest needs Airflow
PARTS = ("__init__.py", "errors.py", "job", "runtime")
_PACKAGE = Path(airflow_provider_fate.__file__).parent


def application() -> str:
    """The script that spark-submit starts."""
    return str(_PACKAGE / "runtime" / "main.py")


def code_zip(cache_directory: Path | None = None) -> str:
    """A zip file of the code, made once for each state of it. The same code gives the same bytes.

    :param cache_directory: by default below the user's cache directory
    """
    content = _content()
    name = f"airflow_provider_fate-{hashlib.sha256(content).hexdigest()[:16]}.zip"
    directory = cache_directory or _private_directory()
    path = directory / name
    # what is run on a cluster is compared, not trusted for its name
    if not (path.is_file() and path.read_bytes() == content):
        descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".writing-")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    return str(path)


def _private_directory() -> Path:
    """A directory that only this user can write to."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-provider-fate"
    with contextlib.suppress(OSError):
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = wanted.stat()
        if state.st_uid == os.getuid() and not state.st_mode & 0o022 and os.access(wanted, os.W_OK):
            return wanted
    return _fallback()


@cache
def _fallback() -> Path:
    return Path(tempfile.mkdtemp(prefix="airflow-provider-fate-"))


def _content() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files():
            # a fixed date, so that the same code gives the same bytes
            entry = zipfile.ZipInfo(f"{_PACKAGE.name}/{path.relative_to(_PACKAGE).as_posix()}", (2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _files() -> list[Path]:
    found: list[Path] = []
    for part in PARTS:
        path = _PACKAGE / part
        found += [path] if path.is_file() else path.rglob("*.py")
    return sorted(found)
