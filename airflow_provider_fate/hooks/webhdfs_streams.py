"""Byte streams over WebHDFS: a download that seeks, and an upload from a thread of its own."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import requests
import urllib3

#: bytes that one HTTP chunk of an upload holds
CHUNK = 1 << 20
#: chunks of an upload that wait while another is on its way; bounds memory
WAITING = 3


class Download(io.RawIOBase):
    """A file's bytes from any position; goes on where it was when a datanode drops the connection."""

    _TRIES = 3

    def __init__(self, client: Any, path: str) -> None:
        self._client = client
        self._path = path
        self._length = int(client.status(path)["length"])
        self._position = 0
        self._answer: requests.Response | None = None
        self._open()

    def _open(self) -> None:
        self._drop()
        if self._position < self._length:
            self._answer = self._client._open(self._path, offset=self._position)

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        position = max(0, base + offset)
        if position != self._position:
            self._position = position
            self._drop()
        return position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._length:
            return 0
        for attempt in range(1, self._TRIES + 1):
            try:
                if self._answer is None:
                    self._open()
                count = self._answer.raw.readinto(buffer)  # type: ignore[union-attr]
                if not count:
                    raise urllib3.exceptions.IncompleteRead(self._position, self._length - self._position)
            except (urllib3.exceptions.HTTPError, requests.RequestException):
                self._drop()
                if attempt == self._TRIES:
                    raise
            else:
                self._position += count
                return count
        return 0

    def close(self) -> None:
        self._drop()
        super().close()


class _Aborted(Exception):
    """The caller gave up: the upload ends in the middle."""


class Upload(io.RawIOBase):
    """Takes bytes and sends them from a thread of its own, so that making and sending overlap."""

    _END = object()

    def __init__(self, client: Any, path: str) -> None:
        self.error: BaseException | None = None
        self.begun = False
        self._client = client
        self._path = path
        self._count = 0
        self._buffer = bytearray()
        self._chunks: queue.Queue[Any] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._send, name="webhdfs-upload", daemon=True)
        self._thread.start()

    def _send(self) -> None:
        try:
            self._client.put(self._path, self._take())
        except _Aborted:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the writing thread
            self.error = error

    def _take(self) -> Iterator[Any]:
        self.begun = True
        while (chunk := self._chunks.get()) is not self._END:
            if chunk is None:
                raise _Aborted
            yield chunk

    def _put(self, chunk: Any) -> None:
        while True:
            if not self._thread.is_alive():
                raise self.error or RuntimeError("the upload has ended")
            try:
                return self._chunks.put(chunk, timeout=0.2)
            except queue.Full:
                continue

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._count

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        self._count += size
        if not self._buffer and size >= CHUNK:
            # bytes never change and can wait as they are; a buffer may be the caller's to use again
            whole = view if isinstance(data, bytes) else memoryview(bytes(view))
            for start in range(0, size, CHUNK):
                self._put(whole[start : start + CHUNK])
            return size
        self._buffer += view
        if len(self._buffer) >= CHUNK:
            self._put(self._buffer)
            self._buffer = bytearray()
        return size

    def close(self) -> None:
        """Send the rest and wait until HDFS has all of it."""
        if self.closed:
            return
        try:
            if self._buffer:
                self._put(self._buffer)
            self._put(self._END)
            self._thread.join()
            if self.error is not None:
                raise self.error
        finally:
            super().close()

    def abort(self) -> None:
        """End without the rest."""
        if not self.closed:
            with suppress(Exception):  # it has ended by itself
                self._put(None)
            self._thread.join(self._client.seconds)
            super().close()
