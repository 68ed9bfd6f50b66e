from __future__ import annotations

import json
import math

import numpy as np
import pytest

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.data_io import DataIOParam, DataTransformParam
from airflow_provider_fate.runtime.components.data_transform import DataIO, DataTransform
from airflow_provider_fate.runtime.data import Block, Model, Rows
from tests.unit.components.running import component, table

NAN = math.nan


def fit(rows: Rows, **parameters):
    log: list[str] = []
    outputs = component(DataTransform, DataTransformParam(**parameters), log=log).fit({"data": rows}, {})
    return outputs, log


def predict(rows: Rows, model: Model, **parameters):
    log: list[str] = []
    # as the model is stored and read again
    stored = Model(json.loads(json.dumps(model.meta, allow_nan=False)))
    return component(DataTransform, DataTransformParam(**parameters), log=log).predict({"data": rows}, stored), log


def values(rows: Rows) -> list[list[float]]:
    return np.concatenate([block.x for block in rows.blocks()]).tolist()


def labels(rows: Rows) -> list[float] | None:
    blocks = rows.blocks()
    return None if blocks[0].y is None else np.concatenate([block.y for block in blocks]).tolist()


def ids(count: int) -> list[str]:
    return [f"{i}" for i in range(count)]


def test_the_table_s_label_is_the_label() -> None:
    rows = table(ids(4), np.arange(8).reshape(4, 2), y=[0, 1, 1, 0], partitions=3)
    outputs, log = fit(rows, with_label=True)
    result = outputs.data["data"]
    assert (result.schema.label_name, result.schema.features) == ("y", ("x0", "x1"))
    assert labels(result) == [0, 1, 1, 0]
    assert values(result) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert result.counts == rows.counts
    assert "4 rows, 2 features, label 'y'" in log


def test_a_feature_column_of_that_name_becomes_the_label() -> None:
    rows = table(ids(2), [[1, 0, 5], [2, 1, 6]], features=("a", "target", "b"))
    result = fit(rows, with_label=True, label_name="target")[0].data["data"]
    assert result.schema.features == ("a", "b")
    assert labels(result) == [0, 1]
    assert values(result) == [[1, 5], [2, 6]]


def test_a_label_that_is_not_named_is_a_feature_as_in_fate() -> None:
    outputs, log = fit(table(ids(2), [[1], [2]], y=[7, 8]))
    result = outputs.data["data"]
    assert result.schema.features == ("y", "x0")
    assert result.schema.label_name is None
    assert labels(result) is None
    assert values(result) == [[7, 1], [8, 2]]
    assert "column 'y' is a feature here: it is not named as the label" in log


def test_without_the_label_column_the_error_names_those_that_are_there() -> None:
    rows = table(ids(2), np.zeros((2, 12)), y=[0, 1], label="speed")
    with pytest.raises(DataError, match=r"no column 'y' .* it has columns speed, x0, .* and 3 more"):
        fit(rows, with_label=True)


@pytest.mark.parametrize("label_type", ["int", "int64", "long"])
def test_labels_that_are_not_whole_need_a_label_type(label_type) -> None:
    rows = table(ids(3), y=[0, 1.5, 2])
    with pytest.raises(DataError, match=f"1 labels in 'y' .* label_type is {label_type}; set it to float"):
        fit(rows, with_label=True, label_type=label_type)
    assert labels(fit(rows, with_label=True, label_type="float")[0].data["data"]) == [0, 1.5, 2]


def test_a_missing_label_is_refused() -> None:
    with pytest.raises(DataError, match="1 rows of guest-9999's input have no label in 'y'"):
        fit(table(ids(2), y=[0, NAN]), with_label=True, label_type="float")


def test_missing_values_without_a_fill_go_on_and_are_named() -> None:
    rows = table(ids(3), [[1, NAN, NAN], [2, 1, NAN], [3, 1, 1]], partitions=3)
    outputs, log = fit(rows)
    np.testing.assert_array_equal(values(outputs.data["data"]), [[1, NAN, NAN], [2, 1, NAN], [3, 1, 1]])
    assert "3 missing values in columns x1, x2 go on as missing: missing_fill is false" in log
    assert outputs.summary["missing_values_filled"] == 0


