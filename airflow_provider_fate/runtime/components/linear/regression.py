"""What the linear models of numbers have in common."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from airflow_provider_fate.runtime.components.linear.component import HeteroLinear
from airflow_provider_fate.runtime.components.linear.extent import Extent
from airflow_provider_fate.runtime.components.linear.stored import Targets
from airflow_provider_fate.runtime.components.linear.validation import regression_metrics
from airflow_provider_fate.runtime.data import Rows
from airflow_provider_fate.runtime.federation.checks import Integer

#: what travels may be so many times the largest label, as models start anywhere
ROOM = 16
MOST_BOUND = 1 << 40


class HeteroRegression(HeteroLinear):
    """One model, of the labels as they are. What travels is scaled by the labels' size, which the guest tells."""

    #: a power of two; what travels stays within this, or more where labels are larger
    smallest_bound: ClassVar[int]

    def targets(self, train: Rows, extent: Extent) -> Targets:
        return Targets([None])

    def share_bound(self, extent: Extent) -> int:
        federation = self.ctx.federation
        if self.ctx.party.role == "host":
            return federation.receive(federation.guest, "share_bound", Integer(self.smallest_bound, MOST_BOUND))
        bound = self.smallest_bound
        while bound < min(ROOM * extent.largest_label, MOST_BOUND):
            bound *= 2
        federation.send(federation.hosts, "share_bound", bound)
        return bound

    def validated(self, y: np.ndarray, sums: np.ndarray, label: float | None) -> dict[str, float]:
        return regression_metrics(self.ctx.name, self.parameters.metrics, y, self.response(sums))
