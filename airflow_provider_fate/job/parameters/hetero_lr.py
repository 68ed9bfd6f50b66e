"""HeteroLR: logistic regression over columns of several parties."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from airflow_provider_fate.job.parameters.base import choice
from airflow_provider_fate.job.parameters.hetero_linear import HeteroLinearParam
from airflow_provider_fate.job.parameters.linear import PredictParam


class HeteroLRParam(HeteroLinearParam):
    """Logistic regression of a guest with the label, hosts with more features, and an arbiter that holds the key.
    Binary, or one model for each class against the rest."""

    passed_over: ClassVar[dict[str, str]] = {
        "eps": "tol counts",
        "converge_func": "early_stop counts",
        "intersect_0": "it is another component",
    }

    predict_param: PredictParam = Field(default_factory=PredictParam, description="How scores become predictions.")
    multi_class: choice("ovr") = Field(
        default="ovr", description="Several classes: one model for each against the rest."
    )
    metrics: list[str] = Field(default=["auc", "ks"], description="Metrics of the validation.")
