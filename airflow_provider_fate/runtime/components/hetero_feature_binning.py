"""HeteroFeatureBinning: bins of every party's columns, their weight of evidence (WOE) and information value (IV).

Each party bins its own columns (:mod:`.binning.own`). The guest has the labels and counts its own columns itself. For
those of a host

1. guest -> host: of each row its class, encrypted under a key of the guest's (:mod:`.binning.counting`);
2. host -> guest: the encrypted sums of each of its bins, under fresh randomness;
3. the guest decrypts how many rows of each class each bin has and computes WOE and IV (:mod:`.binning.woe`);
4. with the method optimal, guest -> host: which of the bins go together (:mod:`.binning.optimal`), as FATE does it.

Of two classes the larger label is the event; of more, each one against the rest. Prediction applies the bins that were
fitted to other rows; nothing is sent then, and nothing is counted.

Who learns what, in the semi-honest model:

* guest, of each column that a host bins: its place among the host's columns, how many bins it has and whether one is
  of missing values or all are categories, how many rows of each class each bin has, and how the host asks for optimal
  binning; no name, bound or row.
* host: how many classes there are. The encrypted labels say nothing to it (Okamoto-Uchiyama: p-subgroup assumption;
  Paillier: decisional composite residuosity). WOE and IV stay at the guest: a WOE would tell a host the share of events
  in a bin of its rows. With the method optimal the host sees which of its bins the guest put together, and that follows
  from the labels in them: an outline of where events are many or few, without numbers. How fine the outline may be is
  for the guest's own parameters to say, whatever the host asks for; bins of fewer than LEAST_ROWS rows are put together
  before labels count.
* both: the partitions and a digest of the ids, which are the same at both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.hetero_feature_binning import HeteroFeatureBinningParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.alignment import rows_value
from airflow_provider_fate.runtime.components.base import Component, Outputs, check_model
from airflow_provider_fate.runtime.components.binning import woe
from airflow_provider_fate.runtime.components.binning.federated import GuestCounting, count_at_host
from airflow_provider_fate.runtime.components.binning.optimal import Optimal
from airflow_provider_fate.runtime.components.binning.own import (
    LEAST_ROWS,
    Binned,
    Own,
    bounded,
    joined,
    optimal_of,
)
from airflow_provider_fate.runtime.components.binning.points import Extent, Replace, class_counts
from airflow_provider_fate.runtime.components.columns import found as found_columns
from airflow_provider_fate.runtime.components.columns import shown
from airflow_provider_fate.runtime.components.labels import MOST_CLASSES, classes_of
from airflow_provider_fate.runtime.data import Block, Model, Rows

FORMAT = 1
#: columns in the summary
SHOWN = 200
#: columns that one task finds optimal bins of; fewer are done in the driver
FEW_COLUMNS = 16


class HeteroFeatureBinning(Component):
    """FATE's ``HeteroFeatureBinning``. Its model: ``meta["columns"]`` by name, and at the guest ``meta["hosts"]`` by
    party and the column's place there."""

    module = "HeteroFeatureBinning"
    parameters: HeteroFeatureBinningParam
    #: a host that comes back may ask for other bins
    most_runs = 6

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Rows with what their bins have in place of values, as the output ``data``, and the bins as the model.

        :raises ConfigError: there is no column at a place or of a name that must be there; hosts are missing
        :raises DataError: no label, infinite values, or a host has other rows
        """
        rows = next(iter(data.values()))
        p = self.parameters
        if not p.need_run:
            return Outputs(data={"data": rows})
        if rows.count == 0:
            raise DataError(f"{self.ctx.name}: {self.ctx.party}'s input has no rows")
        federated = not (p.skip_static or p.local_only)
        own = Own(self.ctx.name, self.ctx.party, p, self.ctx.log)
        if self.ctx.party.role == "guest":
            return self._fit_guest(rows, own, federated)
        if federated:
            self.ctx.federation.send(self.ctx.federation.guest, "rows", rows_value(rows))
        columns = own.columns(rows)
        if federated:
            columns = count_at_host(self.ctx, p.encrypt_param, rows, columns, own.optimal)
        elif own.optimal is not None:
            raise ConfigError(
                f"{self.ctx.name}.method",
                f"optimal needs the counts that local_only leaves out, so {self.ctx.party} cannot use it; set another",
            )
        return self._outputs(rows, own, columns)

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """The bins that were fitted, applied to other rows; columns are found by name.

        :raises DataError: a column is not there, or values are missing that have no weight of evidence
        """
        rows = next(iter(data.values()))
        if not self.parameters.need_run:
            return Outputs(data={"data": rows})
        meta = check_model(self.ctx.name, self.module, model, FORMAT)
        return Outputs(data={"data": self._replaced(rows, meta)})

    # -- guest ---------------------------------------------------------------------------------------------------

    def _fit_guest(self, rows: Rows, own: Own, federated: bool) -> Outputs:
        p, hosts = self.parameters, self.ctx.federation.hosts
        if p.skip_static:
            return self._outputs(rows, own, own.columns(rows))
        if federated and not hosts:
            raise ConfigError("role.host", f"{self.ctx.name} needs a host; for the guest alone set local_only to true")
        classes, totals = self._classes(rows)
        if len(classes) > 2:
            for name, two in (("method", own.optimal), ("transform_param.transform_type", p.transform_param.woe)):
                if two:
                    self._two_classes(name, len(classes))
        counting = GuestCounting(self.ctx, p.encrypt_param, rows, classes, totals) if federated else None
        columns = own.columns(rows)
        counts = class_counts(rows, [c.place for c in columns], [c.points for c in columns], classes)
        counts = [found[: column.bins] for column, found in zip(columns, counts, strict=True)]
        if own.optimal is not None:
            bounds = [None if column.category else len(column.points) for column in columns]
            joins = self._joins(own.optimal, counts, bounds, rows.count)
            counts = [found for _, found in joins]
            columns = [c if ends is None else c.joined(ends) for c, (ends, _) in zip(columns, joins, strict=True)]
        outputs = self._outputs(rows, own, columns, classes, counts)
        if counting is not None:
            found = {str(host): self._host_columns(host, rows.count, counting, classes) for host in hosts}
            outputs.model.meta["hosts"] = found
        outputs.summary = _summary(outputs.model.meta)
        return outputs

    def _host_columns(
        self, host: Party, rows: int, counting: GuestCounting, classes: list[int | float]
    ) -> dict[str, Any]:
        """What the model says of a host's columns, by place; tells the host which bins go together."""
        columns, optimal = counting.receive(host)
        counts = [column.counts for column in columns]
        if optimal is not None:
            if len(classes) > 2:
                self._two_classes(f"method at {host}", len(classes))
            bounds = [None if c.category else len(c.counts) - c.missing for c in columns]
            joins = self._joins(self._bounded(host, optimal), counts, bounds, rows, self._least_rows(bounds, rows))
            self.ctx.federation.send(host, "chosen", [ends for ends, _ in joins])
            counts = [found for _, found in joins]
        factor = self.parameters.adjustment_factor
        return {
            str(column.place): {
                "bins": len(found),
                "missing": column.missing,
                "category": column.category,
                **woe.of_classes(found, classes, factor),
            }
            for column, found in zip(columns, counts, strict=True)
        }

    def _bounded(self, host: Party, asked: dict[str, Any]) -> dict[str, Any]:
        """How optimal binning goes on for a host: as it asks, within the guest's own parameters."""
        done = bounded(asked, self.parameters)
        told = f"{host} asked for optimal binning with {_said(asked)}"
        other = {name: value for name, value in done.items() if value != asked[name]}
        self.ctx.log(f"{told}; done with {_said(other)}, as this party's own parameters allow" if other else told)
        return done

    def _least_rows(self, bounds: Sequence[int | None], rows: int) -> list[int]:
        """Rows of a host's bins to begin with, at least, for each column: no more bins than the guest's own.

        :param bounds: as in :meth:`_joins`
        """
        most = self.parameters.optimal_binning_param.init_bin_nums
        return [max(LEAST_ROWS, -(-rows // most)) if bound and bound > most else LEAST_ROWS for bound in bounds]

    def _joins(
        self,
        optimal: dict[str, Any],
        counts: Sequence[np.ndarray],
        bounds: Sequence[int | None],
        rows: int,
        least: Sequence[int] | None = None,
    ) -> list[tuple[list[int] | None, np.ndarray]]:
        """Optimal bins of each column, as :func:`joined` gives them.

        :param bounds: bins that are not of missing values, ``None`` for categories, which stay as they are
        :param least: rows of a bin to begin with, of each column
        """
        how = optimal_of(optimal, rows, self.parameters.adjustment_factor)
        columns = list(zip(counts, bounds, least or [1] * len(counts), strict=True))
        tasks = [(columns[start : start + FEW_COLUMNS], how) for start in range(0, len(columns), FEW_COLUMNS)]
        return [found for part in self.ctx.engine.run(_join, tasks) for found in part]

    def _two_classes(self, parameter: str, classes: int) -> NoReturn:
        how = "optimal" if parameter.startswith("method") else "woe"
        raise ConfigError(
            f"{self.ctx.name}.{parameter}", f"{how} takes labels of two classes, as in FATE; here are {classes}"
        )

    def _classes(self, rows: Rows) -> tuple[list[int | float], np.ndarray]:
        """The labels, descending, and how many rows have each."""
        name = rows.schema.label_name
        if name is None:
            raise DataError(
                f"{self.ctx.name}: the guest's input has no label, so there is nothing to compute weights of evidence "
                "and information values of; name the label in DataIO or DataTransform, or set skip_static to true"
            )
        found: dict[float, int] = {}
        for labels, counts in rows.map(_labels):
            for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
                found[label] = found.get(label, 0) + count
        if not np.isfinite(list(found)).all():
            raise DataError(f"{self.ctx.name}: the label column {name!r} has missing or infinite values")
        labels = sorted(found, reverse=True)
        otherwise = ". For a label that is a number to predict set skip_static to true"
        classes = classes_of(self.ctx.name, name, labels, otherwise)
        return list(classes), np.array([found[label] for label in labels])

    # -- both ----------------------------------------------------------------------------------------------------

    def _outputs(
        self,
        rows: Rows,
        own: Own,
        columns: Sequence[Binned],
        classes: list[int | float] | None = None,
        counts: Sequence[np.ndarray] = (),
    ) -> Outputs:
        """The model and the rows that follow from it.

        :param classes: the labels, at the guest where their counts in each column are known
        """
        p, features = self.parameters, rows.schema.features
        described = {}
        for at, column in enumerate(columns):
            described[features[column.place]] = {
                "split_points": column.points.tolist(),
                "bins": column.bins,
                "missing": column.missing,
                "category": column.category,
            }
            if classes is not None:
                described[features[column.place]] |= woe.of_classes(counts[at], classes, p.adjustment_factor)
        kind = p.transform_param.transform_type
        meta = {
            "format": FORMAT,
            "module": self.module,
            "features": list(features),
            "method": "given" if p.given_points else p.method,
            "classes": classes,
            "adjustment_factor": p.adjustment_factor,
            "transform": {"type": kind, "columns": own.replaced(rows.schema, columns)},
            "columns": described,
        }
        self.ctx.log(f"{len(columns)} of {len(features)} columns in {sum(c.bins for c in columns)} bins")
        return Outputs(
            data={"data": self._replaced(rows, meta)}, model=Model(meta), summary={"columns": len(columns)}
        )

    def _replaced(self, rows: Rows, meta: dict[str, Any]) -> Rows:
        """Rows with what their bins have in place of values."""
        kind, names = meta["transform"]["type"], meta["transform"]["columns"]
        if kind == "woe" and self.ctx.party.role == "host":
            self.ctx.log("the host's rows stay as they are: weights of evidence are known to the guest only")
            return rows
        if kind is None or not names:
            return rows
        places = found_columns(rows.schema, names, self.ctx.name, self.ctx.party)
        columns = [meta["columns"][name] for name in names]
        points = [np.array(column["split_points"], float) for column in columns]
        if kind == "bin_num":
            values = [np.arange(len(bounds) + 1.0) for bounds in points]
        else:
            values = [np.array(column["woe"]) for column in columns]
            self._known(rows, places, columns)
        return rows.transform(Replace(tuple(places), tuple(points), tuple(values)), rows.schema)

    def _known(self, rows: Rows, places: Sequence[int], columns: Sequence[dict[str, Any]]) -> None:
        """See that each value has a weight of evidence."""
        missing = Extent.of(rows, places).missing
        if bad := [
            rows.schema.features[place]
            for place, column, count in zip(places, columns, missing, strict=True)
            if count and not column["missing"]
        ]:
            raise DataError(
                f"{self.ctx.name}: {shown(bad)} of {self.ctx.party}'s input has missing values, and had none when the "
                "bins were fitted, so these have no weight of evidence; fill them first, e.g. with DataTransform's "
                "missing_fill"
            )


def _said(how: dict[str, Any]) -> str:
    """Parameters of optimal binning, for the log."""
    words = {"metric": "metric {}", "bins": "at most {} bins", "least": "at least {:.4g} of the rows in a bin"}
    words |= {"most": "at most {:.4g} of the rows in a bin", "mixture": "mixture {}"}
    return ", ".join(words[name].format(value) for name, value in how.items())


def _summary(meta: dict[str, Any]) -> dict[str, Any]:
    """Information values, the largest first, under FATE's names for the columns of hosts."""
    named = dict(meta["columns"])
    for host, columns in meta.get("hosts", {}).items():
        named |= {f"{host.replace('-', '_')}_{place}": column for place, column in columns.items()}
    many = len(meta["classes"]) > 2
    labels = meta["classes"] if many else [meta["classes"][0]]
    found: dict[str, Any] = {}
    for at, label in enumerate(labels):
        ivs = [(name, (column["classes"][at] if many else column)["iv"]) for name, column in named.items()]
        found[str(label)] = {"iv": [list(pair) for pair in sorted(ivs, key=lambda pair: -pair[1])[:SHOWN]]}
    return {"columns": len(named), "result": found if many else found[str(labels[0])]}


# -- what runs on the executors ------------------------------------------------------------------------------------


def _labels(block: Block, _: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels and their counts; of too many, some."""
    labels, counts = np.unique(block.y, return_counts=True)
    return labels[: MOST_CLASSES + 2], counts[: MOST_CLASSES + 2]


def _join(
    task: tuple[list[tuple[np.ndarray, int | None, int]], Optimal],
) -> list[tuple[list[int] | None, np.ndarray]]:
    columns, how = task
    return [
        (None, counts) if bounds is None else joined(counts, bounds, how, least) for counts, bounds, least in columns
    ]
