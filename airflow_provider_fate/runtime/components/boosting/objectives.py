"""What the trees minimise: each objective's gradients, loss, start and prediction, as FATE's have them.

A row's *scores* are the sums of its leaves over all trees, one a class (one column for a binary or regression model).
Gradients and hessians are the derivatives of a row's loss by its scores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax

from airflow_provider_fate.errors import ConfigError, DataError


class Objective(ABC):
    """One loss. All arrays of rows are float64; ``y`` has shape (rows,), scores have shape (rows, columns)."""

    #: columns of the scores
    columns: int = 1

    def check(self, y: np.ndarray) -> None:  # noqa: B027 - most take any finite label
        """:raises DataError: the loss is not defined for these labels"""

    def start(self, y: np.ndarray) -> float:
        """The score of every row before the first tree."""
        return 0.0

    @abstractmethod
    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivatives, both of the scores' shape; the second are not negative."""

    @abstractmethod
    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Each row's loss, shape (rows,)."""

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Predictions from scores, of the same shape: probabilities of a classifier, values of a regression."""
        return scores


@dataclass(frozen=True)
class Binary(Objective):
    """Cross-entropy of the logistic function; labels are 0 and 1."""

    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = self.predict(scores)
        return p - y[:, None], p * (1.0 - p)

    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return np.logaddexp(0.0, scores[:, 0]) - y * scores[:, 0]

    def predict(self, scores: np.ndarray) -> np.ndarray:
        return np.exp(-np.logaddexp(0.0, -scores))


@dataclass(frozen=True)
class Multiclass(Objective):
    """Cross-entropy of the softmax; labels are 0, 1, ..., classes - 1."""

    classes: int

    @property
    def columns(self) -> int:  # type: ignore[override]
        return self.classes

    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = self.predict(scores)
        return p - (y[:, None] == np.arange(self.classes)), p * (1.0 - p)

    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return -log_softmax(scores, axis=1)[np.arange(len(y)), y.astype(np.int64)]

    def predict(self, scores: np.ndarray) -> np.ndarray:
        return softmax(scores, axis=1)


@dataclass(frozen=True)
class SquaredError(Objective):
    """``lse``: d^2, with d = score - label."""

    def start(self, y: np.ndarray) -> float:
        return float(np.mean(y))

    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2.0 * (scores - y[:, None]), np.full(scores.shape, 2.0)

    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return (scores[:, 0] - y) ** 2


@dataclass(frozen=True)
class AbsoluteError(Objective):
    """``lae``: \\|d\\|. Its second derivative is taken as 1."""

    def start(self, y: np.ndarray) -> float:
        return float(np.median(y))

    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.sign(scores - y[:, None]), np.ones(scores.shape)

    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return np.abs(scores[:, 0] - y)


@dataclass(frozen=True)
class Huber(Objective):
    """``huber``, in its smooth form: delta^2 (sqrt(1 + (d / delta)^2) - 1)."""

    delta: float

    def start(self, y: np.ndarray) -> float:
        return float(np.mean(y))

    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = scores - y[:, None]
        scale = 1.0 + (d / self.delta) ** 2
        return d / np.sqrt(scale), scale**-1.5

    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return self.delta**2 * (np.sqrt(1.0 + ((scores[:, 0] - y) / self.delta) ** 2) - 1.0)


@dataclass(frozen=True)
class Fair(Objective):
    """``fair``: c \\|d\\| - c^2 log(\\|d\\| / c + 1)."""

    c: float

    def start(self, y: np.ndarray) -> float:
        return float(np.mean(y))

    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = scores - y[:, None]
        return self.c * d / (np.abs(d) + self.c), self.c**2 / (np.abs(d) + self.c) ** 2

    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        d = np.abs(scores[:, 0] - y)
        return self.c * d - self.c**2 * np.log1p(d / self.c)


@dataclass(frozen=True)
class LogCosh(Objective):
    """``log_cosh``: log cosh d."""

    def start(self, y: np.ndarray) -> float:
        return float(np.mean(y))

    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = np.tanh(scores - y[:, None])
        return t, 1.0 - t**2

    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        d = np.abs(scores[:, 0] - y)
        return d + np.log1p(np.exp(-2.0 * d)) - np.log(2.0)


@dataclass(frozen=True)
class Tweedie(Objective):
    """``tweedie``: the deviance of a Tweedie distribution of power rho in [1, 2) whose mean is exp(score)."""

    rho: float

    def check(self, y: np.ndarray) -> None:
        if (y < 0).any():
            raise DataError(f"tweedie needs labels that are not negative; the least one is {y.min():g}")

    def gradients(self, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        one, two = np.exp((1.0 - self.rho) * scores), np.exp((2.0 - self.rho) * scores)
        g = two - y[:, None] * one
        return g, (2.0 - self.rho) * two + (self.rho - 1.0) * y[:, None] * one

    def losses(self, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
        s = scores[:, 0]
        grown = np.exp((2.0 - self.rho) * s) / (2.0 - self.rho)
        if self.rho == 1.0:
            return grown - y * s
        return grown - y * np.exp((1.0 - self.rho) * s) / (1.0 - self.rho)

    def predict(self, scores: np.ndarray) -> np.ndarray:
        return np.exp(scores)


def objective(name: str, params: Sequence[float] | None, classes: int) -> Objective:
    """The objective of a job.

    :param name: FATE's name
    :param params: FATE's ``objective_param.params``
    :param classes: of the labels, for ``cross_entropy``
    :raises ConfigError: no such objective
    """
    if name == "cross_entropy":
        return Binary() if classes == 2 else Multiclass(classes)
    plain = {"lse": SquaredError, "lae": AbsoluteError, "log_cosh": LogCosh}
    with_parameter = {"huber": Huber, "fair": Fair, "tweedie": Tweedie}
    if name in plain:
        return plain[name]()
    if name in with_parameter and params:
        return with_parameter[name](float(params[0]))
    raise ConfigError("objective_param.objective", f"{name!r} is not known here")
