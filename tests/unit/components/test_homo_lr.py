"""HomoLR against federated averaging in the clear, on the same rows in the same batches.

The averages are exact up to 2^-41 a party and average; NumPy adds partitions in another order. So weights after some
tens of averages agree within 1e-9.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from airflow_provider_fate.errors import DataError, FateError, PeerError, PeerTimeout, ProtocolError, reason_for_peers
from airflow_provider_fate.job.parameters import EvaluationParam, HomoLRParam
from airflow_provider_fate.runtime.components.cross_validation import fold_rows
from airflow_provider_fate.runtime.components.evaluation import Evaluation
from airflow_provider_fate.runtime.components.homo_lr import HomoLR
from airflow_provider_fate.runtime.components.linear.batches import Batches
from airflow_provider_fate.runtime.components.linear.convergence import Convergence
from airflow_provider_fate.runtime.components.linear.optimizer import Optimizer
from airflow_provider_fate.runtime.data import Model, even_counts
from airflow_provider_fate.runtime.federation.memory import Hub
from tests.unit.components.lr_parties import ARBITER, GUEST, HOST, HOST2, MemoryCheckpoint, Run, rows
from tests.unit.components.running import component
from tests.unit.components.test_hetero_lr_refusals import shipped
from tests.unit.federation.playing import met, together

DATA = Path(__file__).parents[2] / "data"
CLOSE = {"rtol": 0, "atol": 1e-9}


def example(name: str) -> tuple[np.ndarray, np.ndarray]:
    table = np.genfromtxt(DATA / f"breast_homo_{name}.csv", delimiter=",", skip_header=1)
    return table[:, 2:], table[:, 1]


def made(count: int, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 5))
    y = np.argmax(x[:, :classes] + random.normal(size=(count, classes)), axis=1)
    return x, y.astype(float)


def settings(**given: Any) -> HomoLRParam:
    given = {"init_param": {"init_method": "zeros"}, "learning_rate": 0.1, "max_iter": 10, "alpha": 0.01, **given}
    return HomoLRParam(**given)


def run(own: HomoLRParam, parts: dict[Any, tuple[np.ndarray, np.ndarray]], partitions: int = 2, **more: Any) -> Run:
    data = {party: {"train_data": rows(x, y, partitions)} for party, (x, y) in parts.items()}
    return Run(own, data, kind=HomoLR, **more).fit()  # type: ignore[arg-type]


def in_the_clear(
    own: HomoLRParam, parts: list[tuple[np.ndarray, np.ndarray]], partitions: int = 2, label: float = 1, seed: int = 7
) -> tuple[np.ndarray, list[float]]:
    """Weights, the intercept last, and the loss at each average."""
    intercept = own.init_param.fit_intercept
    parts = [(np.hstack([x, np.ones((len(x), 1))]) if intercept else x, (y == label) * 1.0) for x, y in parts]
    every = sum(len(y) for _, y in parts)
    average = np.zeros(parts[0][0].shape[1])
    weights = [average] * len(parts)
    optimizers = [
        Optimizer(
            own.optimizer, own.learning_rate, decay=own.decay, decay_sqrt=own.decay_sqrt, penalty=own.penalty,
            alpha=own.alpha, intercept=intercept,
        )
        for _ in parts
    ]  # fmt: skip
    rule = Convergence(own.early_stop, own.tol, 1)
    losses: list[float] = []
    for iteration in range(own.max_iter):
        for number, (x, y) in enumerate(parts):
            counts = even_counts(len(y), partitions)
            starts = np.concatenate([[0], np.cumsum(counts)])
            batches = Batches(counts, own.batch_size, shuffle=own.shuffle, strategy="full", seed=seed)
            for batch in batches.of(iteration):
                at = np.concatenate(
                    [
                        np.arange(count) + start if places is None else places + start
                        for places, count, start in zip(batch.rows, counts, starts, strict=False)
                    ]
                )
                w = weights[number]
                gradient = x[at].T @ (1 / (1 + np.exp(-x[at] @ w)) - y[at]) / len(at)
                if own.use_proximal:
                    gradient = gradient + own.mu * (w - average)
                weights[number] = optimizers[number].step(w, gradient, iteration)
        if (iteration + 1) % own.aggregate_iters and iteration + 1 < own.max_iter:
            continue
        before = average
        average = sum(w * len(y) for w, (_, y) in zip(weights, parts, strict=True)) / every
        weights = [average] * len(parts)
        loss = sum(np.sum(np.log1p(np.exp(-np.where(y == 1, 1, -1) * (x @ average)))) for x, y in parts) / every
        losses.append(loss + optimizers[0].penalty_value(average))
        moved = average - before
        if rule.reached(losses[-1], moved @ moved, average @ average):
            break
    return average, losses


def weights(run: Run, party: Any = GUEST, number: int | None = None) -> np.ndarray:
    meta = run.meta(party)
    meta = meta if number is None else meta["models"][number]
    return np.array([*meta["weights"].values(), *([] if meta["intercept"] is None else [meta["intercept"]])])


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "sgd"},
        {"optimizer": "rmsprop", "batch_size": 100},
        {"optimizer": "adam", "aggregate_iters": 3, "penalty": "L1"},
        {"optimizer": "adagrad", "batch_size": 64, "shuffle": True, "penalty": None},
        {"optimizer": "nesterov_momentum_sgd", "init_param": {"init_method": "zeros", "fit_intercept": False}},
        {"optimizer": "sgd", "use_proximal": True, "mu": 0.5, "aggregate_iters": 4, "batch_size": 50},
        {"optimizer": "sgd", "early_stop": "weight_diff", "tol": 0.05, "max_iter": 40},
        {"optimizer": "sgd", "early_stop": "diff", "tol": 0.01, "max_iter": 40},
    ],
)
def test_as_averaging_in_the_clear(given) -> None:
    own = settings(**given)
    parts = {GUEST: example("guest"), HOST: example("host")}
    found = run(own, parts)
    expected, losses = in_the_clear(own, list(parts.values()))
    for party in parts:
        np.testing.assert_allclose(weights(found, party), expected, **CLOSE)
        np.testing.assert_allclose(found.meta(party)["loss_history"], losses, **CLOSE)
    assert weights(found, HOST).tolist() == weights(found, GUEST).tolist()
    if "tol" in given:
        assert len(losses) < 40
        assert found.meta(GUEST)["is_converged"]


def test_several_hosts_of_different_size() -> None:
    parts = {GUEST: made(300, seed=1), HOST: made(40, seed=2), HOST2: made(1000, seed=3)}
    own = settings(optimizer="sgd", learning_rate=0.5)
    found = run(own, parts)
    np.testing.assert_allclose(weights(found, HOST2), in_the_clear(own, list(parts.values()))[0], **CLOSE)
    assert "300 of 1340 rows are here" in found.log


def test_full_batches_and_sgd_are_training_on_all_rows() -> None:
    x, y = made(2000)
    own = settings(optimizer="sgd", learning_rate=1.0, decay=0, max_iter=300, tol=0, penalty=None)
    found = run(own, {GUEST: (x[:700], y[:700]), HOST: (x[700:], y[700:])})
    whole = LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(weights(found), [*whole.coef_[0], whole.intercept_[0]], rtol=0, atol=1e-3)


def test_the_partitions_make_no_difference_beyond_rounding() -> None:
    parts = {GUEST: made(120, seed=1), HOST: made(90, seed=2)}
    own = settings(batch_size=40, shuffle=True)
    one, other = (run(own, parts, partitions) for partitions in (1, 4))
    np.testing.assert_allclose(weights(one), weights(other), **CLOSE)
    assert weights(run(own, parts, 1)).tolist() == weights(one).tolist()


def test_work_on_executors_gives_the_same() -> None:
    parts = {GUEST: made(120, classes=3, seed=1), HOST: made(90, classes=3, seed=2)}
    own = settings(batch_size=40, validation_freqs=1)
    here = run(own, parts)
    there = Run(own, {party: {"train_data": shipped(rows(*part))} for party, part in parts.items()}, kind=HomoLR).fit()
    for number in range(3):
        assert weights(there, number=number).tolist() == weights(here, number=number).tolist()
    scores = [found.fitted[HOST].data["data"].blocks()[0].x.tolist() for found in (here, there)]
    assert scores[0] == scores[1]


def test_random_starts_are_the_same_at_every_party() -> None:
    parts = {GUEST: made(60, seed=1), HOST: made(60, seed=2)}
    own = settings(init_param={"init_method": "random_uniform"}, learning_rate=1e-9, max_iter=1)
    found = weights(run(own, parts))
    assert (found > 0).all() and len(set(found)) == 6
    np.testing.assert_allclose(found, np.random.default_rng([7, 0]).random(6), rtol=0, atol=1e-6)


def test_several_classes_some_of_which_a_party_lacks() -> None:
    x, y = made(400, classes=3)
    parts = {GUEST: (x[:200], np.minimum(y[:200], 1)), HOST: (x[200:], y[200:])}
    own = settings(optimizer="sgd", learning_rate=0.5)
    found = run(own, parts)
    for number in range(3):
        expected, _ = in_the_clear(own, list(parts.values()), label=number)
        np.testing.assert_allclose(weights(found, number=number), expected, **CLOSE)
    scores = found.fitted[HOST].data["data"]
    assert scores.schema.classes == (0, 1, 2)
    assert scores.schema.features == ("0", "1", "2")


def test_prediction_is_local_and_evaluated_at_each_party() -> None:
    own = settings(max_iter=20)
    parts = {GUEST: example("guest"), HOST: example("host")}
    found = run(own, parts)
    test_x, test_y = example("test")
    for party in parts:
        stored = Model(json.loads(json.dumps(found.meta(party), allow_nan=False)))
        # a federation that refuses every message
        scored = component(HomoLR, own, party).predict({"data": rows(test_x, test_y)}, stored).data["data"]
        x = np.concatenate([block.x[:, 0] for block in scored.blocks()])
        expected = 1 / (1 + np.exp(-(test_x @ weights(found)[:-1] + weights(found)[-1])))
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-12)
        evaluated = component(Evaluation, EvaluationParam(), party).fit({"data": scored}, {})
        assert evaluated.metrics["auc"] == pytest.approx(roc_auc_score(test_y, expected), abs=1e-12)
        assert evaluated.metrics["auc"] > 0.98
    assert component(Evaluation, EvaluationParam(), HOST).fit({}, {}).metrics == {}
    with pytest.raises(DataError, match="the data lacks"):
        component(HomoLR, own).predict({"data": rows(test_x[:, :3])}, found.fitted[GUEST].model)


def test_validation_and_stopping_by_the_guest_s_metrics() -> None:
    own = settings(max_iter=30, tol=0, validation_freqs=2, early_stopping_rounds=2, learning_rate=1.0)
    x, y = made(200)
    train, check = made(200, seed=4), made(100, seed=5)
    data = {
        GUEST: {"train_data": rows(x, y), "validate_data": rows(*check)},
        HOST: {"train_data": rows(*train)},
    }
    found = Run(own, data, kind=HomoLR).fit()  # type: ignore[arg-type]
    meta = found.meta(GUEST)
    assert meta["iterations"] < 30
    assert [one["iteration"] for one in meta["validation"]] == list(range(2, meta["iterations"] + 1, 2))
    assert found.meta(HOST)["best_iteration"] == meta["best_iteration"]
    assert weights(found, HOST).tolist() == weights(found, GUEST).tolist()
    assert set(found.fitted[GUEST].data) == {"data", "validate"}
    assert set(found.fitted[HOST].data) == {"data"}


def test_validations_wait_for_the_next_average() -> None:
    own = settings(max_iter=11, tol=0, validation_freqs=4, aggregate_iters=3)
    found = run(own, {GUEST: made(60, seed=1), HOST: made(60, seed=2)})
    # due after 4 and 8; averages are taken after 3, 6, 9 and 11
    assert [one["iteration"] for one in found.meta(HOST)["validation"]] == [6, 9]


def test_cross_validation() -> None:
    """Each party's rows are scored by the average of what the parties learnt from their other folds."""
    own = settings(cv_param={"need_cv": True, "n_splits": 2}, max_iter=5, optimizer="sgd")
    parts = {GUEST: example("guest"), HOST: example("host")}
    found = run(own, parts)
    expected = {party: np.empty(len(y)) for party, (_, y) in parts.items()}
    folds = {party: fold_rows([len(y)], 2, True, 1) for party, (_, y) in parts.items()}
    aucs: dict[Any, list[float]] = {party: [] for party in parts}
    for number in range(2):
        outside = {p: np.setdiff1d(np.arange(len(y)), folds[p][number][0]) for p, (_, y) in parts.items()}
        model, _ = in_the_clear(own, [(x[outside[party]], y[outside[party]]) for party, (x, y) in parts.items()])
        for party, (x, y) in parts.items():
            inside = folds[party][number][0]
            expected[party][inside] = 1 / (1 + np.exp(-(x[inside] @ model[:-1] + model[-1])))
            aucs[party].append(roc_auc_score(y[inside], expected[party][inside]))
    for party in parts:
        outputs = found.fitted[party]
        scores = np.concatenate([block.x[:, 0] for block in outputs.data["data"].blocks()])
        np.testing.assert_allclose(scores, expected[party], **CLOSE)
        assert outputs.model is None
        assert [one["auc"] for one in outputs.summary["folds"]] == pytest.approx(aucs[party])
        assert outputs.metrics["auc_mean"] == pytest.approx(np.mean(aucs[party]))


