"""Inner products under Paillier's scheme (1999), in the variant of Damgard, Jurik and Nielsen (2010).

Ciphertexts are c = (1 + m n) * h^r mod n^2, with h = (-y^2)^n published in the key and r of half as many bits as n:
telling such an exponent from a full one is as hard as factoring n (Goldreich and Rosen 2003). Products of powers are
computed by bucketed multi-exponentiation (Pippenger 1976). What goes to the holder of the key is the sum of a partial
result and an encryption of a mask uniform modulo n. Its content is uniform; and as it has an r that is 64 bits longer
than the order of h, its randomness is too, but for 2^-64: an r of half as many bits would hide nothing from who has the
factors of n, and may compute discrete logarithms.

gmpy2 does not run in constant time: this is for parties that do not measure each other's processes.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import gmpy2
import numpy as np
from gmpy2 import mpz

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto.fixed_base import FixedBase
from airflow_provider_fate.runtime.crypto.numbers import (
    STATISTICAL_BITS,
    coprime,
    read,
    sound_base,
    sound_modulus,
    write,
)
from airflow_provider_fate.runtime.crypto.scheme import PAILLIER_BITS, SecretKey, Slots, VectorScheme


class Paillier(VectorScheme):
    """Public operations of a Paillier key.

    :param public: n, then h, little-endian, of 1 and 2 times the key's bytes
    """

    name = "Paillier"
    factor_bits = 20
    quick_cells = 256

    def __init__(self, public: bytes) -> None:
        length, rest = divmod(len(public), 3)
        if rest or length % 2 or not PAILLIER_BITS[0] <= length * 8 <= PAILLIER_BITS[1]:
            raise CryptoError(f"{len(public)} bytes are no Paillier public key of a length that is accepted")
        self.public = public
        (self.n,), (self.h,) = read(public[:length], length), read(public[length:], 2 * length)
        self.n2 = self.n * self.n
        if not sound_modulus(self.n, length * 8):
            raise CryptoError(f"the Paillier modulus received is not an odd composite number of {length * 8} bits")
        # modulo n, where what a ciphertext holds has no part in its order
        if not 1 < self.h < self.n2 or not sound_base(self.h, self.n):
            raise CryptoError("the Paillier randomiser base received is not a unit of large order modulo n's factors")
        self.modulus = int(self.n)
        self._bytes = 2 * length
        self._random = FixedBase(self.h, self.n2, length * 4)
        self._hiding_bits = length * 8 + STATISTICAL_BITS
        self._hiding = FixedBase(self.h, self.n2, self._hiding_bits)

    def zeros(self, count: int) -> list[mpz]:
        """Fresh encryptions of zero, statistically uniform among all of them: for what goes to the key's holder."""
        return self._hiding.random_powers(count, self._hiding_bits)

    def fresh(self, values: Sequence[int]) -> list[mpz]:
        """Fresh encryptions of integers modulo n, for others than the key's holder."""
        return self._with(values, self._random.random_powers(len(values), self.n.bit_length() // 2))

    def _with(self, values: Sequence[int], randomisers: Sequence[mpz]) -> list[mpz]:
        return [
            (1 + value % self.n * self.n) * randomiser % self.n2
            for value, randomiser in zip(values, randomisers, strict=True)
        ]

    def _write(self, ciphertexts: Sequence[mpz]) -> bytes:
        return write(ciphertexts, self._bytes)

    def _read(self, body: bytes, rows: int) -> list[mpz]:
        if len(body) != rows * self._bytes:
            raise CryptoError(f"{rows} Paillier ciphertexts have {rows * self._bytes} bytes, got {len(body)}")
        ciphertexts = read(body, self._bytes)
        if ciphertexts and (max(ciphertexts) >= self.n2 or not coprime(ciphertexts, self.n)):
            raise CryptoError("not a Paillier ciphertext under the key in use")
        return ciphertexts

    def combine(self, vectors: Sequence[bytes], values: np.ndarray) -> bytes:
        total = self.fresh(values.tolist())
        for body in vectors:
            total = [a * b % self.n2 for a, b in zip(total, self._read(body, len(values)), strict=True)]
        return self._write(total)

    def read(self, body: bytes) -> bytes:
        return body

    def write(self, vector: bytes) -> bytes:
        return vector

    def encode(self, columns: np.ndarray, slots: Slots, first: int = 0) -> tuple[int, np.ndarray]:
        """The columns as they are, and the slot of the first."""
        return first, columns

    def encoded_size(self, encoded: tuple[int, np.ndarray]) -> int:
        return int(encoded[1].nbytes)

    def products(self, vector: bytes, encoded: tuple[int, np.ndarray], slots: Slots) -> list[mpz | None]:
        first, columns = encoded
        results: list[mpz | None] = [None] * slots.columns
        ciphertexts = self._read(vector, len(columns))
        for number, column in enumerate(columns.T):
            results[first + number] = _multi_power(ciphertexts, column, self.n2)
        return results

    def parts(self, slots: Slots) -> int:
        return slots.columns

    def blinds(self, count: int) -> list[tuple[int, mpz]]:
        """(mask, its encryption)."""
        masks = [secrets.randbelow(self.modulus) for _ in range(count)]
        return list(zip(masks, self._with(masks, self.zeros(count)), strict=True))

    def finish(self, partials: Sequence[mpz | None], blind: tuple[int, mpz]) -> bytes:
        total = blind[1]
        for partial in partials:
            if partial is not None:
                total = total * partial % self.n2
        return self._write([total])

    def masks(self, blinds: Sequence[tuple[int, mpz]], slots: Slots) -> list[int]:
        return [mask for mask, _ in blinds]

    def vector_limits(self, rows: int) -> tuple[int, int]:
        return rows * self._bytes, rows * self._bytes

    def part_limits(self) -> tuple[int, int]:
        return self._bytes, self._bytes


class PaillierSecretKey(SecretKey):
    """A key pair.

    :param p: a prime, 3 modulo 4
    :param q: another one, of as many bits
    :param public: n and h
    """

    def __init__(self, p: mpz, q: mpz, public: bytes) -> None:
        n = p * q
        self.public = Paillier(public)
        self.p, self.q = p, q
        self._half_p, self._half_q = self._inverse(p, n), self._inverse(q, n)
        self._p_of_q = gmpy2.invert(p, q)

    @classmethod
    def generate(cls, bits: int) -> PaillierSecretKey:
        """A fresh key pair of primes from the operating system's randomness."""
        while True:
            p, q = _prime(bits // 2), _prime(bits // 2)
            if p != q and gmpy2.gcd(p - 1, q - 1) == 2:
                break
        n = p * q
        while gmpy2.gcd(y := mpz(secrets.randbelow(int(n))), n) != 1:
            pass
        h = gmpy2.powmod(-y * y, n, n * n)
        return cls(p, q, write([n], bits // 8) + write([h], bits // 4))

    @staticmethod
    def _inverse(prime: mpz, n: mpz) -> mpz:
        return gmpy2.invert((gmpy2.powmod(1 + n, prime - 1, prime * prime) - 1) // prime, prime)

    def decrypt(self, parts: Sequence[bytes], slots: Slots) -> list[int]:
        if len(parts) != slots.columns:
            raise CryptoError(f"expected {slots.columns} ciphertexts, got {len(parts)}")
        return [self.number(self.public._read(body, 1)[0]) for body in parts]

    def number(self, ciphertext: mpz) -> int:
        """What a ciphertext holds, in [0, n)."""
        p, q = self.p, self.q
        at_p = (gmpy2.powmod(ciphertext, p - 1, p * p) - 1) // p * self._half_p % p
        at_q = (gmpy2.powmod(ciphertext, q - 1, q * q) - 1) // q * self._half_q % q
        return int(at_p + (at_q - at_p) * self._p_of_q % q * p)


def _prime(bits: int) -> mpz:
    """A random prime, 3 modulo 4, with its two highest bits set so that products have twice the bits."""
    while True:
        candidate = mpz(secrets.randbits(bits)) | (mpz(3) << (bits - 2)) | 3
        if gmpy2.is_prime(candidate, 40):
            return candidate


def _multi_power(bases: list[mpz], exponents: np.ndarray, modulus: mpz) -> mpz | None:
    """The product of all bases[i]**exponents[i], by buckets; ``None`` where all exponents are zero."""
    used = np.flatnonzero(exponents)
    if not len(used):
        return None
    magnitudes, negative = np.abs(exponents[used]), exponents[used] < 0
    bits = int(magnitudes.max()).bit_length()
    # a window costs a product a row, and two a bucket for both signs
    width = min(range(1, 13), key=lambda w: -(-bits // w) * (len(used) + (4 << w)))
    size = 1 << width
    chosen = [bases[i] for i in used.tolist()]
    totals = [mpz(1), mpz(1)]
    for shift in range((bits - 1) // width * width, -1, -width):
        digits = (magnitudes >> shift) & (size - 1)
        buckets: list[mpz | None] = [None] * (2 * size)
        for base, place in zip(chosen, (digits + size * negative).tolist(), strict=True):
            found = buckets[place]
            buckets[place] = base if found is None else found * base % modulus
        for sign in (0, 1):
            total, running = gmpy2.powmod(totals[sign], size, modulus), mpz(1)
            for bucket in reversed(buckets[sign * size + 1 : (sign + 1) * size]):
                if bucket is not None:
                    running = running * bucket % modulus
                if running != 1:
                    total = total * running % modulus
            totals[sign] = total
    return totals[0] * gmpy2.invert(totals[1], modulus) % modulus
