"""SecureAddExample: guest and host add up their numbers without showing them; FATE's toy example.

Each party has ``data_num`` rows of value 1. It splits every value v into two shares, r and v - r, over the integers
modulo 2^64 (fixed point, 32 bits after the point), with r uniform from the operating system's randomness; it keeps
one and sends the other. Each adds up what it holds, and the host sends its sum, from which the guest has the total.
(Additive secret sharing: A. Shamir 1979; in this form, J. Benaloh, CRYPTO 1986.)

Who learns what, without any assumption on computing power: the host learns nothing, a share being uniform whatever
the value; the guest learns the total, and with it the sum of the host's values. FATE draws its shares from a range
around the value, which gives the value away, and does not use its ``seed`` either.
"""

from __future__ import annotations

import os

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.secure_add_example import SecureAddExampleParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Component, Outputs
from airflow_provider_fate.runtime.data import Model, Rows, even_counts
from airflow_provider_fate.runtime.federation.checks import Array, Integer

#: bits after the point
FRACTION_BITS = 32
#: shares of one message: 1 MiB
SHARES_PER_MESSAGE = 131072
VALUE = 1.0


class SecureAddExample(Component):
    """FATE's ``SecureAddExample`` for one guest and one host."""

    module = "SecureAddExample"
    parameters: SecureAddExampleParam

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """The guest's output has the metric ``secure_sum``.

        :raises DataError: the sum is not what it must be
        """
        party, federation, log = self.ctx.party, self.ctx.federation, self.ctx.log
        if party.role == "arbiter":
            return Outputs()
        if len(federation.hosts) != 1:
            raise ConfigError(self.ctx.name, f"takes one host, got {len(federation.hosts)}")
        # at most 2^29, so that the sum of both parties' ones stays below 2^63 in fixed point
        count = self.parameters.data_num
        peer = federation.hosts[0] if party.role == "guest" else federation.guest
        log(f"begin to init parameters of secure add example {party.role}")
        if self.parameters.seed is not None:
            log("seed: not used, the shares come from the operating system and the sum does not depend on them")
        log(f"begin to make {party.role} data")
        counts = even_counts(count, max(1, min(self.parameters.partition, count)))
        log("split data into two random parts")
        pairs = self.ctx.engine.run(_split, counts)
        kept = np.concatenate([pair[0] for pair in pairs])
        given = np.concatenate([pair[1] for pair in pairs])
        log(f"share one random part data to {peer.role}")
        for start in range(0, count, SHARES_PER_MESSAGE):
            piece = given[start : start + SHARES_PER_MESSAGE]
            federation.send(peer, f"{party.role}_share.{start // SHARES_PER_MESSAGE}", piece)
        log(f"get share of one random part data from {peer.role}")
        received = self._receive(peer, count)
        log("begin to get sum of guest and host")
        bounds = np.cumsum(counts)[:-1]
        sums = self.ctx.engine.run(_add, list(zip(np.split(kept, bounds), np.split(received, bounds), strict=True)))
        own = sum(sums) % (1 << 64)
        if party.role == "host":
            federation.send(peer, "host_sum", own)
            return Outputs()
        log("receive host sum from guest")
        total = (own + federation.receive(peer, "host_sum", Integer(0, (1 << 64) - 1))) % (1 << 64)
        secure_sum = _decode(total)
        expected = 2 * count * VALUE
        if abs(secure_sum - expected) >= 1e-6:
            raise DataError(
                f"{self.ctx.name}: secure_sum is {secure_sum}, expected {expected}; do {party} and {peer} have the "
                "same data_num and version?"
            )
        verdict = f"success to calculate secure_sum, it is {secure_sum}"
        return Outputs(metrics={"secure_sum": secure_sum}, verdict=verdict)

    def _receive(self, peer: Party, count: int) -> np.ndarray:
        return np.concatenate(
            [
                self.ctx.federation.receive(
                    peer,
                    f"{peer.role}_share.{start // SHARES_PER_MESSAGE}",
                    Array("uint64", (min(SHARES_PER_MESSAGE, count - start),)),
                )
                for start in range(0, count, SHARES_PER_MESSAGE)
            ]
        )


def _encode(value: float) -> int:
    return round(value * (1 << FRACTION_BITS)) % (1 << 64)


def _decode(value: int) -> float:
    signed = value - (1 << 64) if value >> 63 else value
    return signed / (1 << FRACTION_BITS)


def _split(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Two shares of ``rows`` values, uint64 of shape (rows,) each."""
    random = np.frombuffer(os.urandom(8 * rows), np.uint64)
    return random, np.uint64(_encode(VALUE)) - random


def _add(shares: tuple[np.ndarray, np.ndarray]) -> int:
    """The sum of both shares, modulo 2^64."""
    return int((shares[0] + shares[1]).sum(dtype=np.uint64))
