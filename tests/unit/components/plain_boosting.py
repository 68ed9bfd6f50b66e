"""Gradient-boosted trees in the clear on the joined columns, in plain NumPy, one node after the other.

Nothing is shared with the component but the objectives' derivatives where a test asks for them and the rules that make
a result unique: derivatives are rounded to ``bits`` bits of the largest one, candidate thresholds are the quantiles of
a column, and of equal gains the first column, the lowest bin and missing values to the right count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: of the component, for classes and for a regression
BITS = {"classification": 20, "regression": 28}


@dataclass
class Settings:
    """The tree's parameters, by FATE's names."""

    l2: float = 0.1
    l1: float = 0.0
    max_depth: int = 3
    min_sample_split: int = 2
    min_impurity_split: float = 1e-3
    min_leaf_node: int = 1
    min_child_weight: float = 0.0
    bins: int = 32
    task: str = "classification"


@dataclass
class Grown:
    """A tree: nodes by id, and the weight of the leaf of each row."""

    nodes: dict[int, dict[str, Any]] = field(default_factory=dict)
    weights: np.ndarray = field(default_factory=lambda: np.empty(0))


def thresholds(values: np.ndarray, bins: int) -> np.ndarray:
    """The distinct values of the column at the quantiles 1/bins, 2/bins, ..., 1."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return known
    return np.unique([known[-(-len(known) * i // bins) - 1] for i in range(1, bins + 1)])


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    largest = np.abs(values).max()
    if not largest:
        return values
    scale = 2.0 ** (bits - np.frexp(largest)[1])
    return np.rint(values * scale) / scale


def grow(
    x: np.ndarray,
    g: np.ndarray,
    h: np.ndarray,
    settings: Settings,
    columns: Sequence[Sequence[int]],
    sampled: np.ndarray | None = None,
) -> Grown:
    """One tree.

    :param columns: of each level, which columns may split
    :param sampled: bool, which rows count
    """
    sampled = np.ones(len(x), bool) if sampled is None else sampled
    points = [thresholds(x[:, column], settings.bins) for column in range(x.shape[1])]
    g, h = g.copy(), h.copy()
    g[sampled], h[sampled] = (rounded(values[sampled], BITS[settings.task]) for values in (g, h))
    tree = Grown(weights=np.zeros(len(x)))
    level = [(0, np.arange(len(x)))]
    count = 1
    for depth in range(len(columns) + 1):
        after = []
        for number, rows in level:
            inside = rows[sampled[rows]]
            total_g, total_h = g[inside].sum(), h[inside].sum()
            tree.nodes[number] = {"id": number, "rows": len(inside), "weight": weight(total_g, total_h, settings)}
            best = None
            if depth < len(columns) and len(inside) >= max(settings.min_sample_split, 2):
                best = best_split(x, g, h, inside, points, settings, columns[depth])
            if best is None:
                tree.weights[rows] = tree.nodes[number]["weight"]
                continue
            gain, column, bin_, missing_left = best
            left = goes_left(x[rows, column], points[column], bin_, missing_left)
            tree.nodes[number] |= {
                "column": column,
                "threshold": None if bin_ == len(points[column]) - 1 else float(points[column][bin_]),
                "missing": "left" if missing_left else "right",
                "gain": gain,
                "left": count,
                "right": count + 1,
            }
            after += [(count, rows[left]), (count + 1, rows[~left])]
            count += 2
        level = after
    return tree


def goes_left(values: np.ndarray, points: np.ndarray, bin_: int, missing_left: bool) -> np.ndarray:
    below = np.ones(len(values), bool) if bin_ == len(points) - 1 else values <= points[bin_]
    return np.where(np.isnan(values), missing_left, below)


def best_split(
    x: np.ndarray,
    g: np.ndarray,
    h: np.ndarray,
    rows: np.ndarray,
    points: list[np.ndarray],
    settings: Settings,
    columns: Sequence[int],
) -> tuple[float, int, int, bool] | None:
    best, best_gain = None, settings.min_impurity_split
    whole = score(g[rows].sum(), h[rows].sum(), settings)
    for column in columns:
        values = x[rows, column]
        missing = np.isnan(values)
        place = np.searchsorted(points[column], values)
        for bin_ in range(len(points[column])):
            if not (place[~missing] == bin_).any():
                continue  # the same rows as of the bin before
            for missing_left in (False, True) if missing.any() else (False,):
                left = goes_left(values, points[column], bin_, missing_left)
                sizes = left.sum(), (~left).sum()
                lg, lh = g[rows[left]].sum(), h[rows[left]].sum()
                rg, rh = g[rows[~left]].sum(), h[rows[~left]].sum()
                if min(sizes) < max(1, settings.min_leaf_node) or min(lh, rh) < settings.min_child_weight:
                    continue
                gain = score(lg, lh, settings) + score(rg, rh, settings) - whole
                if gain > best_gain:
                    best, best_gain = (float(gain), column, bin_, missing_left), gain
    return best


def shrunk(g: float, settings: Settings) -> float:
    return np.sign(g) * max(abs(g) - settings.l1, 0.0)


def score(g: float, h: float, settings: Settings) -> float:
    return shrunk(g, settings) ** 2 / (h + settings.l2)


def weight(g: float, h: float, settings: Settings) -> float:
    return -shrunk(g, settings) / (h + settings.l2)


def boost(
    x: np.ndarray,
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
    rounds: int,
    settings: Settings,
    columns: Callable[[int, int], Sequence[Sequence[int]]],
    learning_rate: float = 0.3,
    sample: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]] | None = None,
) -> tuple[list[Grown], np.ndarray]:
    """All trees, and the scores after the last one.

    :param derivatives: first and second ones of scores, all of shape (rows, classes)
    :param start: scores before the first tree
    :param columns: of a round and class, as :func:`grow` takes them
    :param sample: which rows are in a round's trees, and what their derivatives are multiplied by
    """
    scores = start.copy()
    trees = []
    for round_ in range(rounds):
        g, h = derivatives(scores)
        sampled, factor = (None, np.ones(len(x))) if sample is None else sample(g, round_)
        for class_ in range(scores.shape[1]):
            tree = grow(x, g[:, class_] * factor, h[:, class_] * factor, settings, columns(round_, class_), sampled)
            scores[:, class_] += learning_rate * tree.weights
            trees.append(tree)
    return trees, scores
