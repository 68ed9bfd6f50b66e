"""Whether all parties hold the same rows in the same order, and what the driver needs to know of a party's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.data import Block, Rows
from airflow_provider_fate.runtime.federation.checks import Bytes, DictOf, Integer, ListOf

MOST_PARTITIONS = 1_000_000
MOST_ROWS = 1 << 40

ROWS = DictOf({"counts": ListOf(Integer(0, MOST_ROWS), max_length=MOST_PARTITIONS), "ids": Bytes(length=32)})


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
        return cls(hashlib.sha256(b"".join(part[0] for part in found)).digest(), missing, infinite)


def as_sent(rows: Rows, measured: Measured) -> dict[str, Any]:
    """What a host says of its rows."""
    return {"counts": list(rows.counts), "ids": measured.ids}


def same_rows(name: str, host: Party, said: dict[str, Any], rows: Rows, measured: Measured, data: str) -> None:
    """:raises DataError: a host has other rows than the guest, or in another order or other partitions"""
    if said != as_sent(rows, measured):
        raise DataError(
            f"{name}: {data} has {sum(said['counts'])} rows at {host} and {rows.count} at the guest, and not the same "
            "ids in the same order; let it come from an Intersection"
        )


def _measure(block: Block, _: Any) -> tuple[bytes, np.ndarray, np.ndarray]:
    lengths = np.asarray(pc.binary_length(block.ids)).astype("<i4")
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(block)], pa.int32()), block.ids), "")
    digest = hashlib.sha256(lengths.tobytes())
    digest.update(joined[0].as_buffer())
    return digest.digest(), np.isnan(block.x).any(axis=0), np.isinf(block.x).any(axis=0)
