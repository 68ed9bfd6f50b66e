from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto import curve25519, id_digests

P = curve25519.PRIME
SCALARS = st.binary(min_size=32, max_size=32)


def points(*values: int) -> np.ndarray:
    return np.frombuffer(b"".join(value.to_bytes(32, "little") for value in values), np.uint8).reshape(-1, 32)


def random_digests(count: int) -> np.ndarray:
    return np.frombuffer(b"".join(hashlib.sha256(bytes([i])).digest() for i in range(count)), np.uint8).reshape(-1, 32)


def on_curve(u: int) -> bool:
    square = (u**3 + curve25519.A * u**2 + u) % P
    return pow(square, (P - 1) // 2, P) == 1


@settings(deadline=None)
@given(SCALARS)
def test_a_digest_becomes_a_point_on_the_curve(digest) -> None:
    u = int.from_bytes(curve25519.to_curve(digest), "little")
    assert u < P
    assert on_curve(u)
    assert curve25519.to_curve(digest) == curve25519.to_curve(digest)


@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, P.to_bytes(32, "little"), (P + 1).to_bytes(32, "little")])
def test_a_digest_at_the_edge_becomes_a_point(digest) -> None:
    curve25519.check_points(points(int.from_bytes(curve25519.to_curve(digest), "little")), 1)


def test_multiplication_is_that_of_rfc_7748() -> None:
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    u = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    product = curve25519.multiply(np.frombuffer(u, np.uint8).reshape(1, 32), scalar)
    assert product.tobytes().hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


@settings(max_examples=20, deadline=None)
@given(SCALARS, SCALARS)
def test_products_commute(a, b) -> None:
    digests = random_digests(4)
    one = curve25519.multiply(curve25519.hash_and_multiply(digests, a), b)
    other = curve25519.multiply(curve25519.hash_and_multiply(digests, b), a)
    assert (one == other).all()
    assert len({bytes(row) for row in one}) == 4
    # the product stays on the curve, so no bit of the digest survives as the choice of curve or twist
    assert all(on_curve(int.from_bytes(bytes(row), "little")) for row in one)


def test_an_empty_batch() -> None:
    nothing = np.empty((0, 32), np.uint8)
    assert curve25519.hash_and_multiply(nothing, bytes(32)).shape == (0, 32)
    assert curve25519.multiply(nothing, bytes(32)).shape == (0, 32)
    curve25519.check_points(nothing, 0)


@pytest.mark.parametrize("u", curve25519.LOW_ORDER)
def test_low_order_points_are_refused(u) -> None:
    good = int.from_bytes(curve25519.to_curve(bytes(32)), "little")
    with pytest.raises(ValueError, match="point 1 has low order"):
        curve25519.check_points(points(good, u), 2)
    with pytest.raises(CryptoError, match="low order"):
        curve25519.multiply(points(good, u), curve25519.random_scalar())


@pytest.mark.parametrize("u", [P, P + 1, 2**255 - 1, 2**255, 2**256 - 1])
def test_encodings_that_are_not_canonical_are_refused(u) -> None:
    with pytest.raises(ValueError, match="point 0 is not a number below"):
        curve25519.check_points(points(u), 1)


@pytest.mark.parametrize("u", [2, 9, P - 2, P - 19, 2**254])
def test_other_points_pass(u) -> None:
    curve25519.check_points(points(u), 1)
    assert curve25519.multiply(points(u), curve25519.random_scalar()).any()


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"0" * 32,
        [1],
        np.zeros((1, 32)),
        np.ones((2, 32), np.uint8),
        np.ones((1, 31), np.uint8),
        np.ones(32, np.uint8),
    ],
)
def test_what_is_no_batch_of_points_is_refused(value) -> None:
    with pytest.raises(ValueError, match="expected an array"):
        curve25519.check_points(value, 1)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=8), st.integers(0, 3))
def test_digests_are_those_of_the_exact_bytes(ids, start) -> None:
    domain = b"d" * 32
    array = pa.array(ids, pa.string())[start:]
    expected = [hashlib.sha256(domain + text.encode()).digest() for text in ids[start:]]
    for kind in (pa.string(), pa.large_string()):
        assert [bytes(row) for row in id_digests.digests(array.cast(kind), domain)] == expected


def test_the_first_missing_id() -> None:
    assert id_digests.first_missing(pa.array(["a", "b"])) == -1
    assert id_digests.first_missing(pa.array(["a", "", None])) == 1
    assert id_digests.first_missing(pa.array(["a", None, ""])) == 1


def test_repeats_and_places() -> None:
    items = random_digests(6)[[3, 1, 3, 5, 1, 3]]
    assert id_digests.repeats(items) == [(0, 2), (1, 4), (2, 5)]
    assert id_digests.has_repeats(items)
    assert not id_digests.has_repeats(random_digests(6))
    assert id_digests.find(random_digests(4), random_digests(6)[[5, 2, 0]]).tolist() == [2, -1, 1, -1]
    trailing = points(1, 1 << 8, 1 << 248)
    assert id_digests.repeats(trailing) == []


def test_a_shuffle_has_every_place_once_and_differs() -> None:
    first, second = id_digests.shuffled(100), id_digests.shuffled(100)
    assert sorted(first.tolist()) == list(range(100))
    assert first.tolist() != second.tolist()
