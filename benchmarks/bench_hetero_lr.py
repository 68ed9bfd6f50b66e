"""One HeteroLR epoch on 100,000 rows x (10 + 10) features against the bare cost of its homomorphic operations.

    python -m benchmarks.bench_hetero_lr [rows] [features of each party]

Three processes, one for each party, with messages through a directory; full batch, BFV. Bare is what the protocol
cannot do without, as plain calls of SEAL with everything in memory: encryptions, additions, transforms, products with
the encoded columns, masks, decryptions; in the order of the protocol, with what two parties do at the same time counted
once (the longer). Encoding the columns, once for a training, is not in it, and not in the epochs after the first. Encryptions count where
they are used, although ours makes some of them while it waits.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_fate.job.parameters.hetero_lr import HeteroLRParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Context, NoCheckpoint
from airflow_provider_fate.runtime.components.hetero_lr import HeteroLR
from airflow_provider_fate.runtime.crypto import bfv
from airflow_provider_fate.runtime.data import Block, Rows, Schema
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.local_engine import LocalEngine

EPOCHS = 7
PARTIES = (Party("guest", "9999"), Party("host", "10000"), Party("arbiter", "10000"))


def main(count: int, features: int) -> None:
    bare_before = bare(count, features)
    with tempfile.TemporaryDirectory() as folder:
        first, *later = epochs(count, features, folder)
    path, total = min(bare_before, bare(count, features))
    ours = min(later)
    print(f"HeteroLR epoch, {count} rows x ({features} + {features}) features, full batch, BFV, a process a party:")
    print(f"  bare homomorphic operations  {path:6.3f} s  ({total:.3f} s of one core for all parties)")
    print(f"  HeteroLR                     {ours:6.3f} s  (best of {len(later)}; median {np.median(later):.3f} s)")
    print(f"  first epoch, with encoding   {first:6.3f} s")
    print(f"  ours / bare                  {ours / path:6.2f}    (aim: 1.50 or less)")


def epochs(count: int, features: int, folder: str) -> list[float]:
    """Seconds of each epoch, at the guest."""
    context = multiprocessing.get_context("spawn")
    ended = context.Queue()
    processes = [context.Process(target=run_party, args=(party, count, features, folder, ended)) for party in PARTIES]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a party ended with {process.exitcode}")
    return ended.get()


def run_party(party: Party, count: int, features: int, folder: str, ended: Any) -> None:
    marks: list[float] = []

    def log(text: str) -> None:
        marks.append(time.perf_counter())

    session = Session(DirectoryTransport(Path(folder) / "messages"), "bench", party, PARTIES, new_nonce(), 60, {})
    session.meet()
    context = Context(
        "hetero_lr_0", party, session.federation(), LocalEngine(), log, lambda *_, **__: None, NoCheckpoint()
    )
    settings = HeteroLRParam(max_iter=EPOCHS, learning_rate=0.05, tol=0)
    data = {} if party.role == "arbiter" else {"train_data": rows_of(party, count, features)}
    started = time.perf_counter()
    HeteroLR(context, settings).fit(data, {})
    session.finish()
    if party.role == "guest":
        ended.put(np.diff([started, *marks]).tolist())


def rows_of(party: Party, count: int, features: int) -> Rows:
    random = np.random.default_rng(len(party.role))
    x = random.normal(size=(count, features))
    y = (x[:, 0] + random.normal(size=count) > 0).astype(float) if party.role == "guest" else None
    schema = Schema("id", tuple(f"x{place}" for place in range(features)), None if y is None else "y")
    ids = pa.array([f"{place:08d}" for place in range(count)], pa.string())
    return LocalEngine().rows([Block(ids, x, y)], schema)


def bare(count: int, features: int) -> tuple[float, float]:
    """Seconds along the protocol's longest path, and of all operations on one core."""
    state, seal = bfv._seal(), bfv.seal
    generator = seal.KeyGenerator(state.context)
    public = seal.PublicKey()
    generator.create_public_key(public)
    encryptor = seal.Encryptor(state.context, public)
    decryptor = seal.Decryptor(state.context, generator.secret_key())
    evaluator, random = state.evaluator, np.random.default_rng(0)
    chunks = -(-count // bfv.N)
    vectors = [bfv._plaintext(random.integers(-1000, 1000, bfv.N)) for _ in range(chunks)]
    mask = bfv._plaintext(bfv._uniform(bfv.PLAIN_BITS))
    column = bfv._plaintext(random.integers(-1000, 1000, bfv.N))
    evaluator.transform_to_ntt_inplace(column, state.top)

    def encrypted(plaintexts: list[Any]) -> list[Any]:
        made = [seal.Ciphertext() for _ in plaintexts]
        for plaintext, ciphertext in zip(plaintexts, made, strict=True):
            encryptor.encrypt(plaintext, ciphertext)
        return made

    def guest_share() -> None:
        for one, other in zip(encrypted(vectors), shares, strict=True):
            evaluator.add_inplace(one, other)

    def products(columns: int, loss: bool) -> list[Any]:
        """Of one party: transforms, products and sums, then masks and the modulus switch."""
        ready = []
        for ciphertext in shares:
            ready.append(seal.Ciphertext())
            evaluator.transform_to_ntt(ciphertext, ready[-1])
        if loss:  # the host's share as well, and the vector that is new in each epoch
            for ciphertext, vector in zip(shares, vectors, strict=True):
                evaluator.transform_to_ntt(ciphertext, seal.Ciphertext())
                evaluator.transform_to_ntt(vector, state.top, seal.Plaintext())
        results, product = [], seal.Ciphertext()
        for _ in range(columns + loss):
            total = seal.Ciphertext()
            evaluator.multiply_plain(ready[0], column, total)
            for ciphertext in ready[1:]:
                evaluator.multiply_plain(ciphertext, column, product)
                evaluator.add_inplace(total, product)
            evaluator.transform_from_ntt_inplace(total)
            evaluator.add_inplace(total, shares[0])
            evaluator.mod_switch_to_next_inplace(total)
            results.append(total)
        return results

    def decrypted() -> None:
        plaintext = seal.Plaintext()
        for ciphertext in [*guest_results, *host_results]:
            decryptor.decrypt(ciphertext, plaintext)

    host_share, shares = seconds(lambda: encrypted(vectors))
    guest, _ = seconds(guest_share)
    guest_masks, _ = seconds(lambda: encrypted([mask] * (features + 2)))
    host_masks, _ = seconds(lambda: encrypted([mask] * features))
    guest_products, guest_results = seconds(lambda: products(features + 1, True))
    host_products, host_results = seconds(lambda: products(features, False))
    arbiter, _ = seconds(decrypted)
    parts = (host_share, guest, guest_masks, host_masks, guest_products, host_products, arbiter)
    # masks are made while the other party computes its share
    path = max(host_share, guest_masks) + max(guest, host_masks) + max(guest_products, host_products) + arbiter
    return path, sum(parts)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """The best of five."""
    found = []
    for _ in range(5):
        started = time.perf_counter()
        result = work()
        found.append(time.perf_counter() - started)
    return min(found), result


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 10)
