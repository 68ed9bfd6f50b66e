"""DataIO and DataTransform on lines: tags, tags with values, svmlight (against scikit-learn's reader)."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.job.parameters import DataIOParam, DataTransformParam
from airflow_provider_fate.runtime.components.data_transform import DataIO, DataTransform
from airflow_provider_fate.runtime.data import LINES, Block, Model, Rows, Schema
from airflow_provider_fate.runtime.local_engine import LocalEngine
from tests.unit.components.running import component

NAN = math.nan


def lines(*texts: str, partitions: int = 1) -> Rows:
    """Rows whose ids count the lines; the last partition may be empty."""
    parts = np.array_split(np.arange(len(texts)), partitions)
    blocks = [
        Block(
            pa.array([f"r{at}" for at in part], pa.string()),
            np.empty((len(part), 0)),
            lines=pa.array([texts[at] for at in part], pa.string()),
        )
        for part in parts
    ]
    return LocalEngine().rows(blocks, Schema("id", (), kind=LINES))


def fit(rows: Rows, kind=DataTransform, **parameters):
    of = DataIOParam if kind is DataIO else DataTransformParam
    log: list[str] = []
    return component(kind, of(**parameters), log=log).fit({"data": rows}, {}), log


def predict(rows: Rows, model: Model):
    stored = Model(json.loads(json.dumps(model.meta, allow_nan=False)))
    log: list[str] = []
    return component(DataTransform, DataTransformParam(), log=log).predict({"data": rows}, stored).data["data"], log


def values(rows: Rows) -> list[list[float]]:
    return np.concatenate([block.x for block in rows.blocks()]).tolist()


def labels(rows: Rows) -> list[float]:
    return np.concatenate([block.y for block in rows.blocks()]).tolist()


@pytest.mark.parametrize("partitions", [1, 2, 6])
def test_tags(partitions) -> None:
    rows = lines("b;a", "", "c", "a;a;", "z", partitions=partitions)
    outputs, log = fit(rows, input_format="tag", delimitor=";")
    result = outputs.data["data"]
    assert result.schema.features == ("a", "b", "c", "z")
    assert values(result) == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert "5 rows, 4 features, no label" in log
    assert result.counts == rows.counts
    # new rows have the columns that were fitted, whatever their tags
    again, _ = predict(lines("new;c;a", "other"), outputs.model)
    assert again.schema.features == ("a", "b", "c", "z")
    assert values(again) == [[1, 0, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("kind", [DataIO, DataTransform])
def test_tags_with_values_and_labels(kind, partitions) -> None:
    rows = lines("1,t1:0.5,t2:1.2", "0,t10:-3e2", "1,t2:4,t2:5", partitions=partitions)
    outputs, _ = fit(rows, kind, input_format="tag", tag_with_value=True, with_label=True)
    result = outputs.data["data"]
    assert (result.schema.features, result.schema.label_name) == (("t1", "t10", "t2"), "y")
    assert values(result) == [[0.5, 0, 1.2], [0, -300, 0], [0, 0, 5]]
    assert labels(result) == [1, 0, 1]
    # rows to predict may have no label
    again, log = predict(lines("t1:7,t3:1"), outputs.model)
    assert (values(again), again.schema.label_name) == ([[7, 0, 0]], None)
    assert "no label column 'y' in the input: the rows go on without labels" in log
    assert labels(predict(lines("1,t1:7"), outputs.model)[0]) == [1]


def test_absent_tags_are_filled_where_missing_values_are() -> None:
    rows = lines("a:2;b:NA", "a:4", "b:6", partitions=2)
    common = {"input_format": "tag", "tag_with_value": True, "delimitor": ";"}
    outputs, _ = fit(rows, **common, missing_fill=True, missing_fill_method="mean")
    assert values(outputs.data["data"]) == [[2, 6], [4, 6], [3, 6]]
    assert values(predict(lines("x:1"), outputs.model)[0]) == [[3, 6]]
    # without, a tag that is absent is 0, and one whose value is missing is missing
    np.testing.assert_array_equal(values(fit(rows, **common)[0].data["data"]), [[2, NAN], [4, 0], [0, 6]])


@pytest.mark.parametrize("partitions", [1, 4])
def test_svmlight_as_scikit_learn_reads_it(partitions) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(40, 12)) * (random.random((40, 12)) < 0.3)
    y = random.integers(0, 2, 40)
    file = io.BytesIO()
    dump_svmlight_file(x, y, file, zero_based=True)
    texts = file.getvalue().decode().splitlines()
    rows = lines(*texts, partitions=partitions)
    outputs, _ = fit(rows, input_format="sparse", delimitor=" ", with_label=True)
    wanted, wanted_labels = load_svmlight_file(io.BytesIO(file.getvalue()), n_features=12, zero_based=True)
    assert values(outputs.data["data"]) == wanted.toarray().tolist()
    assert labels(outputs.data["data"]) == wanted_labels.tolist()
    assert outputs.data["data"].schema.features == tuple(f"x{place}" for place in range(12))


def test_svmlight_under_fate_s_two_names() -> None:
    # FATE 1.5's DataIO names columns 0, 1, ..., and takes the first field for the label without being told
    result = fit(lines("1,0:3,2:5"), DataIO, input_format="sparse")[0].data["data"]
    assert (result.schema.features, values(result), labels(result)) == (("0", "1", "2"), [[3, 0, 5]], [1])
    outputs, _ = fit(lines("0:3,2:5"), DataIO, input_format="sparse")
    assert outputs.data["data"].schema.label_name is None
    outputs, _ = fit(lines("0:3,2:5"), input_format="svmlight")
    assert outputs.data["data"].schema.features == ("x0", "x1", "x2")
    # a place beyond those that were fitted is left out
    assert values(predict(lines("1:8,9:1"), outputs.model)[0]) == [[0, 8, 0]]


@pytest.mark.parametrize(
    ("parameters", "text", "match"),
    [
        ({"input_format": "dense"}, "a", "input_format: is dense, but guest-9999's input is lines of text"),
        ({"input_format": "tag", "tag_with_value": True}, "a:1,b", "row 'r0': the field 'b' is not a tag and a value"),
        ({"input_format": "tag", "tag_with_value": True}, "a:one", "row 'r0': the value 'one' is not a number"),
        ({"input_format": "tag", "with_label": True}, "a,b", "row 'r0': the label 'a' is not a number"),
        ({"input_format": "tag", "with_label": True}, "1,y", "'y' is the label's name and a tag"),
        ({"input_format": "tag"}, ",", "the lines hold no tags parted by ','"),
        ({"input_format": "sparse"}, "a:1", "row 'r0': 'a' is not a place"),
        ({"input_format": "sparse"}, "-1:1", "row 'r0': '-1' is not a place"),
        ({"input_format": "sparse"}, "999999999:1", "features are dense here"),
        ({"input_format": "tag", "with_label": True}, ",b", "1 rows of guest-9999's input have no label"),
    ],
)
def test_refusals(parameters, text, match) -> None:
    with pytest.raises(DataError, match=match):
        fit(lines(text), **parameters)


def test_lines_and_columns_are_not_mixed() -> None:
    model = fit(lines("a"), input_format="tag")[0].model
    other = Model({**model.meta, "lines": None})
    with pytest.raises(DataError, match="is lines of text, but the model was fitted on columns"):
        predict(lines("a"), other)
