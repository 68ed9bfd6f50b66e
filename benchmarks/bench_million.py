"""Memory of a job on 1,000,000 rows x (20 + 20) features: intersection, binning and one tree.

    python -m benchmarks.bench_million [rows] [features of each party]

Reader, DataIO, Intersection, HeteroFeatureBinning (10 quantile bins with IV) and HeteroSecureBoost (one tree of depth
3), as two bare spark-submits with ``local[1]`` and a directory for messages, each party with a storage of its own
below. Nine of ten ids are common. The memory is the proportional set size (PSS) of all processes of a party, Spark's
JVM and Python workers among them, looked at every three seconds.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore
from benchmarks.applications import submit

_PIECE = 1 << 16  # rows
_PAUSE = 3.0  # seconds; looking at the memory of large processes takes time from them


def main(count: int, features: int) -> None:
    job = Job.parse(conf(), DSL)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for party in job.parties:
            make_table(LocalStorage(root / "storage"), party.role, count, features)
        began = time.monotonic()
        processes = {
            str(party): submit(root, job, "million", party, cores=1, output=subprocess.PIPE) for party in job.parties
        }
        told: list[tuple[float, str]] = []
        reading = [
            threading.Thread(target=follow, args=(process, told if name.startswith("guest") else []))
            for name, process in processes.items()
        ]
        for thread in reading:
            thread.start()
        peak, together = watch(processes)
        for thread in reading:
            thread.join()
        if codes := [process.returncode for process in processes.values() if process.returncode]:
            raise SystemExit(f"the parties ended with {codes}")
        seconds = time.monotonic() - began
    print(f"{count} rows x ({features} + {features}) features, two spark-submits with local[1]:")
    for _, text in told:
        if found := re.search(r"(\w+) \((\w+)\): done in ([0-9.]+) s", text):
            print(f"  {found[1]:28} {float(found[3]):7.1f} s  ({found[2]})")
    print(f"  the whole job                {seconds:7.1f} s")
    for name, most in peak.items():
        print(f"  most memory of {name:13} {most / 2**30:7.2f} GiB")
    print(f"  most of both together        {together / 2**30:7.2f} GiB  (aim: 6 GB = 5.59 GiB or less)")


DSL = {
    "components": {
        "reader_0": {"module": "Reader", "output": {"data": ["data"]}},
        "dataio_0": {
            "module": "DataIO", "input": {"data": {"data": ["reader_0.data"]}},
            "output": {"data": ["data"], "model": ["model"]},
        },
        "intersection_0": {
            "module": "Intersection", "input": {"data": {"data": ["dataio_0.data"]}}, "output": {"data": ["data"]},
        },
        "hetero_feature_binning_0": {
            "module": "HeteroFeatureBinning", "input": {"data": {"data": ["intersection_0.data"]}},
            "output": {"data": ["data"], "model": ["model"]},
        },
        "hetero_secureboost_0": {
            "module": "HeteroSecureBoost", "input": {"data": {"train_data": ["intersection_0.data"]}},
            "output": {"data": ["data"], "model": ["model"]},
        },
    }
}  # fmt: skip


def conf() -> dict[str, object]:
    def table(role: str) -> dict[str, object]:
        return {"reader_0": {"table": {"name": role, "namespace": "million"}}}

    return {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000]},
        "component_parameters": {
            "common": {
                "hetero_feature_binning_0": {"method": "quantile", "bin_num": 10},
                "hetero_secureboost_0": {"num_trees": 1, "tree_param": {"max_depth": 3}, "bin_num": 32},
            },
            "role": {
                "guest": {"0": {**table("guest"), "dataio_0": {"with_label": True, "label_name": "y"}}},
                "host": {"0": {**table("host"), "dataio_0": {"with_label": False}}},
            },
        },
    }


def make_table(storage: LocalStorage, role: str, count: int, features: int) -> None:
    random = np.random.default_rng(len(role))
    names = [f"{role[0]}{place}" for place in range(features)]
    label = "y" if role == "guest" else None
    kinds = [("id", "string"), *((name, "double") for name in names), *([("y", "int64")] if label else [])]
    skipped = 0 if role == "guest" else count // 10  # the ids that only the other party has
    with TableStore(storage).writer(TableMeta("million", role, "id", label, kinds)) as writer:
        for start in range(0, count, _PIECE):
            size = min(_PIECE, count - start)
            x = random.normal(size=(size, features))
            ids = pa.array([f"{number:09d}" for number in range(start + skipped, start + skipped + size)], pa.string())
            columns = [ids, *(pa.array(x[:, place]) for place in range(features))]
            if label:
                columns.append(pa.array((x[:, 0] + random.normal(size=size) > 0).astype(np.int64)))
            writer.write(pa.record_batch(columns, [name for name, _ in kinds]))


def follow(process: subprocess.Popen[bytes], told: list[tuple[float, str]]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        told.append((time.monotonic(), line.decode(errors="replace")))


def watch(processes: dict[str, subprocess.Popen[bytes]]) -> tuple[dict[str, int], int]:
    """The most bytes of each party, and of all together, until their processes have ended."""
    peak, together = dict.fromkeys(processes, 0), 0
    while any(process.poll() is None for process in processes.values()):
        now = {name: memory_of(process.pid) for name, process in processes.items()}
        peak = {name: max(peak[name], now[name]) for name in peak}
        together = max(together, sum(now.values()))
        time.sleep(_PAUSE)
    return peak, together


def memory_of(root: int) -> int:
    """Bytes that a process and its descendants take; shared pages are divided among those that share them."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
    total, family = 0, [root]
    while family:
        process = family.pop()
        family += [child for child, parent in parents.items() if parent == process]
        try:
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
        except OSError:
            continue
    return total


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*(given + [1_000_000, 20][len(given) :]))
