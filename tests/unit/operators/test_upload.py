"""Uploads into a real local storage: what is accepted, what is refused and with which words."""

from __future__ import annotations

import datetime
import gzip
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.hooks.stores import TableStore
from airflow_provider_fate.operators.sources import SqlSource, query
from airflow_provider_fate.operators.sources.load import load
from airflow_provider_fate.operators.upload import FateUploadOperator

CSV = "id,y,x0,x1\na,1,0.5,-2\nb,0,1e-3,\nc,1,NA,7\n"


@pytest.fixture
def write(tmp_path: Path):
    def write(content: str | bytes, name: str = "rows.csv") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def upload(**arguments: Any) -> dict[str, Any]:
    arguments = {"namespace": "bank", "name": "rows", **arguments}
    return FateUploadOperator(task_id="upload", **arguments).execute({})


def refused(tables: TableStore, **arguments: Any) -> str:
    """The error's text, after it is known that nothing was written."""
    with pytest.raises(AirflowFailException) as caught:
        upload(**arguments)
    assert tables.storage.list("tables/bank") == []
    return str(caught.value)


def rows(tables: TableStore, name: str = "rows") -> pa.Table:
    return pa.Table.from_batches(tables.batches("bank", name))


# -- what is accepted


def test_csv_becomes_a_typed_table(tables_here, write):
    result = upload(source=write(CSV), label_column="y")
    assert {k: result[k] for k in ("namespace", "name", "count", "columns")} == {
        "namespace": "bank", "name": "rows", "count": 3, "columns": ["id", "y", "x0", "x1"],
    }  # fmt: skip
    assert rows(tables_here).to_pydict() == {
        "id": ["a", "b", "c"], "y": [1.0, 0.0, 1.0], "x0": [0.5, 0.001, None], "x1": [-2.0, None, 7.0],
    }  # fmt: skip
    meta = tables_here.meta("bank", "rows")
    assert (meta.id_name, meta.label_name, meta.features, meta.digest) == ("id", "y", ["x0", "x1"], result["digest"])
    assert dict(meta.columns) == {"id": "string", "y": "double", "x0": "double", "x1": "double"}


def test_ids_keep_their_exact_text(tables_here, write):
    upload(source=write('id,x\n007,1\n7,1\n7.0,1\n"a,b",1\nNA,1\n" 7",1\nü,1\n'))
    assert rows(tables_here)["id"].to_pylist() == ["007", "7", "7.0", "a,b", "NA", " 7", "ü"]


def test_the_same_rows_have_the_same_digest(tables_here, write):
    path = write(CSV)
    assert upload(source=path)["digest"] == upload(source=path, name="again")["digest"]


def test_columns_are_chosen_by_name_and_by_position(tables_here, write):
    path = write("x,key,target\n1,a,2\n3,b,4\n")
    upload(source=path, id_column="key", label_column=2)
    assert rows(tables_here).to_pydict() == {"key": ["a", "b"], "target": [2.0, 4.0], "x": [1.0, 3.0]}


