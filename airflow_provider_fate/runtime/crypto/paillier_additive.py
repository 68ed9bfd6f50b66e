"""Sums by bin under Paillier's scheme (1999), in the variant of :mod:`.paillier`: the conservative choice.

It rests on the decisional composite residuosity assumption and, for exponents of half as many bits as n, on factoring.
Ciphertexts are twice as long as those of Okamoto and Uchiyama, additions three times and decryptions twenty times as
dear. Sums that go back to the holder of the key get an exponent that is 64 bits longer than the order of the group.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import gmpy2
from gmpy2 import mpz

from airflow_provider_fate.runtime.crypto.fixed_base import FixedBase
from airflow_provider_fate.runtime.crypto.numbers import read
from airflow_provider_fate.runtime.crypto.paillier import Paillier, PaillierSecretKey
from airflow_provider_fate.runtime.crypto.residues import SPARE_BITS, ResidueKey, ResidueScheme


class AdditivePaillier(ResidueScheme):
    """Public operations of a key.

    :param public: as :class:`.paillier.Paillier` has it
    """

    name = "Paillier"

    def __init__(self, public: bytes) -> None:
        self._key = Paillier(public)
        bits = self._key.n.bit_length()
        self.public, self.modulus, self.size = public, self._key.n2, bits // 4
        self.plain_bits = (bits - SPARE_BITS - 1) // 8 * 8

    def _encrypted(self, values: Sequence[int]) -> list[mpz]:
        return self._key.fresh(values)

    def _zeros(self, count: int) -> list[mpz]:
        return self._key.zeros(count)


class AdditivePaillierKey(ResidueKey):
    """A key pair.

    :param key: the same pair, as the vector scheme uses it
    """

    def __init__(self, key: PaillierSecretKey) -> None:
        self._key = key
        self.public: AdditivePaillier = AdditivePaillier(key.public.public)
        n, h = key.public.n, key.public.h
        self._p2, self._q2 = key.p * key.p, key.q * key.q
        self._bits = n.bit_length() // 2
        self._at_p = FixedBase(h % self._p2, self._p2, self._bits)
        self._at_q = FixedBase(h % self._q2, self._q2, self._bits)
        self._p2_inverse = gmpy2.invert(self._p2, self._q2)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.public.public, self._key.p, self._key.q)

    @classmethod
    def generate(cls, bits: int) -> AdditivePaillierKey:
        """A fresh key pair."""
        return cls(PaillierSecretKey.generate(bits))

    def _encrypted(self, values: Sequence[int]) -> list[mpz]:
        n, p2, q2 = self._key.public.n, self._p2, self._q2
        size = self._bits // 8
        exponents = read(secrets.token_bytes(size * len(values)), size)
        numbers = []
        for value, at_p, at_q in zip(
            values, self._at_p.powers(exponents), self._at_q.powers(exponents), strict=True
        ):
            plain = 1 + value * n
            at_p, at_q = plain * at_p % p2, plain * at_q % q2
            numbers.append(at_p + (at_q - at_p) * self._p2_inverse % q2 * p2)
        return numbers

    def _decrypted(self, numbers: Sequence[mpz]) -> list[int]:
        return [self._key.number(number) for number in numbers]


@lru_cache(maxsize=2)
def _restored(public: bytes, p: mpz, q: mpz) -> AdditivePaillierKey:
    """A key that was pickled, once in a process: its tables stay for the next task."""
    return AdditivePaillierKey(PaillierSecretKey(p, q, public))
