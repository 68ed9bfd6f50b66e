"""A party's columns as bin numbers, and the side of a split on which each row lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.runtime.components.binning.quantiles import places, split_points
from airflow_provider_fate.runtime.components.boosting.splits import Candidate
from airflow_provider_fate.runtime.components.boosting.tree import Split
from airflow_provider_fate.runtime.data import Block, Rows


@dataclass(frozen=True)
class Missing:
    """FATE's ``use_missing`` and ``zero_as_missing``."""

    used: bool = False
    zero: bool = False

    def marked(self, x: np.ndarray) -> np.ndarray:
        """Values with NaN for every missing one."""
        return np.where(x == 0.0, np.nan, x) if self.used and self.zero else x


class BinnedRows:
    """Rows whose blocks hold unsigned bin numbers in place of values, of shape (rows, columns); kept over all trees.

    :param points: of each column, the upper bounds of its bins
    :param with_missing: whether a column has missing values; they are in the bin after its own ones
    """

    def __init__(self, rows: Rows, missing: Missing, bins: int) -> None:
        """:param rows: checked for values that are not allowed (:func:`.alignment.measured`)"""
        self.schema = rows.schema
        marked = rows.transform(_mark, rows.schema, [missing] * rows.partitions) if missing.zero else rows
        self.points = split_points(marked, range(len(rows.schema.features)), bins)
        self.rows = marked.transform(_bin, rows.schema, [self.points] * rows.partitions).cache()
        found = self.rows.map(_has_missing, [self.points] * rows.partitions)
        self.with_missing = np.any(found, axis=0).reshape(len(self.points))

    @property
    def counts(self) -> list[int]:
        return self.rows.counts

    @property
    def bounds(self) -> np.ndarray:
        """Where each partition's rows begin and the last one's end, in the order of all rows."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def usable(self, columns: Sequence[int]) -> list[int]:
        """Those of some columns that can split anything."""
        return [column for column in columns if len(self.points[column]) + self.with_missing[column] > 1]

    def widths(self, columns: Sequence[int]) -> list[int]:
        """How many bins each column has, with the one of missing values."""
        return [len(self.points[column]) + int(self.with_missing[column]) for column in columns]

    def split(self, columns: Sequence[int], candidate: Candidate) -> Split:
        """A split as it is stored.

        :param columns: that the tree has, which the candidate's column counts in
        """
        column = columns[candidate.column]
        points = self.points[column]
        # above the last bin lie missing values only
        threshold = None if candidate.bin == len(points) - 1 else float(points[candidate.bin])
        return Split(self.schema.features[column], threshold, candidate.missing_left)

    def directions(self, node: np.ndarray, columns: Sequence[int], chosen: dict[int, Candidate]) -> np.ndarray:
        """Whether each row of some nodes goes left, bool of shape (rows in these nodes,), in the order of rows.

        :param node: of all rows, the number of the node that each is in
        :param chosen: the split of each of these nodes
        """
        tests = {
            number: (columns[one.column], one.bin, len(self.points[columns[one.column]]) if one.missing_left else -1)
            for number, one in chosen.items()
        }
        arguments = [Testing(part, tests) for part in self.parts(node)]
        return np.concatenate(self.rows.map(_directions, arguments))

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """An array of all rows, cut into those of each partition."""
        return np.split(values, self.bounds[1:-1])

    def close(self) -> None:
        self.rows.release()


@dataclass(frozen=True)
class Testing:
    """For the directions of one partition.

    :param node: of each row
    :param tests: of some nodes: column, last bin on the left, and the bin of missing values where they go left
    """

    node: np.ndarray
    tests: dict[int, tuple[int, int, int]]


def _mark(block: Block, missing: Missing) -> Block:
    return Block(block.ids, missing.marked(block.x), block.y)


def _bin(block: Block, points: Sequence[np.ndarray]) -> Block:
    # ids are of no use any more; columns in a row each, as they are read one by one
    return Block(pa.nulls(len(block)), np.asfortranarray(places(block.x, points)))


def _has_missing(block: Block, points: Sequence[np.ndarray]) -> np.ndarray:
    return (block.x == np.array([len(bounds) for bounds in points], np.int64)).any(axis=0)


def _directions(block: Block, testing: Testing) -> np.ndarray:
    left = np.zeros(len(block), bool)
    inside = np.zeros(len(block), bool)
    for number, (column, last, missing) in testing.tests.items():
        rows = np.flatnonzero(testing.node == number)
        codes = block.x[rows, column]
        left[rows] = (codes <= last) | (codes == missing)
        inside[rows] = True
    return left[inside]


def refuse_missing(name: str, features: Sequence[str], missing: np.ndarray, infinite: np.ndarray, used: bool) -> None:
    """:raises DataError: a column has infinite values, or missing ones that ``use_missing`` does not allow"""
    if infinite.any():
        raise DataError(f"{name}: column {features[int(np.argmax(infinite))]!r} has infinite values")
    if missing.any() and not used:
        raise DataError(
            f"{name}: column {features[int(np.argmax(missing))]!r} has missing values; set use_missing, or fill them "
            "with DataTransform's missing_fill"
        )
