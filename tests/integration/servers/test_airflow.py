"""The tests' Airflow runs DAGs on its own scheduler and executor and answers over REST."""

from __future__ import annotations

import pytest

from tests.servers.airflow import Airflow
from tests.servers.process import ServerError

DAG = """
import os
from airflow.sdk import dag, task, Asset, get_current_context
from airflow.sdk import BaseHook

@dag(schedule=None, params={"n": 3})
def harness_sum():
    @task
    def numbers():
        return list(range(get_current_context()["params"]["n"]))

    @task(outlets=[Asset("fate://harness/sum")])
    def total(values):
        print("host is", BaseHook.get_connection("harness").host)
        return sum(values)

    total(numbers())

@dag(schedule=[Asset("fate://harness/sum")])
def harness_follows():
    @task
    def follow():
        return "followed"

    follow()

@dag(schedule=None)
def harness_fails():
    @task
    def fail():
        raise ValueError("the reason is written here")

    fail()

harness_sum(); harness_follows(); harness_fails()
"""


@pytest.fixture(scope="module")
def server(airflow_server: Airflow) -> Airflow:
    (airflow_server.dags / "harness.py").write_text(DAG)
    airflow_server.set_connection("harness", "http", host="somewhere.example")
    airflow_server.wait_for_dag("harness_follows")
    return airflow_server


def test_run_and_what_follows_it(server):
    server.api("PATCH", "dags/harness_follows", {"is_paused": False})
    run_id = server.run("harness_sum", {"n": 5})
    assert server.xcom("harness_sum", run_id, "total") == 10
    assert "host is somewhere.example" in server.task_log("harness_sum", run_id, "total")
    followed = server.latest_run("harness_follows")
    server.wait("harness_follows", followed)
    assert server.xcom("harness_follows", followed, "follow") == "followed"


def test_failure_shows_the_task_log(server):
    with pytest.raises(ServerError, match="the reason is written here"):
        server.run("harness_fails")


def test_broken_dag_is_told(server):
    broken = server.dags / "harness_broken.py"
    broken.write_text("from airflow.sdk import dag\nimport no_such_module_here\n")
    try:
        with pytest.raises(ServerError, match="no_such_module_here"):
            server.wait_for_dag("never_there")
    finally:
        broken.unlink()


def test_stop_ends_all(tmp_path):
    server = Airflow(tmp_path / "home")
    server.launch()
    assert all(process.running for process in server._processes.values())
    server.stop()
    assert not any(process.running for process in server._processes.values())
