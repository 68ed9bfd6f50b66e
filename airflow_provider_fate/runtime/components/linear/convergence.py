"""When to stop: by the loss, or by how far the weights moved. The guest decides, and tells the others."""

from __future__ import annotations

import math

RULES = ("diff", "weight_diff", "abs")


class Convergence:
    """FATE's ``early_stop`` with ``tol``.

    * ``diff``: the loss changed by less than ``tol`` from one iteration to the next;
    * ``abs``: the loss is below ``tol``;
    * ``weight_diff``: norm(w - previous w) < tol * max(norm(w), 1), over the weights of all parties; from the
      second iteration on, as the first has no previous one.

    With several hosts the rule is always ``weight_diff``, as FATE's: the loss has a term between each two hosts.
    """

    def __init__(self, rule: str, tolerance: float, hosts: int) -> None:
        if rule not in RULES:
            raise ValueError(f"early_stop {rule!r} is not known; expected one of {', '.join(RULES)}")
        self.rule = rule if hosts == 1 else "weight_diff"
        self.tolerance = tolerance
        #: of the iteration before; ``None`` in the first. What a checkpoint keeps.
        self.previous_loss: float | None = None
        self.iterations = 0

    def reached(self, loss: float | None, moved_squares: float = 0.0, weight_squares: float = 0.0) -> bool:
        """Whether training ends after this iteration.

        :param loss: the mean over the iteration's batches
        :param moved_squares: sum of squares of the change of all weights in this iteration
        :param weight_squares: sum of squares of all weights
        """
        self.iterations += 1
        if self.rule == "weight_diff":
            if self.iterations == 1:
                return False
            return math.sqrt(moved_squares) < self.tolerance * max(math.sqrt(weight_squares), 1.0)
        if loss is None:
            raise ValueError(f"early_stop {self.rule} needs the loss")
        if self.rule == "abs":
            return loss < self.tolerance
        before, self.previous_loss = self.previous_loss, loss
        return before is not None and abs(before - loss) < self.tolerance
