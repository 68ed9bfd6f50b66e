"""Seconds a tree of HeteroSecureBoost on 100,000 rows x (20 + 20) features, against the bare cost of its cryptography.

    python -m benchmarks.bench_secureboost [rows] [features of each party] [depth ...]

Two processes, one for each party, with messages through a directory; 32 bins, Okamoto-Uchiyama with 2048 bits. Bare is
what the same trees cannot do without, as plain calls of the scheme with everything in memory: the encryption of every
row in the tree, the encrypted sums of the root and of the smaller child of each pair, the packing of the sums of every
split, their decryption. All of it on one core; the parties' processor time stands beside it, and the time on the clock
of a tree, in which one party works while the other does.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import Any

import numpy as np

from airflow_provider_fate.job.parameters.secureboost import HeteroSecureBoostParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.binning.quantiles import places, split_points
from airflow_provider_fate.runtime.components.boosting.fixed import Packing
from airflow_provider_fate.runtime.components.hetero_secureboost import HeteroSecureBoost
from airflow_provider_fate.runtime.crypto.additive import generate
from benchmarks.parties import GUEST, HOST, Bench, rows_of, together

TREES = 3
BINS = 32
PARTIES = (GUEST, HOST)


def main(count: int, features: int, depths: list[int]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # one core a party: processor time counts one process
    print(f"HeteroSecureBoost, {count} rows x ({features} + {features}) features, {BINS} bins, OU 2048:")
    for depth in depths:
        with tempfile.TemporaryDirectory() as folder:
            told = train(count, features, depth, folder)
        trees = told["guest"]["trees"]
        walls = np.diff(told["guest"]["walls"])
        processor = sum(np.diff(told[role]["processor"]) for role in ("guest", "host"))
        best = int(np.argmin(walls))
        parts = bare(count, features, trees[best + 1])
        total = sum(parts.values())
        print(f"  depth {depth}")
        median = np.median(walls)
        print(f"    a tree                {walls[best]:7.2f} s  (best of {len(walls)}; median {median:.2f} s)")
        print(f"    first one, with keys  {told['guest']['first']:7.2f} s")
        print(f"    processor time        {processor[best]:7.2f} s  (both parties)")
        listed = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
        print(f"    bare cryptography     {total:7.2f} s  ({listed})")
        print(f"    ours / bare           {processor[best] / total:7.2f}    (aim: 1.50 or less)")
        sent = [told[role]["sent"] / TREES / 1e6 for role in ("guest", "host")]
        print(f"    on the wire           {sum(sent):7.1f} MB a tree  (guest {sent[0]:.1f}, host {sent[1]:.1f})")


def train(count: int, features: int, depth: int, folder: str) -> dict[str, dict[str, Any]]:
    """What each party tells of its run."""
    return together(run_party, PARTIES, count, features, depth, folder)


def run_party(party: Party, count: int, features: int, depth: int, folder: str, ready: Any) -> dict[str, Any]:
    walls: list[float] = []
    processor: list[float] = []

    def log(text: str) -> None:
        if text.startswith("round "):
            walls.append(time.perf_counter())
            processor.append(time.process_time())

    rows = rows_of(party, count, features)
    bench = Bench(party, PARTIES, folder, log)
    settings = HeteroSecureBoostParam(num_trees=TREES, bin_num=BINS, tree_param={"max_depth": depth}, tol=0)
    ready.wait()
    started = time.perf_counter()
    outputs = HeteroSecureBoost(bench.context, settings).fit({"train_data": rows}, {})
    bench.session.finish()
    trees = [] if outputs.model is None else [tree["nodes"] for tree in outputs.model.meta["trees"]]
    return {
        "walls": walls, "processor": processor, "sent": bench.transport.sent, "first": walls[0] - started,
        "trees": trees,
    }  # fmt: skip


def bare(count: int, features: int, tree: list[dict[str, Any]]) -> dict[str, float]:
    """Processor seconds of each kind of operation that a tree needs, on one core."""
    rows = rows_of(PARTIES[1], count, features)
    points = split_points(rows, range(features), BINS)
    codes = places(rows.blocks()[0].x, points)
    bins = [len(bounds) for bounds in points]
    key, packing, random = generate("OU"), Packing(count, "classification"), np.random.default_rng(0)
    scheme = key.public
    numbers = packing.pack(random.integers(-1000, 1000, count), random.integers(0, 1000, count))
    times: dict[str, float] = {}

    def timed(name: str, work: Any) -> Any:
        started = time.process_time()
        result = work()
        times[name] = times.get(name, 0.0) + time.process_time() - started
        return result

    body = timed("encrypt", lambda: key.encrypt(numbers))
    loaded = timed("add", lambda: scheme.load(body))
    # the root, and of each two children that may be split again the one with fewer rows
    levels = {0: 0}
    for node in tree:
        if "party" in node:
            levels |= {node["left"]: levels[node["id"]] + 1, node["right"]: levels[node["id"]] + 1}
    deepest = max(levels.values())
    searched = [number for number, level in levels.items() if level < deepest]
    adding = [count]
    for node in tree:
        if "party" in node and node["left"] in searched:
            adding.append(min(tree[node[side]]["rows"] for side in ("left", "right")))
    sums: list[Any] = []
    for size in adding:
        some = np.sort(random.choice(count, size, replace=False))
        sums = timed("add", lambda some=some: scheme.histogram(loaded, codes, bins, some))
    for _ in searched:
        splits = [one for one in sums if one is not None]
        packed = timed("pack", lambda splits=splits: scheme.pack(splits, packing.bits))
        timed("decrypt", lambda packed=packed, splits=splits: key.unpack(packed, len(splits), packing.bits))
    return times


if __name__ == "__main__":
    # a core for each party, which then starts no processes of its own
    os.environ["OMP_NUM_THREADS"] = "1"
    numbers_ = [int(text) for text in sys.argv[1:]]
    main(*(numbers_[:2] if len(numbers_) > 1 else [100_000, 20]), numbers_[2:] or [3, 5])
