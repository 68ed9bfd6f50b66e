"""Evaluation: how well predictions agree with the labels, at each party that has both: the guest, and the hosts of a
homogeneous job (HomoLR), each for its own rows.

Metrics and their names are FATE's; a number each goes to the metrics, curves and tables to the summary with at most
100 points.

* ``binary``: ``auc``, ``ks``; ``precision``, ``recall``, ``accuracy``, ``f1_score`` and ``confusion_mat`` at
  the threshold that the predictions were made with, and their curves over thresholds; ``roc``, ``lift``, ``gain``,
  ``quantile_pr`` are curves; ``psi`` compares the scores of the first input with those of each other one.
* ``multi``: ``accuracy``, ``precision`` and ``recall`` of the predicted classes; precision and recall are means over
  the classes, those of each class are in the summary, with the confusion matrix. With ``unfold_multi_result``, the
  binary ``auc`` and ``ks`` of each class against the others as well.
* ``regression``: errors, ``r2_score`` and ``explained_variance``, as scikit-learn has them.

With several inputs each name starts with its input's: ``train_auc``, ``validate_auc``.

Who learns what: a party computes from its own labels and the scores that the model's own protocol gave it; nothing is
sent. Hosts without predictions, and the arbiter, do nothing. A metric that leaves the party by other ways (the job's
log, Airflow's XCom) is an aggregate over the labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.evaluation import EvaluationParam
from airflow_provider_fate.job.parameters.metrics import DEFAULT
from airflow_provider_fate.runtime.components import sk_metrics as sk
from airflow_provider_fate.runtime.components.base import Component, Outputs
from airflow_provider_fate.runtime.components.binary_curves import Curves, ks, psi
from airflow_provider_fate.runtime.data import Block, Model, Rows, Schema

REGRESSION: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "root_mean_squared_error": lambda y, predicted: sk.root_mean_squared_error(y, predicted),
    "mean_absolute_error": lambda y, predicted: sk.mean_absolute_error(y, predicted),
    "mean_squared_error": lambda y, predicted: sk.mean_squared_error(y, predicted),
    "mean_squared_log_error": lambda y, predicted: sk.mean_squared_log_error(y, predicted),
    "median_absolute_error": lambda y, predicted: sk.median_absolute_error(y, predicted),
    "r2_score": lambda y, predicted: sk.r2_score(y, predicted),
    "explained_variance": lambda y, predicted: sk.explained_variance_score(y, predicted),
}
AT_THRESHOLD: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "precision": lambda y, predicted: sk.precision_score(y, predicted, zero_division=0),
    "recall": lambda y, predicted: sk.recall_score(y, predicted, zero_division=0),
    "accuracy": lambda y, predicted: sk.accuracy_score(y, predicted),
    "f1_score": lambda y, predicted: sk.f1_score(y, predicted, zero_division=0),
}
#: classes in a summary's tables
CLASSES_SHOWN = 100


class Evaluation(Component):
    """FATE's ``Evaluation``: ``eval_type`` binary, multi or regression."""

    module = "Evaluation"
    parameters: EvaluationParam

    @classmethod
    def load_early(cls, role: str) -> None:
        if role == "guest":  # a host with labels, in a homogeneous job, loads when it comes to it
            sk.load_early()

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Metrics of every input that has labels.

        :param data: predictions, by input name
        :raises ConfigError: the predictions are of another kind than ``eval_type``
        """
        if not data or not self.parameters.need_run:
            return Outputs()  # a host of a job whose scores are at the guest
        kind = self.parameters.eval_type
        wanted = tuple(self.parameters.metrics or DEFAULT[kind])
        outputs = Outputs()
        first: np.ndarray | None = None
        for name, rows in data.items():
            prefix = f"{name.removesuffix('_data')}_" if len(data) > 1 else ""
            if rows.schema.kind != "prediction":
                raise ConfigError(self.ctx.name, f"input {name} holds features, not the predictions of a model")
            if rows.schema.label_name is None:
                self.ctx.log(f"{prefix.rstrip('_') or name}: {rows.count} predictions without labels, not evaluated")
                continue
            y, scores = self._collect(rows)
            taken = self._kind(rows.schema)
            numbers, tables = self._metrics(taken, rows.schema, y, scores, wanted)
            if "psi" in wanted and taken == "binary" and first is not None:
                numbers["psi"], tables["psi"] = psi(first, scores[:, 0])
            if taken == "binary" and first is None:
                first = scores[:, 0]
            outputs.metrics |= {prefix + key: value for key, value in numbers.items()}
            outputs.summary |= {prefix + key: value for key, value in tables.items()}
            shown = ", ".join(f"{prefix}{key} {value:.6g}" for key, value in numbers.items())
            self.ctx.log(f"{shown or 'curves only'} ({len(y)} rows)")
        if "psi" in wanted and len(data) < 2:
            self.ctx.log("psi compares the scores of two inputs, and there is one: left out")
        return outputs

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """As :meth:`fit`."""
        return self.fit(data, {})

    def _collect(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Labels, shape (n,), and scores, shape (n, columns)."""
        parts = rows.map(_labels_and_scores)
        y = np.concatenate([np.empty(0), *(part[0] for part in parts)])
        scores = np.concatenate([np.empty((0, len(rows.schema.features))), *(part[1] for part in parts)])
        if not len(y):
            raise DataError(f"{self.ctx.name}: the predictions have no rows")
        if not (np.isfinite(y).all() and np.isfinite(scores).all()):
            raise DataError(f"{self.ctx.name}: a label or a score is missing or infinite")
        return y, scores

    def _metrics(
        self, kind: str, schema: Schema, y: np.ndarray, scores: np.ndarray, wanted: tuple[str, ...]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if kind == "regression":
            return self._regression(y, scores[:, 0], wanted)
        if kind == "binary":
            positive, score, threshold = self._positive(schema, y, scores[:, 0])
            return self._binary(positive, score, threshold, wanted)
        return self._multi(schema, y, scores, [name for name in wanted if name in DEFAULT["multi"]] or DEFAULT["multi"])

    def _kind(self, schema: Schema) -> str:
        """``eval_type``; FATE's own jobs of several classes have binary, and there it counts one class against all."""
        kind = self.parameters.eval_type
        if kind == "binary" and len(schema.classes) > 2:
            self.ctx.log(f"eval_type is binary, but the predictions have {len(schema.classes)} classes: taken as multi")
            return "multi"
        return kind

    def _positive(self, schema: Schema, y: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Whether each label is ``pos_label``, the score of ``pos_label``, and its threshold."""
        try:
            wanted = float(self.parameters.pos_label)
        except ValueError:
            wanted = float("nan")
        classes = [float(value) for value in schema.classes] or [0.0, 1.0]
        if wanted not in classes:
            raise ConfigError(
                f"{self.ctx.name}.pos_label", f"{self.parameters.pos_label!r} is not one of the labels {classes}"
            )
        if wanted == classes[-1]:
            return y == wanted, score, schema.threshold
        return y == wanted, 1 - score, 1 - schema.threshold

    def _binary(
        self, y: np.ndarray, score: np.ndarray, threshold: float, wanted: tuple[str, ...]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        numbers: dict[str, Any] = {}
        tables: dict[str, Any] = {}
        predicted = score > threshold
        curves = Curves(y, score)
        for name in wanted:
            if name in ("auc", "ks", "roc") and (y.all() or not y.any()):
                self.ctx.log(f"{name}: all {len(y)} rows have the same label, so it is not defined: left out")
            elif name == "auc":
                numbers[name] = float(sk.roc_auc_score(y, score))
            elif name == "ks":
                numbers[name], tables[name] = ks(y, score)
            elif name in AT_THRESHOLD:
                numbers[name] = float(AT_THRESHOLD[name](y, predicted))
                tables[name] = curves.over_thresholds(name)
            elif name == "confusion_mat":
                (tn, fp), (fn, tp) = sk.confusion_matrix(y, predicted, labels=[False, True]).tolist()
                tables[name] = {"threshold": threshold, "tp": tp, "tn": tn, "fp": fp, "fn": fn}
            elif name != "psi":
                tables[name] = getattr(curves, name)()
        return numbers, tables

    def _multi(
        self, schema: Schema, y: np.ndarray, scores: np.ndarray, wanted: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        classes = np.array([float(value) for value in schema.classes])
        if scores.shape[1] == 1 and len(classes) == 2:
            predicted = classes[(scores[:, 0] > schema.threshold).astype(int)]
            scores = np.column_stack([1 - scores[:, 0], scores[:, 0]])
        elif scores.shape[1] == len(classes) > 0:
            predicted = classes[scores.argmax(axis=1)]
        else:
            raise ConfigError(f"{self.ctx.name}.eval_type", "is multi, but the predictions have no classes")
        numbers: dict[str, Any] = {}
        tables: dict[str, Any] = {}
        labels = np.union1d(classes, y)
        shown = [f"{label:g}" for label in labels[:CLASSES_SHOWN]]
        table = sk.confusion_matrix(y, predicted, labels=labels)[:CLASSES_SHOWN, :CLASSES_SHOWN]
        tables["confusion_mat"] = {"labels": shown, "rows_are_labels": table.tolist()}
        for name in wanted:
            if name == "accuracy":
                numbers[name] = float(sk.accuracy_score(y, predicted))
            else:
                function = sk.precision_score if name == "precision" else sk.recall_score
                each = function(y, predicted, labels=labels, average=None, zero_division=0)
                numbers[name] = float(each.mean())
                tables[name] = dict(zip(shown, each.tolist(), strict=False))
        if self.parameters.unfold_multi_result:
            for place, label in enumerate(classes):
                own = self._binary(y == label, scores[:, place], schema.threshold, ("auc", "ks"))
                numbers |= {f"{key}_{label:g}": value for key, value in own[0].items()}
        return numbers, tables

    def _regression(
        self, y: np.ndarray, predicted: np.ndarray, wanted: tuple[str, ...]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        from sklearn.exceptions import UndefinedMetricWarning

        numbers: dict[str, Any] = {}
        for name in wanted:
            try:
                with warnings.catch_warnings():
                    # a single row: sklearn warns, and gives NaN, which is caught below
                    warnings.simplefilter("ignore", UndefinedMetricWarning)
                    value = float(REGRESSION[name](y, predicted))
            except ValueError as error:
                self.ctx.log(f"{name}: {error}: left out")
                continue
            if np.isfinite(value):
                numbers[name] = value
            else:
                self.ctx.log(f"{name}: not defined for these {len(y)} rows: left out")
        return numbers, {}


def _labels_and_scores(block: Block, _: Any) -> tuple[np.ndarray | None, np.ndarray]:
    return block.y, block.x
