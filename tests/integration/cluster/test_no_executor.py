"""A standalone master whose cores another application holds: the job says so, and does not wait for ever."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_fate.operators.train import FateTrainOperator
from tests.servers.process import Process
from tests.servers.processes import named, wait_for_none
from tests.servers.spark import spark_environment, spark_home
from tests.unit.federation.playing import until

if TYPE_CHECKING:
    from tests.servers.spark import SparkStandalone

JOBS = Path(__file__).parents[2] / "data" / "jobs"
GREEDY = """
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
time.sleep(600)
"""


@pytest.fixture
def connections(spark_standalone: SparkStandalone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE", "TRANSPORT"):
        extra = {"path": str(tmp_path / name.lower())}
        monkeypatch.setenv(f"AIRFLOW_CONN_FATE_{name}", json.dumps({"conn_type": "fs", "extra": extra}))
    spark = {"conn_type": "fate_spark", "host": spark_standalone.url}
    monkeypatch.setenv("AIRFLOW_CONN_FATE_SPARK", json.dumps(spark))
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


@pytest.fixture
def full_master(spark_standalone: SparkStandalone, tmp_path: Path) -> Iterator[SparkStandalone]:
    """The master while another application has all of its cores."""
    app = tmp_path / "greedy.py"
    app.write_text(GREEDY)
    command = [
        str(spark_home() / "bin" / "spark-submit"), "--master", spark_standalone.url,
        "--conf", "spark.ui.enabled=false", "--total-executor-cores", str(spark_standalone.cores),
        "--executor-memory", "512m", str(app),
    ]  # fmt: skip
    greedy = Process("greedy application", command, tmp_path / "greedy.log", env=os.environ | spark_environment())
    try:
        greedy.wait_until(lambda: spark_standalone.state()["coresused"] == spark_standalone.cores, "greedy", 60)
        yield spark_standalone
    finally:
        greedy.kill()


def test_no_executor_is_granted(full_master: SparkStandalone, connections: None) -> None:
    task = FateTrainOperator(
        task_id="guest", role="guest", party_id=9999, job_id="no_executor", wait_timeout=5,
        job={"conf": str(JOBS / "toy_conf.json"), "dsl": str(JOBS / "toy_dsl.json")},
        spark_run={"master": full_master.url}, python=sys.executable,
    )  # fmt: skip
    with pytest.raises(AirflowException) as caught:
        task.execute({})
    said = str(caught.value)
    assert "Spark gave this application no executor within 5 s" in said
    assert full_master.url in said and "total-executor-cores" in said
    wait_for_none(lambda: named("no_executor guest-9999"), 10)
    until(lambda: [app["name"] for app in full_master.state()["activeapps"]] == ["greedy.py"], 10)
