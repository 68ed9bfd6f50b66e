"""What a party knows of its columns before it trains: how large they are, and that no value is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.runtime.components.alignment import together
from airflow_provider_fate.runtime.components.linear import tasks
from airflow_provider_fate.runtime.data import Rows


@dataclass(frozen=True)
class Extent:
    """Of a party's columns over all rows.

    :param largest: largest absolute value of each column
    :param sums: sum of absolute values of each column
    :param ids: digest of all ids in their order
    :param labels: distinct labels, ascending; the first 1001 or more of them
    :param largest_label: largest absolute value of a label, 0 without labels
    """

    largest: np.ndarray
    sums: np.ndarray
    ids: bytes
    labels: np.ndarray
    largest_label: float

    @classmethod
    def of(cls, name: str, rows: Rows) -> Extent:
        """Measure rows. :raises DataError: a value is missing or infinite."""
        found = rows.map(tasks.measure)
        largest = np.max([part.largest for part in found], axis=0)
        bad = np.flatnonzero(~np.isfinite(largest))
        if len(bad):
            raise DataError(
                f"{name}: column {rows.schema.features[bad[0]]!r} has missing or infinite values; fill them first, "
                "e.g. with DataTransform's missing_fill"
            )
        labels = np.unique(np.concatenate([part.labels for part in found]))
        largest_label = float(np.max([part.largest_label for part in found]))
        if rows.schema.label_name is not None and not math.isfinite(largest_label):
            raise DataError(f"{name}: the label column {rows.schema.label_name!r} has missing or infinite values")
        sums, ids = np.sum([part.sums for part in found], axis=0), together([part.ids for part in found])
        return cls(largest, sums, ids, labels, largest_label)
