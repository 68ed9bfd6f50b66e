"""HeteroLR: logistic regression over columns that several parties hold, after Hardy et al. 2017 (arXiv:1711.10677).

The guest has the label and features, each host has features, and the arbiter holds the secret key. All have the same
rows in the same order (Intersection). In each batch everyone computes with the second-order Taylor expansion of the
logistic loss, as FATE does; :mod:`.linear.exchange` says how. Unlike FATE's, the arbiter sees no gradient: what it
decrypts is masked uniformly, and each party updates its own weights.

Who learns what, in the semi-honest model (all follow the protocol; a party may look at all that it receives), if the
arbiter works together with nobody:

* every party: how many rows there are and whether all have the same ids in the same order (after an Intersection they
  do), how many models are trained (one, or one a class), when training ends, and the job's seed and parameters.
* arbiter: the number of columns of each party, the most rows that a partition has of a batch, which validation was the
  best, and nothing else of the data: the products that it decrypts are uniform modulo the plaintext modulus, their
  noise is flooded (BFV) or their randomness fresh (Paillier).
* host: the gradient of its own weights in each batch, that is, the sum over rows of its own values times the residual
  wx/4 - y/2. The encrypted residuals themselves say nothing to it (IND-CPA of BFV: ring-LWE with 128-bit parameters;
  of Paillier: decisional composite residuosity, and factoring for its short exponents). Gradients are sums over at
  least more rows than the host has features, or the guest refuses; still, gradients of many iterations are many
  equations about the labels, so a host with about as many features as there are rows can learn much.
* guest: the gradient of its own weights in each batch. With one host, the mean loss of each batch with the penalties,
  no part of it alone. With several, or where ``early_stop`` is ``weight_diff``, the squared norms of each host's
  weights and of their change in each iteration.
* guest, of each row it scores: the sum w x of each host, in the clear as in FATE, when the training rows are scored at
  the end, at each validation (``validation_freqs``) and in prediction. Whoever knows a host's values of enough rows
  can compute its weights from them, and the sums of rows with similar values are similar.
* nobody sees another party's weights, and the labels leave the guest in no other form.

The guest together with the arbiter can decrypt each host's w x of every iteration; a host together with the arbiter can
decrypt the residuals, and so the labels. The two must not collude, as in FATE.
"""

from __future__ import annotations

import numpy as np

from airflow_provider_fate.runtime.components.linear.component import HeteroLinear
from airflow_provider_fate.runtime.components.linear.extent import Extent
from airflow_provider_fate.runtime.components.linear.links import Logistic
from airflow_provider_fate.runtime.components.linear.predictions import logistic
from airflow_provider_fate.runtime.components.linear.stored import Targets, class_targets
from airflow_provider_fate.runtime.components.linear.validation import class_metrics
from airflow_provider_fate.runtime.data import Rows


class HeteroLR(HeteroLinear):
    """FATE's ``HeteroLR``: binary, or one model a class against the rest."""

    module = "HeteroLR"
    link = Logistic
    response = staticmethod(logistic)

    def targets(self, train: Rows, extent: Extent) -> Targets:
        """The labels, ascending; whole numbers as such."""
        return class_targets(self.ctx.name, train.schema.label_name, extent.labels)

    def share_bound(self, extent: Extent) -> int:
        return Logistic.share_bound

    def validated(self, y: np.ndarray, sums: np.ndarray, label: float | None) -> dict[str, float]:
        own = self.parameters
        return class_metrics(self.ctx.name, own.metrics, y == label, logistic(sums), own.predict_param.threshold)
