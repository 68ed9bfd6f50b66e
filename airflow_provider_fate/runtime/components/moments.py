"""Count, mean, central moments, least and largest value of columns that lie in many partitions.

The results are the same, bit by bit, for any partitioning: sums are of integers. A first pass finds the range of each
column, which gives a scale; a second one adds up the distances from the least value, for the mean; a third one the
powers of the distances from the mean. Each number is split in two integers of some 31 bits, so a sum is exact to 2^-62
of the range a row, which is finer than a sum of floats. Sums of squares, which FATE subtracts from each other, lose all
digits where a column varies little around a large mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from airflow_provider_fate.runtime.data import Block, Rows

#: cells that are worked on at a time: as many as stay in a processor's cache
CELLS = 1 << 15
#: bits of each of the two integers that a number becomes, where there are no more than 2^31 rows
BITS = 31


@dataclass(frozen=True)
class Moments:
    """Of some columns, arrays of shape (columns,).

    :param count: values that are neither missing nor left out
    :param missing: values that are missing (NaN)
    :param infinite: values that are infinite; they are not counted. One more where finite ones are further apart than
        the largest float, so that there are no moments
    :param least: infinity where there is no value
    :param most: minus infinity where there is no value
    :param mean: 0 where there is no value
    :param central: means of the second and higher powers of the distances from the mean, as many as were asked for;
        infinite where they are beyond a float64
    """

    count: np.ndarray
    missing: np.ndarray
    infinite: np.ndarray
    least: np.ndarray
    most: np.ndarray
    mean: np.ndarray
    central: tuple[np.ndarray, ...] = ()

    @property
    def constant(self) -> np.ndarray:
        """Columns whose values are all the same."""
        return self.least == self.most

    @property
    def variance(self) -> np.ndarray:
        """Of the population, as FATE has it: divided by the count; NaN without a value."""
        return np.where(self.count > 0, self.central[0], np.nan)


def moments(
    rows: Rows,
    columns: Sequence[int],
    left_out: Sequence[float] = (),
    within: tuple[np.ndarray, np.ndarray] | None = None,
    order: int = 2,
) -> Moments:
    """The moments of columns of ``rows``.

    :param columns: places in ``Block.x``
    :param left_out: finite values that do not count
    :param within: least and largest value of each column, shape (columns,) each, to which values are drawn first
    :param order: of the highest moment: 1 for the mean alone, up to 4
    """
    chosen = _Values(tuple(columns), tuple(left_out), within)
    parts = rows.map(_Range(chosen))
    count, missing, infinite = (np.sum([part[at] for part in parts], axis=0) for at in range(3))
    least, most = np.min([part[3] for part in parts], axis=0), np.max([part[4] for part in parts], axis=0)
    bits = min(BITS, 62 - int(rows.count).bit_length())
    with np.errstate(over="ignore", invalid="ignore"):
        infinite = infinite + np.isinf(most - least) * (count > 0)
        found = Moments(count, missing, infinite, least, most, np.where(count > 0, least, 0.0))
        (far,) = _means(rows, chosen, found, found.mean, most, 1, bits)
        found = replace(found, mean=np.where(far > 0, np.clip(found.mean + far, least, most), found.mean))
        if order > 1:
            reach = np.maximum(most - found.mean, found.mean - least)
            powers = _means(rows, chosen, found, found.mean, found.mean + reach, order, bits)
            found = replace(found, central=powers[1:])
    return found


def _means(
    rows: Rows, chosen: _Values, of: Moments, start: np.ndarray, end: np.ndarray, order: int, bits: int
) -> tuple[np.ndarray, ...]:
    """Means of the powers 1 to ``order`` of the distances from ``start``, which are no longer than ``end - start``."""
    wide = np.where((of.count > 0) & (of.infinite == 0) & ~of.constant, end - start, 0.0)
    exponents = np.frexp(wide)[1].astype(np.int64)
    parts = rows.map(_Powers(chosen, start, exponents, order, bits))
    result = []
    for power in range(order):
        total = [0] * len(wide)
        for part in parts:
            high, low = part[power]
            total = [
                one + (int(a) << bits) + int(b) for one, a, b in zip(total, high.tolist(), low.tolist(), strict=True)
            ]
        # the quotient of two integers is the float that is closest to it
        shares = np.array([one / max(int(n), 1) for one, n in zip(total, of.count, strict=True)])
        mean = np.ldexp(shares, (power + 1) * exponents - 2 * bits)
        result.append(np.where(wide > 0, mean, 0.0))
    return tuple(result)


# -- what runs on the executors ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Values:
    """The values that count, some rows at a time."""

    columns: tuple[int, ...]
    left_out: tuple[float, ...]
    within: tuple[np.ndarray, np.ndarray] | None

    def parts(self, block: Block) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of some rows: values as they came; whether they count; the same values within their bounds."""
        every = self.columns == tuple(range(block.x.shape[1]))
        step = max(1, CELLS // max(len(self.columns), 1))
        # at least once, so that an empty block has sums too
        for start in range(0, max(len(block), 1), step):
            x = block.x[start : start + step]
            x = x if every else x[:, list(self.columns)]
            usable = np.isfinite(x)
            if self.left_out:
                usable &= ~np.isin(x, self.left_out)
            yield x, usable, x if self.within is None else np.clip(x, *self.within)


@dataclass(frozen=True)
class _Range:
    values: _Values

    def __call__(self, block: Block, _: None) -> list[np.ndarray]:
        found = [
            (
                usable.sum(axis=0),
                np.isnan(x).sum(axis=0),
                np.isinf(x).sum(axis=0),
                np.where(usable, bounded, np.inf).min(axis=0, initial=np.inf),
                np.where(usable, bounded, -np.inf).max(axis=0, initial=-np.inf),
            )
            for x, usable, bounded in self.values.parts(block)
        ]
        joined = (np.sum, np.sum, np.sum, np.min, np.max)
        return [join([part[at] for part in found], axis=0) for at, join in enumerate(joined)]


@dataclass(frozen=True)
class _Powers:
    """Sums of the powers of ``(value - start) / 2**exponent``, each as two integers: ``high * 2**bits + low``."""

    values: _Values
    start: np.ndarray
    exponents: np.ndarray
    order: int
    bits: int

    def __call__(self, block: Block, _: None) -> list[tuple[np.ndarray, np.ndarray]]:
        sums = np.zeros((self.order, 2, len(self.start)), np.int64)
        larger = 2.0**self.bits
        for _, usable, bounded in self.values.parts(block):
            with np.errstate(over="ignore", invalid="ignore"):
                # the exponent in two steps: 2**exponent alone may be no float
                half = self.exponents // 2
                far = (bounded - self.start) * np.ldexp(1.0, -half) * np.ldexp(1.0, half - self.exponents)
                # beyond 1 are only columns that have no moments
                far = np.where(usable & (np.abs(far) <= 1), far, 0.0)
            power = far
            for number in range(self.order):
                power = power if number == 0 else power * far
                scaled = power * larger
                high = np.rint(scaled)
                low = np.rint((scaled - high) * larger)
                sums[number, 0] += high.astype(np.int64).sum(axis=0)
                sums[number, 1] += low.astype(np.int64).sum(axis=0)
        return [(high, low) for high, low in sums]
