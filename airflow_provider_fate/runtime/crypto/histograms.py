"""Products by bin, modulo a number: the sums of encrypted values that fall into each bin of each column.

A product modulo 2048 bits costs about 2 us, so there should be few of them. Several columns are joined in one: each row
is multiplied into the cell of its bins in all of them, and the cells, far fewer than the rows, are then multiplied
together along each axis. For r rows and two columns of b bins that is r + b*b products instead of 2*r. Which columns to
join follows from the products that it takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from gmpy2 import mpz

#: most columns that are joined
MOST_JOINED = 8
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
    # columns of about as many bins are joined
    order = sorted(range(len(bins)), key=lambda column: bins[column])
    for first, end in _groups(tuple(bins[column] for column in order), len(values)):
        columns = order[first:end]
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


@lru_cache(maxsize=256)
def _groups(bins: tuple[int, ...], rows: int) -> list[tuple[int, int]]:
    """Which neighbouring columns to join, as (first, end), for the fewest products."""
    best = [0.0] + [math.inf] * len(bins)
    cut = [0] * (len(bins) + 1)
    for end in range(1, len(bins) + 1):
        for first in range(max(0, end - MOST_JOINED), end):
            cost = best[first] + _cost(bins[first:end], rows)
            if cost < best[end]:
                best[end], cut[end] = cost, first
    groups, end = [], len(bins)
    while end:
        groups.append((cut[end], end))
        end = cut[end]
    return groups[::-1]


def _cost(bins: Sequence[int], rows: float) -> float:
    """What :func:`_joined` costs for rows spread evenly, in products; the first value of a cell takes none."""
    filled = _filled(bins, rows)
    if len(bins) == 1:
        return rows - filled
    cost = (rows - filled) * _weight(filled) + JOINING * rows
    half = len(bins) // 2
    return cost + _cost(bins[:half], filled) + _cost(bins[half:], filled)


def _weight(cells: float) -> float:
    """How much dearer a product is where the cells do not fit into a core's cache (measured: 1.1 for 4096, 1.4 for
    32768 cells of 2048 bits)."""
    return 1 + 0.08 * math.log2(max(1.0, cells / 1024))


def _filled(bins: Sequence[int], rows: float) -> float:
    """Cells that are not empty."""
    cells = float(math.prod(bins))
    return -cells * math.expm1(-rows / cells)
