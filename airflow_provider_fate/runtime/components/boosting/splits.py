"""Which split of a node is best: gains and leaf weights as in XGBoost (Chen and Guestrin 2016, sections 2.2, 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sums:
    """Of the rows of a node that are in the tree's sample.

    :param g: sum of first derivatives
    :param h: sum of second derivatives
    :param count: number of rows
    """

    g: float
    h: float
    count: int

    def minus(self, part: Sums) -> Sums:
        return Sums(self.g - part.g, self.h - part.h, self.count - part.count)


@dataclass(frozen=True)
class SplitRule:
    """FATE's ``tree_param``: what a split is worth, and which ones are allowed.

    :param l2: added to the sum of second derivatives
    :param l1: taken off the absolute sum of first derivatives
    :param min_impurity_split: gains up to this are none
    :param min_sample_split: rows that a node needs to be split
    :param min_leaf_node: rows that each side needs
    :param min_child_weight: sum of second derivatives that each side needs
    """

    l2: float = 0.1
    l1: float = 0.0
    min_impurity_split: float = 1e-3
    min_sample_split: int = 2
    min_leaf_node: int = 1
    min_child_weight: float = 0.0

    @property
    def smallest(self) -> int:
        """Rows that each side of a split has at least."""
        return max(1, self.min_leaf_node)

    def weight(self, sums: Sums) -> float:
        """The value of a leaf."""
        below = sums.h + self.l2
        return -float(self._shrunk(np.float64(sums.g)) / below) if below > 0 else 0.0

    def can_split(self, sums: Sums) -> bool:
        return sums.count >= max(self.min_sample_split, 2 * self.smallest)

    def gains(self, total: Sums, g: np.ndarray, h: np.ndarray, count: np.ndarray) -> np.ndarray:
        """The gain of each split of one node.

        :param total: of the node
        :param g: of the left side of each split, any shape; likewise ``h`` and ``count``
        :return: of the same shape; -inf for a split that is not allowed
        """
        right_h, right_count = total.h - h, total.count - count
        gain = self._score(g, h) + self._score(total.g - g, right_h) - self._score(np.float64(total.g), total.h)
        allowed = (
            (np.minimum(count, right_count) >= self.smallest)
            & (np.minimum(h, right_h) >= self.min_child_weight)
            & (gain > self.min_impurity_split)
        )
        return np.where(allowed, gain, -np.inf)

    def _score(self, g: np.ndarray, h: np.ndarray | float) -> np.ndarray:
        below = np.asarray(h + self.l2)
        return np.divide(self._shrunk(g) ** 2, below, out=np.zeros(np.shape(g)), where=below > 0)

    def _shrunk(self, g: np.ndarray) -> np.ndarray:
        return np.sign(g) * np.maximum(np.abs(g) - self.l1, 0.0)


@dataclass(frozen=True)
class Histogram:
    """Of one node, over the binned columns of a party.

    :param count: rows in each bin, int64 of shape (columns, width); a column's own bins come first, then its missing
        values where there are any
    :param g: sums of first derivatives, float64 of the same shape
    :param h: sums of second derivatives
    """

    count: np.ndarray
    g: np.ndarray
    h: np.ndarray


@dataclass(frozen=True)
class Candidate:
    """A split in the party that has the column.

    :param column: which of the tree's columns
    :param bin: the last bin of the left side
    :param missing_left: whether missing values go left
    """

    column: int
    bin: int
    missing_left: bool


def candidates(count: np.ndarray, bins: Sequence[int], smallest: int) -> tuple[list[Candidate], np.ndarray]:
    """The distinct splits of a node, in the order that decides between equal gains: by column, then bin, then missing
    values right before left.

    A bin without rows of the node gives no split of its own, and missing values take sides only where a row of the
    node has one.

    :param count: rows of the node in each bin, int64 of shape (columns, width)
    :param bins: of each column how many bins there are, without the one of missing values, which follows them
    :param smallest: rows that each side needs
    :return: and the rows of the left side of each, int64
    """
    found: list[Candidate] = []
    lefts = [np.empty(0, np.int64)]
    for column, number in enumerate(bins):
        missing = int(count[column, number]) if number < count.shape[1] else 0
        left = np.cumsum(count[column, :number])
        places = np.flatnonzero(count[column, :number])
        total = int(left[-1]) + missing if number else 0
        # of each bin, missing values on the right and on the left
        sizes = left[places][:, None] + np.array([0, missing] if missing else [0])
        allowed = (smallest <= sizes) & (sizes <= total - smallest)
        found += [Candidate(column, int(places[row]), bool(side)) for row, side in np.argwhere(allowed).tolist()]
        lefts.append(sizes[allowed])
    return found, np.concatenate(lefts)


def best_own(
    histogram: Histogram, bins: Sequence[int], total: Sums, rule: SplitRule
) -> tuple[float, Candidate, Sums] | None:
    """The best split by a party's own columns: gain, split and left side; ``None`` where none is allowed."""
    found, left = candidates(histogram.count, bins, rule.smallest)
    if not found:
        return None
    column = np.array([one.column for one in found])
    place = np.array([one.bin for one in found])
    # rows of other columns have bins beyond their own number, which are zero
    missing = np.where([one.missing_left for one in found], np.asarray(bins)[column], -1)
    sides = []
    for values in (histogram.g, histogram.h):
        padded = np.hstack([values, np.zeros((len(values), 1))])
        sides.append(np.cumsum(values, axis=1)[column, place] + padded[column, missing])
    gains = rule.gains(total, *sides, left)
    best = int(np.argmax(gains))
    if gains[best] == -np.inf:
        return None
    return float(gains[best]), found[best], Sums(float(sides[0][best]), float(sides[1][best]), int(left[best]))
