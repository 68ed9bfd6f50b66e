"""What the driver needs to know of a party's own rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_fate.runtime.components.alignment import digest_of, together
from airflow_provider_fate.runtime.data import Block, Rows


@dataclass(frozen=True)
class Measured:
    """Of a party's rows.

    :param ids: digest of all ids in their order
    :param missing: whether a column has missing values, shape (columns,)
    :param infinite: whether a column has infinite values
    """

    ids: bytes
    missing: np.ndarray
    infinite: np.ndarray

    @classmethod
    def of(cls, rows: Rows) -> Measured:
        found = rows.map(_measure)
        width = len(rows.schema.features)
        missing, infinite = (np.any([part[place] for part in found], axis=0).reshape(width) for place in (1, 2))
        return cls(together([part[0] for part in found]), missing, infinite)


def _measure(block: Block, _: Any) -> tuple[bytes, np.ndarray, np.ndarray]:
    return digest_of(block), np.isnan(block.x).any(axis=0), np.isinf(block.x).any(axis=0)
