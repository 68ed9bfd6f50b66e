"""The same DAG on HDFS, RabbitMQ and a standalone Spark master, by editing connections only; and what breaks there."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.processes import Running, named, running, wait_for_none

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Cluster

MINUTES = 60
TASKS = ("train.guest_9999", "train.host_10000", "train.arbiter_10000")


def applications(cluster: Cluster) -> list[Running]:
    """The Spark applications of this Airflow's jobs that run now."""
    home = f"AIRFLOW_HOME={cluster.airflow.home}"
    return [one for one in named("airflow_provider_fate/runtime/main.py") if home in one.environment]


def wait_until(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """The command lines of all applications, their JVMs and executors that run meanwhile."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            seen.update(one.line for one in running() if "airflow_provider_fate" in one.line or "spark" in one.line)

    thread = threading.Thread(target=look, name="command-lines")
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def test_five_steps_on_a_cluster(cluster: Cluster) -> None:
    dag = "fate_five_steps"
    run = cluster.airflow.trigger(dag)
    with command_lines() as lines:
        cluster.airflow.wait(dag, run, 14 * MINUTES)
    trained = cluster.airflow.xcom(dag, run, "train.guest_9999")
    assert trained["metrics"]["evaluation_0"]["auc"] > 0.98
    assert cluster.airflow.xcom(dag, run, "predict.guest_9999")["result"]["count"] == 90
    table = cluster.read("tables/fate_five_steps/breast_hetero_guest/_meta.json")
    assert table["count"] == 569
    weights = cluster.weights(trained["model_id"], trained["model_version"], "host-10000")["weights"]
    assert len(weights) == 20
    # no key, queue, row or password stays behind
    assert cluster.queues() == []
    log = cluster.airflow.task_log(dag, run, "train.guest_9999")
    assert cluster.rabbitmq.password not in log
    assert "RabbitMQ" in log
    # Airflow masks its logs; nobody masks these
    drivers = list((cluster.airflow.home / "logs" / "fate" / trained["job_id"]).glob("*.log"))
    assert len(drivers) == len(TASKS)
    told = {
        "command lines": "\n".join(lines),
        "drivers' logs": "\n".join(path.read_text(errors="replace") for path in drivers),
        "XComs": json.dumps(cluster.airflow.xcoms(dag, run)),
    }
    for there, where in (("runtime/main.py", "command lines"), ("Spark", "drivers' logs"), ("auc", "XComs")):
        assert there in told[where], where
        assert cluster.rabbitmq.password not in told[where], where
    assert cluster.spark.state()["completedapps"]


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> dict[str, Any]:
    """The models of a run that nothing disturbs, by party."""
    cluster.airflow.run("fate_faults_upload")
    run = cluster.airflow.run("fate_faults", seconds=6 * MINUTES)
    return models(cluster, run)


def models(cluster: Cluster, run: str) -> dict[str, Any]:
    found = cluster.airflow.xcom("fate_faults", run, "train.guest_9999")
    parties = ("guest-9999", "host-10000")
    return {party: cluster.weights(found["model_id"], found["model_version"], party) for party in parties}


def test_a_killed_executor_changes_nothing(cluster: Cluster, undisturbed: dict[str, Any]) -> None:
    run = cluster.airflow.trigger("fate_faults")
    cluster.wait_for_log("fate_faults", run, "train.guest_9999", "iteration 3 of 16")
    assert cluster.spark.executors()
    cluster.spark.kill_executor()
    cluster.airflow.wait("fate_faults", run, 6 * MINUTES)
    assert models(cluster, run) == undisturbed
    assert "iteration 16 of 16" in cluster.airflow.task_log("fate_faults", run, "train.guest_9999")


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_a_restarted_broker_changes_nothing(cluster: Cluster, undisturbed: dict[str, Any], crash: bool) -> None:
    run = cluster.airflow.trigger("fate_faults")
    cluster.wait_for_log("fate_faults", run, "train.guest_9999", "iteration 3 of 16")
    cluster.rabbitmq.restart(crash=crash)
    cluster.airflow.wait("fate_faults", run, 6 * MINUTES)
    assert models(cluster, run) == undisturbed
    assert cluster.queues() == []


def test_a_peer_that_never_comes(cluster: Cluster) -> None:
    run = cluster.airflow.trigger("fate_faults_alone")
    cluster.airflow.wait("fate_faults_alone", run, 3 * MINUTES, expect="failed")
    log = cluster.airflow.task_log("fate_faults_alone", run, "train.guest_9999")
    assert "host-10000 has not come to job" in log
    assert re.search(r"within (8|9|1\d) s", log)  # what was waited is measured
    assert f"{cluster.rabbitmq.host}:{cluster.rabbitmq.port}" in log
    assert "Traceback" not in log.split("has not come to job")[0][-300:]
    wait_for_none(lambda: applications(cluster), 20)


def test_a_task_marked_failed_ends_its_application_and_its_peers(
    cluster: Cluster, undisturbed: dict[str, Any]
) -> None:
    run = cluster.airflow.trigger("fate_faults_endless")
    cluster.wait_for_log("fate_faults_endless", run, "train.guest_9999", "iteration 2 of 10000")
    marked = time.monotonic()
    cluster.airflow.set_task_state("fate_faults_endless", run, "train.host_10000", "failed")
    cluster.airflow.wait("fate_faults_endless", run, MINUTES, expect="failed")
    assert time.monotonic() - marked < 45
    for task in ("train.guest_9999", "train.arbiter_10000"):
        log = cluster.airflow.task_log("fate_faults_endless", run, task)
        assert "host-10000 ended" in log, log[-3000:]
        assert "stopped in Airflow" in log, log[-3000:]
    wait_for_none(lambda: applications(cluster), 20)
    assert wait_until(lambda: not cluster.spark.state()["activeapps"], 20)
    left = [name for name in cluster.hdfs.client().list(f"{cluster.root}/models/disturbed") if run in name]
    assert left == []
