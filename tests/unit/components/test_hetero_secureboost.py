"""HeteroSecureBoost by all its parties against the same algorithm in the clear on the joined columns.

Derivatives are rounded in the same way on both sides, and sums of what was rounded are exact, so trees are compared
node by node: column, threshold, side of missing values and rows exactly, gains and weights to 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from airflow_provider_fate.runtime.components.boosting.objectives import objective
from airflow_provider_fate.runtime.components.boosting.sampling import columns_of_tree
from airflow_provider_fate.runtime.components.hetero_secureboost import HeteroFastSecureBoost
from tests.unit.components import plain_boosting
from tests.unit.components.boost_parties import (
    GUEST,
    HOST,
    HOST2,
    Run,
    example,
    hetero,
    parameters,
    rows,
    trees_of,
)
from tests.unit.components.lr_parties import MemoryCheckpoint

CLOSE = 1e-9


def compare(run: Run, trees: list[plain_boosting.Grown], parties: Sequence[tuple[str, Sequence[str]]]) -> None:
    """The trees are the same, node by node.

    :param parties: in the order of the joined columns, each with the names of its columns
    """
    owners = [(party, name) for party, names in parties for name in names]
    found = trees_of(run)
    assert len(found) == len(trees)
    for nodes, tree in zip(found, trees, strict=True):
        assert [node["id"] for node in nodes] == sorted(tree.nodes)
        for node in nodes:
            want = dict(tree.nodes[node["id"]])
            if "column" in want:
                want["party"], want["feature"] = owners[want.pop("column")]
                assert node.pop("gain") == pytest.approx(want.pop("gain"), rel=CLOSE)
            assert node.pop("weight") == pytest.approx(want.pop("weight"), rel=CLOSE, abs=CLOSE)
            assert node == want


def joined(name: str) -> tuple[np.ndarray, np.ndarray, list[tuple[str, list[str]]]]:
    y, guest, host = example(name)
    names = [[f"{letter}{place}" for place in range(x.shape[1])] for letter, x in (("x", guest), ("z", host))]
    return y, np.hstack([guest, host]), [("guest-9999", names[0]), ("host-10000", names[1])]


def logistic(y: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    def derivatives(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = 1 / (1 + np.exp(-scores))
        return p - y[:, None], p * (1 - p)

    return derivatives


def in_the_clear(
    x: np.ndarray, y: np.ndarray, settings: plain_boosting.Settings, rounds: int, **more: Any
) -> tuple[list[plain_boosting.Grown], np.ndarray]:
    every = [range(x.shape[1])] * settings.max_depth
    more = {"columns": lambda round_, class_: every, **more}
    return plain_boosting.boost(x, logistic(y), np.zeros((len(x), 1)), rounds, settings, **more)


def probabilities(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def test_equals_the_algorithm_in_the_clear() -> None:
    run = Run(parameters(num_trees=4), hetero("breast_hetero")).fit()
    y, x, parties = joined("breast_hetero")
    trees, scores = in_the_clear(x, y, plain_boosting.Settings(), 4)
    compare(run, trees, parties)
    assert np.abs(run.scores - probabilities(scores)).max() < CLOSE
    owners = {node.get("party") for tree in run.meta()["trees"] for node in tree["nodes"]}
    assert owners == {"guest-9999", "host-10000", None}
    loss = -np.mean(np.log(np.where(y == 1, probabilities(scores)[:, 0], 1 - probabilities(scores)[:, 0])))
    assert run.meta()["loss_history"][-1] == pytest.approx(loss)
    assert run.log[0].startswith("round 1 of 4, loss 0.")
    assert "data" not in run.fitted[HOST].data


#: fewer bins, for speed
FEW = {"bin_num": 8, "num_trees": 2}


@pytest.mark.parametrize(
    ("tree", "plain"),
    [
        ({"max_depth": 5}, {"max_depth": 5}),
        ({"criterion_params": [2.0, 3.0]}, {"l2": 2.0, "l1": 3.0}),
        ({"criterion_params": {"l1": 0.5, "l2": 0}}, {"l2": 0.0, "l1": 0.5}),
        ({"min_impurity_split": 15.0}, {"min_impurity_split": 15.0}),
        ({"min_sample_split": 100}, {"min_sample_split": 100}),
        ({"min_leaf_node": 30}, {"min_leaf_node": 30}),
        ({"min_child_weight": 10.0}, {"min_child_weight": 10.0}),
    ],
    ids=str,
)
def test_tree_parameters_mean_what_they_say(tree: dict[str, Any], plain: dict[str, Any]) -> None:
    run = Run(parameters(**FEW, tree_param=tree), hetero("breast_hetero")).fit()
    y, x, parties = joined("breast_hetero")
    trees, _ = in_the_clear(x, y, plain_boosting.Settings(bins=8, **plain), 2)
    compare(run, trees, parties)


@pytest.mark.parametrize("more", [{"cipher_compress": False}, {"encrypt_param": {"method": "Paillier"}}], ids=str)
def test_the_cipher_makes_no_difference(more: dict[str, Any]) -> None:
    weak = {"key_length": 1024, "allow_weak_key": True}
    more = {name: {**value, **weak} if isinstance(value, dict) else value for name, value in more.items()}
    run = Run(parameters(bin_num=8, num_trees=1, **more), hetero("breast_hetero", take=slice(150))).fit()
    y, x, parties = joined("breast_hetero")
    trees, _ = in_the_clear(x[:150], y[:150], plain_boosting.Settings(bins=8), 1)
    compare(run, trees, parties)


def test_several_classes() -> None:
    run = Run(parameters(**FEW), hetero("vehicle_scale_hetero")).fit()
    y, x, parties = joined("vehicle_scale_hetero")

    def derivatives(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e = np.exp(scores)
        p = e / e.sum(axis=1, keepdims=True)
        return p - (y[:, None] == np.arange(4)), p * (1 - p)

    trees, scores = plain_boosting.boost(
        x,
        derivatives,
        np.zeros((len(x), 4)),
        2,
        plain_boosting.Settings(bins=8),
        lambda round_, class_: [range(x.shape[1])] * 3,
    )
    compare(run, trees, parties)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert np.abs(run.scores - expected).max() < CLOSE
    schema = run.fitted[GUEST].data["data"].schema
    assert schema.classes == (0, 1, 2, 3) and schema.features == ("0", "1", "2", "3")
    assert [tree["class"] for tree in run.meta()["trees"]] == [0, 1, 2, 3] * 2
    y, guest, host = example("vehicle_scale_hetero")
    again = run.predict({GUEST: {"data": rows(guest)}, HOST: {"data": rows(host, None, 2, "z")}})
    assert np.abs(again - expected).max() < CLOSE


def small(seed: int = 3, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Columns, and numbers that follow from them."""
    random = np.random.default_rng(seed)
    x = np.round(random.normal(size=(count, 6)), 2)
    y = np.exp(0.5 * x[:, 0] + 0.4 * x[:, 4] * x[:, 1]) + 0.1 * random.random(count)
    return x, y


