"""Encrypted inner products: what the linear models need of homomorphic encryption, and nothing more.

One party, the arbiter, holds a :class:`SecretKey`. The others hold the :class:`VectorScheme` made of its public key and

1. encrypt vectors of integers, one body of bytes for each partition of their rows (:meth:`VectorScheme.encrypt`);
2. add their own vector to the encrypted vectors of others, under fresh randomness (:meth:`VectorScheme.combine`);
3. compute, still encrypted, the inner products of an encrypted vector with their own columns
   (:meth:`VectorScheme.encode`, :meth:`VectorScheme.products`);
4. hide each inner product behind a mask that is uniform modulo :attr:`VectorScheme.modulus`
   (:meth:`VectorScheme.blinds`, :meth:`VectorScheme.finish`), so that whoever decrypts sees uniform numbers, and
   learns nothing from the ciphertext's randomness or noise either.

An encrypted vector is a body of bytes between parties, and whatever the scheme likes within a process:
:meth:`VectorScheme.read` and :meth:`VectorScheme.write` change one into the other.

All is exact integer arithmetic; :mod:`.fixed_point` chooses scales such that no sum can leave
(-modulus/2, modulus/2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError

METHODS = ("BFV", "Paillier")
#: key lengths of Paillier, fewest and most; those below the default only where the conf asks for a weak key by name
PAILLIER_BITS = (1024, 8192)
DEFAULT_PAILLIER_BITS = 2048


@dataclass(frozen=True)
class Slots:
    """Where the inner products of several columns stand in what is decrypted.

    :param columns: how many inner products
    :param stride: the most rows that one partition has in the batch; the same at every party
    """

    columns: int
    stride: int


class VectorScheme(ABC):
    """The public operations of one key. Made anew from ``name`` and ``public`` wherever work is done."""

    #: the method's name in ``encrypt_param``
    name: str
    #: plaintexts are integers modulo this
    modulus: int
    #: columns given to :meth:`encode` stay below 2**factor_bits in absolute value
    factor_bits: int
    #: the public key as it travels; checked when the scheme is made of it
    public: bytes
    #: :meth:`products` with so many cells of a partition take less time than asking an executor for them
    quick_cells: int

    def check_size(self, parties: int, partitions: int) -> None:  # noqa: B027 - most have no limit
        """:raises CryptoError: sums over so many parties and partitions cannot be hidden from who decrypts them"""

    def encrypt(self, values: np.ndarray) -> Any:
        """Encrypt a vector under fresh randomness.

        :param values: int64, shape (rows,)
        """
        return self.combine([], values)

    @abstractmethod
    def combine(self, vectors: Sequence[Any], values: np.ndarray) -> Any:
        """Encrypted sum of encrypted vectors and of ``values``; independent of the randomness in ``vectors``.

        :param values: int64, shape (rows,)
        :raises CryptoError: a vector is not of as many rows as ``values``, or its body is none
        """

    def prepare(self, counts: Sequence[int]) -> None:  # noqa: B027
        """Make in advance what :meth:`combine` needs that does not depend on values, in time that is left.

        :param counts: the rows of each vector that will be asked for; none to free what was made before
        """

    @abstractmethod
    def read(self, body: bytes) -> Any:
        """An encrypted vector of its body, which is checked where the vector is first used; picklable."""

    @abstractmethod
    def write(self, vector: Any) -> bytes:
        """The body of an encrypted vector."""

    @abstractmethod
    def encode(self, columns: np.ndarray, slots: Slots, first: int = 0) -> Any:
        """Columns made ready for :meth:`products`; may be kept for later vectors.

        :param columns: int64, shape (rows, count), below 2**factor_bits in absolute value
        :param slots: of all columns of the batch
        :param first: the slot of ``columns[:, 0]``
        """

    @abstractmethod
    def encoded_size(self, encoded: Any) -> int:
        """Bytes of memory that what :meth:`encode` gave takes."""

    @abstractmethod
    def products(self, vector: Any, encoded: Any, slots: Slots) -> list[Any]:
        """Encrypted inner products of one partition: of an encrypted vector with each of some columns.

        :param encoded: what :meth:`encode` gave
        :return: opaque partial results, as many as :meth:`parts`; picklable
        :raises CryptoError: the vector's body is none, or too short
        """

    @abstractmethod
    def parts(self, slots: Slots) -> int:
        """How many ciphertexts hold the inner products of ``slots``."""

    @abstractmethod
    def blinds(self, count: int) -> list[Any]:
        """Encrypted fresh uniform masks, one for each of ``count`` parts, made in advance; picklable, used once."""

    @abstractmethod
    def finish(self, partials: Sequence[Any], blind: Any) -> bytes:
        """One part, summed over partitions and masked, ready to be decrypted by another party."""

    @abstractmethod
    def masks(self, blinds: Sequence[Any], slots: Slots) -> list[int]:
        """The masks that the inner products carry; for :meth:`unmask`."""

    def unmask(self, masked: Sequence[int], masks: Sequence[int]) -> list[int]:
        """Inner products, in (-modulus/2, modulus/2], from decrypted numbers."""
        centred = []
        for value, mask in zip(masked, masks, strict=True):
            number = (int(value) - mask) % self.modulus
            centred.append(number - self.modulus if number > self.modulus // 2 else number)
        return centred

    @abstractmethod
    def vector_limits(self, rows: int) -> tuple[int, int]:
        """The fewest and the most bytes that an encrypted vector of ``rows`` rows has."""

    @abstractmethod
    def part_limits(self) -> tuple[int, int]:
        """The fewest and the most bytes that a finished part has."""

    def check_vectors(self, counts: Sequence[int]) -> VectorCheck:
        """A check for encrypted vectors received, one for each partition of ``counts`` rows."""
        return VectorCheck(tuple(self.vector_limits(rows) for rows in counts))

    def check_parts(self, count: int) -> VectorCheck:
        """A check for finished parts received."""
        return VectorCheck((self.part_limits(),) * count)


@dataclass(frozen=True)
class VectorCheck:
    """A list of bytes, each within its limits. Their content is checked where it is used.

    :param limits: fewest and most bytes of each entry
    """

    limits: tuple[tuple[int, int], ...]

    def __call__(self, value: Any) -> None:
        if not isinstance(value, list) or len(value) != len(self.limits):
            raise ValueError(f"expected a list of {len(self.limits)} ciphertext bodies")
        for number, (body, (fewest, most)) in enumerate(zip(value, self.limits, strict=True)):
            if not isinstance(body, bytes) or not fewest <= len(body) <= most:
                found = f"{len(body)} bytes" if isinstance(body, bytes) else type(body).__name__
                raise ValueError(f"ciphertext body {number}: expected {fewest} to {most} bytes, got {found}")


class SecretKey(ABC):
    """The key that decrypts. Never leaves the process that made it."""

    public: VectorScheme

    @abstractmethod
    def decrypt(self, parts: Sequence[bytes], slots: Slots) -> list[int]:
        """The (masked) inner products in ``parts``, each in [0, modulus).

        :raises CryptoError: a part is not a ciphertext under this key, or its noise has overflowed
        """


def generate(method: str, key_length: int | None = None) -> SecretKey:
    """A new key.

    :param method: ``BFV`` (lattice parameters of 128-bit strength) or ``Paillier``
    :param key_length: bits of Paillier's modulus
    :raises ConfigError: no such method or length
    """
    if method == "BFV":
        from airflow_provider_fate.runtime.crypto.bfv import BfvSecretKey

        return BfvSecretKey()
    if method == "Paillier":
        from airflow_provider_fate.runtime.crypto.paillier import PaillierSecretKey

        bits = DEFAULT_PAILLIER_BITS if key_length is None else key_length
        if not PAILLIER_BITS[0] <= bits <= PAILLIER_BITS[1] or bits % 16:
            raise ConfigError(
                "encrypt_param.key_length",
                f"{bits}: expected a multiple of 16 from {PAILLIER_BITS[0]} to {PAILLIER_BITS[1]}",
            )
        return PaillierSecretKey.generate(bits)
    raise ConfigError("encrypt_param.method", f"{method!r} is not known here; expected one of {', '.join(METHODS)}")


def public_limits(method: str, key_length: int | None = None) -> tuple[int, int]:
    """The fewest and the most bytes that a public key has."""
    if method == "BFV":
        from airflow_provider_fate.runtime.crypto.bfv import MAX_PUBLIC

        return 1, MAX_PUBLIC
    size = 3 * (DEFAULT_PAILLIER_BITS if key_length is None else key_length) // 8
    return size, size


@lru_cache(maxsize=8)
def scheme(method: str, public: bytes) -> VectorScheme:
    """The public operations of a key that another party made; kept, as making it takes some milliseconds.

    :raises CryptoError: ``public`` is not a public key of that method
    """
    if method == "BFV":
        from airflow_provider_fate.runtime.crypto.bfv import Bfv

        return Bfv(public)
    if method == "Paillier":
        from airflow_provider_fate.runtime.crypto.paillier import Paillier

        return Paillier(public)
    raise ConfigError("encrypt_param.method", f"{method!r} is not known here; expected one of {', '.join(METHODS)}")
