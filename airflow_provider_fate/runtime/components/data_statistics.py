"""DataStatistics: numbers that describe each feature of a party's rows.

* ``count``, ``sum``, ``mean``, ``min``, ``max`` of the values that are neither missing nor in ``abnormal_list``.
* ``variance`` and ``stddev`` of the population (divided by the count), and ``coefficient_of_variance``: the deviation
  over the mean without its sign, where a mean closer to 0 than 1e-8 counts as 1e-8, as in FATE.
* ``skewness`` and ``kurtosis`` (in excess of the normal distribution's), as SciPy defines them with and without
  ``bias``; of a constant column 0 and -3, as in FATE.
* ``median`` and percentiles: the smallest value that at least this share of the values does not exceed; exact.
* ``missing_count`` and ``missing_ratio`` of missing values (NaN) among all rows.

A number that does not exist, such as the mean of a column without values, is ``null``. Rows pass unchanged.

Who learns what: each party works on its own table alone; nothing is sent.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.job.parameters.data_statistics import PERCENTILE, DataStatisticsParam
from airflow_provider_fate.runtime.components.base import Component, Outputs
from airflow_provider_fate.runtime.components.binning.quantiles import quantiles
from airflow_provider_fate.runtime.components.columns import chosen, shown
from airflow_provider_fate.runtime.components.moments import Moments, moments
from airflow_provider_fate.runtime.data import Block, Model, Rows

FORMAT = 1
#: a mean that is closer to 0 counts as this, as in FATE
SMALLEST_MEAN = 1e-8


class DataStatistics(Component):
    """FATE's ``DataStatistics``. Its model: ``meta["columns"][name][statistic]``."""

    module = "DataStatistics"
    parameters: DataStatisticsParam

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """The rows as they are, as the output ``data``, and the statistics as the model and the summary.

        :raises ConfigError: there is no column at a place that is named
        :raises DataError: no rows, or an infinite value
        """
        rows = next(iter(data.values()))
        p = self.parameters
        if not p.need_run:
            return Outputs(data={"data": rows}, model=self._model({}))
        if rows.count == 0:
            raise DataError(f"{self.ctx.name}: {self.ctx.party}'s input has no rows")
        if p.column_indexes == -1:
            places = list(range(len(rows.schema.features)))
        else:
            path = f"{self.ctx.name}.column_indexes"
            places = chosen(rows.schema, p.column_indexes or [], p.column_names or [], path, self.ctx.log)
        names = [rows.schema.features[place] for place in places]
        left_out = self._abnormal()
        measured = moments(rows, places, left_out, order=4)
        if measured.infinite.any():
            bad = [names[at] for at in np.flatnonzero(measured.infinite)]
            raise DataError(
                f"{self.ctx.name}: {shown(bad)} of {self.ctx.party}'s input holds infinity, or numbers that are too "
                "far apart"
            )
        shares = {"median": Fraction(1, 2)}
        shares |= {name: Fraction(int(name[:-1]), 100) for name in p.asked if PERCENTILE.fullmatch(name)}
        usable = rows.transform(partial(_without, left_out), rows.schema) if left_out else rows
        points = quantiles(usable, places, sorted(set(shares.values())))
        found = described(measured, rows.count, p.bias)
        found |= {name: points[:, sorted(set(shares.values())).index(share)] for name, share in shares.items()}
        columns = {
            name: {statistic: _plain(found[statistic][at]) for statistic in p.asked} for at, name in enumerate(names)
        }
        self.ctx.log(f"{len(p.asked)} statistics of {len(names)} of {len(rows.schema.features)} features")
        return Outputs(data={"data": rows}, model=self._model(columns), summary=columns)

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """The rows as they are: statistics describe the rows they were fitted on."""
        return Outputs(data={"data": next(iter(data.values()))})

    def _model(self, columns: dict[str, dict[str, Any]]) -> Model:
        return Model({"format": FORMAT, "module": self.module, "columns": columns})

    def _abnormal(self) -> tuple[float, ...]:
        """The numbers in ``abnormal_list``. Text that is no number was read as missing at the upload."""
        numbers, text = [], []
        for value in self.parameters.abnormal_list or ():
            try:
                numbers.append(float(value))
            except (TypeError, ValueError):
                text.append(value)
        if text:
            self.ctx.log(f"abnormal_list: {', '.join(map(repr, text))} is no number; such text counts as missing")
        return tuple(number for number in numbers if math.isfinite(number))


def described(of: Moments, rows: int, bias: bool) -> dict[str, np.ndarray]:
    """The statistics that come from moments, each of shape (columns,), NaN where there is none.

    :param rows: rows, those with missing values among them
    """
    n = of.count.astype(float)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        variance = of.variance
        mean = np.where(n > 0, of.mean, np.nan)
        stddev = np.sqrt(variance)
        skewness, kurtosis = of.central[1] / variance**1.5, of.central[2] / variance**2 - 3
        if not bias:
            # SciPy's skew and kurtosis, with the same names: D. Joanes and C. Gill 1998
            skewness = np.where(n > 2, np.sqrt(n * (n - 1)) / (n - 2) * skewness, skewness)
            less = ((n**2 - 1) * (kurtosis + 3) - 3 * (n - 1) ** 2) / (n - 2) / (n - 3)
            kurtosis = np.where(n > 3, less, kurtosis)
        some = np.where(n > 0, 0.0, np.nan)
        flat = of.constant | (n == 0)
        return {
            "count": n,
            "sum": of.mean * n,
            "mean": mean,
            "variance": variance,
            "stddev": stddev,
            "min": of.least,
            "max": of.most,
            "coefficient_of_variance": stddev / np.maximum(np.abs(mean), SMALLEST_MEAN),
            "skewness": np.where(flat, some, skewness),
            "kurtosis": np.where(flat, some - 3, kurtosis),
            "missing_count": of.missing.astype(float),
            "missing_ratio": of.missing / rows,
        }


def _plain(value: float) -> float | int | None:
    """As JSON has it."""
    if not math.isfinite(value):
        return None
    return float(value)


def _without(left_out: tuple[float, ...], block: Block, _: Any) -> Block:
    return Block(block.ids, np.where(np.isin(block.x, left_out), np.nan, block.x), block.y)