def parted(x: np.ndarray, y: np.ndarray | None, partitions: int = 1, hosts: int = 1) -> dict[Any, dict[str, Any]]:
    """Three columns at the guest, and the others at one host or two."""
    data = {GUEST: {"train_data": rows(x[:, :3], y, partitions)}}
    if hosts == 1:
        return {**data, HOST: {"train_data": rows(x[:, 3:], None, partitions, "z")}}
    data[HOST] = {"train_data": rows(x[:, 3:4], None, partitions, "z")}
    return {**data, HOST2: {"train_data": rows(x[:, 4:], None, partitions, "w")}}


PARTED = [("guest-9999", ["x0", "x1", "x2"]), ("host-10000", ["z0", "z1", "z2"])]


@pytest.mark.parametrize(
    ("name", "params"),
    [("lse", None), ("lae", None), ("huber", [0.7]), ("fair", [0.8]), ("tweedie", [1.4]), ("log_cosh", None)],
)
def test_regressions(name: str, params: list[float] | None) -> None:
    x, y = small()
    settings = parameters(
        **FEW, task_type="regression", objective_param={"objective": name, "params": params}, learning_rate=0.5
    )
    run = Run(settings, parted(x, y)).fit()
    loss = objective(name, params, 0)
    start = {"lae": np.median(y), "tweedie": 0.0}.get(name, y.mean())
    trees, scores = plain_boosting.boost(
        x,
        lambda scores: loss.gradients(y, scores),
        np.full((len(x), 1), start),
        2,
        plain_boosting.Settings(bins=8, task="regression"),
        lambda round_, class_: [range(6)] * 3,
        learning_rate=0.5,
    )
    compare(run, trees, PARTED)
    expected = np.exp(scores) if name == "tweedie" else scores
    assert np.abs(run.scores - expected).max() < CLOSE
    assert run.fitted[GUEST].data["data"].schema.classes == ()
    assert np.corrcoef(run.scores[:, 0], y)[0, 1] > 0.5


