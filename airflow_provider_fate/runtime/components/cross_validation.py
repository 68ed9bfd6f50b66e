"""Cross validation of any component that trains on ``train_data`` and scores ``validate_data`` (k folds, Stone 1974).

Each fold is the component itself, fitted on the rows outside the fold and validated on those inside. Which rows make
up a fold follows from public numbers alone, so every party picks the same ones without a message. Parties learn what
they learn when the component is fitted once, ``n_splits`` times over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.evaluation import EvaluationParam
from airflow_provider_fate.runtime.components.base import Component, Context, NoCheckpoint, Outputs
from airflow_provider_fate.runtime.components.evaluation import Evaluation
from airflow_provider_fate.runtime.components.linear.batches import permutation
from airflow_provider_fate.runtime.data import Block, Model, Rows, Schema, even_counts

#: what is shown of each fold, by the type of evaluation
SHOWN = {
    "binary": ["auc", "ks"],
    "multi": ["accuracy", "precision", "recall"],
    "regression": ["root_mean_squared_error", "mean_absolute_error", "r2_score"],
}


def cross_validate(component: Component, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
    """Fit and validate once a fold. Other inputs have no effect, and the log says so.

    :param component: has ``cv_param`` among its parameters; gives predictions of ``validate_data`` under ``validate``
    :param data: of which ``train_data`` (or ``data``) is split
    :param models: each fold starts anew, so none is used
    :return: no model. At the guest, mean and standard deviation of each metric over the folds, the metrics of each
        fold in the summary, and each row's prediction by the model that did not see it
    :raises ConfigError: there are fewer rows than folds
    :raises DataError: a class is in one fold only
    """
    settings = component.parameters.cv_param
    once = settings.model_copy(update={"need_cv": False})
    parameters = component.parameters.model_copy(update={"cv_param": once})
    if unused := [name for name in ("validate_data", "model") if name in data or name in models]:
        component.ctx.log(
            f"cross-validation: {' and '.join(unused)} has no effect: each fold starts anew, and is validated on its "
            "own rows"
        )
    rows = data.get("train_data", data.get("data"))
    folds: list[list[np.ndarray]] | None = None
    if rows is not None:
        if rows.count < settings.n_splits:
            raise ConfigError(
                f"{component.ctx.name}.cv_param.n_splits", f"{settings.n_splits} folds of {rows.count} rows"
            )
        folds = fold_rows(rows.counts, settings.n_splits, settings.shuffle, settings.random_seed)
    found: list[dict[str, Any]] = []
    predictions: list[Rows] = []
    for number in range(settings.n_splits):
        one = type(component)(_context(component.ctx, number, settings.n_splits), parameters)
        if rows is None or folds is None:
            one.fit({}, {})
            continue
        inside = folds[number]
        outside = [np.setdiff1d(np.arange(count), places) for count, places in zip(rows.counts, inside, strict=True)]
        parts = {"train_data": _subset(rows, outside), "validate_data": _subset(rows, inside)}
        outputs = one.fit(parts, {})
        if "validate" in outputs.data:
            predictions.append(outputs.data["validate"])
            found.append(_evaluated(one.ctx, predictions[-1]))
    if rows is None or folds is None or not predictions:
        return Outputs()
    metrics: dict[str, float] = {}
    for name in dict.fromkeys(name for one in found for name in one):
        values = [one[name] for one in found if name in one]
        metrics |= {f"{name}_mean": float(np.mean(values)), f"{name}_std": float(np.std(values))}
    outputs = Outputs(metrics=metrics, summary={"folds": found})
    if settings.output_fold_history:
        outputs.data["data"] = _together(component.ctx.name, rows, folds, predictions)
    return outputs


def fold_rows(counts: Sequence[int], splits: int, shuffle: bool, seed: int) -> list[list[np.ndarray]]:
    """The rows of each fold: per partition their places (int64, ascending). The same at every party, and the same rows
    whatever the partitions are.

    :param counts: rows of each partition
    """
    total = sum(counts)
    order = permutation(total, seed, 0) if shuffle else np.arange(total)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    folds, start = [], 0
    for size in even_counts(total, splits):
        places = np.sort(order[start : start + size])
        start += size
        cuts = np.searchsorted(places, bounds)
        folds.append([places[low:high] - offset for low, high, offset in zip(cuts, cuts[1:], bounds, strict=False)])
    return folds


def _context(ctx: Context, number: int, splits: int) -> Context:
    """Tags, lines and numbers of one fold."""

    def record(name: str, value: float, step: int | None = None) -> None:
        ctx.record(f"fold_{number}.{name}", value, step=step)

    return replace(
        ctx,
        federation=ctx.federation.scoped(f"fold_{number}"),
        log=lambda text: ctx.log(f"fold {number + 1} of {splits}: {text}"),
        record=record,
        checkpoint=NoCheckpoint(),
    )


def _subset(rows: Rows, places: Sequence[np.ndarray]) -> Rows:
    return rows.transform(_take, rows.schema, list(places), [len(some) for some in places])


def _take(block: Block, places: np.ndarray) -> Block:
    return block.take(places)


def _evaluated(ctx: Context, predictions: Rows) -> dict[str, Any]:
    classes = predictions.schema.classes
    kind = "regression" if not classes else "binary" if len(classes) == 2 else "multi"
    settings = EvaluationParam(eval_type=kind, metrics=SHOWN[kind], pos_label=classes[-1] if kind == "binary" else 1)
    return Evaluation(ctx, settings).fit({"data": predictions}, {}).metrics


def _together(name: str, rows: Rows, folds: list[list[np.ndarray]], predictions: list[Rows]) -> Rows:
    """The predictions of all folds in the order of the rows."""
    schema: Schema = predictions[0].schema
    for number, one in enumerate(predictions):
        if one.schema.features != schema.features:
            raise DataError(
                f"{name}: the rows outside fold {number + 1} have other classes than those outside the first; use "
                "fewer n_splits, or leave rare classes out"
            )
    scores = [np.empty((count, len(schema.features))) for count in rows.counts]
    for inside, one in zip(folds, predictions, strict=True):
        for place, (partition, part) in enumerate(zip(scores, one.map(_scores), strict=True)):
            partition[inside[place]] = part
    return rows.transform(_with_scores, schema, scores)


def _scores(block: Block, _: Any) -> np.ndarray:
    return block.x


def _with_scores(block: Block, scores: np.ndarray) -> Block:
    return Block(block.ids, scores, block.y)
