"""Additively homomorphic encryption of many small integers: sums by bin, as the trees and the binning need them.

One party holds an :class:`AdditiveSecretKey` and encrypts a number for each of its rows (often several small ones
packed in one). Another holds the :class:`AdditiveScheme` of its public key, adds the numbers of the rows in each of
its bins, still encrypted, puts several sums in one ciphertext, and sends them back under fresh randomness.

Plaintexts are integers in [0, 2**plain_bits). Nothing wraps: who packs keeps every sum within its bits, and
decryption refuses a number that is out of range (under Okamoto-Uchiyama, decrypting such a number for somebody would
give the key away). What was decrypted stays with the holder of the key: a protocol sends on what it concludes from the
sums (the split that it chose), never the sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError

METHODS = ("OU", "Paillier")
#: key lengths, fewest and most; those below the default only where the conf asks for a weak key by name
KEY_BITS = (1024, 8192)
DEFAULT_BITS = 2048


class AdditiveScheme(ABC):
    """The public operations of one key. Made anew from ``name`` and ``public`` wherever work is done.

    A *body* is ``size`` bytes a ciphertext, one after the other. *Sums* are what :meth:`histogram` gives: a list of
    opaque, picklable numbers, ``None`` for a sum of nothing. Sums still carry the randomness of the ciphertexts they
    were made of: only what :meth:`pack` made of them may leave the party.
    """

    #: the method's name in ``encrypt_param``
    name: str
    #: plaintexts are integers in [0, 2**plain_bits)
    plain_bits: int
    #: bytes of a ciphertext
    size: int
    #: the public key as it travels; checked when the scheme is made of it
    public: bytes

    @abstractmethod
    def encrypt(self, values: Sequence[int]) -> bytes:
        """A body: each value under fresh randomness.

        :raises CryptoError: a value is out of range
        """

    @abstractmethod
    def load(self, body: bytes) -> Any:
        """A body made ready for several calls of :meth:`histogram`, as of the nodes of a tree.

        Reading costs about half a microsecond a ciphertext. What is read takes about ``size`` + 40 bytes a ciphertext
        in memory (30 MB for 100,000 of 2048 bits), for as long as it is referred to, beside the body itself.

        :raises CryptoError: ``body`` is no body of ciphertexts
        """

    @abstractmethod
    def histogram(
        self, body: Any, places: np.ndarray, bins: Sequence[int], rows: np.ndarray | None = None
    ) -> list[Any]:
        """Encrypted sums of the rows in each bin of each column.

        Columns are joined where that saves additions (see :mod:`.histograms`), so give all columns at once.

        :param body: of shape (all rows,), or what :meth:`load` made of it
        :param places: unsigned integers, shape (all rows, columns): each row's bin in each column
        :param bins: of each column, how many bins it has
        :param rows: numbers of the rows to count, integers of shape (some rows,), each at most once; ``None`` for all
        :return: ``sum(bins)`` sums, column by column
        :raises CryptoError: ``body`` is no body of as many ciphertexts, or one is out of range
        """

    @abstractmethod
    def add(self, one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
        """Sums of two sets of rows from the sums of each; e.g. over partitions."""

    @abstractmethod
    def subtract(self, whole: Sequence[Any], part: Sequence[Any]) -> list[Any]:
        """The sums of the rows that are in ``whole`` and not in ``part``."""

    @abstractmethod
    def pack(self, sums: Sequence[Any], bits: int) -> bytes:
        """A body that holds ``plain_bits // bits`` sums in each ciphertext, under fresh randomness.

        Whoever gets it, the holder of the key too, learns the sums and nothing of how they were made: the randomness
        of the result is statistically (2**-64) independent of that of the ciphertexts that went in.

        :param bits: each sum is below 2**bits, which is the caller's to make sure of; ``plain_bits`` for one sum a
            ciphertext
        """

    def packs(self, count: int, bits: int) -> int:
        """How many ciphertexts :meth:`pack` makes of ``count`` sums."""
        return -(-count // self.each(bits))

    def each(self, bits: int) -> int:
        """How many sums of ``bits`` bits a ciphertext holds.

        :raises ValueError: not one
        """
        if not 0 < bits <= self.plain_bits:
            raise ValueError(f"sums of {bits} bits for plaintexts of {self.plain_bits}")
        return self.plain_bits // bits

    def check(self, count: int) -> BodyCheck:
        """A check for a body of ``count`` ciphertexts received (see ``federation.checks``)."""
        return BodyCheck(count * self.size)


@dataclass(frozen=True)
class BodyCheck:
    """Bytes of an exact length. The ciphertexts in them are checked where they are used."""

    length: int

    def __call__(self, value: Any) -> None:
        if not isinstance(value, bytes) or len(value) != self.length:
            found = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
            raise ValueError(f"expected ciphertexts of {self.length} bytes in all, got {found}")


class AdditiveSecretKey(ABC):
    """The key that decrypts. Never leaves the process that made it, other than to its own executors (it pickles)."""

    public: AdditiveScheme

    @abstractmethod
    def encrypt(self, values: Sequence[int]) -> bytes:
        """As :meth:`AdditiveScheme.encrypt`, faster for who knows the factors.

        :raises CryptoError: a value is out of range
        """

    @abstractmethod
    def decrypt(self, body: bytes) -> list[int]:
        """The numbers of a body.

        :raises CryptoError: a ciphertext is not one under this key, or its number is out of range
        """

    @abstractmethod
    def unpack(self, body: bytes, count: int, bits: int) -> list[int]:
        """The ``count`` sums that :meth:`AdditiveScheme.pack` put into ``body``.

        :raises CryptoError: as :meth:`decrypt`; or a number holds more than its sums
        """


def generate(method: str, key_length: int | None = None) -> AdditiveSecretKey:
    """A new key.

    :param method: one of :data:`METHODS`
    :param key_length: bits of the modulus
    :raises ConfigError: no such method or length
    """
    bits = _bits(method, key_length)
    if method == "OU":
        from airflow_provider_fate.runtime.crypto.okamoto_uchiyama import OkamotoUchiyamaKey

        return OkamotoUchiyamaKey.generate(bits)
    from airflow_provider_fate.runtime.crypto.paillier_additive import AdditivePaillierKey

    return AdditivePaillierKey.generate(bits)


@lru_cache(maxsize=8)
def additive(method: str, public: bytes) -> AdditiveScheme:
    """The public operations of a key that another party made; kept, as making it and its tables takes a while.

    :raises CryptoError: ``public`` is not a public key of that method
    """
    if method == "OU":
        from airflow_provider_fate.runtime.crypto.okamoto_uchiyama import OkamotoUchiyama

        return OkamotoUchiyama(public)
    if method == "Paillier":
        from airflow_provider_fate.runtime.crypto.paillier_additive import AdditivePaillier

        return AdditivePaillier(public)
    raise _unknown(method)


def public_limits(method: str, key_length: int | None = None) -> tuple[int, int]:
    """The fewest and the most bytes that a public key has."""
    size = _bits(method, key_length) // 8 * (2 if method == "OU" else 3)
    return size, size


def _bits(method: str, key_length: int | None) -> int:
    if method not in METHODS:
        raise _unknown(method)
    bits = DEFAULT_BITS if key_length is None else key_length
    if not KEY_BITS[0] <= bits <= KEY_BITS[1] or bits % 16:
        raise ConfigError(
            "encrypt_param.key_length", f"{bits}: expected a multiple of 16 from {KEY_BITS[0]} to {KEY_BITS[1]}"
        )
    return bits


def _unknown(method: str) -> ConfigError:
    return ConfigError("encrypt_param.method", f"{method!r} is not known here; expected one of {', '.join(METHODS)}")
