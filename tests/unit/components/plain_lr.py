"""The linear models' algorithm in the clear, on the joined columns: what the encrypted one must equal.

Written from the description, not from the code under test: one weight vector, one gradient, no parties.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: mean gradient and mean loss of labels and weights
Objective = tuple[
    Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], Callable[[np.ndarray, np.ndarray, np.ndarray], float]
]


def gradient(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Mean gradient of log 2 - y wx / 2 + (wx)^2 / 8 for labels of -1 and 1."""
    return x.T @ (x @ w / 4 - y / 2) / len(y)


def loss(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    z = x @ w
    return float(np.mean(np.log(2) - y * z / 2 + z * z / 8))


def squared_gradient(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Mean gradient of (wx - y)^2 / 2."""
    return x.T @ (x @ w - y) / len(y)


def squared_loss(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    return float(np.mean((x @ w - y) ** 2) / 2)


def count_gradient(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Mean gradient of exp(wx) - y wx."""
    return x.T @ (np.exp(x @ w) - y) / len(y)


def count_loss(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    return float(np.mean(np.exp(x @ w) - y * (x @ w)))


LOGISTIC: Objective = (gradient, loss)
SQUARED: Objective = (squared_gradient, squared_loss)
COUNTS: Objective = (count_gradient, count_loss)


def steps(name: str) -> Callable[[np.ndarray, float], np.ndarray]:
    """What to subtract from the weights for each gradient and rate, by optimizer."""
    memory: dict[str, Any] = {"t": 0, "a": 0.0, "b": 0.0}

    def step(g: np.ndarray, rate: float) -> np.ndarray:
        memory["t"] += 1
        if name == "rmsprop":
            memory["a"] = 0.99 * memory["a"] + 0.01 * g * g
            return rate * g / (memory["a"] + 1e-6) ** 0.5
        if name == "adagrad":
            memory["a"] = memory["a"] + g * g
            return rate * g / (memory["a"] + 1e-7) ** 0.5
        if name == "adam":
            memory["a"] = 0.9 * memory["a"] + 0.1 * g
            memory["b"] = 0.999 * memory["b"] + 0.001 * g * g
            first, second = memory["a"] / (1 - 0.9 ** memory["t"]), memory["b"] / (1 - 0.999 ** memory["t"])
            return rate * first / (second**0.5 + 1e-8)
        if name == "nesterov_momentum_sgd":
            old = memory["a"]
            memory["a"] = 0.9 * old - rate * g
            return -(-0.9 * old + 1.9 * memory["a"])
        return rate * g

    return step


def fit(
    x: np.ndarray,
    y: np.ndarray,
    start: np.ndarray,
    batches: Callable[[int], Sequence[np.ndarray]],
    settings: Any,
    penalised: np.ndarray,
    objective: Objective = LOGISTIC,
) -> tuple[np.ndarray, list[float]]:
    """Weights after training, and each iteration's loss.

    :param y: of the logistic objective -1 and 1
    :param batches: rows of the batches of an iteration
    :param penalised: 1.0 for weights with a penalty, 0.0 for the intercept
    """
    w, losses, step = start.copy(), [], steps(settings.optimizer)
    alpha = settings.alpha if settings.penalty else 0.0
    before_loss: float | None = None
    for t in range(settings.max_iter):
        slower = 1 + settings.decay * t
        rate = settings.learning_rate / (slower**0.5 if settings.decay_sqrt else slower)
        started, total, count = w.copy(), 0.0, 0
        for chosen in batches(t):
            xb, yb = x[chosen], y[chosen]
            kept = w * penalised
            cost = alpha * (np.abs(kept).sum() if settings.penalty == "L1" else kept @ kept / 2)
            total, count = total + (objective[1](xb, yb, w) + cost) * len(yb), count + len(yb)
            g = objective[0](xb, yb, w)
            if settings.penalty == "L2":
                g = g + alpha * kept
            w = w - step(g, rate)
            if settings.penalty == "L1":
                w = np.where(penalised == 1, np.sign(w) * np.clip(np.abs(w) - alpha * rate, 0, None), w)
        losses.append(total / count)
        if settings.early_stop == "weight_diff":
            if t and np.linalg.norm(w - started) < settings.tol * max(1, np.linalg.norm(w)):
                break
        elif settings.early_stop == "abs":
            if losses[-1] < settings.tol:
                break
        elif before_loss is not None and abs(before_loss - losses[-1]) < settings.tol:
            break
        before_loss = losses[-1]
    return w, losses
