"""What FateTrainOperator adds over a bare spark-submit of the same application.

    python -m benchmarks.bench_operator [rounds]

Both run the host's part of FATE's toy example with a partner that is the same each time: a bare spark-submit of the
guest. The figure is the wall time of the part, started a moment after its partner.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party
from benchmarks.applications import submit

JOBS = Path(__file__).parents[1] / "tests" / "data" / "jobs"


def main(rounds: int) -> None:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, value in {
            "fate_spark": {"conn_type": "fate_spark", "host": "local[2]"},
            "fate_storage": {"conn_type": "fs", "extra": {"path": str(root / "storage")}},
            "fate_transport": {"conn_type": "fs", "extra": {"path": str(root / "messages")}},
        }.items():
            os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(value)
        conf, dsl = (json.loads((JOBS / f"toy_{part}.json").read_text()) for part in ("conf", "dsl"))
        conf["algorithm_parameters"] = {"secure_add_example_0": {"partition": 4, "data_num": 1000}}
        conf["role_parameters"] = {}
        conf["job_parameters"].pop("spark_run", None)
        job = Job.parse(conf, dsl)
        guest, host = job.parties
        bare, ours = [], []
        for _ in range(rounds):
            bare.append(timed(root, job, guest, lambda job_id: submit(root, job, job_id, host).wait()))
            ours.append(timed(root, job, guest, lambda job_id: operate(conf, dsl, job_id, host)))
        best_bare, best_ours = min(bare), min(ours)
        print(f"one party of a small job, local[2], best of {rounds}:")
        print(f"  bare spark-submit   {best_bare:6.2f} s  (median {statistics.median(bare):.2f})")
        print(f"  FateTrainOperator   {best_ours:6.2f} s  (median {statistics.median(ours):.2f})")
        print(f"  added               {best_ours - best_bare:6.2f} s  (aim: 2 or less)")


def timed(root: Path, job: Job, partner: Party, run: Callable[[str], object]) -> float:
    job_id = f"bench-{secrets.token_hex(4)}"
    other = submit(root, job, job_id, partner)
    began = time.monotonic()
    run(job_id)
    took = time.monotonic() - began
    if other.wait():
        raise SystemExit("the partner's spark-submit failed")
    return took


def operate(conf: dict, dsl: dict, job_id: str, party: Party) -> None:
    from airflow_provider_fate.operators.train import FateTrainOperator

    FateTrainOperator(
        task_id="host", job={"conf": conf, "dsl": dsl}, role=party.role, party_id=party.party_id, job_id=job_id
    ).execute({})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
