"""HeteroPoisson by all its parties against the same algorithm in the clear.

TOLERANCE: factors of the mean travel with 14 bits after the point for these row counts (2^53 modulo, 400 rows, factors
up to 4096), so an entry of a mean gradient is off by about 2^-15 / sqrt(rows) times the other factor, some 1e-6 a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor

from airflow_provider_fate.errors import CryptoError, DataError, FateError
from airflow_provider_fate.job.parameters.hetero_poisson import HeteroPoissonParam
from airflow_provider_fate.runtime.components.hetero_poisson import HeteroPoisson
from tests.unit.components import plain_lr
from tests.unit.components.lr_parties import ARBITER, GUEST, HOST, Run, example, in_the_clear, rows

TOLERANCE = 2e-5
ZEROS = {"init_method": "const", "init_const": 0.0}


def settings(**given: Any) -> HeteroPoissonParam:
    return HeteroPoissonParam(
        **{"init_param": ZEROS, "tol": 0, "learning_rate": 0.1, "alpha": 0.01, "optimizer": "sgd", **given}
    )


def counts() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts, the guest's columns and the host's, and exposures."""
    speed, guest, host = example("motor_hetero")
    random = np.random.default_rng(3)
    exposure = random.uniform(0.5, 4.0, len(speed))
    return random.poisson(exposure * np.exp(0.4 * speed)).astype(float), guest, host, exposure


def data(partitions: int = 2, exposed: bool = False) -> dict[Any, dict[str, Any]]:
    y, guest, host, exposure = counts()
    own = np.column_stack([guest[:, :2], exposure, guest[:, 2:]]) if exposed else guest
    return {
        GUEST: {"train_data": rows(own, y, partitions)},
        HOST: {"train_data": rows(host, None, partitions, "z")},
    }


def joined() -> tuple[np.ndarray, np.ndarray]:
    y, guest, host, _ = counts()
    return y, np.hstack([guest, np.ones((len(y), 1)), host])


@pytest.mark.parametrize(
    "given",
    [
        {"max_iter": 6},
        {"max_iter": 3, "optimizer": "adam", "penalty": "L1", "batch_size": 100},
        {"max_iter": 2, "encrypt_param": {"method": "Paillier"}},
    ],
)
def test_equals_the_algorithm_in_the_clear(given: dict[str, Any]) -> None:
    own = settings(**given)
    run = Run(own, data(), kind=HeteroPoisson).fit()
    y, x = joined()
    weights, losses = in_the_clear(x, y, 4, own, objective=plain_lr.COUNTS)
    assert np.abs(run.weights() - weights).max() < TOLERANCE
    assert np.abs(np.array(run.meta(GUEST)["loss_history"]) - losses).max() < 1e-3
    assert run.fitted[ARBITER].model is None


def scores(run: Run) -> list[float]:
    return [score for block in run.fitted[GUEST].data["data"].blocks() for score in block.x[:, 0].tolist()]


@pytest.mark.parametrize("exposed", [False, True])
def test_partitions_change_nothing(exposed: bool) -> None:
    """Not even the last digit of a weight, a loss or a score."""
    own = settings(max_iter=3, batch_size=150, exposure_colname="x2" if exposed else None)
    one, *others = (Run(own, data(parts, exposed), kind=HeteroPoisson).fit() for parts in (1, 5))
    for other in others:
        assert other.meta(GUEST) == one.meta(GUEST) and other.meta(HOST) == one.meta(HOST)
        assert scores(other) == scores(one)


def test_an_exposure_is_no_feature_and_counts_are_proportional_to_it() -> None:
    own = settings(max_iter=80, penalty=None, learning_rate=0.05, decay=0, optimizer="adam", exposure_colname="x2")
    run = Run(own, data(exposed=True), kind=HeteroPoisson).fit()
    y, guest, host, exposure = counts()
    assert list(run.meta(GUEST)["weights"]) == ["x0", "x1", "x3", "x4"]
    x = np.hstack([guest, host])
    best = PoissonRegressor(alpha=0, max_iter=1000).fit(x, y / exposure, sample_weight=exposure)
    predicted = np.concatenate([block.x[:, 0] for block in run.fitted[GUEST].data["data"].blocks()])
    assert np.corrcoef(predicted, exposure * best.predict(x))[0, 1] > 0.98
    deviance = [np.mean(mean - y * np.log(mean)) for mean in (predicted, exposure * best.predict(x))]
    assert deviance[0] < deviance[1] + 0.02
    models = {party: run.fitted[party].model for party in (GUEST, HOST)}
    new = np.column_stack([guest[:9, :2], exposure[:9], guest[:9, 2:]])
    scored = run.predict({GUEST: {"data": rows(new)}, HOST: {"data": rows(host[:9], None, name="z")}}, models)
    assert np.allclose(np.concatenate([block.x[:, 0] for block in scored[GUEST].data["data"].blocks()]), predicted[:9])


def test_cross_validation_with_an_exposure() -> None:
    own = settings(max_iter=2, exposure_colname="x2", cv_param={"need_cv": True, "n_splits": 2})
    outputs = Run(own, data(exposed=True), kind=HeteroPoisson).fit().fitted[GUEST]
    assert outputs.metrics["root_mean_squared_error_mean"] > 0
    assert outputs.data["data"].count == 400


@pytest.mark.parametrize(
    ("given", "change", "error", "says"),
    [
        ({"exposure_colname": "x0"}, None, DataError, "exposure in column 'x0' is not above 0"),
        ({}, "negative", DataError, "counts below 0"),
        ({"init_param": {"init_method": "const", "init_const": 9}}, None, CryptoError, "diverged"),
    ],
)
def test_what_is_wrong_is_named(
    given: dict[str, Any], change: str | None, error: type[FateError], says: str
) -> None:
    own = data()
    if change:
        y, guest, _, _ = counts()
        own[GUEST] = {"train_data": rows(guest, y - 1)}
    with pytest.raises(error, match=says):
        Run(settings(max_iter=1, **given), own, kind=HeteroPoisson).fit()


def test_without_the_column_of_exposures_every_exposure_is_one() -> None:
    """As in FATE, whose own examples name a column that their table lacks."""
    given = [settings(max_iter=1, exposure_colname=name) for name in (None, "exposure")]
    runs = [Run(own, data(), kind=HeteroPoisson).fit() for own in given]
    assert runs[0].meta(GUEST)["weights"] == pytest.approx(runs[1].meta(GUEST)["weights"], abs=TOLERANCE)
