"""Parties of a benchmark: a process each, rows made up, messages through a directory that counts their bytes."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Context, NoCheckpoint
from airflow_provider_fate.runtime.data import Block, Rows, Schema
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.local_engine import LocalEngine

GUEST, HOST, ARBITER = Party("guest", "9999"), Party("host", "10000"), Party("arbiter", "10000")


class CountingTransport(DirectoryTransport):
    """Counts the bytes that it sends."""

    sent = 0

    def send(self, to: Party, body: bytes) -> None:
        self.sent += len(body)
        super().send(to, body)


class Bench:
    """One party's side: a session that has met the others, and what a component needs.

    :param log: takes the lines that the component says
    """

    def __init__(
        self, party: Party, parties: Sequence[Party], folder: str, log: Callable[[str], None] = lambda _: None
    ) -> None:
        self.party = party
        self.transport = CountingTransport(Path(folder) / "messages")
        self.session = Session(self.transport, "bench", party, parties, new_nonce(), 60, {})
        self.session.meet()
        self.context = Context(
            "bench_0", party, self.session.federation(), LocalEngine(), log, lambda *_, **__: None, NoCheckpoint()
        )


def together(target: Callable[..., Any], parties: Sequence[Party], *args: Any) -> dict[str, Any]:
    """Run ``target(party, *args, ready)`` in a process for each party; what each returned, by role.

    ``ready.wait()`` lets all go on at the same time.
    """
    context = multiprocessing.get_context("spawn")
    ready, ended = context.Barrier(len(parties)), context.Queue()
    processes = [context.Process(target=_run, args=(target, party, args, ready, ended)) for party in parties]
    for process in processes:
        process.start()
    told: dict[str, Any] = {}
    while len(told) < len(parties):
        try:
            role, result = ended.get(timeout=1)
            told[role] = result
        except queue.Empty:
            if failed := [process.exitcode for process in processes if process.exitcode]:
                for process in processes:
                    process.kill()
                raise SystemExit(f"a party ended with {failed[0]}") from None
    for process in processes:
        process.join()
    return told


def _run(target: Callable[..., Any], party: Party, args: tuple[Any, ...], ready: Any, ended: Any) -> None:
    ended.put((party.role, target(party, *args, ready)))


def rows_of(party: Party, count: int, features: int) -> Rows:
    """Normal numbers; the guest's label follows from columns of both parties, and noise."""
    random = np.random.default_rng(len(party.role))
    x = random.normal(size=(count, features))
    y = None
    if party.role == "guest":
        other = np.random.default_rng(len("host")).normal(size=(count, features))
        y = (x[:, 0] + other[:, 0] * other[:, 1] + random.normal(size=count) > 0).astype(float)
    schema = Schema("id", tuple(f"x{place}" for place in range(features)), None if y is None else "y")
    ids = pa.array([f"{place:08d}" for place in range(count)], pa.string())
    return LocalEngine().rows([Block(ids, x, y)], schema)
