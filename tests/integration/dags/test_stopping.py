"""A task that is marked as failed on a real Airflow leaves no process behind, and the other parties learn of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.servers.airflow import Airflow
from tests.servers.processes import named, wait_for_none

DAG = """
import json
from pathlib import Path
from airflow.sdk import DAG
from airflow_provider_fate.operators.group import fate_train
from airflow_provider_fate.operators.upload import FateUploadOperator

HERE = Path(__file__).parent
with DAG("long_training", schedule=None):
    uploads = [
        FateUploadOperator(
            task_id=role, source=str(HERE / "data" / f"breast_hetero_{role}.csv"), drop=True,
            namespace="fate_examples", name=f"breast_hetero_{role}",
        )
        for role in ("guest", "host")
    ]
    uploads >> fate_train(
        "train", "fate_jobs/hetero_lr.json", parameters={"hetero_lr_0": {"max_iter": 5000, "tol": 1e-30}}
    )
"""


def test_marked_as_failed(examples: Airflow, tmp_path: Path) -> None:
    (tmp_path / "long_training.py").write_text(DAG)
    examples.add_dags(tmp_path / "long_training.py")
    run = examples.trigger("long_training", run_id="stopped")
    examples.wait_for_task("long_training", run, "train.guest_9999")
    status = examples.root / "storage" / "jobs" / "long_training_stopped_train" / "guest-9999" / "status.json"
    deadline = time.monotonic() + 180
    while not (status.exists() and json.loads(status.read_text() or "{}").get("component") == "hetero_lr_0"):
        assert time.monotonic() < deadline, "the training never began"
        time.sleep(0.2)
    assert named("long_training_stopped_train")

    examples.set_task_state("long_training", run, "train.guest_9999", "failed")
    examples.wait("long_training", run, 60, expect="failed")

    wait_for_none(lambda: named("long_training_stopped_train"), 20)
    for task in ("train.host_10000", "train.arbiter_10000"):
        log = examples.task_log("long_training", run, task)
        assert "guest-9999 was stopped in Airflow (long_training, run stopped, task train.guest_9999)" in log
