"""Count, mean, central moments, least and largest value of columns that lie in many partitions.

Each partition takes its moments around its own mean, and two sets are put together with the formulas of T. Chan,
G. Golub and R. LeVeque (Updating formulae and a pairwise algorithm for computing sample variances, 1979), which
P. Pébay carried on to the third and fourth moment (Formulas for robust, one-pass parallel computation of covariances
and arbitrary-order statistical moments, 2008, section 3.1). Sums of squares, which FATE subtracts from each other, lose
all digits where a column varies little around a large mean.

Another partitioning adds the same numbers in another order, so results agree to some 1e-15 of their size, not bit by
bit. Least and largest values and counts are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airflow_provider_fate.runtime.data import Block, Rows

#: cells that are worked on at a time; more would only fill the memory
CELLS = 1 << 20


@dataclass(frozen=True)
class Moments:
    """Of some columns, arrays of shape (columns,).

    :param count: values that are neither missing nor left out
    :param missing: values that are missing (NaN)
    :param infinite: values that are infinite, and not left out; they spoil the rest
    :param m2: sum of the squares of the distances from the mean
    :param m3: sum of their third powers
    :param m4: sum of their fourth powers
    :param least: infinity where there is no value
    :param most: minus infinity where there is no value
    """

    count: np.ndarray
    missing: np.ndarray
    infinite: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    m3: np.ndarray
    m4: np.ndarray
    least: np.ndarray
    most: np.ndarray

    def __add__(self, other: Moments) -> Moments:
        n, a, b = self.count + other.count, self.count.astype(float), other.count.astype(float)
        some = np.maximum(n, 1).astype(float)
        d = np.where((a > 0) & (b > 0), other.mean - self.mean, 0.0)
        e = d / some
        return Moments(
            count=n,
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            mean=np.where(a > 0, self.mean + e * b, other.mean),
            m2=self.m2 + other.m2 + d * e * a * b,
            m3=self.m3 + other.m3 + d * e * e * a * b * (a - b) + 3 * e * (a * other.m2 - b * self.m2),
            m4=self.m4 + other.m4 + d * e**3 * a * b * (a * a - a * b + b * b)
            + 6 * e * e * (a * a * other.m2 + b * b * self.m2) + 4 * e * (a * other.m3 - b * self.m3),
            least=np.minimum(self.least, other.least),
            most=np.maximum(self.most, other.most),
        )  # fmt: skip

    @property
    def constant(self) -> np.ndarray:
        """Columns whose values are all the same."""
        return self.least == self.most

    @property
    def variance(self) -> np.ndarray:
        """Of the population, as FATE has it: divided by the count; NaN without a value, 0 of a constant column."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.constant, 0.0, self.m2 / self.count)


def moments(
    rows: Rows,
    columns: Sequence[int],
    left_out: Sequence[float] = (),
    within: tuple[np.ndarray, np.ndarray] | None = None,
) -> Moments:
    """The moments of columns of ``rows``.

    :param columns: places in ``Block.x``
    :param left_out: finite values that do not count
    :param within: least and largest value of each column, shape (columns,) each, to which values are drawn first
    """
    work = _Measure(tuple(columns), tuple(left_out), within)
    return functools.reduce(Moments.__add__, rows.map(work))


@dataclass(frozen=True)
class _Measure:
    columns: tuple[int, ...]
    left_out: tuple[float, ...]
    within: tuple[np.ndarray, np.ndarray] | None

    def __call__(self, block: Block, _: None) -> Moments:
        width = max(1, CELLS // max(len(block), 1))
        places = range(0, len(self.columns), width)
        parts = [self._measure(block, slice(start, start + width)) for start in places] or [
            self._measure(block, slice(0, 0))
        ]
        return Moments(*(np.concatenate([getattr(part, name) for part in parts]) for name in Moments.__annotations__))

    def _measure(self, block: Block, part: slice) -> Moments:
        x = block.x[:, list(self.columns[part])]
        missing = np.isnan(x)
        out = missing | np.isin(x, self.left_out) if self.left_out else missing
        infinite = np.isinf(x)
        usable = ~(out | infinite)
        if self.within is not None:
            x = np.clip(x, self.within[0][part], self.within[1][part])
        count = usable.sum(axis=0)
        least = np.min(x, axis=0, initial=np.inf, where=usable)
        most = np.max(x, axis=0, initial=-np.inf, where=usable)
        some = np.maximum(count, 1)
        # Around a value of the column first: exact for a constant one, and no large sum loses small differences
        base = np.where(count > 0, least, 0.0)
        d = np.where(usable, x - base, 0.0)
        shift = d.sum(axis=0) / some
        d = np.where(usable, d - shift, 0.0)
        with np.errstate(over="ignore"):
            d2 = d * d
            d3, d4 = d2 * d, d2 * d2
        return Moments(
            count, missing.sum(axis=0), infinite.sum(axis=0), base + shift,
            d2.sum(axis=0), d3.sum(axis=0), d4.sum(axis=0), least, most,
        )  # fmt: skip
