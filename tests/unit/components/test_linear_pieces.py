"""Batches and convergence of the linear models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_fate.job.parameters.hetero_lr import HeteroLRParam
from airflow_provider_fate.runtime.components.linear.batches import Batches, permutation
from airflow_provider_fate.runtime.components.linear.convergence import Convergence
from airflow_provider_fate.runtime.components.linear.links import Logistic
from airflow_provider_fate.runtime.components.linear.training import due, starting_weights


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(lambda counts: sum(counts) > 0),
    st.integers(1, 40),
    st.booleans(),
    st.integers(0, 3),
)
def test_batches_hold_every_row_once(counts: list[int], size: int, shuffle: bool, iteration: int) -> None:
    batches = Batches(counts, size, shuffle=shuffle, strategy="full", seed=5)
    found = [np.empty(0, np.int64) for _ in counts]
    made = batches.of(iteration)
    assert len(made) == batches.number
    for batch in made:
        assert batch.size <= size or batches.number == 1
        for place, (rows, count) in enumerate(zip(batch.rows, batch.counts, strict=True)):
            rows = np.arange(counts[place]) if rows is None else rows
            assert len(rows) == count and (np.diff(rows) > 0).all()
            found[place] = np.concatenate([found[place], rows])
    for rows, count in zip(found, counts, strict=True):
        assert sorted(rows.tolist()) == list(range(count))
    sizes = [batch.size for batch in made]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) == batches.smallest


def test_shuffling_changes_batches_from_iteration_to_iteration() -> None:
    batches = Batches([50, 50], 25, shuffle=True, strategy="full", seed=1)
    first, second = batches.of(0)[0], batches.of(1)[0]
    assert first.key is None and not np.array_equal(first.rows[0], second.rows[0])
    kept = Batches([50, 50], 25, shuffle=False, strategy="full", seed=1)
    assert [batch.key for batch in kept.of(0)] == [0, 1, 2, 3] and kept.of(0) is kept.of(3)


def test_random_draws_one_batch() -> None:
    batches = Batches([50, 50], 30, shuffle=False, strategy="random", seed=1)
    assert [batch.size for batch in batches.of(0)] == [30]
    assert not np.array_equal(batches.of(0)[0].rows[0], batches.of(1)[0].rows[0])


def test_permutation_is_the_same_everywhere() -> None:
    # SHAKE-256 of "7/0", read as little-endian numbers and sorted: fixed for ever, as peers rely on it
    assert permutation(8, 7, 0).tolist() == permutation(8, 7, 0).tolist()
    assert sorted(permutation(1000, 7, 1).tolist()) == list(range(1000))
    assert permutation(8, 7, 0).tolist() == PERMUTATION


PERMUTATION = [5, 6, 0, 1, 2, 7, 3, 4]


def test_convergence_rules() -> None:
    rule = Convergence("diff", 0.1, hosts=1)
    assert [rule.reached(loss) for loss in (1.0, 0.85, 0.8)] == [False, False, True]
    rule = Convergence("abs", 0.1, hosts=1)
    assert [rule.reached(loss) for loss in (1.0, 0.05)] == [False, True]
    rule = Convergence("weight_diff", 0.1, hosts=1)
    assert [rule.reached(None, 0.0, 4.0), rule.reached(None, 0.05, 4.0), rule.reached(None, 0.03, 4.0)] == [
        False,
        False,
        True,
    ]
    assert Convergence("diff", 0.1, hosts=2).rule == "weight_diff"
    with pytest.raises(ValueError, match="loss"):
        Convergence("diff", 0.1, hosts=1).reached(None)


def test_parts_of_the_loss_add_up() -> None:
    random = np.random.default_rng(0)
    guest, host, y = random.normal(size=50), random.normal(size=50), random.choice([-1.0, 1.0], 50)
    z = guest + host
    whole = np.sum(np.log(2) - y * z / 2 + z**2 / 8)
    parts = np.sum(Logistic.guest_loss(guest, y) + Logistic.host_loss(host))
    assert parts + Logistic.host_share(host) @ Logistic.loss_vector(guest, y) == pytest.approx(whole)
    assert np.allclose(Logistic.host_share(host) + Logistic.guest_share(guest, y), z / 4 - y / 2)


def start(method: str, seed: list[int], features: int = 4000, intercept: bool = True) -> np.ndarray:
    given = {"init_method": method, "init_const": -2.5, "fit_intercept": intercept}
    return starting_weights(HeteroLRParam(init_param=given), features, intercept, seed)


@pytest.mark.parametrize(("method", "value"), [("zeros", 0.0), ("ones", 1.0), ("const", -2.5)])
def test_models_start_with_the_same_number(method: str, value: float) -> None:
    for intercept in (True, False):
        assert start(method, [1], 3, intercept).tolist() == [value] * (3 + intercept)


@pytest.mark.parametrize(
    ("method", "mean", "deviation", "least", "most"),
    [("random_uniform", 0.5, 12**-0.5, 0, 1), ("random_normal", 0, 1, -6, 6)],
)
def test_models_start_at_random(method: str, mean: float, deviation: float, least: float, most: float) -> None:
    found = start(method, [1, 0])
    assert found.shape == (4001,) and len(set(found)) == 4001
    assert abs(found.mean() - mean) < 5 * deviation / 4001**0.5
    assert abs(found.std() - deviation) < 0.05 * deviation
    assert least <= found.min() < found.max() < most
    shares = np.quantile(found, [0.1, 0.9])
    assert np.allclose(shares, [0.1, 0.9] if method == "random_uniform" else [-1.2816, 1.2816], atol=0.1)
    assert np.array_equal(found, start(method, [1, 0])) and not np.array_equal(found, start(method, [1, 1]))


def test_when_validations_are_due() -> None:
    assert [due(2, iteration) for iteration in (1, 2, 3, 4)] == [False, True, False, True]
    assert [due([1, 3], iteration) for iteration in (1, 2, 3)] == [True, False, True]
    assert not due(None, 1)
