"""What the schemes share whose ciphertexts are numbers modulo N and add up by multiplication."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto.additive import AdditiveScheme, AdditiveSecretKey, additive
from airflow_provider_fate.runtime.crypto.histograms import products_by_bin
from airflow_provider_fate.runtime.crypto.numbers import coprime, inverted, read, write
from airflow_provider_fate.runtime.crypto.processes import pieces, spread

#: what plaintexts leave of the room, so that a number that wrapped around is noticed, but for a chance of 2**-64
SPARE_BITS = 64
#: why a decryption is refused, whatever the reason, without a word of what was found: under Okamoto-Uchiyama, a number
#: that wrapped around tells the key
REFUSED = "not a ciphertext under the key in use, or its number is larger than the sums that the protocol has"
#: less than this a core, some 100 ms, is not spread over processes: encryptions, products of a histogram, ciphertexts
#: packed or decrypted
LEAST_ENCRYPTED = 4096
LEAST_PRODUCTS = 100_000
LEAST_PACKED = 128
LEAST_DECRYPTED = 512


class ResidueScheme(AdditiveScheme):
    """Ciphertexts are units modulo :attr:`modulus`, of ``size`` bytes, little-endian."""

    modulus: mpz

    def __reduce__(self) -> tuple[Any, ...]:
        return additive, (self.name, self.public)

    @abstractmethod
    def _encrypted(self, values: Sequence[int]) -> list[mpz]:
        """Fresh encryptions of values in range."""

    @abstractmethod
    def _zeros(self, count: int) -> list[mpz]:
        """Fresh encryptions of zero, statistically uniform among all of them."""

    def encrypt(self, values: Sequence[int]) -> bytes:
        check_range(values, self.plain_bits)
        return _encrypt(self, values)

    def load(self, body: bytes) -> list[mpz]:
        numbers = read(body, self.size)
        if numbers and not (min(numbers) > 0 and max(numbers) < self.modulus):
            raise CryptoError(f"not a ciphertext under the {self.name} key in use")
        return numbers

    def histogram(
        self, body: Any, places: np.ndarray, bins: Sequence[int], rows: np.ndarray | None = None
    ) -> list[mpz | None]:
        numbers = self.load(body) if isinstance(body, bytes) else body
        if places.shape != (len(numbers), len(bins)):
            raise CryptoError(
                f"{len(numbers)} ciphertexts and bins of {len(bins)} columns, but places of shape {places.shape}"
            )
        if rows is not None:
            numbers, places = [numbers[row] for row in rows.tolist()], places[rows]
        if len(numbers) and not (places.max(axis=0) < bins).all():
            raise CryptoError("a row lies in a bin that its column does not have")
        cut = pieces(len(numbers), LEAST_PRODUCTS // max(1, len(bins)))
        if len(cut) == 1:
            return self._products(numbers, places, bins)
        # bytes travel faster than numbers
        parts = [(self, write(numbers[part], self.size), places[part], bins) for part in cut]
        total, *others = spread(_histogram, parts)
        for other in others:
            total = self.add(total, other)
        return total

    def _products(self, numbers: Sequence[mpz], places: np.ndarray, bins: Sequence[int]) -> list[mpz | None]:
        return products_by_bin(numbers, places.astype(np.int64), list(bins), self.modulus)

    def add(self, one: Sequence[mpz | None], other: Sequence[mpz | None]) -> list[mpz | None]:
        modulus = self.modulus
        return [
            b if a is None else a if b is None else a * b % modulus for a, b in zip(one, other, strict=True)
        ]

    def subtract(self, whole: Sequence[mpz | None], part: Sequence[mpz | None]) -> list[mpz | None]:
        modulus = self.modulus
        inverses = iter(inverted([number for number in part if number is not None], modulus))
        rest: list[mpz | None] = []
        for a, b in zip(whole, part, strict=True):
            if b is None:
                rest.append(a)
            elif a is None:
                raise CryptoError("a sum of some rows cannot be taken from a sum of none")
            else:
                rest.append(a * next(inverses) % modulus)
        return rest

    def pack(self, sums: Sequence[mpz | None], bits: int) -> bytes:
        each = self.each(bits)
        cut = pieces(self.packs(len(sums), bits), LEAST_PACKED)
        return b"".join(
            spread(_pack, [(self, sums[part.start * each : part.stop * each], bits) for part in cut])
        )

    def _packed(self, sums: Sequence[mpz | None], bits: int) -> bytes:
        each, shift, modulus = self.each(bits), mpz(1) << bits, self.modulus
        packed = self._zeros(self.packs(len(sums), bits))
        for number, zero in enumerate(packed):
            total = None
            for one in reversed(sums[number * each : (number + 1) * each]):
                if total is not None:
                    total = gmpy2.powmod(total, shift, modulus)
                if one is not None:
                    total = one if total is None else total * one % modulus
            if total is not None:
                packed[number] = zero * total % modulus
        if not coprime(packed, modulus):
            raise CryptoError(f"a ciphertext was not one under the {self.name} key in use")
        return write(packed, self.size)


class ResidueKey(AdditiveSecretKey):
    """The secret key of a :class:`ResidueScheme`."""

    public: ResidueScheme

    @abstractmethod
    def _encrypted(self, values: Sequence[int]) -> list[mpz]:
        """Fresh encryptions of values in range."""

    @abstractmethod
    def _decrypted(self, numbers: Sequence[mpz]) -> list[int]:
        """Plaintexts, in range or not. :raises CryptoError: a number is no ciphertext"""

    def encrypt(self, values: Sequence[int]) -> bytes:
        check_range(values, self.public.plain_bits)
        return _encrypt(self, values)

    def decrypt(self, body: bytes) -> list[int]:
        numbers = self._numbers(body)
        self._refuse_above([self.public.plain_bits] * len(numbers), numbers)
        return numbers

    def unpack(self, body: bytes, count: int, bits: int) -> list[int]:
        each = self.public.each(bits)
        numbers = self._numbers(body)
        if len(numbers) != self.public.packs(count, bits):
            raise CryptoError(f"{count} sums of {bits} bits are not packed in {len(numbers)} ciphertexts")
        self._refuse_above([bits * min(each, count - each * place) for place in range(len(numbers))], numbers)
        mask = (1 << bits) - 1
        return [numbers[place // each] >> bits * (place % each) & mask for place in range(count)]

    def _numbers(self, body: bytes) -> list[int]:
        size = self.public.size
        cut = pieces(len(body) // size, LEAST_DECRYPTED)
        if len(cut) == 1:
            return _decrypt(self, body)
        parts = [(self, body[part.start * size : part.stop * size]) for part in cut[:-1]]
        parts.append((self, body[cut[-1].start * size :]))
        return [number for part in spread(_decrypt, parts) for number in part]

    @staticmethod
    def _refuse_above(bits: Sequence[int], numbers: Sequence[int]) -> None:
        if any(number >> most for number, most in zip(numbers, bits, strict=True)):
            raise CryptoError(REFUSED)


# --- pieces of work, here or in another process -------------------------------------------------------------------


def _encrypt(key: ResidueScheme | ResidueKey, values: Sequence[int]) -> bytes:
    return b"".join(spread(_encrypt_piece, [(key, values[part]) for part in pieces(len(values), LEAST_ENCRYPTED)]))


def _encrypt_piece(key: ResidueScheme | ResidueKey, values: Sequence[int]) -> bytes:
    size = key.size if isinstance(key, ResidueScheme) else key.public.size
    return write(key._encrypted(values), size)


def _histogram(scheme: ResidueScheme, body: bytes, places: np.ndarray, bins: Sequence[int]) -> list[mpz | None]:
    return scheme._products(read(body, scheme.size), places, bins)


def _pack(scheme: ResidueScheme, sums: Sequence[mpz | None], bits: int) -> bytes:
    return scheme._packed(sums, bits)


def _decrypt(key: ResidueKey, body: bytes) -> list[int]:
    return key._decrypted(key.public.load(body))


def check_range(values: Sequence[int], bits: int) -> None:
    """:raises CryptoError: a value is not in [0, 2**bits)"""
    if len(values) and (min(values) < 0 or int(max(values)).bit_length() > bits):
        raise CryptoError(f"a number to be encrypted is not in [0, 2**{bits})")
