"""FeatureScale: features to a common scale."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from airflow_provider_fate.job.parameters.base import Bool, Float, Int, Loc, Need, Parameters, choice

Bounds = Float | list[Float] | None


class FeatureScaleParam(Parameters):
    """How a party's features are scaled. What is measured (means, deviations, bounds) is part of the model and is used
    again in prediction."""

    own: ClassVar[frozenset[str] | None] = None
    needs: ClassVar[tuple[Need, ...]] = (
        Need(
            ("scale_names", "scale_col_indexes"),
            lambda p: not p.all_columns,
            "all features are scaled; scale_col_indexes lists some",
        ),
        Need(("with_mean", "with_std"), lambda p: p.method != "min_max_scale", "method is min_max_scale"),
    )

    method: choice("standard_scale", "min_max_scale") | None = Field(
        default="standard_scale",
        description="(value - mean) / standard deviation, or (value - least) / (largest - least). With null, as it "
        "stands by default in FATE 1.5, features stay as they are.",
    )
    mode: choice("normal", "cap") = Field(
        default="normal",
        description="What feat_upper and feat_lower are: values (normal), or shares from 0 to 1 of the column's values "
        "that lie below (cap).",
    )
    feat_upper: Bounds = Field(
        default=None,
        description="Larger values are set to it before anything is measured: a number, or a list with one for each "
        "feature (normal only).",
    )
    feat_lower: Bounds = Field(default=None, description="Smaller values are set to it, as with feat_upper.")
    scale_col_indexes: Literal[-1] | list[Int] = Field(
        default=-1, description="Places of the features to scale, from 0; -1 for all."
    )
    scale_names: list[str] | None = Field(
        default=None,
        description="Names of features to scale, beside those of scale_col_indexes where that is a list; with -1 all "
        "are scaled, as in FATE.",
    )
    area: choice("all", "col") | None = Field(
        default=None, description="FATE's older way to say whether all features are scaled, or those that are listed."
    )
    with_mean: Bool = Field(default=True, description="With standard_scale, whether to subtract the mean.")
    with_std: Bool = Field(default=True, description="With standard_scale, whether to divide by the deviation.")
    need_run: Bool = Field(default=True, description="Whether to run at all; if not, rows pass unchanged.")

    @property
    def all_columns(self) -> bool:
        """Whether all features are scaled."""
        return self.area == "all" or self.scale_col_indexes == -1

    @model_validator(mode="after")
    def _bounds(self) -> FeatureScaleParam:
        upper, lower = self.feat_upper, self.feat_lower
        if self.area == "col" and self.scale_col_indexes == -1:
            raise ValueError("area is col, but scale_col_indexes names no columns")
        for at in () if self.scale_col_indexes == -1 else self.scale_col_indexes:
            if at < 0:
                raise ValueError(f"scale_col_indexes has {at}; expected places from 0, or -1 alone for all features")
        if self.mode == "cap":
            for name, value in (("feat_upper", upper), ("feat_lower", lower)):
                if isinstance(value, list):
                    raise ValueError(f"{name} is a list, which goes with mode normal only; expected one share")
                if value is not None and not 0 <= value <= 1:
                    raise ValueError(f"{name} is {value}; with mode cap expected a share from 0 to 1")
        if upper is None or lower is None:
            return self
        if isinstance(upper, list) and isinstance(lower, list) and len(upper) != len(lower):
            raise ValueError(f"feat_upper has {len(upper)} values and feat_lower {len(lower)}; expected as many")
        count = len(upper) if isinstance(upper, list) else len(lower) if isinstance(lower, list) else 1
        uppers, lowers = (v if isinstance(v, list) else [v] * count for v in (upper, lower))
        for high, low in zip(uppers, lowers, strict=True):
            if high < low:
                raise ValueError(f"feat_upper is {high}, below feat_lower, which is {low}")
        return self

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        if self.method is None:
            return [(("method",), "is null: the features stay as they are")]
        return []
