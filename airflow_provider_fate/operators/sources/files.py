"""Files a source reads: on this machine or in a storage, packed or not."""

from __future__ import annotations

import fnmatch
import glob
import io
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from airflow_provider_fate.errors import ConfigError, DataError, StorageError

if TYPE_CHECKING:
    from airflow_provider_fate.runtime.storage.base import Storage

PACKED = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
PARQUET = (".parquet", ".pq")
_SPECIAL = frozenset("*?[")


def suffix(path: str) -> str:
    """The file's kind, without what it is packed with: ``.csv`` of ``rows.csv.gz``."""
    pure = PurePosixPath(path)
    if pure.suffix.lower() in PACKED:
        pure = pure.with_suffix("")
    return pure.suffix.lower()


def is_parquet(path: str) -> bool:
    return suffix(path) in PARQUET


class Files(ABC):
    """An ordered set of files.

    :param paths: as the user would name them
    """

    paths: list[str]

    @abstractmethod
    def raw(self, path: str) -> contextmanager[IO[bytes]]:
        """The file's bytes as they are."""

    @contextmanager
    def open(self, path: str) -> Iterator[pa.NativeFile]:
        """The file's content, unpacked as its name says."""
        with self.raw(path) as stream:
            packing = PACKED.get(PurePosixPath(path).suffix.lower())
            native = stream if isinstance(stream, pa.NativeFile) else pa.PythonFile(stream, mode="r")
            yield pa.CompressedInputStream(native, packing) if packing else native

    @contextmanager
    def text(self, path: str) -> Iterator[io.TextIOWrapper]:
        """The file's lines; bytes that are not UTF-8 are kept as surrogates."""
        with self.open(path) as stream:
            yield io.TextIOWrapper(
                io.BufferedReader(_Raw(stream), 1 << 20), encoding="utf-8-sig", errors="surrogateescape", newline=""
            )

    @contextmanager
    def seekable(self, path: str) -> Iterator[pa.NativeFile]:
        """The file's unpacked content with random access; by way of a temporary file where it has none."""
        with tempfile.TemporaryFile(prefix="fate-upload-") as copy, self.open(path) as stream:
            while chunk := stream.read(1 << 22):
                copy.write(chunk)
            copy.seek(0)
            yield pa.PythonFile(copy, mode="r")


class LocalFiles(Files):
    """Files, directories and globs on this machine.

    :raises ConfigError: a path matches nothing
    """

    def __init__(self, source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        wanted = [source] if isinstance(source, (str, os.PathLike)) else list(source)
        if not wanted:
            raise ConfigError("source", "names no file")
        self.paths = []
        for item in wanted:
            self.paths.extend(self._expand(os.path.expanduser(os.fspath(item))))

    @staticmethod
    def _expand(item: str) -> list[str]:
        path = Path(item)
        if path.is_dir():
            found = [str(p) for p in sorted(path.iterdir()) if p.is_file() and p.name[0] not in "._"]
            if not found:
                raise ConfigError("source", f"the directory {item} holds no file")
            return found
        if path.is_file():
            return [item]
        if _SPECIAL & set(item):
            found = sorted(p for p in glob.glob(item, recursive=True) if os.path.isfile(p))
            if not found:
                raise ConfigError("source", f"no file matches {item}")
            return found
        where = "" if path.is_absolute() else f" (looked for in {os.getcwd()})"
        raise ConfigError("source", f"there is no file {item}{where}; expected a file, a directory or a glob")

    @contextmanager
    def raw(self, path: str) -> Iterator[pa.NativeFile]:
        try:
            stream = pa.OSFile(path, "r")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        with stream:
            yield stream

    @contextmanager
    def seekable(self, path: str) -> Iterator[pa.NativeFile]:
        if PurePosixPath(path).suffix.lower() in PACKED:
            with super().seekable(path) as stream:
                yield stream
        else:
            with self.raw(path) as stream:
                yield stream


class StorageFiles(Files):
    """Files, directories and globs (in the last part of the path) in a storage such as HDFS.

    :param storage: where they are
    :param source: paths below the storage's root, or with the root's own URL in front
    """

    def __init__(self, storage: Storage, source: str | Sequence[str]) -> None:
        self.storage = storage
        self.paths = []
        for item in [source] if isinstance(source, str) else list(source):
            self.paths.extend(self._expand(self._below_root(item)))
        if not self.paths:
            raise ConfigError("source", "names no file")

    def _below_root(self, item: str) -> str:
        root = self.storage.url.rstrip("/") + "/"
        if item.startswith(root):
            return item[len(root) :].strip("/")
        if "://" in item:
            raise ConfigError("source", f"{item} is not below {root}, which is what the connection reaches")
        return item.strip("/")

    def _expand(self, item: str) -> list[str]:
        parent, _, last = item.rpartition("/")
        if _SPECIAL & set(last):
            names = fnmatch.filter(self.storage.list(parent), last)
            found = [f"{parent}/{name}" if parent else name for name in names]
            if not found:
                raise ConfigError("source", f"no file matches {self.storage.spark_path(item)}")
            return found
        if not self.storage.exists(item):
            raise ConfigError("source", f"there is no file {self.storage.spark_path(item)}")
        if inside := self._inside(item):
            return [f"{item}/{name}" for name in inside if name[0] not in "._"]
        return [item]

    def _inside(self, item: str) -> list[str]:
        try:
            return [name for name in self.storage.list(item) if name != item.rpartition("/")[2]]
        except StorageError:  # a file
            return []

    @contextmanager
    def raw(self, path: str) -> Iterator[IO[bytes]]:
        with self.storage.open_read(path) as stream:
            yield stream


class _Raw(io.RawIOBase):
    """Arrow's stream as Python's buffered reader wants it."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
