"""HeteroLR by all its parties against the same algorithm in the clear on the joined columns.

TOLERANCE: what travels is rounded to at least 16 bits after the point for these row counts (BFV, t = 2^53; see
``fixed_point.fraction_bits``) and columns to as many, so an entry of a batch's mean gradient is off by about
2^-17 / sqrt(rows), below 1e-6; steps times a learning rate of 0.1 add these up. All is exact after the rounding, so the
differences are the same in each run. Where a gradient is nearly zero, rmsprop and adagrad take its error times up to
a thousand learning rates, which the examples here stay clear of. The loss has 10 bits for the guest's factor,
2^-11 / sqrt(rows) times values of about 1 in the mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.unit.components import plain_lr
from tests.unit.components.lr_parties import (
    ARBITER,
    GUEST,
    HOST,
    HOST2,
    MemoryCheckpoint,
    Run,
    example,
    hetero,
    in_the_clear,
    joined,
    parameters,
    rows,
)

TOLERANCE = 3e-6
#: after 60 iterations with a learning rate of 1.2 and momentum, of weights up to 3
LONG_TOLERANCE = 5e-5
LOSS_TOLERANCE = 5e-5
CONST = {"init_method": "const", "init_const": 0.1}


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adagrad", "nesterov_momentum_sgd"])
def test_equals_the_algorithm_in_the_clear(optimizer: str) -> None:
    settings = parameters(optimizer=optimizer, max_iter=8, alpha=0.05, learning_rate=0.1, tol=0, init_param=CONST)
    run = Run(settings, hetero("breast_hetero")).fit()
    y, x = joined("breast_hetero")
    weights, losses = in_the_clear(x, 2 * y - 1, 10, settings)
    assert np.abs(run.weights() - weights).max() < TOLERANCE
    assert np.allclose(run.meta(GUEST)["loss_history"], losses, atol=LOSS_TOLERANCE)
    assert np.abs(weights - 0.1).max() > 0.05  # it did learn


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 160},
        {"batch_size": 160, "shuffle": False},
        {"batch_size": 100, "batch_strategy": "random"},
        {"penalty": "L1", "alpha": 0.02},
        {"penalty": None},
        {"decay": 0.5, "decay_sqrt": False},
        {"early_stop": "weight_diff", "tol": 0.03, "max_iter": 30},
        {"early_stop": "diff", "tol": 0.01, "max_iter": 30},
        {"early_stop": "abs", "tol": 0.5, "max_iter": 30},
        {"init_param": {**CONST, "fit_intercept": False}},
    ],
    ids=lambda given: "-".join(map(str, given)),
)
def test_settings_mean_what_they_say(given: dict[str, Any]) -> None:
    base = {"optimizer": "sgd", "max_iter": 5, "alpha": 0.1, "learning_rate": 0.3, "tol": 0, "init_param": CONST}
    settings = parameters(**{**base, **given})
    run = Run(settings, hetero("breast_hetero", partitions=3)).fit()
    y, x = joined("breast_hetero")
    intercept = settings.init_param.fit_intercept
    if not intercept:
        x = np.delete(x, 10, axis=1)
    weights, losses = in_the_clear(x, 2 * y - 1, 10 if intercept else -1, settings, partitions=3)
    assert np.abs(run.weights() - weights).max() < TOLERANCE
    assert run.meta(GUEST)["iterations"] == run.meta(HOST)["iterations"] == len(losses)
    assert np.allclose(run.meta(GUEST)["loss_history"], losses, atol=LOSS_TOLERANCE)
    if settings.tol:
        assert run.meta(GUEST)["is_converged"] and len(losses) < settings.max_iter


def test_two_hosts() -> None:
    y, guest, host = example("breast_hetero")
    settings = parameters(max_iter=6, alpha=0.05, learning_rate=0.1, tol=0, init_param=CONST)
    run = Run(
        settings,
        {
            GUEST: {"train_data": rows(guest, y)},
            HOST: {"train_data": rows(host[:, :7])},
            HOST2: {"train_data": rows(host[:, 7:])},
        },
    ).fit()
    _, x = joined("breast_hetero")
    settings = settings.model_copy(update={"early_stop": "weight_diff"})
    weights, _ = in_the_clear(x, 2 * y - 1, 10, settings)
    assert np.abs(run.weights() - weights).max() < TOLERANCE
    assert any("early_stop is weight_diff" in line for line in run.log)
    assert run.meta(GUEST)["loss_history"] == []


def test_paillier_gives_the_same() -> None:
    weak = {"method": "Paillier", "key_length": 1024, "allow_weak_key": True}
    y, guest, host = example("breast_hetero")
    settings = parameters(
        optimizer="sgd",
        max_iter=2,
        batch_size=50,
        alpha=0.05,
        learning_rate=0.1,
        tol=0,
        init_param=CONST,
        encrypt_param=weak,
    )
    some = slice(0, 100)
    run = Run(
        settings,
        {GUEST: {"train_data": rows(guest[some], y[some])}, HOST: {"train_data": rows(host[some])}},
    ).fit()
    _, x = joined("breast_hetero")
    weights, losses = in_the_clear(x[some], 2 * y[some] - 1, 10, settings)
    assert np.abs(run.weights() - weights).max() < TOLERANCE
    assert np.allclose(run.meta(GUEST)["loss_history"], losses, atol=LOSS_TOLERANCE)


def test_as_good_as_scikit_learn() -> None:
    settings = parameters(
        optimizer="nesterov_momentum_sgd",
        max_iter=30,
        alpha=0.01,
        learning_rate=0.15,
        tol=0,
        init_param={"init_method": "zeros"},
    )
    run = Run(settings, hetero("breast_hetero")).fit()
    y, x = joined("breast_hetero")
    predictions = run.fitted[GUEST].data["data"].blocks()
    score = np.concatenate([block.x[:, 0] for block in predictions])
    assert np.array_equal(np.concatenate([block.y for block in predictions]), y)
    theirs = LogisticRegression().fit(np.delete(x, 10, axis=1), y).decision_function(np.delete(x, 10, axis=1))
    assert roc_auc_score(y, score) == pytest.approx(roc_auc_score(y, theirs), abs=0.005)
    assert run.log[0].startswith("iteration 1 of 30, loss 0.")
    assert {name for name, *_ in run.records} == {"loss"}
    assert "data" not in run.fitted[HOST].data and run.fitted[ARBITER].model is None


def test_four_classes() -> None:
    settings = parameters(
        optimizer="nesterov_momentum_sgd",
        max_iter=60,
        alpha=0,
        learning_rate=1.2,
        decay=0,
        tol=0,
        init_param={"init_method": "const", "init_const": 0},
    )
    run = Run(settings, hetero("vehicle_scale_hetero", partitions=1)).fit()
    y, x = joined("vehicle_scale_hetero")
    predictions = run.fitted[GUEST].data["data"]
    assert predictions.schema.classes == (0, 1, 2, 3) and predictions.schema.features == ("0", "1", "2", "3")
    assert [one["class"] for one in run.meta(GUEST)["models"]] == [0, 1, 2, 3]
    scores = np.concatenate([block.x for block in predictions.blocks()])
    columns = np.delete(x, 9, axis=1)
    for label in range(4):
        weights, _ = in_the_clear(x, np.where(y == label, 1.0, -1.0), 9, settings, partitions=1)
        assert np.abs(run.weights(label) - weights).max() < LONG_TOLERANCE
        assert np.allclose(scores[:, label], 1 / (1 + np.exp(-x @ weights)), atol=LONG_TOLERANCE)
        theirs = LogisticRegression(max_iter=1000).fit(columns, y == label).decision_function(columns)
        auc = roc_auc_score(y == label, scores[:, label])
        assert auc == pytest.approx(roc_auc_score(y == label, theirs), abs=0.005)


@pytest.mark.parametrize("several", [False, True])
def test_partitions_change_nothing(several: bool) -> None:
    """Not even the last digit of a weight, a loss or a score."""
    name = "vehicle_scale_hetero" if several else "breast_hetero"
    own = parameters(max_iter=1 if several else 3, batch_size=300, validation_freqs=1)
    one, *others = (Run(own, hetero(name, parts)).fit() for parts in (1, 5))
    for other in others:
        assert other.meta(GUEST) == one.meta(GUEST) and other.meta(HOST) == one.meta(HOST)
        scores = [
            np.concatenate([block.x for block in run.fitted[GUEST].data["data"].blocks()]) for run in (one, other)
        ]
        assert np.array_equal(*scores)


def test_going_on_from_a_checkpoint_changes_nothing() -> None:
    settings = parameters(
        max_iter=6,
        batch_size=200,
        learning_rate=0.1,
        tol=0,
        optimizer="adam",
        validation_freqs=2,
        early_stopping_rounds=2,
    )
    whole = Run(settings, hetero("breast_hetero")).fit()
    resumed = Run(
        settings,
        hetero("breast_hetero"),
        checkpoints={party: MemoryCheckpoint(3, kept.kept) for party, kept in whole.checkpoints.items()},
    ).fit()
    assert resumed.log[0] == "going on after iteration 3"
    assert len(resumed.log) == 1 + whole.meta(GUEST)["iterations"] - 3
    assert np.array_equal(whole.weights(), resumed.weights())
    assert whole.meta(GUEST) == resumed.meta(GUEST)


def test_going_on_between_two_classes() -> None:
    settings = parameters(max_iter=2, learning_rate=0.1, tol=0)
    whole = Run(settings, hetero("vehicle_scale_hetero", 1)).fit()
    resumed = Run(
        settings,
        hetero("vehicle_scale_hetero", 1),
        checkpoints={party: MemoryCheckpoint(4, kept.kept) for party, kept in whole.checkpoints.items()},
    ).fit()
    for number in range(4):
        assert np.array_equal(whole.weights(number), resumed.weights(number))


def test_the_same_job_gives_the_same_model() -> None:
    settings = parameters(max_iter=2, batch_size=100, learning_rate=0.1)
    first, second = Run(settings, hetero("breast_hetero")).fit(), Run(settings, hetero("breast_hetero")).fit()
    assert np.array_equal(first.weights(), second.weights())
    other = Run(settings, hetero("breast_hetero"), seed=8).fit()
    assert not np.array_equal(first.weights(), other.weights())


def test_validation_stops_early_and_keeps_the_best() -> None:
    y, guest, host = example("breast_hetero")
    half = np.arange(len(y)) % 2 == 0
    data = {
        GUEST: {"train_data": rows(guest[half], y[half]), "validate_data": rows(guest[~half], y[~half])},
        HOST: {"train_data": rows(host[half]), "validate_data": rows(host[~half])},
    }
    settings = parameters(
        max_iter=30, learning_rate=0.3, validation_freqs=1, early_stopping_rounds=3, use_first_metric_only=True, tol=0
    )
    run = Run(settings, data).fit()
    meta = run.meta(GUEST)
    assert meta["iterations"] == meta["best_iteration"] + 3 < 30
    aucs = [entry["auc"] for entry in meta["validation"]]
    assert aucs[meta["best_iteration"] - 1] == max(aucs)
    scores = np.concatenate([block.x[:, 0] for block in run.fitted[GUEST].data["validate"].blocks()])
    assert roc_auc_score(y[~half], scores) == pytest.approx(max(aucs))


def test_prediction_of_new_rows_with_columns_in_another_order() -> None:
    run = Run(parameters(max_iter=3, learning_rate=0.1), hetero("breast_hetero")).fit()
    models = {party: run.fitted[party].model for party in (GUEST, HOST)}
    y, guest, host = example("breast_hetero")
    turned = rows(guest[:50, ::-1], None, 3)
    turned.schema = turned.schema.with_features([f"x{place}" for place in reversed(range(10))])
    done = run.predict({GUEST: {"data": turned}, HOST: {"data": rows(host[:50], None, 3, "z")}}, models)
    score = np.concatenate([block.x[:, 0] for block in done[GUEST].data["data"].blocks()])
    weights = run.weights()
    _, x = joined("breast_hetero")
    assert np.allclose(score, 1 / (1 + np.exp(-x[:50] @ weights)))
    assert done[GUEST].data["data"].schema.label_name is None
    assert done[HOST].data == {}


def test_a_warm_start_goes_on_from_the_model() -> None:
    settings = parameters(max_iter=1, learning_rate=0.1, optimizer="sgd", penalty=None, decay=0)
    first = Run(settings, hetero("breast_hetero")).fit()
    models = {party: {"model": first.fitted[party].model} for party in (GUEST, HOST)}
    second = Run(settings, hetero("breast_hetero"), models=models).fit()
    y, x = joined("breast_hetero")
    expected = first.weights() - 0.1 * plain_lr.gradient(x, 2 * y - 1, first.weights())
    assert np.abs(second.weights() - expected).max() < TOLERANCE
