"""A credit-style job on FATE's breast data from end to end, with the time of each component.

    python -m benchmarks.bench_breast

Reader, DataIO, Intersection, FeatureScale, DataStatistics, HeteroFeatureBinning (with IV), HeteroFeatureSelection (by
IV and variation), HeteroLR (10 iterations), HeteroSecureBoost (10 trees of depth 3) and Evaluation of both, as three
bare spark-submits with ``local[1]``, a directory for messages. Times are the guest's, of its log.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from pathlib import Path

from airflow_provider_fate.runtime.storage.local import LocalStorage
from benchmarks.applications import submit
from tests.unit.runtime.credit_job import credit_job
from tests.unit.runtime.whole_jobs import DATA, TABLES, upload

#: what is no training of a model
CHEAP = (
    "DataIO", "Intersection", "FeatureScale", "DataStatistics", "HeteroFeatureBinning", "HeteroFeatureSelection",
    "Evaluation",
)  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        storage = LocalStorage(root / "storage")
        upload(storage, DATA / "breast_hetero_guest.csv", TABLES["guest"]["name"], "y")
        upload(storage, DATA / "breast_hetero_host.csv", TABLES["host"]["name"])
        job = credit_job()
        began = time.monotonic()
        guest, *others = job.parties
        rest = [submit(root, job, "bench", party, cores=1) for party in others]
        first = submit(root, job, "bench", guest, cores=1, output=subprocess.PIPE)
        met, times = began, {}
        assert first.stdout is not None
        for line in first.stdout:
            now, text = time.monotonic(), line.decode(errors="replace")
            if "reader_0: table" in text and met == began:
                met = now
            if found := re.search(r"(\w+) \((\w+)\): done in ([0-9.]+) s", text):
                times[found[1]] = (found[2], float(found[3]))
        codes = [process.wait() for process in (first, *rest)]
        if any(codes):
            raise SystemExit(f"the parties ended with {codes}")
        total = time.monotonic() - began
    print("breast (569 rows, 10 + 20 features), three spark-submits with local[1]:")
    print(f"  Spark starts, parties meet   {met - began:6.1f} s")
    for name, (module, seconds) in times.items():
        print(f"  {name:28} {seconds:6.1f} s  ({module})")
    cheap = sum(seconds for module, seconds in times.values() if module in CHEAP)
    print(f"  all but the trainings        {cheap:6.1f} s  (aim: 5 or less)")
    print(f"  the whole job                {total:6.1f} s")


if __name__ == "__main__":
    main()
