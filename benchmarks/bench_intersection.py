"""Intersection of 2 x 100,000 ids against the bare cost of the curve operations.

    python -m benchmarks.bench_intersection [ids]

Two processes, one for each party, with messages through a directory. Bare is what each party cannot do without: two
multiplications on the curve for every id, one of them after a hash to the curve, in a plain loop, in the same two
processes at the same time.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from airflow_provider_fate.job.parameters.intersect import IntersectParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Checkpoint, Context
from airflow_provider_fate.runtime.components.intersection import Intersection
from airflow_provider_fate.runtime.crypto import curve25519
from airflow_provider_fate.runtime.data import Block, Rows, Schema
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.local_engine import LocalEngine

ROUNDS = 3
FEATURES = 10
PARTIES = (Party("guest", "9999"), Party("host", "10000"))


def main(count: int) -> None:
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            bare.append(together(bare_party, count, folder, number))
            ours.append(together(our_party, count, folder, number))
    best_bare, best_ours = min(bare), min(ours)
    print(f"intersection of 2 x {count} ids, half of them in common, a process each, best of {ROUNDS}:")
    print(f"  bare curve operations  {best_bare:6.2f} s  {best_bare / count * 1e6:6.1f} us an id")
    print(f"  Intersection           {best_ours:6.2f} s  {best_ours / count * 1e6:6.1f} us an id")
    print(f"  ours / bare            {best_ours / best_bare:6.2f}    (aim: 1.50 or less)")


def together(target: Any, count: int, folder: str, number: int) -> float:
    """Seconds from the moment that both parties are ready to the end of the slower one."""
    context = multiprocessing.get_context("spawn")
    ready, ended = context.Barrier(len(PARTIES)), context.Queue()
    shared = (count, folder, number, ready, ended)
    processes = [context.Process(target=run_party, args=(target, party, *shared)) for party in PARTIES]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a party ended with {process.exitcode}")
    return max(ended.get() for _ in processes)


def run_party(target: Any, party: Party, count: int, folder: str, number: int, ready: Any, ended: Any) -> None:
    work = target(party, count, folder, number)
    next(work)
    ready.wait()
    started = time.perf_counter()
    next(work)
    ended.put(time.perf_counter() - started)
    next(work, None)


def bare_party(party: Party, count: int, folder: str, number: int):
    """Two multiplications an id."""
    digests = [hashlib.sha256(i.to_bytes(8, "big")).digest() for i in range(count)]
    key = X25519PrivateKey.generate()
    yield
    for digest in digests:
        point = key.exchange(X25519PublicKey.from_public_bytes(curve25519.to_curve(digest)))
        key.exchange(X25519PublicKey.from_public_bytes(point))
    yield


def our_party(party: Party, count: int, folder: str, number: int):
    """The component, from rows to rows in the common order."""
    rows = rows_of(party, count)
    path = Path(folder) / f"messages-{number}"
    session = Session(DirectoryTransport(path), f"bench{number}", party, PARTIES, new_nonce(), 60, {})
    session.meet()
    context = Context(
        "intersection_0",
        party,
        session.federation(),
        LocalEngine(),
        lambda _: None,
        lambda *_, **__: None,
        Checkpoint(),
    )
    component = Intersection(context, IntersectParam())
    yield
    found = component.fit({"data": rows}, {}).data["data"]
    if found.count != count // 2:
        raise SystemExit(f"{found.count} rows in common, expected {count // 2}")
    yield
    session.finish()


def rows_of(party: Party, count: int) -> Rows:
    start = 0 if party.role == "guest" else count - count // 2
    ids = np.random.default_rng(1).permutation(np.arange(start, start + count))
    block = Block(pa.array([f"customer-{i:012d}" for i in ids.tolist()]), np.zeros((count, FEATURES)))
    return LocalEngine().rows([block], Schema("id", tuple(f"x{i}" for i in range(FEATURES))))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
