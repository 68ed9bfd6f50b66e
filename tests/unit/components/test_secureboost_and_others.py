"""HeteroSecureBoost against what was not made here: XGBoost, the definitions of its samples and losses, and folds that
are cut, fitted and scored in the clear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from xgboost import XGBClassifier

from airflow_provider_fate.runtime.components.boosting import training
from airflow_provider_fate.runtime.components.boosting.objectives import objective
from airflow_provider_fate.runtime.components.cross_validation import fold_rows
from tests.unit.components import plain_boosting
from tests.unit.components.boost_parties import GUEST, HOST, Run, example, hetero, parameters, rows
from tests.unit.components.test_hetero_secureboost import (
    CLOSE,
    FEW,
    PARTED,
    compare,
    in_the_clear,
    joined,
    leaf,
    parted,
    probabilities,
    small,
)


def levels(x: np.ndarray, count: int) -> np.ndarray:
    """Columns of at most so many values: which of the column's quantiles each value lies between."""
    shares = np.arange(1, count) / count
    return np.column_stack([np.searchsorted(np.quantile(column, shares), column) for column in x.T]).astype(float)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_as_good_as_xgboost(noise: float) -> None:
    """On rows that training did not see, with the same depth, trees, learning rate and penalty.

    Columns have fewer values than there are bins, so both choose of the same splits; then scores differ by the
    rounding of XGBoost's float32 only. With noise in the labels no AUC is near 1.
    """
    y, guest, host = example("breast_hetero")
    random = np.random.default_rng(0)
    y = np.where(random.random(len(y)) < noise, 1 - y, y)
    x = levels(np.hstack([guest, host]), 24)
    seen = np.arange(len(y)) % 3 > 0
    data = {
        GUEST: {"train_data": rows(x[seen, :10], y[seen], 1)},
        HOST: {"train_data": rows(x[seen, 10:], None, 1, "z")},
    }
    run = Run(parameters(num_trees=10, n_iter_no_change=False), data).fit()
    unseen = {GUEST: {"data": rows(x[~seen, :10], None, 1)}, HOST: {"data": rows(x[~seen, 10:], None, 1, "z")}}
    own = run.predict(unseen)[:, 0]

    def theirs(**other: Any) -> np.ndarray:
        given = {"n_estimators": 10, "max_depth": 3, "learning_rate": 0.3, "reg_lambda": 0.1, **other}
        model = XGBClassifier(
            **given, max_bin=32, min_child_weight=0, gamma=1e-3, base_score=0.5, tree_method="hist", n_jobs=1
        )
        return model.fit(x[seen], y[seen]).predict_proba(x[~seen])[:, 1]

    aucs = [roc_auc_score(y[~seen], scores) for scores in (own, theirs())]
    assert abs(aucs[0] - aucs[1]) < 0.005 and (aucs[0] < 0.95 or not noise)
    assert np.abs(own - theirs()).max() < 1e-4
    # what is a little off is further away than that by far
    for other in ({"learning_rate": 0.27}, {"max_depth": 2}, {"max_depth": 4}, {"n_estimators": 9}, {"reg_lambda": 1}):
        assert np.abs(own - theirs(**other)).max() > 0.05


