"""What is kept of linear models, whoever trained them: classes, weights by feature, how training went, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.runtime.components.base import check_model
from airflow_provider_fate.runtime.components.labels import Classes, classes_of
from airflow_provider_fate.runtime.components.linear.fitted import Fitted
from airflow_provider_fate.runtime.components.linear.predictions import Linear
from airflow_provider_fate.runtime.data import Model, Schema

FORMAT = 1


@dataclass(frozen=True)
class Targets:
    """What is trained for.

    :param labels: of each model, the label that counts as 1 where all others count as -1; ``None`` takes labels as
        they are
    :param classes: the labels of a classifier, ascending; none for a regression
    """

    labels: list[float | None]
    classes: Classes = ()


def class_targets(component: str, label_name: str | None, labels: np.ndarray) -> Targets:
    """One model for two classes, else one for each; whole numbers as such.

    :param labels: distinct labels, ascending
    :raises DataError: fewer than two, or too many
    """
    classes = classes_of(component, label_name, labels.tolist())
    return Targets(list(classes[1:] if len(classes) == 2 else classes), classes)


def of_weights(weights: list[np.ndarray], intercept: bool) -> Linear:
    """The weights of one or several models.

    :param weights: of each model, one a feature, then the intercept where there is one
    """
    columns = np.column_stack(weights)
    if intercept:
        return Linear(columns[:-1], columns[-1])
    return Linear(columns, np.zeros(columns.shape[1]))


def continued(component: str, start: Linear, models: int, intercept: bool) -> list[np.ndarray]:
    """The weights of each model to go on from. :raises DataError: the stored one is of other features or classes."""
    if start.columns is not None or start.weights.shape[1] != models:
        raise DataError(f"{component}: the model to go on from has other features, or another number of classes")
    full = np.vstack([start.weights, start.intercepts[None, :]]) if intercept else start.weights
    return [full[:, number].copy() for number in range(models)]


def stored(module: str, schema: Schema, fitted: list[Fitted], intercept: bool, classes: Classes) -> Model:
    """One model's numbers at the top, or those of each class under ``models``."""
    meta: dict[str, Any] = {"format": FORMAT, "module": module, "features": list(schema.features)}
    if classes:
        meta["classes"] = list(classes)
    described = [_described(one, schema.features, intercept) for one in fitted]
    if len(described) == 1:
        return Model({**meta, **described[0]})
    if classes:
        described = [{"class": label, **one} for label, one in zip(classes, described, strict=True)]
    return Model({**meta, "models": described})


def loaded(module: str, component: str, model: Model, schema: Schema) -> Linear:
    """The weights of a stored model, for rows of ``schema``. :raises DataError: they do not fit together."""
    meta = check_model(component, module, model, FORMAT)
    missing = [feature for feature in meta["features"] if feature not in schema.features]
    if missing:
        raise DataError(
            f"{component}: the data lacks {len(missing)} of the model's features: {', '.join(missing[:5])}; "
            f"it has {', '.join(schema.features[:10])}"
        )
    models = meta.get("models", [meta])
    weights = np.array([[one["weights"][feature] for one in models] for feature in meta["features"]])
    places = {feature: place for place, feature in enumerate(schema.features)}
    columns = np.array([places[feature] for feature in meta["features"]], np.int64)
    plain = len(columns) == len(schema.features) and (columns == np.arange(len(columns))).all()
    intercepts = np.array([one["intercept"] or 0.0 for one in models])
    return Linear(weights.reshape(len(columns), len(models)), intercepts, None if plain else columns)


def prediction_schema(schema: Schema, classes: Classes, threshold: float) -> Schema:
    """Of the scores of rows of ``schema``."""
    columns = tuple(str(label) for label in (classes[1:] if len(classes) == 2 else classes))
    return Schema(schema.id_name, columns, schema.label_name, "prediction", classes, threshold)


def last_numbers(fitted: list[Fitted]) -> dict[str, Any]:
    """Numbers of the last iteration of each model."""
    found: dict[str, Any] = {}
    for number, one in enumerate(fitted):
        suffix = f".{number}" if len(fitted) > 1 else ""
        found[f"iterations{suffix}"] = one.iterations
        if one.losses:
            found[f"loss{suffix}"] = one.losses[-1]
        if one.metrics:
            found |= {f"validation_{name}{suffix}": value for name, value in one.metrics[-1][1].items()}
    return found


def history(fitted: list[Fitted]) -> dict[str, Any]:
    """How training went, for a summary."""
    return {
        "iterations": [one.iterations for one in fitted],
        "converged": [one.converged for one in fitted],
        "loss_history": [one.losses for one in fitted],
    }


def _described(fitted: Fitted, features: Sequence[str], intercept: bool) -> dict[str, Any]:
    return {
        "weights": dict(zip(features, fitted.weights[: len(features)].tolist(), strict=True)),
        "intercept": float(fitted.weights[-1]) if intercept else None,
        "iterations": fitted.iterations,
        "is_converged": fitted.converged,
        "loss_history": fitted.losses,
        "validation": [{"iteration": iteration, **values} for iteration, values in fitted.metrics],
        "best_iteration": fitted.best_iteration,
    }
