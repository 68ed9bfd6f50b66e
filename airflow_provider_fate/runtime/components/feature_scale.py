"""FeatureScale: features to a common scale, as FATE does it.

* Bounds first. ``normal``: values above ``feat_upper`` or below ``feat_lower`` become that bound. ``cap``: the bounds
  are quantiles of the column, those at the shares ``feat_upper`` and ``feat_lower`` (exact ones; FATE's have an error
  of 1e-4).
* ``standard_scale``: ``(value - mean) / deviation``, with the mean and the deviation of the population (divided by the
  count, not by the count less one) of the bounded values.
* ``min_max_scale``: ``(value - least) / (largest - least)``, with the least and largest bounded value.
* A deviation or range below 1e-6 counts as 1, so a constant column becomes 0.
* New rows are drawn into the range that was fitted before they are scaled, with both methods, also without bounds.
  scikit-learn's StandardScaler does not do this; FATE does.
* Missing values (NaN) are not counted, and stay missing.

Who learns what: each party works on its own table alone; nothing is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.feature_scale import FeatureScaleParam
from airflow_provider_fate.runtime.components.base import Component, Outputs, check_model
from airflow_provider_fate.runtime.components.binning.quantiles import quantiles
from airflow_provider_fate.runtime.components.columns import chosen, found, shown
from airflow_provider_fate.runtime.components.moments import Moments, moments
from airflow_provider_fate.runtime.data import Block, Model, Rows, Schema

FORMAT = 1
#: a deviation or range below it is taken for none, as in FATE
SMALLEST = 1e-6
_MEASURED = ("column_lower", "column_upper", "mean", "std")


@dataclass(frozen=True)
class Scale:
    """``(clip(x, lower, upper) - minus) / over`` of some columns.

    :param places: of the columns, in ``Block.x``
    :param lower: and the others: float64 of shape (places,)
    """

    places: tuple[int, ...]
    lower: np.ndarray
    upper: np.ndarray
    minus: np.ndarray
    over: np.ndarray

    def __call__(self, block: Block, _: Any) -> Block:
        x = block.x.copy()
        at = list(self.places)
        x[:, at] = (np.clip(x[:, at], self.lower, self.upper) - self.minus) / self.over
        return replace(block, x=x)


class FeatureScale(Component):
    """FATE's ``FeatureScale``."""

    module = "FeatureScale"
    parameters: FeatureScaleParam

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Scaled rows as the output ``data``.

        :param models: with ``model``, that of another component of this module is applied and handed on
        :raises ConfigError: a column that is not there, or lists of bounds of another length
        :raises DataError: a column to scale has no value, or an infinite one
        """
        rows = next(iter(data.values()))
        if "model" in models:
            return replace(self.predict(data, models["model"]), model=models["model"])
        p = self.parameters
        if not p.need_run or p.method is None:
            return Outputs(data={"data": rows}, model=self._model(rows.schema, {}))
        places = self._places(rows.schema)
        measured = moments(rows, places, within=self._bounds(rows, places)) if places else None
        columns: dict[str, dict[str, float]] = {}
        if measured is not None:
            self._check(rows.schema, places, measured)
            deviation = _or_one(np.sqrt(measured.variance))
            for at, place in enumerate(places):
                column = {"column_upper": float(measured.most[at]), "column_lower": float(measured.least[at])}
                if p.method == "standard_scale":
                    column["mean"] = float(measured.mean[at]) if p.with_mean else 0.0
                    column["std"] = float(deviation[at]) if p.with_std else 1.0
                columns[rows.schema.features[place]] = column
        model = self._model(rows.schema, columns)
        self.ctx.log(f"{p.method} of {len(places)} of {len(rows.schema.features)} features, {rows.count} rows")
        summary = {"method": p.method, "rows": rows.count, "scaled": len(places)}
        return replace(self._scaled(rows, model.meta), model=model, summary=summary)

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """What was fitted, applied to other rows; columns are found by name.

        :raises DataError: a column that was fitted is not there, or the model is another module's
        """
        meta = check_model(self.ctx.name, self.module, model, FORMAT)
        return self._scaled(next(iter(data.values())), meta)

    def _model(self, schema: Schema, columns: dict[str, dict[str, float]]) -> Model:
        return Model(
            {
                "format": FORMAT,
                "module": self.module,
                "method": self.parameters.method,
                "mode": self.parameters.mode,
                "features": list(schema.features),
                "columns": columns,
            }
        )

    def _places(self, schema: Schema) -> list[int]:
        p = self.parameters
        if p.all_columns:
            return list(range(len(schema.features)))
        path = f"{self.ctx.name}.scale_col_indexes"
        return chosen(schema, p.scale_col_indexes, p.scale_names or [], path, self.ctx.log)

    def _bounds(self, rows: Rows, places: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest value that each column may have, infinite where there is no bound."""
        p = self.parameters
        if p.mode == "cap":
            low, high = 0.0 if p.feat_lower is None else p.feat_lower, 1.0 if p.feat_upper is None else p.feat_upper
            points = quantiles(rows, places, [low, high])
            return points[:, 0], points[:, 1]
        lower = self._listed("feat_lower", rows.schema, places, -np.inf)
        return lower, self._listed("feat_upper", rows.schema, places, np.inf)

    def _listed(self, name: str, schema: Schema, places: list[int], none: float) -> np.ndarray:
        value = getattr(self.parameters, name)
        if not isinstance(value, list):
            return np.full(len(places), none if value is None else float(value))
        if len(value) == len(schema.features):
            return np.array(value, float)[places]
        if len(value) == len(places):
            return np.array(value, float)
        raise ConfigError(
            f"{self.ctx.name}.{name}",
            f"has {len(value)} values; expected one for each of {len(schema.features)} features"
            + (f", or of the {len(places)} that are scaled" if len(places) != len(schema.features) else ""),
        )

    def _check(self, schema: Schema, places: list[int], measured: Moments) -> None:
        for bad, text in (
            (measured.infinite > 0, "holds infinity, or numbers that are too far apart"),
            (measured.count == 0, "has no value to scale by; list the other features in scale_col_indexes"),
        ):
            if bad.any():
                names = [schema.features[places[at]] for at in np.flatnonzero(bad)]
                raise DataError(f"{self.ctx.name}: {shown(names)} of {self.ctx.party}'s input {text}")

    def _scaled(self, rows: Rows, meta: dict[str, Any]) -> Outputs:
        columns: dict[str, dict[str, float]] = meta["columns"]
        if not columns:
            return Outputs(data={"data": rows})
        places = found(rows.schema, list(columns), self.ctx.name, self.ctx.party)
        table = {name: np.array([column.get(name, 0) for column in columns.values()]) for name in _MEASURED}
        lower, upper = table["column_lower"], table["column_upper"]
        if meta["method"] == "min_max_scale":
            minus, over = lower, _or_one(upper - lower)
        else:
            minus, over = table["mean"], table["std"]
        return Outputs(data={"data": rows.transform(Scale(tuple(places), lower, upper, minus, over), rows.schema)})


def _or_one(width: np.ndarray) -> np.ndarray:
    return np.where(width < SMALLEST, 1.0, width)
