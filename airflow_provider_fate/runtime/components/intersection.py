"""Intersection: the rows that all parties have in common, in one order, with no other id shown to anyone.

Method: private set intersection by elliptic curve Diffie-Hellman (C. Meadows 1986; B. Huberman, M. Franklin,
T. Hogg, "Enhancing privacy and trust in electronic communities", EC 1999) with X25519 (D. J. Bernstein 2006).
FATE's method names ``rsa``, ``dh``, ``raw`` and ``ecdh`` are all carried out so; ``raw`` would send the ids
themselves, the others are slower ways to the same result.

Each id is hashed to a point H(id). With a fresh secret scalar each, a at the guest and b at the host:

1. guest -> host: H(id)^a of its ids, shuffled;
2. host -> guest: H(id')^b of its ids, shuffled, and (H(id)^a)^b in the order of 1;
3. the guest computes (H(id')^b)^a; equal values are equal ids;
4. guest -> host: which of the host's items of 2 are in common, and the rows of each partition.

Every party then sorts its common rows by a hash of their ids that depends on the job's seed: the order is the same
everywhere, is unrelated to the tables' orders, and is the same when the job runs again. A hash over all common ids
in order goes with 4; a host whose own differs stops.

With several hosts the guest does this with each one, and rows count that all have.

Who learns what, in the semi-honest model (all follow the protocol; a party may look at all that it receives), under
the decisional Diffie-Hellman assumption on Curve25519 and with SHA-256 as a random oracle:

* guest and hosts: the ids in common (each in its own table), and how many rows every party it talks to has.
* guest, with several hosts: moreover which of its ids each single host has, also those that another host lacks.
  The guest and a host together learn nothing of another host beyond that.
* a host that works together with another host: nothing beyond its own result.
* with ``sync_intersect_ids`` false, the hosts learn the guest's number of rows only.
* with ``cardinality_only``, the guest learns how many ids each host has in common with it, not which (the host
  shuffles its reply), and the hosts learn it only with ``sync_cardinality``.
* the arbiter: nothing; it takes no part.

A party that puts ids into its table which are not its own learns whether the other one has them: each time is as
many guesses as the table has rows, for ids that can be guessed, and a peer that comes back within a run begins anew, up
to MOST_RUNS times. Nothing here prevents it; that it shows in the number of rows, which both parties' logs hold, is the
means against it.

Ids are compared as exact UTF-8 bytes: ``"7"``, ``"07"`` and ``" 7"`` are three ids.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError, ProtocolError
from airflow_provider_fate.job.parameters.intersect import IntersectParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Component, Outputs
from airflow_provider_fate.runtime.crypto import curve25519, id_digests
from airflow_provider_fate.runtime.data import Block, Model, Rows, even_counts
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.checks import Array, Bytes, Check, DictOf, Integer, Text, boolean

VERSION = 1
#: points of one message: 1 MiB
POINTS_PER_MESSAGE = 32768
#: positions of one message: 1 MiB
POSITIONS_PER_MESSAGE = 131072
#: points of one task: about a second
POINTS_PER_TASK = 16384
#: below this many points for each, more tasks cost more than they save
POINTS_WORTH_A_TASK = 1000
#: rows of one partition of the result, where the job names no number of partitions
ROWS_PER_PARTITION = 50_000
#: a peer that claims more rows than this is refused: the driver holds a point of each one, and its product, 8 GiB in
#: all, which is what one party may make another keep
MAX_ROWS = 1 << 27
#: a peer that comes back brings another table if it likes, and so other guesses
MOST_RUNS = 6


class Intersection(Component):
    """FATE's ``Intersection`` for one guest and any number of hosts."""

    module = "Intersection"
    parameters: IntersectParam
    keeps_outputs = True
    most_runs = MOST_RUNS

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """The rows in common, as the output ``data``; without ``data`` where this party is not to learn them.

        :raises DataError: no ids in common, an id that is empty or twice in this party's table
        :raises ConfigError: the parties' settings differ
        """
        return self._run(data)

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """As :meth:`fit`: nothing is learnt that a prediction could use."""
        return self._run(data)

    def _run(self, data: dict[str, Rows]) -> Outputs:
        role = self.ctx.party.role
        if role == "arbiter":
            return Outputs()
        if len(data) != 1:
            raise ConfigError(self.ctx.name, f"takes one input table, got {', '.join(sorted(data)) or 'none'}")
        self.ctx.log("intersect_method " + METHODS[self.parameters.intersect_method])
        (rows,) = data.values()
        return self._guest(rows) if role == "guest" else self._host(rows)

    # -- guest ---------------------------------------------------------------------------------------------------

    def _guest(self, rows: Rows) -> Outputs:
        federation, hosts = self.ctx.federation, self.ctx.federation.hosts
        digests = self._digests(rows)
        sizes = self._agree(hosts, len(digests))
        scalar, order = curve25519.random_scalar(), id_digests.shuffled(len(digests))
        mine = self._products(curve25519.hash_and_multiply, digests[order], scalar)
        _send(federation, hosts, "guest.points", mine, POINTS_PER_MESSAGE)
        del mine
        common = np.ones(len(digests), bool)
        places: dict[Party, np.ndarray] = {}
        for host in hosts:
            theirs = self._receive_points(host, "host.points", sizes[host])
            theirs = self._products(curve25519.multiply, theirs, scalar)
            doubled = self._receive_points(host, "guest.doubled", len(digests))
            places[host] = id_digests.find(doubled, theirs)
            common &= places[host] >= 0
        del scalar
        if self.parameters.cardinality_only:
            return self._cardinalities({host: int((place >= 0).sum()) for host, place in places.items()}, len(digests))

        chosen = np.flatnonzero(common)
        mine_in_common = order[chosen]
        mine_in_common = mine_in_common[id_digests.order_of(digests[mine_in_common])]
        counts = even_counts(len(chosen), self._partitions(len(chosen)))
        if self.parameters.sync_intersect_ids:
            check = _check_value(digests[mine_in_common])
            for host in hosts:
                federation.send(
                    host, "result", {"count": len(chosen), "counts": np.array(counts, np.int64), "check": check}
                )
                # ascending, so that the order of the positions says nothing
                _send(federation, host, "positions", np.sort(places[host][chosen]), POSITIONS_PER_MESSAGE)
        if not len(chosen):
            self._wait_for_hosts(hosts)
        return self._result(rows, mine_in_common, counts, sizes)

    def _wait_for_hosts(self, hosts: Iterable[Party]) -> None:
        """Let every host end with its own clear error, not because this party ended first."""
        if self.parameters.sync_intersect_ids:
            for host in hosts:
                self.ctx.federation.receive(host, "seen", boolean)

    def _cardinalities(self, found: dict[Party, int], own: int) -> Outputs:
        outputs = Outputs()
        for host, count in found.items():
            if self.parameters.sync_cardinality:
                self.ctx.federation.send(host, "cardinality", count)
            suffix = "" if len(found) == 1 else f".{host}"
            _count_metrics(outputs, count, own, suffix)
            self.ctx.log(f"{count} of {own} rows in common with {host}; the rows themselves were not asked for")
        return outputs

    # -- host ----------------------------------------------------------------------------------------------------

    def _host(self, rows: Rows) -> Outputs:
        federation, guest = self.ctx.federation, self.ctx.federation.guest
        digests = self._digests(rows)
        sizes = self._agree([guest], len(digests))
        scalar, order = curve25519.random_scalar(), id_digests.shuffled(len(digests))
        mine = self._products(curve25519.hash_and_multiply, digests[order], scalar)
        _send(federation, guest, "host.points", mine, POINTS_PER_MESSAGE)
        del mine
        theirs = self._receive_points(guest, "guest.points", sizes[guest])
        doubled = self._products(curve25519.multiply, theirs, scalar)
        del scalar
        if self.parameters.cardinality_only:
            doubled = doubled[id_digests.shuffled(len(doubled))]
        _send(federation, guest, "guest.doubled", doubled, POINTS_PER_MESSAGE)
        del theirs, doubled

        limit = min(len(digests), sizes[guest])
        if self.parameters.cardinality_only:
            outputs = Outputs()
            if self.parameters.sync_cardinality:
                count = federation.receive(guest, "cardinality", Integer(0, limit))
                _count_metrics(outputs, count, len(digests), "")
                self.ctx.log(f"{count} of {len(digests)} rows in common; the rows themselves were not asked for")
            return outputs
        if not self.parameters.sync_intersect_ids:
            self.ctx.log("sync_intersect_ids is false: this party does not learn which rows are in common")
            return Outputs()

        result = federation.receive(
            guest,
            "result",
            DictOf(
                {
                    "count": Integer(0, limit),
                    "counts": Array("int64", (None,), max_items=max(self._partitions(limit), 1)),
                    "check": Bytes(length=32),
                }
            ),
        )
        counts = [int(count) for count in result["counts"]]
        if min(counts, default=0) < 0 or sum(counts) != result["count"]:
            raise ProtocolError(str(guest), f"{guest} sent rows per partition that do not add up to the rows in common")
        positions = _receive(
            federation,
            guest,
            "positions",
            result["count"],
            POSITIONS_PER_MESSAGE,
            lambda n: Array("int64", (n,)),
            np.empty(0, np.int64),
        )
        if len(positions) and (
            positions.min() < 0 or positions.max() >= len(digests) or (positions[1:] <= positions[:-1]).any()
        ):
            raise ProtocolError(str(guest), f"{guest} sent positions that are not ascending places in the rows sent")
        mine_in_common = order[positions]
        mine_in_common = mine_in_common[id_digests.order_of(digests[mine_in_common])]
        if _check_value(digests[mine_in_common]) != result["check"]:
            raise ProtocolError(str(guest), f"the rows in common differ from those of {guest}; nothing was joined")
        if not counts or not result["count"]:
            federation.send(guest, "seen", True)
        return self._result(rows, mine_in_common, counts, sizes)

    # -- both ----------------------------------------------------------------------------------------------------

    def _agree(self, peers: Iterable[Party], own: int) -> dict[Party, int]:
        """Tell the peers what this party is about to do; stop where they do otherwise. Returns their rows."""
        peers = list(peers)
        mine = {
            "version": VERSION,
            "cardinality_only": self.parameters.cardinality_only,
            "sync_cardinality": self.parameters.sync_cardinality,
            "sync_intersect_ids": self.parameters.sync_intersect_ids,
            "domain": self._domain().hex(),
        }
        self.ctx.federation.send(peers, "settings", {**mine, "rows": own})
        check = DictOf(
            {
                "version": Integer(1, 1 << 16),
                "cardinality_only": boolean,
                "sync_cardinality": boolean,
                "sync_intersect_ids": boolean,
                "domain": Text(64),
                "rows": Integer(0, MAX_ROWS),
            }
        )
        sizes = {}
        for peer in peers:
            theirs = self.ctx.federation.receive(peer, "settings", check)
            for key, value in mine.items():
                if theirs[key] != value:
                    name = "salt or seed" if key == "domain" else key
                    raise ConfigError(
                        f"{self.ctx.name}.{name}", f"differs between {self.ctx.party} and {peer}; expected the same"
                    )
            sizes[peer] = theirs["rows"]
            self.ctx.log(f"{own} rows here, {sizes[peer]} at {peer}")
        return sizes

    def _domain(self) -> bytes:
        """What keeps the hashes of this component of this job apart from all others; public, the same everywhere."""
        salt = self.parameters.ecdh_params.salt
        parts = ["airflow-provider-fate intersection", str(VERSION), self.ctx.name, str(self.ctx.seed), salt]
        text = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)
        return hashlib.sha256(text).digest()

    def _digests(self, rows: Rows) -> np.ndarray:
        """SHA-256 of every id, shape (rows, 32), in the table's order.

        :raises DataError: an id is missing, empty or there twice
        """
        found = rows.map(partial(_hash_ids, self._domain()))
        start = 0
        for (_, empty), count in zip(found, rows.counts, strict=True):
            if empty >= 0:
                raise DataError(
                    f"{self.ctx.name}: row {start + empty} (counted from 0) of {self.ctx.party}'s input has no id"
                )
            start += count
        digests = np.concatenate([id_digests.NOTHING, *(part for part, _ in found)])
        repeats = id_digests.repeats(digests)
        if repeats:
            first, second = repeats[0]
            raise DataError(
                f"{self.ctx.name}: rows {first} and {second} (counted from 0) of {self.ctx.party}'s input have the "
                f"same id, and {len(repeats)} row(s) in all repeat another's; every id must be there once"
            )
        return digests

    def _products(
        self, function: Callable[[np.ndarray, bytes], np.ndarray], items: np.ndarray, scalar: bytes
    ) -> np.ndarray:
        """``function(piece, scalar)`` of pieces of ``items`` wherever the engine has room, put together."""
        if len(items) < 2 * POINTS_WORTH_A_TASK:
            # not even asking how wide the engine is, which would start Spark
            return _apply(function, scalar, items)
        width = self.ctx.engine.parallelism
        pieces = max(math.ceil(len(items) / POINTS_PER_TASK), min(width, len(items) // POINTS_WORTH_A_TASK), 1)
        if pieces > width:
            pieces = math.ceil(pieces / width) * width
        # the scalar travels with the function, not with the data, which Spark may put into files
        return np.concatenate(self.ctx.engine.run(partial(_apply, function, scalar), np.array_split(items, pieces)))

    def _receive_points(self, sender: Party, tag: str, count: int) -> np.ndarray:
        points = _receive(
            self.ctx.federation,
            sender,
            tag,
            count,
            POINTS_PER_MESSAGE,
            lambda n: partial(curve25519.check_points, count=n),
            id_digests.NOTHING,
        )
        if id_digests.has_repeats(points):
            raise ProtocolError(str(sender), f"{sender} sent the same encrypted id twice")
        return points

    def _partitions(self, rows: int) -> int:
        wanted = self.ctx.partitions or math.ceil(rows / ROWS_PER_PARTITION)
        return max(1, min(wanted, rows))

    def _result(self, rows: Rows, chosen: np.ndarray, counts: list[int], sizes: dict[Party, int]) -> Outputs:
        """The rows at ``chosen`` (places in the table's order), spread over partitions."""
        if not len(chosen):
            theirs = ", ".join(f"{peer} has {size}" for peer, size in sizes.items())
            raise DataError(
                f"{self.ctx.name}: no common ids: {self.ctx.party} has {rows.count} rows, {theirs}. Check that all "
                "parties use the same id column, spelled alike: ids are compared exactly, with leading zeros, spaces "
                "and upper case; and that hashed ids were hashed the same way"
            )
        targets = np.full(rows.count, -1, np.int64)
        targets[chosen] = np.arange(len(chosen))
        common = rows.rearrange(np.split(targets, np.cumsum(rows.counts)[:-1]), counts)
        if self.parameters.only_output_key:
            schema = type(rows.schema)(rows.schema.id_name, ())
            common = common.transform(_ids_only, schema)
        outputs = Outputs(data={"data": common})
        _count_metrics(outputs, len(chosen), rows.count, "")
        self.ctx.log(f"{len(chosen)} of {rows.count} rows in common, in {len(counts)} partition(s)")
        return outputs


_BY_CURVE = "elliptic curve Diffie-Hellman on Curve25519"
METHODS = {
    "ecdh": f"ecdh: {_BY_CURVE}",
    "rsa": f"rsa: carried out as {_BY_CURVE}, which gives the same rows with less work",
    "dh": f"dh: carried out as {_BY_CURVE}, which is the same protocol in a faster group",
    "raw": f"raw: carried out as {_BY_CURVE}; raw would show ids to the peer",
}


# -- what runs on the executors: must be importable there, and give the same result when run again -----------------


def _hash_ids(domain: bytes, block: Block, _: Any) -> tuple[np.ndarray, int]:
    """The digests of a block's ids and -1, or the first row without an id."""
    empty = id_digests.first_missing(block.ids)
    return (id_digests.digests(block.ids, domain), -1) if empty < 0 else (id_digests.NOTHING, empty)


def _apply(function: Callable[[np.ndarray, bytes], np.ndarray], scalar: bytes, piece: np.ndarray) -> np.ndarray:
    return function(piece, scalar)


def _ids_only(block: Block, _: Any) -> Block:
    return Block(block.ids, np.empty((len(block), 0)))


# -- messages ----------------------------------------------------------------------------------------------------


def _check_value(digests: np.ndarray) -> bytes:
    return hashlib.sha256(b"rows in common" + np.ascontiguousarray(digests).tobytes()).digest()


def _count_metrics(outputs: Outputs, count: int, own: int, suffix: str) -> None:
    outputs.metrics[f"intersect_count{suffix}"] = count
    outputs.metrics[f"intersect_rate{suffix}"] = count / own if own else 0.0


def _send(federation: Federation, to: Party | Iterable[Party], tag: str, items: np.ndarray, size: int) -> None:
    """Send an array in pieces of ``size`` items."""
    for start in range(0, len(items), size):
        federation.send(to, f"{tag}.{start // size}", items[start : start + size])


def _receive(
    federation: Federation,
    sender: Party,
    tag: str,
    count: int,
    size: int,
    check: Callable[[int], Check],
    like: np.ndarray,
) -> np.ndarray:
    """Receive an array of ``count`` items in pieces of ``size``.

    :param check: makes the check of a piece of the number of items it must have
    :param like: an empty array of the same kind
    """
    pieces = [
        federation.receive(sender, f"{tag}.{start // size}", check(min(size, count - start)))
        for start in range(0, count, size)
    ]
    return np.concatenate([like, *pieces])
