"""Evaluation: how good predictions are."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, ValidationInfo, field_validator

from airflow_provider_fate.job.parameters.base import Bool, Float, Int, Need, Parameters, choice, later
from airflow_provider_fate.job.parameters.metrics import ALLOWED, DEFAULT, full_names


class EvaluationParam(Parameters):
    """Metrics of predictions, where the labels are."""

    own: ClassVar[frozenset[str] | None] = None
    needs: ClassVar[tuple[Need, ...]] = (
        Need(("pos_label",), lambda p: p.eval_type == "binary", "eval_type is {p.eval_type}"),
        Need(("unfold_multi_result",), lambda p: p.eval_type == "multi", "eval_type is {p.eval_type}"),
    )

    eval_type: choice("binary", "multi", "regression", "clustering") = Field(
        default="binary", description="What is predicted. The type clustering is known and not there yet."
    )
    pos_label: Int | Float | str = Field(default=1, description="The label that counts as positive, for binary.")
    need_run: Bool = Field(default=True, description="Whether to evaluate at all.")
    metrics: list[str] | None = Field(
        default=None,
        description="Names of metrics, FATE's short names too. Without a list, all that eval_type has: "
        + "; ".join(f"{kind}: {', '.join(names)}" for kind, names in DEFAULT.items())
        + ". On request also mean_squared_log_error for regression.",
    )
    run_clustering_arbiter_metric: Bool = Field(
        default=False, description="For clustering.", json_schema_extra=later("the evaluation of clusters")
    )
    unfold_multi_result: Bool = Field(
        default=False, description="With several classes, whether to evaluate each of them against the rest as well."
    )

    @field_validator("eval_type", mode="after")
    @classmethod
    def _not_clusters(cls, value: str) -> str:
        if value == "clustering":
            raise ValueError("eval_type clustering is known and not there yet")
        return value

    @field_validator("metrics", mode="after")
    @classmethod
    def _known_metrics(cls, value: list[str] | None, info: ValidationInfo) -> list[str] | None:
        kind = info.data.get("eval_type")
        return full_names(value, ALLOWED[kind], f"eval_type {kind}") if value and kind else None

    @property
    def chosen_metrics(self) -> tuple[str, ...]:
        """Full names of the metrics to compute."""
        return tuple(self.metrics or DEFAULT[self.eval_type])