def test_without_a_header(tables_here, write):
    path = write("a,1,2\nb,3,4\n")
    assert upload(source=path, head=False)["columns"] == ["id", "x0", "x1"]
    assert upload(source=path, head=False, columns=["k", "y", "z"], label_column="y", name="named")["columns"] == [
        "k", "y", "z",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.csv.zst", "rows.csv"])
def test_packed_and_marked_text(tables_here, write, name):
    content = b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode()
    packed = {
        "gz": gzip.compress(content), "zst": pa.Codec("zstd").compress(content, asbytes=True), "csv": content,
    }[name.rpartition(".")[2]]  # fmt: skip
    upload(source=write(packed, name), label_column="y")
    assert rows(tables_here)["x1"].to_pylist() == [-2.0, None, 7.0]


def test_directories_globs_lists_and_tabs(tables_here, write, tmp_path):
    write("id\tx\na\t1\n", "many/1.tsv")
    write("id\tx\nb\t2\n", "many/2.tsv")
    write("", "many/_SUCCESS")
    upload(source=str(tmp_path / "many"))
    upload(source=str(tmp_path / "many" / "*.tsv"), name="by_glob")
    upload(source=[str(tmp_path / "many" / "2.tsv"), str(tmp_path / "many" / "1.tsv")], name="listed")
    assert rows(tables_here)["id"].to_pylist() == rows(tables_here, "by_glob")["id"].to_pylist() == ["a", "b"]
    assert rows(tables_here, "listed")["id"].to_pylist() == ["b", "a"]


def test_parquet(tables_here, tmp_path):
    table = pa.table({"x": pa.array([1, None], pa.int32()), "id": pa.array([12, 13]), "y": [True, False]})
    pq.write_table(table, tmp_path / "rows.parquet")
    upload(source=str(tmp_path / "rows.parquet"), id_column="id", label_column="y")
    assert rows(tables_here).to_pydict() == {"id": ["12", "13"], "y": [1.0, 0.0], "x": [1.0, None]}


def test_a_file_in_a_storage(tables_here, connections):
    storage = tables_here.storage
    for number, rest in ((1, "a,1\n"), (2, "b,2\n")):
        with storage.open_write(f"incoming/part{number}.csv") as stream:
            stream.write(b"id,x\n" + rest.encode())
    for number, source in enumerate(
        ["incoming/part*.csv", "incoming", storage.spark_path("incoming"), ["incoming/part1.csv", "incoming/part2.csv"]]
    ):
        upload(source=source, source_conn_id="fate_storage", name=f"rows{number}")
        assert rows(tables_here, f"rows{number}")["id"].to_pylist() == ["a", "b"]
    pq.write_table(pa.table({"id": ["p"], "x": [1.5]}), str(connections / "storage" / "incoming" / "p.parquet"))
    upload(source="incoming/p.parquet", source_conn_id="fate_storage", name="parquet")
    assert rows(tables_here, "parquet").to_pydict() == {"id": ["p"], "x": [1.5]}


def test_an_upload_conf_of_fate(tables_here, write):
    conf = {
        "file": write("k|y|x\na|1|2\n"), "head": 1, "partition": 10, "work_mode": 0, "id_delimiter": "|",
        "namespace": "bank", "table_name": "from_conf", "storage_engine": "HDFS", "use_local_data": 0,
    }  # fmt: skip
    operator = FateUploadOperator(task_id="upload", upload_conf=conf)
    assert operator.execute({})["columns"] == ["k", "y", "x"]
    as_text = FateUploadOperator(
        task_id="upload", upload_conf=json.dumps({**conf, "drop": 1, "meta": {"with_label": True, "label_name": "y"}})
    )
    as_text.execute({})
    assert tables_here.meta("bank", "from_conf").label_name == "y"


def test_a_table_is_replaced_only_with_drop(tables_here, write):
    upload(source=write("id,x\na,1\n"))
    with pytest.raises(AirflowFailException, match=r"bank/rows exists already .* drop=True"):
        upload(source=write("id,x\nb,2\n"))
    assert rows(tables_here)["id"].to_pylist() == ["a"]
    upload(source=write("id,x\nb,2\n"), drop=True)
    assert rows(tables_here)["id"].to_pylist() == ["b"]


def test_a_failed_replacement_leaves_the_old_table(tables_here, write):
    upload(source=write("id,x\na,1\n"))
    with pytest.raises(AirflowFailException, match="not a number"):
        upload(source=write("id,x\nb,2\nc,oops\n"), drop=True)
    assert rows(tables_here)["id"].to_pylist() == ["a"]
    assert tables_here.storage.list("tables/bank") == ["rows"]


def test_many_rows_go_to_several_files(tables_here, write):
    count = 5000
    upload(source=write("id,x\n" + "".join(f"{i},{i / 7}\n" for i in range(count))), partition=1024)
    assert len(tables_here.files("bank", "rows")) == 5
    table = rows(tables_here)
    assert table.num_rows == count
    np.testing.assert_array_equal(table["x"].to_numpy(), np.arange(count) / 7)


# -- what is refused

REFUSED = {
    "repeated id": (
        "id,x\na,1\nb,2\na,3\n", {}, r"rows.csv line 4, column 'id': the id 'a' stands at .*rows.csv line 2 already"
    ),
    "empty id": ("id,x\na,1\n,2\n", {}, r"rows.csv line 3, column 'id': the id is empty"),
    "blank id": ("id,x\na,1\n  ,2\n", {}, r"rows.csv line 3, column 'id': the id is empty"),
    "short line": (
        "id,x,z\na,1,2\nb,2\n", {},
        r"rows.csv line 3, column 'z': is missing; the line has 2 columns, expected 3 as in the header",
    ),
    "long line": (
        "id,x\na,1\nb,2,3\n", {}, r"line 3, column 3: is one too many; the line has 3 columns, expected 2"
    ),
    "short line without a header": (
        "a,1,2\nb\n", {"head": False}, r"rows.csv line 2, column 'x0': is missing; .* expected 3 as in the first line"
    ),
    "other names": (
        "a,1,2\n", {"head": False, "columns": ["id", "x"]}, r"line 1, column 3: .* expected 2 as columns names them"
    ),
    "text feature": ("id,x,z\na,1,2\nb,2,red\n", {}, r"rows.csv line 3, column 'z': 'red' is not a number"),
    "python's number": ("id,x\na,1_000\n", {}, r"line 2, column 'x': '1_000' is not a number"),
    "infinity": ("id,x\na,1\nb,-inf\n", {}, r"line 3, column 'x': '-inf' is infinite"),
    "too large": ("id,x\na,1\nb,1e999\n", {}, r"line 3, column 'x': '1e999' is infinite as a 64-bit number"),
    "missing label": ("id,y,x\na,1,2\nb,,2\n", {"label_column": "y"}, r"line 3, column 'y': the label is missing"),
    "text label": ("id,y,x\na,yes,2\n", {"label_column": "y"}, r"line 2, column 'y': 'yes' is not a number"),
    "no header": (
        "a,1,0.5\nb,2,0.25\n", {}, r"line 1, column 2: expected the columns' names, found numbers .* head=False"
    ),
    "unexpected header": ("id,x\na,1\n", {"head": False}, r"line 1, column 'x0': 'x' is not a number.* head=True"),
    "repeated column": ("\nid,x,x\na,1,2\n", {}, r"rows.csv line 2, column 3: is named 'x', as column 2 is"),
    "column without a name": ("id,,x\na,1,2\n", {}, r"rows.csv line 1, column 2: has no name"),
    "unknown id column": ("ident,x\na,1\n", {"id_column": "idnt"}, r"line 1 has no column 'idnt'; did you mean ident"),
    "unknown label": ("id,y1\na,1\n", {"label_column": "y"}, r"label_column: .* no column 'y'; did you mean y1\?"),
    "position": ("id,x\na,1\n", {"label_column": 7}, r"label_column: .* has columns 0 to 1, not 7"),
    "label is id": ("id,x\na,1\n", {"label_column": "id"}, r"'id' is the id column as well"),
    "empty file": ("", {}, r"rows.csv is empty; expected a header and rows"),
    "only a header": ("id,x\n", {}, r"rows.csv: has no rows"),
    "not UTF-8": (b"id,x\na\xff,1\n", {}, r"line 2, column 'id': b'a\\xff' is not UTF-8"),
    "line break": ('id,x\n"a\nb",1\n', {}, r"line 3, column 'id': has a line break inside quotes"),
    "open quote": ('id,x\na,"1"\n\nb,"1\nc,2\n', {}, r"line 4, column 2: a quotation mark opens here, and none"),
    "open quote in the header": ('id,x,"z\na,1,2\n', {}, r"rows.csv line 1, column 3: a quotation mark opens here"),
    "open quote after one": ('id,x\n"a""\nb","1,\nc', {}, r"rows.csv line 3, column 2: a quotation mark opens here"),
    "after a closed quote": ('id,x\na,"1"2\nb,5"\n', {}, r"rows.csv line 3, column 'x': '5\"' is not a number"),
    "wrong delimiter": ("id;x\na;1\n", {"label_column": "x"}, r"no column 'x'; expected one of id;x"),
    "bad delimiter": ("id,x\na,1\n", {"id_delimiter": "||"}, r"'\|\|' cannot part .*expected one character"),
    "partitions": ("id,x\na,1\n", {"partition": 0}, r"partition: 0 is not a whole number from 1 to 1024"),
    "head": ("id,x\na,1\n", {"head": "maybe"}, r"head: 'maybe' is not a yes or no"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tables_here, write, case):
    content, arguments, words = REFUSED[case]
    assert re.search(words, found := refused(tables_here, source=write(content), **arguments)), found


@pytest.mark.parametrize(
    "value",
    ["+1", "+.5", "-.5e+1", "1.", " 1 ", "\t1", "\v1", "1\f", "\xa01", "+nan", "nan(1)", "NaN ", " NA", "+-1", "."],
)
def test_what_arrow_takes_for_a_number_is_not_blamed(tables_here, write, value):
    """Arrow reads, and Python's reader looks for the line that Arrow refused: they agree on what a number is."""
    content = f"id,x\na,1\nb,{value}\n"
    try:
        upload(source=write(content), namespace="alone")
        wrong = 4
    except AirflowFailException:
        wrong = 3
    assert f"line {wrong}, column 'x': " in refused(tables_here, source=write(content + "c,oops\n"))


def test_an_error_far_down_names_its_line(tables_here, write):
    lines = [f"{i},{i}.5" for i in range(300_000)]
    lines[250_000] = "250000,1.5.5"
    found = refused(tables_here, source=write("id,x\n" + "\n".join(lines)))
    assert "line 250002, column 'x': '1.5.5' is not a number" in found


def test_other_columns_in_a_second_file(tables_here, write, tmp_path):
    write("id,x,z\na,1,2\n", "d/1.csv")
    second = write("id,x,w\nb,1,2\n", "d/2.csv")
    found = refused(tables_here, source=str(tmp_path / "d"))
    assert f"{second} line 1, column 3: is named 'w', expected 'z' as in" in found
    write("id,x\nb,1\n", "d/2.csv")
    found = refused(tables_here, source=str(tmp_path / "d"))
    assert "line 1, column 'z': is missing; the line has 2 columns, expected 3 as in" in found


def test_the_same_id_in_two_files(tables_here, write, tmp_path):
    first, second = write("id,x\na,1\n", "d/1.csv"), write("id,x\nb,1\n\na,2\n", "d/2.csv")
    found = refused(tables_here, source=str(tmp_path / "d"))
    assert f"{second} line 4, column 'id': the id 'a' stands at {first} line 2 already" in found


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"id": ["a", "a"], "x": [1.0, 2.0]}, "row 2, column 'id': the id 'a' stands at .*rows.parquet row 1 already"),
        ({"id": ["a", None], "x": [1.0, 2.0]}, "row 2, column 'id': the id is empty"),
        ({"id": ["a", "b"], "x": ["1", "2"]}, "column 'x': is of type string; expected numbers"),
        ({"id": [1.5, 2.5], "x": [1.0, 2.0]}, "column 'id': ids are of type double; expected text or whole numbers"),
        ({"id": ["a", "b"], "x": [1.0, float("inf")]}, "row 2, column 'x': is infinite"),
        ({"id": ["a"], "x": [datetime.date(2020, 1, 1)]}, "column 'x': is of type date32"),
    ],
)
def test_refused_parquet(tables_here, tmp_path, table, words):
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    assert re.search(words, found := refused(tables_here, source=str(tmp_path / "rows.parquet"))), found


