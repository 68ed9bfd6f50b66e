"""The bins of a party's columns before any label is looked at: their upper bounds, in the ways that FATE has.

A value lies in the first bin whose bound it does not exceed, and in the last one where it exceeds all; a missing value
lies in a bin of its own, the one after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.runtime.components.binning.quantiles import places
from airflow_provider_fate.runtime.data import Block, Rows

#: more distinct values than this are no categories
MOST_CATEGORIES = 10_000


@dataclass(frozen=True)
class Extent:
    """Of some columns over all rows, shape (columns,) each; least and most of the values that are there."""

    least: np.ndarray
    most: np.ndarray
    missing: np.ndarray
    infinite: np.ndarray

    @classmethod
    def of(cls, rows: Rows, columns: Sequence[int]) -> Extent:
        parts = rows.map(_Measure(tuple(columns)))
        return cls(
            np.min([part.least for part in parts], axis=0),
            np.max([part.most for part in parts], axis=0),
            np.sum([part.missing for part in parts], axis=0),
            np.sum([part.infinite for part in parts], axis=0),
        )


def bucket(leasts: np.ndarray, mosts: np.ndarray, bins: int) -> list[np.ndarray]:
    """Bins of the same width between the least and the largest value of each column."""
    found = []
    for least, most in zip(leasts, mosts, strict=True):
        if least > most:  # no value at all
            found.append(np.empty(0))
            continue
        inner = least + np.arange(1, bins) * ((most - least) / bins)
        found.append(np.append(np.unique(inner[inner < most]), most))
    return found


def categories(rows: Rows, columns: Sequence[int], name: str) -> list[np.ndarray]:
    """Each distinct value is a bin.

    :param name: the component's, for the error
    :raises DataError: a column has more than :data:`MOST_CATEGORIES`
    """
    if not columns:
        return []
    found: list[np.ndarray] = []
    for column, parts in zip(columns, zip(*rows.map(_Distinct(tuple(columns))), strict=True), strict=True):
        values = np.unique(np.concatenate(parts)) + 0.0
        if len(values) > MOST_CATEGORIES:
            raise DataError(
                f"{name}: column {rows.schema.features[column]} has more than {MOST_CATEGORIES} distinct values, too "
                "many to be categories; take it out of category_indexes and category_names"
            )
        found.append(values)
    return found


def class_counts(
    rows: Rows, columns: Sequence[int], points: Sequence[np.ndarray], labels: Sequence[float]
) -> list[np.ndarray]:
    """How many rows of each class are in each bin.

    :return: of each column whole numbers of shape (bins + 1, classes); the last bin is that of missing values
    """
    parts = rows.map(_Count(tuple(columns), tuple(points), tuple(labels)))
    return [np.sum(column, axis=0) for column in zip(*parts, strict=True)]


# -- what runs on the executors ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measure:
    columns: tuple[int, ...]

    def __call__(self, block: Block, _: Any) -> Extent:
        least, most, missing, infinite = (np.zeros(len(self.columns)) for _ in range(4))
        for at, column in enumerate(self.columns):
            values = block.x[:, column]
            values = values[~np.isnan(values)]
            missing[at] = len(block.x) - len(values)
            infinite[at] = np.isinf(values).sum()
            least[at], most[at] = values.min(initial=np.inf), values.max(initial=-np.inf)
        return Extent(least, most, missing, infinite)


@dataclass(frozen=True)
class _Distinct:
    columns: tuple[int, ...]

    def __call__(self, block: Block, _: Any) -> list[np.ndarray]:
        found = []
        for column in self.columns:
            values = np.unique(block.x[:, column])
            found.append(values[~np.isnan(values)][: MOST_CATEGORIES + 1])
        return found


@dataclass(frozen=True)
class _Count:
    columns: tuple[int, ...]
    points: tuple[np.ndarray, ...]
    labels: tuple[float, ...]

    def __call__(self, block: Block, _: Any) -> list[np.ndarray]:
        ascending = np.sort(self.labels)
        classes = np.argsort(self.labels)[np.searchsorted(ascending, block.y)]
        found = []
        for column, points in zip(self.columns, self.points, strict=True):
            bins = places(block.x[:, [column]], [points])[:, 0].astype(np.int64)
            shape = (len(points) + 1, len(self.labels))
            found.append(np.bincount(bins * shape[1] + classes, minlength=shape[0] * shape[1]).reshape(shape))
        return found


@dataclass(frozen=True)
class Replace:
    """Puts in place of each value what its bin has.

    :param values: of each column one number a bin, shape (bins + 1,) where missing values have one too
    """

    columns: tuple[int, ...]
    points: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    def __call__(self, block: Block, _: Any) -> Block:
        x = block.x.copy()
        for column, points, values in zip(self.columns, self.points, self.values, strict=True):
            x[:, column] = values[places(block.x[:, [column]], [points])[:, 0]]
        return Block(block.ids, x, block.y)
