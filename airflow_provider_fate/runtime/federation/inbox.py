"""What has arrived from one peer in one session: pieces put together, each value once."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from airflow_provider_fate.runtime.federation.messages import Data, printable


@dataclass(frozen=True)
class Limits:
    """Bounds on what a peer can make this party keep.

    :param value: bytes of one encoded value
    :param chunks: pieces of one value
    :param unread: bytes of all the values from one peer that nobody has received yet
    :param held: the same, from which on a party that waits for nothing takes no more for now
    :param values: number of those
    :param ahead: how far the numbers of values may be ahead of the first that is missing
    """

    value: int = 4 << 30
    chunks: int = 1 << 20
    unread: int = 8 << 30
    held: int = 1 << 28
    values: int = 1_000_000
    ahead: int = 100_000


class _Pieces:
    """A value of which some pieces have arrived."""

    def __init__(self, first: Data) -> None:
        self.key = (first.tag, first.chunks, first.size)
        self.length = -(-first.size // first.chunks)
        # Memory is touched only where pieces are written, so that a large size alone costs nothing.
        self.buffer = np.empty(first.size, np.uint8)
        self.have: set[int] = set()


class Inbox:
    """Values from one peer, by tag. Not thread-safe: the session holds its lock."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._values: dict[str, np.ndarray] = {}
        self._pieces: dict[int, _Pieces] = {}
        self._tags: set[str] = set()
        self._next = 0  # the first number whose value is not complete
        self._complete: set[int] = set()  # later numbers whose values are
        self._unread = 0
        self._expected = 0
        self._missing: tuple[int, float] | None = None  # the first missing number, and since when

    def add(self, data: Data, payload: memoryview) -> bool:
        """Take one piece; a piece that has been there is ignored.

        :returns: whether a value is complete by it
        :raises ValueError: it does not fit the protocol or the bounds
        """
        where = f"value {data.sequence} ({printable(data.tag)!r})"
        if data.sequence < self._next or data.sequence in self._complete:
            return False
        if data.sequence - self._next > self.limits.ahead:
            raise ValueError(f"{where} came while value {self._next} is missing")
        pieces = self._pieces.get(data.sequence)
        if pieces is None:
            pieces = self._begin(data, where)
        elif pieces.key != (data.tag, data.chunks, data.size):
            raise ValueError(f"{where}: its pieces contradict each other")
        if data.chunk >= data.chunks:
            raise ValueError(f"{where}: piece {data.chunk} of {data.chunks}")
        start = data.chunk * pieces.length
        end = min(start + pieces.length, data.size)
        if len(payload) != end - start:
            raise ValueError(f"{where}: piece {data.chunk} has {len(payload)} bytes, expected {end - start}")
        if data.chunk in pieces.have:
            return False
        pieces.buffer[start:end] = payload
        pieces.have.add(data.chunk)
        if len(pieces.have) < data.chunks:
            return False
        self._finish(data, pieces)
        return True

    def _begin(self, data: Data, where: str) -> _Pieces:
        if data.size > self.limits.value:
            raise ValueError(f"{where} has {data.size} bytes, at most {self.limits.value} are taken")
        if data.chunks > self.limits.chunks or -(-data.size // -(-data.size // data.chunks)) != data.chunks:
            raise ValueError(f"{where}: {data.chunks} pieces of {data.size} bytes")
        if data.tag in self._tags:
            raise ValueError(f"{where}: the tag has been used before")
        if self._unread + data.size > self.limits.unread or len(self._values) >= self.limits.values:
            raise ValueError(
                f"{where}: {len(self._values)} values of {self._unread} bytes from this peer have not been received "
                f"yet; at most {self.limits.values} values of {self.limits.unread} bytes are kept"
            )
        try:
            pieces = self._pieces[data.sequence] = _Pieces(data)
        except MemoryError:
            raise ValueError(f"{where} has {data.size} bytes, for which there is no memory") from None
        self._tags.add(data.tag)
        self._unread += data.size
        return pieces

    def _finish(self, data: Data, pieces: _Pieces) -> None:
        del self._pieces[data.sequence]
        self._values[data.tag] = pieces.buffer
        self._complete.add(data.sequence)
        while self._next in self._complete:
            self._complete.discard(self._next)
            self._next += 1

    def take(self, tag: str) -> np.ndarray | None:
        """The encoded value of ``tag``, once; None where it is not there."""
        value = self._values.pop(tag, None)
        if value is not None:
            self._unread -= len(value)
        return value

    @property
    def unread(self) -> int:
        """Bytes of the values, those included of which pieces are missing, that nobody has received yet."""
        return self._unread

    def taken(self, tag: str) -> bool:
        """Whether the value of ``tag`` was there and has been taken."""
        return tag in self._tags and tag not in self._values and all(p.key[0] != tag for p in self._pieces.values())

    def expect(self, sent: int) -> None:
        """The peer says that it has sent ``sent`` values, all of them before it said so."""
        self._expected = max(self._expected, sent)

    @property
    def behind(self) -> bool:
        """Whether values are missing that the peer said it has sent."""
        return self._next < self._expected

    def lost(self, patience: float) -> int | None:
        """The number of a value that has been missing for ``patience`` seconds, though it was sent."""
        if not self.behind:
            self._missing = None
        elif self._missing is None or self._missing[0] != self._next:
            self._missing = (self._next, time.monotonic())
        elif time.monotonic() - self._missing[1] > patience:
            return self._next
        return None
