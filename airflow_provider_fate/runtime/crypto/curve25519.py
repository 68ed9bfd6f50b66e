"""Hash to Curve25519 and X25519 scalar multiplication over batches of points.

A point is its u-coordinate: 32 bytes, little-endian, as X25519 has it (D. J. Bernstein, "Curve25519: new
Diffie-Hellman speed records", PKC 2006; RFC 7748). A batch is a uint8 array of shape (n, 32). A scalar is 32 bytes
from the operating system; X25519 clamps it to a multiple of 8, so a product always lies in a subgroup of large prime
order, and products commute: ``multiply(multiply(p, a), b)`` equals ``multiply(multiply(p, b), a)``.

What is accepted from a peer: canonical encodings (below 2^255 - 19, top bit clear) that are not of low order.
A point of the quadratic twist is accepted: Curve25519 is twist-secure, the twist's cofactor is 4, and a clamped
scalar removes it, so such a point tells the peer nothing about the scalar.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import gmpy2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from airflow_provider_fate.errors import CryptoError

#: the field's prime
PRIME = 2**255 - 19
#: the curve is v^2 = u^3 + A u^2 + u
A = 486662
#: bytes of a point
SIZE = 32

#: u-coordinates of all points of order 1, 2, 4 and 8 on the curve and on its twist, canonical
LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    PRIME - 1,
)

_PRIME = gmpy2.mpz(PRIME)
_TOP_BIT_CLEAR = (1 << 255) - 1


def random_scalar() -> bytes:
    """A fresh secret scalar."""
    return os.urandom(SIZE)


def to_curve(digest: bytes) -> bytes:
    """The point of a digest: the first element of ``digest, sha256(digest), ...`` that is on the curve.

    An element is off the curve (on its twist) in half of the cases. Were those used as they are, one bit of each id
    would survive every multiplication. How many elements were tried shows in the time that it takes, which only the
    party that knows the id can see.

    :param digest: 32 bytes, indistinguishable from random
    """
    jacobi, modulus, mpz, from_bytes = gmpy2.jacobi, _PRIME, gmpy2.mpz, int.from_bytes
    while True:
        u = mpz(from_bytes(digest, "little") & _TOP_BIT_CLEAR)
        if u < modulus and jacobi(((u + A) * u + 1) * u % modulus, modulus) == 1:
            return int(u).to_bytes(SIZE, "little")
        digest = hashlib.sha256(digest).digest()


def hash_and_multiply(digests: np.ndarray, scalar: bytes) -> np.ndarray:
    """``scalar`` times the point of each digest.

    :param digests: uint8, shape (n, 32)
    :returns: uint8, shape (n, 32)
    """
    raw = np.ascontiguousarray(digests).tobytes()
    return _products((to_curve(raw[at : at + SIZE]) for at in range(0, len(raw), SIZE)), scalar, len(digests))


def multiply(points: np.ndarray, scalar: bytes) -> np.ndarray:
    """``scalar`` times each point.

    :param points: uint8, shape (n, 32); those of a peer have passed :func:`check_points`
    :returns: uint8, shape (n, 32)
    :raises CryptoError: a point has low order
    """
    raw = np.ascontiguousarray(points).tobytes()
    return _products((raw[at : at + SIZE] for at in range(0, len(raw), SIZE)), scalar, len(points))


def _products(points: Iterable[bytes], scalar: bytes, count: int) -> np.ndarray:
    exchange, load = X25519PrivateKey.from_private_bytes(scalar).exchange, X25519PublicKey.from_public_bytes
    try:
        products = b"".join([exchange(load(point)) for point in points])
    except ValueError as error:
        raise CryptoError("a point has low order: its product is zero for every scalar") from error
    return np.frombuffer(products, np.uint8).reshape(count, SIZE)


def check_points(value: object, count: int) -> None:
    """Refuse what is not ``count`` points that may be multiplied.

    :raises ValueError: not a uint8 array of shape (count, 32), or a point that is not canonical or of low order
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise ValueError("expected an array of uint8")
    if value.shape != (count, SIZE):
        raise ValueError(f"expected an array of shape ({count}, {SIZE}), got {value.shape}")
    # 2^255 - 19 is ed ff .. ff 7f, so only encodings that end in ff .. ff 7f can reach it
    large = (value[:, 0] >= 0xED) & (value[:, 31] == 0x7F) & (value[:, 1:31] == 0xFF).all(axis=1)
    bad = np.flatnonzero((value[:, 31] & 0x80).astype(bool) | large)
    if len(bad):
        raise ValueError(f"point {bad[0]} is not a number below 2^255 - 19")
    for low in LOW_ORDER:
        encoded = np.frombuffer(low.to_bytes(SIZE, "little"), np.uint8)
        # one column first: the full comparison then concerns few points
        candidates = np.flatnonzero(value[:, 0] == encoded[0])
        bad = candidates[(value[candidates] == encoded).all(axis=1)]
        if len(bad):
            raise ValueError(f"point {bad[0]} has low order: its product is zero for every scalar")
