"""The scheme of Okamoto and Uchiyama (EUROCRYPT 1998), with the short exponents of Coron, Naccache and Paillier.

n = p^2 q, and p - 1 = t u with a prime t of twice as many bits as the strength that is aimed at. For g of order
divisible by p modulo p^2, G = g^u mod n and H = G^n mod n; a ciphertext is c = G^m H^r mod n. Modulo p^2, H has order t
and c^t = (1 + p)^(m k) for a constant k of the key, which gives m: decryption costs one power with an exponent as short
as t (Coron, Naccache and Paillier, "Accelerating Okamoto-Uchiyama public-key cryptosystem", Electronics Letters 1999).

What it rests on: nobody can tell H^r from other elements (the p-subgroup assumption) without factoring n, for which
2048 bits give a strength of about 112 bits and 3072 of 128; and r as short as t is as good as a full one. Methods that
take the square root of the number of exponents (Pollard's kangaroo; for t, Coron, Joux, Mandal, Naccache and Tibouchi,
PKC 2011) need 2^112 or 2^128 steps, so exponents of 110 or 128 bits, as some libraries have them, are too short.

Sums that go back to the holder of the key get an exponent that is 64 bits longer than the order of the group, so that
nothing of how they were made is left in them, whatever discrete logarithms the holder can compute.

Whoever learns the decryption of G^m for an m beyond p learns p. So every number that is decrypted is checked to be far
below p, and a failure says no more than that it failed.

gmpy2 does not run in constant time: this is for parties that do not measure each other's processes.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import gmpy2
from gmpy2 import mpz

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto.additive import KEY_BITS
from airflow_provider_fate.runtime.crypto.fixed_base import FixedBase
from airflow_provider_fate.runtime.crypto.numbers import coprime, read, sound_modulus, write
from airflow_provider_fate.runtime.crypto.residues import SPARE_BITS, STATISTICAL_BITS, ResidueKey, ResidueScheme


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
        # H = 1 modulo one of the factors would make that factor public, and few powers of H hide nothing
        few = gmpy2.powmod(self.h, _small_orders(), self.modulus) - 1
        if not coprime([self.g, few], self.modulus):
            raise CryptoError("the OU base received is not a unit of large order modulo all factors of n")
        self.plain_bits = (bits // 3 - SPARE_BITS - 1) // 8 * 8
        self.exponent_bits = exponent_bits(bits)
        # the order of H divides (p - 1) (q - 1)
        self._zero_bits = -(-(2 * -(-bits // 3) + 1 + STATISTICAL_BITS) // 8) * 8
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
        # G = (1 + p)^k H^s modulo p^2, as G^n = H has order t
        self._s = gmpy2.invert(n, t)
        self._k = (g * gmpy2.invert(gmpy2.powmod(h, self._s, self._p2), self._p2) % self._p2 - 1) // p
        self._inverse = gmpy2.invert(self._k * t, p)
        self._p2_inverse = gmpy2.invert(self._p2, self._q)
        bits = self.public.exponent_bits
        self._random_p = FixedBase(h % self._p2, self._p2, bits)
        self._random_q = FixedBase(h % self._q, self._q, bits)
        self._plain_q = FixedBase(g % self._q, self._q, self.public.plain_bits)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.public.public, self._p, self._t)

    @classmethod
    def generate(cls, bits: int) -> OkamotoUchiyamaKey:
        """A fresh key pair of primes from the operating system's randomness."""
        third, short = -(-bits // 3), exponent_bits(bits)
        t = _prime(1 << (short - 1), 1 << short)
        while True:
            u = 2 * (secrets.randbits(third - short - 1) | 1 << (third - short - 2) | 1 << (third - short - 3))
            p = t * u + 1
            if p.bit_length() == third and u % t and gmpy2.is_prime(p, 40):
                break
        low, high = (mpz(1) << (bits - 1)) // (p * p) + 1, (mpz(1) << bits) // (p * p)
        while gmpy2.gcd((q := _prime(low, high)) - 1, p * t) != 1 or q == p or (p - 1) % q == 0:
            pass
        n, size = p * p * q, bits // 8
        while True:
            g = gmpy2.powmod(secrets.randbelow(int(n)), u, n)
            # of order p t modulo p^2: neither part is missing
            p_part, t_part = gmpy2.powmod(g, t, p * p), gmpy2.powmod(g, p, p * p)
            if gmpy2.gcd(g, n) == 1 and p_part != 1 and t_part != 1:
                return cls(write([n, g], size), p, t)

    def _encrypted(self, values: Sequence[int]) -> list[mpz]:
        public, p, q, t = self.public, self._p, self._q, self._t
        size = public.exponent_bits // 8
        exponents = read(secrets.token_bytes(size * len(values)), size)
        at_q = zip(self._random_q.powers(exponents), self._plain_q.powers(values), strict=True)
        # G^m H^r = (1 + p)^(k m) H^(s m + r) modulo p^2
        at_p = self._random_p.powers([(self._s * m + r) % t for m, r in zip(values, exponents, strict=True)])
        numbers = []
        for value, power, (random, plain) in zip(values, at_p, at_q, strict=True):
            power = (power + power * (self._k * value % p) % p * p) % self._p2
            numbers.append(power + (random * plain - power) * self._p2_inverse % q * self._p2)
        return numbers

    def _decrypted(self, numbers: Sequence[mpz]) -> list[int]:
        p = self._p
        found = []
        for power in gmpy2.powmod_base_list([number % self._p2 for number in numbers], self._t, self._p2):
            number, rest = gmpy2.f_divmod(power - 1, p)
            if rest:
                raise CryptoError("not a ciphertext under the OU key in use")
            found.append(int(number * self._inverse % p))
        return found


@lru_cache(maxsize=2)
def _restored(public: bytes, p: mpz, t: mpz) -> OkamotoUchiyamaKey:
    """A key that was pickled, once in a process: its tables stay for the next task."""
    return OkamotoUchiyamaKey(public, p, t)


@lru_cache(maxsize=1)
def _small_orders() -> mpz:
    """A multiple of all numbers up to 1000."""
    return mpz(math.lcm(*range(1, 1001)))


def _prime(low: int, high: int) -> mpz:
    """A random prime in [low, high)."""
    while True:
        candidate = mpz(low + secrets.randbelow(int(high - low))) | 1
        if candidate < high and gmpy2.is_prime(candidate, 40):
            return candidate
