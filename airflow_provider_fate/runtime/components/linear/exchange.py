"""The encrypted computation of one batch's gradients, as each role takes part in it.

Of d = sum of the parties' shares, every party gets the inner products with its own columns, and nobody gets d:

1. host -> guest: its share, encrypted under the arbiter's key;
2. guest -> hosts: the sum of all shares, encrypted, under fresh randomness;
3. party -> arbiter: its encrypted inner products, each plus a mask that is uniform modulo the plaintext modulus;
4. arbiter -> party: what it decrypted; the party takes its masks off.

With one host the guest also gets the loss: the inner product of the host's share with a vector of its own rides along
in 3. The host's own part of the loss is split in two uniform numbers, one for the guest, one for the arbiter, which
takes it off what it decrypts, so that the guest sees the sum of all parts and no part alone.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_fate.errors import CryptoError, ProtocolError
from airflow_provider_fate.runtime.components.base import Context, arbiter_of
from airflow_provider_fate.runtime.components.exact import as_float
from airflow_provider_fate.runtime.components.linear import tasks
from airflow_provider_fate.runtime.components.linear.batches import Batch
from airflow_provider_fate.runtime.components.linear.extent import Extent
from airflow_provider_fate.runtime.components.linear.links import Link
from airflow_provider_fate.runtime.crypto.fixed_point import (
    DIVERGED,
    column_bits,
    fraction_bits,
    from_integers,
    sum_bits,
)
from airflow_provider_fate.runtime.crypto.scheme import SecretKey, Slots, VectorScheme
from airflow_provider_fate.runtime.data import Block, Constant, Rows, even_counts
from airflow_provider_fate.runtime.federation.checks import Bytes, DictOf, Integer, ListOf

#: more ciphertexts than this are finished by the engine's workers rather than in the driver
FEW_PARTS = 64
MOST_COLUMNS = 10_000_000
MOST_STRIDE = 1 << 40
#: scale of the loss vector at most
MOST_LOSS_BITS = 12


@dataclass(frozen=True)
class Gradient:
    """What a party gets of a batch.

    :param mean: gradient of the mean loss, without penalty; one a weight
    :param loss: the batch's mean loss with the penalties of all parties, at the guest of one host
    """

    mean: np.ndarray
    loss: float | None = None


class Exchange:
    """What guest and hosts have in common. One instance per training.

    :param extent: of this party's columns, over all rows
    :param precision: most bits after the point of encrypted numbers
    :param with_loss: whether the loss is computed; needs exactly one host
    :param share_bound: what every party's share stays within, or training has diverged
    """

    def __init__(
        self,
        ctx: Context,
        cipher: VectorScheme,
        link: type[Link] | None,
        rows: Rows,
        extent: Extent,
        *,
        intercept: bool,
        precision: int,
        with_loss: bool,
        share_bound: int,
    ) -> None:
        self.ctx = ctx
        self.cipher = cipher
        self.link = link
        self.rows = rows
        self.intercept = intercept
        self.precision = precision
        self.with_loss = with_loss
        self._share_bound = share_bound
        self._token = secrets.token_hex(8)
        kept = tasks.CACHE_BYTES // (ctx.engine.neighbours if rows.distributed else 1)
        self._key = ctx.engine.constant(tasks.Key(cipher.name, cipher.public, kept))
        self._largest = np.append(extent.largest, 1.0) if intercept else extent.largest
        self._sums = np.append(extent.sums, float(rows.count)) if intercept else extent.sums
        self._parties = 1 + len(ctx.federation.hosts)
        cipher.check_size(self._parties, rows.partitions)

    def close(self) -> None:
        """Free what this process keeps, and what executors do."""
        tasks.forget(self._token)
        self.cipher.prepare([])
        self._key.close()

    def gradient(
        self, tag: str, batch: Batch, weights: np.ndarray, penalty: float, positive: float | None = None
    ) -> Gradient:
        """This party's gradient of a batch.

        :param tag: unlike that of any other batch
        :param penalty: what this party's penalty adds to the mean loss
        :param positive: at the guest, the label that counts as 1 (see :class:`~.tasks.Portion`)
        """
        raise NotImplementedError

    def _portions(self, batch: Batch, weights: np.ndarray, positive: float | None = None) -> list[tasks.Portion]:
        return [tasks.Portion(self.link, rows, weights, self.intercept, positive) for rows in batch.rows]

    def _fraction(self, batch: Batch) -> int:
        bound = self._parties * self._share_bound
        return fraction_bits(self.cipher.modulus, batch.size, bound, self.precision, self._share_bound)

    def _loss_bits(self, batch: Batch, fraction: int) -> int:
        """Scale of the loss vector, so that the whole loss cannot wrap; the same at guest and host."""
        room = sum_bits(self.cipher.modulus, batch.size, 2 * self._loss_bound)
        return min(MOST_LOSS_BITS, int(room - fraction))

    @property
    def _loss_bound(self) -> float:
        """By row: of the inner product in the loss, and as much again for the host's own part."""
        return self._share_bound * self.link.vector_bound(self._share_bound)

    def _run(self, task: Callable[[Constant, Block, Any], Any], arguments: Sequence[Any]) -> list[Any]:
        return tasks.run(self.rows, partial(task, self._key), arguments)

    def _share_arguments(
        self, batch: Batch, portions: Sequence[tasks.Portion], others: Sequence[Sequence[Any] | None]
    ) -> list[tasks.ShareArgument]:
        """Of each partition.

        :param others: at the guest, of each partition the hosts' shares
        """
        fraction = self._fraction(batch)
        slots = self._slots(batch, loss=True) if self.with_loss and others[0] is not None else None
        bits = self._loss_bits(batch, fraction)
        return [
            tasks.ShareArgument(portion, fraction, self._share_bound, received, slots, bits)
            for portion, received in zip(portions, others, strict=True)
        ]

    def _products_arguments(
        self, batch: Batch, portions: Sequence[tasks.Portion], slots: Slots, bits: np.ndarray
    ) -> list[tasks.ProductsArgument]:
        """Of each partition, without the residuals."""
        return [
            tasks.ProductsArgument(
                portion, slots, bits, None if batch.key is None else (self._token, number, batch.key)
            )
            for number, portion in enumerate(portions)
        ]

    def _column_bits(self, batch: Batch) -> np.ndarray:
        limit = int(math.ldexp(self._parties * self._share_bound, self._fraction(batch)))
        modulus, factor_bits = self.cipher.modulus, self.cipher.factor_bits
        return column_bits(self._largest, self._sums, batch.size, limit, modulus, factor_bits)

    def _blinds(self, slots: Slots) -> list[Any]:
        """Made while others compute, as they depend on nothing."""
        count = self.cipher.parts(slots)
        engine = self.ctx.engine
        if count <= FEW_PARTS or engine.parallelism == 1:
            return self.cipher.blinds(count)
        counts = even_counts(count, engine.parallelism)
        return [blind for made in engine.run(partial(tasks.blinds, self._key), counts) for blind in made]

    def _prepare(self, batch: Batch) -> None:
        """While others compute: what the next batch, which is about as long, needs to encrypt its shares here."""
        if not self.rows.distributed:
            self.cipher.prepare(batch.counts)

    def _slots(self, batch: Batch, *, loss: bool = False) -> Slots:
        return Slots(len(self._largest) + loss, max(batch.counts, default=1))

    def _gradient(
        self,
        tag: str,
        batch: Batch,
        slots: Slots,
        partials: Sequence[Sequence[Any]],
        blinds: Sequence[Any],
        loss_part: int | None = None,
    ) -> list[float]:
        """This party's inner products with the residuals, decrypted by the arbiter.

        :param partials: lists of partial results, which are added; of each partition, or of a part of what it did
        :param loss_part: what the host gave of its own part of the loss, where the last slot is the loss
        """
        fraction, bits = self._fraction(batch), self._column_bits(batch)
        if loss_part is not None:
            bits = np.append(bits, self._loss_bits(batch, fraction))
        # hosts have prepared the next batch while the guest computed the residuals
        ahead = batch if self.ctx.party.role == "guest" else None
        return self._decrypted(tag, slots, partials, blinds, bits + fraction, loss_part or 0, ahead)

    def _decrypted(
        self,
        tag: str,
        slots: Slots,
        partials: Sequence[Sequence[Any]],
        blinds: Sequence[Any],
        bits: np.ndarray,
        last_part: int = 0,
        ahead: Batch | None = None,
    ) -> list[float]:
        """The sums of partial results, through the arbiter.

        :param bits: scale of each
        :param last_part: what is added to the last
        :param ahead: to be prepared while the arbiter decrypts (see :meth:`_prepare`)
        """
        parts = self._finished(list(zip(*partials, strict=True)), blinds)
        federation, arbiter = self.ctx.federation, arbiter_of(self.ctx)
        federation.send(arbiter, f"{tag}/products", {"columns": slots.columns, "stride": slots.stride, "parts": parts})
        if ahead is not None:
            self._prepare(ahead)
        masks = self.cipher.masks(blinds, slots)
        if last_part:
            masks[-1] -= last_part
        residue = Integer(0, self.cipher.modulus - 1)
        masked = federation.receive(arbiter, f"{tag}/decrypted", ListOf(residue, length=slots.columns))
        return from_integers(self.cipher.unmask(masked, masks), bits).tolist()

    def _finished(self, columns: Sequence[Sequence[Any]], blinds: Sequence[Any]) -> list[bytes]:
        engine = self.ctx.engine
        if len(columns) <= FEW_PARTS or engine.parallelism == 1:
            return [self.cipher.finish(column, blind) for column, blind in zip(columns, blinds, strict=True)]
        jobs = [
            [(columns[i], blinds[i]) for i in places]
            for places in np.array_split(np.arange(len(columns)), engine.parallelism)
        ]
        return [part for done in engine.run(partial(tasks.finish, self._key), jobs) for part in done]


