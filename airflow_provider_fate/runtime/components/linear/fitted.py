"""What a training comes to on the way: weights, losses and metrics, their checkpoint, and a line of progress.

The same for weights of columns (:mod:`.training`) and of rows (:mod:`..homo.training`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.federation.checks import DictOf, boolean

#: what all are told at the end of an iteration, or after an average
VERDICT = DictOf({"stop": boolean, "converged": boolean, "best": boolean})
_OPTIMIZER = "optimizer."


class Settings(Protocol):
    """The parameters that all linear models have, by FATE's names."""

    penalty: str | None
    tol: float
    alpha: float
    optimizer: str
    learning_rate: float
    decay: float
    decay_sqrt: bool
    max_iter: int
    early_stop: str
    early_stopping_rounds: int | None
    validation_freqs: int | list[int] | None
    use_first_metric_only: bool
    init_param: Any


@dataclass
class Fitted:
    """One party's part of one model, while and after it is trained.

    :param weights: one a feature, then the intercept where there is one
    :param losses: of each iteration, at the guest of one host
    :param metrics: of each validation, at the guest: iteration (from 1) and values by name
    :param best_iteration: (from 1) of the validation with the best first metric
    """

    weights: np.ndarray
    iterations: int = 0
    converged: bool = False
    stopped: bool = False
    losses: list[float] = field(default_factory=list)
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    best_iteration: int | None = None
    best_weights: np.ndarray | None = None

    def meta(self) -> dict[str, Any]:
        """All but the arrays; JSON-able."""
        names = ("iterations", "converged", "stopped", "losses", "metrics", "best_iteration")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def load(cls, meta: dict[str, Any], weights: np.ndarray, best_weights: np.ndarray | None) -> Fitted:
        metrics = [(iteration, values) for iteration, values in meta["metrics"]]
        return cls(**{**meta, "metrics": metrics}, weights=weights, best_weights=best_weights)


def saved(
    models: Sequence[Fitted], optimizer: dict[str, np.ndarray], **more: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What a checkpoint keeps: models that are done and, as the last one, the current one.

    :param optimizer: its state
    """
    arrays = {f"{_OPTIMIZER}{name}": array for name, array in optimizer.items()} | more
    for number, one in enumerate(models):
        arrays[f"weights.{number}"] = one.weights
        if one.best_weights is not None:
            arrays[f"best.{number}"] = one.best_weights
    return arrays, {"models": [one.meta() for one in models]}


def restored(ctx: Context) -> tuple[list[Fitted], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What :func:`saved` kept: the models, the state of the optimizer, and all arrays."""
    arrays, meta = ctx.checkpoint.load()
    models = [
        Fitted.load(one, arrays[f"weights.{number}"], arrays.get(f"best.{number}"))
        for number, one in enumerate(meta["models"])
    ]
    state = {name.removeprefix(_OPTIMIZER): array for name, array in arrays.items() if name.startswith(_OPTIMIZER)}
    ctx.log(f"going on after iteration {models[-1].iterations}")
    return models, state, arrays


def report(
    ctx: Context, settings: Settings, number: int, models: int, fitted: Fitted, moved: np.ndarray | None = None
) -> None:
    """One line of progress, and its numbers.

    :param number: of the model, one of so many
    :param moved: by how much this party's weights changed, which is said where there is no loss
    """
    name, suffix = (f"model {number + 1} of {models}, ", f".{number}") if models > 1 else ("", "")
    text = f"{name}iteration {fitted.iterations} of {settings.max_iter}"
    if fitted.losses:
        text += f", loss {fitted.losses[-1]:.6g}"
        ctx.record(f"loss{suffix}", fitted.losses[-1], step=fitted.iterations)
    elif moved is not None:
        change = float(np.linalg.norm(moved))
        text += f", own weights moved by {change:.3g}"
        ctx.record(f"weight_change{suffix}", change, step=fitted.iterations)
    if fitted.metrics and fitted.metrics[-1][0] == fitted.iterations:
        for metric, value in fitted.metrics[-1][1].items():
            text += f", {metric} {value:.4f}"
            ctx.record(f"{metric}{suffix}", value, step=fitted.iterations)
    if fitted.stopped:
        text += ", converged" if fitted.converged else ", stopped"
    ctx.log(text)
