"""Intersection of 2 x 100,000 ids against the bare cost of the curve operations.

    python -m benchmarks.bench_intersection [ids]

Two processes, one for each party, with messages through a directory. Bare is what each party cannot do without: two
multiplications on the curve for every id, one of them after a hash to the curve, in a plain loop, in the same two
processes at the same time.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from airflow_provider_fate.job.parameters.intersect import IntersectParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.intersection import Intersection
from airflow_provider_fate.runtime.crypto import curve25519
from airflow_provider_fate.runtime.data import Block, Rows, Schema
from airflow_provider_fate.runtime.local_engine import LocalEngine
from benchmarks.parties import GUEST, HOST, Bench, together

ROUNDS = 3
FEATURES = 10
PARTIES = (GUEST, HOST)


def main(count: int) -> None:
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            for target, times in ((bare_party, bare), (our_party, ours)):
                place = f"{folder}/{number}"
                times.append(max(together(run_party, PARTIES, target, count, place).values()))
    best_bare, best_ours = min(bare), min(ours)
    print(f"intersection of 2 x {count} ids, half of them in common, a process each, best of {ROUNDS}:")
    print(f"  bare curve operations  {best_bare:6.2f} s  {best_bare / count * 1e6:6.1f} us an id")
    print(f"  Intersection           {best_ours:6.2f} s  {best_ours / count * 1e6:6.1f} us an id")
    print(f"  ours / bare            {best_ours / best_bare:6.2f}    (aim: 1.50 or less)")


def run_party(party: Party, target: Any, count: int, folder: str, ready: Any) -> float:
    """Seconds from the moment that both parties are ready."""
    work = target(party, count, folder)
    next(work)
    ready.wait()
    started = time.perf_counter()
    next(work)
    seconds = time.perf_counter() - started
    next(work, None)
    return seconds


def bare_party(party: Party, count: int, folder: str):
    """Two multiplications an id."""
    digests = [hashlib.sha256(i.to_bytes(8, "big")).digest() for i in range(count)]
    key = X25519PrivateKey.generate()
    yield
    for digest in digests:
        point = key.exchange(X25519PublicKey.from_public_bytes(curve25519.to_curve(digest)))
        key.exchange(X25519PublicKey.from_public_bytes(point))
    yield


def our_party(party: Party, count: int, folder: str):
    """The component, from rows to rows in the common order."""
    rows = rows_of(party, count)
    bench = Bench(party, PARTIES, folder)
    component = Intersection(bench.context, IntersectParam())
    yield
    found = component.fit({"data": rows}, {}).data["data"]
    if found.count != count // 2:
        raise SystemExit(f"{found.count} rows in common, expected {count // 2}")
    yield
    bench.session.finish()


def rows_of(party: Party, count: int) -> Rows:
    start = 0 if party.role == "guest" else count - count // 2
    ids = np.random.default_rng(1).permutation(np.arange(start, start + count))
    block = Block(pa.array([f"customer-{i:012d}" for i in ids.tolist()]), np.zeros((count, FEATURES)))
    return LocalEngine().rows([block], Schema("id", tuple(f"x{i}" for i in range(FEATURES))))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
