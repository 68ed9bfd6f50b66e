"""Trees whose nodes belong to several parties, and how each party stores its part.

The guest has the shape of every tree, the weights of the leaves and, of each inner node, whose column splits it. What
the column and its threshold are is known to the party that has it: the guest for its own nodes, each host for its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_fate.runtime.components.boosting.splits import Sums


@dataclass(frozen=True)
class Split:
    """A test on a party's own column.

    :param feature: the column's name
    :param threshold: values up to it go left; ``None`` where every value does and only missing ones go right
    :param missing_left: whether missing values go left
    """

    feature: str
    threshold: float | None
    missing_left: bool

    def json(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "missing": "left" if self.missing_left else "right",
        }

    @classmethod
    def of(cls, content: dict[str, Any]) -> Split:
        threshold = content["threshold"]
        threshold = None if threshold is None else float(threshold)
        return cls(str(content["feature"]), threshold, content["missing"] == "left")


@dataclass
class Node:
    """A node, at the guest.

    :param number: 0 for the root; children have larger numbers than their parent
    :param sums: of its rows
    :param weight: its value as a leaf
    :param party: whose column splits it, by role and id; ``None`` for a leaf
    :param split: the guest's own test
    """

    number: int
    sums: Sums
    weight: float
    party: str | None = None
    gain: float = 0.0
    left: int = -1
    right: int = -1
    split: Split | None = None

    def json(self) -> dict[str, Any]:
        if self.party is None:
            return {"id": self.number, "weight": self.weight, "rows": self.sums.count}
        content = {"id": self.number, "party": self.party, "left": self.left, "right": self.right}
        content |= {} if self.split is None else self.split.json()
        return content | {"gain": self.gain, "rows": self.sums.count, "weight": self.weight}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Node:
        """From what :meth:`json` gave; only the number of rows is left of the sums."""
        node = cls(int(content["id"]), Sums(0.0, 0.0, int(content["rows"])), float(content["weight"]))
        if "party" in content:
            node.party, node.gain = str(content["party"]), float(content["gain"])
            node.left, node.right = int(content["left"]), int(content["right"])
            node.split = Split.of(content) if "feature" in content else None
        return node


@dataclass
class Tree:
    """A tree at the guest.

    :param nodes: by number
    """

    nodes: list[Node] = field(default_factory=list)

    def json(self) -> list[dict[str, Any]]:
        return [node.json() for node in self.nodes]

    @classmethod
    def of(cls, content: Sequence[dict[str, Any]]) -> Tree:
        """:raises ValueError: the nodes are no tree"""
        nodes = [Node.of(one) for one in content]
        for place, node in enumerate(nodes):
            children = [] if node.party is None else [node.left, node.right]
            if node.number != place or any(not place < child < len(nodes) for child in children):
                raise ValueError(f"node {place} of a tree has a wrong number, or wrong children")
        if not nodes:
            raise ValueError("a tree has no nodes")
        return cls(nodes)


@dataclass
class HostTree:
    """A host's part of a tree.

    :param splits: its own tests, by the number of their node
    """

    splits: dict[int, Split] = field(default_factory=dict)

    def json(self) -> list[dict[str, Any]]:
        return [{"id": number, **split.json()} for number, split in sorted(self.splits.items())]

    @classmethod
    def of(cls, content: Sequence[dict[str, Any]]) -> HostTree:
        return cls({int(one["id"]): Split.of(one) for one in content})
