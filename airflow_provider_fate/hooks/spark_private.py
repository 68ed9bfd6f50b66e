"""What of a spark-submit command only its owner may see: files of mode 0600 in a directory of mode 0700."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

# Moving one too many into the file changes nothing: Spark reads a property there as it does from --conf.
_SECRET = re.compile(r"password|passwd|secret|token|credential|private.?key|api.?key|access.?key", re.IGNORECASE)


def owner_only(path: str, flags: int) -> int:
    """An ``opener`` for :func:`open`."""
    return os.open(path, flags, 0o600)


class PrivateFiles:
    """Files that live as long as the command runs.

    :param parent: where to make the directory for them; by default with the temporary files
    """

    def __init__(self, parent: str | os.PathLike[str] | None = None) -> None:
        self._parent = parent
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def write(self, name: str, content: bytes) -> str:
        """Make a file; gives its path."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="fate-spark-", dir=self._parent)  # mode 0700
        path = os.path.join(self._directory.name, name)
        with open(path, "wb", opener=owner_only) as stream:
            stream.write(content)
        return path

    def delete(self) -> None:
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None


def without_secrets(args: list[str], files: PrivateFiles, defaults: Callable[[], Path | None]) -> list[str]:
    """spark-submit's arguments with each secret property moved from the command line into a file.

    :param defaults: gives the spark-defaults.conf that Spark would read
    """
    kept: list[str] = []
    hidden: list[str] = []
    properties: str | None = None
    words = iter(args)
    for word in words:
        if word == "--properties-file":
            properties = next(words)
        elif word == "--conf":
            pair = next(words)
            if _SECRET.search(pair.partition("=")[0]):
                hidden.append(pair)
            else:
                kept += [word, pair]
        else:
            kept.append(word)
    if hidden:
        # Spark reads a file given by name instead of its defaults, so ours begins with these
        base = Path(properties) if properties else defaults()
        text = base.read_text() if base and base.is_file() else ""
        lines = [property_line(*pair.split("=", 1)) for pair in hidden]
        properties = files.write("spark.conf", "\n".join([text, *lines, ""]).encode())
    return [*kept, *(["--properties-file", properties] if properties else [])]


def property_line(name: str, value: str) -> str:
    """One line of a Java properties file."""
    name = re.sub(r"([\\=:\s#!])", r"\\\1", name)
    value = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{name}=\\{value}" if value[:1] in (" ", "\t") else f"{name}={value}"
