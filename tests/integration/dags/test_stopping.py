"""A task that is stopped on a real Airflow leaves nothing behind, and the other parties learn why."""

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


TIMEOUT = """
    from datetime import timedelta
    dag.get_task("train.guest_9999").execution_timeout = timedelta(seconds=140)
"""


def begin(airflow: Airflow, directory: Path, dag_id: str, more: str = "") -> str:
    """Start a training that would take hours. :returns: the run's id, once the training itself goes on"""
    text = DAG.replace("long_training", dag_id).replace("schedule=None):", "schedule=None) as dag:") + more
    (directory / f"{dag_id}.py").write_text(text)
    airflow.add_dags(directory / f"{dag_id}.py")
    run = airflow.trigger(dag_id, run_id="stopped")
    airflow.wait_for_task(dag_id, run, "train.guest_9999")
    status = airflow.root / "storage" / "jobs" / f"{dag_id}_stopped_train" / "guest-9999" / "status.json"
    deadline = time.monotonic() + 180
    while not (status.exists() and json.loads(status.read_text() or "{}").get("component") == "hetero_lr_0"):
        assert time.monotonic() < deadline, "the training never began"
        time.sleep(0.2)
    assert named(f"{dag_id}_stopped_train")
    return run


def nothing_is_left(airflow: Airflow, dag_id: str) -> None:
    wait_for_none(lambda: named(f"{dag_id}_stopped_train"), 20)
    deadline = time.monotonic() + 5
    while left := list((airflow.root / "messages").glob(f"{dag_id}*")):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_marked_as_failed(examples: Airflow, tmp_path: Path) -> None:
    run = begin(examples, tmp_path, "long_training")
    examples.set_task_state("long_training", run, "train.guest_9999", "failed")
    examples.wait("long_training", run, 60, expect="failed")
    nothing_is_left(examples, "long_training")
    for task in ("train.host_10000", "train.arbiter_10000"):
        log = examples.task_log("long_training", run, task)
        assert "guest-9999 was stopped in Airflow (long_training, run stopped, task train.guest_9999)" in log


def test_longer_than_its_execution_timeout(examples: Airflow, tmp_path: Path) -> None:
    """Airflow's own bound on a task, for a party that is not to wait for a living peer as long as that lives."""
    run = begin(examples, tmp_path, "timed_training", TIMEOUT)
    examples.wait("timed_training", run, 150, expect="failed")
    nothing_is_left(examples, "timed_training")
    assert "AirflowTaskTimeout" in examples.task_log("timed_training", run, "train.guest_9999")
    for task in ("train.host_10000", "train.arbiter_10000"):
        log = examples.task_log("timed_training", run, task)
        assert "guest-9999 took longer than its execution_timeout (timed_training, run stopped, task train." in log
