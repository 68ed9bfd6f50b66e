"""Components give on Spark's executors what they give in the driver."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_fate.job.parameters import DataStatisticsParam, FeatureScaleParam
from airflow_provider_fate.job.parameters.data_io import DataTransformParam
from airflow_provider_fate.job.parameters.hetero_feature_binning import HeteroFeatureBinningParam, OptimalBinningParam
from airflow_provider_fate.job.parameters.hetero_feature_selection import HeteroFeatureSelectionParam
from airflow_provider_fate.job.parameters.intersect import IntersectParam
from airflow_provider_fate.job.parameters.secure_add_example import SecureAddExampleParam
from airflow_provider_fate.runtime.components.data_statistics import DataStatistics
from airflow_provider_fate.runtime.components.data_transform import DataTransform
from airflow_provider_fate.runtime.components.feature_scale import FeatureScale
from airflow_provider_fate.runtime.components.hetero_feature_binning import HeteroFeatureBinning
from airflow_provider_fate.runtime.components.hetero_feature_selection import HeteroFeatureSelection
from airflow_provider_fate.runtime.components.intersection import Intersection
from airflow_provider_fate.runtime.components.secure_add_example import SecureAddExample
from airflow_provider_fate.runtime.data import Engine, Rows
from airflow_provider_fate.runtime.local_engine import LocalEngine
from airflow_provider_fate.runtime.rows_io import read_rows
from airflow_provider_fate.runtime.spark_engine import SparkEngine
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore
from tests.unit.components import boost_parties
from tests.unit.components.running import GUEST, HOST, component, ids_of, run_component, table


@pytest.fixture(scope="module")
def spark() -> Iterator[Engine]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield SparkEngine(lambda: session)
    session.stop()


def results(engine: Engine) -> dict[str, list]:
    """Fill in what is missing, then intersect, at two parties."""
    random = np.random.default_rng(2)
    x = random.normal(size=(3000, 4))
    x[random.random(x.shape) < 0.1] = np.nan
    tables = {
        GUEST: table([f"u{i}" for i in range(3000)], x, y=range(3000), partitions=3),
        HOST: table([f"u{i}" for i in range(4000, 1000, -1)], x, partitions=2),
    }
    data = {party: {"data": engine.rows(rows.blocks(), rows.schema)} for party, rows in tables.items()}
    fill = {
        GUEST: DataTransformParam(missing_fill=True, missing_fill_method="mean", with_label=True),
        HOST: DataTransformParam(missing_fill=True, missing_fill_method="max"),
    }
    filled = run_component(DataTransform, fill, data, engine=engine)
    data = {party: {"data": ran.rows} for party, ran in filled.items()}
    joined = run_component(Intersection, IntersectParam(), data, partitions=5, engine=engine)
    assert not [ran.error for ran in joined.values() if ran.error]
    found = {}
    for party, ran in joined.items():
        blocks = ran.rows.blocks()
        found[str(party)] = [
            ids_of(ran.rows),
            [len(block) for block in blocks],
            np.concatenate([block.x for block in blocks]).tolist(),
            [block.y.tolist() if block.y is not None else None for block in blocks],
        ]
    return found


def test_transform_and_intersection(spark) -> None:
    local = results(LocalEngine())
    assert results(spark) == local
    assert len(local["guest-9999"][0]) == 1999
    assert local["guest-9999"][1] == [400, 400, 400, 400, 399]


def by_id(rows: Rows) -> dict[str, list[float]]:
    # Spark reads the largest file first
    values = np.concatenate([block.x for block in rows.blocks()]).tolist()
    return dict(sorted(zip(ids_of(rows), values, strict=True)))


def test_lines_scaling_and_statistics(spark, tmp_path) -> None:
    lines = [f"t{i % 7}:{i};u:{i * i % 11}" for i in range(500)]
    tables = TableStore(LocalStorage(str(tmp_path)))
    meta = TableMeta("bank", "tags", "id", None, [("id", "string"), ("line", "string")], kind="lines")
    with tables.writer(meta, rows_per_file=200) as writer:
        for start in (0, 200, 400):
            part = [pa.array([f"r{i}" for i in range(500)][start : start + 200]), pa.array(lines[start : start + 200])]
            writer.write(pa.record_batch(part, ["id", "line"]))
    found = {}
    for name, engine, partitions in (("local", LocalEngine(), None), ("spark", spark, 4)):
        rows = read_rows(tables, meta, engine, partitions)
        read = component(DataTransform, DataTransformParam(input_format="tag", tag_with_value=True, delimitor=";"))
        rows = read.fit({"data": rows}, {}).data["data"]
        scaled = component(FeatureScale, FeatureScaleParam(mode="cap", feat_upper=0.9)).fit({"data": rows}, {})
        described = component(DataStatistics, DataStatisticsParam(statistics="95%")).fit(scaled.data, {})
        found[name] = (by_id(rows), by_id(scaled.data["data"]), described.model.meta["columns"])
        assert rows.partitions == (partitions or 1)
    assert found["spark"] == found["local"]


def test_binning_and_selection(spark) -> None:
    random = np.random.default_rng(4)
    x = random.normal(size=(900, 6))
    x[:, 1] = np.where(random.random(900) < 0.5, 1.0, x[:, 1])
    y = (x[:, 0] + x[:, 4] > 0).astype(float)
    x[random.random(900) < 0.1, 2] = np.nan
    ids = [f"u{i}" for i in range(900)]
    tables = {GUEST: table(ids, x[:, :3], y, 3), HOST: table(ids, x[:, 3:], None, 3)}
    optimal = OptimalBinningParam(init_bin_nums=300)
    settings = HeteroFeatureBinningParam(method="optimal", optimal_binning_param=optimal)
    found = {}
    for name, engine in (("local", LocalEngine()), ("spark", spark)):
        data = {party: {"data": engine.rows(rows.blocks(), rows.schema)} for party, rows in tables.items()}
        ran = run_component(HeteroFeatureBinning, settings, data, engine=engine)
        assert not [one.error for one in ran.values() if one.error]
        left = HeteroFeatureSelectionParam(filter_methods=["percentage_value", "unique_value"],
                                           percentage_value_param={"upper_pct": 0.4})  # fmt: skip
        selected = component(HeteroFeatureSelection, left).fit(data[GUEST], {})
        assert selected.model.meta["left"] == ["x0", "x2"]
        found[name] = {
            party: (one.outputs.model.meta, [block.x.tobytes() for block in one.rows.blocks()])
            for party, one in ran.items()
        }
    assert found["spark"] == found["local"]


def test_secure_add(spark) -> None:
    parameters = SecureAddExampleParam(partition=4, data_num=1000)
    ran = run_component(SecureAddExample, parameters, {GUEST: {}, HOST: {}}, engine=spark)
    assert ran[GUEST].outputs.verdict == "success to calculate secure_sum, it is 2000.0"


def test_trees(spark) -> None:
    """More rows than a portion of ciphertexts holds, and blocks that are larger than arguments that travel with a
    function."""
    random = np.random.default_rng(6)
    x = random.normal(size=(20_000, 3))
    x[random.random(x.shape) < 0.1] = np.nan
    y = (np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 2]) + random.normal(size=len(x)) > 0).astype(float)
    ids = [f"u{i}" for i in range(len(x))]
    sampling = {"run_goss": True, "top_rate": 0.5, "other_rate": 0.4}
    settings = boost_parties.parameters(
        num_trees=1, bin_num=6, use_missing=True, tree_param={"max_depth": 2}, **sampling
    )
    found = []
    for engine, partitions in ((LocalEngine(), 1), (spark, 2)):
        tables = {
            GUEST: table(ids, x[:, :1], y, partitions),
            HOST: table(ids, x[:, 1:], None, partitions, ["z0", "z1"]),
        }
        data = {party: {"train_data": engine.rows(rows.blocks(), rows.schema)} for party, rows in tables.items()}
        run = boost_parties.Run(settings, data, engine=engine).fit(timeout=300)
        found.append((run.scores.tolist(), run.meta(), run.meta(HOST)))
    assert found[0] == found[1]
    assert {node.get("party") for node in found[0][1]["trees"][0]["nodes"]} == {None, "guest-9999", "host-10000"}
