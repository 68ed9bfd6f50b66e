from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.evaluation import EvaluationParam
from airflow_provider_fate.job.parameters.metrics import ALLOWED
from airflow_provider_fate.runtime.components.evaluation import Evaluation
from airflow_provider_fate.runtime.data import Rows
from tests.unit.components.running import GUEST, HOST, component, table


def predictions(y, scores, classes=(0, 1), threshold=0.5, partitions=3) -> Rows:
    scores = np.asarray(scores, float)
    scores = scores.reshape(len(scores), -1) if scores.ndim == 1 else scores
    names = [f"{c}" for c in (classes[1:] if scores.shape[1] == 1 else classes)] or ["predict"]
    rows = table([f"{i}" for i in range(len(scores))], scores, y, partitions, features=names)
    rows.schema = rows.schema.__class__("id", tuple(names), rows.schema.label_name, "prediction", classes, threshold)
    return rows


def evaluate(data: dict[str, Rows] | Rows, party=GUEST, **parameters):
    log: list[str] = []
    data = data if isinstance(data, dict) else {"data": data}
    outputs = component(Evaluation, EvaluationParam(**parameters), party, log).fit(data, {})
    # all of it goes into JSON files
    json.dumps([outputs.metrics, outputs.summary], allow_nan=False)
    return outputs, log


@pytest.fixture
def binary():
    random = np.random.default_rng(3)
    y = (random.random(2000) < 0.3).astype(float)
    # rounded, so that many rows share a score
    return y, np.clip(0.25 * y + 0.6 * random.random(2000), 0, 1).round(3)


def test_binary_numbers_are_those_of_the_definitions(binary) -> None:
    y, score = binary
    outputs, log = evaluate(predictions(y, score, threshold=0.4))
    predicted = score > 0.4
    tp, fp = (predicted & (y == 1)).sum(), (predicted & (y == 0)).sum()
    fn, tn = (~predicted & (y == 1)).sum(), (~predicted & (y == 0)).sum()
    pairs = score[y == 1][:, None] - score[y == 0][None]
    largest = max((score[y == 1] >= t).mean() - (score[y == 0] >= t).mean() for t in np.unique(score))
    assert outputs.metrics == pytest.approx(
        {
            "auc": ((pairs > 0) + 0.5 * (pairs == 0)).mean(),
            "ks": largest,
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "accuracy": (tp + tn) / 2000,
            "f1_score": 2 * tp / (2 * tp + fp + fn),
        }
    )
    assert outputs.summary["confusion_mat"] == {"threshold": 0.4, "tp": tp, "tn": tn, "fp": fp, "fn": fn}
    assert any(line.startswith("auc 0.") and line.endswith("(2000 rows)") for line in log)
    assert any("psi compares the scores of two inputs" in line for line in log)


def test_every_curve_is_bounded_and_right(binary) -> None:
    y, score = binary
    curves = evaluate(predictions(y, score))[0].summary
    assert {"roc", "lift", "gain", "quantile_pr", "precision", "recall", "accuracy", "f1_score"} < curves.keys()
    for name in ("roc", "lift", "gain", "quantile_pr", "precision", "recall", "accuracy", "f1_score"):
        assert all(10 < len(column) <= 101 for column in curves[name].values()), name
    for at in range(0, 90, 9):
        threshold = curves["precision"]["threshold"][at]
        above = score >= threshold
        assert curves["precision"]["precision"][at] == pytest.approx(sk.precision_score(y, above))
        assert curves["recall"]["recall"][at] == pytest.approx(sk.recall_score(y, above))
        assert curves["accuracy"]["accuracy"][at] == pytest.approx(sk.accuracy_score(y, above))
        assert curves["f1_score"]["f1_score"][at] == pytest.approx(sk.f1_score(y, above))
        above = score >= curves["roc"]["threshold"][at + 1]
        assert curves["roc"]["tpr"][at + 1] == pytest.approx(above[y == 1].mean())
        assert curves["roc"]["fpr"][at + 1] == pytest.approx(above[y == 0].mean())
        above = score >= curves["quantile_pr"]["threshold"][at]
        share = above.mean()
        assert share == pytest.approx((at + 1) / 100, abs=0.01)
        assert curves["quantile_pr"]["share"][at] == curves["gain"]["share"][at] == pytest.approx(share)
        assert curves["quantile_pr"]["precision"][at] == pytest.approx(y[above].mean())
        assert curves["gain"]["gain"][at] == pytest.approx(y[above].sum() / y.sum())
        assert curves["lift"]["lift"][at] == pytest.approx(y[above].mean() / y.mean())
    assert curves["gain"]["gain"][-1] == 1
    assert (curves["roc"]["fpr"][0], curves["roc"]["tpr"][0]) == (0, 0)
    assert (curves["roc"]["fpr"][-1], curves["roc"]["tpr"][-1]) == (1, 1)


