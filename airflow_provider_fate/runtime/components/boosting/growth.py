"""What guest and hosts agree on while a tree grows, after SecureBoost (K. Cheng et al., arXiv:1901.08755) and
SecureBoost+ (W. Chen et al., arXiv:2110.10927).

One tree, all nodes of a level at once:

1. guest -> hosts: which rows are in the tree, and a ciphertext for each with both derivatives of its loss, in portions,
   so that hosts add while the guest still encrypts;
2. host -> guest: of each open node, the sums of the left sides of its splits, in an order that is the host's secret and
   new for every node, packed, under fresh randomness, and the number of rows of each left side;
3. guest -> host: which of its splits have the best gain of all parties', where they have (several if they are equal);
4. host -> guest: which one it takes (the first by its own order of columns and bins), and which rows go left;
5. guest -> hosts: which nodes are open next, and of every node that has one of them as a child, which rows go left.

A host adds ciphertexts for the smaller child only; those of its sibling are the parent's minus these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.data import Rows
from airflow_provider_fate.runtime.federation.checks import Array, Bytes, DictOf, ListOf, Optional_, boolean

#: rows of a portion of ciphertexts, and how many portions at most
PORTION = 16_384
MOST_PORTIONS = 8
#: ciphertexts that one of the engine's workers packs, or decrypts, at a time
PART = 64
#: nodes of a tree at most; more than any depth that is allowed gives
MOST_NODES = 1 << 24

_NUMBERS = Array("int64", (None,), max_items=MOST_NODES)


def start_check(rows: int) -> DictOf:
    """:param rows: of the training data"""
    return DictOf({"sampled": Optional_(Bytes(length=-(-rows // 8))), "open": boolean})


#: splits that the guest chose
CHOSEN = DictOf({"nodes": _NUMBERS, "ties": ListOf(Array("int64", (None,), max_items=1 << 32), max_length=MOST_NODES)})


def taken_check(nodes: int, rows: int) -> DictOf:
    """:param rows: of the nodes"""
    return DictOf({"taken": Array("int64", (nodes,)), "left": Bytes(length=-(-rows // 8))})


#: how the next level begins
NEXT = DictOf({"nodes": _NUMBERS, "left": _NUMBERS, "open": _NUMBERS, "bits": Bytes()})


def offer_check(nodes: int, most: int, size: int) -> DictOf:
    """
    :param most: splits of one node at most
    :param size: bytes of a ciphertext
    """
    return DictOf(
        {
            "splits": Array("int64", (nodes,)),
            "left": Array("int64", (None,), max_items=nodes * most),
            "sums": Bytes(max_length=nodes * most * size),
        }
    )


def portions(sampled: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The rows of each portion of ciphertexts, partition by partition. Every portion has rows of every partition, so
    that all executors have work at the same time.

    :param sampled: of each partition, the places of its rows that are in the tree
    """
    total = sum(map(len, sampled))
    number = max(1, min(MOST_PORTIONS, -(-total // PORTION)))
    cut = [np.array_split(places, number) for places in sampled]
    return [[places[portion] for places in cut] for portion in range(number)]


def parts(count: int, each: int, rows: Rows) -> list[tuple[int, int]]:
    """Which of ``count`` sums, from and to, are one job, with ``each`` in a ciphertext: all where the driver computes,
    which the scheme itself spreads over its cores."""
    step = each * PART if rows.partitions > 1 else max(1, count)
    return [(start, min(start + step, count)) for start in range(0, count, step)]


@dataclass(frozen=True)
class Failed:
    """A :class:`CryptoError` in a task: given back as a value, to reach the driver without Spark's retries."""

    problem: str


def spread(ctx: Context, rows: Rows, function: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
    """Each job's result; by the engine's workers where the rows are there too.

    :param function: secrets travel with it, not with the jobs, which Spark may put into files
    :raises CryptoError: of the function
    """
    if rows.partitions <= 1:
        return [function(job) for job in jobs]
    found = ctx.engine.run(partial(_attempt, function), jobs)
    for one in found:
        if isinstance(one, Failed):
            raise CryptoError(one.problem)
    return found


def _attempt(function: Callable[[Any], Any], job: Any) -> Any:
    try:
        return function(job)
    except CryptoError as error:
        return Failed(str(error))


def bits_of(left: np.ndarray) -> bytes:
    return np.packbits(left).tobytes()


def of_bits(content: bytes, count: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(content, np.uint8), count=count).astype(bool)
