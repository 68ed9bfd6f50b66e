"""Optimal binning against a plain implementation of what FATE's documentation says, and its building blocks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from airflow_provider_fate.runtime.components.binning.optimal import Optimal
from airflow_provider_fate.runtime.components.binning.woe import described, of_classes

BINS, LEAST, MOST = 6, 30, 400


def counts_of(seed: int, bins: int = 40) -> np.ndarray:
    """Few rows a bin, some of one class, some empty."""
    random = np.random.default_rng(seed)
    size = random.integers(0, 40, bins)
    events = random.binomial(size, np.clip(np.sort(random.random(bins)) ** 2, 0, 1))
    return np.column_stack([events, size - events])


def plain_loss(metric: str, one: np.ndarray, other: np.ndarray, totals: np.ndarray, factor: float) -> float:
    both = one + other
    if not both.sum():
        return -math.inf
    if metric == "iv":
        parts = [described(np.vstack([bin_, totals - bin_]), factor)["iv_array"][0] for bin_ in (one, other, both)]
        return parts[0] + parts[1] - parts[2]
    if metric == "gini":
        parts = [1 - ((bin_ / bin_.sum()) ** 2).sum() if bin_.sum() else 0 for bin_ in (one, other, both)]
        return parts[2] - parts[0] - parts[1]
    if not both.all():
        return -1.0
    if not one.sum() or not other.sum():
        return 0.0
    return chi2_contingency([one, other], correction=False)[0]


def plain_merge(counts: np.ndarray, how: Optimal) -> list[int]:
    """All pairs are looked at before each merge."""
    totals = counts.sum(axis=0)
    bins = [[counts[number], number] for number in range(len(counts))]

    def stage(bad, both: bool, down_to: int | None = None) -> None:
        while (len(bins) > down_to) if bad is None else any(bad(one) for one, _ in bins):
            pairs = []
            for at, ((one, _), (other, _)) in enumerate(itertools.pairwise(bins)):
                if (one + other).sum() > how.most:
                    continue
                if bad is None or (bad(one) and bad(other) if both else bad(one) or bad(other)):
                    pairs.append((round(plain_loss(how.metric, one, other, totals, how.adjustment), 12), at))
            if not pairs:
                return
            at = min(pairs)[1]
            bins[at : at + 2] = [[bins[at][0] + bins[at + 1][0], bins[at + 1][1]]]

    if how.mixture:
        stage(lambda one: not one.all(), True)
        stage(lambda one: not one.all(), False)
    stage(lambda one: one.sum() < how.least, True)
    stage(lambda one: one.sum() < how.least, False)
    stage(None, False, how.bins)
    return [last for _, last in bins]


@pytest.mark.parametrize("mixture", [True, False])
@pytest.mark.parametrize("metric", ["iv", "gini", "chi_square"])
def test_merging(metric, mixture) -> None:
    for seed in range(2 if metric == "chi_square" else 4):
        counts = counts_of(seed)
        how = Optimal(metric, BINS, LEAST, MOST, mixture, 0.5)
        ends = how.ends(counts, counts.sum(axis=0))
        assert ends == plain_merge(counts, how), seed
        assert ends[-1] == len(counts) - 1
        new = np.add.reduceat(counts, [0, *(end + 1 for end in ends[:-1])], axis=0)
        assert (new.sum(axis=1) <= MOST).all()
        if len(new) > 1 and new.sum() < BINS * MOST:
            assert len(new) <= BINS


def test_a_bin_of_too_many_rows_is_never_made() -> None:
    counts = np.array([[50, 50], [1, 1], [50, 50], [1, 1]])
    how = Optimal("iv", 2, 5, 102, True, 0.5)
    assert how.ends(counts, counts.sum(axis=0)) == [1, 3]
    assert Optimal("iv", 1, 5, 102, True, 0.5).ends(counts, counts.sum(axis=0)) == [1, 3]


@pytest.mark.parametrize("metric", ["iv", "gini", "chi_square", "ks"])
def test_few_bins_stay_as_they_are(metric) -> None:
    how = Optimal(metric, 10, 1, 1000, False, 0.5)
    assert how.ends(np.empty((0, 2), int), np.array([5, 5])) == []
    assert how.ends(np.array([[5, 5]]), np.array([5, 5])) == [0]
    if metric != "ks":
        assert how.ends(np.array([[5, 4], [1, 7]]), np.array([6, 11])) == [0, 1]


def test_the_first_split_is_where_kolmogorov_and_smirnov_find_the_difference() -> None:
    for seed in range(5):
        counts = counts_of(seed)
        rows = [np.repeat(np.arange(len(counts)), counts[:, side]) for side in (0, 1)]
        expected = ks_2samp(*rows)
        ends = Optimal("ks", 2, 1, 10_000, False, 0.5).ends(counts, counts.sum(axis=0))
        assert ends == [expected.statistic_location, len(counts) - 1]


@pytest.mark.parametrize("mixture", [True, False])
def test_splitting(mixture) -> None:
    for seed in range(4):
        counts = counts_of(seed)
        ends = Optimal("ks", BINS, LEAST, MOST, mixture, 0.5).ends(counts, counts.sum(axis=0))
        new = np.add.reduceat(counts, [0, *(end + 1 for end in ends[:-1])], axis=0)
        assert 2 <= len(new) <= BINS
        assert (new.sum(axis=1) >= LEAST).all()
        assert not mixture or new.all()
        # each cut, in the part that it was made in, is where the classes differ most, or in its middle
        for cut in ends[:-1]:
            assert any(
                cut in (start + _furthest(counts[start:end]), start + (end - start) // 2)
                for start in [0, *(e + 1 for e in ends)]
                for end in [e + 1 for e in ends]
                if start <= cut < end
            )


def _furthest(counts: np.ndarray) -> int:
    below = np.cumsum(counts, axis=0) / np.maximum(counts.sum(axis=0), 1)
    return int(np.abs(below[:, 0] - below[:, 1]).argmax())


def test_splitting_stops_where_nothing_can_be_split() -> None:
    alike = np.full((10, 2), 5)
    assert Optimal("ks", 10, 30, 1000, True, 0.5).ends(alike, alike.sum(axis=0)) == [5, 9]
    pure = np.column_stack([np.full(10, 5), np.zeros(10, int)])
    assert Optimal("ks", 10, 1, 1000, True, 0.5).ends(pure, pure.sum(axis=0)) == [4, 9]


def test_weights_of_evidence_by_hand() -> None:
    found = described(np.array([[10, 40], [30, 50], [0, 10], [0, 0]]), 0.5)
    rates = [(10 / 40, 40 / 100), (30 / 40, 50 / 100), (0.5 / 40, 10.5 / 100), (0.5 / 40, 0.5 / 100)]
    assert found["woe"] == pytest.approx([math.log(event / other) for event, other in rates])
    assert found["iv"] == pytest.approx(sum((event - other) * math.log(event / other) for event, other in rates))
    assert found["iv"] == pytest.approx(sum(found["iv_array"]))
    assert (found["event_count"], found["non_event_count"]) == ([10, 30, 0, 0], [40, 50, 10, 0])
    assert not found["is_woe_monotonic"]
    assert described(np.array([[1, 9], [5, 5], [9, 1]]), 0.5)["is_woe_monotonic"]
    # no event at all counts as one, as in FATE
    assert described(np.array([[0, 4]]), 0.5)["woe"] == pytest.approx([math.log(0.5 / (4.5 / 4))])


def test_more_classes_are_each_against_the_rest() -> None:
    counts = np.array([[1, 2, 3], [4, 5, 6]])
    found = of_classes(counts, [2, 1, 0], 0.5)["classes"]
    assert [one["label"] for one in found] == [2, 1, 0]
    assert found[1]["event_count"] == [2, 5]
    assert found[1]["non_event_count"] == [4, 10]
    assert of_classes(counts[:, :2], [1, 0], 0.5)["event_count"] == [1, 4]
