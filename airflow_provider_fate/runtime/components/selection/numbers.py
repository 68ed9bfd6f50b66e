"""Numbers of columns, from the models of other components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.parameters.data_statistics import DataStatisticsParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.binning.own import LEAST_ROWS, large
from airflow_provider_fate.runtime.components.binning.woe import described, information_values
from airflow_provider_fate.runtime.components.data_statistics import DataStatistics
from airflow_provider_fate.runtime.data import Model, Rows

BINNING, STATISTICS = "HeteroFeatureBinning", "DataStatistics"
BOOSTING = {"hetero_sbt_filter": "HeteroSecureBoost", "hetero_fast_sbt_filter": "HeteroFastSecureBoost"}
#: columns that a line of the log names
SHOWN = 100
_MERGES = {"max": max, "min": min, "average": lambda values: sum(values) / len(values)}


class Numbers:
    """What other components know of a party's columns.

    :param models: as they came in
    """

    def __init__(self, ctx: Context, models: dict[str, Model]) -> None:
        self.ctx = ctx
        self._models: dict[str, Model] = {}
        self._large: dict[Party, dict[str, Any]] = {}
        for model in models.values():
            module = str(model.meta.get("module"))
            if module in self._models:
                raise ConfigError(f"{ctx.name}.input.isometric_model", f"there are two models of {module}; keep one")
            self._models[module] = model

    def _meta(self, module: str, method: str) -> dict[str, Any]:
        if module not in self._models:
            raise ConfigError(
                f"{self.ctx.name}.input.isometric_model",
                f"has no model of {module}, which the filter {method} needs; name the output of such a component",
            )
        return self._models[module].meta

    # -- information values --------------------------------------------------------------------------------------

    def information_values(self, columns: Sequence[str], method: str, merge: str) -> list[float]:
        """Of the guest's own columns; 0 for one that was not binned."""
        return self._values(self._binning(method)["columns"], columns, merge)

    def of_host(self, host: Party, places: Sequence[int | None], method: str, merge: str) -> list[float]:
        """Of a host's columns, by their places; 0 for one that was not binned.

        Bins of few rows are put together first: the host learns whether the value is high enough, and of a bin of one
        row that would be this row's label.

        :raises ConfigError: the binning did not compute any
        """
        meta = self._binning(method)
        known = meta.get("hosts", {})
        if str(host) not in known:
            raise ConfigError(
                f"{self.ctx.name}.filter_methods",
                f"{method} looks at the columns of all parties, but the HeteroFeatureBinning that came in knows none "
                f"of {host}; run it without local_only, or look at the guest's only (select_federated false, or "
                "local_only true)",
            )
        if host not in self._large:
            self._large[host] = self._large_bins(host, known[str(host)], meta.get("adjustment_factor", 0.5))
        return self._values(self._large[host], [str(place) for place in places], merge)

    def _large_bins(self, host: Party, known: dict[str, Any], adjustment: float) -> dict[str, Any]:
        found, changed = dict(known), []
        for place, column in known.items():
            several = column.get("classes", [column])
            counts = [np.column_stack([one["event_count"], one["non_event_count"]]) for one in several]
            merged = [large(one, column["category"]) for one in counts]
            if kept := [described(one, adjustment) for one in merged if one is not None]:
                found[place] = {"classes": kept} if "classes" in column else kept[0]
                changed.append(place)
        if changed:
            more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
            self.ctx.log(
                f"information values of columns {', '.join(changed[:SHOWN])}{more} of {host}, by their places, are "
                f"taken without bins of fewer than {LEAST_ROWS} rows, which are put together"
            )
        return found

    def places(self, columns: Sequence[str], method: str) -> list[int | None]:
        """By what a host's columns go at the guest: their places when they were binned, ``None`` where they were not
        there."""
        features = self._meta(BINNING, method)["features"]
        at = {name: place for place, name in enumerate(features)}
        return [at.get(column) for column in columns]

    def _binning(self, method: str) -> dict[str, Any]:
        meta = self._meta(BINNING, method)
        if meta["classes"] is None:
            raise ConfigError(
                f"{self.ctx.name}.filter_methods",
                f"{method} needs information values, which the HeteroFeatureBinning that came in left out; run it "
                "with skip_static false",
            )
        return meta

    @staticmethod
    def _values(known: dict[str, Any], columns: Sequence[str], merge: str) -> list[float]:
        found = []
        for column in columns:
            values = information_values(known[column]) if column in known else None
            found.append(_MERGES[merge](values) if values else 0.0)
        return found

    # -- statistics ----------------------------------------------------------------------------------------------

    def statistics(self, rows: Rows, columns: Sequence[str], metric: str, needed: Sequence[str]) -> list[float]:
        """A statistic of the party's own columns, NaN where there is none.

        They are computed of these rows where no model of DataStatistics came in.

        :param needed: all that will be asked for
        :raises ConfigError: the model that came in does not have it
        """
        if STATISTICS not in self._models:
            component = DataStatistics(self.ctx, DataStatisticsParam(statistics=list(dict.fromkeys(needed))))
            model = component.fit({"data": rows}, {}).model
            assert model is not None
            self._models[STATISTICS] = model
        known = self._models[STATISTICS].meta["columns"]
        found = []
        for column in columns:
            if metric not in known.get(column, {}):
                what = f"statistic {metric}" if column in known else "numbers"
                raise ConfigError(
                    f"{self.ctx.name}.input.isometric_model",
                    f"the DataStatistics that came in has no {what} of column {column}; let its statistics name "
                    f"{metric}, and its column_indexes the column",
                )
            value = known[column][metric]
            found.append(math.nan if value is None else float(value))
        return found

    # -- trees ---------------------------------------------------------------------------------------------------

    def importance(self, columns: Sequence[str], method: str) -> list[float]:
        """How often the trees split by each of the party's own columns or, at the guest, the gain of these splits where
        the trees were asked for it."""
        meta, me = self._meta(BOOSTING[method], method), str(self.ctx.party)
        kind = meta.get("feature_importance_type", "split")
        if kind == "gain" and self.ctx.party.role == "host":
            self.ctx.log(f"{method}: gains are known to the guest only, so columns go by how often they split")
            kind = "split"
        own = {one["feature"]: one[kind] for one in meta["feature_importance"] if one.get("party", me) == me}
        return [float(own.get(column, 0)) for column in columns]
