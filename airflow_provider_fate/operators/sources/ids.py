"""Find ids that occur twice, in bounded memory, whatever the number of rows."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

_BUCKETS = 256
_RECORD = np.dtype([("low", "<u8"), ("high", "<u8"), ("row", "<u8")])


class IdCheck:
    """Collects a 128-bit hash of each id and, at the end, says which rows may have the same id.

    Up to ``in_memory`` ids are kept in memory (24 bytes each); more go to files, one per leading byte of the hash,
    which are looked through one after the other.

    The hash is keyed with random numbers, so that nobody can prepare ids that collide; ids that differ collide with
    a chance below 1e-18 for 1e9 rows, and the caller compares the ids themselves before it complains.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, in_memory: int = 2_000_000) -> None:
        self._parent = directory
        self._in_memory = in_memory
        self._held: list[np.ndarray] = []
        self._held_rows = 0
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._keys = [secrets.randbits(64) | 1 for _ in range(4)]
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._directory is not None:
            self._directory.cleanup()

    def add(self, ids: pa.Array | pa.ChunkedArray) -> None:
        """Take the next ids (strings without nulls)."""
        if isinstance(ids, pa.ChunkedArray):
            ids = ids.combine_chunks()
        records = np.empty(len(ids), dtype=_RECORD)
        records["low"], records["high"] = self._hash(ids)
        records["row"] = np.arange(self.rows, self.rows + len(ids), dtype=np.uint64)
        self.rows += len(ids)
        self._held.append(records)
        self._held_rows += len(ids)
        if self._held_rows >= self._in_memory:
            self._spill()

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Pairs of row numbers, smaller first, whose ids have the same hash."""
        if self._directory is None:
            yield from _pairs(np.concatenate(self._held) if self._held else np.empty(0, _RECORD))
            return
        self._spill()
        for bucket in range(_BUCKETS):
            path = Path(self._directory.name, f"{bucket:03d}")
            if path.exists():
                yield from _pairs(np.fromfile(path, dtype=_RECORD))

    def _spill(self) -> None:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="fate-ids-", dir=self._parent)
        if not self._held:
            return
        records = np.concatenate(self._held)
        self._held, self._held_rows = [], 0
        bucket = (records["low"] >> np.uint64(56)).astype(np.uint8)
        order = np.argsort(bucket, kind="stable")
        records = records[order]
        ends = np.cumsum(np.bincount(bucket, minlength=_BUCKETS))
        start = 0
        for number, end in enumerate(ends):
            if end > start:
                with Path(self._directory.name, f"{number:03d}").open("ab") as file:
                    records[start:end].tofile(file)
            start = end

    def _hash(self, ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Two keyed 64-bit hashes per string: words of 8 bytes are mixed in, one after the other."""
        ids = ids.cast(pa.large_string())
        _, offsets_buffer, data_buffer = ids.buffers()
        offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[ids.offset : ids.offset + len(ids) + 1]
        data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
        starts, lengths = offsets[:-1], np.diff(offsets)
        longest = int(lengths.max()) if len(lengths) else 0
        # unaligned 8-byte loads: eight more bytes keep the last load inside the buffer
        data = np.concatenate([data[: offsets[-1]] if len(offsets) else data, np.zeros(8, np.uint8)])
        windows = np.lib.stride_tricks.as_strided(
            data[:8].view(np.uint64), shape=(max(len(data) - 7, 1),), strides=(1,), writeable=False
        )
        low = _mix(lengths.astype(np.uint64) ^ np.uint64(self._keys[0]), self._keys[2])
        high = _mix(lengths.astype(np.uint64) ^ np.uint64(self._keys[1]), self._keys[3])
        for at in range(0, longest, 8):
            rows = np.flatnonzero(lengths > at) if at else np.arange(len(ids))
            rows = rows[lengths[rows] > at]
            left = np.minimum(lengths[rows] - at, 8).astype(np.uint64)
            words = windows[starts[rows] + at]
            mask = np.where(left == 8, ~np.uint64(0), (np.uint64(1) << (left * np.uint64(8))) - np.uint64(1))
            words = words & mask
            low[rows] = _mix(low[rows] ^ words, self._keys[2])
            high[rows] = _mix(high[rows] ^ words, self._keys[3])
        return low, high


def _mix(values: np.ndarray, key: int) -> np.ndarray:
    """A keyed bijection of 64-bit words (the finaliser of splitmix64 around an odd multiplier)."""
    values = values * np.uint64(key)
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values + np.uint64(key)


def _pairs(records: np.ndarray) -> Iterator[tuple[int, int]]:
    low = np.sort(records["low"])
    if not np.any(low[1:] == low[:-1]):
        return  # as a rule; and sorting without the order takes a fifth of the time
    order = np.argsort(records["low"], kind="stable")
    low = records["low"][order]
    # only rows with equal low halves are looked at further
    for at in np.flatnonzero(low[1:] == low[:-1]):
        at = int(at)
        end = at + 1
        while end < len(low) and low[end] == low[at]:
            if records["high"][order[end]] == records["high"][order[at]]:
                rows = sorted((int(records["row"][order[at]]), int(records["row"][order[end]])))
                yield rows[0], rows[1]
                break
            end += 1