class Gone(Exception):
    """The process of a party has ended without a word."""


@dataclass
class Vanishing:
    """A federation whose party is gone when it would send its weights of the fourth iteration."""

    inner: Any
    hub: Hub

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def send(self, to: Any, tag: str, value: Any) -> None:
        if tag == "0/3/weights/masked":
            self.hub.disconnect(HOST)
            raise Gone
        self.inner.send(to, tag, value)


def test_a_party_that_never_returns_is_named_and_the_job_ends() -> None:
    """Masks of a party that is gone cannot be taken off, so the others end, and say who it was."""
    hub, parties = Hub(), (GUEST, HOST, ARBITER)
    parts = {GUEST: example("guest"), HOST: example("host")}
    lines: list[str] = []
    with met(hub, parties, wait=2.0) as players:

        def play(party: Any, session: Any) -> Any:
            federation = session.federation().scoped("homo_lr_0")
            made = component(HomoLR, settings(), party, lines if party == GUEST else [], federation)
            if party == HOST:
                made.ctx.federation = Vanishing(federation, hub)
            try:
                return made.fit({"train_data": rows(*parts[party])} if party in parts else {}, {})
            except Gone:
                raise
            except FateError as error:
                session.abort(reason_for_peers(error))
                raise

        began = time.monotonic()
        outcomes = together(*(partial(play, party, one.session) for party, one in zip(parties, players, strict=True)))
        took = time.monotonic() - began
        hub.reconnect(HOST)
    guest, host, arbiter = outcomes
    assert isinstance(host, Gone)
    # one of them notices first, and the other may hear of it from that one, or notice by itself as well
    noticed = [error for error in (guest, arbiter) if isinstance(error, PeerTimeout)]
    assert noticed and all(isinstance(error, PeerError) for error in (guest, arbiter))
    for error in (guest, arbiter):
        said = "has given no sign of life" if error in noticed else "gave it no sign of life"
        assert f"host-10000 {said}" in str(error)
    assert all(error.party == "host-10000" for error in noticed)
    if arbiter in noticed:
        assert "0/3/weights/masked" in str(arbiter)
    assert took < 15
    assert any(line.startswith("iteration 3 of 10") for line in lines)