class GuestExchange(Exchange):
    """The guest's part."""

    def gradient(
        self, tag: str, batch: Batch, weights: np.ndarray, penalty: float, positive: float | None = None
    ) -> Gradient:
        federation = self.ctx.federation
        portions = self._portions(batch, weights, positive)
        slots = self._slots(batch, loss=self.with_loss)
        # while the hosts compute
        blinds = self._blinds(slots)
        check = self.cipher.check_vectors(batch.counts)
        received = [federation.receive(host, f"{tag}/share", check) for host in federation.hosts]
        shares = self._share_arguments(
            batch, portions, [list(map(self.cipher.read, bodies)) for bodies in zip(*received, strict=True)]
        )
        products = self._products_arguments(batch, portions, slots, self._column_bits(batch))
        try:
            own_loss, partials = self._compute(tag, shares, products)
        except tasks.BodyError as error:
            senders = " or ".join(map(str, federation.hosts))
            raise ProtocolError(str(federation.hosts[0]), f"a share from {senders} cannot be used: {error}") from None
        if not self.with_loss:
            return Gradient(np.array(self._gradient(tag, batch, slots, partials, blinds)) / batch.size)
        part = federation.receive(federation.hosts[0], f"{tag}/loss", Integer(0, self.cipher.modulus - 1))
        *found, host_loss = self._gradient(tag, batch, slots, partials, blinds, part)
        return Gradient(np.array(found) / batch.size, (own_loss + host_loss) / batch.size + penalty)

    def _compute(
        self, tag: str, shares: list[tasks.ShareArgument], products: list[tasks.ProductsArgument]
    ) -> tuple[float, list[list[Any]]]:
        """The residuals, to the hosts; the guest's own loss, and all partial results.

        The hosts wait for the residuals. So they leave as early as they can, unless what is left to do is less than
        another round trip to the executors.
        """
        found: list[list[Any]] = []
        if not self.rows.distributed:
            shared = self._run(tasks.share, shares)
            self._send_residuals(tag, shared)
            if self.with_loss:
                found += self._run(tasks.host_loss, shares)
        else:
            quick = max(map(_cells, products)) <= self.cipher.quick_cells
            done = self._run(tasks.guest, list(zip(shares, products if quick else [None] * len(shares), strict=True)))
            shared = [one for one, _, _ in done]
            self._send_residuals(tag, shared)
            found += [part for _, loss, own in done for part in (loss, own) if part is not None]
            if quick:
                return as_float(sum(one.loss for one in shared)), found
        ready = [replace(one, residual=ours.vector) for one, ours in zip(products, shared, strict=True)]
        found += self._run(tasks.products, ready)
        return as_float(sum(one.loss for one in shared)), found

    def _send_residuals(self, tag: str, shared: list[tasks.Shared]) -> None:
        federation = self.ctx.federation
        federation.send(federation.hosts, f"{tag}/residuals", [self.cipher.write(one.vector) for one in shared])


