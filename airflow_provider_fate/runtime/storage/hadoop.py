"""Storage in HDFS (or any file system that Hadoop knows), through the JVM of the Spark application.

Kerberos tickets, delegation tokens and Hadoop's configuration are Spark's: nothing is configured twice. Meant for
descriptions, models and small tables; large tables are read and written by Spark itself.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import IO, Any

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.runtime.storage.base import Storage

#: seconds between two attempts
_PAUSE = 1.0
#: errors by which Hadoop says that a NameNode or DataNode cannot be reached at the moment
_AWAY = (
    "BlockMissingException", "ConnectException", "ConnectTimeoutException", "NoRouteToHostException",
    "RetriableException", "SafeModeException", "StandbyException",
)  # fmt: skip
#: the same, in words: the NameNode has no DataNode for a block, or the one that took it has gone
_NO_DATANODE = ("could only be written to", "could only be replicated to", "are bad. Aborting")


class HadoopStorage(Storage):
    """Files below an URL such as ``hdfs://namenode:8020/fate``.

    What cannot be done as a NameNode or DataNode is away is tried again for :attr:`patience` seconds, once the file
    system has served at all: an address that is wrong from the first is told at once.

    :param url: the root
    """

    #: seconds that a server of the file system may be away
    patience = 60.0

    def __init__(self, url: str) -> None:
        from pyspark import SparkContext

        self.url = url.rstrip("/")
        # the JVM that spark-submit started; no SparkContext, so no executors, are needed for files
        SparkContext._ensure_initialized()
        self._jvm: Any = SparkContext._jvm
        self._gateway: Any = SparkContext._gateway
        self._served = False
        self._files = self._try(
            "",
            "open",
            lambda: self._jvm.org.apache.hadoop.fs.FileSystem.get(
                self._jvm.java.net.URI(self.url), self._jvm.org.apache.spark.deploy.SparkHadoopUtil.get().conf()
            ),
        )
        self._served = False  # so far it is a name

    def _path(self, path: str) -> Any:
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise StorageError(f"{path!r} is not a path below the storage root")
        # parent and child: a name with '#' or ':' is not read as part of an URI
        return self._jvm.org.apache.hadoop.fs.Path(
            self._jvm.org.apache.hadoop.fs.Path(self.url), self._jvm.org.apache.hadoop.fs.Path(None, None, path)
        )

    def _try(self, path: str, action: str, function: Callable[[], Any]) -> Any:
        """Do something with a file; again for a while, where a server of the file system is away.

        :raises StorageError: it cannot be done, and why
        """
        from py4j.protocol import Py4JJavaError

        began = time.monotonic()
        while True:
            try:
                answer = function()
                self._served = True
                return answer
            except Py4JJavaError as error:
                cause = error.java_exception
                name = cause.getClass().getSimpleName()
                reason = str(cause.getMessage()).splitlines()[0] if cause.getMessage() else ""
                waited = time.monotonic() - began
                if waited > self.patience or not self._served or not _passes(name, reason):
                    tried = f" (tried for {waited:.0f} s)" if waited > self.patience else ""
                    raise StorageError(f"cannot {action} {self.spark_path(path)}: {name}: {reason}{tried}") from None
            time.sleep(_PAUSE)

    def exists(self, path: str) -> bool:
        return self._try(path, "look for", lambda: bool(self._files.exists(self._path(path))))

    def list(self, path: str) -> list[str]:
        def names() -> list[str]:
            target = self._path(path)
            if not self._files.exists(target):
                return []
            return sorted(entry.getPath().getName() for entry in self._files.listStatus(target))

        return self._try(path, "list", names)

    def size(self, path: str) -> int:
        return self._try(path, "read", lambda: int(self._files.getFileStatus(self._path(path)).getLen()))

    @contextmanager
    def open_read(self, path: str) -> Iterator[IO[bytes]]:
        def content() -> bytes:
            stream = self._files.open(self._path(path))
            try:
                return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
            finally:
                stream.close()

        yield io.BytesIO(self._try(path, "read", content))

    @contextmanager
    def open_write(self, path: str) -> Iterator[IO[bytes]]:
        buffer = io.BytesIO()
        yield buffer

        def write() -> None:
            stream = self._files.create(self._path(path), True)
            try:
                stream.write(bytearray(buffer.getvalue()))
            finally:
                stream.close()

        self._try(path, "write", write)

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
        def move() -> None:
            to = self._path(target)
            if self._files.exists(to):
                raise StorageError(f"{self.spark_path(target)} exists already")
            self._files.mkdirs(to.getParent())
            if self._context is not None:  # refuses what has come up meanwhile, too
                self._rename(source, target, "NONE")
            elif not self._files.rename(self._path(source), to):
                raise StorageError(f"cannot move {self.spark_path(source)} to {self.spark_path(target)}")

        self._try(source, f"move to {target}", move)

    def replace(self, source: str, target: str) -> None:
        if self._context is None:
            super().replace(source, target)
            return
        self._try(source, f"move to {target}", lambda: self._rename(source, target, "OVERWRITE"))

    def delete(self, path: str) -> None:
        self._try(path, "delete", lambda: self._files.delete(self._path(path), True))


def _passes(name: str, reason: str) -> bool:
    """Whether an error of Hadoop's says that a server is away, in which case nothing was done yet."""
    return name in _AWAY or any(words in reason for words in _NO_DATANODE)
