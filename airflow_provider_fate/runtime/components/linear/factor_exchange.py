"""The encrypted computation of one batch's gradients where the mean is a product, mean = a b, with a factor of the
guest and one of the only host.

The gradient of the guest's weights is the sum over rows of x a (b - y/a), that of the host's the sum of z b (a - y/b),
for their columns x and z. So each party takes the inner products of the other's encrypted factor with its own columns
times its own factor:

1. guest -> host: a and y, encrypted under the arbiter's key; host -> guest: b and, for the loss, log b and its penalty;
2. guest: <x a, b>, less <x, y> that it knows; host: <z b, a> - <z, y>;
3. for the loss, the sum of a b - y log(a b), the guest takes <a, b> - <y, log b> + <1, penalty> besides;
4. both: as in :mod:`.exchange`, through masks and the arbiter.

Unlike there, the host's part of the loss is within what the arbiter decrypts for the guest, who sees the sum only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ProtocolError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.exact import as_float
from airflow_provider_fate.runtime.components.linear import factors, tasks
from airflow_provider_fate.runtime.components.linear.batches import Batch
from airflow_provider_fate.runtime.components.linear.exchange import Exchange, Gradient
from airflow_provider_fate.runtime.crypto.fixed_point import column_bits
from airflow_provider_fate.runtime.crypto.scheme import Slots
from airflow_provider_fate.runtime.federation.checks import ListOf

#: inner products that are added in one slot, at most; up to a power of two
TERMS = 4


class FactorExchange(Exchange):
    """What both have in common."""

    #: at the guest, what is added to each row's logarithm of the mean, per partition
    offsets: list[np.ndarray] | None = None

    def _parts(self, batch: Batch, weights: np.ndarray) -> list[factors.Part]:
        offsets = self.offsets or [None] * len(batch.rows)
        portions = self._portions(batch, weights)
        return [factors.Part(portion, offset) for portion, offset in zip(portions, offsets, strict=True)]

    def _factored(
        self, tag: str, batch: Batch, parts: Sequence[factors.Part], peer: Party, *, guest: bool, constant: float = 0.0
    ) -> list[factors.Factored]:
        """This party's vectors, sent to the other."""
        fraction = self._fraction(batch)
        arguments = [
            factors.FactorArgument(part, fraction, self._share_bound, guest, self.with_loss, constant) for part in parts
        ]
        found: list[factors.Factored] = self._run(factors.factor, arguments)
        kinds = zip(*(one.vectors for one in found), strict=True)
        bodies = [[self.cipher.write(vector) for vector in kind] for kind in kinds]
        self.ctx.federation.send(peer, f"{tag}/factors", bodies)
        return found

    def _products(
        self, tag: str, batch: Batch, parts: Sequence[factors.Part], peer: Party, bits: np.ndarray, slots: Slots,
        blinds: Sequence[Any], *, guest: bool, vectors: int,
    ) -> np.ndarray:  # fmt: skip
        """Inner products with the other party's vectors, decrypted by the arbiter."""
        check = ListOf(self.cipher.check_vectors(batch.counts), length=vectors)
        received = self.ctx.federation.receive(peer, f"{tag}/factors", check)
        arguments = [
            factors.WeightedArgument(part, guest, slots, bits, [self.cipher.read(body) for body in bodies])
            for part, bodies in zip(parts, zip(*received, strict=True), strict=True)
        ]
        try:
            done = self._run(factors.weighted_products, arguments)
        except tasks.BodyError as error:
            raise ProtocolError(str(peer), f"factors from {peer} cannot be used: {error}") from None
        partials = [partial for some in done for partial in some]
        return np.array(self._decrypted(tag, slots, partials, blinds, bits + self._fraction(batch)))

    def _bits(self, batch: Batch, found: Sequence[factors.Factored]) -> np.ndarray:
        """Scale of each column that is encoded, then that of a column of ones."""
        largest = np.append(np.max([one.largest for one in found], axis=0), 1.0)
        sums = np.append(np.sum([one.sums for one in found], axis=0), batch.size)
        limit = int(math.ldexp(self._parties * self._share_bound, self._fraction(batch)))
        return column_bits(largest, sums, batch.size, limit, self.cipher.modulus // TERMS, self.cipher.factor_bits)


class GuestFactorExchange(FactorExchange):
    """The guest's part."""

    def gradient(
        self, tag: str, batch: Batch, weights: np.ndarray, penalty: float, positive: float | None = None
    ) -> Gradient:
        (host,) = self.ctx.federation.hosts
        parts = self._parts(batch, weights)
        found = self._factored(tag, batch, parts, host, guest=True)
        slots = self._slots(batch, loss=self.with_loss)
        blinds = self._blinds(slots)
        count, bits = len(weights), self._bits(batch, found)
        if self.with_loss:
            bits[count] = bits[count:].min()
        known = np.array([as_float(sum(parts)) for parts in zip(*(one.known for one in found), strict=True)])
        vectors = 3 if self.with_loss else 1
        products = self._products(
            tag, batch, parts, host, bits[: slots.columns], slots, blinds, guest=True, vectors=vectors
        )
        mean = (products[:count] - known[:count]) / batch.size
        if not self.with_loss:
            return Gradient(mean)
        return Gradient(mean, float(products[count] - known[count]) / batch.size + penalty)


class HostFactorExchange(FactorExchange):
    """The host's part."""

    def gradient(
        self, tag: str, batch: Batch, weights: np.ndarray, penalty: float, positive: float | None = None
    ) -> Gradient:
        guest = self.ctx.federation.guest
        parts = self._parts(batch, weights)
        found = self._factored(tag, batch, parts, guest, guest=False, constant=penalty)
        slots = self._slots(batch)
        blinds = self._blinds(slots)
        bits = self._bits(batch, found)[:-1].reshape(2, len(weights)).min(axis=0)
        products = self._products(tag, batch, parts, guest, bits, slots, blinds, guest=False, vectors=2)
        return Gradient(products / batch.size)
