"""Uploads of lines without columns: FATE's tag, tag:value and svmlight files."""

from __future__ import annotations

import gzip

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fate.operators.sources import file_source
from airflow_provider_fate.runtime.rows_io import read_rows
from tests.unit.operators.test_upload import refused, rows, upload, write  # noqa: F401

# as FATE's examples/data/{breast_hetero_host_tag_value, mock_tag_hetero_host, tag, svmlight_guest} begin
TAG_VALUE = "133,x0:0.449512;x1:-1.247226\n273,x1:-1.245485\n175,x0:1;x2:3\n"
TAG = "0,2019121064;2019121071\n1,2019121050\n2,\n3\n"
COMMAS = "0, 年龄2, 有车, 有房,\n1, 收入8000以上, 身高182,\n"
NUMBERS = "a,2019010533,2019011092\nb,2019010533\n"
SVMLIGHT = "1,1,0:-0.0101217,1:-0.0028783\n2,0,0:-0.00636127\n"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (TAG_VALUE, ["x0:0.449512;x1:-1.247226", "x1:-1.245485", "x0:1;x2:3"]),
        (TAG, ["2019121064;2019121071", "2019121050", "", ""]),
        (COMMAS, [" 年龄2, 有车, 有房,", " 收入8000以上, 身高182,"]),
        (NUMBERS, ["2019010533,2019011092", "2019010533"]),
        (SVMLIGHT, ["1,0:-0.0101217,1:-0.0028783", "0,0:-0.00636127"]),
    ],
)
def test_fate_s_upload_conf_without_a_header(tables_here, write, content, lines):  # noqa: F811
    conf = {"file": write(content), "head": 0, "partition": 16, "namespace": "bank", "table_name": "rows"}
    result = upload(upload_conf=conf)
    assert result["columns"] == ["id", "line"]
    assert rows(tables_here)["line"].to_pylist() == lines
    assert rows(tables_here)["id"].to_pylist() == [line.split(",")[0] for line in content.split("\n") if line]
    meta = tables_here.meta("bank", "rows")
    assert (meta.kind, meta.count) == ("lines", len(lines))
    found = read_rows(tables_here, meta, None, None)
    assert (found.schema.kind, found.schema.features) == ("lines", ())
    assert found.blocks()[0].lines.to_pylist() == lines
    # the same where it is said
    upload(source=write(content), input_format="tag", head=False, name="again")
    assert rows(tables_here, "again") == rows(tables_here)


def test_columns_of_numbers_stay_columns(tables_here, write):  # noqa: F811
    for number, content in enumerate(("a,1,0.5\nb,0,NA\n", "a,1\nb,\n")):
        conf = {"file": write(content), "head": 0, "namespace": "bank", "table_name": f"rows{number}"}
        assert "line" not in upload(upload_conf=conf, name=None)["columns"]
    conf = {"file": write("id,y,x0\na,1,0.5\n"), "head": 1, "namespace": "bank", "table_name": "headed"}
    assert upload(upload_conf=conf, name=None)["columns"] == ["id", "y", "x0"]


def test_a_first_line_with_values_is_no_header(tables_here, write):  # noqa: F811
    # FATE 1.11's test suites upload these files with head 1, which costs them their first row
    for number, content in enumerate((TAG_VALUE, SVMLIGHT, "0,a;b\n1,c;d\n2,e\n3,f;g\n")):
        conf = {"file": write(content), "head": 1, "namespace": "bank", "table_name": f"rows{number}"}
        assert upload(upload_conf=conf, name=None)["count"] == content.count("\n")
    conf = {"file": write("id,tags\na,t;u\n"), "head": 1, "namespace": "bank", "table_name": "headed"}
    assert upload(upload_conf=conf, name=None)["count"] == 1
    # a column of text among numbers is an error with its place
    conf = {"file": write("id,x,at\na,1,12:30\n"), "head": 1, "namespace": "bank", "table_name": "text"}
    with pytest.raises(AirflowFailException, match="line 2, column 'at': '12:30' is not a number"):
        upload(upload_conf=conf, name=None)


def test_the_conf_s_meta_says_it(tables_here, write):  # noqa: F811
    meta = {"delimiter": ";", "input_format": "tag", "tag_with_value": True, "with_label": True, "label_name": "y"}
    conf = {"file": write("1\t1;a:2\n"), "head": 0, "id_delimiter": "\t", "meta": meta}
    upload(upload_conf=conf)
    assert rows(tables_here).to_pydict() == {"id": ["1"], "line": ["1;a:2"]}


def test_quotes_and_empty_lines(tables_here, write):  # noqa: F811
    packed = write(gzip.compress(b'a,"t";u\n\n\nb,v\r\n'), "rows.csv.gz")
    assert upload(source=packed, input_format="tag", head=False)["count"] == 2
    assert rows(tables_here)["line"].to_pylist() == ['"t";u', "v"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,t\n ,u\n", "line 2, column 'id': the id is empty"),
        ("a,t\na,u\n", "line 2, column 'id': the id 'a' stands at .* line 1 already"),
        (b"a,t\nb,\xff\n", "line 2, column 2: .* is not UTF-8 text"),
        ("", "has no rows"),
    ],
)
def test_what_is_wrong_is_named(tables_here, write, content, problem):  # noqa: F811
    import re

    found = refused(tables_here, source=write(content), input_format="tag", head=False)
    assert re.search(problem, found), found


def test_lines_have_no_label_column(write):  # noqa: F811
    with pytest.raises(Exception, match="label_column: lines of tags"):
        file_source(write(TAG), lines=True, head=False, label_column="y")
