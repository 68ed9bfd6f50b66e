"""Powers of one base that stays the same, from tables of its powers: one product for each window of exponent bits.

The window method of Brickell, Gordon, McCurley and Wilson (EUROCRYPT 1992) with all digits kept: for windows of w bits
the table holds base**(digit * 2**(w * place)). Wider windows make a power cheaper and the table dearer, so the width
follows the number of powers that are asked for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from gmpy2 import mpz

#: bytes of numbers that one table may take (Python's objects add about a fifth)
TABLE_BYTES = 32 << 20
WIDTHS = range(4, 17)
#: exponents cut into digits at once
CHUNK = 4096
#: powers that a base is expected to be asked for at least
EXPECTED = 200


class FixedBase:
    """Powers of ``base`` modulo ``modulus``.

    :param bits: exponents stay below 2**bits
    """

    def __init__(self, base: mpz, modulus: mpz, bits: int) -> None:
        self.base, self.modulus, self.bits = base, modulus, bits
        self._lock = threading.Lock()
        self._width = 0
        self._wanted = EXPECTED
        self._table: list[mpz] = []

    def powers(self, exponents: Sequence[int]) -> list[mpz]:
        """``base**exponent % modulus`` of each exponent.

        :param exponents: in [0, 2**bits)
        """
        if not exponents:
            return []
        bits = max(1, int(max(exponents)).bit_length())
        size = -(-bits // 8)
        return self._of_bytes(b"".join([int(exponent).to_bytes(size, "little") for exponent in exponents]), size, bits)

    def random_powers(self, count: int, bits: int) -> list[mpz]:
        """``count`` powers with fresh exponents, uniform in [0, 2**bits), from the operating system.

        :param bits: a multiple of 8
        """
        return self._of_bytes(os.urandom(count * bits // 8), bits // 8, bits)

    def _of_bytes(self, data: bytes, size: int, bits: int) -> list[mpz]:
        """:param data: exponents of ``size`` bytes each, little-endian, below 2**bits"""
        if bits > self.bits:
            raise ValueError(f"an exponent of {bits} bits for a table of {self.bits}")
        exponents = np.frombuffer(data, np.uint8).reshape(-1, size)
        width, table = self._prepared(len(exponents), bits)
        modulus = self.modulus
        powers = []
        for first, *others in _places(exponents, bits, width):
            power = table[first]
            for place in others:
                power = power * table[place] % modulus
            powers.append(power)
        return powers

    def _prepared(self, count: int, bits: int) -> tuple[int, list[mpz]]:
        """Width and table, wide enough for ``count`` powers more, with rows for ``bits`` bits. Tables only grow, so
        that a thread may use one while another extends it."""
        with self._lock:
            self._wanted += count
            best = _width(bits, self._wanted, self.modulus.bit_length())
            # a table that is there is nearly as good as one that is a little wider
            if best > self._width + 1 or not self._width:
                self._width, self._table = best, []
            size, table = 1 << self._width, self._table
            while len(table) < -(-bits // self._width) * size:
                # the last power of a row times the row's base is the next row's base
                base = table[-1] * table[-size + 1] % self.modulus if table else self.base
                power = mpz(1)
                for _ in range(size):
                    table.append(power)
                    power = power * base % self.modulus
            return self._width, table


def _width(bits: int, count: int, modulus_bits: int) -> int:
    """The width that makes a table and ``count`` powers with the fewest products."""
    fitting = [w for w in WIDTHS if -(-bits // w) * modulus_bits << w <= 8 * TABLE_BYTES]
    return min(fitting or WIDTHS[:1], key=lambda w: -(-bits // w) * (count + (1 << w)))


def _places(exponents: np.ndarray, bits: int, width: int) -> Iterator[list[int]]:
    """Where the factors of each power stand in the table.

    :param exponents: little-endian bytes, shape (count, size)
    """
    digits = -(-bits // width)
    weights = 1 << np.arange(width, dtype=np.int64)
    starts = np.arange(digits, dtype=np.int64) << width
    for start in range(0, len(exponents), CHUNK):
        chunk = np.unpackbits(exponents[start : start + CHUNK], axis=1, bitorder="little")
        cut = np.zeros((len(chunk), digits * width), np.uint8)
        cut[:, : min(chunk.shape[1], digits * width)] = chunk[:, : digits * width]
        yield from (cut.reshape(len(chunk), digits, width) @ weights + starts).tolist()
