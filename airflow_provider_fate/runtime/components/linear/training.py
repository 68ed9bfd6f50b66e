"""The training loop of a linear model at guest, hosts and arbiter: iterations of batches, then the guest's verdict."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.linear.batches import Batches
from airflow_provider_fate.runtime.components.linear.convergence import Convergence
from airflow_provider_fate.runtime.components.linear.exchange import Exchange, serve
from airflow_provider_fate.runtime.components.linear.optimizer import Optimizer
from airflow_provider_fate.runtime.components.linear.validation import gain
from airflow_provider_fate.runtime.crypto.scheme import SecretKey
from airflow_provider_fate.runtime.federation.checks import DictOf, Number, boolean

#: what the guest says at the end of an iteration
VERDICT = DictOf({"stop": boolean, "converged": boolean, "best": boolean})
NORMS = DictOf({"moved": Number(0.0), "weights": Number(0.0)})


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


def starting_weights(settings: Settings, features: int, intercept: bool, seed: Sequence[int]) -> np.ndarray:
    """FATE's ways to start; ``random_uniform`` is in [0, 1), ``random_normal`` has mean 0 and deviation 1."""
    length = features + intercept
    start = settings.init_param
    generator = np.random.default_rng(list(seed))
    if start.init_method == "zeros":
        return np.zeros(length)
    if start.init_method == "ones":
        return np.ones(length)
    if start.init_method == "const":
        return np.full(length, float(start.init_const))
    if start.init_method == "random_normal":
        return generator.standard_normal(length)
    return generator.random(length)


def own_seed(ctx: Context, settings: Settings, number: int) -> list[int]:
    """Of this party's starting weights of model ``number``: unlike those of other parties."""
    seed = settings.init_param.random_seed
    text = hashlib.sha256(str(ctx.party).encode()).digest()
    return [abs(ctx.seed if seed is None else seed), number, int.from_bytes(text[:8], "little")]


def due(frequency: int | list[int] | None, iteration: int) -> bool:
    """Whether to validate after ``iteration``, counted from 1."""
    if frequency is None:
        return False
    return iteration in frequency if isinstance(frequency, list) else iteration % frequency == 0


def judged(settings: Settings, fitted: Fitted) -> tuple[bool, bool]:
    """Whether the last validation is the best by its first metric, and whether any metric is stale."""
    rounds = settings.early_stopping_rounds
    names = list(fitted.metrics[-1][1])
    stale = False
    for name in names[:1] if settings.use_first_metric_only else names:
        values = [gain(name, values[name]) for _, values in fitted.metrics]
        without = len(values) - 1 - int(np.argmax(values))
        stale = stale or (rounds is not None and without >= rounds)
    first = [gain(names[0], values[names[0]]) for _, values in fitted.metrics]
    return int(np.argmax(first)) == len(first) - 1, stale


