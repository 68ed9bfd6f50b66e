"""HeteroFeatureBinning with information values on 100,000 rows x (20 + 20) columns against the bare cost of its
encryption.

    python -m benchmarks.bench_binning [rows] [columns of each party]

Two processes, one for each party, each on one core, with messages through a directory; 10 quantile bins a column,
Okamoto-Uchiyama of 2048 bits. Bare is what the protocol cannot do without, one after the other on one core, with
everything in memory: a key, an encrypted label for each row, the additions by bin of the host's columns, and the
decryption of the sums.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import Any

import numpy as np

from airflow_provider_fate.job.parameters import HeteroFeatureBinningParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.hetero_feature_binning import HeteroFeatureBinning
from airflow_provider_fate.runtime.crypto.additive import generate
from airflow_provider_fate.runtime.data import Block
from benchmarks.parties import GUEST, HOST, Bench, rows_of, together

ROUNDS = 3
BINS = 10
METHODS = {"quantile": {}, "optimal (iv, from 100 bins)": {"init_bin_nums": 100}}
PARTIES = (GUEST, HOST)


def main(count: int, columns: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # a core a party: no further processes
    print(f"HeteroFeatureBinning with IV, {count} rows x ({columns} + {columns}), a process a party, best of {ROUNDS}:")
    with tempfile.TemporaryDirectory() as folder:
        bares: list[tuple[float, float]] = []
        found: dict[str, list[float]] = {name: [] for name in METHODS}
        for number in range(ROUNDS):
            bares.append(bare(count, columns))
            for name, times in found.items():
                place = f"{folder}/{number}-{name[:3]}"
                times.append(max(together(run_party, PARTIES, count, columns, place, name).values()))
    best = min(bares, key=sum)
    print(f"  bare: key and labels       {best[0]:6.2f} s  {best[0] / count * 1e6:6.1f} us a row")
    print(f"  bare: additions, decryption{best[1]:6.2f} s  {best[1] / count / columns * 1e6:6.1f} us a row and column")
    for name, times in found.items():
        print(f"  {name:27s}{min(times):6.2f} s")
    print(f"  ours / bare                {min(found['quantile']) / sum(best):6.2f}    (aim: 1.50 or less)")


def run_party(party: Party, count: int, columns: int, folder: str, name: str, ready: Any) -> float:
    """Seconds from the moment that both parties are ready."""
    rows = rows_of(party, count, columns)
    bench = Bench(party, PARTIES, folder)
    more = METHODS[name]
    how = {"method": "optimal", "optimal_binning_param": more} if more else {}
    component = HeteroFeatureBinning(bench.context, HeteroFeatureBinningParam(bin_num=BINS, **how))
    ready.wait()
    started = time.perf_counter()
    found = component.fit({"data": rows}, {})
    found.data["data"].map(_size)
    seconds = time.perf_counter() - started
    bench.session.finish()
    return seconds


def _size(block: Block, _: Any) -> int:
    return len(block)


def bare(count: int, columns: int) -> tuple[float, float]:
    """Seconds of the guest's encryption, and of the additions and the decryption."""
    random = np.random.default_rng(0)
    bits = 2 * count.bit_length()
    values = [1 << (label * count.bit_length()) for label in random.integers(0, 2, count).tolist()]
    places = random.integers(0, BINS, (count, columns)).astype(np.uint8)
    started = time.perf_counter()
    key = generate("OU")
    body = key.encrypt(values)
    middle = time.perf_counter()
    sums = key.public.histogram(body, places, [BINS] * columns)
    key.unpack(key.public.pack(sums, bits), len(sums), bits)
    return middle - started, time.perf_counter() - middle


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
