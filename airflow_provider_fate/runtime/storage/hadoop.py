"""Storage in HDFS (or any file system that Hadoop knows), through the JVM of the Spark application.

Kerberos tickets, delegation tokens and Hadoop's configuration are Spark's: nothing is configured twice. Meant for
descriptions, models and small tables; large tables are read and written by Spark itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import IO, Any

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.runtime.storage.base import Storage


class HadoopStorage(Storage):
    """Files below an URL such as ``hdfs://namenode:8020/fate``.

    :param url: the root
    """

    def __init__(self, url: str) -> None:
        from pyspark import SparkContext

        self.url = url.rstrip("/")
        # the JVM that spark-submit started; no SparkContext, so no executors, are needed for files
        SparkContext._ensure_initialized()
        self._jvm: Any = SparkContext._jvm
        self._gateway: Any = SparkContext._gateway
        with self._named_errors("", "open"):
            self._files = self._jvm.org.apache.hadoop.fs.FileSystem.get(
                self._jvm.java.net.URI(self.url), self._jvm.org.apache.spark.deploy.SparkHadoopUtil.get().conf()
            )

    def _path(self, path: str) -> Any:
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise StorageError(f"{path!r} is not a path below the storage root")
        # parent and child: a name with '#' or ':' is not read as part of an URI
        return self._jvm.org.apache.hadoop.fs.Path(
            self._jvm.org.apache.hadoop.fs.Path(self.url), self._jvm.org.apache.hadoop.fs.Path(None, None, path)
        )

    @contextmanager
    def _named_errors(self, path: str, action: str) -> Iterator[None]:
        from py4j.protocol import Py4JJavaError

        try:
            yield
        except Py4JJavaError as error:
            cause = error.java_exception
            reason = str(cause.getMessage()).splitlines()[0] if cause.getMessage() else ""
            raise StorageError(
                f"cannot {action} {self.spark_path(path)}: {cause.getClass().getSimpleName()}: {reason}"
            ) from None

    def exists(self, path: str) -> bool:
        with self._named_errors(path, "look for"):
            return bool(self._files.exists(self._path(path)))

    def list(self, path: str) -> list[str]:
        with self._named_errors(path, "list"):
            target = self._path(path)
            if not self._files.exists(target):
                return []
            return sorted(entry.getPath().getName() for entry in self._files.listStatus(target))

    def size(self, path: str) -> int:
        with self._named_errors(path, "read"):
            return int(self._files.getFileStatus(self._path(path)).getLen())

    @contextmanager
    def open_read(self, path: str) -> Iterator[IO[bytes]]:
        with self._named_errors(path, "read"):
            stream = self._files.open(self._path(path))
            try:
                content = bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
            finally:
                stream.close()
        yield io.BytesIO(content)

    @contextmanager
    def open_write(self, path: str) -> Iterator[IO[bytes]]:
        buffer = io.BytesIO()
        yield buffer
        with self._named_errors(path, "write"):
            stream = self._files.create(self._path(path), True)
            try:
                stream.write(bytearray(buffer.getvalue()))
            finally:
                stream.close()

    @cached_property
    def _context(self) -> Any:
        """The interface of Hadoop's that renames in one step, ``None`` where the file system has none."""
        from py4j.protocol import Py4JJavaError

        try:
            return self._jvm.org.apache.hadoop.fs.FileContext.getFileContext(
                self._jvm.java.net.URI(self.url), self._jvm.org.apache.spark.deploy.SparkHadoopUtil.get().conf()
            )
        except Py4JJavaError as error:
            if error.java_exception.getClass().getSimpleName() != "UnsupportedFileSystemException":
                raise
            return None

    def _rename(self, source: str, target: str, option: str) -> None:
        """Rename with one of the names of ``Options.Rename``; the parent of ``target`` is there."""
        kind = self._jvm.org.apache.hadoop.fs.Options.Rename
        options = self._gateway.new_array(kind, 1)
        options[0] = kind.valueOf(option)
        self._context.rename(self._path(source), self._path(target), options)

    def rename(self, source: str, target: str) -> None:
        with self._named_errors(source, f"move to {target}"):
            to = self._path(target)
            if self._files.exists(to):
                raise StorageError(f"{self.spark_path(target)} exists already")
            self._files.mkdirs(to.getParent())
            if self._context is not None:  # refuses what has come up meanwhile, too
                self._rename(source, target, "NONE")
            elif not self._files.rename(self._path(source), to):
                raise StorageError(f"cannot move {self.spark_path(source)} to {self.spark_path(target)}")

    def replace(self, source: str, target: str) -> None:
        if self._context is None:
            super().replace(source, target)
            return
        with self._named_errors(source, f"move to {target}"):
            self._rename(source, target, "OVERWRITE")

    def delete(self, path: str) -> None:
        with self._named_errors(path, "delete"):
            self._files.delete(self._path(path), True)
