"""The same rows give the same results in the driver and on Spark's executors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.serializers import CloudPickleSerializer

from airflow_provider_fate.runtime import spark_engine as spark_engine_module
from airflow_provider_fate.runtime.checkpoints import CheckpointStore
from airflow_provider_fate.runtime.components.base import Outputs
from airflow_provider_fate.runtime.crypto.processes import cores
from airflow_provider_fate.runtime.data import Block, Engine, Model, Schema, even_counts
from airflow_provider_fate.runtime.local_engine import LocalEngine
from airflow_provider_fate.runtime.rows_io import DRIVER_CELLS, read_rows, write_rows
from airflow_provider_fate.runtime.spark_engine import SMALL_ARGUMENTS, SparkConstant, SparkEngine, SparkRows
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore

SCHEMA = Schema("id", ("x0", "X0 a.b"), "y")


@pytest.fixture(scope="module")
def spark_engine() -> Iterator[SparkEngine]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.caseSensitive", "true")
        .getOrCreate()
    )
    yield SparkEngine(lambda: session)
    session.stop()


@pytest.fixture(params=["driver", "spark"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return LocalEngine() if request.param == "driver" else request.getfixturevalue("spark_engine")


def blocks(*sizes: int) -> list[Block]:
    made, start = [], 0
    for size in sizes:
        numbers = np.arange(start, start + size, dtype=float)
        made.append(Block(pa.array([f"i{n:.0f}" for n in numbers]), np.column_stack([numbers, -numbers]), numbers % 2))
        start += size
    return made


def test_a_task_of_spark_has_one_core(spark_engine: SparkEngine) -> None:
    """And so starts no processes of its own for encrypted sums."""
    assert spark_engine.run(lambda _: cores(), [0, 1]) == [1, 1]


def test_map_gives_each_partition_its_argument(engine: Engine) -> None:
    rows = engine.rows(blocks(3, 4, 5), SCHEMA)
    assert rows.map(lambda block, argument: (len(block), argument), ["a", "b", "c"]) == [(3, "a"), (4, "b"), (5, "c")]
    large = [np.full(200_000, float(part)) for part in range(3)]
    assert rows.map(lambda block, argument: float(argument.sum() * len(block)), large) == [0.0, 800_000.0, 2_000_000.0]


def test_large_arguments_travel_to_their_own_task_alone(spark_engine: SparkEngine) -> None:
    rows = spark_engine.rows(blocks(3, 4), SCHEMA)
    bodies = [Model({"body": bytes([part]) * SMALL_ARGUMENTS}) for part in range(2)]  # a dataclass, as components use
    assert isinstance(rows, SparkRows)
    assert "Zipped" in rows._with(bodies, lambda block, argument: argument).toDebugString().decode()
    assert rows.map(lambda block, argument: argument.meta["body"][0], bodies) == [0, 1]


def test_run_keeps_order(engine: Engine) -> None:
    assert engine.run(lambda number: number**2, [3, 1, 2]) == [9, 1, 4]
    assert engine.run(lambda number: number**2, []) == []


def test_a_constant_reaches_every_task(engine: Engine) -> None:
    rows = engine.rows(blocks(3, 4, 5), SCHEMA)
    constant = engine.constant(Model({"key": bytes(1000)}))
    task = partial(lambda known, block, given: (len(known.value.meta["key"]), len(block), int(given.max())), constant)
    for size in (1, SMALL_ARGUMENTS):
        arguments = [np.full(size, part) for part in range(3)]
        assert rows.map(task, arguments) == [(1000, 3, 0), (1000, 4, 1), (1000, 5, 2)]
    assert engine.run(partial(lambda known, more: len(known.value.meta["key"]) + more, constant), [1]) == [1001]
    constant.close()
    constant.close()


def test_a_constant_travels_once_and_is_freed(spark_engine: SparkEngine) -> None:
    rows = spark_engine.rows(blocks(3, 4), SCHEMA)
    constant = spark_engine.constant(Model({"key": b"a secret of 26 characters!"}))
    assert isinstance(constant, SparkConstant) and constant._broadcast is None  # nothing travels before it is needed
    task = partial(lambda known, block, _: known.value.meta["key"][: len(block)], constant)
    assert b"a secret" not in CloudPickleSerializer().dumps(task)
    assert rows.map(task) == [b"a s", b"a se"]
    broadcast = constant._broadcast
    assert broadcast is not None and Path(broadcast._path).exists()
    rows.map(task)
    assert constant._broadcast is broadcast
    constant.close()
    assert not Path(broadcast._path).exists()
    with pytest.raises(Py4JJavaError, match="destroy"):
        broadcast._jbroadcast.value()


def test_large_arguments_need_no_workers_of_their_own(spark_engine: SparkEngine) -> None:
    """Zipping batches of unlike sizes takes two more Python workers a task, each of which a block passes through."""
    bodies = [np.zeros(SMALL_ARGUMENTS) for _ in range(2)]
    rows = spark_engine.rows(blocks(3, 4), SCHEMA)
    doubled = rows.transform(lambda block, _: Block(block.ids, block.x * 2, block.y), SCHEMA).cache()
    for some, workers in ((rows, 1), (doubled, 2)):
        assert isinstance(some, SparkRows)
        lineage = some._with(bodies, lambda block, _: len(block)).toDebugString().decode()
        assert lineage.count("PythonRDD[") == workers, lineage
    doubled.release()


def test_transform_is_chained(engine: Engine) -> None:
    rows = engine.rows(blocks(3, 4), SCHEMA)
    doubled = rows.transform(lambda block, times: Block(block.ids, block.x * times, block.y), SCHEMA, [2.0, 3.0])
    sums = doubled.map(lambda block, _: float(block.x[:, 0].sum()))
    assert sums == [2.0 * 3, 3.0 * 18]


@pytest.mark.parametrize("parts", [1, 2, 5, 20])
def test_rearrange_puts_every_row_at_its_place(engine: Engine, parts: int) -> None:
    rows = engine.rows(blocks(7, 1, 6), SCHEMA)
    generator = np.random.default_rng(parts)
    kept = generator.permutation(14)[:11]
    places = np.full(14, -1)
    places[kept] = generator.permutation(11)
    targets = np.split(places, [7, 8])
    counts = even_counts(11, parts)
    arranged = rows.rearrange(targets, counts)
    assert arranged.counts == counts
    everything = Block.concat(arranged.blocks())
    expected = np.argsort(np.where(places < 0, 99, places), kind="stable")[:11]
    assert everything.x[:, 0].tolist() == expected.astype(float).tolist()
    assert everything.ids.to_pylist() == [f"i{n}" for n in expected]
    assert everything.y.tolist() == (expected % 2).tolist()


def test_few_rows_are_read_in_the_driver_and_many_on_spark(spark_engine: SparkEngine, tmp_path: Path) -> None:
    tables = TableStore(LocalStorage(tmp_path / "a folder é#%"))
    count = DRIVER_CELLS // 3 + 10
    for name, rows in (("small", 100), ("large", count)):
        write_table(tables, name, rows)
    small = read_rows(tables, tables.meta("ns", "small"), spark_engine, None)
    large = read_rows(tables, tables.meta("ns", "large"), spark_engine, None)
    asked = read_rows(tables, tables.meta("ns", "small"), spark_engine, 3)
    assert [isinstance(rows, SparkRows) for rows in (small, large, asked)] == [False, True, True]
    assert (small.count, large.count, asked.counts) == (100, count, [34, 33, 33])
    assert Block.concat(asked.blocks()).x[:, 0].tolist() == list(range(100))
    assert large.partitions >= 2
    assert sum(large.map(lambda block, _: float(np.nansum(block.x)))) == sum(range(count))


def test_a_large_partition_passes_through_spark_in_pieces(spark_engine: SparkEngine, tmp_path: Path) -> None:
    """In one piece it took several times its size of the JVM's memory, in each direction."""
    width, count = 200, 6000
    schema = Schema("id", tuple(f"x{place}" for place in range(width)))
    x = np.arange(count * width, dtype=float).reshape(count, width)
    block = Block(pa.array([f"{number:04d}" for number in range(count)]), x)
    pieces = [len(piece) * width * 8 for piece in spark_engine_module._pieces(block)]
    assert len(pieces) > 2 and max(pieces) <= spark_engine_module._PIECE
    assert list(spark_engine_module._pieces(block.take(np.arange(0)))) == []

    tables = TableStore(LocalStorage(tmp_path))
    meta = TableMeta("ns", "wide", "id", None, [])
    write_rows(tables, spark_engine.rows([block, block.take(np.arange(0))], schema), meta, spark_engine)
    rows = read_rows(tables, tables.meta("ns", "wide"), spark_engine, None)
    assert isinstance(rows, SparkRows) and rows.counts[0] == sum(rows.counts) == count
    read = Block.concat(rows.blocks())
    np.testing.assert_array_equal(read.x, x)
    assert read.ids.equals(block.ids)


