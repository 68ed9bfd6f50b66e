"""HeteroFeatureBinning: bins, weight of evidence and information value of every party's columns."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from airflow_provider_fate.job.parameters.additive import AdditiveEncryptParam
from airflow_provider_fate.job.parameters.base import Bool, Float, Int, Need, Parameters, Positive, choice, ignored

Share = Annotated[Float, Field(ge=0, le=1)]
Places = list[Annotated[Int, Field(ge=0)]]


def _ascending(points: dict[str, list[float]] | None) -> dict[str, list[float]] | None:
    for column, values in (points or {}).items():
        if not values or sorted(values) != values:
            raise ValueError(f"the split points of {column} must be a list of ascending numbers")
    return points


SplitPoints = Annotated[dict[str, list[Float]], AfterValidator(_ascending)]


class TransformParam(Parameters):
    """What the rows that come out have in place of binned values."""

    needs: ClassVar[tuple[Need, ...]] = (
        Need(("transform_names", "transform_cols"), lambda p: p.transform_type is not None, "transform_type is null"),
        Need(("transform_names",), lambda p: p.transform_cols != -1, "transform_cols is -1, which is all columns"),
    )

    transform_cols: Literal[-1] | Places | None = Field(
        default=-1, description="Places of the columns to replace; -1 for all that are binned, null for none."
    )
    transform_names: list[str] | None = Field(
        default=None, description="Names of columns to replace, beside transform_cols where that is not -1."
    )
    transform_type: choice("bin_num", "woe") | None = Field(
        default="bin_num",
        description="The number of the bin, from 0; or its weight of evidence, at the guest only, as it would tell a "
        "host the labels of its bins: rows of a host stay as they are. null: nothing is replaced.",
    )

    @property
    def woe(self) -> bool:
        """Whether values become weights of evidence."""
        return self.transform_type == "woe"


class OptimalBinningParam(Parameters):
    """The method optimal: few bins out of many, by the labels in them."""

    needs: ClassVar[tuple[Need, ...]] = (
        Need(("max_bin_pct",), lambda p: p.metric_method != "ks", "metric_method is ks"),
    )

    metric_method: choice("iv", "gini", "chi_square", "ks", **{"chi-square": "chi_square"}) = Field(
        default="iv", description="iv, gini and chi_square merge neighbours that lose least; ks splits."
    )
    min_bin_pct: Share = Field(default=0.05, description="Share of the rows in a bin at least.")
    max_bin_pct: Share = Field(default=1.0, description="Share of the rows in a bin at most (not with ks).")
    init_bin_nums: Annotated[Int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="Bins to begin with, at most."
    )
    mixture: Bool = Field(default=True, description="Whether each bin must have events and others.")
    init_bucket_method: choice("quantile", "bucket") = Field(
        default="quantile", description="How the bins to begin with are made."
    )

    @model_validator(mode="after")
    def _room(self) -> OptimalBinningParam:
        if self.min_bin_pct > self.max_bin_pct:
            raise ValueError(f"min_bin_pct {self.min_bin_pct:g} is above max_bin_pct {self.max_bin_pct:g}")
        return self


class FeatureBinningParam(Parameters):
    """Bins of columns, as all of FATE's binning modules have them."""

    needs: ClassVar[tuple[Need, ...]] = (
        Need(("bin_names",), lambda p: p.bin_indexes != -1, "bin_indexes is -1, which is all columns"),
        Need(("category_names",), lambda p: p.category_indexes != -1, "category_indexes is -1, which is all columns"),
        Need(("adjustment_factor",), lambda p: not p.skip_static, "skip_static is true"),
    )

    method: choice("quantile", "bucket", "optimal") = Field(
        default="quantile",
        description="quantile: as many rows in each bin, as far as equal values allow; exact. bucket: bins of the same "
        "width. optimal: see optimal_binning_param.",
    )
    compress_thres: Positive = Field(
        default=10000, description="Of FATE's summaries.", json_schema_extra=ignored("quantiles are exact")
    )
    head_size: Positive = Field(
        default=10000, description="Of FATE's summaries.", json_schema_extra=ignored("quantiles are exact")
    )
    error: Annotated[Float, Field(ge=0, lt=1)] = Field(
        default=1e-4, description="Error of quantiles in FATE.", json_schema_extra=ignored("quantiles are exact")
    )
    bin_num: Annotated[Int, Field(ge=1, le=100_000)] = Field(default=10, description="Bins of a column at most.")
    bin_indexes: Literal[-1] | Places | None = Field(
        default=-1, description="Places of the columns to bin, from 0; -1 for all."
    )
    bin_names: list[str] | None = Field(
        default=None,
        description="Names of columns to bin, beside bin_indexes where that is not -1. Unknown ones are passed over.",
    )
    adjustment_factor: Annotated[Float, Field(gt=0, lt=1)] = Field(
        default=0.5,
        description="Added to the counts of a bin that has no event, or nothing else, for its weight of evidence. The "
        "guest's counts.",
    )
    transform_param: TransformParam = Field(
        default_factory=TransformParam, description="What the rows that come out have in place of binned values."
    )
    local_only: Bool = Field(
        default=False, description="Whether information values are computed of the guest's columns only."
    )
    category_indexes: Literal[-1] | Places | None = Field(
        default=None, description="Places of columns whose every value is a bin; -1 for all."
    )
    category_names: list[str] | None = Field(default=None, description="Names of such columns, beside these places.")
    need_run: Bool = Field(default=True, description="Whether to run at all; if not, rows pass unchanged.")
    skip_static: Bool = Field(
        default=False, description="Whether weights of evidence and information values are left out."
    )