@pytest.mark.parametrize("aggregate_iters", [1, 3])
def test_going_on_from_a_checkpoint(aggregate_iters) -> None:
    parts = {GUEST: made(100, classes=3, seed=1), HOST: made(90, classes=3, seed=2)}
    own = settings(max_iter=6, optimizer="adam", aggregate_iters=aggregate_iters, use_proximal=True, tol=0)
    first = run(own, parts)
    for step in (2, 4, 6, 11):
        again = {
            party: MemoryCheckpoint(step, dict(first.checkpoints[party].kept)) for party in (GUEST, HOST, ARBITER)
        }
        found = run(own, parts, checkpoints=again)
        for number in range(3):
            assert weights(found, HOST, number).tolist() == weights(first, HOST, number).tolist()


def test_going_on_from_a_model() -> None:
    parts = {GUEST: made(100, seed=1), HOST: made(90, seed=2)}
    own = settings(max_iter=4, optimizer="sgd", decay=0, tol=0)
    first = run(own, parts)
    models = {party: {"model": first.fitted[party].model} for party in (GUEST, HOST, ARBITER)}
    found = run(own, parts, models=models)
    whole = run(settings(max_iter=8, optimizer="sgd", decay=0, tol=0), parts)
    np.testing.assert_allclose(weights(found), weights(whole), **CLOSE)


