"""DataStatistics against pandas and SciPy, whatever the partitions."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters import DataStatisticsParam
from airflow_provider_fate.runtime.components.data_statistics import DataStatistics
from airflow_provider_fate.runtime.data import Model, Rows
from tests.unit.components.running import component, table

NAN = math.nan
ALL = ["summary", "count", "variance", "0%", "5%", "25%", "95%", "100%"]


def fit(rows: Rows, **parameters) -> dict[str, dict[str, float]]:
    return whole(rows, **parameters)[0].meta["columns"]


def whole(rows: Rows, **parameters) -> tuple[Model, list[str]]:
    log: list[str] = []
    made = component(DataStatistics, DataStatisticsParam(**parameters), log=log)
    outputs = made.fit({"data": rows}, {})
    assert outputs.data["data"] is rows
    return Model(json.loads(json.dumps(outputs.model.meta, allow_nan=False))), log


def ids(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def some(count: int = 401) -> np.ndarray:
    random = np.random.default_rng(3)
    x = np.column_stack(
        [
            random.normal(size=count),
            random.lognormal(size=count) * 1e5,
            random.integers(0, 5, count),
            1e9 + random.normal(size=count),  # sums of squares lose the variance of this one
            random.normal(size=count),
        ]
    )
    x[random.random(x.shape) < 0.1] = NAN
    return x


@pytest.mark.parametrize("partitions", [1, 3, 500])
@pytest.mark.parametrize("bias", [True, False])
def test_as_pandas_and_scipy(partitions, bias) -> None:
    x = some()
    found = fit(table(ids(401), x, partitions=partitions), statistics=ALL, bias=bias)
    for name, column in zip(found, x.T, strict=True):
        values, series = column[~np.isnan(column)], pd.Series(column)
        around = values - values.mean()
        expected = {
            "count": series.count(), "sum": series.sum(), "mean": series.mean(), "min": series.min(),
            "max": series.max(), "variance": series.var(ddof=0), "stddev": series.std(ddof=0),
            "missing_count": series.isna().sum(), "missing_ratio": series.isna().mean(),
            "coefficient_of_variance": series.std(ddof=0) / abs(series.mean()),
            "skewness": stats.skew(around, bias=bias), "kurtosis": stats.kurtosis(around, bias=bias),
        }  # fmt: skip
        shares = {"median": 0.5, "0%": 0, "5%": 0.05, "25%": 0.25, "95%": 0.95, "100%": 1}
        expected |= {key: np.quantile(values, share, method="inverted_cdf") for key, share in shares.items()}
        assert found[name].keys() == expected.keys()
        for key, value in expected.items():
            # around 1e9 a float64 has 1e-7 left for the distances
            assert found[name][key] == pytest.approx(value, rel=1e-6 if name == "x3" else 1e-11, abs=1e-12), (name, key)


def test_the_partitions_make_no_difference() -> None:
    x = some() * [1, 1e-200, 1, 1, 1e150]
    found = [fit(table(ids(401), x, partitions=partitions), statistics=ALL) for partitions in (1, 2, 7, 401)]
    assert all(one == found[0] for one in found)


def test_numbers_of_all_sizes() -> None:
    x = np.array([[1e-320, -1.7e308, 5e200], [3e-320, 0, 5e200], [2e-320, 1.7e308, -5e200]])
    with pytest.raises(DataError, match="column x1 .* holds infinity, or numbers that are too far apart"):
        fit(table(ids(3), x))
    found = fit(table(ids(3), x), column_indexes=[0, 2], statistics=["variance"])
    assert found["x0"]["mean"] == pytest.approx(2e-320, rel=1e-3)
    assert (found["x2"]["mean"], found["x2"]["variance"]) == (pytest.approx(5e200 / 3), None)


def test_the_median_of_an_odd_number_is_pandas_s() -> None:
    x = some()
    odd = x[~np.isnan(x).any(axis=1)][:201]
    found = fit(table(ids(201), odd, partitions=4))
    assert [column["median"] for column in found.values()] == pd.DataFrame(odd).median().tolist()


def test_abnormal_values_are_left_out() -> None:
    x = some()
    marked = np.where(np.isnan(x), -9999, x)
    rows = table(ids(401), marked, partitions=3)
    found, plain = fit(rows, abnormal_list=["-9999", "NA"], statistics=ALL), fit(table(ids(401), x), statistics=ALL)
    for name in found:
        for key in found[name].keys() - {"missing_count", "missing_ratio"}:
            assert found[name][key] == pytest.approx(plain[name][key], rel=1e-7, abs=1e-12)
        assert found[name]["missing_count"] == 0
    assert "abnormal_list: 'NA' is no number; such text counts as missing" in whole(rows, abnormal_list=["NA"])[1]


def test_constant_and_empty_columns() -> None:
    x = np.column_stack([np.full(6, 0.1), np.full(6, NAN), [NAN] * 5 + [3.0]])
    for partitions in (1, 6):
        found = fit(table(ids(6), x, partitions=partitions), statistics=["variance", "count"])
        assert found["x0"] | {"sum": 0, "mean": 0} == {
            "sum": 0, "mean": 0, "stddev": 0, "median": 0.1, "min": 0.1, "max": 0.1, "missing_ratio": 0,
            "missing_count": 0, "skewness": 0, "kurtosis": -3, "coefficient_of_variance": 0, "variance": 0, "count": 6,
        }  # fmt: skip
        assert found["x0"]["mean"] == 0.1
        assert (found["x1"]["count"], found["x1"]["missing_ratio"], found["x1"]["sum"]) == (0, 1, 0)
        assert all(found["x1"][key] is None for key in ("mean", "min", "max", "stddev", "median", "skewness"))
        assert (found["x2"]["mean"], found["x2"]["median"], found["x2"]["count"]) == (3, 3, 1)


def test_a_mean_of_nothing_does_not_divide() -> None:
    found = fit(table(ids(2), [[-1], [1]]))["x0"]
    assert (found["mean"], found["coefficient_of_variance"]) == (0, 1e8)


def test_columns_by_place_and_name() -> None:
    rows = table(ids(3), np.ones((3, 4)), features=("a", "b", "c", "d"))
    model, log = whole(rows, column_indexes=[2], column_names=["a", "other"])
    assert list(model.meta["columns"]) == ["a", "c"]
    assert "the input has no column other: passed over" in log
    with pytest.raises(ConfigError, match="part_0.column_indexes: names place 4"):
        fit(rows, column_indexes=[4])


def test_only_what_is_asked_beside_the_summary() -> None:
    found = fit(table(ids(3)), statistics=["95%", "coefficient_of_variance", "stddev"])["x0"]
    assert list(found)[-1] == "95%"
    assert "variance" not in found
    assert "count" in fit(table(ids(3)), statistics="count")["x0"]


def test_prediction_passes_rows_on() -> None:
    rows = table(ids(2))
    model, _ = whole(rows)
    assert component(DataStatistics, DataStatisticsParam()).predict({"data": rows}, model).data["data"] is rows
    assert whole(rows, need_run=False)[0].meta["columns"] == {}


def test_refusals() -> None:
    with pytest.raises(DataError, match="column x0 of guest-9999's input holds infinity"):
        fit(table(ids(2), [[1], [math.inf]]))
    with pytest.raises(DataError, match="has no rows"):
        fit(table([], np.empty((0, 2))))
    with pytest.raises(ValidationError, match="did you mean median"):
        DataStatisticsParam(statistics=["medium"])
    with pytest.raises(ValidationError, match="percentile"):
        DataStatisticsParam(statistics="101%")
