"""The bins of a party's own columns, as the parameters ask for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.hetero_feature_binning import HeteroFeatureBinningParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.binning import points
from airflow_provider_fate.runtime.components.binning.optimal import Optimal
from airflow_provider_fate.runtime.components.binning.quantiles import split_points
from airflow_provider_fate.runtime.components.columns import chosen, shown
from airflow_provider_fate.runtime.data import Rows, Schema


@dataclass(frozen=True)
class Binned:
    """A column's bins.

    :param place: among the columns of the input
    :param points: upper bounds, ascending
    :param missing: whether values are missing, so that there is one more bin
    :param category: whether each value is a bin
    """

    place: int
    points: np.ndarray
    missing: bool
    category: bool

    @property
    def bins(self) -> int:
        """How many there are, that of missing values among them; a column without values has that one only."""
        return len(self.points) + self.missing

    def joined(self, ends: Sequence[int]) -> Binned:
        """With bins put together. :param ends: the last ones of the bins that each new one is made of, ascending"""
        return replace(self, points=self.points[list(ends)])


@dataclass(frozen=True)
class Own:
    """The bins of a party's columns.

    :param name: the component's, for errors
    """

    name: str
    party: Party
    parameters: HeteroFeatureBinningParam
    log: Callable[[str], None]

    def columns(self, rows: Rows) -> list[Binned]:
        """All columns that are binned, by place; with the method optimal, the bins to begin with.

        :raises ConfigError: there is no column at a place, or split points are not those of the columns
        :raises DataError: a value is infinite, or a column has too many categories
        """
        p, features = self.parameters, rows.schema.features
        category = self._places(rows.schema, "category")
        plain = [place for place in self._places(rows.schema, "bin") if place not in category]
        places = sorted([*plain, *category])
        extent = points.Extent.of(rows, places)
        if bad := [features[place] for place, count in zip(places, extent.infinite, strict=True) if count]:
            raise DataError(f"{self.name}: {shown(bad)} of {self.party}'s input holds infinity")
        bounds = dict(zip(category, points.categories(rows, category, self.name), strict=True))
        if p.given_points:
            bounds |= self._given(rows.schema, plain)
        else:
            optimal = p.optimal_binning_param
            several = p.method == "optimal"
            method, bins = (optimal.init_bucket_method, optimal.init_bin_nums) if several else (p.method, p.bin_num)
            if method == "quantile":
                found = split_points(rows, plain, bins)
            else:
                at = [places.index(place) for place in plain]
                found = points.bucket(extent.least[at], extent.most[at], bins)
            bounds |= dict(zip(plain, found, strict=True))
        return [
            Binned(place, bounds[place], bool(missing), place in category)
            for place, missing in zip(places, extent.missing, strict=True)
        ]

    def replaced(self, schema: Schema, columns: Sequence[Binned]) -> list[str]:
        """Names of the columns that get other values.

        :raises ConfigError: there is no such column, or it is not binned
        """
        how = self.parameters.transform_param
        binned = [schema.features[column.place] for column in columns]
        if how.transform_type is None:
            return []
        if how.transform_cols == -1:
            return binned
        path = f"{self.name}.transform_param.transform_"
        if unknown := [name for name in how.transform_names or () if name not in schema.features]:
            raise ConfigError(f"{path}names", f"{self.party}'s input has no {shown(unknown)}")
        places = chosen(schema, how.transform_cols or [], how.transform_names or [], f"{path}cols", self.log)
        names = [schema.features[place] for place in places]
        if other := [name for name in names if name not in binned]:
            raise ConfigError(f"{path}cols", f"{shown(other)} of {self.party} cannot be replaced, as it is not binned")
        return names

    def _places(self, schema: Schema, kind: str) -> list[int]:
        indexes, names = getattr(self.parameters, f"{kind}_indexes"), getattr(self.parameters, f"{kind}_names")
        if indexes == -1:
            return list(range(len(schema.features)))
        return chosen(schema, indexes or [], names or [], f"{self.name}.{kind}_indexes", self.log)

    def _given(self, schema: Schema, plain: Sequence[int]) -> dict[int, np.ndarray]:
        """Split points by place. :raises ConfigError: they are not those of the binned columns"""
        p, features = self.parameters, schema.features
        found: dict[int, np.ndarray] = {}
        for key, values in (p.split_points_by_index or {}).items():
            if not key.isdecimal() or int(key) >= len(features):
                raise ConfigError(
                    f"{self.name}.split_points_by_index", f"{key!r} is not the place of one of {len(features)} columns"
                )
            found[int(key)] = np.unique(values)
        for name, values in (p.split_points_by_col_name or {}).items():
            path = f"{self.name}.split_points_by_col_name"
            if name not in features:
                raise ConfigError(path, f"{self.party}'s input has no column {name!r}")
            if features.index(name) in found:
                raise ConfigError(path, f"the split points of {name} stand in split_points_by_index as well")
            found[features.index(name)] = np.unique(values)
        if set(found) != set(plain):
            differ = [features[place] for place in sorted(set(found) ^ set(plain))]
            raise ConfigError(
                f"{self.name}.split_points_by_index",
                f"split points must be given for the columns that are binned and for no others; {shown(differ)} of "
                f"{self.party} differs",
            )
        return found

    @property
    def optimal(self) -> dict[str, Any] | None:
        """How optimal binning goes on, as it is told to the guest; ``None`` for other methods."""
        p = self.parameters
        if p.method != "optimal" or p.given_points:
            return None
        how = p.optimal_binning_param
        return {
            "metric": how.metric_method,
            "bins": p.bin_num,
            "least": how.min_bin_pct,
            "most": how.max_bin_pct,
            "mixture": how.mixture,
        }


def bounded(asked: dict[str, Any], own: HeteroFeatureBinningParam) -> dict[str, Any]:
    """What a host asks for (:attr:`Own.optimal`), within what the guest's parameters allow.

    Which bins go together follows from the labels, so it is the guest that says how much of them they may show: with as
    many bins as rows, or bins of one class, a host could read the labels off.
    """
    allowed = own.optimal_binning_param
    return {
        **asked,
        "bins": min(asked["bins"], own.bin_num),
        "least": max(asked["least"], allowed.min_bin_pct),
        "most": max(asked["most"], allowed.max_bin_pct),
        "mixture": asked["mixture"] or allowed.mixture,
    }


#: rows of a host's bin at least, where what a host is told follows from the labels in it: a host could otherwise tell
#: those of single rows
LEAST_ROWS = 5


def coarse(rows: np.ndarray, least: int) -> list[int]:
    """The last ones of neighbours that have to stay together for each group to have at least so many rows.

    :param rows: of each bin
    """
    if least <= 1 or not len(rows):
        return list(range(len(rows)))
    ends, held = [], 0
    for place, count in enumerate(rows.tolist()):
        held += count
        if held >= least:
            ends.append(place)
            held = 0
    # what is left at the end goes with the group before
    return [*ends[:-1], len(rows) - 1]


def optimal_of(how: dict[str, Any], rows: int, adjustment: float) -> Optimal:
    """What :attr:`Own.optimal` says, for a number of rows."""
    least, most = math.ceil(how["least"] * rows), math.floor(how["most"] * rows)
    return Optimal(how["metric"], how["bins"], least, most, how["mixture"], adjustment)


def large(counts: np.ndarray, category: bool) -> np.ndarray | None:
    """Counts of bins in which those of fewer than :data:`LEAST_ROWS` rows are put together, with their neighbours or,
    of categories, with the smallest others; ``None`` where there are none. Bins without rows stay.

    :param counts: of each bin, shape (bins, classes)
    """
    rows = counts.sum(axis=1)
    if not ((rows > 0) & (rows < LEAST_ROWS)).any():
        return None
    order = np.argsort(rows, kind="stable") if category else np.arange(len(rows))
    order = order[rows[order] > 0]
    return np.vstack([_together(counts[order], coarse(rows[order], LEAST_ROWS)), counts[rows == 0]])


def joined(counts: np.ndarray, bounds: int, how: Optimal, least: int = 1) -> tuple[list[int], np.ndarray]:
    """The bins of a column put together by their labels.

    :param counts: events and others of each bin, shape (bins, 2); a bin of missing values, the last, stays as it is
    :param bounds: bins that are not of missing values
    :param least: rows of a bin at least before labels count; neighbours with fewer are put together whatever their
        labels are
    :return: the last ones of the bins that each new one is made of, and the counts of the new bins
    """
    first = coarse(counts[:bounds].sum(axis=1), least)
    counts = np.vstack([_together(counts[:bounds], first), counts[bounds:]])
    ends = how.ends(counts[: len(first)], counts.sum(axis=0))
    together = _together(counts[: len(first)], ends)
    return [first[end] for end in ends], np.vstack([together, counts[len(first) :]])


def _together(counts: np.ndarray, ends: Sequence[int]) -> np.ndarray:
    """:param ends: the last ones of the bins that are added up"""
    return np.add.reduceat(counts, [0, *(end + 1 for end in ends[:-1])], axis=0) if ends else counts[:0]
