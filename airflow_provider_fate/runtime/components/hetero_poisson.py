"""HeteroPoisson: Poisson regression over the columns of a guest and one host (McCullagh and Nelder, Generalized Linear
Models, 1989, chapter 6; FATE's HeteroPoisson).

The mean of a count is exposure * exp(wx), and a row's loss mean - y log(mean), that is, without the term that no weight
is in. :mod:`.linear.factor_exchange` says how gradients are computed.

Who learns what: as in :mod:`.hetero_lr`; each party learns the gradient of its own weights. The host learns besides
what the counts stay within, as a power of two (at least 256), from which the scale of encrypted numbers follows. The
encrypted counts that it gets say nothing to it, as the arbiter holds the key; the host together with the arbiter could
decrypt them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.runtime.components.base import Outputs
from airflow_provider_fate.runtime.components.linear.exchange import Exchange
from airflow_provider_fate.runtime.components.linear.extent import Extent
from airflow_provider_fate.runtime.components.linear.factor_exchange import GuestFactorExchange, HostFactorExchange
from airflow_provider_fate.runtime.components.linear.predictions import exponential
from airflow_provider_fate.runtime.components.linear.regression import HeteroRegression
from airflow_provider_fate.runtime.components.linear.stored import Targets
from airflow_provider_fate.runtime.data import Block, Model, Rows


class HeteroPoisson(HeteroRegression):
    """FATE's ``HeteroPoisson``."""

    module = "HeteroPoisson"
    smallest_bound = 4096
    response = staticmethod(exponential)
    guest_exchange = GuestFactorExchange
    host_exchange = HostFactorExchange

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        #: of rows with an exposure, the logarithm of it, per partition
        self._offsets: dict[Rows, list[np.ndarray]] = {}

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """As the other linear models, for one host."""
        if self.parameters.cv_param.need_cv:
            return super().fit(data, models)
        return super().fit({name: self._without_exposure(rows) for name, rows in data.items()}, models)

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        return super().predict({name: self._without_exposure(rows) for name, rows in data.items()}, model)

    def targets(self, train: Rows, extent: Extent) -> Targets:
        if min(train.map(_least_label)) < 0:
            raise DataError(f"{self.ctx.name}: the label column {train.schema.label_name!r} has counts below 0")
        return super().targets(train, extent)

    def other_sums(self, tag: str, rows: Rows, models: int) -> list[np.ndarray]:
        found = super().other_sums(tag, rows, models)
        offsets = self._offsets.get(rows)
        if offsets is None:
            return found
        return [sums + offset[:, None] for sums, offset in zip(found, offsets, strict=True)]

    def _exchange(self, kind: type[Exchange], rows: Rows, extent: Extent, intercept: bool) -> Exchange:
        exchange = super()._exchange(kind, rows, extent, intercept)
        if isinstance(exchange, GuestFactorExchange):
            exchange.offsets = self._offsets.get(rows)
        return exchange

    def _without_exposure(self, rows: Rows) -> Rows:
        """The guest's rows without the column of exposures, which is kept beside them. Where there is none of this
        name, as in FATE's own examples, every row has the exposure 1, and the log says so.

        :raises DataError: an exposure is not above 0
        """
        name = self.parameters.exposure_colname
        if name is None or self.ctx.party.role != "guest":
            return rows
        features = rows.schema.features
        if name not in features:
            self.ctx.log(
                f"exposure_colname: there is no column {name!r} among {', '.join(features[:10])}; every row has the "
                "exposure 1, as in FATE"
            )
            return rows
        place = features.index(name)
        exposures = rows.map(_column, [place] * rows.partitions)
        for values in exposures:
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise DataError(f"{self.ctx.name}: the exposure in column {name!r} is not above 0 in every row")
        schema = rows.schema.with_features([*features[:place], *features[place + 1 :]])
        left = rows.transform(_without, schema, [place] * rows.partitions)
        self._offsets[left] = [np.log(values) for values in exposures]
        return left


def _column(block: Block, place: int) -> np.ndarray:
    return block.x[:, place]


def _without(block: Block, place: int) -> Block:
    return Block(block.ids, np.delete(block.x, place, axis=1), block.y)


def _least_label(block: Block, _: Any) -> float:
    return float(block.y.min(initial=0.0))
