"""Metrics of the rounds of a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.runtime.components import sk_metrics as sk
from airflow_provider_fate.runtime.components.linear.validation import class_metrics, regression_metrics

#: what is watched where the job names none
DEFAULTS = {
    "regression": ("root_mean_squared_error", "mean_absolute_error"),
    "binary": ("auc", "ks"),
    "multi": ("accuracy", "precision", "recall"),
}


def metrics_of(
    component: str,
    names: Sequence[str] | None,
    y: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    threshold: float,
) -> dict[str, float]:
    """Each metric, in the order of ``names``.

    :param names: ``None`` for those of the task
    :param y: labels, those of classes as 0, 1, ..., shape (rows,)
    :param predictions: as an :class:`.objectives.Objective` gives them, shape (rows, columns)
    :param classes: how many, 0 for a regression
    :raises ConfigError: a metric is not for the task
    :raises DataError: a metric is not defined for these rows
    """
    if not classes:
        return regression_metrics(component, names or DEFAULTS["regression"], y, predictions[:, 0])
    if classes == 2:
        return class_metrics(component, names or DEFAULTS["binary"], y == 1, predictions[:, 0], threshold)
    best = np.argmax(predictions, axis=1)
    found = {}
    for name in names or DEFAULTS["multi"]:
        if name == "accuracy":
            found[name] = float(sk.accuracy_score(y, best))
        elif name in ("precision", "recall"):
            # the mean over the classes, as Evaluation has it
            score = sk.precision_score if name == "precision" else sk.recall_score
            found[name] = float(score(y, best, average="macro", zero_division=0))
        else:
            raise ConfigError(f"{component}.metrics", f"{name} is not a metric of more than two classes")
    return found
