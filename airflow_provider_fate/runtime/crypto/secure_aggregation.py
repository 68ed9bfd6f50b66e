"""Sums of vectors of several parties, of which nobody sees a single one: pairwise masks.

K. Bonawitz et al., Practical secure aggregation for privacy-preserving machine learning, CCS 2017, section 4.0.1 (the
protocol with pairwise masks). Every two parties agree on a secret (X25519, RFC 7748) and derive from it a mask for each
round (HKDF-SHA-256, RFC 5869; AES-128 in counter mode as the stream). One of the two adds it to its vector and the
other subtracts it, in the ring of integers modulo 2^64, so that all masks cancel in the sum and every proper subset of
the masked vectors is uniformly random to who does not have the secrets.

What the paper does for parties that drop out (a second mask, secrets shared by Shamir's scheme) is left out: here a
sum is of all parties or of none. A masked vector that is never added up says nothing. Keys are made anew for each run
of a component, so no mask is used for two vectors.

Numbers are integers with a common scale: ``rint(x * 2**bits)``. Rounding costs up to ``2**-(bits + 1)`` a party.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from airflow_provider_fate.errors import CryptoError

#: bytes of a public key
KEY_SIZE = 32
#: a sum stays below 2**62 in size, so that its sign is never lost
SUM_BITS = 62


class Masks:
    """One party's secrets, for one run of a component.

    :param me: the party's name
    :param context: what the masks are for; the same at every party
    """

    def __init__(self, me: str, context: str) -> None:
        self._me = me
        self._context = context
        self._key = X25519PrivateKey.generate()
        self._secrets: dict[str, tuple[bytes, bytes]] = {}
        #: this party's public key, for all others
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def meet(self, publics: Mapping[str, bytes]) -> None:
        """Take the public keys of all others, by their names.

        :raises CryptoError: a key is of low order, or somebody's twice
        """
        keys = [self.public, *publics.values()]
        if len(set(keys)) < len(keys) or self._me in publics:
            raise CryptoError("two parties sent the same key to agree on masks with")
        for name, public in publics.items():
            try:
                secret = self._key.exchange(X25519PublicKey.from_public_bytes(public))
            except ValueError:
                raise CryptoError(f"the key of {name} to agree on masks with is not a proper one") from None
            pair = sorted([(self._me, self.public), (name, public)])
            described = b"".join(part.encode() + b"\0" + key for part, key in pair)
            self._secrets[name] = (secret, described)

    def mask(self, values: np.ndarray, round_name: str) -> np.ndarray:
        """``values`` with all masks of a round.

        :param values: uint64, shape (n,)
        :param round_name: used once
        """
        masked = values.copy()
        for name, (secret, described) in self._secrets.items():
            info = b"\0".join([b"fate secure aggregation", self._context.encode(), round_name.encode(), described])
            key = HKDF(algorithm=hashes.SHA256(), length=16, salt=None, info=info).derive(secret)
            stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(8 * len(values)))
            mask = np.frombuffer(stream, "<u8").astype(np.uint64)
            masked = masked + mask if self._me < name else masked - mask
        return masked


def total(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """The sum modulo 2^64 of uint64 vectors of one shape."""
    return np.sum(vectors, axis=0, dtype=np.uint64)


def to_ring(values: np.ndarray, bits: int, parties: int) -> np.ndarray:
    """Numbers as elements of the ring; uint64.

    :param values: float64, shape (n,)
    :param bits: after the binary point
    :param parties: whose numbers are added
    :raises CryptoError: a number is too large for a sum of as many, or not finite
    """
    bound = 2.0 ** (SUM_BITS - bits) / parties
    largest = float(np.abs(values).max(initial=0.0))  # NaN stays NaN
    if not largest <= bound:
        raise CryptoError(f"a number to add up is {largest:g}, more than {bound:g}; lower the learning rate")
    return np.rint(np.ldexp(values, bits)).astype(np.int64).view(np.uint64)


def from_ring(values: np.ndarray, bits: int) -> np.ndarray:
    """Sums of numbers; float64."""
    return np.ldexp(values.view(np.int64).astype(np.float64), -bits)
