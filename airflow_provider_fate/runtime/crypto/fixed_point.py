"""Numbers as integers, with scales such that no encrypted sum can wrap around the plaintext modulus.

Vectors that travel (a party's share of the residuals) have a public scale, the same for all: 2**fraction, with a
public bound on their values. Columns stay at their owner, who scales each by its own power of two.
"""

from __future__ import annotations

import math

import numpy as np

from airflow_provider_fate.errors import CryptoError

#: fewer bits after the point than this make gradients too coarse, and BFV's noise bound needs them; of entries up to
#: :data:`USUAL_BOUND` a party
FEWEST_BITS = 10
USUAL_BOUND = 64
#: what to do when training has diverged; at the first iteration it is the features' size that is to blame
DIVERGED = "scale the features to about -1 to 1 (FeatureScale, or before the upload), or lower the learning rate"
#: no column needs a finer scale than a float64 has
MOST_BITS = 52
#: integers of so many bits are within the range of floats
FLOAT_BITS = 1023


def sum_bits(modulus: int, rows: int, bound: float) -> float:
    """Bits after the binary point that a sum over ``rows`` of numbers up to ``bound`` has room for."""
    return (modulus // 2).bit_length() - 1 - math.log2(max(rows, 1)) - math.log2(bound)


def fraction_bits(modulus: int, rows: int, bound: float, wanted: int, unit: float = USUAL_BOUND) -> int:
    """Bits after the binary point of encrypted vectors; half of the room, the other half is the columns'.

    :param modulus: of plaintexts
    :param rows: of the batch, over all partitions
    :param bound: the largest absolute value of an entry, summed over the parties
    :param wanted: the most that is asked for (``floating_point_precision``)
    :param unit: the largest absolute value of one party's entry, :data:`USUAL_BOUND` times a power of two; entries
        keep their precision relative to it
    :return: may be negative where entries are very large
    :raises CryptoError: the batch is too long for the modulus
    """
    larger = round(math.log2(unit / USUAL_BOUND))
    room = sum_bits(modulus, rows, math.ldexp(bound, -larger))
    bits = min(wanted, int(room // 2), MOST_BITS)
    if bits < FEWEST_BITS:
        if wanted < FEWEST_BITS:
            raise CryptoError(f"floating_point_precision {wanted} is too coarse; expected at least {FEWEST_BITS}")
        raise CryptoError(
            f"an encrypted sum over {rows} rows leaves {int(room // 2)} bits of precision, fewer than {FEWEST_BITS}; "
            "set batch_size so that a batch has fewer rows"
        )
    return bits - larger


def to_integers(values: np.ndarray, bits: int, bound: float, what: str) -> np.ndarray:
    """``values * 2**bits``, rounded; int64.

    :param values: float64, any shape
    :param bound: the largest absolute value allowed
    :param what: the values' name, for the error
    :raises CryptoError: a value is not finite, or beyond ``bound``
    """
    largest = float(np.abs(values).max(initial=0.0))  # NaN stays NaN
    if not largest <= bound:
        raise CryptoError(f"diverged: {what} reached {largest:g}, more than {bound:g}; {DIVERGED}")
    return np.rint(np.ldexp(values, bits)).astype(np.int64)


def column_bits(
    largest: np.ndarray, sums: np.ndarray, rows: int, vector_limit: int, modulus: int, factor_bits: int
) -> np.ndarray:
    """For each column, the bits of the finest scale at which its inner products cannot wrap.

    With X = rint(x * 2**bits) and any vector of integers d with abs(d) <= vector_limit, the sum of abs(X * d) stays
    below modulus / 2.

    :param largest: per column, the largest absolute value; shape (columns,)
    :param sums: per column, the sum of absolute values over all rows that a batch may have; shape (columns,)
    :param rows: of the batch
    :return: int64, shape (columns,); may be negative for very large values
    """
    room = min(modulus // 2 // vector_limit, 1 << 200) - (rows + 1) // 2 - 1
    if room < 1:
        raise CryptoError(f"an encrypted sum over {rows} rows has no room for the columns; set a smaller batch_size")
    # a hair less, for the rounding of sums
    total = np.minimum(sums, largest * rows) * (1 + 1e-9)
    bits = np.full(len(largest), MOST_BITS, np.int64)
    some = largest > 0
    by_sum = np.floor(np.log2(float(room)) - np.log2(total[some]) - 1e-12)
    by_size = np.floor(np.log2(float((1 << factor_bits) - 1)) - np.log2(largest[some]) - 1e-12)
    bits[some] = np.minimum(MOST_BITS, np.minimum(by_sum, by_size)).astype(np.int64)
    bits[~some] = 0
    return bits


def from_integers(numbers: list[int], bits: np.ndarray) -> np.ndarray:
    """``numbers / 2**bits``, one scale for each number; float64.

    :raises CryptoError: a number is beyond all floats, so it is not the sum that it should be
    """
    for number, scale in zip(numbers, bits, strict=True):
        if max(number.bit_length(), number.bit_length() - int(scale)) > FLOAT_BITS:
            raise CryptoError(
                f"a number that was decrypted has {number.bit_length()} bits, far more than sums have: the arbiter or "
                "a party whose numbers are in it does not keep to the protocol"
            )
    return np.array([math.ldexp(float(number), -int(scale)) for number, scale in zip(numbers, bits, strict=True)])
