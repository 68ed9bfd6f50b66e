"""Uploads from a real PostgreSQL and from and to a real HDFS, in bounded memory."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.hooks.stores import tables
from airflow_provider_fate.operators.upload import FateUploadOperator

EXAMPLES = Path(__file__).parents[3] / "dags" / "examples" / "data"


def upload(**arguments):
    return FateUploadOperator(task_id="u", **{"namespace": "bank", "name": "rows", **arguments}).execute({})


@pytest.fixture
def database(postgres, connections, monkeypatch):
    name = postgres.new_database()
    connection = postgres.connection(name)
    connection.autocommit = True
    monkeypatch.setenv("AIRFLOW_CONN_BANK", postgres.url(name, "postgres"))
    yield connection.cursor()
    connection.close()


def test_a_query_on_postgresql(database):
    database.execute(
        "create table customers (id bigint, y smallint, income numeric(12, 2), age real, active boolean);"
        "insert into customers select i, i % 2, i * 1.25, null, i % 3 = 0 from generate_series(1, 50000) i"
    )
    result = upload(
        sql="select * from customers where id > %(least)s order by id",
        parameters={"least": 10}, sql_conn_id="bank", label_column="y",
    )  # fmt: skip
    assert (result["count"], result["columns"]) == (49_990, ["id", "y", "income", "age", "active"])
    first = tables("fate_storage").preview("bank", "rows", 2).to_pylist()
    assert first == [
        {"id": "11", "y": 1.0, "income": 13.75, "age": None, "active": 0.0},
        {"id": "12", "y": 0.0, "income": 15.0, "age": None, "active": 1.0},
    ]


@pytest.mark.parametrize(
    ("sql", "error", "words"),
    [
        ("select 1 as id, 'red' as colour", AirflowFailException, r"bank row 1, column 'colour': 'red' \(str\) is not"),
        ("select i % 30000 as id, 1 from generate_series(1, 50000) i", AirflowFailException, "row 30001, column 'id'"),
        ("select * from nothing_there", FateError, "connection 'bank': the query failed.*nothing_there"),
        ("select 1 as id, 2 as x where false", AirflowFailException, "the query on bank: has no rows"),
    ],
)  # fmt: skip
def test_a_query_refused(database, sql, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        upload(sql=sql, sql_conn_id="bank")
    assert tables("fate_storage").storage.list("tables/bank") == []


@pytest.fixture
def on_hdfs(hdfs, connections, monkeypatch):
    root = hdfs.new_directory(f"/uploads-{secrets.token_hex(4)}", "bank")
    host, _, port = hdfs.web_url.removeprefix("http://").partition(":")
    extra = {"hdfs_url": hdfs.url, "root_path": root}
    monkeypatch.setenv(
        "AIRFLOW_CONN_HDFS",
        json.dumps({"conn_type": "fate_hdfs", "host": host, "port": int(port), "login": "bank", "extra": extra}),
    )
    return hdfs.client("bank"), root


def test_from_hdfs_to_hdfs(on_hdfs):
    client, root = on_hdfs
    client.upload(f"{root}/incoming/guest.csv", str(EXAMPLES / "breast_hetero_guest.csv"))
    for source in ("incoming/guest.csv", "incoming", "incoming/*.csv"):
        result = upload(source=source, source_conn_id="hdfs", storage_conn_id="hdfs", label_column="y", drop=True)
        assert result["count"] == 569
    assert tables("hdfs").meta("bank", "rows").digest == result["digest"]
    local = upload(source=str(EXAMPLES / "breast_hetero_guest.csv"), label_column="y")
    assert local["digest"] == result["digest"]
    with pytest.raises(AirflowFailException, match="there is no file hdfs://.*/incoming/host.csv"):
        upload(source="incoming/host.csv", source_conn_id="hdfs", name="other")


def test_a_failure_leaves_nothing_in_hdfs(on_hdfs, tmp_path):
    client, root = on_hdfs
    (tmp_path / "rows.csv").write_text("id,x\n" + "".join(f"{i},1\n" for i in range(100_000)) + "7,1\n")
    with pytest.raises(AirflowFailException, match=r"line 100002, column 'id': the id '7' stands at .* line 9 already"):
        upload(source=str(tmp_path / "rows.csv"), storage_conn_id="hdfs", name="broken")
    there = client.status(f"{root}/tables/bank", strict=False) is not None
    assert not there or client.list(f"{root}/tables/bank") == []


def test_memory_does_not_grow_with_the_rows(connections, tmp_path):
    """Ten times the rows take about the same memory, at their peak, in a process of their own."""
    script = (
        "import resource, sys\n"
        "from airflow_provider_fate.operators.upload import FateUploadOperator\n"
        "FateUploadOperator(task_id='u', namespace='n', name='t' + sys.argv[2], source=sys.argv[1]).execute({})\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    peaks = []
    for rows in (150_000, 1_500_000):
        path = tmp_path / f"{rows}.csv"
        with path.open("w") as stream:
            stream.write("id," + ",".join(f"x{i}" for i in range(8)) + "\n")
            for start in range(0, rows, 10_000):
                stream.writelines(f"u{i},{i}.25,1,2.5,3,4,5,6,7.125\n" for i in range(start, start + 10_000))
        done = subprocess.run(
            [sys.executable, "-c", script, str(path), str(rows)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout.rpartition("PEAK ")[2]))
    assert peaks[1] - peaks[0] < 200, peaks  # MiB; the files differ by 60, the parsed rows by 110