class HostExchange(Exchange):
    """A host's part."""

    def gradient(
        self, tag: str, batch: Batch, weights: np.ndarray, penalty: float, positive: float | None = None
    ) -> Gradient:
        federation = self.ctx.federation
        portions = self._portions(batch, weights)
        shared = self._run(tasks.share, self._share_arguments(batch, portions, [None] * len(portions)))
        federation.send(federation.guest, f"{tag}/share", [self.cipher.write(one.vector) for one in shared])
        if self.with_loss:
            self._send_loss(tag, batch, as_float(sum(one.loss for one in shared)) + batch.size * penalty)
        # while the guest computes
        slots = self._slots(batch)
        blinds = self._blinds(slots)
        self._prepare(batch)
        check = self.cipher.check_vectors(batch.counts)
        residuals = map(self.cipher.read, federation.receive(federation.guest, f"{tag}/residuals", check))
        products = self._products_arguments(batch, portions, slots, self._column_bits(batch))
        try:
            partials = self._run(
                tasks.products,
                [replace(one, residual=residual) for one, residual in zip(products, residuals, strict=True)],
            )
        except tasks.BodyError as error:
            raise ProtocolError(
                str(federation.guest), f"residuals from {federation.guest} cannot be used: {error}"
            ) from None
        return Gradient(np.array(self._gradient(tag, batch, slots, partials, blinds)) / batch.size)

    def _send_loss(self, tag: str, batch: Batch, value: float) -> None:
        """Half of a host's own loss to the guest, half to the arbiter; each of them alone is uniform."""
        if not 0 <= value <= batch.size * self._loss_bound:
            raise CryptoError(
                f"diverged: the host's part of the mean loss reached {value / batch.size:g}, more than "
                f"{self._loss_bound:g}; {DIVERGED}"
            )
        fraction = self._fraction(batch)
        number = round(value * 2.0 ** (fraction + self._loss_bits(batch, fraction)))
        random = secrets.randbelow(self.cipher.modulus)
        federation = self.ctx.federation
        federation.send(federation.guest, f"{tag}/loss", (number + random) % self.cipher.modulus)
        federation.send(arbiter_of(self.ctx), f"{tag}/loss", random)


