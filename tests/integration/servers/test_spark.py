"""The tests' Spark cluster computes in Python workers, and goes on when an executor is killed."""

from __future__ import annotations

import threading
import time

JOB = """
import pathlib, sys, time
from pyspark.sql import SparkSession

session = SparkSession.builder.appName("survivor").getOrCreate()
seen = sys.argv[1]

def slow(batches):
    for batch in batches:
        pathlib.Path(seen).touch()
        time.sleep(3)
        yield batch

numbers = session.range(0, 1000, 1, 4).mapInArrow(slow, "id long")
print("sum", sum(row.id for row in numbers.collect()))
"""


def test_job_survives_a_killed_executor(spark_standalone, tmp_path):
    job, seen = tmp_path / "job.py", tmp_path / "seen"
    job.write_text(JOB)
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 60
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        killed.append(spark_standalone.kill_executor("survivor"))

    killer = threading.Thread(target=kill)
    killer.start()
    done = spark_standalone.submit(["--conf", "spark.ui.enabled=false", str(job), str(seen)])
    killer.join()
    assert killed, "no executor was killed"
    assert f"sum {sum(range(1000))}" in done.stdout
    assert "137" in (spark_standalone.directory / "worker.log").read_text()
    assert spark_standalone.executors() == []
