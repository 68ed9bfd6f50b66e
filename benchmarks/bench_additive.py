"""Encrypted sums by bin: each operation beside the bare product modulo n, and all that one tree of SecureBoost needs.

    python -m benchmarks.bench_additive [rows]

One process on one core, seconds of processor time, but for the last lines. Bare is ``a * b % n`` of gmpy2 on numbers as
long as a ciphertext.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from airflow_provider_fate.runtime.crypto.additive import METHODS, AdditiveSecretKey, generate
from airflow_provider_fate.runtime.crypto.processes import cores

COLUMNS, BINS = 10, 32
TREE_COLUMNS, DEPTH = 20, 3
#: bits of a sum of both derivatives, as HeteroSecureBoost packs them for 100,000 rows
SUM_BITS = 75
#: what is timed of operations that take long
SAMPLE = {"OU": 10_000, "Paillier": 500}


def main(rows: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # no processes of its own
    for method in METHODS:
        key = generate(method)
        print(f"{method}, {8 * len(key.public.public) // (2 if method == 'OU' else 3)} bits, one core:")
        operations(method, key, rows)
    tree(rows)


def operations(method: str, key: AdditiveSecretKey, rows: int) -> None:
    cipher, sample = key.public, SAMPLE[method]
    values = np.random.default_rng(0).integers(0, 1 << 57, sample).tolist()
    key.encrypt(values), cipher.encrypt(values)  # tables
    line("encryption by the holder of the key", seconds(lambda: key.encrypt(values)) / sample)
    line("encryption by another party", seconds(lambda: cipher.encrypt(values)) / sample)
    loaded = numbers(key, rows)
    modulus = cipher.modulus  # type: ignore[attr-defined]
    bare = seconds(lambda: [one * loaded[0] % modulus for one in loaded]) / rows
    line("bare product", bare)
    line("addition", seconds(lambda: cipher.add(loaded, loaded)) / rows)
    line("subtraction", seconds(lambda: cipher.subtract(loaded[:5000], loaded[:5000])) / 5000)
    places = binned(rows, COLUMNS)
    sums: list[Any] = []
    took = seconds(lambda: sums.extend(cipher.histogram(loaded, places, [BINS] * COLUMNS)), 1) / (rows * COLUMNS)
    ratio = f"{took / bare:.2f} of bare; {rows} rows x {COLUMNS} columns x {BINS} bins"
    line("histogram, for each row and column", took, ratio)
    each = cipher.each(SUM_BITS)
    few = sums[: 10 * each]
    cipher.pack(few * 10, SUM_BITS)  # tables
    line(f"packing, for each of {each} sums of {SUM_BITS} bits", seconds(lambda: cipher.pack(few, SUM_BITS)) / len(few))
    line("the same, one sum a ciphertext", seconds(lambda: cipher.pack(few, cipher.plain_bits)) / len(few))
    body = cipher.pack(few[:20], cipher.plain_bits)
    line("decryption", seconds(lambda: key.decrypt(body)) / 20)


def tree(rows: int) -> None:
    """All encrypted work of a tree, where each split leaves half of a node's rows on either side."""
    key = generate("OU")
    cipher = key.public
    places, bins = binned(rows, TREE_COLUMNS), [BINS] * TREE_COLUMNS
    values = np.random.default_rng(0).integers(0, 1 << 57, rows).tolist()
    key.encrypt(values[:1000])
    bodies: list[bytes] = []
    guest = seconds(lambda: bodies.append(key.encrypt(values)), 1)
    start = time.process_time()
    loaded = cipher.load(bodies[0])
    nodes = {1: cipher.histogram(loaded, places, bins)}
    held = {1: np.random.default_rng(1).permutation(rows)}
    for level in range(1, DEPTH):
        for node in range(1 << (level - 1), 1 << level):
            left, right = held[2 * node], held[2 * node + 1] = np.array_split(held[node], 2)
            nodes[2 * node] = cipher.histogram(loaded, places, bins, left)
            nodes[2 * node + 1] = cipher.subtract(nodes[node], nodes[2 * node])
    adding = time.process_time() - start
    start = time.process_time()
    packed = [cipher.pack(sums, SUM_BITS) for sums in nodes.values()]
    packing = time.process_time() - start
    start = time.process_time()
    for body in packed:
        key.unpack(body, sum(bins), SUM_BITS)
    decrypting = time.process_time() - start
    print(f"a tree of depth {DEPTH}, {rows} rows x {TREE_COLUMNS} columns x {BINS} bins, OU:")
    print(f"  holder of the key: encrypts     {guest:8.2f} s, sends {len(bodies[0]) / 1e6:.1f} MB")
    print(f"  other party: sums of {len(nodes)} nodes    {adding:8.2f} s")
    print(f"  other party: packs              {packing:8.2f} s, sends {sum(map(len, packed)) / 1e6:.2f} MB")
    print(f"  holder of the key: decrypts     {decrypting:8.2f} s")
    for wanted in ("1", ""):
        os.environ["OMP_NUM_THREADS"] = wanted
        key.encrypt(values), cipher.histogram(loaded, places, bins)  # starts the processes
        start = time.perf_counter()
        key.encrypt(values)
        middle = time.perf_counter()
        cipher.histogram(loaded, places, bins)
        encrypting, adding = middle - start, time.perf_counter() - middle
        print(f"  by the clock, {cores()} core(s): encryption {encrypting:.2f} s, sums of the root {adding:.2f} s")


def numbers(key: AdditiveSecretKey, count: int) -> list[Any]:
    """As many different ciphertexts, quickly: products of some."""
    cipher = key.public
    found = cipher.load(key.encrypt(list(range(500))))
    more = found[::-1]
    while len(found) < count:
        more = more[1:] + more[:1]
        found = found + cipher.add(found[-len(more) :], more)
    return found[:count]


def binned(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, BINS, (rows, columns)).astype(np.uint8)


def seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    """The least processor time of some runs."""
    took = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        took.append(time.process_time() - start)
    return min(took)


def line(what: str, took: float, note: str = "") -> None:
    print(f"  {what:42s} {took * 1e6:9.2f} us{'   ' + note if note else ''}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
