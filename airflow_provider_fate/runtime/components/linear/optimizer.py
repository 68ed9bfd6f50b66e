"""Gradient steps, each party on its own weights: all of FATE's optimizers work entry by entry."""

from __future__ import annotations

import math

import numpy as np

from airflow_provider_fate.runtime.components.linear.fitted import Settings

OPTIMIZERS = ("sgd", "rmsprop", "adam", "adagrad", "nesterov_momentum_sgd")

RMSPROP_DECAY = 0.99
RMSPROP_EPSILON = 1e-6
ADAGRAD_EPSILON = 1e-7
ADAM_DECAY_1 = 0.9
ADAM_DECAY_2 = 0.999
ADAM_EPSILON = 1e-8
NESTEROV_MOMENTUM = 0.9


class Optimizer:
    """One optimizer with its learning rate, penalty and state.

    L2 adds alpha * w to the gradient; L1 shrinks w by alpha * rate towards zero after the step (proximal step).
    The intercept is never penalised.

    :param name: one of :data:`OPTIMIZERS`
    :param learning_rate: before decay
    :param decay: rate / sqrt(1 + decay * iteration) with ``decay_sqrt``, else rate / (1 + decay * iteration)
    :param penalty: ``"L1"``, ``"L2"`` or ``None``
    :param intercept: whether the last weight is the intercept
    """

    def __init__(
        self,
        name: str,
        learning_rate: float,
        *,
        decay: float,
        decay_sqrt: bool,
        penalty: str | None,
        alpha: float,
        intercept: bool,
    ) -> None:
        if name not in OPTIMIZERS:
            raise ValueError(f"optimizer {name!r} is not known; expected one of {', '.join(OPTIMIZERS)}")
        self.name = name
        self.learning_rate = learning_rate
        self.decay = decay
        self.decay_sqrt = decay_sqrt
        self.penalty = penalty
        self.alpha = alpha
        self.intercept = intercept
        #: arrays as long as the weights, and the number of steps; what a checkpoint keeps
        self.state: dict[str, np.ndarray] = {}

    @classmethod
    def of(cls, settings: Settings, intercept: bool) -> Optimizer:
        """The one that the parameters ask for."""
        return cls(
            settings.optimizer,
            settings.learning_rate,
            decay=settings.decay,
            decay_sqrt=settings.decay_sqrt,
            penalty=settings.penalty,
            alpha=settings.alpha,
            intercept=intercept,
        )

    def rate(self, iteration: int) -> float:
        """The learning rate in ``iteration``, counted from 0."""
        slower = 1 + self.decay * iteration
        return self.learning_rate / (math.sqrt(slower) if self.decay_sqrt else slower)

    def step(self, weights: np.ndarray, gradient: np.ndarray, iteration: int) -> np.ndarray:
        """New weights.

        :param gradient: of the mean loss of a batch, without the penalty; as long as ``weights``
        """
        rate = self.rate(iteration)
        penalised = self._penalised(weights)
        if self.penalty == "L2":
            gradient = gradient + self.alpha * penalised
        moved = weights - self._change(gradient, rate)
        if self.penalty == "L1":
            shrunk = np.sign(moved) * np.maximum(0.0, np.abs(moved) - self.alpha * rate)
            moved = np.concatenate([shrunk[:-1], moved[-1:]]) if self.intercept else shrunk
        return moved

    def penalty_value(self, weights: np.ndarray) -> float:
        """What the penalty adds to the mean loss."""
        if self.penalty == "L2":
            return 0.5 * self.alpha * float(np.sum(self._penalised(weights) ** 2))
        if self.penalty == "L1":
            return self.alpha * float(np.sum(np.abs(self._penalised(weights))))
        return 0.0

    def _penalised(self, weights: np.ndarray) -> np.ndarray:
        if not self.intercept:
            return weights
        return np.concatenate([weights[:-1], [0.0]])

    def _change(self, gradient: np.ndarray, rate: float) -> np.ndarray:
        state = self.state
        nothing = np.zeros_like(gradient)
        if self.name == "sgd":
            return rate * gradient
        if self.name == "rmsprop":
            state["square"] = RMSPROP_DECAY * state.get("square", nothing) + (1 - RMSPROP_DECAY) * gradient**2
            return rate * gradient / np.sqrt(state["square"] + RMSPROP_EPSILON)
        if self.name == "adagrad":
            state["square"] = state.get("square", nothing) + gradient**2
            return rate * gradient / np.sqrt(state["square"] + ADAGRAD_EPSILON)
        if self.name == "adam":
            steps = state.get("steps", np.zeros(1)) + 1
            mean = ADAM_DECAY_1 * state.get("mean", nothing) + (1 - ADAM_DECAY_1) * gradient
            square = ADAM_DECAY_2 * state.get("square", nothing) + (1 - ADAM_DECAY_2) * gradient**2
            state.update(steps=steps, mean=mean, square=square)
            mean_hat = mean / (1 - ADAM_DECAY_1 ** steps[0])
            square_hat = square / (1 - ADAM_DECAY_2 ** steps[0])
            return rate * mean_hat / (np.sqrt(square_hat) + ADAM_EPSILON)
        before = state.get("momentum", nothing)
        state["momentum"] = NESTEROV_MOMENTUM * before - rate * gradient
        return NESTEROV_MOMENTUM * before - (1 + NESTEROV_MOMENTUM) * state["momentum"]
