"""The scheme of Okamoto and Uchiyama (EUROCRYPT 1998), with the subgroup of Coron, Naccache and Paillier.

n = p^2 q, and p - 1 = t u with a prime t of twice as many bits as the strength that is aimed at. G has order p t modulo
p^2, H = G^n mod n has order t there, and a ciphertext is c = G^m H^r mod n. Modulo p^2, c^t = (1 + p)^(m k) for a
constant k of the key, which gives m: decryption costs one power with an exponent as short as t (Coron, Naccache and
Paillier, "Accelerating Okamoto-Uchiyama public-key cryptosystem", Electronics Letters 1999).

What it rests on: nobody can tell powers of H from other numbers (the p-subgroup assumption) without factoring n, for
which 2048 bits give a strength of about 112 bits and 3072 of 128. Methods that take the square root of the number of
exponents (Pollard's kangaroo; to find t: Coron, Joux, Mandal, Naccache and Tibouchi, PKC 2011) need 2^112 or 2^128
steps, so exponents of 110 or 128 bits, as some libraries have them, are too short.

* The holder of the key encrypts as if r were drawn from all exponents: modulo p^2 from t of them, and modulo q, where G
  generates everything, as any number whatever. That costs one short power modulo p^2 and nothing else.
* Others encrypt with r as short as t: that this is as good as a full one is a further assumption.
* Sums that go back to the holder get an exponent 64 bits longer than the order of H, so that nothing of how they were
  made is left in them, whatever discrete logarithms the holder can compute.

Whoever learns the decryption of G^m for an m beyond p learns p. So every number that is decrypted is checked to be far
below p, and a failure says no more than that it failed.

gmpy2 does not run in constant time: this is for parties that do not measure each other's processes.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import gmpy2
from gmpy2 import mpz

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto.additive import KEY_BITS
from airflow_provider_fate.runtime.crypto.fixed_base import FixedBase
from airflow_provider_fate.runtime.crypto.numbers import STATISTICAL_BITS, read, sound_base, sound_modulus, write
from airflow_provider_fate.runtime.crypto.residues import (
    REFUSED,
    SPARE_BITS,
    ResidueKey,
    ResidueScheme,
)


def exponent_bits(bits: int) -> int:
    """Bits of t and of the exponents r: twice the strength of a modulus of ``bits`` bits (NIST SP 800-57, table 2)."""
    return 160 if bits < 2048 else 224 if bits < 3072 else 256 if bits < 7680 else 384


class OkamotoUchiyama(ResidueScheme):
    """Public operations of a key.

    :param public: n, then G, little-endian, each as long as n
    """

    name = "OU"

    def __init__(self, public: bytes) -> None:
        self.size, rest = divmod(len(public), 2)
        bits = 8 * self.size
        if rest or self.size % 2 or not KEY_BITS[0] <= bits <= KEY_BITS[1]:
            raise CryptoError(f"{len(public)} bytes are no OU public key of a length that is accepted")
        self.public = public
        self.modulus, self.g = read(public, self.size)
        if not sound_modulus(self.modulus, bits):
            raise CryptoError(f"the OU modulus received is not an odd composite number of {bits} bits")
        if not 1 < self.g < self.modulus:
            raise CryptoError("the OU base received is out of range")
        self.h = gmpy2.powmod(self.g, self.modulus, self.modulus)
        if not sound_base(self.h, self.modulus):
            raise CryptoError("the OU base received is not a unit of large order modulo all factors of n")
        self.plain_bits = (bits // 3 - SPARE_BITS - 1) // 8 * 8
        self.exponent_bits = exponent_bits(bits)
        # the order of H is at most t (q - 1)
        self._zero_bits = -(-(self.exponent_bits + bits // 3 + 2 + STATISTICAL_BITS) // 8) * 8
        self._plain = FixedBase(self.g, self.modulus, self.plain_bits)
        self._random = FixedBase(self.h, self.modulus, self.exponent_bits)
        self._hiding = FixedBase(self.h, self.modulus, self._zero_bits)

    def _encrypted(self, values: Sequence[int]) -> list[mpz]:
        random = self._random.random_powers(len(values), self.exponent_bits)
        return [a * b % self.modulus for a, b in zip(self._plain.powers(values), random, strict=True)]

    def _zeros(self, count: int) -> list[mpz]:
        return self._hiding.random_powers(count, self._zero_bits)


class OkamotoUchiyamaKey(ResidueKey):
    """A key pair.

    :param public: n and G
    :param p: the prime that stands in n twice
    :param t: a prime that divides p - 1, the order of H modulo p^2
    """

    def __init__(self, public: bytes, p: mpz, t: mpz) -> None:
        self.public: OkamotoUchiyama = OkamotoUchiyama(public)
        n, g, h = self.public.modulus, self.public.g, self.public.h
        self._p, self._t, self._p2, self._q = p, t, p * p, n // (p * p)
        # G = (1 + p)^k H^s modulo p^2 for some s, as its order is p t
        power = gmpy2.powmod(h, gmpy2.invert(n, t), self._p2)
        self._k = (g * gmpy2.invert(power, self._p2) % self._p2 - 1) // p
        self._inverse = gmpy2.invert(self._k * t, p)
        self._random = FixedBase(h % self._p2, self._p2, self.public.exponent_bits)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.public.public, self._p, self._t)

    @classmethod
    def generate(cls, bits: int) -> OkamotoUchiyamaKey:
        """A fresh key pair of primes from the operating system's randomness."""
        third, short = -(-bits // 3), exponent_bits(bits)
        t = _prime(1 << (short - 1), 1 << short)
        while True:
            u = 2 * (secrets.randbits(third - short - 1) | 3 << (third - short - 3))
            p = t * u + 1
            if p.bit_length() == third and u % t and gmpy2.is_prime(p, 40):
                break
        p2 = p * p
        q, factors = _prime_of_known_order((mpz(1) << (bits - 1)) // p2 + 1, (mpz(1) << bits) // p2, (p, t))
        while True:
            # of order p t: neither part is missing
            at_p = gmpy2.powmod(secrets.randbelow(int(p2)), u, p2)
            if 1 not in (gmpy2.powmod(at_p, t, p2), gmpy2.powmod(at_p, p, p2)) and at_p % p:
                break
        while True:
            at_q = mpz(secrets.randbelow(int(q)))
            if at_q and all(gmpy2.powmod(at_q, (q - 1) // factor, q) != 1 for factor in factors):
                break
        g = at_p + (at_q - at_p) * gmpy2.invert(p2, q) % q * p2
        return cls(write([p2 * q, g], bits // 8), p, t)

    def _encrypted(self, values: Sequence[int]) -> list[mpz]:
        p, p2, k, count = self._p, self._p2, self._k, len(values)
        powers = self._random.powers(_below(self._t, count))
        numbers = []
        for value, power, rest in zip(values, powers, _below(self._q, count), strict=True):
            # (1 + p)^(k m) H^r modulo p^2, and any number modulo q
            numbers.append((power + power * (k * value % p) % p * p) % p2 + rest * p2)
        return numbers

    def _decrypted(self, numbers: Sequence[mpz]) -> list[int]:
        p = self._p
        found = []
        for power in gmpy2.powmod_base_list([number % self._p2 for number in numbers], self._t, self._p2):
            number, rest = gmpy2.f_divmod(power - 1, p)
            if rest:
                raise CryptoError(REFUSED)
            found.append(int(number * self._inverse % p))
        return found


@lru_cache(maxsize=2)
def _restored(public: bytes, p: mpz, t: mpz) -> OkamotoUchiyamaKey:
    """A key that was pickled, once in a process: its tables stay for the next task."""
    return OkamotoUchiyamaKey(public, p, t)


def _below(limit: mpz, count: int) -> list[mpz]:
    """Random numbers in [0, limit), uniform but for 2**-64, from the operating system."""
    size = (limit.bit_length() + STATISTICAL_BITS + 7) // 8
    return [number % limit for number in read(secrets.token_bytes(size * count), size)]


def _prime(low: int, high: int) -> mpz:
    """A random prime in [low, high)."""
    while True:
        candidate = mpz(low + secrets.randbelow(int(high - low))) | 1
        if candidate < high and gmpy2.is_prime(candidate, 40):
            return candidate


def _prime_of_known_order(low: mpz, high: mpz, others: Sequence[mpz]) -> tuple[mpz, set[int]]:
    """A random prime q in [low, high) and the prime factors of q - 1, none of which is one of ``others``.

    Its largest factor is at most 13 bits shorter than q.
    """
    while True:
        large = _prime(low >> 12, high >> 12)
        first, end = low // (2 * large) + 1, high // (2 * large)
        for _ in range(300):
            small = first + secrets.randbelow(int(end - first))
            q = 2 * small * large + 1
            if low <= q < high and q not in others and large not in others and gmpy2.is_prime(q, 40):
                factors = [factor for factor in range(2, int(small) + 1) if small % factor == 0]
                return q, {2, int(large), *filter(gmpy2.is_prime, factors)}
