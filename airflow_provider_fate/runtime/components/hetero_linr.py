"""HeteroLinR: linear regression over columns that several parties hold (Yang et al. 2019, arXiv:1902.04885, section
2.3.1; the loss is half the squared residual).

As :mod:`.hetero_lr`, with the residual wx - y in place of the logistic loss's; parties learn what they learn there.
Besides, hosts learn what the labels stay within, as a power of two (at least 16), from which the scale of encrypted
numbers follows.
"""

from __future__ import annotations

import numpy as np

from airflow_provider_fate.runtime.components.linear.component import HeteroLinear, Targets
from airflow_provider_fate.runtime.components.linear.exchange import Extent
from airflow_provider_fate.runtime.components.linear.links import Squared
from airflow_provider_fate.runtime.components.linear.predictions import identity
from airflow_provider_fate.runtime.components.linear.validation import regression_metrics
from airflow_provider_fate.runtime.data import Rows
from airflow_provider_fate.runtime.federation.checks import Integer

#: a party's share may be so many times the largest label, as models start anywhere
ROOM = 16
#: 2**-bits of the largest bound
MOST_BOUND = 1 << 40


class HeteroLinR(HeteroLinear):
    """FATE's ``HeteroLinR``."""

    module = "HeteroLinR"
    link = Squared
    response = staticmethod(identity)

    def targets(self, train: Rows, extent: Extent) -> Targets:
        return Targets([None])

    def share_bound(self, extent: Extent) -> int:
        """The guest says it, from its labels."""
        federation = self.ctx.federation
        if self.ctx.party.role == "host":
            return federation.receive(federation.guest, "share_bound", Integer(Squared.share_bound, MOST_BOUND))
        bound = Squared.share_bound
        while bound < min(ROOM * extent.largest_label, MOST_BOUND):
            bound *= 2
        federation.send(federation.hosts, "share_bound", bound)
        return bound

    def validated(self, y: np.ndarray, sums: np.ndarray, label: float | None) -> dict[str, float]:
        return regression_metrics(self.ctx.name, self.parameters.metrics, y, sums)
