"""What DataTransform does where the rows are: columns into their places, missing values and outliers replaced."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_fate.runtime.data import Block

#: place of the table's label column, beside the places of its features
LABEL = -1


@dataclass(frozen=True)
class Layout:
    """Where the columns of the result come from: places in ``Block.x``, or :data:`LABEL`."""

    features: tuple[int, ...]
    label: int | None

    def __call__(self, block: Block, _: Any = None) -> Block:
        width = block.x.shape[1]
        if self.features == tuple(range(width)):
            x = block.x
        else:
            x = np.empty((len(block), len(self.features)))
            for to, source in enumerate(self.features):
                x[:, to] = self._column(block, source)
        return Block(block.ids, x, None if self.label is None else self._column(block, self.label))

    @staticmethod
    def _column(block: Block, source: int) -> np.ndarray:
        if source != LABEL:
            return np.ascontiguousarray(block.x[:, source])
        if block.y is None:
            raise ValueError("a partition has no labels though its schema names some")
        return block.y


@dataclass(frozen=True)
class Repair:
    """Values to replace, and by what.

    :param values: the numbers to replace
    :param by: one replacement per feature, or ``None`` to leave them
    """

    values: tuple[float, ...] = ()
    by: tuple[float, ...] | None = None


@dataclass
class Measures:
    """What one pass over the rows finds, per column of the result (arrays of shape (features,)).

    ``least``, ``most`` and ``usable`` concern values that are neither missing nor outliers.
    """

    least: np.ndarray
    most: np.ndarray
    usable: np.ndarray
    missing: np.ndarray
    infinite: np.ndarray
    fractional: np.ndarray
    labels_missing: int = 0
    labels_fractional: int = 0

    @staticmethod
    def together(parts: Sequence[Measures], features: int) -> Measures:
        def reduce(name: str, function: Any, start: float) -> np.ndarray:
            return function([np.full(features, start), *(getattr(part, name) for part in parts)], axis=0)

        return Measures(
            least=reduce("least", np.min, math.inf),
            most=reduce("most", np.max, -math.inf),
            usable=reduce("usable", np.sum, 0),
            missing=reduce("missing", np.sum, 0),
            infinite=reduce("infinite", np.sum, 0),
            fractional=reduce("fractional", np.sum, 0),
            labels_missing=sum(part.labels_missing for part in parts),
            labels_fractional=sum(part.labels_fractional for part in parts),
        )


def _among(x: np.ndarray, values: Sequence[float]) -> np.ndarray:
    """Where ``x`` equals one of ``values``; NaN equals NaN."""
    found = np.isnan(x) if any(map(math.isnan, values)) else np.zeros(x.shape, bool)
    for value in values:
        if not math.isnan(value):
            found |= x == value
    return found


def measure(
    layout: Layout, missing_values: Sequence[float], outlier_values: Sequence[float], block: Block, _: Any
) -> Measures:
    block = layout(block)
    x = block.x
    missing = _among(x, (math.nan, *missing_values))
    left_out = missing | _among(x, outlier_values) if outlier_values else missing
    infinite = np.isinf(x) & ~left_out
    usable = ~(left_out | infinite)
    measures = Measures(
        np.min(x, axis=0, initial=math.inf, where=usable),
        np.max(x, axis=0, initial=-math.inf, where=usable),
        usable.sum(axis=0),
        missing.sum(axis=0),
        infinite.sum(axis=0),
        (usable & (np.floor(x) != x)).sum(axis=0),
    )
    if block.y is not None:
        finite = np.isfinite(block.y)
        measures.labels_missing = int((~finite).sum())
        measures.labels_fractional = int((finite & (np.floor(block.y) != block.y)).sum())
    return measures


def clean(layout: Layout, repairs: Sequence[Repair], block: Block, _: Any) -> Block:
    block = layout(block)
    x = block.x
    for repair in repairs:
        if repair.by is not None:
            x = np.where(_among(x, repair.values), np.array(repair.by), x)
    return Block(block.ids, np.ascontiguousarray(x), block.y)
