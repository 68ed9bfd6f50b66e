"""Numbers modulo a public key's modulus: bytes, checks, inverses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import gmpy2
from gmpy2 import mpz

from airflow_provider_fate.errors import CryptoError

#: a random number hides another that is this many bits shorter, but for a chance of 2**-64
STATISTICAL_BITS = 64


def write(numbers: Iterable[mpz], size: int) -> bytes:
    """Numbers of ``size`` bytes each."""
    return b"".join([number.to_bytes(size, "little") for number in numbers])


def read(body: bytes, size: int) -> list[mpz]:
    """Numbers of ``size`` bytes each. :raises CryptoError: the bytes are not a multiple of that"""
    if len(body) % size:
        raise CryptoError(f"ciphertexts of {size} bytes each, but {len(body)} bytes in all")
    view, make = memoryview(body), mpz.from_bytes
    return [make(view[start : start + size], "little") for start in range(0, len(body), size)]


def coprime(numbers: Iterable[mpz], modulus: mpz) -> bool:
    """Whether no number has a factor in common with ``modulus``."""
    product = mpz(1)
    for number in numbers:
        product = product * number % modulus
    return gmpy2.gcd(product, modulus) == 1


def inverted(numbers: Sequence[mpz], modulus: mpz) -> list[mpz]:
    """Inverses by one inversion and three products a number (Montgomery 1987, section 10.3.1).

    :raises CryptoError: one has none
    """
    if not numbers:
        return []
    products = [mpz(1)]
    for number in numbers:
        products.append(products[-1] * number % modulus)
    try:
        inverse = gmpy2.invert(products.pop(), modulus)
    except ZeroDivisionError:
        raise CryptoError("a number received is no ciphertext: it has no inverse") from None
    inverses = []
    for number, before in zip(reversed(numbers), reversed(products), strict=True):
        inverses.append(inverse * before % modulus)
        inverse = inverse * number % modulus
    return inverses[::-1]


def sound_base(base: mpz, modulus: mpz) -> bool:
    """Whether ``base`` is a unit and its order exceeds 1000 modulo each factor of ``modulus``.

    Few powers hide nothing, and a base that is 1 modulo one of the factors makes that factor public.
    """
    few = gmpy2.powmod(base, _small_orders(), modulus) - 1
    return coprime([base, few], modulus)


@lru_cache(maxsize=1)
def _small_orders() -> mpz:
    """A multiple of all numbers up to 1000."""
    return mpz(math.lcm(*range(1, 1001)))


@lru_cache(maxsize=1)
def _small_primes() -> mpz:
    return gmpy2.primorial(1 << 16)


def sound_modulus(n: mpz, bits: int) -> bool:
    """Whether ``n`` can be the modulus of a public key: odd, of that length, composite, without a small factor."""
    return n.bit_length() == bits and n.is_odd() and gmpy2.gcd(n, _small_primes()) == 1 and not gmpy2.is_prime(n)
