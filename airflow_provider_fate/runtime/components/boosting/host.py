"""A host's part in growing a tree. :mod:`.growth` says what travels."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ProtocolError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.boosting import growth
from airflow_provider_fate.runtime.components.boosting.binned import BinnedRows
from airflow_provider_fate.runtime.components.boosting.fixed import Packing
from airflow_provider_fate.runtime.components.boosting.histograms import (
    Adding,
    Carried,
    added,
    attach,
    encrypted_sums,
    left_sums,
    sums_in_the_clear,
)
from airflow_provider_fate.runtime.components.boosting.splits import Candidate, SplitRule, candidates
from airflow_provider_fate.runtime.components.boosting.tree import HostTree
from airflow_provider_fate.runtime.crypto.additive import AdditiveScheme, additive
from airflow_provider_fate.runtime.data import Rows


class HostGrower:
    """A host's part of all trees. One instance per training.

    :param scheme: of the guest's key; ``None`` where no tree uses hosts' columns
    :param task: ``classification`` or ``regression``
    :param compress: whether several sums travel in a ciphertext
    """

    def __init__(
        self,
        ctx: Context,
        binned: BinnedRows,
        rule: SplitRule,
        scheme: AdditiveScheme | None,
        task: str,
        compress: bool,
    ) -> None:
        self.ctx = ctx
        self.binned = binned
        self.rule = rule
        self.scheme = scheme
        self.task = task
        self.compress = compress

    def grow(self, tag: str, levels: Sequence[frozenset[Party]], columns: Sequence[int]) -> HostTree:
        """This host's part of a tree; nothing where its columns are not used.

        :param columns: its own that the tree may use
        """
        if self.scheme is None or not any(self.ctx.party in level for level in levels):
            return HostTree()
        growing = _Growing(self, self.scheme, tag, levels, self.binned.usable(columns))
        try:
            return growing.run()
        finally:
            growing.close()


class _Growing:
    """One tree while it grows."""

    def __init__(
        self,
        grower: HostGrower,
        scheme: AdditiveScheme,
        tag: str,
        levels: Sequence[frozenset[Party]],
        columns: list[int],
    ) -> None:
        self.grower, self.ctx, self.binned, self.scheme = grower, grower.ctx, grower.binned, scheme
        self.tag, self.levels, self.columns = tag, levels, columns
        self.guest = self.ctx.federation.guest
        self.widths = self.binned.widths(columns)
        self.bins = [len(self.binned.points[column]) for column in columns]
        self.node = np.zeros(self.binned.rows.count, np.int32)
        self.tree = HostTree()
        #: of each partition, the places of its rows that are in the tree
        self.sampled: list[np.ndarray] = []
        self.packing = Packing(1, grower.task)
        #: the rows in the tree with their ciphertexts
        self.carrying: Rows | None = None
        #: encrypted sums of the nodes of the level above
        self.sums: dict[int, list[Any]] = {}
        #: parent and sibling of the nodes of a level
        self.family: dict[int, tuple[int, int]] = {}

    def run(self) -> HostTree:
        federation = self.ctx.federation
        rows = self.binned.rows.count
        start = federation.receive(self.guest, f"{self.tag}/start", growth.start_check(rows))
        if not start["open"]:
            return self.tree
        sampled = np.ones(rows, bool) if start["sampled"] is None else growth.of_bits(start["sampled"], rows)
        self.sampled = [np.flatnonzero(part) for part in self.binned.parts(sampled)]
        self.packing = Packing(sum(map(len, self.sampled)), self.grower.task)
        self._receive_rows()
        opened = [0]
        for level, parties in enumerate(self.levels):
            if self.ctx.party in parties:
                offered = self._offer(level, opened)
                self._take(level, opened, offered)
            if not any(self.ctx.party in later for later in self.levels[level + 1 :]):
                break
            opened = self._descend(level, opened)
            if not opened:
                break
        return self.tree

    def close(self) -> None:
        if self.carrying is not None:
            self.carrying.release()

    # --- 1: ciphertexts ---------------------------------------------------------------------------------------------

    def _receive_rows(self) -> None:
        """All ciphertexts; added up for the root as they come."""
        federation, scheme = self.ctx.federation, self.scheme
        at_root = self.ctx.party in self.levels[0]
        pieces: list[list[bytes]] = [[] for _ in self.sampled]
        for place, portion in enumerate(growth.portions(self.sampled)):
            sizes = [len(places) for places in portion]
            body = federation.receive(self.guest, f"{self.tag}/rows/{place}", scheme.check(sum(sizes)))
            ends = np.cumsum(sizes) * scheme.size
            bodies = [body[end - size * scheme.size : end] for end, size in zip(ends, sizes, strict=True)]
            for kept, part in zip(pieces, bodies, strict=True):
                kept.append(part)
            if at_root and self.columns:
                arguments = [self._adding([rows], part) for rows, part in zip(portion, bodies, strict=True)]
                (sums,) = self._add(self.binned.rows, arguments)
                self.sums[0] = scheme.add(self.sums[0], sums) if self.sums else sums
        if self.columns and any(self.ctx.party in level for level in self.levels[1:]):
            carried = []
            for places in self.sampled:
                carried.append(Carried(b"".join(pieces.pop(0)), places, scheme.size))
            counts = [len(places) for places in self.sampled]
            self.carrying = self.binned.rows.transform(attach, self.binned.schema, carried, counts).cache()

    def _adding(self, rows: list[np.ndarray], body: bytes | None = None) -> Adding:
        return Adding(self.scheme.name, self.scheme.public, rows, self.columns, self.widths, body)

    def _add(self, rows: Rows, arguments: Sequence[Adding]) -> list[list[Any]]:
        found = rows.map(encrypted_sums, arguments)
        for part in found:
            if isinstance(part, growth.Failed):
                raise ProtocolError(str(self.guest), f"ciphertexts of {self.guest} cannot be used: {part.problem}")
        return added(self.scheme, found)

    # --- 2: what this host offers -----------------------------------------------------------------------------------

    def _offer(self, level: int, opened: list[int]) -> dict[int, list[tuple[int, Candidate]]]:
        """Send the sums of all splits; gives those of each node in the order that they were sent in, each with its
        place in the host's own order."""
        federation = self.ctx.federation
        scheme = self.scheme
        offered: dict[int, list[tuple[int, Candidate]]] = {number: [] for number in opened}
        sums: list[Any] = []
        lefts = [np.empty(0, np.int64)]
        if self.columns:
            counts = self._counts(opened)
            self.sums = self._level_sums(level, opened)
            for number, count in zip(opened, counts, strict=True):
                found, left = candidates(count, self.bins, self.grower.rule.smallest)
                sides = left_sums(scheme, self.sums[number], count, self.bins, self.widths, found)
                order = _shuffled(len(found))
                offered[number] = [(place, found[place]) for place in order.tolist()]
                sums += [sides[place] for place in order.tolist()]
                lefts.append(left[order])
        bits = self.packing.bits if self.grower.compress else scheme.plain_bits
        jobs = [
            (scheme.name, scheme.public, sums[start:end], bits)
            for start, end in growth.parts(len(sums), scheme.each(bits), self.binned.rows)
        ]
        value = {
            "splits": np.array([len(found) for found in offered.values()], np.int64),
            "left": np.concatenate(lefts),
            "sums": b"".join(growth.spread(self.ctx, self.binned.rows, _pack, jobs)),
        }
        federation.send(self.guest, f"{self.tag}/{level}/offer", value)
        return offered

    def _counts(self, opened: list[int]) -> np.ndarray:
        """Rows of each open node in every bin; int64 of shape (nodes, columns, width)."""
        slots = np.full(max(int(self.node.max(initial=0)), *opened) + 1, -1, np.int32)
        slots[opened] = np.arange(len(opened))
        slot = np.full(len(self.node), -1, np.int32)
        for start, places in zip(self.binned.bounds, self.sampled, strict=False):
            slot[places + start] = slots[self.node[places + start]]
        return sums_in_the_clear(self.binned, slot, len(opened), self.columns)[0].astype(np.int64)

    def _level_sums(self, level: int, opened: list[int]) -> dict[int, list[Any]]:
        """Encrypted sums of every open node: added up, or the parent's without the sibling's."""
        if level == 0:
            return self.sums
        nodes = [part[places] for part, places in zip(self.binned.parts(self.node), self.sampled, strict=True)]
        size = np.sum([np.bincount(part, minlength=int(self.node.max()) + 1) for part in nodes], axis=0)
        derived: dict[int, tuple[int, int]] = {}
        for number in opened:
            parent, sibling = self.family[number]
            if parent in self.sums and (size[number], number) > (size[sibling], sibling):
                derived[number] = (parent, sibling)
        wanted = sorted({number for number in opened if number not in derived} | {s for _, s in derived.values()})
        arguments = [self._adding([np.flatnonzero(part == number) for number in wanted]) for part in nodes]
        assert self.carrying is not None
        found = dict(zip(wanted, self._add(self.carrying, arguments), strict=True))
        for number, (parent, sibling) in derived.items():
            found[number] = self.scheme.subtract(self.sums[parent], found[sibling])
        return found

    # --- 4: the splits that were chosen -----------------------------------------------------------------------------

    def _take(self, level: int, opened: list[int], offered: dict[int, list[tuple[int, Candidate]]]) -> None:
        federation = self.ctx.federation
        chosen = federation.receive(self.guest, f"{self.tag}/{level}/chosen", growth.CHOSEN)
        numbers = chosen["nodes"].tolist()
        if len(numbers) != len(chosen["ties"]) or len(set(numbers)) != len(numbers) or not set(numbers) <= set(opened):
            raise ProtocolError(str(self.guest), f"{self.guest} chose splits of nodes that are not open")
        if not numbers:
            return
        taken: list[int] = []
        tests: dict[int, Candidate] = {}
        for number, ties in zip(numbers, chosen["ties"], strict=True):
            found = offered[number]
            if not len(ties) or ties.min() < 0 or ties.max() >= len(found):
                raise ProtocolError(str(self.guest), f"{self.guest} chose a split that was not offered")
            place = min(ties.tolist(), key=lambda tie: found[tie][0])
            taken.append(place)
            tests[number] = found[place][1]
            self.tree.splits[number] = self.binned.split(self.columns, tests[number])
        left = self.binned.directions(self.node, self.columns, tests)
        value = {"taken": np.array(taken, np.int64), "left": growth.bits_of(left)}
        federation.send(self.guest, f"{self.tag}/{level}/taken", value)

    # --- 5: the next level ------------------------------------------------------------------------------------------

    def _descend(self, level: int, opened: list[int]) -> list[int]:
        value = self.ctx.federation.receive(self.guest, f"{self.tag}/{level}/next", growth.NEXT)
        numbers, left, after = value["nodes"], value["left"], value["open"]
        if not len(after):
            return []
        children = np.concatenate([left, left + 1])
        # of a tree of so many levels, each of whose nodes has a row
        limit = min(growth.MOST_NODES, 2 << len(self.levels), 2 * len(self.node))
        if (
            not len(numbers)
            or len(numbers) != len(left)
            or not set(numbers.tolist()) <= set(opened)
            or len(np.unique(numbers)) != len(numbers)
            or len(np.unique(children)) != len(children)
            or len(np.unique(after)) != len(after)
            or children.min() <= max(opened)
            or children.max() >= limit
            or not set(after.tolist()) <= set(children.tolist())
        ):
            raise ProtocolError(str(self.guest), f"{self.guest} sent nodes that are no tree")
        most = max(int(self.node.max(initial=0)), *opened) + 1
        goes = np.full(most, -1, np.int32)
        goes[numbers] = left
        rows = np.flatnonzero(goes[self.node] >= 0)
        if len(value["bits"]) != -(-len(rows) // 8):
            raise ProtocolError(str(self.guest), f"{self.guest} sent sides for another number of rows")
        self.node[rows] = goes[self.node[rows]] + ~growth.of_bits(value["bits"], len(rows))
        sampled = [part[places] for part, places in zip(self.binned.parts(self.node), self.sampled, strict=True)]
        if not np.isin(after, np.concatenate(sampled)).all():
            raise ProtocolError(str(self.guest), f"{self.guest} opened a node without rows")
        self.family = {}
        for number, child in zip(numbers.tolist(), left.tolist(), strict=True):
            self.family |= {child: (number, child + 1), child + 1: (number, child)}
        return after.tolist()


def _pack(job: tuple[str, bytes, Sequence[Any], int]) -> bytes:
    name, public, sums, bits = job
    return additive(name, public).pack(sums, bits)


def _shuffled(count: int) -> np.ndarray:
    """A secret order; two of the random numbers that it follows are equal once in 2**64 / count**2."""
    return np.argsort(np.frombuffer(secrets.token_bytes(8 * count), np.uint64), kind="stable")
