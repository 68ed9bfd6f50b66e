"""HeteroLR on Spark's executors: the driver's results, few Spark jobs, and workers that may die."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_fate.runtime.components.linear import exchange
from airflow_provider_fate.runtime.crypto.bfv import Bfv
from airflow_provider_fate.runtime.data import Block, Constant
from airflow_provider_fate.runtime.spark_engine import SparkConstant, SparkEngine
from tests.unit.components.lr_parties import GUEST, Run, hetero, parameters

QUICK = {"learning_rate": 0.1, "tol": 0, "validation_freqs": None}


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkEngine]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2,3]")  # a task may fail twice
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield SparkEngine(lambda: session)
    session.stop()


def trained(spark: SparkEngine, partitions: int, iterations: int) -> tuple[np.ndarray, int]:
    """Weights of all parties, and the Spark jobs that it took."""
    tracker = spark.session.sparkContext.statusTracker()
    data = {
        party: {name: spark.rows(rows.blocks(), rows.schema) for name, rows in tables.items()}
        for party, tables in hetero("breast_hetero", partitions).items()
    }
    before = len(tracker.getJobIdsForGroup(None))
    run = Run(parameters(**QUICK, max_iter=iterations), data, engine=spark).fit()
    return run.weights(), len(tracker.getJobIdsForGroup(None)) - before


def test_the_same_weights_and_few_jobs(spark: SparkEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Run(parameters(**QUICK, max_iter=3), hetero("breast_hetero", 2)).fit().weights()
    closed: list[Constant] = []
    original = exchange.Exchange.close

    def close(self: exchange.Exchange) -> None:
        assert isinstance(self._key, SparkConstant) and self._key._broadcast is not None
        original(self)
        closed.append(self._key)

    monkeypatch.setattr(exchange.Exchange, "close", close)
    weights, jobs = trained(spark, 2, 3)
    assert np.array_equal(weights, here)
    _, fewer = trained(spark, 2, 1)
    # a batch: the host's share, all of the guest's work, the host's products
    assert jobs - fewer == 2 * 3
    assert [key._broadcast for key in closed[:2]] == [None, None]  # type: ignore[attr-defined]
    monkeypatch.setattr(Bfv, "quick_cells", 0)
    weights, jobs = trained(spark, 2, 3)
    assert np.array_equal(weights, here)
    _, fewer = trained(spark, 2, 1)
    # the guest's products of a large batch come after its residuals have left
    assert jobs - fewer == 2 * 4


def test_a_task_whose_worker_was_killed_gets_the_constant_again(spark: SparkEngine, tmp_path: Path) -> None:
    marker = str(tmp_path / "killed")

    def work(constant: Constant, block: Block, _: None) -> tuple[int, int]:
        if not os.path.exists(marker):
            with open(marker, "x"):
                os.kill(os.getpid(), signal.SIGKILL)
        return len(constant.value), len(block)

    tables = hetero("breast_hetero", 3)
    rows = spark.rows(tables[GUEST]["train_data"].blocks(), tables[GUEST]["train_data"].schema)
    constant = spark.constant(bytes(500_000))
    assert rows.map(partial(work, constant)) == [(500_000, count) for count in rows.counts]
    assert os.path.exists(marker)
    constant.close()


def test_workers_of_one_executor_share_its_memory(spark: SparkEngine) -> None:
    assert spark.neighbours == 2
