"""One HeteroLR epoch on 100,000 rows x (10 + 10) features against the bare cost of its homomorphic operations.

    python -m benchmarks.bench_hetero_lr [rows] [features of each party]

Three processes, one for each party, with messages through a directory; full batch, BFV. Bare is what the protocol
cannot do without, as plain calls of SEAL with everything in memory: encryptions, additions, transforms, products with
the encoded columns, masks, decryptions; in the order of the protocol, with what two parties do at the same time counted
once (the longer). Encoding the columns, once for a training, is not in it, and not in the epochs after the first.
Encryptions count where they are used, although ours makes some of them while it waits.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from airflow_provider_fate.job.parameters.hetero_lr import HeteroLRParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.hetero_lr import HeteroLR
from airflow_provider_fate.runtime.crypto import bfv
from benchmarks.parties import ARBITER, GUEST, HOST, Bench, rows_of, together

EPOCHS = 7
PARTIES = (GUEST, HOST, ARBITER)


def main(count: int, features: int) -> None:
    bare_before = bare(count, features)
    with tempfile.TemporaryDirectory() as folder:
        told = together(run_party, PARTIES, count, features, folder)
    first, *later = told["guest"]["seconds"]
    path, total = min(bare_before, bare(count, features))
    ours = min(later)
    print(f"HeteroLR epoch, {count} rows x ({features} + {features}) features, full batch, BFV, a process a party:")
    print(f"  bare homomorphic operations  {path:6.3f} s  ({total:.3f} s of one core for all parties)")
    print(f"  HeteroLR                     {ours:6.3f} s  (best of {len(later)}; median {np.median(later):.3f} s)")
    print(f"  first epoch, with encoding   {first:6.3f} s")
    print(f"  ours / bare                  {ours / path:6.2f}    (aim: 1.50 or less)")
    sent = {role: one["bytes"] / 1e6 for role, one in told.items()}
    listed = ", ".join(f"{role} {megabytes:.1f}" for role, megabytes in sent.items())
    print(f"  on the wire                  {sum(sent.values()):6.1f} MB an epoch  ({listed})")


def run_party(party: Party, count: int, features: int, folder: str, ready: Any) -> dict[str, Any]:
    """Seconds of each epoch, and the bytes that the party sends in one."""
    marks: list[float] = []
    sent: list[int] = []

    def log(text: str) -> None:
        marks.append(time.perf_counter())
        sent.append(bench.transport.sent)

    rows = None if party == ARBITER else rows_of(party, count, features)
    bench = Bench(party, PARTIES, folder, log)
    settings = HeteroLRParam(max_iter=EPOCHS, learning_rate=0.05, tol=0)
    ready.wait()
    started = time.perf_counter()
    HeteroLR(bench.context, settings).fit({} if rows is None else {"train_data": rows}, {})
    bench.session.finish()
    return {"seconds": np.diff([started, *marks]).tolist(), "bytes": float(np.median(np.diff(sent)))}


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
