"""HeteroLinR: linear regression over columns that several parties hold (Yang et al. 2019, arXiv:1902.04885, section
2.3.1; the loss is half the squared residual).

As :mod:`.hetero_lr`, with the residual wx - y in place of the logistic loss's; parties learn what they learn there.
Besides, hosts learn what the labels stay within, as a power of two (at least 16), from which the scale of encrypted
numbers follows.
"""

from __future__ import annotations

from airflow_provider_fate.runtime.components.linear.links import Squared
from airflow_provider_fate.runtime.components.linear.predictions import identity
from airflow_provider_fate.runtime.components.linear.regression import HeteroRegression


class HeteroLinR(HeteroRegression):
    """FATE's ``HeteroLinR``."""

    module = "HeteroLinR"
    link = Squared
    smallest_bound = Squared.share_bound
    response = staticmethod(identity)
