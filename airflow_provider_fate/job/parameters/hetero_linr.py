"""HeteroLinR: linear regression over columns of several parties."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from airflow_provider_fate.job.parameters.base import Int, choice, ignored
from airflow_provider_fate.job.parameters.hetero_linear import HeteroLinearParam
from airflow_provider_fate.job.parameters.linear import PredictParam


class HeteroLinRParam(HeteroLinearParam):
    """Linear regression of a guest with the label, hosts with more features, and an arbiter that holds the key."""

    optimizer: choice("rmsprop", "sgd", "adam", "adagrad", "nesterov_momentum_sgd", "sqn") = Field(
        default="sgd", description="How gradients become steps. sqn is known and not there yet."
    )
    max_iter: Annotated[Int, Field(ge=1, le=1_000_000)] = Field(
        default=20, description="Iterations at most; each goes through the data once (batch_strategy full)."
    )
    predict_param: PredictParam = Field(
        default_factory=PredictParam,
        description="How scores become predictions.",
        json_schema_extra=ignored("a regression predicts the number itself"),
    )
    metrics: list[str] = Field(
        default=["root_mean_squared_error", "mean_absolute_error"], description="Metrics of the validation."
    )
