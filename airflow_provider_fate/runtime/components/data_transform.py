"""DataTransform, and DataIO as FATE 1.5 calls it: which column is the label, missing values, outliers, column order.

Tables are read into columns of numbers when they are uploaded, so nothing is parsed here; a missing value is NaN. Only
tables that were uploaded as lines (FATE's tag and sparse formats) are read here: see ``lines``.

* Label. With ``with_label`` the column ``label_name`` becomes the label: the table's label column, or a feature
  column of that name where the upload named no label. Any other label column of the table becomes the first
  feature, as in FATE, where every column that is not the label is a feature; the log says so. A table to predict may
  lack the label.
* Missing values: NaN, and the numbers in ``missing_impute``. With ``missing_fill`` they become the column's ``min``,
  ``max`` or ``mean``, or ``default_value`` (``designated``, also where no method is named). Without it, they go on as
  NaN, which some components take (trees, binning) and the others refuse.
* Outliers, with ``outlier_replace``: the numbers in ``outlier_impute`` become the column's ``min``, ``max`` or
  ``mean``, or ``outlier_replace_value``. Missing values are filled first.
* ``min``, ``max`` and ``mean`` are those of the remaining values, neither missing nor outliers, of the table that was
  fitted; other tables are given the same ones. A column without such a value goes on as missing, as in FATE.
* Columns of a table to predict are found by name and put into the fitted order.

Who learns what: each party works on its own table alone; nothing is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.data_io import DataIOParam
from airflow_provider_fate.runtime.components.base import Component, Outputs, check_model
from airflow_provider_fate.runtime.components.cleaning import LABEL, Layout, Measures, Repair, clean, measure
from airflow_provider_fate.runtime.components.columns import shown
from airflow_provider_fate.runtime.components.lines import LineFormat, begins_with_label, features_of, to_columns
from airflow_provider_fate.runtime.components.moments import moments
from airflow_provider_fate.runtime.data import LINES, Model, Rows, Schema

FORMAT = 1


class DataTransform(Component):
    """FATE's ``DataTransform`` on dense tables."""

    module = "DataTransform"
    parameters: DataIOParam
    reads_lines = True
    #: what the names of svmlight's columns begin with
    prefix = "x"
    #: whether a bare first field of svmlight's lines is a label even where ``with_label`` does not say so
    labels_first = False

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Rows with their label, missing values and outliers replaced, as the output ``data``.

        :param models: with ``model``, that of another component of this module is applied and handed on
        :raises DataError: the label column is not there or not of ``label_type``; a value is infinite; lines are not
            of their format
        """
        rows = self._only(data)
        if "model" in models:
            return replace(self.predict(data, models["model"]), model=models["model"])
        if not self.parameters.need_run:
            idle = Model({"format": FORMAT, "module": "DataTransform", "need_run": False})
            return Outputs(data={"data": rows}, model=idle)
        form = self._line_format(rows)
        labelled = self.parameters.with_label
        if form is not None:
            rows, labelled = to_columns(rows, form, features_of(rows, form)), form.label_name is not None
        layout, schema = self._fitted_layout(rows.schema, labelled)
        missing = self._numbers("missing_impute") if self.parameters.missing_fill else ()
        outliers = self._numbers("outlier_impute") if self.parameters.outlier_replace else ()
        if self.parameters.outlier_replace and not outliers:
            self.ctx.log("outlier_replace is true but outlier_impute names no number: nothing to replace")
        found = self._measure(rows, layout, missing, outliers)

        def mean() -> np.ndarray:
            columns = range(len(schema.features))
            return moments(rows.transform(layout, schema), columns, (*missing, *outliers), order=1).mean

        fill = by = None
        if self.parameters.missing_fill:
            fill = self._replacements("missing_fill", "default_value", found, schema, mean)
        if outliers:
            by = self._replacements("outlier_replace", "outlier_replace_value", found, schema, mean)
        model = Model(
            {
                "format": FORMAT,
                "module": "DataTransform",
                "need_run": True,
                "lines": None if form is None else form.to_json(),
                "features": list(schema.features),
                "label_name": schema.label_name,
                "label_type": self.parameters.label_type,
                "data_type": self.parameters.data_type,
                "missing_values": list(missing),
                "missing_fill": fill,
                "outlier_values": list(outliers),
                "outlier_replace": by,
            }
        )
        return replace(self._cleaned(rows, layout, schema, model.meta, found), model=model)

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """What was fitted, applied to other rows; their columns are found by name.

        :raises DataError: a column that was fitted is not there
        """
        rows = self._only(data)
        meta = check_model(self.ctx.name, "DataTransform", model, FORMAT)
        if not meta.get("need_run", True):
            return Outputs(data={"data": rows})
        if rows.schema.kind == LINES:
            if meta.get("lines") is None:
                raise DataError(
                    f"{self.ctx.name}: {self.ctx.party}'s input is lines of text, but the model was fitted on columns"
                )
            form = LineFormat.from_json(meta["lines"])
            if form.label_name is not None and form.valued and not begins_with_label(rows, form):
                form = replace(form, label_name=None)
            rows = to_columns(rows, form, meta["features"])
        layout, schema = self._known_layout(rows.schema, meta)
        found = self._measure(rows, layout, tuple(meta["missing_values"]), tuple(meta["outlier_values"]))
        return self._cleaned(rows, layout, schema, meta, found)

    # -- parameters ----------------------------------------------------------------------------------------------

    def _only(self, data: dict[str, Rows]) -> Rows:
        if len(data) != 1:
            raise ConfigError(self.ctx.name, f"takes one input table, got {', '.join(sorted(data)) or 'none'}")
        return next(iter(data.values()))

    def _line_format(self, rows: Rows) -> LineFormat | None:
        """How lines are read; ``None`` where the rows are columns already."""
        p = self.parameters
        lined = rows.schema.kind == LINES
        if not lined:
            if p.input_format != "dense":
                self.ctx.log(f"input_format {p.input_format} has no effect: the table has columns")
            return None
        if p.input_format == "dense":
            raise DataError(
                f"{self.ctx.name}.input_format: is dense, but {self.ctx.party}'s input is lines of text; set it to tag "
                "or sparse, or upload the table with columns"
            )
        sparse = p.input_format == "sparse"
        form = LineFormat(
            sparse=sparse,
            delimiter=p.delimitor,
            with_value=p.tag_with_value,
            value_delimiter=":" if sparse else p.tag_value_delimitor,
            label_name=p.label_name if p.with_label else None,
            prefix=self.prefix,
            absent=math.nan if p.missing_fill and p.tag_with_value and not sparse else 0.0,
        )
        if sparse and self.labels_first and begins_with_label(rows, form):
            return replace(form, label_name=p.label_name)
        return form

    def _numbers(self, name: str) -> tuple[float, ...]:
        """The numbers in a list parameter. Text that is no number was read as missing at the upload."""
        given = getattr(self.parameters, name)
        numbers, text = [], []
        for value in given or ():
            try:
                number = float(value)
            except (TypeError, ValueError):
                text.append(value)
                continue
            if math.isfinite(number):
                numbers.append(number)
        if text:
            self.ctx.log(f"{name}: {', '.join(map(repr, text))} is no number; such text was read at the upload")
        return tuple(numbers)

    def _replacements(
        self, parameter: str, designated: str, found: Measures, schema: Schema, mean: Callable[[], np.ndarray]
    ) -> dict[str, Any]:
        """The replacement of each feature: ``{"method": ..., "values": [...]}``."""
        method = getattr(self.parameters, f"{parameter}_method") or "designated"
        path = f"{self.ctx.name}.{parameter}_method"
        if method == "designated":
            return {"method": method, "values": self._designated(designated, len(schema.features))}
        empty = found.usable == 0
        if empty.any():
            self.ctx.log(
                f"{path}: no value to take the {method} of in {_names(schema, np.flatnonzero(empty))} of "
                f"{self.ctx.party}'s input, which goes on as missing, as in FATE; 'designated' would fill it"
            )
        values = mean() if method == "mean" else found.least if method == "min" else found.most
        return {"method": method, "values": np.where(empty, None, values).tolist()}

    def _designated(self, name: str, features: int) -> list[float]:
        given = getattr(self.parameters, name)
        path = f"{self.ctx.name}.{name}"
        values = list(given) if isinstance(given, (list, tuple)) else [0 if given is None else given] * features
        if len(values) != features:
            raise ConfigError(path, f"has {len(values)} values for {features} features; give one each, or one for all")
        try:
            numbers = [float(value) for value in values]
        except (TypeError, ValueError):
            raise ConfigError(path, f"expected numbers, got {given!r}") from None
        if not all(map(math.isfinite, numbers)):
            raise ConfigError(path, "expected finite numbers")
        return numbers

    # -- columns -------------------------------------------------------------------------------------------------

    def _fitted_layout(self, schema: Schema, labelled: bool) -> tuple[Layout, Schema]:
        columns, label_name = _columns(schema), self.parameters.label_name
        label = None
        if labelled:
            if label_name not in columns:
                raise DataError(
                    f"{self.ctx.name}.label_name: {self.ctx.party}'s input has no column {label_name!r} to be the "
                    f"label; it has {shown(list(columns))}"
                )
            label = columns.pop(label_name)
        if LABEL in columns.values():
            self.ctx.log(f"column {schema.label_name!r} is a feature here: it is not named as the label")
        new = Schema(schema.id_name, tuple(columns), label_name if label is not None else None)
        return Layout(tuple(columns.values()), label), new

    def _known_layout(self, schema: Schema, meta: dict[str, Any]) -> tuple[Layout, Schema]:
        columns = _columns(schema)
        missing = [name for name in meta["features"] if name not in columns]
        if missing:
            raise DataError(
                f"{self.ctx.name}: {self.ctx.party}'s input lacks {shown(missing)}, which the model was fitted with; "
                f"it has {shown(list(columns))}"
            )
        label_name = meta["label_name"]
        label = columns.get(label_name) if label_name is not None else None
        if label_name is not None and label is None:
            self.ctx.log(f"no label column {label_name!r} in the input: the rows go on without labels")
        extra = [name for name in columns if name not in meta["features"] and name != label_name]
        if extra:
            self.ctx.log(f"left out {shown(extra)}: not among the columns that the model was fitted with")
        new = Schema(schema.id_name, tuple(meta["features"]), label_name if label is not None else None)
        return Layout(tuple(columns[name] for name in meta["features"]), label), new

    # -- rows ----------------------------------------------------------------------------------------------------

    def _measure(self, rows: Rows, layout: Layout, missing: Sequence[float], outliers: Sequence[float]) -> Measures:
        parts = rows.map(partial(measure, layout, tuple(missing), tuple(outliers)))
        return Measures.together(parts, len(layout.features))

    def _cleaned(self, rows: Rows, layout: Layout, schema: Schema, meta: dict[str, Any], found: Measures) -> Outputs:
        fill, by = meta["missing_fill"], meta["outlier_replace"]
        self._check(schema, meta, found)
        repairs = (
            Repair((math.nan, *meta["missing_values"]), _by(fill)),
            Repair(tuple(meta["outlier_values"]), _by(by)),
        )
        missing = int(found.missing.sum())
        left = np.isnan(repairs[0].by) if repairs[0].by else np.ones(len(schema.features), bool)
        filled = int(found.missing[~left].sum())
        for some, which, how in (
            (filled, ~left, "are filled"),
            (missing - filled, left, f"go on as missing: {'no value was fitted' if fill else 'missing_fill is false'}"),
        ):
            if some:
                self.ctx.log(
                    f"{some} missing values in {_names(schema, np.flatnonzero(found.missing * which))} {how}"
                )
        self.ctx.log(
            f"{rows.count} rows, {len(schema.features)} features, "
            + ("no label" if schema.label_name is None else f"label {schema.label_name!r}")
        )
        summary = {
            "rows": rows.count,
            "features": len(schema.features),
            "label": schema.label_name,
            "missing_values": missing,
            "missing_values_filled": filled,
        }
        return Outputs(data={"data": rows.transform(partial(clean, layout, repairs), schema)}, summary=summary)

    def _check(self, schema: Schema, meta: dict[str, Any], found: Measures) -> None:
        where = f"of {self.ctx.party}'s input"
        if found.infinite.any():
            raise DataError(f"{self.ctx.name}: {_names(schema, np.flatnonzero(found.infinite))} {where} holds infinity")
        if _is_integer(meta["data_type"]) and found.fractional.any():
            raise DataError(
                f"{self.ctx.name}.data_type: {_names(schema, np.flatnonzero(found.fractional))} {where} holds numbers "
                f"that are not whole, but data_type is {meta['data_type']}; set it to float64"
            )
        if found.labels_missing:
            raise DataError(
                f"{self.ctx.name}: {found.labels_missing} rows {where} have no label in {schema.label_name!r}"
            )
        if _is_integer(meta["label_type"]) and found.labels_fractional:
            raise DataError(
                f"{self.ctx.name}.label_type: {found.labels_fractional} labels in {schema.label_name!r} {where} are "
                f"not whole numbers, but label_type is {meta['label_type']}; set it to float"
            )


class DataIO(DataTransform):
    """FATE 1.5's name of :class:`DataTransform`, with two habits of its own in reading svmlight."""

    module = "DataIO"
    prefix = ""
    labels_first = True


def _columns(schema: Schema) -> dict[str, int]:
    """Name and place of every column, the label first."""
    columns = {} if schema.label_name is None else {schema.label_name: LABEL}
    return columns | {name: place for place, name in enumerate(schema.features)}


def _by(replaced: dict[str, Any] | None) -> tuple[float, ...] | None:
    """The replacement of each feature; NaN, which JSON lacks, where there was no value to fit one by."""
    return None if replaced is None else tuple(math.nan if one is None else one for one in replaced["values"])


def _is_integer(kind: str) -> bool:
    return kind in ("int", "int64", "long")


def _names(schema: Schema, places: np.ndarray) -> str:
    return shown([schema.features[place] for place in places])