def serve(ctx: Context, key: SecretKey, tag: str, columns: Sequence[int], loss_share: bool) -> None:
    """The arbiter's part in a batch: decrypt masked numbers for each party.

    Nobody can see what a ciphertext holds, or that it is the result of a computation. What bounds what a party has
    decrypted is how many numbers it gets: as many as the columns that the guest agreed to, which are fewer than a
    batch's rows at each host. They stand in as many ciphertexts as the guest's rows need, whose stride is everybody's.

    :param columns: of the guest (the loss among them) and of each host, from the guest's plan
    :param loss_share: whether the host gives a share of its own part of the loss
    :raises ProtocolError: a party sent what is no ciphertext of this protocol, or not as many products as agreed on
    """
    federation, cipher = ctx.federation, key.public
    share, stride = 0, None
    if loss_share:
        share = federation.receive(federation.hosts[0], f"{tag}/loss", Integer(0, cipher.modulus - 1))
    for party, count in zip((federation.guest, *federation.hosts), columns, strict=True):
        request = federation.receive(party, f"{tag}/products", _Request(cipher, count, stride))
        stride = request["stride"]
        try:
            numbers = key.decrypt(request["parts"], Slots(count, stride))
        except CryptoError as error:
            raise ProtocolError(str(party), f"products from {party} cannot be decrypted: {error}") from None
        if loss_share and party.role == "guest":
            if not numbers:
                raise ProtocolError(str(party), f"{party} sent no product for the loss")
            numbers[-1] = (numbers[-1] - share) % cipher.modulus
        federation.send(party, f"{tag}/decrypted", numbers)


@dataclass(frozen=True)
class _Request:
    """Finished products, as many as their columns need.

    :param columns: of the party, no more and no fewer
    :param stride: of the batch, where it is known
    """

    cipher: VectorScheme
    columns: int
    stride: int | None

    def __call__(self, value: Any) -> None:
        strides = Integer(0, MOST_STRIDE) if self.stride is None else Integer(self.stride, self.stride)
        shape = {"columns": Integer(self.columns, self.columns), "stride": strides}
        DictOf({**shape, "parts": ListOf(Bytes(), max_length=MOST_COLUMNS)})(value)
        count = self.cipher.parts(Slots(self.columns, value["stride"]))
        self.cipher.check_parts(count)(value["parts"])


def _cells(argument: tasks.ProductsArgument) -> int:
    """Numbers that the partition with the most rows multiplies."""
    return argument.slots.columns * argument.slots.stride
