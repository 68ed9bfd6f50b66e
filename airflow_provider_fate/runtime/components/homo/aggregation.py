"""Sums over the rows of all parties, by way of the arbiter, which sees masked vectors and their sum.

Guest and hosts send their public keys to each other, not by way of the arbiter, so that an arbiter that would exchange
them is not in between. Nothing but the transport says whose a key is: who can write to the job's queues in another
party's name can learn that party's vector.

A sum hides its parts as long as all parties work with the same sums: an arbiter that tells all but one that there are
very many rows, so that their weights count for nothing, or sends one of them other weights than the others, would see
that one's weights in the next sum. So the parties tell each other, before they go on, a digest of what they were given.
"""

from __future__ import annotations

import hashlib

import numpy as np

from airflow_provider_fate.errors import CryptoError, ProtocolError
from airflow_provider_fate.runtime.components.base import Context, arbiter_of
from airflow_provider_fate.runtime.crypto.secure_aggregation import KEY_SIZE, Masks, from_ring, to_ring, total
from airflow_provider_fate.runtime.federation.checks import Array, Bytes

#: bits after the binary point, for numbers up to two million
BITS = 40
#: of all parties together
MOST_ROWS = 1 << 40


class Summand:
    """The side of guest and hosts. Keys are agreed on when it is made."""

    def __init__(self, ctx: Context) -> None:
        federation = ctx.federation
        self._ctx = ctx
        self._arbiter = arbiter_of(ctx)
        others = self._others = [party for party in (federation.guest, *federation.hosts) if party != ctx.party]
        self._masks = Masks(str(ctx.party), ctx.name)
        federation.send(others, "mask_key", self._masks.public)
        check = Bytes(length=KEY_SIZE)
        self._masks.meet({str(other): federation.receive(other, "mask_key", check) for other in others})
        self._parties = len(others) + 1
        self._given = hashlib.sha256()

    def sum(self, tag: str, values: np.ndarray, bits: int = BITS) -> np.ndarray:
        """The sum of all parties' vectors; float64, shape (n,).

        :param values: float64, shape (n,)
        :raises CryptoError: a number is too large
        """
        try:
            own = to_ring(values, bits, self._parties)
        except CryptoError as error:
            raise CryptoError(f"{self._ctx.name}: diverged: {error}") from None
        self._ctx.federation.send(self._arbiter, f"{tag}/masked", self._masks.mask(own, tag))
        found = self._ctx.federation.receive(self._arbiter, f"{tag}/sum", Array("uint64", (len(values),)))
        self.note(found)
        return from_ring(found, bits)

    def rows(self, own: int) -> int:
        """How many rows all parties have; each has one at least.

        :raises ProtocolError: it cannot be so many
        """
        found = int(self.sum("rows", np.array([own], float), bits=0)[0])
        others = self._parties - 1
        if not own + others <= found <= MOST_ROWS:
            raise ProtocolError(
                str(self._arbiter),
                f"{self._arbiter} says that all parties together have {found} rows; that is fewer than "
                f"{self._ctx.party} has with one at each of the others, or more than {MOST_ROWS}",
            )
        return found

    def note(self, given: np.ndarray) -> None:
        """Something that all parties must have been given alike, for :meth:`agree`."""
        self._given.update(given.astype(given.dtype.newbyteorder("<")).tobytes())

    def agree(self, tag: str) -> None:
        """Compare all that was given until now with every other party: one short message for each two of them.

        :raises ProtocolError: a party was given something else
        """
        federation, own = self._ctx.federation, self._given.digest()
        federation.send(self._others, f"{tag}/given", own)
        check = Bytes(length=len(own))
        for other in self._others:
            if federation.receive(other, f"{tag}/given", check) != own:
                raise ProtocolError(
                    str(self._arbiter), f"{self._ctx.party} and {other} were not given the same by {self._arbiter}"
                )


def add_up(ctx: Context, tag: str, length: int, bits: int = BITS) -> np.ndarray:
    """The arbiter's side of :meth:`Summand.sum`; gives the sum."""
    federation = ctx.federation
    parties = [federation.guest, *federation.hosts]
    check = Array("uint64", (length,))
    found = total([federation.receive(party, f"{tag}/masked", check) for party in parties])
    federation.send(parties, f"{tag}/sum", found)
    return from_ring(found, bits)
