"""First and second derivatives as integers: one number a row, which is encrypted, and exact sums of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airflow_provider_fate.errors import CryptoError, DataError

#: bits of the largest derivative of a row. Those of cross-entropy are at most 1, and XGBoost's have 24 bits; those of a
#: regression can be far apart.
PRECISION = {"classification": 20, "regression": 28}
#: sums stay below 2**this, so that they are exact in float64
EXACT = 52


class Packing:
    """Two sums in one integer: those of first derivatives, each plus an offset so that none is negative, above those of
    second derivatives. Sums of up to ``rows`` rows cannot overflow. Follows from the number of rows and the task alone,
    so that a host knows nothing else by it.

    :param rows: in the tree
    :param task: ``classification`` or ``regression``
    """

    def __init__(self, rows: int, task: str) -> None:
        length = rows.bit_length()
        self.rows = rows
        #: bits of the largest absolute derivative
        self.precision = max(1, min(PRECISION[task], EXACT - length))
        #: of a sum of second derivatives; those of first ones, with their offset, take one more
        self.h_bits = self.precision + length
        #: of a packed sum
        self.bits = 2 * self.h_bits + 1
        self.offset = 1 << self.precision

    def pack(self, g: np.ndarray, h: np.ndarray) -> list[int]:
        """One number a row. :param g: int64, at most ``offset`` in absolute value; ``h`` from 0 to ``offset``"""
        shift, offset = self.h_bits, self.offset
        return [((one + offset) << shift) | other for one, other in zip(g.tolist(), h.tolist(), strict=True)]

    def unpack(self, sums: Sequence[int], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of both derivatives, int64.

        :param sums: of packed numbers
        :param counts: how many rows are in each sum, int64
        :raises CryptoError: a sum is not one of so many rows
        """
        if any(one >> self.bits for one in sums):
            raise CryptoError("a sum of derivatives is larger than its rows allow")
        shift, mask = self.h_bits, (1 << self.h_bits) - 1
        high = np.array([one >> shift for one in sums], np.int64)
        low = np.array([one & mask for one in sums], np.int64)
        most = counts * self.offset
        if (high > 2 * most).any() or (low > most).any():
            raise CryptoError("a sum of derivatives is larger than its rows allow")
        return high - most, low


@dataclass(frozen=True)
class Derivatives:
    """First and second derivatives of a tree's rows as integers, with the powers of two that they were multiplied by.

    :param g: int64, shape (rows,)
    :param h: int64, not negative
    :param g_exponent: ``g`` is the rounded derivative times 2**g_exponent
    """

    g: np.ndarray
    h: np.ndarray
    g_exponent: int
    h_exponent: int

    @classmethod
    def of(cls, g: np.ndarray, h: np.ndarray, precision: int) -> Derivatives:
        """Round derivatives.

        :param g: float64, shape (rows,)
        :param precision: bits of the largest one
        :raises DataError: one is not finite
        """
        (own_g, g_exponent), (own_h, h_exponent) = _rounded(g, precision), _rounded(h, precision)
        return cls(own_g, own_h, g_exponent, h_exponent)

    def sums(self, g: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of the integers as sums of the derivatives, float64; exact."""
        return np.ldexp(np.asarray(g, np.float64), -self.g_exponent), np.ldexp(
            np.asarray(h, np.float64), -self.h_exponent
        )


def _rounded(values: np.ndarray, precision: int) -> tuple[np.ndarray, int]:
    largest = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(largest):
        raise DataError("training diverged: a row's derivative is not finite; lower the learning rate")
    exponent = precision - int(np.frexp(largest)[1]) if largest else 0
    return np.rint(np.ldexp(values, exponent)).astype(np.int64), exponent
