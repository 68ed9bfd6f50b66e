"""Sums that do not depend on how rows are spread over partitions, nor on the order in which they are added up."""

from __future__ import annotations

import numpy as np

#: sums are whole multiples of 2**-UNIT, as every float64 is
UNIT = 1074
#: bits of a float64 after its leading one, and the lower half of all 53, so that 2^26 rows add up exactly in a float64
_FRACTION, _LOW = 52, 26
#: cells that are worked on at a time: as many as stay in a processor's cache
_CELLS = 1 << 15


def exact_sums(values: np.ndarray) -> list[int]:
    """The sum of each column, exactly, as integers that can be added up further; see :func:`as_float`.

    :param values: float64, finite, shape (rows, columns)
    """
    columns = values.shape[1]
    totals = [0] * columns
    step = max(1, _CELLS // max(columns, 1))
    for start in range(0, len(values), step):
        parts = _sums(np.ascontiguousarray(values[start : start + step], np.float64))
        totals = [total + part for total, part in zip(totals, parts, strict=True)]
    return totals


def _sums(values: np.ndarray) -> list[int]:
    """Numbers of one exponent add up as integers, in halves that stay exact as floats."""
    columns = values.shape[1]
    bits = values.view(np.int64)
    exponents = (bits >> _FRACTION) & 0x7FF
    # subnormal numbers have no leading one, and the exponent of the smallest normal ones
    whole = (bits & ((1 << _FRACTION) - 1)) | ((exponents > 0).astype(np.int64) << _FRACTION)
    whole = np.where(bits < 0, -whole, whole)
    places = np.maximum(exponents, 1) - 1
    first = int(places.min(initial=0x7FF))
    width = int(places.max(initial=first)) - first + 1
    at = (places - first + np.arange(columns) * width).ravel()
    high, low = (
        np.bincount(at, part.ravel(), columns * width).reshape(columns, width).tolist()
        for part in (whole >> _LOW, whole & ((1 << _LOW) - 1))
    )
    return [
        sum(((int(a) << _LOW) + int(b)) << (first + place) for place, (a, b) in enumerate(zip(*pair, strict=True)))
        for pair in zip(high, low, strict=True)
    ]


def as_float(total: int) -> float:
    """The float64 that is closest to an exact sum."""
    return total / (1 << UNIT)


def inner_products(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of each row with the weights; float64, shape (rows,).

    The same bits for a row however many rows there are, which a matrix product of BLAS does not give.

    :param x: float64, shape (rows, columns)
    """
    return np.einsum("ij,j->i", np.ascontiguousarray(x), np.ascontiguousarray(weights))