def test_infinity_is_refused() -> None:
    with pytest.raises(DataError, match="column x1 of guest-9999's input holds infinity"):
        fit(table(ids(2), [[1, 1], [1, math.inf]]), missing_fill=True)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"missing_fill_method": "min"}, [[1, 10], [3, 10], [1, 40], [8, 10]]),
        ({"missing_fill_method": "max"}, [[1, 10], [3, 40], [8, 40], [8, 40]]),
        ({"missing_fill_method": "mean"}, [[1, 10], [3, 25], [4, 40], [8, 25]]),
        ({"missing_fill_method": "designated", "default_value": -1}, [[1, 10], [3, -1], [-1, 40], [8, -1]]),
        ({"default_value": [5, 6]}, [[1, 10], [3, 6], [5, 40], [8, 6]]),
        ({}, [[1, 10], [3, 0], [0, 40], [8, 0]]),
        ({"missing_fill_method": "max", "missing_impute": ["NA", 8, "10"]}, [[1, 40], [3, 40], [3, 40], [3, 40]]),
    ],
)
@pytest.mark.parametrize("partitions", [1, 3])
def test_missing_values_are_filled(parameters, expected, partitions) -> None:
    rows = table(ids(4), [[1, 10], [3, NAN], [NAN, 40], [8, NAN]], partitions=partitions)
    outputs, _ = fit(rows, missing_fill=True, **parameters)
    assert values(outputs.data["data"]) == expected
    # a table to predict is given what was fitted, whatever it holds itself
    other = table(ids(1), [[NAN, NAN]])
    fitted = outputs.model.meta["missing_fill"]["values"]
    assert values(predict(other, outputs.model)[0].data["data"]) == [fitted]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"outlier_replace_method": "min"}, [2, 2, 4]),
        ({"outlier_replace_method": "max"}, [4, 2, 4]),
        ({"outlier_replace_method": "mean"}, [3, 2, 4]),
        ({"outlier_replace_method": "designated", "outlier_replace_value": 7}, [7, 2, 4]),
        ({}, [0, 2, 4]),
    ],
)
def test_outliers_are_replaced(parameters, expected) -> None:
    rows = table(ids(3), [[-9999], [2], [4]], partitions=2)
    outputs, _ = fit(rows, outlier_replace=True, outlier_impute=[-9999], **parameters)
    assert [row[0] for row in values(outputs.data["data"])] == expected
    again = predict(table(ids(2), [[-9999], [5]]), outputs.model)[0]
    assert [row[0] for row in values(again.data["data"])] == [expected[0], 5]


def test_statistics_leave_out_missing_values_and_outliers() -> None:
    rows = table(ids(4), [[NAN], [-9999], [2], [4]])
    outputs, _ = fit(
        rows, missing_fill=True, missing_fill_method="mean",
        outlier_replace=True, outlier_impute=["-9999"], outlier_replace_method="max",
    )  # fmt: skip
    assert values(outputs.data["data"]) == [[3], [4], [2], [4]]


@pytest.mark.parametrize(("method", "filled"), [("mean", 3), ("min", 2), ("max", 4)])
def test_a_column_without_a_value_goes_on_as_missing(method: str, filled: float) -> None:
    """As in FATE; its ionosphere data has a column of zeros, which a job takes for missing values."""
    rows = table(ids(3), [[NAN, 2], [0, NAN], [NAN, 4]], partitions=2)
    outputs, log = fit(rows, missing_fill=True, missing_fill_method=method, missing_impute=[0])
    np.testing.assert_array_equal(values(outputs.data["data"]), [[NAN, 2], [NAN, filled], [NAN, 4]])
    assert len([line for line in log if f"missing_fill_method: no value to take the {method} of in column x0" in line])
    assert "1 missing values in column x1 are filled" in log
    assert "3 missing values in column x0 go on as missing: no value was fitted" in log
    assert (outputs.summary["missing_values"], outputs.summary["missing_values_filled"]) == (4, 1)
    other = predict(table(ids(2), [[7, NAN], [0, 1]]), outputs.model)[0].data["data"]
    np.testing.assert_array_equal(values(other), [[7, filled], [NAN, 1]])
    assert values(fit(rows, missing_fill=True)[0].data["data"]) == [[0, 2], [0, 0], [0, 4]]


