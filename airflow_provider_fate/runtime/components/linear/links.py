"""What tells the linear models apart: their residuals and losses, each as a part of the guest and one of each host.

Functions are of plain arrays, and the classes are stateless, so that they travel to executors by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Link(ABC):
    """A model whose residual d is the sum of one vector of each party.

    With one host, the loss of a batch is guest_loss(...) + <host_share, loss_vector> + host_loss(...).
    """

    #: every party's share stays within this, or training has diverged; a whole number
    share_bound: int

    @staticmethod
    @abstractmethod
    def vector_bound(share_bound: int) -> float:
        """What loss_vector stays within as long as shares stay within ``share_bound``."""

    @staticmethod
    @abstractmethod
    def host_share(wx: np.ndarray) -> np.ndarray:
        """A host's part of the residual; shape (rows,)."""

    @staticmethod
    @abstractmethod
    def guest_share(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The guest's part of the residual; shape (rows,)."""

    @staticmethod
    @abstractmethod
    def loss_vector(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The guest's factor of the host's share in the loss; shape (rows,)."""

    @staticmethod
    @abstractmethod
    def guest_loss(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What the guest alone knows of the loss; shape (rows,)."""

    @staticmethod
    @abstractmethod
    def host_loss(wx: np.ndarray) -> np.ndarray:
        """What the host alone knows of the loss, not negative; shape (rows,)."""


class Logistic(Link):
    """Logistic regression with labels -1 and 1, by the second-order Taylor expansion of its loss at zero:
    log 2 - y wx / 2 + wx^2 / 8, so d = wx / 4 - y / 2 (Hardy et al. 2017, arXiv:1711.10677)."""

    # abs(wx) up to 256 at each party: the expansion is far off long before, and rmsprop's first steps recover
    share_bound = 64

    @staticmethod
    def vector_bound(share_bound: int) -> float:
        return 4.0 * share_bound + 8.0

    @staticmethod
    def host_share(wx: np.ndarray) -> np.ndarray:
        return 0.25 * wx

    @staticmethod
    def guest_share(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.25 * wx - 0.5 * y

    @staticmethod
    def loss_vector(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        return wx - 2.0 * y

    @staticmethod
    def guest_loss(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.log(2.0) - 0.5 * y * wx + 0.125 * wx**2

    @staticmethod
    def host_loss(wx: np.ndarray) -> np.ndarray:
        return 0.125 * wx**2


class Squared(Link):
    """Linear regression: loss (wx - y)^2 / 2, so d = wx - y."""

    # for labels up to 16; more for larger ones
    share_bound = 256

    @staticmethod
    def vector_bound(share_bound: int) -> float:
        return float(share_bound)

    @staticmethod
    def host_share(wx: np.ndarray) -> np.ndarray:
        return wx

    @staticmethod
    def guest_share(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        return wx - y

    @staticmethod
    def loss_vector(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        return wx - y

    @staticmethod
    def guest_loss(wx: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.5 * (wx - y) ** 2

    @staticmethod
    def host_loss(wx: np.ndarray) -> np.ndarray:
        return 0.5 * wx**2
