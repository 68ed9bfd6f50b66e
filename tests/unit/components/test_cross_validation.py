"""Cross validation of HeteroLR, HeteroLinR and HeteroPoisson against folds cut, fitted and scored in the clear."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.hetero_linr import HeteroLinRParam
from airflow_provider_fate.job.parameters.hetero_poisson import HeteroPoissonParam
from airflow_provider_fate.runtime.components.cross_validation import fold_rows
from airflow_provider_fate.runtime.components.hetero_linr import HeteroLinR
from airflow_provider_fate.runtime.components.hetero_poisson import HeteroPoisson
from airflow_provider_fate.runtime.data import Model
from tests.unit.components import plain_lr
from tests.unit.components.lr_parties import (
    ARBITER,
    GUEST,
    HOST,
    Run,
    example,
    hetero,
    in_the_clear,
    joined,
    parameters,
    rows,
)

CONST = {"init_method": "const", "init_const": 0.1}


def whole(counts: list[int], folds: list[list[np.ndarray]]) -> list[list[int]]:
    """Rows of each fold, counted over all partitions."""
    starts = np.cumsum([0, *counts[:-1]])
    return [np.concatenate([part + start for part, start in zip(one, starts, strict=True)]).tolist() for one in folds]


@pytest.mark.parametrize("shuffle", [True, False])
def test_folds_hold_every_row_once_whatever_the_partitions(shuffle: bool) -> None:
    found = [whole(counts, fold_rows(counts, 4, shuffle, 3)) for counts in ([11], [0, 5, 6], [1] * 11)]
    assert found[0] == found[1] == found[2]
    assert sorted(sum(found[0], [])) == list(range(11))
    assert [len(one) for one in found[0]] == [3, 3, 3, 2]
    assert (found[0][0] == [0, 1, 2]) is not shuffle


def test_each_row_is_scored_by_the_model_that_did_not_see_it() -> None:
    own = parameters(
        max_iter=3, learning_rate=0.1, tol=0, init_param=CONST, cv_param={"need_cv": True, "n_splits": 3}
    )
    run = Run(own, hetero("breast_hetero")).fit()
    y, x = joined("breast_hetero")
    folds = whole([len(y)], fold_rows([len(y)], 3, True, 1))
    expected, aucs = np.empty(len(y)), []
    for inside in folds:
        outside = np.setdiff1d(np.arange(len(y)), inside)
        weights, _ = in_the_clear(x[outside], 2 * y[outside] - 1, 10, own)
        expected[inside] = 1 / (1 + np.exp(-x[inside] @ weights))
        aucs.append(roc_auc_score(y[inside], expected[inside]))
    outputs = run.fitted[GUEST]
    assert np.allclose(np.concatenate([block.x[:, 0] for block in outputs.data["data"].blocks()]), expected, atol=1e-5)
    assert outputs.metrics["auc_mean"] == pytest.approx(np.mean(aucs))
    assert outputs.metrics["auc_std"] == pytest.approx(np.std(aucs))
    assert [one["auc"] for one in outputs.summary["folds"]] == pytest.approx(aucs)
    assert outputs.model is None
    assert run.fitted[HOST].data == run.fitted[ARBITER].data == {}
    assert any(line.startswith("fold 3 of 3: iteration 3 of 3") for line in run.log)


def test_folds_of_the_other_linear_models() -> None:
    """HeteroLinR, and HeteroPoisson, whose labels are counts: two folds, cut and fitted in the clear."""
    speed, guest, host = example("motor_hetero")
    counts = np.random.default_rng(3).poisson(np.exp(0.4 * speed)).astype(float)
    x = np.hstack([guest, np.ones((len(speed), 1)), host])
    given = {"max_iter": 3, "learning_rate": 0.1, "tol": 0, "alpha": 0.01, "optimizer": "sgd"}
    given |= {"cv_param": {"need_cv": True, "n_splits": 2}, "init_param": CONST}
    for kind, own, y, objective, response in (
        (HeteroLinR, HeteroLinRParam(**given), speed, plain_lr.SQUARED, np.array),
        (HeteroPoisson, HeteroPoissonParam(**given), counts, plain_lr.COUNTS, np.exp),
    ):
        data = {GUEST: {"train_data": rows(guest, y)}, HOST: {"train_data": rows(host, None, name="z")}}
        outputs = Run(own, data, kind=kind).fit().fitted[GUEST]
        expected, errors = np.empty(len(y)), []
        for inside in whole([len(y)], fold_rows([len(y)], 2, True, 1)):
            outside = np.setdiff1d(np.arange(len(y)), inside)
            weights, _ = in_the_clear(x[outside], y[outside], 4, own, objective=objective)
            expected[inside] = response(x[inside] @ weights)
            errors.append(np.sqrt(np.mean((expected[inside] - y[inside]) ** 2)))
        found = np.concatenate([block.x[:, 0] for block in outputs.data["data"].blocks()])
        # the tolerances of the models' own tests, over some five columns of size 1 to 3
        assert np.abs(found - expected).max() < 2e-4
        assert [one["root_mean_squared_error"] for one in outputs.summary["folds"]] == pytest.approx(errors, abs=1e-4)
        assert outputs.metrics["root_mean_squared_error_mean"] == pytest.approx(np.mean(errors), abs=1e-4)


def test_a_regression_without_history() -> None:
    own = HeteroLinRParam(
        max_iter=2, learning_rate=0.1, cv_param={"need_cv": True, "n_splits": 2, "output_fold_history": False}
    )
    outputs = Run(own, hetero("motor_hetero"), kind=HeteroLinR).fit().fitted[GUEST]
    assert outputs.data == {}
    assert {"root_mean_squared_error_mean", "r2_score_std"} <= set(outputs.metrics)


@pytest.mark.parametrize("more", [("validate_data",), ("model",), ("validate_data", "model")])
def test_inputs_without_effect_are_said(more: tuple[str, ...]) -> None:
    own = parameters(max_iter=1, init_param=CONST, cv_param={"need_cv": True, "n_splits": 2})
    data, models = hetero("breast_hetero"), {}
    plain = Run(own, data).fit()
    if "validate_data" in more:
        data = {party: {**inputs, "validate_data": inputs["train_data"]} for party, inputs in data.items()}
    if "model" in more:
        models = {party: {"model": Model({})} for party in data}
    run = Run(own, data, models=models).fit()
    said = [line for line in run.log if "has no effect" in line]
    assert len(said) == 1 and said[0].startswith(f"cross-validation: {' and '.join(more)} has no effect")
    assert run.fitted[GUEST].metrics == plain.fitted[GUEST].metrics
    assert not [line for line in plain.log if "has no effect" in line]


def test_more_folds_than_rows_and_a_class_in_one_fold_only() -> None:
    y, guest, host = example("breast_hetero")
    few = {GUEST: {"train_data": rows(guest[:4], y[:4])}, HOST: {"train_data": rows(host[:4])}}
    with pytest.raises(ConfigError, match="cv_param.n_splits: 5 folds of 4 rows"):
        Run(parameters(cv_param={"need_cv": True}), few).fit()
    labels = np.append(np.full(len(y) - 1, 2.0), 3.0)
    labels[:200] = 1.0
    data = {GUEST: {"train_data": rows(guest, labels)}, HOST: {"train_data": rows(host)}}
    own = parameters(max_iter=1, cv_param={"need_cv": True, "n_splits": 2})
    with pytest.raises(DataError, match="have other classes|has .* distinct"):
        Run(own, data).fit()
