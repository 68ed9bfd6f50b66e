"""Which rows make up each batch: the same at every party, from public numbers alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airflow_provider_fate.runtime.data import even_counts

STRATEGIES = ("full", "random")


@dataclass(frozen=True)
class Batch:
    """Some rows of each partition.

    :param rows: per partition, the places of its rows (int64, ascending), or ``None`` for all
    :param counts: per partition, how many
    :param key: the same for the same rows in every iteration; ``None`` where the rows come once only
    """

    rows: tuple[np.ndarray | None, ...]
    counts: tuple[int, ...]
    key: int | None

    @property
    def size(self) -> int:
        return sum(self.counts)


class Batches:
    """The batches of every iteration.

    ``full`` splits all rows into ceil(rows / batch_size) batches of even size (no short one at the end, whose
    gradients would say much about few rows), anew in each iteration with ``shuffle``. ``random`` draws one batch an
    iteration.

    :param counts: rows of each partition
    :param batch_size: at most so many rows a batch; -1 for all
    :param seed: public; the same at every party
    """

    def __init__(self, counts: Sequence[int], batch_size: int, *, shuffle: bool, strategy: str, seed: int) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"batch_strategy {strategy!r} is not known; expected one of {', '.join(STRATEGIES)}")
        self.counts = tuple(counts)
        total = sum(counts)
        self.whole = batch_size == -1 or batch_size >= total
        self._sizes = [total] if self.whole else even_counts(total, -(-total // batch_size))
        self._random = strategy == "random" and not self.whole
        if self._random:
            self._sizes = [batch_size]
        self._shuffle = shuffle
        self._seed = seed
        self._kept: list[Batch] | None = None

    @property
    def number(self) -> int:
        """Batches in an iteration."""
        return len(self._sizes)

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch."""
        return min(self._sizes)

    def of(self, iteration: int) -> list[Batch]:
        """The batches of ``iteration``, counted from 0."""
        if self.whole:
            return [Batch((None,) * len(self.counts), self.counts, 0)]
        if self._random or self._shuffle:
            return self._cut(permutation(sum(self.counts), self._seed, iteration), kept=False)
        if self._kept is None:
            self._kept = self._cut(np.arange(sum(self.counts)), kept=True)
        return self._kept

    def _cut(self, order: np.ndarray, *, kept: bool) -> list[Batch]:
        bounds = np.concatenate([[0], np.cumsum(self.counts)])
        batches, start = [], 0
        for number, size in enumerate(self._sizes):
            places = np.sort(order[start : start + size])
            start += size
            cuts = np.searchsorted(places, bounds)
            rows = tuple(places[low:high] - offset for low, high, offset in zip(cuts, cuts[1:], bounds, strict=False))
            batches.append(Batch(rows, tuple(map(len, rows)), number if kept else None))
        return batches


def permutation(length: int, seed: int, number: int) -> np.ndarray:
    """The ``number``-th shuffle of 0..length-1; int64. The same on every machine and with every version of NumPy."""
    stream = hashlib.shake_256(f"{seed}/{number}".encode()).digest(8 * length)
    return np.argsort(np.frombuffer(stream, "<u8"), kind="stable")
