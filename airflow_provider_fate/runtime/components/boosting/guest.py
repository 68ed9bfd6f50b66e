"""The guest's part in growing a tree. :mod:`.growth` says what travels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np

from airflow_provider_fate.errors import CryptoError, ProtocolError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.boosting import growth
from airflow_provider_fate.runtime.components.boosting.binned import BinnedRows
from airflow_provider_fate.runtime.components.boosting.fixed import Derivatives, Packing
from airflow_provider_fate.runtime.components.boosting.histograms import sums_in_the_clear
from airflow_provider_fate.runtime.components.boosting.splits import (
    Candidate,
    Histogram,
    SplitRule,
    Sums,
    best_own,
)
from airflow_provider_fate.runtime.components.boosting.tree import Node, Tree
from airflow_provider_fate.runtime.crypto.additive import AdditiveSecretKey


@dataclass(frozen=True)
class Best:
    """The best split of a node so far.

    :param own: the guest's split, or
    :param ties: those of ``host`` that have the gain, by their places among what it offered
    :param left: of the left side; of each of the ties where a host has it
    """

    gain: float
    left: list[Sums]
    own: Candidate | None = None
    host: Party | None = None
    ties: np.ndarray | None = None


class GuestGrower:
    """Grows trees. One instance per training.

    :param key: encrypts and decrypts; ``None`` where no tree uses hosts' columns
    :param most: of each host, splits that a node can have
    :param task: ``classification`` or ``regression``
    :param compress: whether several sums travel in a ciphertext
    """

    def __init__(
        self,
        ctx: Context,
        binned: BinnedRows,
        rule: SplitRule,
        key: AdditiveSecretKey | None,
        most: dict[Party, int],
        task: str,
        compress: bool,
    ) -> None:
        self.ctx = ctx
        self.binned = binned
        self.rule = rule
        self.key = key
        self.most = most
        self.task = task
        self.compress = compress

    def grow(
        self,
        tag: str,
        levels: Sequence[frozenset[Party]],
        columns: Sequence[int],
        g: np.ndarray,
        h: np.ndarray,
        sampled: np.ndarray | None,
    ) -> tuple[Tree, np.ndarray]:
        """One tree, and the number of the leaf that each row is in (int32).

        :param tag: unlike that of any other tree
        :param levels: of each level, whose columns may split its nodes
        :param columns: the guest's own that the tree may use
        :param g: first derivatives of all rows; those of rows left out do not count
        :param sampled: bool, whether each row is in the tree; ``None`` for all
        """
        growing = _Growing(self, tag, levels, self.binned.usable(columns), g, h, sampled)
        return growing.run()


class _Growing:
    """One tree while it grows."""

    def __init__(
        self,
        grower: GuestGrower,
        tag: str,
        levels: Sequence[frozenset[Party]],
        columns: list[int],
        g: np.ndarray,
        h: np.ndarray,
        sampled: np.ndarray | None,
    ) -> None:
        self.grower, self.ctx, self.binned, self.rule = grower, grower.ctx, grower.binned, grower.rule
        self.tag, self.levels, self.columns = tag, levels, columns
        self.sampled = np.ones(len(g), bool) if sampled is None else sampled
        self.all = sampled is None
        rows = np.flatnonzero(self.sampled)
        self.packing = Packing(len(rows), grower.task)
        self.derivatives = Derivatives.of(g[rows], h[rows], self.packing.precision)
        self.weights = [np.zeros(len(g)), np.zeros(len(g))]
        self.weights[0][rows], self.weights[1][rows] = self.derivatives.g, self.derivatives.h
        self.node = np.zeros(len(g), np.int32)
        self.nodes: list[Node] = []
        self.hosts = [host for host in self.ctx.federation.hosts if any(host in level for level in levels)]

    def run(self) -> tuple[Tree, np.ndarray]:
        total = self._sums(self.derivatives.g.sum(), self.derivatives.h.sum(), len(self.derivatives.g))
        opened = [node for node in [self._node(total)] if self.rule.can_split(total)]
        self._start(bool(opened))
        for level, parties in enumerate(self.levels):
            if not opened:
                break
            best = self._search(level, parties, opened)
            opened = self._apply(level, parties, opened, best)
        return Tree(self.nodes), self.node

    def _node(self, sums: Sums) -> Node:
        node = Node(len(self.nodes), sums, self.rule.weight(sums))
        self.nodes.append(node)
        return node

    def _sums(self, g: float, h: float, count: int) -> Sums:
        own_g, own_h = self.derivatives.sums(np.float64(g), np.float64(h))
        return Sums(float(own_g), float(own_h), int(count))

    # --- 1: ciphertexts ---------------------------------------------------------------------------------------------

    def _start(self, opened: bool) -> None:
        federation = self.ctx.federation
        bits = None if self.all else growth.bits_of(self.sampled)
        federation.send(self.hosts, f"{self.tag}/start", {"sampled": bits, "open": opened})
        if not (self.hosts and opened):
            return
        starts = self.binned.bounds
        sampled = [np.flatnonzero(part) for part in self.binned.parts(self.sampled)]
        jobs = []
        for portion in growth.portions(sampled):
            rows = np.concatenate([places + start for places, start in zip(portion, starts, strict=False)])
            g, h = (weight[rows].astype(np.int64) for weight in self.weights)
            jobs.append((g, h))
        rows = self.binned.rows
        step = self.ctx.engine.parallelism if rows.partitions > 1 else 1
        encrypt = partial(_encrypt, self.grower.key, self.packing)
        for first in range(0, len(jobs), step):
            bodies = growth.spread(self.ctx, rows, encrypt, jobs[first : first + step])
            for place, body in enumerate(bodies, first):
                federation.send(self.hosts, f"{self.tag}/rows/{place}", body)

    # --- 2: the best split of each node -----------------------------------------------------------------------------

    def _search(self, level: int, parties: frozenset[Party], opened: list[Node]) -> list[Best | None]:
        found: list[Best | None] = [None] * len(opened)
        if self.ctx.party in parties and self.columns:
            found = self._own(opened)
        for host in self.hosts:
            if host in parties:
                found = self._offered(level, host, opened, found)
        return found

    def _own(self, opened: list[Node]) -> list[Best | None]:
        slots = np.full(len(self.nodes), -1, np.int32)
        slots[[node.number for node in opened]] = np.arange(len(opened))
        slot = np.where(self.sampled, slots[self.node], -1)
        count, g, h = sums_in_the_clear(self.binned, slot, len(opened), self.columns, self.weights)
        g, h = self.derivatives.sums(g, h)
        bins = [len(self.binned.points[column]) for column in self.columns]
        found: list[Best | None] = []
        for place, node in enumerate(opened):
            histogram = Histogram(count[place].astype(np.int64), g[place], h[place])
            best = best_own(histogram, bins, node.sums, self.rule)
            found.append(None if best is None else Best(best[0], [best[2]], own=best[1]))
        return found

    def _offered(self, level: int, host: Party, opened: list[Node], best: list[Best | None]) -> list[Best | None]:
        """The best splits, those of a host among them."""
        key = self.grower.key
        if key is None:
            raise CryptoError("there is no key")
        check = growth.offer_check(len(opened), self.grower.most[host], key.public.size)
        offer = self.ctx.federation.receive(host, f"{self.tag}/{level}/offer", check)
        try:
            g, h = self._decrypted(key, offer["left"], offer["sums"])
        except CryptoError as error:
            _refuse_sums(host, error)
        sizes = offer["splits"]
        if (sizes < 0).any() or (sizes > len(offer["left"])).any() or sizes.sum() != len(offer["left"]):
            raise ProtocolError(str(host), f"{host} offered {len(offer['left'])} splits, not as many as it said")
        found: list[Best | None] = []
        ends = np.cumsum(sizes)
        for node, one, end, size in zip(opened, best, ends, sizes, strict=True):
            some = slice(end - size, end)
            found.append(self._better(host, node, one, g[some], h[some], offer["left"][some]))
        return found

    def _decrypted(self, key: AdditiveSecretKey, count: np.ndarray, body: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Sums of both derivatives of each split's left side, float64."""
        scheme, rows = key.public, self.binned.rows
        bits = self.packing.bits if self.grower.compress else scheme.plain_bits
        each, size = scheme.each(bits), scheme.size
        if len(body) != scheme.packs(len(count), bits) * size:
            raise CryptoError(f"{len(count)} splits in {len(body)} bytes")
        if len(count) and (count.min() < 1 or count.max() >= self.packing.rows):
            raise CryptoError("a split has no rows on one side")
        jobs = [
            (body[start // each * size : -(-end // each) * size], end - start)
            for start, end in growth.parts(len(count), each, rows)
        ]
        numbers = growth.spread(self.ctx, rows, partial(_unpack, key, bits), jobs)
        sums = [number for part in numbers for number in part]
        return self.derivatives.sums(*self.packing.unpack(sums, count))

    def _better(
        self, host: Party, node: Node, best: Best | None, g: np.ndarray, h: np.ndarray, count: np.ndarray
    ) -> Best | None:
        if not len(count):
            return best
        # what is left for the right side must be possible as well
        most = np.ldexp(float(self.packing.offset), [-self.derivatives.g_exponent, -self.derivatives.h_exponent])
        right = node.sums.count - count
        if (
            (right <= 0).any()
            or (np.abs(node.sums.g - g) > right * most[0]).any()
            or (node.sums.h - h < 0).any()
            or (node.sums.h - h > right * most[1]).any()
        ):
            _refuse_sums(host)
        gains = self.rule.gains(node.sums, g, h, count)
        highest = gains.max()
        if highest == -np.inf or (best is not None and best.gain >= highest):
            return best
        ties = np.flatnonzero(gains == highest)
        left = [Sums(float(g[tie]), float(h[tie]), int(count[tie])) for tie in ties]
        return Best(float(highest), left, host=host, ties=ties)

    # --- 3, 4, 5: the split -----------------------------------------------------------------------------------------

    def _apply(self, level: int, parties: frozenset[Party], opened: list[Node], best: list[Best | None]) -> list[Node]:
        """Split nodes, and give those to split next."""
        federation = self.ctx.federation
        chosen = {node.number: one for node, one in zip(opened, best, strict=True) if one is not None}
        wanted = {host: [n for n, one in chosen.items() if one.host == host] for host in self.hosts if host in parties}
        for host, numbers in wanted.items():
            ties = [chosen[number].ties for number in numbers]
            federation.send(host, f"{self.tag}/{level}/chosen", {"nodes": np.array(numbers, np.int64), "ties": ties})
        left = np.zeros(len(self.node), bool)
        sides: dict[int, Sums] = {}
        own = {number: one.own for number, one in chosen.items() if one.own is not None}
        if own:
            left[self._inside(own)] = self.binned.directions(self.node, self.columns, own)
            for number, candidate in own.items():
                sides[number] = chosen[number].left[0]
                self.nodes[number].split = self.binned.split(self.columns, candidate)
        for host, numbers in wanted.items():
            if numbers:
                sides |= self._taken(level, host, numbers, chosen, left)
        return self._descend(level, chosen, sides, left)

    def _inside(self, numbers: Sequence[int] | dict[int, Candidate]) -> np.ndarray:
        """Places of the rows that are in some nodes."""
        chosen = np.zeros(len(self.nodes), bool)
        chosen[list(numbers)] = True
        return np.flatnonzero(chosen[self.node])

    def _taken(
        self, level: int, host: Party, numbers: list[int], chosen: dict[int, Best], left: np.ndarray
    ) -> dict[int, Sums]:
        """Which of equal splits a host took, and which rows go left."""
        rows = self._inside(numbers)
        check = growth.taken_check(len(numbers), len(rows))
        reply = self.ctx.federation.receive(host, f"{self.tag}/{level}/taken", check)
        left[rows] = growth.of_bits(reply["left"], len(rows))
        goes = np.bincount(self.node[rows], left[rows] & self.sampled[rows], len(self.nodes)).astype(np.int64)
        sides = {}
        for number, taken in zip(numbers, reply["taken"].tolist(), strict=True):
            one = chosen[number]
            ties = [] if one.ties is None else one.ties.tolist()
            if taken not in ties:
                raise ProtocolError(str(host), f"{host} took a split that was not chosen")
            sides[number] = one.left[ties.index(taken)]
            if sides[number].count != goes[number]:
                raise ProtocolError(
                    str(host),
                    f"{host} sent {goes[number]} rows of a node to the left, and had offered {sides[number].count}",
                )
        return sides

    def _descend(self, level: int, chosen: dict[int, Best], sides: dict[int, Sums], left: np.ndarray) -> list[Node]:
        opened: list[Node] = []
        last = level + 1 == len(self.levels)
        rows = self._inside(chosen)
        before = self.node[rows]
        children = np.zeros(len(self.nodes), np.int32)
        for number, one in chosen.items():
            node = self.nodes[number]
            node.party, node.gain = str(one.host or self.ctx.party), one.gain
            both = [self._node(sides[number]), self._node(node.sums.minus(sides[number]))]
            node.left, node.right = both[0].number, both[1].number
            children[number] = node.left
            opened += [] if last else [child for child in both if self.rule.can_split(child.sums)]
        self.node[rows] = children[before] + ~left[rows]
        later = [host for host in self.hosts if any(host in level for level in self.levels[level + 1 :])]
        # of a node whose children are both leaves a host needs to know nothing
        after = {node.number for node in opened}
        told = [number for number in chosen if after & {self.nodes[number].left, self.nodes[number].right}]
        self.ctx.federation.send(
            later,
            f"{self.tag}/{level}/next",
            {
                "nodes": np.array(told, np.int64),
                "left": np.array([self.nodes[number].left for number in told], np.int64),
                "open": np.array([node.number for node in opened], np.int64),
                "bits": growth.bits_of(left[rows][np.isin(before, told)]),
            },
        )
        return opened


def _refuse_sums(host: Party, cause: CryptoError | None = None) -> NoReturn:
    """One sentence, whatever is wrong: which check failed would tell something of what was decrypted."""
    raise ProtocolError(
        str(host), f"the sums of {host} cannot be used: they are not those of rows in the nodes that they are for"
    ) from cause


def _encrypt(key: AdditiveSecretKey, packing: Packing, job: tuple[np.ndarray, np.ndarray]) -> bytes:
    g, h = job
    return key.encrypt(packing.pack(g, h))


def _unpack(key: AdditiveSecretKey, bits: int, job: tuple[bytes, int]) -> list[int]:
    body, count = job
    return key.unpack(body, count, bits)
