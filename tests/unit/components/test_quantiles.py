"""Exact quantiles over partitions, against NumPy and pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from airflow_provider_fate.runtime.components.binning import quantiles
from airflow_provider_fate.runtime.components.binning.quantiles import places, split_points
from tests.unit.components.running import table

ROWS = 3000


def columns() -> np.ndarray:
    random = np.random.default_rng(5)
    found = [
        random.normal(size=ROWS),
        np.round(random.normal(size=ROWS), 1),  # many ties
        random.integers(0, 2, ROWS).astype(float),
        np.where(random.random(ROWS) < 0.7, 0.0, random.exponential(size=ROWS)),  # mostly one value
        np.where(random.random(ROWS) < 0.3, np.nan, random.normal(size=ROWS)),
        np.full(ROWS, np.nan),
        np.full(ROWS, 4.0),
        np.sort(random.normal(size=ROWS)),  # partitions hold ranges of their own
        np.where(np.arange(ROWS) < 2500, np.nan, np.arange(ROWS)),  # most partitions hold nothing
        np.where(random.random(ROWS) < 0.5, 0.0, -0.0),
    ]
    return np.column_stack(found)


def rows(x: np.ndarray, partitions: int):
    return table([f"u{i}" for i in range(len(x))], x, partitions=partitions)


def expected(x: np.ndarray, bins: int) -> np.ndarray:
    values = np.sort(x[~np.isnan(x)])
    if not len(values):
        return values
    return np.unique([values[-(-len(values) * i // bins) - 1] for i in range(1, bins + 1)])


@pytest.mark.parametrize("bins", [1, 2, 10, 32, 1000])
@pytest.mark.parametrize("sample", [20, 200, quantiles.SAMPLE])
@pytest.mark.parametrize("partitions", [1, 3, 17])
def test_every_quantile_is_exact(monkeypatch, bins, sample, partitions) -> None:
    monkeypatch.setattr(quantiles, "SAMPLE", sample)
    monkeypatch.setattr(quantiles, "HELD", 4 * sample)
    x = columns()
    found = split_points(rows(x, partitions), range(x.shape[1]), bins)
    for column, points in enumerate(found):
        assert points.dtype == np.float64
        assert points.tobytes() == (expected(x[:, column], bins) + 0.0).tobytes(), column


def test_numpy_and_pandas_say_the_same() -> None:
    x = np.random.default_rng(1).normal(size=(1000, 2))
    found = split_points(rows(x, 3), [1, 0], 10)
    for points, values in zip(found, (x[:, 1], x[:, 0]), strict=True):
        assert points.tolist() == np.quantile(values, np.arange(1, 11) / 10, method="inverted_cdf").tolist()
        bins = pd.qcut(values, 10, labels=False)
        assert places(values.reshape(-1, 1), [points])[:, 0].tolist() == bins.tolist()


def test_few_rows_and_none() -> None:
    assert [p.tolist() for p in split_points(rows(np.array([[2.0], [1.0]]), 2), [0], 10)] == [[1.0, 2.0]]
    assert [p.tolist() for p in split_points(rows(np.empty((0, 2)), 2), [0, 1], 10)] == [[], []]
    assert split_points(rows(np.ones((3, 2)), 1), [], 10) == []


def test_places() -> None:
    points = [np.array([1.0, 2.0, 5.0]), np.empty(0), np.arange(300.0)]
    x = np.array([[-9, 0, 0.5], [1, np.nan, 299], [1.5, 7, 1e9], [5, 0, np.nan], [6, 0, 0], [np.nan, 0, 256]])
    found = places(x, points)
    assert found.dtype == np.uint16
    assert found.T.tolist() == [[0, 0, 1, 2, 2, 3], [0] * 6, [1, 299, 299, 300, 0, 256]]
    assert places(x[:, :1], points[:1]).dtype == np.uint8
