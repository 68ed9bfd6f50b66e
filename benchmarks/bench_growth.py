"""How a tree of HeteroSecureBoost grows with rows, features and depth, and what a second core of each party's executors
gives.

    python -m benchmarks.bench_growth [rows ...]

A tree of depth 3 and 32 bins, Okamoto-Uchiyama with 2048 bits. First a process a party on one core each, in the
driver; the seconds are those of the best of three trees. Then two spark-submits whose executors compute, 4 partitions:
the time of the whole component with two trees, with ``local[1]`` and with ``local[2]``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.runtime.storage.local import LocalStorage
from benchmarks.bench_secureboost import train

ROWS = [10_000, 100_000]
FEATURES = [10, 20, 40]
BASE = (20_000, 20, 3)  # rows, features of each party, depth


def main(rows: list[int]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    print("HeteroSecureBoost, a tree, a process a party on one core each:")
    lines = [(count, *BASE[1:]) for count in rows]
    lines += [(BASE[0], features, BASE[2]) for features in FEATURES]
    lines += [(*BASE[:2], depth) for depth in (4, 5)]
    for count, features, depth in lines:
        with tempfile.TemporaryDirectory() as folder:
            told = train(count, features, depth, folder)
        seconds = np.diff(told["guest"]["walls"]).min()
        processor = sum(np.diff(told[role]["processor"]).min() for role in told)
        size = f"{count} rows x ({features} + {features}), depth {depth}"
        print(f"  {size:38} {seconds:7.2f} s, {processor:7.2f} s of processor time of both parties", flush=True)
    print(f"the same on Spark, {BASE[0]} rows x (20 + 20), depth 3, two trees, 4 partitions:")
    for cores in (1, 2):
        print(f"  local[{cores}] at each party            {on_spark(cores):7.1f} s", flush=True)


def on_spark(cores: int) -> float:
    """Seconds of the component at the guest."""
    # brings Airflow and its log, which the processes of the parties do without
    from benchmarks.applications import submit
    from benchmarks.bench_million import DSL, conf, make_table

    settings: dict[str, Any] = conf()
    settings["job_parameters"] = {"common": {"computing_partitions": 4}}
    settings["component_parameters"]["common"]["hetero_secureboost_0"]["num_trees"] = 2
    job = Job.parse(settings, DSL)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for party in job.parties:
            make_table(LocalStorage(root / "storage"), party.role, BASE[0], BASE[1])
        processes = [submit(root, job, "growth", one, cores=cores, output=subprocess.PIPE) for one in job.parties]
        told = [process.communicate()[0].decode(errors="replace") for process in processes]
    if codes := [process.returncode for process in processes if process.returncode]:
        raise SystemExit(f"the parties ended with {codes}:\n{told[0][-3000:]}")
    found = re.search(r"hetero_secureboost_0 \(\w+\): done in ([0-9.]+) s", told[0])
    assert found is not None, told[0][-3000:]
    return float(found[1])


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main([int(text) for text in sys.argv[1:]] or ROWS)
