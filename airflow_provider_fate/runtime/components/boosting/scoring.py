"""Scores of rows by trees whose nodes belong to several parties.

Each host sends, for all nodes of its own in all the trees at once, which way every row would go there: one bit each.
The guest, which has the shape of the trees and the weights of the leaves, goes down with every row. So a host learns
nothing of the other parties' splits or of the rows' ways, and the guest learns a bit of each row for every node of a
host, on its way or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.boosting.binned import Missing
from airflow_provider_fate.runtime.components.boosting.objectives import Objective
from airflow_provider_fate.runtime.components.boosting.tree import HostTree, Split, Tree
from airflow_provider_fate.runtime.data import Block, Rows, Schema
from airflow_provider_fate.runtime.federation.checks import Array


@dataclass(frozen=True)
class Tests:
    """Splits of a party's own columns, as arrays over its nodes.

    :param column: places in ``Block.x``
    :param threshold: infinity where there is none
    :param missing_left: bool
    """

    column: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    missing: Missing

    @classmethod
    def of(cls, splits: Sequence[Split], features: Sequence[str], missing: Missing) -> Tests:
        """:param features: the columns of the rows, with all those of the splits"""
        places = {feature: place for place, feature in enumerate(features)}
        return cls(
            np.array([places[split.feature] for split in splits], np.int64),
            np.array([np.inf if split.threshold is None else split.threshold for split in splits]),
            np.array([split.missing_left for split in splits], bool),
            missing,
        )

    def bits(self, x: np.ndarray) -> np.ndarray:
        """Whether each row goes left at each node; uint8 of shape (nodes, bytes), eight rows a byte."""
        found = np.empty((len(self.column), -(-len(x) // 8)), np.uint8)
        for node, (column, threshold, left) in enumerate(
            zip(self.column, self.threshold, self.missing_left, strict=True)
        ):
            values = self.missing.marked(x[:, column])
            # comparisons with NaN are false
            found[node] = np.packbits((values <= threshold) | (np.isnan(values) & left))
        return found


@dataclass(frozen=True)
class Forest:
    """Trees of a guest, as arrays over the nodes of all of them.

    :param roots: of each tree, its first node
    :param class_: of each tree, the column of the scores that it adds to
    :param owner: of each node: -1 for a leaf, 0 for the guest, then the hosts in the order of the job
    :param place: of each inner node, its place among its owner's
    :param left: of each inner node, and ``right``, places of its children
    :param value: of each leaf, its weight times the learning rate
    """

    roots: np.ndarray
    class_: np.ndarray
    owner: np.ndarray
    place: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    own: Tests
    columns: int

    @classmethod
    def of(
        cls,
        trees: Sequence[tuple[int, Tree]],
        parties: Sequence[str],
        features: Sequence[str],
        missing: Missing,
        learning_rate: float,
        columns: int,
    ) -> Forest:
        """:param trees: each with its class; ``parties``: the guest, then the hosts"""
        owner, place, left, right, value, roots = [], [], [], [], [], []
        counts = [0] * len(parties)
        splits = []
        for _, tree in trees:
            start = len(owner)
            roots.append(start)
            for node in tree.nodes:
                which = -1 if node.party is None else parties.index(node.party)
                owner.append(which)
                place.append(0 if which < 0 else counts[which])
                if which >= 0:
                    counts[which] += 1
                left.append(start + node.left)
                right.append(start + node.right)
                value.append(node.weight * learning_rate if which < 0 else 0.0)
                if node.split is not None:
                    splits.append(node.split)
        whole = [np.array(one, np.int64) for one in (owner, place, left, right)]
        classes = np.array([class_ for class_, _ in trees], np.int64)
        return cls(
            np.array(roots, np.int64), classes, *whole, np.array(value), Tests.of(splits, features, missing), columns
        )

    def nodes(self, party: int) -> int:
        """How many nodes a party has."""
        return int((self.owner == party).sum())

    def scores(self, x: np.ndarray, bits: Sequence[np.ndarray]) -> np.ndarray:
        """Sums of the leaves of each row, float64 of shape (rows, columns).

        :param bits: of each host, as :meth:`Tests.bits` gives them
        """
        every = [self.own.bits(x), *bits]
        scores = np.zeros((len(x), self.columns))
        for root, class_ in zip(self.roots, self.class_, strict=True):
            at = np.full(len(x), root)
            rows = np.flatnonzero(self.owner[at] >= 0)
            while len(rows):
                here = at[rows]
                goes = np.empty(len(rows), bool)
                for party, packed in enumerate(every):
                    some = np.flatnonzero(self.owner[here] == party)
                    place = rows[some]
                    goes[some] = packed[self.place[here[some]], place >> 3] >> (7 - (place & 7)) & 1
                at[rows] = np.where(goes, self.left[here], self.right[here])
                rows = rows[self.owner[at[rows]] >= 0]
            scores[:, class_] += self.value[at]
        return scores


@dataclass(frozen=True)
class Scoring:
    """For the scores of one partition.

    :param bits: of each host
    :param start: what the scores begin with, shape (rows, columns), or one number
    :param objective: makes predictions of scores; ``None`` leaves them as they are
    """

    forest: Forest
    bits: list[np.ndarray]
    start: float | np.ndarray
    objective: Objective | None


def send_directions(ctx: Context, tag: str, rows: Rows, trees: Sequence[HostTree], missing: Missing) -> None:
    """A host's bits for all nodes of its own in some trees."""
    splits = [split for tree in trees for _, split in sorted(tree.splits.items())]
    tests = Tests.of(splits, rows.schema.features, missing)
    ctx.federation.send(ctx.federation.guest, tag, rows.map(_bits, [tests] * rows.partitions))