def test_not_parquet_and_mixed(tables_here, write, tmp_path):
    assert "cannot be read as Parquet" in refused(tables_here, source=write("id,x\n", "d/rows.parquet"))
    write("id,x\n", "d/rows.csv")
    assert "Parquet and text files" in refused(tables_here, source=str(tmp_path / "d"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "give either source"),
        ({"source": "a", "sql": "b", "sql_conn_id": "c"}, "give either source"),
        ({"sql": "select 1"}, "sql and sql_conn_id go together"),
        ({"source": "/no/such/file.csv"}, "there is no file /no/such/file.csv"),
        ({"source": "/no/such/*.csv"}, "no file matches"),
        ({"source": "x", "name": "../up"}, r"name: '../up' is not a safe name"),
        ({"source": "x", "namespace": "a/b"}, r"namespace: 'a/b' is not a safe name"),
        ({"upload_conf": {"file": "x", "partitoin": 3}}, "upload_conf.partitoin: .* did you mean partition"),
        ({"upload_conf": {"file": "x", "extend_sid": True}}, "upload_conf.extend_sid: ids are kept"),
        ({"upload_conf": "nothing.jsn"}, "upload_conf: 'nothing.jsn' is neither a JSON object nor a file"),
        ({"upload_conf": {"file": "x", "meta": {"input_format": "tags"}}}, "input_format: 'tags' is not one of dense"),
        ({"source": "x", "input_format": "tags"}, "input_format: 'tags' is not one of dense"),
        ({"sql": "select 1", "sql_conn_id": "db", "input_format": "tag"}, "the rows of a query have columns"),
    ],
)
def test_wrong_arguments(tables_here, arguments, words):
    assert re.search(words, found := refused(tables_here, **arguments)), found


