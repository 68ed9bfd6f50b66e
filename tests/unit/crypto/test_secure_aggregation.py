"""Masks cancel in the sum of all, and in nothing less."""

from __future__ import annotations

import numpy as np
import pytest

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto.curve25519 import LOW_ORDER
from airflow_provider_fate.runtime.crypto.secure_aggregation import Masks, from_ring, to_ring, total


def parties(count: int, context: str = "homo_lr_0") -> list[Masks]:
    made = [Masks(f"host-{number}", context) for number in range(count)]
    for number, one in enumerate(made):
        one.meet({f"host-{other}": peer.public for other, peer in enumerate(made) if other != number})
    return made


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_sum_is_exact(count) -> None:
    random = np.random.default_rng(count)
    values = random.normal(size=(count, 50)) * 1000
    made = parties(count)
    for name in ("a", "b"):
        masked = [one.mask(to_ring(row, 40, count), name) for one, row in zip(made, values, strict=True)]
        found = from_ring(total(masked), 40)
        np.testing.assert_allclose(found, values.sum(axis=0), rtol=0, atol=count * 2.0**-41 + 1e-9)
        assert found.tolist() == from_ring(total([to_ring(row, 40, count) for row in values]), 40).tolist()


def test_less_than_all_is_noise() -> None:
    made = parties(4)
    zeros = np.zeros(20_000, np.uint64)
    masked = [one.mask(zeros, "round") for one in made]
    for some in ([0], [1, 2], [0, 1, 3]):
        words = total([masked[number] for number in some])
        # each bit is 1 in half of 20,000 words, give or take six standard deviations
        bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).sum(axis=0, dtype=np.int64)
        assert (np.abs(bits - 10_000) < 6 * np.sqrt(5_000)).all()
    assert not total(masked).any()


def test_each_round_each_run_and_each_use_has_masks_of_its_own() -> None:
    one, other = parties(2), parties(2)
    zeros = np.zeros(4, np.uint64)
    found = {
        one[0].mask(zeros, "first").tobytes(),
        one[0].mask(zeros, "second").tobytes(),
        other[0].mask(zeros, "first").tobytes(),
    }
    assert len(found) == 3
    # another component's masks do not cancel
    first, second = Masks("a", "homo_lr_0"), Masks("b", "homo_lr_1")
    first.meet({"b": second.public})
    second.meet({"a": first.public})
    assert total([first.mask(zeros, "r"), second.mask(zeros, "r")]).any()


@pytest.mark.parametrize("point", LOW_ORDER)
def test_keys_that_give_no_secret_are_refused(point) -> None:
    with pytest.raises(CryptoError, match="the key of host-1 .* is not a proper one"):
        Masks("guest-9", "c").meet({"host-1": point.to_bytes(32, "little")})


def test_a_key_that_is_sent_back_or_sent_twice_is_refused() -> None:
    mine, peer = Masks("guest-9", "c"), Masks("host-1", "c")
    with pytest.raises(CryptoError, match="the same key"):
        mine.meet({"host-1": mine.public})
    with pytest.raises(CryptoError, match="the same key"):
        mine.meet({"host-1": peer.public, "host-2": peer.public})


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0**22, -(2.0**21) * 1.01])
def test_numbers_that_do_not_fit_are_refused(value) -> None:
    with pytest.raises(CryptoError, match="more than 2.09715e\\+06"):
        to_ring(np.array([value]), 40, 2)


def test_numbers_at_the_bound_keep_their_sign() -> None:
    most = np.full(3, 2.0**21)
    assert from_ring(total([to_ring(most, 40, 2)] * 2), 40).tolist() == [2.0**22] * 3
    assert from_ring(total([to_ring(-most, 40, 2)] * 2), 40).tolist() == [-(2.0**22)] * 3