def receive_directions(ctx: Context, tag: str, rows: Rows, forest: Forest) -> list[list[np.ndarray]]:
    """Of each partition, the bits of each host."""
    found = []
    for number, host in enumerate(ctx.federation.hosts, 1):
        found.append(ctx.federation.receive(host, tag, _Directions(forest.nodes(number), tuple(rows.counts))))
    return [list(of_hosts) for of_hosts in zip(*found, strict=True)]


def scores_of(rows: Rows, forest: Forest, bits: Sequence[list[np.ndarray]]) -> np.ndarray:
    """Sums of the leaves of all rows, in the driver; shape (rows, columns)."""
    return np.concatenate(rows.map(_score, [Scoring(forest, part, 0.0, None) for part in bits]))


def predicted(
    rows: Rows, forest: Forest, bits: Sequence[list[np.ndarray]], start: float, objective: Objective, schema: Schema
) -> Rows:
    """Rows of predictions."""
    return rows.transform(_predict, schema, [Scoring(forest, part, start, objective) for part in bits])


def as_predictions(rows: Rows, scores: np.ndarray, objective: Objective, schema: Schema) -> Rows:
    """Rows of predictions from the scores of all rows."""
    parts = np.split(objective.predict(scores), np.cumsum(rows.counts)[:-1])
    return rows.transform(_replace, schema, parts)


@dataclass(frozen=True)
class _Directions:
    """A list of bits, an array a partition."""

    nodes: int
    counts: tuple[int, ...]

    def __call__(self, value: object) -> None:
        if not isinstance(value, list) or len(value) != len(self.counts):
            raise ValueError(f"expected a list of {len(self.counts)} partitions")
        for entry, count in zip(value, self.counts, strict=True):
            Array("uint8", (self.nodes, -(-count // 8)))(entry)


def guest_and_hosts(ctx: Context) -> list[str]:
    """Who can own a node, in the order of :class:`Forest`."""
    parties: list[Party] = [ctx.federation.guest, *ctx.federation.hosts]
    return [str(party) for party in parties]


def _bits(block: Block, tests: Tests) -> np.ndarray:
    return tests.bits(block.x)


def _score(block: Block, scoring: Scoring) -> np.ndarray:
    return scoring.start + scoring.forest.scores(block.x, scoring.bits)


def _predict(block: Block, scoring: Scoring) -> Block:
    scores = _score(block, scoring)
    return Block(block.ids, scores if scoring.objective is None else scoring.objective.predict(scores), block.y)


def _replace(block: Block, values: np.ndarray) -> Block:
    return Block(block.ids, values, block.y)
