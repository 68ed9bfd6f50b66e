"""Metrics of a validation during training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.runtime.components import sk_metrics as sk
from airflow_provider_fate.runtime.components.binary_curves import ks
from airflow_provider_fate.runtime.components.evaluation import AT_THRESHOLD, REGRESSION

#: of all others, lower is better
HIGHER_IS_BETTER = ("auc", "ks", *AT_THRESHOLD, "r2_score", "explained_variance")


def class_metrics(
    component: str, names: Sequence[str], y: np.ndarray, score: np.ndarray, threshold: float
) -> dict[str, float]:
    """Each metric, in the order of ``names``.

    :param y: whether a row is of the class, shape (rows,)
    :param score: float64, shape (rows,)
    :raises ConfigError: a metric is not for classes
    :raises DataError: all rows are of one class, or none is there
    """
    if y.all() or not y.any():
        raise DataError(f"{component}: the rows to validate on are all of one class")
    found = {}
    for name in names:
        if name == "auc":
            found[name] = float(sk.roc_auc_score(y, score))
        elif name == "ks":
            found[name] = float(ks(y, score)[0])
        elif name in AT_THRESHOLD:
            found[name] = float(AT_THRESHOLD[name](y, score > threshold))
        else:
            raise ConfigError(f"{component}.metrics", f"{name} is not a metric of classes")
    return found


def regression_metrics(component: str, names: Sequence[str], y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Each metric, in the order of ``names``.

    :param y: labels, shape (rows,)
    :param predicted: shape (rows,)
    :raises ConfigError: a metric is not for a regression
    :raises DataError: a metric is not defined for these rows
    """
    found = {}
    for name in names:
        if name not in REGRESSION:
            raise ConfigError(f"{component}.metrics", f"{name} is not a metric of a regression")
        try:
            found[name] = float(REGRESSION[name](y, predicted))
        except ValueError as error:
            raise DataError(f"{component}: {name} of the rows to validate on: {error}") from None
    return found


def best_of(history: Sequence[tuple[int, dict[str, float]]]) -> int:
    """The round whose first metric is the best, the first one of several.

    :param history: rounds and their metrics
    """
    name = next(iter(history[0][1]))
    values = [gain(name, values[name]) for _, values in history]
    return history[int(np.argmax(values))][0]


def stale(history: Sequence[tuple[int, dict[str, float]]], rounds: int | None, first_only: bool) -> bool:
    """Whether a metric (the first one, if only that counts) has had no better value in the last validations.

    :param rounds: how many validations; ``None`` for any number
    """
    names = list(history[0][1])
    for name in names[:1] if first_only else names:
        values = [gain(name, values[name]) for _, values in history]
        if rounds is not None and len(values) - 1 - int(np.argmax(values)) >= rounds:
            return True
    return False


def gain(name: str, value: float) -> float:
    """A metric's value such that higher is better."""
    return value if name in HIGHER_IS_BETTER else -value
