"""Files below a root, wherever the root is."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import IO, Any

from airflow_provider_fate.errors import StorageError

#: ends the name of a small file that is not written to its end yet
DRAFT = ".writing"


class Storage(ABC):
    """Files below one root; paths are relative to it, with ``/`` between their parts.

    :param url: where the root is, as Spark reads it: ``hdfs://host:port/root`` or ``file:///root``
    """

    url: str

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file or directory at ``path``."""

    @abstractmethod
    def list(self, path: str) -> list[str]:
        """Names in the directory ``path``, sorted; empty where there is none."""

    @abstractmethod
    def size(self, path: str) -> int:
        """Bytes of the file at ``path``. :raises StorageError: there is none."""

    @abstractmethod
    def open_read(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """A stream of the file's bytes. :raises StorageError: it cannot be read."""

    @abstractmethod
    def open_write(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """A stream that makes a new file and its parents, replacing one that is there."""

    @abstractmethod
    def rename(self, source: str, target: str) -> None:
        """Move a file or directory; ``target`` must not exist, its parents are made."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete a file or a directory with all below it; no error where there is none."""

    def spark_path(self, path: str) -> str:
        """``path`` as Spark reads it."""
        return f"{self.url.rstrip('/')}/{path}"

    def read_bytes(self, path: str) -> bytes:
        with self.open_read(path) as stream:
            return stream.read()

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a small file so that a reader sees the old content or the new, never a part."""
        temporary = f"{path}{DRAFT}"
        with self.open_write(temporary) as stream:
            stream.write(content)
        self.replace(temporary, path)

    def replace(self, source: str, target: str) -> None:
        """Move a file over another one."""
        self.delete(target)
        self.rename(source, target)

    def replace_directory(self, source: str, target: str) -> None:
        """Move a directory to where another one may be, which is deleted only after that."""
        parent, _, name = target.rpartition("/")
        aside = f"{parent}/.{name}.{secrets.token_hex(6)}.old"
        if self.exists(target):
            self.rename(target, aside)
        self.rename(source, target)
        self.delete(aside)

    def read_json(self, path: str) -> Any:
        content = self.read_bytes(path)
        try:
            return json.loads(content)
        except ValueError as error:
            raise StorageError(f"{self.spark_path(path)} is not JSON: {error}") from error

    def write_json(self, path: str, value: Any) -> None:
        self.write_bytes(path, json.dumps(value, indent=1, sort_keys=True, default=str).encode())
