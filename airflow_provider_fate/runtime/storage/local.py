"""Storage in a local directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.runtime.storage.base import Storage


class LocalStorage(Storage):
    """Files below a local directory, which is made when something is written, readable for its owner alone.

    :param root: an absolute path
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        if not self.root.is_absolute():
            raise StorageError(f"the storage root {str(root)!r} is not an absolute path")
        self.url = self.root.as_uri()

    def _path(self, path: str) -> Path:
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise StorageError(f"{path!r} is not a path below the storage root")
        return self.root.joinpath(*parts)

    @contextmanager
    def _named_errors(self, path: str, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot {action} {self._path(path)}: {error.strerror or error}") from error

    def spark_path(self, path: str) -> str:
        # not the URL: Hadoop takes the text as it stands, and would look for a directory named my%20data
        return f"file://{self._path(path)}"

    def exists(self, path: str) -> bool:
        return self._path(path).exists()

    def list(self, path: str) -> list[str]:
        with self._named_errors(path, "list"):
            try:
                return sorted(os.listdir(self._path(path)))
            except FileNotFoundError:
                return []

    def size(self, path: str) -> int:
        with self._named_errors(path, "read"):
            return self._path(path).stat().st_size

    @contextmanager
    def open_read(self, path: str) -> Iterator[IO[bytes]]:
        with self._named_errors(path, "read"):
            stream = self._path(path).open("rb")
        with stream:
            yield stream

    @contextmanager
    def open_write(self, path: str) -> Iterator[IO[bytes]]:
        target = self._path(path)
        with self._named_errors(path, "write"):
            _private_directory(target.parent)
            stream = open(target, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        with stream:
            yield stream

    def rename(self, source: str, target: str) -> None:
        with self._named_errors(source, f"move to {target}"):
            to = self._path(target)
            if to.exists():
                raise StorageError(f"{to} exists already")
            _private_directory(to.parent)
            self._path(source).rename(to)

    def replace(self, source: str, target: str) -> None:
        with self._named_errors(source, f"move to {target}"):
            self._path(source).replace(self._path(target))

    def delete(self, path: str) -> None:
        with self._named_errors(path, "delete"):
            target = self._path(path)
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)


def _private_directory(path: Path) -> None:
    """Make a directory and its parents, for this account alone."""
    for parent in (*reversed(path.parents), path):
        if not parent.exists():
            parent.mkdir(mode=0o700, exist_ok=True)