# -- a database


class SqliteHook:
    """A SQL hook without an engine, as some drivers' are."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)

    def run(self, sql: str) -> None:
        connection = self.get_conn()
        connection.executescript(sql)
        connection.close()


@pytest.fixture
def database(tmp_path: Path) -> SqliteHook:
    hook = SqliteHook(tmp_path / "rows.db")
    hook.run(
        "create table t (id, y, x);"
        "insert into t values (1, 0, 0.5), ('b', 1, null), ('c', 1, 3);"
        "create table wrong (id, x); insert into wrong values ('a', 1), ('b', 'red');"
        "create table twice (id, x); insert into twice values ('a', 1), ('b', 2), ('a', 3);"
        "create table blank (id, x); insert into blank values ('a', 1), (null, 2);"
    )
    return hook


def load_query(tables: TableStore, hook: SqliteHook, sql: str, parameters: Any = None) -> pa.Table:
    load(SqlSource(query(hook, sql, parameters, "db"), "the query on db"), tables, "bank", "rows", log=print)
    return rows(tables)


def test_a_query(tables_here, database):
    found = load_query(tables_here, database, "select * from t where y >= ?", (0,))
    assert found.to_pydict() == {"id": ["1", "b", "c"], "y": [0.0, 1.0, 1.0], "x": [0.5, None, 3.0]}


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select * from wrong", r"the query on db row 2, column 'x': 'red' \(str\) is not a number"),
        ("select * from twice", r"query on db row 3, column 'id': the id 'a' stands at the query on db row 1 already"),
        ("select * from blank", r"the query on db row 2, column 'id': the id is empty"),
        ("select * from nothing_there", r"connection 'db': the query failed: no such table: nothing_there"),
        ("select id, x, x from t", "the query on db, column 3: is named 'x', as column 2 is"),
        ("create table u (a)", r"returns no rows; expected a SELECT"),
        ("select * from t where y > 5", "the query on db: has no rows"),
    ],
)
def test_a_query_refused(tables_here, database, sql, words):
    with pytest.raises(FateError, match=words):
        load_query(tables_here, database, sql)
    assert tables_here.storage.list("tables/bank") == []


def test_not_a_database():
    with pytest.raises(FateError, match="'fs_default' is not one to a SQL database"):
        query(object(), "select 1", None, "fs_default")


def test_mapping_and_templates():
    partial = FateUploadOperator.partial(task_id="upload", namespace="bank")
    assert partial.expand(source=["a.csv"], name=["a"]) is not None
    assert {"source", "sql", "namespace", "name", "storage_conn_id", "drop"} <= set(FateUploadOperator.template_fields)
