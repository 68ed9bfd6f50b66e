"""For tests of components: all parties of a job in threads of one process, over the in-memory transport.

:func:`run_component` plays a component at every party; :func:`run_parties` any functions that send messages. Sessions,
checks and the wire format are those of a real job.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Component, Context, NoCheckpoint, Outputs
from airflow_provider_fate.runtime.data import Block, Engine, Model, Rows, Schema
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.local_engine import LocalEngine


def run_parties(
    parties: Mapping[Party, Callable[[Federation], Any]],
    timeout: float = 60,
    *,
    hub: Hub | None = None,
    max_body: int = 1 << 20,
) -> dict[Party, Any]:
    """Run each party's function in a thread of its own.

    :param parties: in the order of the job conf: guest, hosts, arbiter
    :param timeout: seconds for all together
    :param hub: one that misbehaves, or records what is sent
    :param max_body: bytes in one message; a small one cuts values into many pieces
    :returns: what each function returned
    :raises BaseException: the first error of any party, with a note that names the party
    :raises TimeoutError: who has not ended
    """
    hub = hub or Hub()
    results: dict[Party, Any] = {}
    errors: list[tuple[Party, BaseException]] = []
    lock = threading.Lock()

    def run(party: Party, function: Callable[[Federation], Any]) -> None:
        session = Session(MemoryTransport(hub, max_body), "job", party, tuple(parties), new_nonce(), timeout, {})
        try:
            session.meet()
            result = function(session.federation())
            session.finish()
        except BaseException as error:
            with lock:
                errors.append((party, error))
            session.abort(f"{type(error).__name__}: {error}")
        else:
            with lock:
                results[party] = result

    threads = {
        party: threading.Thread(target=run, args=(party, function), name=str(party), daemon=True)
        for party, function in parties.items()
    }
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + timeout
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    if errors:
        party, error = errors[0]
        error.add_note(f"at {party}")
        raise error
    if late := [str(party) for party, thread in threads.items() if thread.is_alive()]:
        raise TimeoutError(f"after {timeout} s, these parties have not ended: {', '.join(late)}")
    return results


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
        """The output ``data``."""
        return self.outputs.data["data"]


def run_component(
    kind: type[Component],
    parameters: Any,
    data: Mapping[Party, dict[str, Rows]],
    seed: int = 0,
    partitions: int | None = None,
    engine: Engine | None = None,
    models: Mapping[Party, Model] | None = None,
    hub: Hub | None = None,
) -> dict[Party, Ran]:
    """Run ``kind`` at every party of ``data``.

    :param parameters: for all parties, or a dict by party
    :param data: by party, what its ``fit`` takes
    :param models: by party, what an earlier ``fit`` learnt; then ``predict`` is run
    :param hub: as in :func:`run_parties`
    """

    def play(party: Party) -> Any:
        def run(federation: Federation) -> Ran:
            ran = Ran()
            own = parameters[party] if isinstance(parameters, dict) else parameters
            try:
                made = component(kind, own, party, ran.log, federation, seed, partitions, engine)
                ran.outputs = made.fit(data[party], {}) if models is None else made.predict(data[party], models[party])
            except FateError as error:
                ran.error = error
            return ran

        return run

    return run_parties({party: play(party) for party in data}, timeout=60, hub=hub)


def component(
    kind: type[Component],
    parameters: Any,
    party: Party = Party("guest", "9999"),  # noqa: B008 - frozen
    log: list[str] | None = None,
    federation: Federation | None = None,
    seed: int = 0,
    partitions: int | None = None,
    engine: Engine | None = None,
) -> Component:
    """One party's component; without ``federation``, one that must not send anything."""
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
    """Rows of a party; without ``x``, one feature that counts the rows.

    :param x: of shape (rows, features)
    :param features: names; by default ``x0``, ``x1``, ...
    """
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
    """The ids of all rows, in order."""
    return [text for block in rows.blocks() for text in block.ids.to_pylist()]
