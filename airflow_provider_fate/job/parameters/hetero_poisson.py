"""HeteroPoisson: Poisson regression over columns of two parties."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from airflow_provider_fate.job.parameters.base import Int, ignored
from airflow_provider_fate.job.parameters.hetero_linear import HeteroLinearParam
from airflow_provider_fate.job.parameters.linear import PredictParam


class HeteroPoissonParam(HeteroLinearParam):
    """Poisson regression, with the logarithm as link, of a guest with the counts, one host with more features, and an
    arbiter that holds the key."""

    own: ClassVar[frozenset[str] | None] = frozenset({"exposure_colname"})

    max_iter: Annotated[Int, Field(ge=1, le=1_000_000)] = Field(
        default=20, description="Iterations at most; each goes through the data once (batch_strategy full)."
    )
    exposure_colname: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="A column of the guest that counts are proportional to, such as the time observed; its values are "
        "above 0. It is no feature.",
    )
    predict_param: PredictParam = Field(
        default_factory=PredictParam,
        description="How scores become predictions.",
        json_schema_extra=ignored("a regression predicts the number itself"),
    )
    metrics: list[str] = Field(
        default=["root_mean_squared_error", "mean_absolute_error"], description="Metrics of the validation."
    )
