"""HeteroFeatureSelection: which columns go on, by filters one after the other, as FATE has them.

Most filters are each party's own: lists, statistics, frequent values, importance in trees. FATE 1.5 has a guest that
knows how often each of a host's columns splits a node; here it does not, so a host applies its threshold itself, and of
``top_k`` and ``top_percentile`` each party takes the best of its own columns. Information values are known to
the guest only (see :mod:`.hetero_feature_binning`), so there

1. host -> guest: which of its columns are still looked at, by the places that they had when they were binned;
2. guest -> host: which of these stay.

A filter leaves at least one of the columns that it looks at: the best one. Columns that are not looked at stay.

Who learns what, in the semi-honest model:

* guest: which of a host's columns, by place, the filters before left, and so which stay.
* host, of a filter by information values: which of its columns stay, that is, which ones say much about the label.
* nothing else is sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.hetero_feature_selection import Condition, HeteroFeatureSelectionParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Component, Outputs, check_model
from airflow_provider_fate.runtime.components.columns import found as found_columns
from airflow_provider_fate.runtime.components.selection.numbers import BOOSTING, Numbers
from airflow_provider_fate.runtime.components.selection.picking import (
    Names,
    Take,
    at_least_one,
    largest_counts,
    manually,
    picked,
)
from airflow_provider_fate.runtime.data import Model, Rows
from airflow_provider_fate.runtime.federation.checks import Integer, ListOf, Optional_, boolean

FORMAT = 1
MOST_COLUMNS = 10_000_000
PLACES = ListOf(Optional_(Integer(0, MOST_COLUMNS)), max_length=MOST_COLUMNS)

Kept = tuple[list[bool], dict[str, Any]]


class HeteroFeatureSelection(Component):
    """FATE's ``HeteroFeatureSelection``. Its model: ``meta["left"]``, and what each filter did."""

    module = "HeteroFeatureSelection"
    parameters: HeteroFeatureSelectionParam

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Rows with the columns that stay, as the output ``data``.

        :param models: ``isometric_model``, ...: those that filters take numbers from
        :raises ConfigError: a model is not there, or lacks a number
        """
        rows = next(iter(data.values()))
        p = self.parameters
        if not p.need_run:
            return Outputs(data={"data": rows})
        if rows.count == 0 or not rows.schema.features:
            raise DataError(f"{self.ctx.name}: {self.ctx.party}'s input has no {'columns' if rows.count else 'rows'}")
        self._names = Names(self.ctx.party, rows.schema.features, p.use_anonymous)
        self._numbers = Numbers(self.ctx, models)
        features = list(rows.schema.features)
        chosen = set(features) if p.select_col_indexes == -1 else self._names.of(p.select_col_indexes, p.select_names)
        columns = [name for name in features if name in chosen]
        if not columns:
            self.ctx.log("filters look at no column here, so all stay")
        done: list[dict[str, Any]] = []
        for number, method in enumerate(p.filter_methods):
            for step, condition in enumerate(p.conditions(method) or [None]):
                keep, said = self._filter(rows, columns, method, condition, f"filter/{number}/{step}")
                left = [column for column, stays in zip(columns, keep, strict=True) if stays]
                what = method if condition is None else f"{method} ({condition.metric}, {condition.kind})"
                self.ctx.log(f"{what}: {len(left)} of {len(columns)} columns stay")
                done.append({"filter": method, **said, "left": left})
                columns = left
        gone = chosen - set(columns)
        left = [name for name in features if name not in gone]
        meta = {"format": FORMAT, "module": self.module, "features": features, "left": left, "filters": done}
        summary = {"columns": len(features), "left": len(left), "names": left}
        return Outputs(data={"data": self._taken(rows, left)}, model=Model(meta), summary=summary)

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """Other rows with the columns that stay, found by name.

        :raises DataError: one is not there
        """
        rows = next(iter(data.values()))
        if not self.parameters.need_run:
            return Outputs(data={"data": rows})
        meta = check_model(self.ctx.name, self.module, model, FORMAT)
        return Outputs(data={"data": self._taken(rows, meta["left"])})

    def _taken(self, rows: Rows, left: Sequence[str]) -> Rows:
        places = found_columns(rows.schema, left, self.ctx.name, self.ctx.party)
        return rows.transform(Take(tuple(places)), rows.schema.with_features(left))

    # -- filters -------------------------------------------------------------------------------------------------

    def _filter(self, rows: Rows, columns: list[str], method: str, condition: Condition | None, tag: str) -> Kept:
        """Whether each of the columns stays, and what the model says of it."""
        if condition is None:
            return self._unconditional(rows, columns, method), {}
        said: dict[str, Any] = {"metric": condition.metric, "type": condition.kind, "threshold": condition.bound}
        if condition.metric == "iv":
            part = self._by_iv if self.ctx.party.role == "guest" else self._told
            keep, more = part(columns, method, condition, tag)
            return keep, said | more
        if method not in BOOSTING:
            values = self._numbers.statistics(rows, columns, condition.metric, self._statistics())
        elif self.ctx.party.role == "host" and not condition.federated:
            return [True] * len(columns), said
        else:
            said["threshold"] = self._own_bound(condition, method)
            values = self._numbers.importance(columns, method)
        keep = at_least_one(picked(values, condition, [said["threshold"]] * len(values)), values, condition.high)
        return keep, said | {"values": _known(columns, values)}

    def _unconditional(self, rows: Rows, columns: list[str], method: str) -> list[bool]:
        p = self.parameters
        if method == "manually":
            return at_least_one(manually(self._names, columns, p.manually_param), None)
        places = found_columns(rows.schema, columns, self.ctx.name, self.ctx.party)
        share = p.percentage_value_param.upper_pct
        counts = largest_counts(rows, places, share)
        most = math.ceil(share * rows.count)
        return at_least_one([count <= most for count in counts], [float(count) for count in counts], high=False)

    def _statistics(self) -> list[str]:
        """All statistics that filters ask for."""
        conditions = [one for method in self.parameters.filter_methods for one in self.parameters.conditions(method)]
        return [one.metric for one in conditions if one.metric not in ("iv", "feature_importance")]

    # -- information values --------------------------------------------------------------------------------------

    def _by_iv(self, columns: list[str], method: str, condition: Condition, tag: str) -> Kept:
        """The guest's part: its own columns and, where all are looked at together, those of the hosts."""
        federation = self.ctx.federation
        hosts = federation.hosts if condition.federated else ()
        values = [self._numbers.information_values(columns, method, condition.merge)]
        bounds = [[condition.bound] * len(columns)]
        places: list[list[int | None]] = []
        for host, bound in zip(hosts, self._host_bounds(condition, method, hosts), strict=True):
            places.append(federation.receive(host, f"{tag}/columns", PLACES))
            values.append(self._numbers.of_host(host, places[-1], method, condition.merge))
            bounds.append([bound] * len(places[-1]))
        together = picked(sum(values, []), condition, sum(bounds, []))
        keeps = []
        for own in values:
            keeps.append(at_least_one(together[: len(own)], own))
            together = together[len(own) :]
        said: dict[str, Any] = {"values": dict(zip(columns, values[0], strict=True))}
        if hosts:
            said["hosts"] = {}
        for host, at, own, keep in zip(hosts, places, values[1:], keeps[1:], strict=True):
            federation.send(host, f"{tag}/left", keep)
            self.ctx.log(f"{method} ({condition.kind}): {sum(keep)} of {len(keep)} columns of {host} stay")
            said["hosts"][str(host)] = {
                "values": {str(place): value for place, value in zip(at, own, strict=True) if place is not None},
                "left": [place for place, stays in zip(at, keep, strict=True) if stays],
            }
        return keeps[0], said

    def _told(self, columns: list[str], method: str, condition: Condition, tag: str) -> Kept:
        """A host's part."""
        if not condition.federated:
            return [True] * len(columns), {}
        federation = self.ctx.federation
        federation.send(federation.guest, f"{tag}/columns", self._numbers.places(columns, method))
        return federation.receive(federation.guest, f"{tag}/left", ListOf(boolean, length=len(columns))), {}

    def _host_bounds(self, condition: Condition, method: str, hosts: Sequence[Party]) -> list[float]:
        given = condition.hosts
        if given is None:
            return [condition.bound] * len(hosts)
        found = list(given) if isinstance(given, list) else [given]
        if len(found) == 1:
            found *= len(hosts)
        if hosts and len(found) != len(hosts):
            raise ConfigError(
                f"{self.ctx.name}.filter_methods", f"{method} has {len(found)} host_thresholds for {len(hosts)} hosts"
            )
        return [condition.bound if one is None else one for one in found[: len(hosts)]]

    def _own_bound(self, condition: Condition, method: str) -> float:
        """This party's threshold where each party applies its own."""
        if self.ctx.party.role == "guest" or condition.kind != "threshold" or condition.hosts is None:
            return condition.bound
        hosts = self.ctx.federation.hosts
        return self._host_bounds(condition, method, hosts)[list(hosts).index(self.ctx.party)]


def _known(columns: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    """As JSON has it."""
    return {name: None if math.isnan(value) else value for name, value in zip(columns, values, strict=True)}