def failing(own: HomoLRParam, data: dict[Any, dict[str, Any]]) -> FateError:
    with pytest.raises(FateError) as caught:
        Run(own, data, kind=HomoLR).fit()  # type: ignore[arg-type]
    return caught.value


def test_other_features_are_named() -> None:
    x, y = made(50)
    for other in (rows(x, y, name="z"), rows(x[:, :4], y)):
        error = failing(settings(), {GUEST: {"data": rows(x, y)}, HOST: {"data": other}})
        assert isinstance(error, DataError)
        assert "host-10000 and " in str(error) and "different features, or in another order" in str(error)


@pytest.mark.parametrize(
    ("guest", "host", "match"),
    [
        (made(50), (made(50)[0], None), "train_data of host-10000 has no label"),
        ((made(50)[0], np.ones(50)), (made(50)[0], np.ones(50)), "1 distinct values"),
        (made(50), (np.full((50, 5), np.nan), made(50)[1]), "missing or infinite values"),
    ],
)
def test_rows_that_cannot_be_trained_on(guest, host, match) -> None:
    data = {GUEST: {"data": rows(*guest)}, HOST: {"data": rows(*host)}}
    assert match in str(failing(settings(), data))


def test_weights_beyond_all_bounds() -> None:
    x, y = made(50)
    data = {party: {"data": rows(x, y)} for party in (GUEST, HOST)}
    error = failing(settings(learning_rate=1e8, optimizer="sgd"), data)
    assert "diverged" in str(error) and "lower the learning rate" in str(error)


