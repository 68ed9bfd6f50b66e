"""HomoLR: logistic regression over rows of several parties."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from airflow_provider_fate.job.parameters.base import Bool, Float, Int, Loc, Need, Parameters, Positive, choice, ignored
from airflow_provider_fate.job.parameters.hetero_lr import HeteroLRParam


class HomoEncryptParam(Parameters):
    """FATE's way to keep the model from the hosts. Here it has no effect."""

    method: choice("Paillier", "BFV", "iterativeAffine", "randomIterativeAffine") | None = Field(
        default=None,
        description="Masks always hide each party's weights from the arbiter and from the other parties, with null as "
        "well. With Paillier FATE also keeps the averaged model from the hosts; here every guest and host has it.",
    )
    key_length: Int = Field(
        default=2048, description="Bits of a key.", json_schema_extra=ignored("masks need no such key")
    )

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        if self.method is None:
            return []
        return [
            (
                ("method",),
                f"{self.method} has no effect: weights are added up under masks (secure aggregation). In FATE the "
                "hosts do not see the model in this mode; here they do",
            )
        ]


class HomoLRParam(HeteroLRParam):
    """Logistic regression of a guest and hosts that have the same features of different rows, and the label each; an
    arbiter averages their weights without seeing them. Binary, or one model for each class against the rest."""

    needs: ClassVar[tuple[Need, ...]] = (
        *HeteroLRParam.needs,
        Need(("mu",), lambda p: p.use_proximal, "use_proximal is false"),
    )

    encrypt_param: HomoEncryptParam = Field(  # type: ignore[assignment]
        default_factory=HomoEncryptParam, description="FATE's way to keep the model from the hosts."
    )
    re_encrypt_batches: Annotated[Int, Field(ge=0)] = Field(
        default=2,
        description="Batches between two encryptions.",
        json_schema_extra=ignored("weights are added up under masks, not encrypted"),
    )
    aggregate_iters: Positive = Field(
        default=1, description="Iterations that each party makes by itself between two averages."
    )
    use_proximal: Bool = Field(
        default=False, description="Whether a term keeps each party close to the last average (FedProx)."
    )
    mu: Annotated[Float, Field(ge=0)] = Field(default=0.1, description="Strength of that term.")
    shuffle: Bool = Field(default=False, description="Whether rows are spread over batches at random (by the seed).")
    early_stop: choice("diff", "weight_diff", "abs") = Field(
        default="diff",
        description="What must fall below tol for training to end, at an average: the change of the loss over all "
        "rows, the change of the weights, or the loss.",
    )
    floating_point_precision: Annotated[Int, Field(ge=0, le=63)] | None = Field(
        default=23,
        description="Bits after the point.",
        json_schema_extra=ignored("numbers that are added up have 40 bits after the point"),
    )
