"""Sums by bin of the rows of a tree's nodes: in the clear at the guest, of ciphertexts at a host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.components.boosting.binned import BinnedRows
from airflow_provider_fate.runtime.components.boosting.growth import Failed
from airflow_provider_fate.runtime.components.boosting.splits import Candidate
from airflow_provider_fate.runtime.crypto.additive import AdditiveScheme, additive
from airflow_provider_fate.runtime.data import Block


@dataclass(frozen=True)
class Counting:
    """For the sums of one partition in the clear.

    :param slot: of each row the place of its node, -1 to leave it out
    :param slots: how many nodes
    :param width: bins at most
    :param weights: what to sum beside the rows themselves, each of shape (rows,)
    """

    slot: np.ndarray
    slots: int
    columns: Sequence[int]
    width: int
    weights: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Adding:
    """For the encrypted sums of one partition.

    :param rows: of each node, the places of its rows in the block
    :param body: a ciphertext for each of the rows; ``None`` where the block carries one for each row of its own
    """

    method: str
    public: bytes
    rows: list[np.ndarray]
    columns: Sequence[int]
    bins: Sequence[int]
    body: bytes | None = None


@dataclass(frozen=True)
class Carried:
    """For :func:`attach`.

    :param body: ciphertexts, one after the other
    :param places: of the row of each one in the block
    :param size: bytes of a ciphertext
    """

    body: bytes
    places: np.ndarray
    size: int


def sums_in_the_clear(
    binned: BinnedRows, slot: np.ndarray, slots: int, columns: Sequence[int], weights: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Rows, then sums of each weight, in every bin; float64 of shape (1 + weights, slots, columns, width).

    :param slot: of all rows, the place of the row's node, -1 to leave it out
    :param weights: float64 of shape (all rows,); whole numbers, so that sums do not depend on partitions
    """
    width = max(binned.widths(columns), default=0)
    pieces = [binned.parts(weight) for weight in weights]
    arguments = [
        Counting(part, slots, columns, width, tuple(piece[place] for piece in pieces))
        for place, part in enumerate(binned.parts(slot))
    ]
    return np.sum(binned.rows.map(_count, arguments), axis=0)


def _count(block: Block, counting: Counting) -> np.ndarray:
    rows = np.flatnonzero(counting.slot >= 0)
    start = counting.slot[rows].astype(np.int64) * counting.width
    shape = (1 + len(counting.weights), counting.slots, len(counting.columns), counting.width)
    found = np.zeros(shape)
    weights = [None, *(weight[rows] for weight in counting.weights)]
    for place, column in enumerate(counting.columns):
        where = start + block.x[rows, column]
        for number, weight in enumerate(weights):
            sums = np.bincount(where, weight, counting.slots * counting.width)
            found[number, :, place] = sums.reshape(counting.slots, counting.width)
    return found


def attach(block: Block, carried: Carried) -> Block:
    """The rows that are in the tree, with their ciphertexts in place of labels: bytes, shape (rows, size)."""
    bodies = np.frombuffer(carried.body, np.uint8).reshape(len(carried.places), carried.size)
    return Block(pa.nulls(len(bodies)), np.asfortranarray(block.x[carried.places]), bodies)


def encrypted_sums(block: Block, adding: Adding) -> list[list[Any]] | Failed:
    """Of each node, encrypted sums of its rows in every bin, column by column."""
    scheme = additive(adding.method, adding.public)
    found: list[list[Any]] = []
    try:
        for rows in adding.rows:
            if not len(rows):
                found.append([None] * sum(adding.bins))
                continue
            body = block.y[rows].tobytes() if adding.body is None else adding.body
            found.append(scheme.histogram(body, block.x[np.ix_(rows, list(adding.columns))], adding.bins))
    except CryptoError as error:
        return Failed(str(error))
    return found


def added(scheme: AdditiveScheme, parts: Sequence[list[list[Any]]]) -> list[list[Any]]:
    """The sums of each node over partitions."""
    total, *others = parts
    for other in others:
        total = [scheme.add(one, more) for one, more in zip(total, other, strict=True)]
    return total


def left_sums(
    scheme: AdditiveScheme,
    sums: Sequence[Any],
    count: np.ndarray,
    bins: Sequence[int],
    widths: Sequence[int],
    found: Sequence[Candidate],
) -> list[Any]:
    """The encrypted sum of the left side of each split.

    :param sums: of a node's bins, column by column
    :param count: rows of the node in each bin, shape (columns, width)
    :param bins: of each column, without the one of missing values
    :param widths: of each column, with it
    :param found: splits as :func:`.splits.candidates` gives them, in its order
    """
    starts = np.concatenate([[0], np.cumsum(widths)]).tolist()
    total: list[Any] = [None] * len(bins)
    totals = []
    for place in range(max(bins, default=0)):
        filled = [place < own and count[column, place] > 0 for column, own in enumerate(bins)]
        bin_ = [sums[start + place] if some else None for start, some in zip(starts, filled, strict=False)]
        total = scheme.add(total, bin_)
        totals.append(total)
    sides = [totals[one.bin][one.column] for one in found]
    missing = [sums[starts[one.column] + bins[one.column]] if one.missing_left else None for one in found]
    return scheme.add(sides, missing)
