"""Exact quantiles of columns that lie in many partitions, and the bins that they bound.

A quantile here is a value of the column, the smallest one that at least the share q of its n values do not exceed: in
order, and counted from 1, the one at the place ``ceil(n * q)`` (NumPy's ``inverted_cdf``). FATE's summaries give the
same on small tables; on larger ones theirs are approximate. Here nothing is, so that the result is the same for any
partitioning.

Two passes find them, after Munro and Paterson (Selection and sorting with limited storage, 1980). In the first one
each partition gives every k-th of its values in order, so the driver knows bounds of each quantile that only few
values lie between. In the second one the partitions give those few values, and count what lies below. A small column
is gathered as it is, in the first pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from airflow_provider_fate.runtime.data import Block, Rows

#: values of a column that the driver takes of all partitions together in the first pass
SAMPLE = 1 << 16
#: values of all columns that the driver holds at a time
HELD = 1 << 23


def split_points(rows: Rows, columns: Sequence[int], bins: int) -> list[np.ndarray]:
    """Upper bounds of the bins of each column: its quantiles at 1/bins, 2/bins, ..., 1.

    :param columns: places in ``Block.x``; values are finite, or NaN where one is missing, and those are left out
    :return: of each column float64, ascending and distinct, at most ``bins`` of them, the last one the column's
        maximum; none for a column without values. A value v lies in the bin ``searchsorted(points, v, side="left")``,
        which is clipped to the last one.
    """
    shares = [Fraction(i, bins) for i in range(1, bins + 1)]
    return [np.unique(found) for found in _quantiles(rows, list(columns), shares)]


def quantiles(rows: Rows, columns: Sequence[int], shares: Sequence[float | Fraction]) -> np.ndarray:
    """The quantiles of each column at some shares.

    :param columns: places in ``Block.x``; values are finite, or NaN where one is missing, and those are left out
    :param shares: from 0 to 1, ascending; a float stands for the decimal that it is written as, so that 0.55 of 100
        values are 55. At 0 it is the least value
    :return: float64 of shape (columns, shares); NaN for a column without values
    """
    exact = [share if isinstance(share, Fraction) else Fraction(repr(float(share))) for share in shares]
    result = np.full((len(columns), len(exact)), np.nan)
    for at, found in enumerate(_quantiles(rows, list(columns), exact)):
        if len(found):
            result[at] = found
    return result


def places(x: np.ndarray, points: Sequence[np.ndarray]) -> np.ndarray:
    """The bin of each value.

    :param x: shape (rows, columns)
    :param points: the bounds of each column, as :func:`split_points` gives them
    :return: unsigned integers as narrow as they can be, shape (rows, columns); NaN is in a bin of its own, whose
        number is ``len(points[column])``
    """
    most = max(map(len, points), default=0)
    kind = np.min_scalar_type(most)
    found = np.empty(x.shape, kind)
    for column, bounds in enumerate(points):
        values = np.ascontiguousarray(x[:, column])
        place = np.searchsorted(bounds, values, side="left")
        np.minimum(place, max(len(bounds) - 1, 0), out=place)
        place[np.isnan(values)] = len(bounds)
        found[:, column] = place
    return found


def _quantiles(rows: Rows, columns: list[int], shares: list[Fraction]) -> list[np.ndarray]:
    """Of each column its quantiles, as many as shares; none for a column without values."""
    width = max(1, HELD // SAMPLE)
    found: list[np.ndarray] = []
    for start in range(0, len(columns), width):
        found += _some_quantiles(rows, columns[start : start + width], shares)
    return found


def _some_quantiles(rows: Rows, columns: list[int], shares: list[Fraction]) -> list[np.ndarray]:
    step = max(1, -(-rows.count // SAMPLE))
    sampled = list(zip(*rows.map(_Sample(tuple(columns), step)), strict=True))
    counts = [sum(count for count, _ in parts) for parts in sampled]
    # ceil(n * q) in whole numbers, counted from 0
    ranks = [
        np.array([max(-(-count * q.numerator // q.denominator) - 1, 0) for q in shares] if count else [], np.int64)
        for count in counts
    ]
    if step == 1:
        return [
            np.sort(np.concatenate([values for _, values in parts]))[rank] + 0.0
            for parts, rank in zip(sampled, ranks, strict=True)
        ]
    ranges = [_ranges(parts, rank, step) for parts, rank in zip(sampled, ranks, strict=True)]
    # About 2 * step values of each partition lie in a range
    expected = min(rows.count, 2 * step * rows.partitions * len(shares))
    width = max(1, HELD // expected)
    found: list[np.ndarray] = []
    for start in range(0, len(columns), width):
        some = slice(start, start + width)
        gathered = zip(*rows.map(_Inside(tuple(columns[some]), tuple(ranges[some]))), strict=True)
        found += [
            _select(list(parts), bounds, rank)
            for parts, bounds, rank in zip(gathered, ranges[some], ranks[some], strict=True)
        ]
    return found


def _ranges(parts: Sequence[tuple[int, np.ndarray]], ranks: np.ndarray, step: int) -> np.ndarray:
    """Disjoint ranges ``low < value <= high`` that hold the values at ``ranks``; shape (ranges, 2)."""
    if not len(ranks):
        return np.empty((0, 2))
    candidates = np.unique(np.concatenate([values for _, values in parts]))
    least = np.zeros(len(candidates), np.int64)
    most = np.zeros(len(candidates), np.int64)
    for count, values in parts:
        # values[j] stands at the place (j + 1) * step - 1, the last one at count - 1
        below = np.searchsorted(values, candidates, side="right")
        least += np.minimum(below * step, count)
        most += np.where(below < len(values), np.minimum((below + 1) * step, count) - 1, count)
    high = np.searchsorted(least, ranks, side="right")
    low = np.searchsorted(most, ranks, side="right") - 1
    bounds = np.column_stack([np.where(low < 0, -np.inf, candidates[low]), candidates[high]])
    # ranks ascend, and so do both bounds: a range goes on where the next one begins before its end
    apart = np.flatnonzero(bounds[1:, 0] >= bounds[:-1, 1]) + 1
    return np.column_stack([bounds[np.append(0, apart), 0], bounds[np.append(apart - 1, len(bounds) - 1), 1]])


def _select(
    parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], bounds: np.ndarray, ranks: np.ndarray
) -> np.ndarray:
    """The values at ``ranks``, from what :class:`_Inside` gave of each partition."""
    if not len(ranks):
        return np.empty(0)
    below = sum(part[0] for part in parts)
    values, where = np.unique(np.concatenate([part[1] for part in parts]), return_inverse=True)
    counts = np.bincount(where, np.concatenate([part[2] for part in parts]), len(values)).astype(np.int64)
    # How many values of the whole column come before each one: those below its range, and those before it in there
    start = np.searchsorted(values, bounds[:, 0], side="right")
    inside = np.concatenate([[0], np.cumsum(counts)])
    first = np.searchsorted(values, bounds[:, 1], side="right")
    before = inside[:-1] + np.repeat(below - inside[start], first - start)
    return values[np.searchsorted(before, ranks, side="right") - 1] + 0.0


# -- what runs on the executors ------------------------------------------------------------------------------------


def _ordered(block: Block, column: int) -> np.ndarray:
    values = np.sort(block.x[:, column])  # NaN come last
    return values[: np.searchsorted(values, np.nan)]


@dataclass(frozen=True)
class _Sample:
    """Of each column, how many values there are, and every ``step``-th of them in order, and the last one."""

    columns: tuple[int, ...]
    step: int

    def __call__(self, block: Block, _: None) -> list[tuple[int, np.ndarray]]:
        found = []
        for column in self.columns:
            values = _ordered(block, column)
            chosen = np.arange(self.step - 1, len(values) + self.step - 1, self.step)
            found.append((len(values), values[np.minimum(chosen, len(values) - 1)]))
        return found


@dataclass(frozen=True)
class _Inside:
    """Of each column: how many values lie below each range, and the distinct values in the ranges with their counts."""

    columns: tuple[int, ...]
    ranges: tuple[np.ndarray, ...]

    def __call__(self, block: Block, _: None) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        found = []
        for column, bounds in zip(self.columns, self.ranges, strict=True):
            values = _ordered(block, column)
            start, end = (np.searchsorted(values, bounds[:, side], side="right") for side in (0, 1))
            inside = [values[a:b] for a, b in zip(start, end, strict=True)]
            distinct, counts = np.unique(np.concatenate(inside or [values[:0]]), return_counts=True)
            found.append((start, distinct, counts))
        return found
