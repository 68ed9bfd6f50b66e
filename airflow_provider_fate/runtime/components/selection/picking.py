"""Which columns stay, by their numbers or by what is listed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_fate.job.parameters.hetero_feature_selection import Condition, ManuallyFilterParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.data import Block, Rows

_ANONYMOUS = re.compile(r"(guest|host)_([^_]+)_x?([0-9]{1,9})")


def picked(values: Sequence[float], condition: Condition, thresholds: Sequence[float]) -> list[bool]:
    """Whether each column stays.

    :param values: of each column; NaN meets no condition
    :param thresholds: of each column, for the kind ``threshold``
    """
    if condition.kind == "threshold":
        sign = 1 if condition.high else -1
        return [sign * value >= sign * bound for value, bound in zip(values, thresholds, strict=True)]
    many = int(condition.bound) if condition.kind == "top_k" else math.ceil(condition.bound * len(values))
    chosen = set(_order(values, condition.high)[:many])
    return [at in chosen and not math.isnan(value) for at, value in enumerate(values)]


def at_least_one(keep: Sequence[bool], values: Sequence[float] | None, high: bool = True) -> list[bool]:
    """As ``keep``, or the best column where none is to stay, as in FATE.

    :param values: without them it is the first
    """
    if any(keep) or not keep:
        return list(keep)
    best = _order(values, high)[0] if values is not None else 0
    return [at == best for at in range(len(keep))]


def _order(values: Sequence[float], high: bool) -> list[int]:
    """Places of the values, the best one first; of equals the first, NaN last."""

    def rank(at: int) -> tuple[bool, float, int]:
        value = values[at]
        return math.isnan(value), 0.0 if math.isnan(value) else (-value if high else value), at

    return sorted(range(len(values)), key=rank)


@dataclass(frozen=True)
class Names:
    """A party's columns by what the parameters call them.

    :param features: of the input, in order
    :param anonymous: whether names are FATE's anonymous ones
    """

    party: Party
    features: Sequence[str]
    anonymous: bool

    def of(self, places: Sequence[int] | None, names: Sequence[str] | None) -> set[str]:
        """Those that are there, of the places and names given."""
        known = set(self.features)
        found = {self.features[place] for place in places or () if 0 <= place < len(self.features)}
        return found | ({self._plain(name) for name in names or ()} & known)

    def _plain(self, name: str) -> str | None:
        if not self.anonymous:
            return name
        match = _ANONYMOUS.fullmatch(name)
        if match is None or match.group(1, 2) != (self.party.role, self.party.party_id):
            return None
        place = int(match.group(3))
        return self.features[place] if place < len(self.features) else None


def manually(names: Names, columns: Sequence[str], given: ManuallyFilterParam) -> list[bool]:
    """Whether each column stays, as it is listed."""
    if given.leaves_out:
        out = names.of(given.filter_out_indexes, given.filter_out_names)
        return [column not in out for column in columns]
    if given.left_col_indexes is None and given.left_col_names is None:
        return [True] * len(columns)
    left = names.of(given.left_col_indexes, given.left_col_names)
    return [column in left for column in columns]


def largest_counts(rows: Rows, places: Sequence[int], share: float) -> list[int]:
    """Of each column the rows of its most frequent value, where they are more than ``share`` of all rows; 0 otherwise.

    Missing values do not count. A value that more than a share of all rows have, more than that share of some
    partition's rows have as well; so the partitions name their candidates first, and then count all of them.
    """
    named = rows.map(_Frequent(tuple(places), share))
    candidates = [np.unique(np.concatenate(parts)) for parts in zip(*named, strict=True)]
    counted = rows.map(_Count(tuple(places), tuple(candidates)))
    return [int(np.sum(parts, axis=0).max(initial=0)) for parts in zip(*counted, strict=True)]


# -- what runs on the executors ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frequent:
    places: tuple[int, ...]
    share: float

    def __call__(self, block: Block, _: Any) -> list[np.ndarray]:
        found = []
        for place in self.places:
            values, counts = np.unique(_rounded(block, place), return_counts=True)
            found.append(values[counts >= self.share * len(block)])
        return found


@dataclass(frozen=True)
class _Count:
    places: tuple[int, ...]
    values: tuple[np.ndarray, ...]

    def __call__(self, block: Block, _: Any) -> list[np.ndarray]:
        found = []
        for place, values in zip(self.places, self.values, strict=True):
            column = _rounded(block, place)
            found.append(np.array([np.count_nonzero(column == value) for value in values], np.int64))
        return found


def _rounded(block: Block, place: int) -> np.ndarray:
    # to 8 digits after the point, as FATE compares them
    values = np.round(block.x[:, place], 8)
    return values[~np.isnan(values)]


@dataclass(frozen=True)
class Take:
    """Some of the columns, in this order."""

    places: tuple[int, ...]

    def __call__(self, block: Block, _: Any) -> Block:
        return Block(block.ids, np.ascontiguousarray(block.x[:, list(self.places)]), block.y)
