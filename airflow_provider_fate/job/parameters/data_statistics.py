"""DataStatistics: numbers that describe each feature."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from airflow_provider_fate.job.names import did_you_mean, short
from airflow_provider_fate.job.parameters.base import Bool, Float, Int, Need, Parameters, Scalar, ignored

#: what FATE always computes
BASIC = (
    "sum", "mean", "stddev", "median", "min", "max", "missing_ratio", "missing_count", "skewness", "kurtosis",
    "coefficient_of_variance",
)  # fmt: skip
STATISTICS = (*BASIC, "count", "variance")
PERCENTILE = re.compile(r"(100|[1-9]?[0-9])%")


def _statistic(value: str) -> str:
    if value in STATISTICS or value == "summary" or PERCENTILE.fullmatch(value):
        return value
    raise ValueError(f"{short(value)} is not a statistic, nor a percentile as 95%; {did_you_mean(value, STATISTICS)}")


Statistic = Annotated[str, AfterValidator(_statistic)]


class DataStatisticsParam(Parameters):
    """Which numbers describe which features. They are a model of the party's own, which HeteroFeatureSelection
    takes."""

    own: ClassVar[frozenset[str] | None] = None
    needs: ClassVar[tuple[Need, ...]] = (
        Need(("column_names",), lambda p: p.column_indexes != -1, "column_indexes is -1, which is all columns"),
    )

    statistics: Statistic | list[Statistic] = Field(
        default="summary",
        description=f"What to compute beside {', '.join(BASIC)}, which are always there (summary): count, variance, or "
        "a percentile such as 95%; one, or a list.",
    )
    column_names: list[str] | None = Field(
        default=None, description="Names of features, beside those of column_indexes where that is a list."
    )
    column_indexes: Literal[-1] | list[Annotated[Int, Field(ge=0)]] | None = Field(
        default=-1, description="Places of features, from 0; -1 for all."
    )
    abnormal_list: list[Scalar | None] | None = Field(
        default=None, description="Values that are left out, beside missing ones."
    )
    quantile_error: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=1e-4,
        description="Error of median and percentiles in FATE.",
        json_schema_extra=ignored("median and percentiles are exact"),
    )
    bias: Bool = Field(
        default=True,
        description="Whether skewness and kurtosis are those of the values; if not, estimates without bias.",
    )
    need_run: Bool = Field(default=True, description="Whether to run at all.")

    @property
    def asked(self) -> list[str]:
        """The statistics to compute, each once."""
        given: Any = [self.statistics] if isinstance(self.statistics, str) else self.statistics
        return list(dict.fromkeys([*BASIC, *(name for name in given if name != "summary")]))
