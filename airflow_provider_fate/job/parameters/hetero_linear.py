"""What the linear models over columns of several parties have in common."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from airflow_provider_fate.job.parameters.base import Bool, Float, Int, Loc, Need, Parameters, Positive, choice, ignored
from airflow_provider_fate.job.parameters.linear import (
    VALIDATION_NEEDS,
    CallbackParam,
    CrossValidationParam,
    EncryptedModeCalculatorParam,
    EncryptParam,
    InitParam,
    StepwiseParam,
    StochasticQuasiNewtonParam,
    ValidationFreqs,
    curves,
    training_metrics,
    with_callbacks,
)

#: As FATE: batches smaller than this say too much about single rows.
SMALLEST_BATCH = 10


class HeteroLinearParam(Parameters):
    """A linear model of a guest with the label, hosts with more features, and an arbiter that holds the key."""

    needs: ClassVar[tuple[Need, ...]] = (
        Need(("alpha",), lambda p: p.penalty is not None, "there is no penalty"),
        Need(("sqn_param",), lambda p: p.optimizer == "sqn", "the optimizer is {p.optimizer}"),
        Need(("stepwise_param",), lambda p: p.stepwise_param.need_stepwise, "need_stepwise is false"),
        *VALIDATION_NEEDS,
    )

    penalty: choice("L1", "L2") | None = Field(default="L2", description="Regularisation, or null for none.")
    tol: Annotated[Float, Field(ge=0)] = Field(default=1e-4, description="Training ends when early_stop is below this.")
    alpha: Annotated[Float, Field(ge=0)] = Field(default=1.0, description="Strength of the penalty.")
    optimizer: choice("rmsprop", "sgd", "adam", "adagrad", "nesterov_momentum_sgd", "sqn") = Field(
        default="rmsprop", description="How gradients become steps. sqn is known and not there yet."
    )
    batch_size: Int = Field(
        default=-1, description=f"Rows of a batch, at least {SMALLEST_BATCH}; -1 for all rows in one batch."
    )
    shuffle: Bool = Field(default=True, description="Whether rows are spread over batches at random (by the seed).")
    batch_strategy: choice("full", "random") = Field(
        default="full",
        description="full: each iteration goes through all batches. random: each iteration takes one batch at random.",
    )
    masked_rate: Annotated[Float, Field(ge=0)] = Field(
        default=5,
        description="Rows added to a batch to hide it.",
        json_schema_extra=ignored("batches follow from the job's seed, which every party knows"),
    )
    learning_rate: Annotated[Float, Field(gt=0)] = Field(default=0.01, description="Size of the steps.")
    init_param: InitParam = Field(default_factory=InitParam, description="How the model starts.")
    max_iter: Annotated[Int, Field(ge=1, le=1_000_000)] = Field(
        default=100, description="Iterations at most; each goes through the data once (batch_strategy full)."
    )
    early_stop: choice("diff", "weight_diff", "abs") = Field(
        default="diff",
        description="What must fall below tol for training to end: the change of the loss, the change of the weights, "
        "or the loss. With several hosts it is weight_diff, as the loss takes a term between each two hosts.",
    )
    encrypt_param: EncryptParam = Field(default_factory=EncryptParam, description="How numbers are encrypted.")
    encrypted_mode_calculator_param: EncryptedModeCalculatorParam = Field(
        default_factory=EncryptedModeCalculatorParam, description="FATE's ways of encrypting less often."
    )
    cv_param: CrossValidationParam = Field(default_factory=CrossValidationParam, description="Cross validation.")
    sqn_param: StochasticQuasiNewtonParam = Field(
        default_factory=StochasticQuasiNewtonParam, description="Of the optimizer sqn."
    )
    stepwise_param: StepwiseParam = Field(default_factory=StepwiseParam, description="Stepwise choice of features.")
    decay: Annotated[Float, Field(ge=0)] = Field(
        default=1, description="How fast steps get smaller: learning_rate / sqrt(1 + decay * t) in iteration t from 0."
    )
    decay_sqrt: Bool = Field(
        default=True, description="Whether with the square root; otherwise learning_rate / (1 + decay * t)."
    )
    validation_freqs: ValidationFreqs | None = Field(
        default=None, description="Validate every so many iterations, or after the iterations listed; null for never."
    )
    early_stopping_rounds: Positive | None = Field(
        default=None, description="Stop after so many validations without a better metric; needs validation_freqs."
    )
    metrics: list[str] = Field(description="Metrics of the validation.")
    use_first_metric_only: Bool = Field(
        default=False, description="Whether only the first metric counts for early_stopping_rounds."
    )
    floating_point_precision: Annotated[Int, Field(ge=0, le=63)] | None = Field(
        default=23, description="Bits after the point in the integers that encrypted numbers are made of."
    )
    is_warm_start: Bool = Field(
        default=False,
        description="Set by FATE 1.6 for a model that goes on from an earlier one.",
        json_schema_extra=ignored("a component goes on from an earlier model when its input has one"),
    )
    callback_param: CallbackParam = Field(default_factory=CallbackParam, description="What happens during training.")

    @field_validator("penalty", mode="before")
    @classmethod
    def _no_penalty(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.lower() == "none" else value

    @field_validator("optimizer", mode="after")
    @classmethod
    def _known_optimizer(cls, value: str) -> str:
        if value == "sqn":
            raise ValueError("the optimizer sqn is known and not there yet")
        return value

    @field_validator("batch_size", mode="after")
    @classmethod
    def _batch(cls, value: int) -> int:
        if value != -1 and value < SMALLEST_BATCH:
            raise ValueError(f"{value}: expected -1 for all rows, or at least {SMALLEST_BATCH}")
        return value

    @field_validator("metrics", mode="before")
    @classmethod
    def _default_metrics(cls, value: Any) -> Any:
        return cls.model_fields["metrics"].default if value is None or value == [] else value

    @field_validator("metrics", mode="after")
    @classmethod
    def _known_metrics(cls, value: list[str]) -> list[str] | None:
        return training_metrics(value)

    @model_validator(mode="after")
    def _callbacks(self) -> HeteroLinearParam:
        return with_callbacks(self)

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        return curves(given)