@pytest.mark.parametrize(
    ("name", "params"),
    [("lse", None), ("huber", [0.7]), ("fair", [0.8]), ("tweedie", [1.4]), ("tweedie", [1.0]), ("log_cosh", None)],
)
def test_derivatives_are_those_of_the_loss(name: str, params: list[float] | None) -> None:
    loss = objective(name, params, 0)
    y, scores, step = np.array([0.0, 0.5, 2.0, 3.0]), np.array([[0.3], [0.6], [-1.0], [2.5]]), 1e-4
    g, h = loss.gradients(y, scores)
    above, at, below = (loss.losses(y, scores + move) for move in (step, 0, -step))
    assert np.allclose(g[:, 0], (above - below) / (2 * step), atol=1e-6)
    assert np.allclose(h[:, 0], (above - 2 * at + below) / step**2, atol=1e-5)


@pytest.mark.parametrize("zero", [False, True])
def test_missing_values_take_the_better_side(zero: bool) -> None:
    x, y = small()
    random = np.random.default_rng(4)
    x[random.random(x.shape) < 0.3] = 0.0 if zero else np.nan
    x[:, 5] = 0.0 if zero else np.nan  # a column without any value
    y = (y > 1).astype(float)
    settings = parameters(**FEW, use_missing=True, zero_as_missing=zero, tree_param={"max_depth": 4})
    run = Run(settings, parted(x, y)).fit()
    known = np.where(x == 0, np.nan, x) if zero else x
    trees, scores = in_the_clear(known, y, plain_boosting.Settings(bins=8, max_depth=4), 2)
    compare(run, trees, PARTED)
    sides = {node["missing"] for tree in trees_of(run) for node in tree if "missing" in node}
    assert sides == {"left", "right"}
    again = run.predict({GUEST: {"data": rows(x[:, :3])}, HOST: {"data": rows(x[:, 3:], None, 2, "z")}})
    assert np.abs(again - probabilities(scores)).max() < CLOSE
    assert np.array_equal(again, run.scores)


def test_two_hosts_and_some_of_the_columns() -> None:
    x, y = small()
    y = (y > 1).astype(float)
    data = parted(x, y, hosts=2)
    run = Run(parameters(bin_num=8, num_trees=4, subsample_feature_rate=0.7), data).fit()
    places = {GUEST: [0, 1, 2], HOST: [3], HOST2: [4, 5]}

    def columns(round_: int, class_: int) -> list[list[int]]:
        some = [
            own[place]
            for party, own in places.items()
            for place in columns_of_tree(len(own), 0.7, 100, party, round_, class_)
        ]
        return [some] * 3

    trees, _ = in_the_clear(x, y, plain_boosting.Settings(bins=8), 4, columns=columns)
    compare(run, trees, [PARTED[0], ("host-10000", ["z0"]), ("host-10001", ["w0", "w1"])])
    assert {len(columns(round_, 0)[0]) for round_ in range(4)} == {4}
    owners = {node["party"] for tree in trees_of(run) for node in tree if "party" in node}
    assert owners == {"guest-9999", "host-10000", "host-10001"}
    expected = run.scores
    again = {party: {"data": entry["train_data"]} for party, entry in data.items()}
    assert np.abs(run.predict(again) - expected).max() < CLOSE