def write_table(tables: TableStore, name: str, rows: int) -> None:
    meta = TableMeta("ns", name, "id", "y", [("id", "string"), ("y", "double"), ("x0", "double")])
    with tables.writer(meta) as writer:
        numbers = np.arange(rows, dtype=float)
        ids = pa.array(numbers).cast(pa.string())
        writer.write(pa.record_batch([ids, pa.array(numbers % 2), pa.array(numbers)], ["id", "y", "x0"]))


def test_missing_values_are_nan(tmp_path: Path, spark_engine: SparkEngine) -> None:
    tables = TableStore(LocalStorage(tmp_path))
    meta = TableMeta("ns", "t", "id", None, [("id", "string"), ("x0", "double")])
    with tables.writer(meta) as writer:
        writer.write(pa.record_batch([pa.array(["a", "b"]), pa.array([None, 1.0])], ["id", "x0"]))
    for partitions in (None, 2):
        rows = read_rows(tables, tables.meta("ns", "t"), spark_engine, partitions)
        np.testing.assert_array_equal(Block.concat(rows.blocks()).x[:, 0], [np.nan, 1.0])


def test_predictions_have_fates_columns(engine: Engine, spark_engine: SparkEngine, tmp_path: Path) -> None:
    tables = TableStore(LocalStorage(tmp_path))
    schema = Schema("id", ("1",), "y", "prediction", (0.0, 1.0), 0.5)
    made = [
        Block(pa.array(["a", "b"]), np.array([[0.25], [0.75]]), np.array([0.0, 1.0])),
        Block(pa.array(["c"]), np.array([[0.5]]), np.array([1.0])),
    ]
    meta = TableMeta("ns", "p", "id", "label", [], extra={"type": "train"})
    write_rows(tables, engine.rows(made, schema), meta, spark_engine)
    read = pa.Table.from_batches(tables.batches("ns", "p"))
    assert read.to_pylist() == [
        {"id": "a", "label": 0.0, "predict_result": 0.0, "predict_score": 0.25,
         "predict_detail": '{"0": 0.75, "1": 0.25}', "type": "train"},
        {"id": "b", "label": 1.0, "predict_result": 1.0, "predict_score": 0.75,
         "predict_detail": '{"0": 0.25, "1": 0.75}', "type": "train"},
        {"id": "c", "label": 1.0, "predict_result": 0.0, "predict_score": 0.5,
         "predict_detail": '{"0": 0.5, "1": 0.5}', "type": "train"},
    ]
    assert tables.meta("ns", "p").count == 3
    assert tables.meta("ns", "p").kind == "prediction"


