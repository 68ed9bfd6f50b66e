"""HeteroLinR by all its parties against the same algorithm in the clear, with the tolerance of the LR tests: what
travels is rounded to 2^-16 here, and steps with a learning rate of 0.1 add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.hetero_linr import HeteroLinRParam
from airflow_provider_fate.runtime.components.hetero_linr import HeteroLinR
from tests.unit.components import plain_lr
from tests.unit.components.lr_parties import GUEST, HOST, HOST2, Run, example, hetero, in_the_clear, joined, rows

TOLERANCE = 3e-6
LOSS_TOLERANCE = 5e-5
CONST = {"init_method": "const", "init_const": 0.1}


def settings(**given: Any) -> HeteroLinRParam:
    return HeteroLinRParam(**{"init_param": CONST, "tol": 0, "learning_rate": 0.1, "alpha": 0.01, **given})


@pytest.mark.parametrize(
    "given",
    [
        {"max_iter": 8},
        {"max_iter": 4, "optimizer": "adam", "penalty": "L1", "batch_size": 100},
        {"max_iter": 3, "encrypt_param": {"method": "Paillier"}, "decay_sqrt": False},
    ],
)
def test_equals_the_algorithm_in_the_clear(given: dict[str, Any]) -> None:
    own = settings(**given)
    run = Run(own, hetero("motor_hetero"), kind=HeteroLinR).fit()
    y, x = joined("motor_hetero")
    weights, losses = in_the_clear(x, y, 4, own, objective=plain_lr.SQUARED)
    assert np.abs(run.weights() - weights).max() < TOLERANCE
    assert np.abs(np.array(run.meta(GUEST)["loss_history"]) - losses).max() < LOSS_TOLERANCE


def scores(run: Run) -> list[float]:
    return [score for block in run.fitted[GUEST].data["data"].blocks() for score in block.x[:, 0].tolist()]


def test_partitions_change_nothing() -> None:
    """Not even the last digit of a weight, a loss or a score."""
    own = settings(max_iter=3, batch_size=150)
    one, *others = (Run(own, hetero("motor_hetero", parts), kind=HeteroLinR).fit() for parts in (1, 5))
    for other in others:
        assert other.meta(GUEST) == one.meta(GUEST) and other.meta(HOST) == one.meta(HOST)
        assert scores(other) == scores(one)


def test_as_good_as_scikit_learn_and_predicts_numbers() -> None:
    own = settings(max_iter=60, penalty=None, learning_rate=0.3, decay=0)
    run = Run(own, hetero("motor_hetero"), kind=HeteroLinR).fit()
    y, guest, host = example("motor_hetero")
    best = LinearRegression().fit(np.hstack([guest, host]), y)
    predicted = np.concatenate([block.x[:, 0] for block in run.fitted[GUEST].data["data"].blocks()])
    residual = np.mean((y - best.predict(np.hstack([guest, host]))) ** 2)
    assert np.mean((y - predicted) ** 2) < 1.1 * residual + 0.01
    schema = run.fitted[GUEST].data["data"].schema
    assert (schema.kind, schema.classes, schema.label_name) == ("prediction", (), "y")
    models = {party: run.fitted[party].model for party in (GUEST, HOST)}
    done = run.predict({GUEST: {"data": rows(guest[:9])}, HOST: {"data": rows(host[:9], None, name="z")}}, models)
    again = np.concatenate([block.x[:, 0] for block in done[GUEST].data["data"].blocks()])
    assert np.allclose(again, predicted[:9])


def test_large_labels_keep_their_precision() -> None:
    """Labels of 100,000 with features of their size: the scale of what travels follows the labels."""
    y, guest, host = example("motor_hetero")
    large = 1e5 * y + 3e5
    own = settings(max_iter=5)
    data = {GUEST: {"train_data": rows(guest, large)}, HOST: {"train_data": rows(host, None, name="z")}}
    run = Run(own, data, kind=HeteroLinR).fit()
    _, x = joined("motor_hetero")
    weights, _ = in_the_clear(x, large, 4, own, objective=plain_lr.SQUARED)
    assert np.abs(run.weights() - weights).max() < 1e5 * TOLERANCE


def test_two_hosts() -> None:
    y, guest, host = example("motor_hetero")
    data = {
        GUEST: {"train_data": rows(guest, y)},
        HOST: {"train_data": rows(host[:, :3], None, name="z")},
        HOST2: {"train_data": rows(host[:, 3:], None, name="w")},
    }
    own = settings(max_iter=4, early_stop="weight_diff")
    run = Run(own, data, kind=HeteroLinR).fit()
    _, x = joined("motor_hetero")
    weights, _ = in_the_clear(x, y, 4, own, objective=plain_lr.SQUARED)
    assert np.abs(run.weights() - weights).max() < TOLERANCE


def test_validation_keeps_the_lowest_error() -> None:
    y, guest, host = example("motor_hetero")
    half = np.arange(len(y)) % 2 == 0
    data = {
        GUEST: {"train_data": rows(guest[half], y[half]), "validate_data": rows(guest[~half], y[~half])},
        HOST: {"train_data": rows(host[half]), "validate_data": rows(host[~half])},
    }
    own = settings(max_iter=6, validation_freqs=1, early_stopping_rounds=5, penalty=None)
    meta = Run(own, data, kind=HeteroLinR).fit().meta(GUEST)
    errors = [entry["root_mean_squared_error"] for entry in meta["validation"]]
    assert errors[meta["best_iteration"] - 1] == min(errors) < max(errors)
    with pytest.raises(ConfigError, match="auc is not a metric of a regression"):
        Run(settings(max_iter=1, validation_freqs=1, metrics=["auc"]), data, kind=HeteroLinR).fit()


def test_missing_labels_are_refused() -> None:
    y, guest, host = example("motor_hetero")
    y = np.append(y[:-1], np.nan)
    data = {GUEST: {"train_data": rows(guest, y)}, HOST: {"train_data": rows(host)}}
    with pytest.raises(DataError, match="label column 'y' has missing or infinite"):
        Run(settings(max_iter=1), data, kind=HeteroLinR).fit()