@pytest.mark.parametrize(
    ("given", "levels"),
    [
        ({"complete_secure": True}, lambda round_: [[0, 1, 2]] * 3 if round_ < 1 else [range(6)] * 3),
        ({"complete_secure": 2}, lambda round_: [[0, 1, 2]] * 3 if round_ < 2 else [range(6)] * 3),
        ({"boosting_strategy": "mix"}, lambda round_: [[[0, 1, 2], [3, 4, 5]][round_ % 2]] * 3),
        ({"work_mode": "mix", "tree_num_per_party": 2}, lambda round_: [[[0, 1, 2], [3, 4, 5]][round_ // 2 % 2]] * 3),
        (
            {"boosting_strategy": "layered", "guest_depth": 1, "host_depth": 2},
            lambda round_: [[3, 4, 5], [3, 4, 5], [0, 1, 2]],
        ),
        (
            {"work_mode": "layered", "guest_depth": 2, "host_depth": 1, "complete_secure": 1},
            lambda round_: [[3, 4, 5], [0, 1, 2], [0, 1, 2]] if round_ else [[0, 1, 2]] * 3,
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_who_may_split(given: dict[str, Any], levels: Callable[[int], Sequence[Sequence[int]]]) -> None:
    x, y = small()
    y = (y > 1).astype(float)
    run = Run(parameters(bin_num=8, num_trees=3, **given), parted(x, y)).fit()
    trees, scores = in_the_clear(
        x, y, plain_boosting.Settings(bins=8), 3, columns=lambda round_, class_: levels(round_)
    )
    compare(run, trees, PARTED)
    again = run.predict({GUEST: {"data": rows(x[:, :3])}, HOST: {"data": rows(x[:, 3:], None, 2, "z")}})
    assert np.abs(again - probabilities(scores)).max() < CLOSE


def test_fast_secureboost_is_mix_by_default() -> None:
    from airflow_provider_fate.job.parameters.secureboost import HeteroFastSecureBoostParam
    from tests.unit.components.boost_parties import WEAK

    x, y = small()
    run = Run(HeteroFastSecureBoostParam(**FEW, encrypt_param=WEAK), parted(x, (y > 1).astype(float)))
    run.kind = HeteroFastSecureBoost
    run.fit()
    owners = [{node["party"] for node in tree if "party" in node} for tree in trees_of(run)]
    assert owners == [{"guest-9999"}, {"host-10000"}]
    assert run.meta()["module"] == "HeteroFastSecureBoost"


def test_partitions_make_no_difference() -> None:
    x, y = small()
    y = (y > 1).astype(float)
    runs = [Run(parameters(bin_num=16, num_trees=3), parted(x, y, partitions)).fit() for partitions in (1, 3)]
    assert runs[0].meta() == runs[1].meta() and runs[0].meta(HOST) == runs[1].meta(HOST)
    assert np.array_equal(runs[0].scores, runs[1].scores)


def test_equal_gains_are_the_first_column_s() -> None:
    """The guest's own before the host's, and of a host the first one, whatever order it was offered in."""
    x, y = small()
    y = (y > 1).astype(float)
    x[:, 1] = -x[:, 0]  # the same splits the other way round
    x[:, 4] = x[:, 3] = x[:, 2]
    x[:, 5] = np.round(x[:, 5])
    run = Run(parameters(bin_num=16, num_trees=3), parted(x[:, [5, 5, 0, 1, 2, 2]], y)).fit()
    trees, _ = in_the_clear(x[:, [5, 5, 0, 1, 2, 2]], y, plain_boosting.Settings(bins=16), 3)
    compare(run, trees, PARTED)
    used = {node["feature"] for tree in trees_of(run) for node in tree if "feature" in node}
    assert "z1" in used and "z2" not in used and "x1" not in used


def test_training_stops_when_the_loss_does() -> None:
    x, y = small()
    run = Run(parameters(bin_num=8, num_trees=30, tol=0.02), parted(x, (y > 1).astype(float))).fit()
    losses = run.meta()["loss_history"]
    assert run.meta()["is_converged"] and len(losses) == run.meta()["rounds"] < 30
    assert abs(losses[-1] - losses[-2]) < 0.02 <= abs(losses[-2] - losses[-3])
    assert run.meta(HOST)["rounds"] == len(losses)
    assert run.log[-1].endswith("converged")


def halves() -> tuple[dict[Any, dict[str, Any]], np.ndarray]:
    """Rows to train on and rows to validate on, whose labels are half noise."""
    x, y = small(count=300)
    y = (y + np.random.default_rng(5).normal(size=300) > 1).astype(float)
    data = parted(x[:150], y[:150])
    data[GUEST]["validate_data"] = rows(x[150:, :3], y[150:])
    data[HOST]["validate_data"] = rows(x[150:, 3:], None, 2, "z")
    return data, y[150:]


def test_validation_stops_early_and_keeps_the_best() -> None:
    data, y = halves()
    settings = parameters(bin_num=8, num_trees=30, validation_freqs=1, early_stopping_rounds=3, metrics=["auc"])
    run = Run(settings, data).fit()
    meta = run.meta()
    aucs = [entry["auc"] for entry in meta["validation"]]
    assert len(aucs) == meta["rounds"] + 3 < 30
    assert aucs[meta["rounds"] - 1] == max(aucs) == pytest.approx(run.fitted[GUEST].metrics["validation_auc"])
    assert len(meta["trees"]) == len(run.meta(HOST)["trees"]) == meta["rounds"]
    validate = run.fitted[GUEST].data["validate"]
    scores = np.concatenate([block.x[:, 0] for block in validate.blocks()])
    assert roc_auc_score(y, scores) == pytest.approx(max(aucs))
    again = run.predict({party: {"data": entry["train_data"]} for party, entry in data.items()})
    assert np.abs(again - run.scores).max() < CLOSE
    assert {name for name, *_ in run.records} == {"loss", "auc"}


@pytest.mark.parametrize(
    ("task", "names"),
    [("binary", {"auc", "ks"}), ("multi", {"accuracy", "precision", "recall"}), ("regression", {"root", "mean"})],
)
def test_metrics_follow_the_task(task: str, names: set[str]) -> None:
    x, y = small()
    given = {"callback_param": {"callbacks": ["PerformanceEvaluate"], "validation_freqs": 2}}
    if task == "regression":
        given |= {"task_type": "regression", "objective_param": {"objective": "lse"}}
    elif task == "binary":
        y = (y > 1).astype(float)
    else:
        y = np.digitize(y, [0.8, 1.2]) + 5.0
    run = Run(parameters(**FEW, **given), parted(x, y)).fit()
    (entry,) = run.meta()["validation"]
    assert entry.pop("round") == 2
    assert {name.split("_")[0] for name in entry} == names
    if task == "multi":
        assert run.meta()["classes"] == [5, 6, 7]
        assert entry["accuracy"] == np.mean(run.scores.argmax(axis=1) + 5 == y)


def test_going_on_from_a_checkpoint_changes_nothing() -> None:
    data, _ = halves()
    settings = parameters(
        bin_num=8, num_trees=5, validation_freqs=1, early_stopping_rounds=4, run_goss=True, subsample_feature_rate=0.5
    )
    whole = Run(settings, data).fit()
    kept = {party: MemoryCheckpoint(2, one.kept) for party, one in whole.checkpoints.items()}
    resumed = Run(settings, data, checkpoints=kept).fit()
    assert resumed.log[0] == "going on after round 2"
    assert resumed.meta() == whole.meta() and resumed.meta(HOST) == whole.meta(HOST)
    assert np.array_equal(resumed.scores, whole.scores)


def test_a_warm_start_goes_on_from_the_model() -> None:
    x, y = small()
    data = parted(x, (y > 1).astype(float))
    whole = Run(parameters(bin_num=8, num_trees=4), data).fit()
    first = Run(parameters(bin_num=8, num_trees=2), data).fit()
    models = {party: {"model": first.fitted[party].model} for party in data}
    second = Run(parameters(bin_num=8, num_trees=2), data, models=models).fit()
    assert second.meta()["trees"] == whole.meta()["trees"] and second.meta(HOST)["trees"] == whole.meta(HOST)["trees"]
    assert np.abs(second.scores - whole.scores).max() < CLOSE


def test_new_rows_with_columns_in_another_order() -> None:
    run = Run(parameters(num_trees=3, bin_num=8), hetero("breast_hetero", take=slice(400))).fit()
    y, x, _ = joined("breast_hetero")
    _, guest, host = example("breast_hetero")
    turned = rows(guest[400:, ::-1], None, 3)
    turned.schema = turned.schema.with_features([f"x{place}" for place in reversed(range(10))])
    found = run.predict({GUEST: {"data": turned}, HOST: {"data": rows(host[400:], None, 3, "z")}})
    points = plain_boosting.Settings(bins=8)
    trees, _ = in_the_clear(x[:400], y[:400], points, 3)
    scores = np.zeros(len(x) - 400)
    for tree in trees:
        scores += 0.3 * np.array([leaf(tree, row) for row in x[400:]])
    assert np.abs(found[:, 0] - probabilities(scores)).max() < CLOSE


def leaf(tree: plain_boosting.Grown, row: np.ndarray) -> float:
    node = tree.nodes[0]
    while "column" in node:
        left = node["threshold"] is None or row[node["column"]] <= node["threshold"]
        node = tree.nodes[node["left" if left else "right"]]
    return node["weight"]


def test_feature_importance() -> None:
    run = Run(parameters(**FEW, tree_param={"feature_importance_type": "gain"}), hetero("breast_hetero")).fit()
    for party in (GUEST, HOST):
        nodes = [node for tree in trees_of(run) for node in tree if node.get("party") == str(party)]
        listed = run.meta(party)["feature_importance"]
        assert sum(entry["split"] for entry in listed) == len(nodes) > 0
        if party == GUEST:
            assert sum(entry["gain"] for entry in listed) == pytest.approx(sum(node["gain"] for node in nodes))
            assert [entry["gain"] for entry in listed] == sorted((e["gain"] for e in listed), reverse=True)
        else:
            assert all("gain" not in entry for entry in listed)
