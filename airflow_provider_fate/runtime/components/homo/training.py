"""Federated averaging: each party trains on its own rows, and the weights are averaged by numbers of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from airflow_provider_fate.job.parameters.homo_lr import HomoLRParam
from airflow_provider_fate.runtime.components.base import Context, arbiter_of
from airflow_provider_fate.runtime.components.homo.aggregation import Summand, add_up
from airflow_provider_fate.runtime.components.linear.batches import Batch, Batches
from airflow_provider_fate.runtime.components.linear.convergence import Convergence
from airflow_provider_fate.runtime.components.linear.fitted import VERDICT, Fitted, report, restored, saved
from airflow_provider_fate.runtime.components.linear.optimizer import Optimizer
from airflow_provider_fate.runtime.components.linear.predictions import logistic
from airflow_provider_fate.runtime.components.linear.training import due, judged
from airflow_provider_fate.runtime.data import Block, Rows
from airflow_provider_fate.runtime.federation.checks import DictOf, boolean

#: what the guest says of its validation
JUDGED = DictOf({"best": boolean, "stale": boolean})


class HomoTraining:
    """The loop at guest and hosts; models (classes against the rest) one after the other.

    :param starts: the weights that each model starts with, the same at every party
    :param labels: of each model, the label that counts as 1
    :param validate: gives a model's metrics on this party's rows, of its number and weights
    """

    def __init__(
        self,
        ctx: Context,
        settings: HomoLRParam,
        summand: Summand,
        rows: Rows,
        batches: Batches,
        starts: Sequence[np.ndarray],
        labels: Sequence[float | None],
        validate: Callable[[int, np.ndarray], dict[str, float]],
    ) -> None:
        self.ctx = ctx
        self.settings = settings
        self.summand = summand
        self.rows = rows
        self.batches = batches
        self.starts = starts
        self.labels = labels
        self.validate = validate
        self._share = 0.0
        self._done: list[Fitted] = []

    def run(self) -> list[Fitted]:
        """Train all models, from the checkpoint where there is one."""
        everywhere = self.summand.rows(self.rows.count)
        self._share = self.rows.count / everywhere
        self.ctx.log(f"{self.rows.count} of {everywhere} rows are here")
        current, last, state = None, None, {}
        if self.ctx.checkpoint.step is not None:
            (*self._done, current), state, arrays = restored(self.ctx)
            last = arrays["last"]
            if current.losses:
                self.summand.note(last)
        self.summand.agree("rows")
        while len(self._done) < len(self.starts):
            number = len(self._done)
            fitted = current or Fitted(self.starts[number])
            if not fitted.stopped:
                self._train(number, fitted, fitted.weights if last is None else last, state)
            if self.settings.early_stopping_rounds is not None and fitted.best_weights is not None:
                fitted.weights = fitted.best_weights
            self._done.append(fitted)
            current, last, state = None, None, {}
        self.summand.agree("end")
        return self._done

    def _train(self, number: int, fitted: Fitted, last: np.ndarray, state: dict[str, np.ndarray]) -> None:
        """:param last: the average that the party went on from"""
        settings = self.settings
        optimizer = Optimizer.of(settings, settings.init_param.fit_intercept)
        optimizer.state = state
        for iteration in range(fitted.iterations, settings.max_iter):
            for batch in self.batches.of(iteration):
                gradient = self._gradient(batch, fitted.weights, self.labels[number])
                if settings.use_proximal:
                    gradient = gradient + settings.mu * (fitted.weights - last)
                fitted.weights = optimizer.step(fitted.weights, gradient, iteration)
            fitted.iterations = iteration + 1
            if averages(settings, fitted.iterations):
                last = self._average(f"{number}/{iteration}", number, fitted, optimizer)
            arrays, meta = saved([*self._done, fitted], optimizer.state, last=last)
            self.ctx.checkpoint.save(number * settings.max_iter + iteration + 1, arrays, meta)
            if fitted.stopped:
                return

    def _gradient(self, batch: Batch, weights: np.ndarray, label: float | None) -> np.ndarray:
        """Of the mean loss of a batch of this party's rows."""
        intercept = self.settings.init_param.fit_intercept
        found = self.rows.map(_gradient, [_Model(weights, intercept, label, rows) for rows in batch.rows])
        return np.sum(found, axis=0) / batch.size

    def _average(self, tag: str, number: int, fitted: Fitted, optimizer: Optimizer) -> np.ndarray:
        federation, arbiter = self.ctx.federation, arbiter_of(self.ctx)
        fitted.weights = self.summand.sum(f"{tag}/weights", self._share * fitted.weights)
        # the loss of a model that nobody else has would say something about this party alone
        self.summand.agree(f"{tag}/weights")
        model = _Model(fitted.weights, self.settings.init_param.fit_intercept, self.labels[number], None)
        loss = sum(self.rows.map(_loss, [model] * self.rows.partitions)) / self.rows.count
        mean = float(self.summand.sum(f"{tag}/loss", np.array([self._share * loss]))[0])
        fitted.losses.append(mean + optimizer.penalty_value(fitted.weights))
        best = enough = False
        if self._due(fitted.iterations):
            fitted.metrics.append((fitted.iterations, self.validate(number, fitted.weights)))
            best, enough = judged(self.settings, fitted)
        if self.ctx.party.role == "guest":
            federation.send(arbiter, f"{tag}/judged", {"best": best, "stale": enough})
        verdict = federation.receive(arbiter, f"{tag}/verdict", VERDICT)
        self.summand.note(np.array([verdict["stop"], verdict["converged"], verdict["best"]]))
        fitted.stopped, fitted.converged = verdict["stop"], verdict["converged"]
        if verdict["best"]:
            fitted.best_iteration, fitted.best_weights = fitted.iterations, fitted.weights
        report(self.ctx, self.settings, number, len(self.starts), fitted)
        return fitted.weights

    def _due(self, iterations: int) -> bool:
        """Whether a validation fell due since the average before."""
        every = self.settings.aggregate_iters
        since = range((iterations - 1) // every * every + 1, iterations + 1)
        return any(due(self.settings.validation_freqs, number) for number in since)


def arbitrate(ctx: Context, settings: HomoLRParam, models: int, length: int) -> list[Fitted]:
    """The loop at the arbiter.

    :param length: of the weights of one model, the intercept among them
    """
    add_up(ctx, "rows", 1, bits=0)
    parties = [ctx.federation.guest, *ctx.federation.hosts]
    done: list[Fitted] = []
    current, last = None, None
    if ctx.checkpoint.step is not None:
        arrays, meta = ctx.checkpoint.load()
        *done, current = [Fitted.load(one, arrays["last"], None) for one in meta["models"]]
        last = arrays["last"]
    optimizer = Optimizer.of(settings, settings.init_param.fit_intercept)
    while len(done) < models:
        number = len(done)
        fitted = current or Fitted(np.zeros(length))
        rule = Convergence(settings.early_stop, settings.tol, 1)
        rule.iterations = len(fitted.losses)
        rule.previous_loss = fitted.losses[-1] if fitted.losses else None
        while not fitted.stopped:
            fitted.iterations += 1
            if averages(settings, fitted.iterations):
                tag = f"{number}/{fitted.iterations - 1}"
                fitted.weights = add_up(ctx, f"{tag}/weights", length)
                mean = float(add_up(ctx, f"{tag}/loss", 1)[0])
                fitted.losses.append(mean + optimizer.penalty_value(fitted.weights))
                said = ctx.federation.receive(ctx.federation.guest, f"{tag}/judged", JUDGED)
                moved = np.zeros(length) if last is None else fitted.weights - last
                squares = (float(moved @ moved), float(fitted.weights @ fitted.weights))
                fitted.converged = rule.reached(fitted.losses[-1], *squares)
                stopped = fitted.converged or said["stale"] or fitted.iterations == settings.max_iter
                verdict = {"stop": stopped, "converged": fitted.converged, "best": said["best"]}
                ctx.federation.send(parties, f"{tag}/verdict", verdict)
                fitted.stopped, last = stopped, fitted.weights
                report(ctx, settings, number, models, fitted)
            state = {"models": [one.meta() for one in [*done, fitted]]}
            kept = fitted.weights if last is None else last
            ctx.checkpoint.save(number * settings.max_iter + fitted.iterations, {"last": kept}, state)
        done.append(fitted)
        current, last = None, None
    return done


def averages(settings: HomoLRParam, iterations: int) -> bool:
    """Whether weights are averaged after so many iterations."""
    return iterations % settings.aggregate_iters == 0 or iterations == settings.max_iter


# -- what runs on the executors ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Model:
    """:param rows: of the batch, in this partition; ``None`` for all"""

    weights: np.ndarray
    intercept: bool
    label: float | None
    rows: np.ndarray | None

    def of(self, block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, labels (0 and 1) and sums w x of the rows."""
        assert block.y is not None
        x, y = (block.x, block.y) if self.rows is None else (block.x[self.rows], block.y[self.rows])
        sums = x @ self.weights[: x.shape[1]] + (self.weights[-1] if self.intercept else 0.0)
        return x, (y == self.label).astype(float), sums


def _gradient(block: Block, model: _Model) -> np.ndarray:
    """The gradient of the loss, summed over rows."""
    x, y, sums = model.of(block)
    residual = logistic(sums) - y
    return np.concatenate([residual @ x, [residual.sum()]]) if model.intercept else residual @ x


def _loss(block: Block, model: _Model) -> float:
    """log(1 + exp(-wx)) where the label is 1, log(1 + exp(wx)) where it is 0; summed over rows."""
    _, y, sums = model.of(block)
    return float(np.logaddexp(0.0, np.where(y == 1, -sums, sums)).sum())
