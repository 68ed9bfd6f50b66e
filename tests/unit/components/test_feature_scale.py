"""FeatureScale against scikit-learn, whatever the partitions, on the rows it was fitted on and on others."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters import FeatureScaleParam
from airflow_provider_fate.runtime.components.feature_scale import FeatureScale
from airflow_provider_fate.runtime.data import Model, Rows
from tests.unit.components.running import component, table

NAN = math.nan
# a column that varies by 100 around 1e6 has some 12 digits left, whoever computes
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def fit(rows: Rows, **parameters):
    log: list[str] = []
    made = component(FeatureScale, FeatureScaleParam(**parameters), log=log)
    return made.fit({"data": rows}, {}), log


def predict(rows: Rows, model: Model) -> np.ndarray:
    stored = Model(json.loads(json.dumps(model.meta, allow_nan=False)))
    return values(component(FeatureScale, FeatureScaleParam()).predict({"data": rows}, stored).data["data"])


def values(rows: Rows) -> np.ndarray:
    return np.concatenate([block.x for block in rows.blocks()])


def ids(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def some(count: int = 300, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 4)) * [1, 100, 1e-3, 1] + [0, 1e6, 5, 0]
    x[:, 3] = random.integers(0, 4, count)
    return x


@pytest.mark.parametrize("partitions", [1, 3, 400])
@pytest.mark.parametrize(("method", "scaler"), [("standard_scale", StandardScaler), ("min_max_scale", MinMaxScaler)])
def test_as_scikit_learn(method, scaler, partitions) -> None:
    x = some()
    outputs, log = fit(table(ids(300), x, partitions=partitions), method=method)
    wanted = scaler().fit(x)
    np.testing.assert_allclose(values(outputs.data["data"]), wanted.transform(x), **CLOSE)
    inner = (x[:50] + x[50:100]) / 2  # within the range that was fitted
    np.testing.assert_allclose(predict(table(ids(50), inner), outputs.model), wanted.transform(inner), **CLOSE)
    assert f"{method} of 4 of 4 features, 300 rows" in log


@pytest.mark.parametrize(("with_mean", "with_std"), [(False, True), (True, False), (False, False)])
def test_without_mean_or_deviation(with_mean, with_std) -> None:
    parameters = {"with_mean": with_mean, "with_std": with_std}
    x = some()
    scaled = values(fit(table(ids(300), x, partitions=3), **parameters)[0].data["data"])
    np.testing.assert_allclose(scaled, StandardScaler(**parameters).fit_transform(x), **CLOSE)


@pytest.mark.parametrize("method", ["standard_scale", "min_max_scale"])
def test_a_constant_column_is_not_divided_by_nothing(method) -> None:
    x = np.column_stack([np.full(7, 0.1), np.full(7, 1e9) + np.arange(7) * 1e-7, np.arange(7.0)])
    outputs, _ = fit(table(ids(7), x, partitions=2), method=method)
    scaled = values(outputs.data["data"])
    assert scaled[:, 0].tolist() == [0.0] * 7
    # a deviation below 1e-6 counts as 1
    np.testing.assert_allclose(scaled[:, 1], 0, atol=1e-6)
    assert predict(table(ids(1), [[5, 1e9, 3]]), outputs.model)[0, 0] == 0.0


@pytest.mark.parametrize("method", ["standard_scale", "min_max_scale"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_missing_values_are_not_counted_and_stay(method, partitions) -> None:
    x = some()
    x[::7, 1] = NAN
    x[::3, 3] = NAN
    scaled = values(fit(table(ids(300), x, partitions=partitions), method=method)[0].data["data"])
    wanted = (StandardScaler if method == "standard_scale" else MinMaxScaler)().fit_transform(x)
    np.testing.assert_allclose(scaled, wanted, **CLOSE)


def test_bounds_come_before_all_else() -> None:
    x = some()
    upper, lower = [1, 1_000_100, 5.001, 2], [-1, 1_000_000, 4.999, 1]
    bounded = np.clip(x, lower, upper)
    rows = table(ids(300), x, partitions=3)
    for method, scaler in (("standard_scale", StandardScaler), ("min_max_scale", MinMaxScaler)):
        outputs, _ = fit(rows, method=method, feat_upper=upper, feat_lower=lower)
        np.testing.assert_allclose(values(outputs.data["data"]), scaler().fit_transform(bounded), **CLOSE)
        column = outputs.model.meta["columns"]["x3"]
        assert (column["column_lower"], column["column_upper"]) == (1, 2)


def test_a_bound_beyond_all_values() -> None:
    outputs, _ = fit(table(ids(3), [[1], [2], [3]]), method="min_max_scale", feat_upper=0)
    assert values(outputs.data["data"]).tolist() == [[0], [0], [0]]
    outputs, _ = fit(table(ids(3), [[1], [2], [3]]), method="min_max_scale", feat_upper=10)
    assert values(outputs.data["data"]).tolist() == [[0], [0.5], [1]]


@pytest.mark.parametrize("method", ["standard_scale", "min_max_scale"])
@pytest.mark.parametrize("partitions", [1, 4])
def test_capped_at_quantiles(method, partitions) -> None:
    x = some()
    low, high = (np.quantile(x, share, axis=0, method="inverted_cdf") for share in (0.05, 0.9))
    outputs, _ = fit(
        table(ids(300), x, partitions=partitions), method=method, mode="cap", feat_upper=0.9, feat_lower=0.05
    )
    bounded = np.clip(x, low, high)
    wanted = (StandardScaler if method == "standard_scale" else MinMaxScaler)().fit_transform(bounded)
    np.testing.assert_allclose(values(outputs.data["data"]), wanted, **CLOSE)


def test_capped_at_nothing_is_plain() -> None:
    rows = table(ids(300), some(), partitions=2)
    capped, plain = (fit(rows, method="min_max_scale", mode=mode)[0] for mode in ("cap", "normal"))
    assert values(capped.data["data"]).tolist() == values(plain.data["data"]).tolist()


def test_new_rows_are_drawn_into_the_fitted_range_as_in_fate() -> None:
    for method, wanted in (("standard_scale", [[-1], [1], [0]]), ("min_max_scale", [[0], [1], [0.5]])):
        outputs, _ = fit(table(ids(2), [[1], [3]]), method=method)
        assert predict(table(ids(3), [[-5], [7], [2]]), outputs.model).tolist() == wanted


def test_some_columns() -> None:
    x = some()
    rows = table(ids(300), x, features=("a", "b", "c", "d"), partitions=2)
    outputs, log = fit(rows, scale_col_indexes=[3], scale_names=["b", "not there"])
    scaled = values(outputs.data["data"])
    np.testing.assert_allclose(scaled[:, [1, 3]], StandardScaler().fit_transform(x[:, [1, 3]]), **CLOSE)
    assert scaled[:, [0, 2]].tolist() == x[:, [0, 2]].tolist()
    assert list(outputs.model.meta["columns"]) == ["b", "d"]
    assert "the input has no column not there: passed over" in log
    # bounds go by feature, or by those that are scaled
    for upper in ([9, 1_000_050, 9, 2], [1_000_050, 2]):
        column = fit(rows, scale_col_indexes=[1, 3], feat_upper=upper)[0].model.meta["columns"]["d"]
        assert column["column_upper"] == 2


def test_columns_are_found_by_name_in_new_rows() -> None:
    outputs, _ = fit(table(ids(3), [[1, 10], [2, 20], [3, 30]], features=("a", "b")), method="min_max_scale")
    rows = table(ids(1), [[25, 7, 1]], features=("b", "more", "a"))
    assert predict(rows, outputs.model).tolist() == [[0.75, 7, 0]]
    with pytest.raises(DataError, match="lacks column b, which the model was fitted with; it has columns a, c"):
        predict(table(ids(1), [[1, 2]], features=("a", "c")), outputs.model)


def test_labels_and_the_input_stay_as_they_are() -> None:
    rows = table(ids(3), [[1], [2], [6]], y=[0, 1, 0])
    outputs, _ = fit(rows)
    assert outputs.data["data"].blocks()[0].y.tolist() == [0, 1, 0]
    assert values(rows).tolist() == [[1], [2], [6]]


@pytest.mark.parametrize("method", ["standard_scale", "min_max_scale"])
def test_the_partitions_make_no_difference(method) -> None:
    x = some()
    x[::5, 2] = NAN
    found = [fit(table(ids(300), x, partitions=count), method=method, feat_upper=1e6)[0] for count in (1, 2, 7, 300)]
    assert all(one.model.meta == found[0].model.meta for one in found)
    scaled = [values(one.data["data"]) for one in found]
    assert all(np.array_equal(one, scaled[0], equal_nan=True) for one in scaled)


@pytest.mark.parametrize("parameters", [{"need_run": False}, {"method": None}])
def test_nothing_to_do(parameters) -> None:
    rows = table(ids(2), [[1], [2]])
    outputs, _ = fit(rows, **parameters)
    assert outputs.data["data"] is rows
    assert predict(rows, outputs.model).tolist() == [[1], [2]]


def test_a_model_as_input_is_applied_and_handed_on() -> None:
    model = fit(table(ids(2), [[0], [10]]), method="min_max_scale")[0].model
    again = component(FeatureScale, FeatureScaleParam()).fit({"data": table(ids(1), [[5]])}, {"model": model})
    assert values(again.data["data"]).tolist() == [[0.5]]
    assert again.model is model
    with pytest.raises(DataError, match="expected a model of FeatureScale in format 1, found"):
        predict(table(ids(1)), Model({"format": 99}))


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"scale_col_indexes": [2]}, "names place 2; the input has 2 features, at 0 to 1"),
        ({"feat_upper": [1, 2, 3]}, "has 3 values; expected one for each of 2 features"),
    ],
)
def test_columns_that_are_not_there(parameters, match) -> None:
    with pytest.raises(ConfigError, match=match):
        fit(table(ids(2), [[1, 2], [3, 4]]), **parameters)


def test_columns_that_cannot_be_scaled() -> None:
    rows = table(ids(2), [[NAN, 1], [NAN, math.inf]], partitions=2)
    with pytest.raises(DataError, match="column x1 of guest-9999's input holds infinity"):
        fit(rows)
    with pytest.raises(DataError, match="column x0 .* has no value to scale by"):
        fit(rows, scale_col_indexes=[0], mode="cap")


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"mode": "cap", "feat_upper": 2}, "expected a share from 0 to 1"),
        ({"mode": "cap", "feat_upper": [1, 1]}, "mode normal only"),
        ({"feat_upper": 1, "feat_lower": 2}, "below feat_lower"),
        ({"feat_upper": [3, 1], "feat_lower": 2}, "below feat_lower"),
        ({"feat_upper": [3], "feat_lower": [1, 2]}, "expected as many"),
        ({"scale_col_indexes": [0, -1]}, "-1 alone"),
        ({"area": "col"}, "names no columns"),
        ({"method": "robust"}, "standard_scale"),
    ],
)
def test_wrong_parameters(parameters, match) -> None:
    with pytest.raises(ValidationError, match=match):
        FeatureScaleParam(**parameters)