# --- what the arbiter must not send ---------------------------------------------------------------------------------

THREE = {GUEST: made(80, seed=1), HOST: made(70, seed=2), HOST2: made(60, seed=3)}


class Lying:
    """The arbiter's federation, which tells one party something else under some tags."""

    def __init__(self, federation: Any, ends: str, victim: Any, change: Any) -> None:
        self._federation, self._ends, self._victim, self._change = federation, ends, victim, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._federation, name)

    def send(self, to: Any, tag: str, value: Any) -> None:
        if not tag.endswith(self._ends):
            return self._federation.send(to, tag, value)
        for party in to:
            chosen = self._victim in (party, None)
            self._federation.send(party, tag, self._change(value) if chosen else value)


def lied_to(
    monkeypatch: pytest.MonkeyPatch, ends: str, victim: Any, change: Any, parts: dict[Any, Any] = THREE, **more: Any
) -> tuple[ProtocolError, list[str]]:
    """The error that all end with, and the tags of masked vectors that the arbiter got."""
    data = {party: {"train_data": rows(*part)} for party, part in parts.items()}
    lied = Run(settings(max_iter=3, tol=0), data, kind=HomoLR, **more)  # type: ignore[arg-type]
    original, sent = lied._component, []

    class Heard:
        def __init__(self, federation: Any) -> None:
            self._federation = federation

        def __getattr__(self, name: str) -> Any:
            return getattr(self._federation, name)

        def send(self, to: Any, tag: str, value: Any) -> None:
            if tag.endswith("/masked"):
                sent.append(tag.removesuffix("/masked"))
            self._federation.send(to, tag, value)

    def wrap(party: Any, federation: Any) -> Any:
        lies = party == ARBITER
        return original(party, Lying(federation, ends, victim, change) if lies else Heard(federation))

    monkeypatch.setattr(lied, "_component", wrap)
    with pytest.raises(ProtocolError) as caught:
        lied.fit()
    return caught.value, sent


def large(_: Any) -> np.ndarray:
    return np.array([1 << 39], np.uint64)


def more(value: np.ndarray) -> np.ndarray:
    return value + np.uint64(1)


