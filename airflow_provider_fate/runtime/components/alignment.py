"""See that the parties hold the same rows in the same order, as an Intersection leaves them.

A host tells the guest how many rows its partitions have, and a digest of its ids in their order; both are what the
guest has as well, so it learns nothing more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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

#: what :func:`rows_value` gives
ROWS = DictOf({"counts": ListOf(Integer(0, MOST_ROWS), max_length=MOST_PARTITIONS), "ids": Bytes(length=32)})


def rows_value(rows: Rows, ids: bytes | None = None) -> dict[str, Any]:
    """What a party says of its rows: the counts of its partitions and a digest of its ids in their order.

    :param ids: that digest where it is known, as of :func:`together`
    """
    return {"counts": list(rows.counts), "ids": together(rows.map(_digest)) if ids is None else ids}


def together(parts: Sequence[bytes]) -> bytes:
    """The digest of all ids, of those of the partitions."""
    return hashlib.sha256(b"".join(parts)).digest()


def check_same_rows(name: str, host: Party, said: dict[str, Any], own: dict[str, Any], data: str = "its input") -> None:
    """See that a host's rows are the guest's.

    :param name: the component's, for the error
    :param said: by the host
    :param own: of the guest
    :param data: what these rows are, for the error
    :raises DataError: they are not
    """
    if said != own:
        raise DataError(
            f"{name}: {data} has {sum(said['counts'])} rows at {host} and {sum(own['counts'])} at the guest, and "
            "not the same ids in the same order; let it come from an Intersection"
        )


def digest_of(block: Block) -> bytes:
    """Of a partition's ids in their order."""
    lengths = np.asarray(pc.binary_length(block.ids)).astype("<i4")
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(block)], pa.int32()), block.ids), "")
    digest = hashlib.sha256(lengths.tobytes())
    digest.update(joined[0].as_buffer())
    return digest.digest()


def _digest(block: Block, _: Any) -> bytes:
    return digest_of(block)