def test_gradient_based_one_side_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the rows with the largest derivatives are in each sample, and of the others as many as FATE draws, whose
    derivatives are multiplied by (1 - top_rate) / other_rate."""
    samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def recorded(g: np.ndarray, *arguments: Any) -> tuple[np.ndarray, np.ndarray]:
        sampled, factor = one_side(g, *arguments)
        samples.append((g.copy(), sampled, factor))
        return sampled, factor

    one_side = training.one_side
    monkeypatch.setattr(training, "one_side", recorded)
    settings = parameters(**FEW, run_goss=True, top_rate=0.3, other_rate=0.2)
    run = Run(settings, hetero("breast_hetero", partitions=3)).fit()
    y, x, parties = joined("breast_hetero")
    top, other = int(len(y) * 0.3), int(len(y) * 0.2)
    trees, scores = in_the_clear(x, y, plain_boosting.Settings(bins=8), 2, sample=lambda g, round_: samples[round_][1:])
    compare(run, trees, parties)
    assert np.abs(run.scores - probabilities(scores)).max() < CLOSE
    assert [tree["nodes"][0]["rows"] for tree in run.meta()["trees"]] == [top + other] * 2
    before = np.zeros(len(y))
    for round_, (g, sampled, factor) in enumerate(samples):
        assert np.allclose(g[:, 0], probabilities(before) - y)
        size = np.abs(g[:, 0])
        least = np.sort(size)[-top]
        drawn = sampled & (factor != 1)
        kept = sampled & (factor == 1)
        assert (size[kept] >= least).all() and kept[size > least].all()
        assert (kept.sum(), drawn.sum()) == (top, other)
        assert factor[drawn] == pytest.approx((1 - 0.3) / 0.2)
        assert (factor[~sampled] == 1).all()
        before += 0.3 * trees[round_].weights
    assert (samples[0][1] != samples[1][1]).any()


def test_absolute_error() -> None:
    """``lae``: the distance from the label, which changes by 1 in its direction; the second derivative is 1, as in
    FATE, which starts with the median."""
    loss = objective("lae", None, 0)
    y = np.array([0.0, 0.5, 2.0, 3.0, 1.0])
    scores = np.array([[0.3], [0.1], [-1.0], [3.5], [1.0]])
    assert loss.losses(y, scores) == pytest.approx([0.3, 0.4, 3.0, 0.5, 0.0])
    g, h = loss.gradients(y, scores)
    assert g[:, 0].tolist() == [1, -1, -1, 1, 0]
    assert (h == 1).all() and h.shape == scores.shape
    assert loss.start(y) == 1.0


def test_trees_of_absolute_error() -> None:
    x, y = small()
    settings = parameters(
        **FEW, task_type="regression", objective_param={"objective": "lae"}, learning_rate=0.5, n_iter_no_change=False
    )
    run = Run(settings, parted(x, y)).fit()
    trees, scores = plain_boosting.boost(
        x,
        lambda scores: (np.where(scores > y[:, None], 1.0, np.where(scores < y[:, None], -1.0, 0.0)), scores * 0 + 1),
        np.full((len(x), 1), np.median(y)),
        2,
        plain_boosting.Settings(bins=8, task="regression"),
        lambda round_, class_: [range(6)] * 3,
        learning_rate=0.5,
    )
    compare(run, trees, PARTED)
    assert run.meta()["loss_history"][-1] == pytest.approx(np.mean(np.abs(scores[:, 0] - y)))


def test_cross_validation() -> None:
    """Each row is scored by the trees of the fold that it is not in."""
    x, y = small()
    y = (y > 1).astype(float)
    settings = parameters(bin_num=8, num_trees=2, cv_param={"need_cv": True, "n_splits": 2})
    run = Run(settings, parted(x, y)).fit()
    expected, aucs = np.empty(len(y)), []
    for (inside,) in fold_rows([len(y)], 2, True, 1):
        outside = np.setdiff1d(np.arange(len(y)), inside)
        trees, _ = in_the_clear(x[outside], y[outside], plain_boosting.Settings(bins=8), 2)
        sums = [0.3 * sum(leaf(tree, row) for tree in trees) for row in x[inside]]
        expected[inside] = probabilities(np.array(sums))
        aucs.append(roc_auc_score(y[inside], expected[inside]))
    outputs = run.fitted[GUEST]
    assert outputs.model is None
    assert np.abs(run.scores[:, 0] - expected).max() < CLOSE
    assert [one["auc"] for one in outputs.summary["folds"]] == pytest.approx(aucs)
    assert outputs.metrics["auc_mean"] == pytest.approx(np.mean(aucs))