def test_only_what_is_asked_for() -> None:
    outputs, _ = evaluate(predictions([0, 1, 1], [0.2, 0.7, 0.1]), metrics=["auc", "f1"])
    assert outputs.metrics == pytest.approx({"auc": 0.5, "f1_score": 2 / 3})
    assert outputs.summary.keys() == {"f1_score"}


def test_pos_label_can_be_either_class() -> None:
    rows = predictions([-1, 1, 1, -1], [0.1, 0.9, 0.4, 0.6], classes=(-1, 1))
    positive, _ = evaluate(rows, metrics=["auc", "recall", "precision"])
    assert positive.metrics == {"auc": 0.75, "recall": 0.5, "precision": 0.5}
    negative, _ = evaluate(
        predictions([2, 1, 1, 2], [0.9, 0.9, 0.4, 0.6], classes=(1, 2)), metrics=["recall", "precision"]
    )
    assert negative.metrics == {"recall": 0.5, "precision": 1.0}
    for label in (7, "seven"):
        with pytest.raises(ConfigError, match="part_0.pos_label: .*seven.* is not one|part_0.pos_label: 7 is not one"):
            evaluate(rows, pos_label=label)


def test_one_label_only_has_no_auc() -> None:
    outputs, log = evaluate(predictions([1, 1], [0.2, 0.7]), metrics=["auc", "ks", "recall", "roc"])
    assert outputs.metrics == {"recall": 0.5}
    assert outputs.summary.keys() == {"recall"}
    assert [line for line in log if "same label" in line and line.startswith("auc: all 2 rows")]


def test_several_inputs_are_named_and_compared() -> None:
    random = np.random.default_rng(5)
    first, second = random.random(1000), random.random(500) ** 2
    data = {
        "train_data": predictions((first > 0.4) * 1.0, first),
        "validate_data": predictions((second > 0.4) * 1.0, second),
    }
    outputs, _ = evaluate(data, metrics=["auc", "psi"])
    assert outputs.metrics.keys() == {"train_auc", "validate_auc", "validate_psi"}
    edges = np.quantile(first, np.linspace(0, 1, 21))
    edges[0], edges[-1] = 0, 1
    expected, actual = np.histogram(first, edges)[0] / 1000, np.histogram(second, edges)[0] / 500
    assert outputs.metrics["validate_psi"] == pytest.approx(((actual - expected) * np.log(actual / expected)).sum())
    same, _ = evaluate({"data": data["train_data"], "data_1": data["train_data"]}, metrics=["psi"])
    assert same.metrics == {"data_1_psi": 0}


def test_multi() -> None:
    y, scores = [0, 1, 2, 2, 1, 0], np.eye(3)[[0, 1, 2, 1, 1, 2]] * 0.8 + 0.1
    outputs, _ = evaluate(predictions(y, scores, (0, 1, 2)), eval_type="multi")
    assert outputs.metrics == pytest.approx({"accuracy": 4 / 6, "precision": (1 + 2 / 3 + 1 / 2) / 3, "recall": 2 / 3})
    assert outputs.summary["precision"] == pytest.approx({"0": 1, "1": 2 / 3, "2": 1 / 2})
    assert outputs.summary["recall"] == {"0": 0.5, "1": 1.0, "2": 0.5}
    assert outputs.summary["confusion_mat"]["rows_are_labels"] == [[1, 0, 1], [0, 2, 0], [0, 1, 1]]


