"""Runs a component at several parties, over the in-memory transport and the engine of the driver."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Checkpoint, Component, Context, Outputs
from airflow_provider_fate.runtime.data import Block, Engine, Rows, Schema
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.local_engine import LocalEngine
from tests.parties import run_parties

GUEST, HOST, HOST2, HOST3 = (
    Party("guest", "9999"),
    Party("host", "10000"),
    Party("host", "10001"),
    Party("host", "10002"),
)


class NoCheckpoint(Checkpoint):
    step = None

    def save(self, step: int, arrays: dict[str, np.ndarray], meta: dict[str, Any] | None = None) -> None:
        pass


class Alone(Federation):
    """For components that send nothing: any message is an error."""

    def __init__(self, me: Party) -> None:
        self.me, self.parties = me, (me,)

    def send(self, to: Any, tag: str, value: Any) -> None:
        raise AssertionError(f"sent {tag}")

    def receive(self, sender: Party, tag: str, check: Any) -> Any:
        raise AssertionError(f"waited for {tag}")

    def scoped(self, scope: str) -> Federation:
        return self


@dataclass
class Ran:
    """What one party's component gave: outputs or an error, and its log."""

    outputs: Outputs = field(default_factory=Outputs)
    error: FateError | None = None
    log: list[str] = field(default_factory=list)

    @property
    def rows(self) -> Rows:
        return self.outputs.data["data"]


def run_component(
    kind: type[Component],
    parameters: Any,
    data: dict[Party, dict[str, Rows]],
    seed: int = 0,
    partitions: int | None = None,
    engine: Engine | None = None,
) -> dict[Party, Ran]:
    """Run ``kind`` at every party of ``data``.

    :param parameters: for all parties, or a dict by party
    """

    def play(party: Party) -> Any:
        def run(federation: Federation) -> Ran:
            ran = Ran()
            own = parameters[party] if isinstance(parameters, dict) else parameters
            try:
                made = component(kind, own, party, ran.log, federation, seed, partitions, engine)
                ran.outputs = made.fit(data[party], {})
            except FateError as error:
                ran.error = error
            return ran

        return run

    return run_parties({party: play(party) for party in data}, timeout=60)


def component(
    kind: type[Component],
    parameters: Any,
    party: Party = GUEST,
    log: list[str] | None = None,
    federation: Federation | None = None,
    seed: int = 0,
    partitions: int | None = None,
    engine: Engine | None = None,
) -> Component:
    context = Context(
        name="part_0",
        party=party,
        federation=federation or Alone(party),
        engine=engine or LocalEngine(),
        log=[].append if log is None else log.append,
        record=lambda *_, **__: None,
        checkpoint=NoCheckpoint(),
        seed=seed,
        partitions=partitions,
    )
    return kind(context, parameters)


def table(
    ids: Sequence[str],
    x: np.ndarray | None = None,
    y: Sequence[float] | None = None,
    partitions: int = 1,
    features: Sequence[str] | None = None,
    label: str = "y",
) -> Rows:
    """Rows of a party; without ``x``, one feature that counts the rows."""
    x = np.arange(len(ids), dtype=float).reshape(-1, 1) if x is None else np.asarray(x, float)
    schema = Schema(
        "id",
        tuple(features or (f"x{place}" for place in range(x.shape[1]))),
        None if y is None else label,
    )
    bounds = np.linspace(0, len(ids), partitions + 1).astype(int)
    blocks = [
        Block(
            pa.array(list(ids[start:end]), pa.string()),
            np.ascontiguousarray(x[start:end]),
            None if y is None else np.asarray(y[start:end], float),
        )
        for start, end in itertools.pairwise(bounds)
    ]
    return LocalEngine().rows(blocks, schema)


def ids_of(rows: Rows) -> list[str]:
    return [text for block in rows.blocks() for text in block.ids.to_pylist()]
