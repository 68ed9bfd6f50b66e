"""Local storage, tables and models: whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.data import Model
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore

COLUMNS = [("id", "string"), ("x0", "double")]


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def batch(start: int, rows: int) -> pa.RecordBatch:
    ids = pa.array([f"id{number}" for number in range(start, start + rows)])
    return pa.record_batch([ids, pa.array(np.arange(start, start + rows, dtype=float))], ["id", "x0"])


def meta(name: str = "t") -> TableMeta:
    return TableMeta("ns", name, "id", None, list(COLUMNS), source="test")


@pytest.mark.parametrize("path", ["../outside", "a//b", "a/../../b", "/etc/passwd", "", "a/./b"])
def test_paths_that_lead_elsewhere_are_refused(storage: LocalStorage, path: str) -> None:
    with pytest.raises(StorageError, match="not a path below the storage root"):
        storage.write_bytes(path, b"x")


def test_missing_file_is_named(storage: LocalStorage, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"cannot read {tmp_path}/a/b: No such file"):
        storage.read_bytes("a/b")


def test_rename_never_replaces(storage: LocalStorage) -> None:
    storage.write_bytes("a", b"1")
    storage.write_bytes("b", b"2")
    with pytest.raises(StorageError, match="exists already"):
        storage.rename("a", "b")
    assert storage.read_bytes("b") == b"2"


def test_table_comes_back_in_order_and_described(storage: LocalStorage) -> None:
    tables = TableStore(storage)
    with tables.writer(meta(), rows_per_file=250) as writer:
        for start in range(0, 1000, 100):
            writer.write(batch(start, 100))
    described = tables.meta("ns", "t")
    assert (described.count, described.partitions, described.features) == (1000, 4, ["x0"])
    assert len(described.digest) == 64
    read = pa.Table.from_batches(tables.batches("ns", "t"))
    assert read.column("x0").to_pylist() == [float(number) for number in range(1000)]
    assert tables.preview("ns", "t", 3).column("id").to_pylist() == ["id0", "id1", "id2"]


def test_same_rows_same_digest(storage: LocalStorage) -> None:
    tables = TableStore(storage)
    digests = []
    for name, start in (("a", 0), ("b", 0), ("c", 1)):
        with tables.writer(meta(name)) as writer:
            writer.write(batch(start, 10))
        digests.append(tables.meta("ns", name).digest)
    assert digests[0] == digests[1] != digests[2]


def test_failed_write_leaves_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    tables = TableStore(storage)
    with pytest.raises(RuntimeError, match="midway"), tables.writer(meta()) as writer:
        writer.write(batch(0, 10))
        raise RuntimeError("midway")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not tables.exists("ns", "t")


def test_failed_replacement_keeps_the_old_table(storage: LocalStorage) -> None:
    tables = TableStore(storage)
    with tables.writer(meta()) as writer:
        writer.write(batch(0, 10))
    with pytest.raises(RuntimeError), tables.writer(meta(), drop=True) as writer:
        writer.write(batch(5, 3))
        raise RuntimeError("midway")
    assert tables.meta("ns", "t").count == 10


def test_existing_table_needs_drop(storage: LocalStorage) -> None:
    tables = TableStore(storage)
    for drop in (False, True):
        with tables.writer(meta(), drop=drop) as writer:
            writer.write(batch(0, 10 + drop))
    assert tables.meta("ns", "t").count == 11
    with pytest.raises(StorageError, match="table ns/t exists already .* drop=True"), tables.writer(meta()):
        pass


def test_missing_table_names_its_neighbours(storage: LocalStorage) -> None:
    tables = TableStore(storage)
    with tables.writer(meta("breast_guest")) as writer:
        writer.write(batch(0, 1))
    with pytest.raises(StorageError, match="no table 'breast' in namespace 'ns' .* holds: breast_guest"):
        tables.meta("ns", "breast")


def test_damaged_description_is_named(storage: LocalStorage) -> None:
    storage.write_json("tables/ns/t/_meta.json", {"format": 1, "namespace": "ns"})
    with pytest.raises(StorageError, match=r"tables/ns/t/_meta.json is damaged"):
        TableStore(storage).meta("ns", "t")
    storage.write_bytes("tables/ns/t/_meta.json", b"{")
    with pytest.raises(StorageError, match="is not JSON"):
        TableStore(storage).meta("ns", "t")


def test_files_are_the_owners_alone(storage: LocalStorage, tmp_path: Path) -> None:
    storage.write_bytes("jobs/a/status.json", b"{}")
    assert (tmp_path / "jobs/a/status.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "jobs/a").stat().st_mode & 0o777 == 0o700


def test_a_table_that_came_meanwhile_is_not_replaced(storage: LocalStorage) -> None:
    tables = TableStore(storage)
    with pytest.raises(StorageError, match="exists already"), tables.writer(meta()) as slower:
        slower.write(batch(0, 10))
        with tables.writer(meta()) as faster:
            faster.write(batch(0, 3))
    assert tables.meta("ns", "t").count == 3


GUEST = Party("guest", "9999")


def test_model_is_readable_without_this_project(storage: LocalStorage, tmp_path: Path) -> None:
    model = Model({"format": 1, "weights": {"x0": 0.5}}, {"trees": pa.table({"node": [1, 2]})})
    ModelStore(storage, GUEST).save("arbiter-10000#guest-9999#host-10000#model", "v1", {"lr_0": model}, {"dsl": {}})
    directory = tmp_path / "models" / "arbiter-10000#guest-9999#host-10000#model" / "v1" / "guest-9999"
    assert json.loads((directory / "lr_0.json").read_text())["meta"]["weights"] == {"x0": 0.5}
    assert pq.read_table(directory / "lr_0.trees.parquet").column("node").to_pylist() == [1, 2]
    loaded = ModelStore(storage, GUEST).load("arbiter-10000#guest-9999#host-10000#model", "v1")
    assert loaded["lr_0"].meta == model.meta
    assert loaded["lr_0"].tables["trees"].equals(model.tables["trees"])


def test_model_that_cannot_be_written_leaves_the_old_one(storage: LocalStorage, tmp_path: Path) -> None:
    store = ModelStore(storage, GUEST)
    store.save("m", "v1", {"a": Model({"n": 1})}, {})
    with pytest.raises(TypeError):
        store.save("m", "v1", {"a": Model({"n": {1: 2, "x": 3}})}, {})  # keys that JSON cannot sort
    assert store.load("m", "v1")["a"].meta == {"n": 1}
    assert [path.name for path in (tmp_path / "models/m/v1").iterdir()] == ["guest-9999"]


def test_deployed_version(storage: LocalStorage) -> None:
    store = ModelStore(storage, GUEST)
    store.save("m", "v1", {}, {})
    with pytest.raises(StorageError, match="no version of model 'm' is deployed at guest-9999"):
        store.deployed_version("m")
    with pytest.raises(StorageError, match="no version 'v2' of model 'm' .* there are: v1"):
        store.deploy("m", "v2")
    store.deploy("m", "v1")
    assert store.deployed_version("m") == "v1"
    assert store.versions("m") == ["v1"]
