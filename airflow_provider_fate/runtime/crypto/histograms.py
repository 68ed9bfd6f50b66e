"""Products by bin, modulo a number: the sums of encrypted values that fall into each bin of each column.

A product modulo 2048 bits costs about 2 us, so there should be few of them. Several columns are joined in one: each row
is multiplied into the cell of its bins in all of them, and the cells, far fewer than the rows, are then multiplied
together along each axis. For r rows and two columns of b bins that is r + b*b products instead of 2*r. Which columns to
join follows from the products that it takes: many rows, few bins, and bins that hold most of the rows (zeros, missing
values) allow more of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from gmpy2 import mpz

#: most columns that are joined
MOST_JOINED = 6
#: joint cells are numbered by int64
MOST_CELLS = 1 << 62
#: with fewer rows there is nothing to gain
FEWEST_ROWS = 1000
#: what finding its cell costs for a row, in products
JOINING = 0.1


def products_by_bin(
    values: Sequence[mpz], places: np.ndarray, bins: Sequence[int], modulus: mpz
) -> list[mpz | None]:
    """The product of the values in each bin of each column, column by column; ``None`` for an empty bin.

    :param places: int64, shape (values, columns), column c in [0, bins[c])
    """
    starts = np.concatenate([[0], np.cumsum(bins, dtype=np.int64)])
    results: list[mpz | None] = [None] * int(starts[-1])
    for columns in _groups(places, bins):
        found = _joined(values, places[:, columns], [bins[column] for column in columns], modulus)
        for column, products in zip(columns, found, strict=True):
            results[starts[column] : starts[column + 1]] = products
    return results


def _joined(
    values: Sequence[mpz], places: np.ndarray, bins: Sequence[int], modulus: mpz
) -> list[list[mpz | None]]:
    """As :func:`products_by_bin`, by way of one joint histogram of all columns; a list for each."""
    if len(bins) == 1:
        return [_accumulate(values, places[:, 0], bins[0], modulus)]
    cells, inverse = np.unique(np.ravel_multi_index(places.T, bins), return_inverse=True)
    # every cell has a value
    products: list[mpz] = _accumulate(values, inverse, len(cells), modulus)  # type: ignore[assignment]
    where = np.stack(np.unravel_index(cells, bins), axis=1)
    half = len(bins) // 2
    return _joined(products, where[:, :half], bins[:half], modulus) + _joined(
        products, where[:, half:], bins[half:], modulus
    )


def _accumulate(values: Sequence[mpz], places: np.ndarray, count: int, modulus: mpz) -> list[mpz | None]:
    """The hot loop."""
    products: list[mpz | None] = [None] * count
    for value, place in zip(values, places.tolist(), strict=True):
        found = products[place]
        products[place] = value if found is None else found * value % modulus
    return products


def _groups(places: np.ndarray, bins: Sequence[int]) -> list[list[int]]:
    """Which columns to join for the fewest products, were they independent of each other."""
    rows, columns = places.shape
    if rows < FEWEST_ROWS:
        return [[column] for column in range(columns)]
    shares = [_shares(np.bincount(places[:, column], minlength=size)) for column, size in enumerate(bins)]
    # only neighbours are joined: columns alike
    order = sorted(range(columns), key=lambda column: float(shares[column].sum()))
    best = [0.0] + [math.inf] * columns
    cut = [0] * (columns + 1)
    for first in range(columns):
        plan = _Plan(rows)
        for end in range(first + 1, min(columns, first + MOST_JOINED) + 1):
            if math.prod(bins[column] for column in order[first:end]) > MOST_CELLS:
                break
            plan.append(shares[order[end - 1]])
            cost = best[first] + plan.cost()
            if cost < best[end]:
                best[end], cut[end] = cost, first
    groups, end = [], columns
    while end:
        groups.append(order[cut[end] : end])
        end = cut[end]
    return groups[::-1]


class _Plan:
    """What :func:`_joined` costs, in products, of columns that come one after the other.

    :param rows: how many
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._shares: list[np.ndarray] = []
        #: cells that are not empty, of the columns from and to
        self._cells: dict[tuple[int, int], float] = {}
        self._joint: dict[int, np.ndarray] = {}

    def append(self, shares: np.ndarray) -> None:
        self._shares.append(shares)
        end = len(self._shares)
        for first in range(end - 1):
            self._joint[first] = np.convolve(self._joint[first], shares)
            self._cells[first, end] = _filled(self._joint[first], self._rows)
        self._joint[end - 1] = shares
        self._cells[end - 1, end] = float(shares.sum())

    def cost(self) -> float:
        return self._cost(float(self._rows), 0, len(self._shares))

    def _cost(self, values: float, first: int, end: int) -> float:
        """:param values: how many are multiplied into the cells of the columns; the first one of a cell for nothing"""
        cells = min(values, self._cells[first, end])
        if end - first == 1:
            return values - cells
        half = first + (end - first) // 2
        products = (values - cells) * _weight(cells) + JOINING * values
        return products + self._cost(cells, first, half) + self._cost(cells, half, end)


def _weight(cells: float) -> float:
    """How much dearer a product is where the cells do not fit into a core's cache (measured: 1.1 for 4096, 1.4 for
    32768 cells of 2048 bits)."""
    return 1 + 0.08 * math.log2(max(1.0, cells / 1024))


def _shares(counts: np.ndarray) -> np.ndarray:
    """How many bins hold about 2**(-k/2) of all rows, for k = 0, 1, ... Those of joint cells are the convolution."""
    found = counts[counts > 0]
    return np.bincount(np.rint(2 * np.log2(counts.sum() / found)).astype(np.int64)).astype(float)


def _filled(shares: np.ndarray, rows: int) -> float:
    """Cells that are not empty, with rows drawn at random."""
    return float(shares @ -np.expm1(-rows * 2.0 ** (-np.arange(len(shares)) / 2)))