@pytest.mark.parametrize("parts", [THREE, dict(list(THREE.items())[:2])])
@pytest.mark.parametrize("victim", [GUEST, HOST])
def test_numbers_of_rows_that_would_single_a_party_out(monkeypatch, victim, parts) -> None:
    """All but the victim are told that there are very many rows, so that their weights count for nothing."""
    error, sent = lied_to(monkeypatch, "rows/sum", victim, large, parts)
    assert error.party == str(ARBITER) and "were not given the same by arbiter-10000" in str(error)
    assert set(sent) == {"rows"}


@pytest.mark.parametrize("count", [0, 70, 71, (1 << 40) + 1, 1 << 61, 1 << 63, (1 << 64) - 80])
def test_numbers_of_rows_that_cannot_be(monkeypatch, count) -> None:
    error, sent = lied_to(monkeypatch, "rows/sum", None, lambda _: np.array([count], np.uint64))
    assert error.party == str(ARBITER) and "arbiter-10000 says that all parties together have" in str(error)
    assert set(sent) == {"rows"}


@pytest.mark.parametrize("victim", [GUEST, HOST, HOST2])
def test_weights_that_one_party_alone_is_given(monkeypatch, victim) -> None:
    """No loss of a model that one party alone has, and no step from it, is ever sent."""
    error, sent = lied_to(monkeypatch, "0/0/weights/sum", victim, more)
    assert "were not given the same" in str(error)
    assert set(sent) == {"rows", "0/0/weights"}


@pytest.mark.parametrize(
    ("ends", "change", "last"),
    [
        ("0/0/loss/sum", more, "0/1/weights"),
        ("0/0/verdict", lambda verdict: {**verdict, "best": not verdict["best"]}, "0/1/weights"),
        ("0/2/loss/sum", more, "0/2/loss"),
        ("0/2/verdict", lambda verdict: {**verdict, "best": not verdict["best"]}, "0/2/loss"),
        ("plan", lambda plan: {**plan, "labels": np.append(plan["labels"], 7.0)}, "rows"),
    ],
)
def test_what_else_is_compared(monkeypatch, ends, change, last) -> None:
    error, sent = lied_to(monkeypatch, ends, HOST, change)
    assert "were not given the same" in str(error)
    assert sent[-1] == last


@pytest.mark.parametrize("change", [lambda labels: labels + 1, lambda labels: labels[::-1], lambda labels: labels[:1]])
def test_labels_that_are_not_those_of_all(monkeypatch, change) -> None:
    error, sent = lied_to(monkeypatch, "plan", HOST, lambda plan: {**plan, "labels": change(plan["labels"])})
    assert error.party == str(ARBITER) and "arbiter-10000 sent labels that are not those of all parties" in str(error)
    assert "rows" not in sent


def test_averages_are_compared_again_when_parties_come_back(monkeypatch) -> None:
    """A party's checkpoint is its own: what it says was the last average must be that of all."""
    parts = {party: {"train_data": rows(*part)} for party, part in THREE.items()}
    first = Run(settings(max_iter=3, tol=0), parts, kind=HomoLR).fit()  # type: ignore[arg-type]
    for victim in THREE:
        kept = {party: dict(first.checkpoints[party].kept) for party in (*THREE, ARBITER)}
        arrays, meta = kept[victim][2]
        kept[victim][2] = ({**arrays, "last": arrays["last"] + 1e-9}, meta)
        again = {party: MemoryCheckpoint(2, kept[party]) for party in kept}
        error, sent = lied_to(monkeypatch, "nothing", None, None, checkpoints=again)
        assert "were not given the same" in str(error)
        assert set(sent) == {"rows"}


def test_names_from_the_arbiter_stay_out_of_the_log(monkeypatch) -> None:
    data = {party: {"train_data": rows(*part)} for party, part in THREE.items()}
    lied = Run(settings(), data, kind=HomoLR)  # type: ignore[arg-type]
    original = lied._component
    change = {"other": ["host-10001", "\x1b[2J\nINFO all is well"], "labels": np.zeros(0)}

    def wrap(party: Any, federation: Any) -> Any:
        return original(party, Lying(federation, "plan", None, lambda _: change) if party == ARBITER else federation)

    monkeypatch.setattr(lied, "_component", wrap)
    with pytest.raises(DataError) as caught:
        lied.fit()
    assert "host-10001 and guest-9999 have different features" in str(caught.value)
    assert "all is well" not in str(caught.value)