def test_multi_unfolded() -> None:
    random = np.random.default_rng(1)
    scores = random.random((60, 3))
    y = np.where(random.random(60) < 0.6, scores.argmax(axis=1), random.integers(0, 3, 60))
    outputs, _ = evaluate(predictions(y, scores, (0, 1, 2)), eval_type="multi", unfold_multi_result=True)
    for label in range(3):
        assert outputs.metrics[f"auc_{label}"] == pytest.approx(sk.roc_auc_score(y == label, scores[:, label]))
        assert 0 < outputs.metrics[f"ks_{label}"] <= 1


def test_regression() -> None:
    y, predicted = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.5, 1.0, 4.0, 10.0])
    outputs, _ = evaluate(predictions(y, predicted, ()), eval_type="regression", metrics=list(ALLOWED["regression"]))
    error = predicted - y
    assert outputs.metrics == pytest.approx(
        {
            "root_mean_squared_error": np.sqrt((error**2).mean()),
            "mean_absolute_error": np.abs(error).mean(),
            "mean_squared_error": (error**2).mean(),
            "mean_squared_log_error": ((np.log1p(y) - np.log1p(predicted)) ** 2).mean(),
            "median_absolute_error": 0.75,
            "r2_score": 1 - (error**2).sum() / ((y - y.mean()) ** 2).sum(),
            "explained_variance": 1 - error.var() / y.var(),
        }
    )
    assert evaluate(predictions(y, predicted, ()), eval_type="regression", metrics=["rmse"])[0].metrics.keys() == {
        "root_mean_squared_error"
    }


def test_what_is_not_defined_is_left_out_and_said() -> None:
    names = ["msle", "r2", "mae"]
    outputs, log = evaluate(predictions([-2.0], [1.0], ()), eval_type="regression", metrics=names)
    assert outputs.metrics == {"mean_absolute_error": 3.0}
    assert any(line.startswith("mean_squared_log_error:") for line in log)
    assert "r2_score: not defined for these 1 rows: left out" in log


def test_without_labels_nothing_is_evaluated() -> None:
    outputs, log = evaluate(predictions(None, [0.1, 0.2]))
    assert outputs.metrics == {}
    assert "data: 2 predictions without labels, not evaluated" in log


def test_hosts_without_predictions_and_need_run_false_do_nothing() -> None:
    rows = predictions([0, 1], [0.1, 0.9])
    assert evaluate(rows, party=HOST)[0].metrics["auc"] == 1
    assert component(Evaluation, EvaluationParam(), HOST).fit({}, {}).metrics == {}
    assert evaluate(rows, need_run=False)[0].metrics == {}


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="holds features"):
        evaluate(table(["a"], y=[1]))
    with pytest.raises(ConfigError, match="have no classes"):
        evaluate(predictions([0, 1], [0.1, 0.2], ()), eval_type="multi")
    with pytest.raises(DataError, match="missing or infinite"):
        evaluate(predictions([0, 1], [0.1, np.nan]))
    with pytest.raises(DataError, match="no rows"):
        evaluate(predictions([], np.empty((0, 1)), partitions=1))


def test_several_classes_are_no_binary_matter() -> None:
    """FATE's own one-vs-all example asks for binary; its AUC would be that of one class."""
    rows = predictions([0, 1, 2, 2], np.eye(3)[[0, 1, 2, 1]], (0, 1, 2))
    outputs, log = evaluate(rows, metrics=["auc", "accuracy"])
    assert outputs.metrics == evaluate(rows, eval_type="multi", metrics=["accuracy"])[0].metrics
    assert any("the predictions have 3 classes: taken as multi" in line for line in log)
    assert set(evaluate(rows, metrics=["auc"])[0].metrics) == set(evaluate(rows, eval_type="multi")[0].metrics)
