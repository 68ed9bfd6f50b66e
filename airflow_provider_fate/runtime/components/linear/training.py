"""The training loop of a linear model at guest, hosts and arbiter: iterations of batches, then the guest's verdict."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np

from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.linear.batches import Batches
from airflow_provider_fate.runtime.components.linear.convergence import Convergence
from airflow_provider_fate.runtime.components.linear.exchange import Exchange, serve
from airflow_provider_fate.runtime.components.linear.fitted import (
    VERDICT,
    Fitted,
    Settings,
    report,
    restored,
    saved,
)
from airflow_provider_fate.runtime.components.linear.optimizer import Optimizer
from airflow_provider_fate.runtime.components.linear.validation import best_of, stale
from airflow_provider_fate.runtime.crypto.scheme import SecretKey
from airflow_provider_fate.runtime.federation.checks import DictOf, Number

NORMS = DictOf({"moved": Number(0.0), "weights": Number(0.0)})


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
    enough = stale(fitted.metrics, settings.early_stopping_rounds, settings.use_first_metric_only)
    return best_of(fitted.metrics) == fitted.metrics[-1][0], enough


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
            (*self._done, current), state, _ = restored(self.ctx)
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
        optimizer = Optimizer.of(settings, self.exchange.intercept)
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
            report(self.ctx, settings, number, len(self.starts), fitted, moved)
            arrays, meta = saved([*self._done, fitted], optimizer.state)
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
        best = enough = False
        if due(self.settings.validation_freqs, fitted.iterations):
            fitted.metrics.append((fitted.iterations, self.validate(tag, number, fitted.weights)))
            best, enough = judged(self.settings, fitted)
        if best:
            fitted.best_iteration, fitted.best_weights = fitted.iterations, fitted.weights
        fitted.stopped = fitted.converged or enough or fitted.iterations == self.settings.max_iter
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