def test_a_column_of_outliers_alone_goes_on_as_missing() -> None:
    rows = table(ids(2), [[-9999, 1], [-9999, -9999]])
    outputs, log = fit(rows, outlier_replace=True, outlier_impute=[-9999], outlier_replace_method="mean")
    np.testing.assert_array_equal(values(outputs.data["data"]), [[NAN, 1], [NAN, 1]])
    assert len([line for line in log if "outlier_replace_method: no value to take the mean of in column x0" in line])
    other = predict(table(ids(1), [[-9999, 3]]), outputs.model)[0].data["data"]
    np.testing.assert_array_equal(values(other), [[NAN, 3]])


@pytest.mark.parametrize(("value", "match"), [([1, 2, 3], "has 3 values for 1 features"), ("x", "expected numbers")])
def test_a_wrong_default_value(value, match) -> None:
    with pytest.raises(ConfigError, match=f"part_0.default_value: {match}"):
        fit(table(ids(2)), missing_fill=True, default_value=value)


def test_whole_numbers_are_checked_where_the_type_says_so() -> None:
    with pytest.raises(DataError, match="column x1 .* data_type is int"):
        fit(table(ids(2), [[1, 1.5], [2, 3]]), data_type="int")


def test_predict_finds_columns_by_name() -> None:
    model = fit(table(ids(2), [[1, 2], [3, 4]], y=[0, 1], features=("a", "b")), with_label=True)[0].model
    rows = table(ids(2), [[9, 2, 1], [9, 4, 3]], y=[1, 0], features=("extra", "b", "a"))
    outputs, log = predict(rows, model)
    result = outputs.data["data"]
    assert result.schema.features == ("a", "b")
    assert values(result) == [[1, 2], [3, 4]]
    assert labels(result) == [1, 0]
    assert "left out column extra: not among the columns that the model was fitted with" in log
    with pytest.raises(DataError, match="lacks column a, which the model was fitted with; it has columns b, c"):
        predict(table(ids(1), [[1, 2]], features=("b", "c")), model)


def test_predict_without_labels() -> None:
    model = fit(table(ids(2), y=[0, 1]), with_label=True)[0].model
    outputs, log = predict(table(ids(3)), model)
    assert labels(outputs.data["data"]) is None
    assert outputs.data["data"].schema.label_name is None
    assert "no label column 'y' in the input: the rows go on without labels" in log


def test_predict_names_missing_values() -> None:
    model = fit(table(ids(2)))[0].model
    assert "1 missing values in column x0 go on as missing: missing_fill is false" in predict(
        table(ids(2), [[1], [NAN]]), model
    )[1]


def test_a_model_as_input_is_applied_and_handed_on() -> None:
    model = fit(table(ids(2), [[1], [NAN]]), missing_fill=True, default_value=5)[0].model
    outputs = component(DataTransform, DataTransformParam()).fit({"data": table(ids(1), [[NAN]])}, {"model": model})
    assert values(outputs.data["data"]) == [[5]]
    assert outputs.model is model


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match="expected a model of DataTransform in format 1, found"):
        predict(table(ids(1)), Model({"format": 99}))


def test_need_run_false_passes_rows_on() -> None:
    rows = table(ids(2), [[NAN], [1]], y=[0, 1])
    outputs = fit(rows, need_run=False)[0]
    assert outputs.data["data"] is rows
    assert predict(rows, outputs.model)[0].data["data"] is rows


def test_dataio_is_the_same_by_its_older_name() -> None:
    outputs = component(DataIO, DataIOParam(with_label=True)).fit({"data": table(ids(2), y=[0, 1])}, {})
    assert labels(outputs.data["data"]) == [0, 1]
    assert DataIO.module == "DataIO"


def test_the_input_is_not_changed() -> None:
    x = np.array([[NAN], [1.0]])
    rows = table(ids(2), x)
    blocks: list[Block] = rows.blocks()
    fit(rows, missing_fill=True, default_value=3)
    assert np.isnan(blocks[0].x[0, 0])