class HeteroFeatureBinningParam(FeatureBinningParam):
    """Bins of every party's columns, and their weight of evidence and information value. The guest encrypts its
    labels, hosts add them up by bin, the guest decrypts the sums: it learns how many rows of each class each bin has,
    of columns and bins without names. Hosts learn nothing of the labels but, with the method optimal, which of their
    bins go together; there the guest's bin_num and optimal_binning_param are the bounds of what a host may ask for.
    Missing values have a bin of their own."""

    passed_over: ClassVar[dict[str, str]] = {"cols": "bin_indexes and bin_names count"}
    own: ClassVar[frozenset[str] | None] = frozenset(
        FeatureBinningParam.model_fields.keys()
        | {"optimal_binning_param", "split_points_by_index", "split_points_by_col_name"}
    ) - {"local_only", "need_run", "skip_static"}
    needs: ClassVar[tuple[Need, ...]] = (
        Need(("method", "bin_num", "optimal_binning_param"), lambda p: not p.given_points, "split points are given"),
        Need(("optimal_binning_param",), lambda p: p.method == "optimal", "method is {p.method}"),
        Need(("encrypt_param",), lambda p: not (p.skip_static or p.local_only), "no counts of hosts are taken"),
        *FeatureBinningParam.needs,
    )

    optimal_binning_param: OptimalBinningParam = Field(
        default_factory=OptimalBinningParam, description="The method optimal."
    )
    encrypt_param: AdditiveEncryptParam = Field(
        default_factory=AdditiveEncryptParam, description="How labels are encrypted."
    )
    split_points_by_index: SplitPoints | None = Field(
        default=None,
        description="Upper bounds of the bins by the column's place, ascending, the last one its maximum, in place of "
        "a method; with split_points_by_col_name for every column that is binned.",
    )
    split_points_by_col_name: SplitPoints | None = Field(default=None, description="The same by the column's name.")

    @property
    def given_points(self) -> bool:
        """Whether split points are given rather than computed."""
        return bool(self.split_points_by_index or self.split_points_by_col_name)

    @model_validator(mode="after")
    def _fits(self) -> HeteroFeatureBinningParam:
        optimal = self.optimal_binning_param
        if self.skip_static and self.transform_param.woe:
            raise ValueError("transform_type woe needs the weights of evidence that skip_static leaves out")
        if self.method == "optimal" and not self.given_points:
            if self.skip_static:
                raise ValueError("the method optimal needs the counts that skip_static leaves out")
            if math.ceil(1 / max(optimal.max_bin_pct, 1e-9)) > self.bin_num:
                raise ValueError(
                    f"{self.bin_num} bins of at most {optimal.max_bin_pct:g} of the rows cannot hold all rows; raise "
                    "bin_num or max_bin_pct"
                )
        return self
