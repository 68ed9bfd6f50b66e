"""Digests of ids, and what a private set intersection does with arrays of 32-byte items, without an object per row."""

from __future__ import annotations

import hashlib
import itertools
import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SIZE = 32
NOTHING = np.empty((0, SIZE), np.uint8)


def first_missing(ids: pa.Array) -> int:
    """The first place that is null or the empty text, -1 if there is none."""
    return pc.index(pc.fill_null(pc.equal(pc.binary_length(ids), 0), True), True).as_py()


def digests(ids: pa.Array, domain: bytes) -> np.ndarray:
    """SHA-256 of ``domain`` and the exact UTF-8 bytes of each id.

    :param ids: string array without nulls
    :param domain: 32 bytes; as the length is fixed, no other pair of domain and id has the same bytes
    :returns: uint8, shape (n, 32)
    """
    if len(domain) != SIZE:
        raise ValueError(f"the domain has {len(domain)} bytes, not {SIZE}")
    if not len(ids):
        return NOTHING
    ids = ids.cast(pa.large_binary())
    _, offsets, content = ids.buffers()
    bounds = np.frombuffer(offsets, np.int64)[ids.offset : ids.offset + len(ids) + 1].tolist()
    text, sha256 = memoryview(content), hashlib.sha256
    hashed = b"".join([sha256(domain + text[start:end]).digest() for start, end in itertools.pairwise(bounds)])
    return np.frombuffer(hashed, np.uint8).reshape(-1, SIZE)


def shuffled(count: int) -> np.ndarray:
    """A uniformly random order of ``count`` items, from the operating system's randomness; int64."""
    # two equal keys among a million are a chance of 1 in 36 million, and shift the distribution by no more
    return np.argsort(np.frombuffer(os.urandom(8 * count), np.uint64), kind="stable")


def order_of(items: np.ndarray) -> np.ndarray:
    """The order that sorts items of shape (n, 32) by their bytes; int64."""
    return np.argsort(_as_text(items), kind="stable")


def repeats(items: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of places with equal items, the smaller place first; one pair for each item beyond the first."""
    order = order_of(items)
    ordered = _as_text(items)[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    return sorted(zip(order[same].tolist(), order[same + 1].tolist(), strict=True))


def has_repeats(items: np.ndarray) -> bool:
    """Whether two items of shape (n, 32) are equal."""
    return len(_as_arrow(items).unique()) != len(items)


def find(items: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Place of each item in ``among``, -1 where it is not there; int64, shape (n,)."""
    found = pc.index_in(_as_arrow(items), value_set=_as_arrow(among))
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _as_text(items: np.ndarray) -> np.ndarray:
    """As NumPy's fixed-length bytes, which compare like the items."""
    return np.ascontiguousarray(items).view(f"S{SIZE}").reshape(-1)


def _as_arrow(items: np.ndarray) -> pa.Array:
    content = pa.py_buffer(np.ascontiguousarray(items))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(SIZE), len(items), [None, content])