class Training:
    """The loop at guest and hosts; models (classes against the rest) one after the other.

    :param starts: the weights that each model starts with
    :param labels: at the guest, the label that counts as 1 in each model; ``None`` at a host, or for a regression
    :param validate: called with the number of the model and the weights where a validation is due; gives the
        metrics at the guest, and sends what the guest needs at a host
    """

    def __init__(
        self,
        ctx: Context,
        settings: Settings,
        exchange: Exchange,
        batches: Batches,
        starts: Sequence[np.ndarray],
        labels: Sequence[float | None],
        validate: Callable[[str, int, np.ndarray], dict[str, float]],
    ) -> None:
        self.ctx = ctx
        self.settings = settings
        self.exchange = exchange
        self.batches = batches
        self.starts = starts
        self.labels = labels
        self.validate = validate
        self._guest = ctx.party.role == "guest"
        self._done: list[Fitted] = []

    def run(self) -> list[Fitted]:
        """Train all models, from the checkpoint where there is one."""
        current: Fitted | None = None
        state: dict[str, np.ndarray] = {}
        if self.ctx.checkpoint.step is not None:
            self._done, current, state = self._load()
        while len(self._done) < len(self.starts):
            number = len(self._done)
            fitted = current or Fitted(self.starts[number])
            if not fitted.stopped:
                self._train(number, fitted, state)
            if self.settings.early_stopping_rounds is not None and fitted.best_weights is not None:
                fitted.weights = fitted.best_weights
            self._done.append(fitted)
            current, state = None, {}
        return self._done

    def _train(self, number: int, fitted: Fitted, state: dict[str, np.ndarray]) -> None:
        settings = self.settings
        optimizer = Optimizer(
            settings.optimizer,
            settings.learning_rate,
            decay=settings.decay,
            decay_sqrt=settings.decay_sqrt,
            penalty=settings.penalty,
            alpha=settings.alpha,
            intercept=self.exchange.intercept,
        )
        optimizer.state = state
        rule = Convergence(settings.early_stop, settings.tol, len(self.ctx.federation.hosts))
        rule.iterations = fitted.iterations
        rule.previous_loss = fitted.losses[-1] if fitted.losses else None
        for iteration in range(fitted.iterations, settings.max_iter):
            before, loss = fitted.weights, 0.0
            batches = self.batches.of(iteration)
            for place, batch in enumerate(batches):
                gradient = self.exchange.gradient(
                    f"{number}/{iteration}/{place}",
                    batch,
                    fitted.weights,
                    optimizer.penalty_value(fitted.weights),
                    self.labels[number],
                )
                fitted.weights = optimizer.step(fitted.weights, gradient.mean, iteration)
                loss = math.nan if gradient.loss is None else loss + gradient.loss * batch.size
            fitted.iterations = iteration + 1
            if not math.isnan(loss):
                fitted.losses.append(loss / sum(batch.size for batch in batches))
            moved = fitted.weights - before
            tag = f"{number}/{iteration}"
            if self._guest:
                self._decide(tag, number, fitted, rule, moved)
            else:
                self._obey(tag, number, fitted, rule, moved)
            self._report(number, fitted, moved)
            arrays, meta = self._state(fitted, optimizer.state)
            self.ctx.checkpoint.save(number * settings.max_iter + iteration + 1, arrays, meta)
            if fitted.stopped:
                return

    def _decide(self, tag: str, number: int, fitted: Fitted, rule: Convergence, moved: np.ndarray) -> None:
        """The guest's verdict, told to all."""
        federation = self.ctx.federation
        squares = [float(moved @ moved), float(fitted.weights @ fitted.weights)]
        if rule.rule == "weight_diff":
            for host in federation.hosts:
                norms = federation.receive(host, f"{tag}/norms", NORMS)
                squares = [squares[0] + norms["moved"], squares[1] + norms["weights"]]
        loss = fitted.losses[-1] if fitted.losses else None
        fitted.converged = rule.reached(loss, *squares)
        best = stale = False
        if due(self.settings.validation_freqs, fitted.iterations):
            fitted.metrics.append((fitted.iterations, self.validate(tag, number, fitted.weights)))
            best, stale = judged(self.settings, fitted)
        if best:
            fitted.best_iteration, fitted.best_weights = fitted.iterations, fitted.weights
        fitted.stopped = fitted.converged or stale or fitted.iterations == self.settings.max_iter
        verdict = {"stop": fitted.stopped, "converged": fitted.converged, "best": best}
        federation.send([*federation.hosts, federation.arbiter], f"{tag}/verdict", verdict)

    def _obey(self, tag: str, number: int, fitted: Fitted, rule: Convergence, moved: np.ndarray) -> None:
        """A host's part of the verdict."""
        federation = self.ctx.federation
        if rule.rule == "weight_diff":
            norms = {"moved": float(moved @ moved), "weights": float(fitted.weights @ fitted.weights)}
            federation.send(federation.guest, f"{tag}/norms", norms)
        if due(self.settings.validation_freqs, fitted.iterations):
            self.validate(tag, number, fitted.weights)
        verdict = federation.receive(federation.guest, f"{tag}/verdict", VERDICT)
        fitted.stopped, fitted.converged = verdict["stop"], verdict["converged"]
        if verdict["best"]:
            fitted.best_iteration, fitted.best_weights = fitted.iterations, fitted.weights

    def _report(self, number: int, fitted: Fitted, moved: np.ndarray) -> None:
        several = len(self.starts) > 1
        name = f"model {number + 1} of {len(self.starts)}, " if several else ""
        text = f"{name}iteration {fitted.iterations} of {self.settings.max_iter}"
        suffix = f".{number}" if several else ""
        if fitted.losses:
            text += f", loss {fitted.losses[-1]:.6g}"
            self.ctx.record(f"loss{suffix}", fitted.losses[-1], step=fitted.iterations)
        else:
            change = float(np.linalg.norm(moved))
            text += f", own weights moved by {change:.3g}"
            self.ctx.record(f"weight_change{suffix}", change, step=fitted.iterations)
        if fitted.metrics and fitted.metrics[-1][0] == fitted.iterations:
            for metric, value in fitted.metrics[-1][1].items():
                text += f", {metric} {value:.4f}"
                self.ctx.record(f"{metric}{suffix}", value, step=fitted.iterations)
        if fitted.stopped:
            text += ", converged" if fitted.converged else ", stopped"
        self.ctx.log(text)

    def _state(self, fitted: Fitted, optimizer: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What :meth:`_load` goes on from."""
        arrays = {f"optimizer.{name}": array for name, array in optimizer.items()}
        for number, one in enumerate([*self._done, fitted]):
            arrays[f"weights.{number}"] = one.weights
            if one.best_weights is not None:
                arrays[f"best.{number}"] = one.best_weights
        return arrays, {"models": [one.meta() for one in [*self._done, fitted]]}

    def _load(self) -> tuple[list[Fitted], Fitted, dict[str, np.ndarray]]:
        arrays, meta = self.ctx.checkpoint.load()
        *done, current = [
            Fitted.load(one, arrays[f"weights.{number}"], arrays.get(f"best.{number}"))
            for number, one in enumerate(meta["models"])
        ]
        prefix = "optimizer."
        state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        self.ctx.log(f"going on after iteration {current.iterations}")
        return done, current, state


def arbitrate(
    ctx: Context, settings: Settings, key: SecretKey, models: int, batches: int, columns: Sequence[int],
    loss_share: bool,
) -> list[int]:  # fmt: skip
    """The loop at the arbiter.

    :param batches: in an iteration
    :param columns: of each party, see :func:`~.exchange.serve`
    :param loss_share: see :func:`~.exchange.serve`
    :return: iterations of each model
    """
    number, iteration, iterations = 0, 0, []
    if ctx.checkpoint.step is not None:
        _, meta = ctx.checkpoint.load()
        number, iteration, iterations = meta["model"], meta["iteration"], meta["iterations"]
        if meta["stopped"]:
            number, iteration, iterations = number + 1, 0, [*iterations, iteration]
    while number < models:
        for place in range(batches):
            serve(ctx, key, f"{number}/{iteration}/{place}", columns, loss_share)
        verdict = ctx.federation.receive(ctx.federation.guest, f"{number}/{iteration}/verdict", VERDICT)
        iteration += 1
        state = {"model": number, "iteration": iteration, "iterations": iterations, "stopped": verdict["stop"]}
        ctx.checkpoint.save(number * settings.max_iter + iteration, {}, state)
        name = f"model {number + 1} of {models}, " if models > 1 else ""
        ctx.log(f"{name}iteration {iteration} of {settings.max_iter}")
        if verdict["stop"] or iteration == settings.max_iter:
            number, iteration, iterations = number + 1, 0, [*iterations, iteration]
    return iterations