def test_predictions_of_many_classes(spark_engine: SparkEngine, tmp_path: Path) -> None:
    tables = TableStore(LocalStorage(tmp_path))
    schema = Schema("id", ("0", "1", "2"), None, "prediction", (0.0, 1.0, 2.0))
    rows = LocalEngine().rows([Block(pa.array(["a"]), np.array([[0.25, 0.125, 0.625]]))], schema)
    write_rows(tables, rows, TableMeta("ns", "p", "id", None, [], extra={"type": "predict"}), spark_engine)
    (row,) = pa.Table.from_batches(tables.batches("ns", "p")).to_pylist()
    assert (row["predict_result"], row["predict_score"]) == (2.0, 0.625)
    assert row["predict_detail"] == '{"0": 0.25, "1": 0.125, "2": 0.625}'


SESSION = "abcdef0123456789abcdef0123456789"


def test_checkpoint_gives_outputs_back(engine: Engine, spark_engine: SparkEngine, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    rows = engine.rows(blocks(4, 3, 4), SCHEMA)
    store = CheckpointStore(storage, "jobs/j/guest-1/checkpoints/abc")
    assert store.labels() == []
    store.of("lr_0", [], SESSION).save(5, {"w": np.arange(3.0)})
    assert store.labels() == ["lr_0@5#abcdef012345"]
    store.save("lr_0", Outputs({"data": rows}, Model({"k": 1}), {"auc": 0.5}), spark_engine, SESSION)
    assert store.labels() == ["lr_0#abcdef012345", "lr_0@5#abcdef012345"]  # a peer may not be as far
    outputs = store.load("lr_0", spark_engine)
    assert (outputs.model.meta, outputs.metrics) == ({"k": 1}, {"auc": 0.5})
    back = outputs.data["data"]
    assert (back.counts, back.schema) == ([4, 3, 4], SCHEMA)
    for got, expected in zip(back.blocks(), blocks(4, 3, 4), strict=True):
        assert got.ids.equals(expected.ids)
        np.testing.assert_array_equal(got.x, expected.x)
        np.testing.assert_array_equal(got.y, expected.y)


def test_checkpoint_steps(tmp_path: Path) -> None:
    store = CheckpointStore(LocalStorage(tmp_path), "jobs/j/guest-1/checkpoints/abc")
    fresh = store.of("lr_0", ["other_0@10#abcdef012345"], SESSION)
    assert fresh.step is None
    for step in range(1, 18):
        fresh.save(step, {"w": np.full(2, float(step))}, {"loss": [0.5] * step})
    assert store.labels() == ["lr_0@10#abcdef012345", "lr_0@15#abcdef012345"]
    resumed = store.of("lr_0", ["lr_0@10#abcdef012345"], SESSION)
    arrays, meta = resumed.load()
    assert (resumed.step, arrays["w"].tolist(), len(meta["loss"])) == (10, [10.0, 10.0], 10)
