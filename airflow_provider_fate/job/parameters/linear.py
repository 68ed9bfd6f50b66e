"""Groups of parameters that FATE's linear models share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from airflow_provider_fate.job.parameters.base import (
    Bool,
    Float,
    Int,
    Loc,
    Need,
    Parameters,
    Positive,
    choice,
    ignored,
    later,
)
from airflow_provider_fate.job.parameters.metrics import CURVES, SINGLE, full_names

STRONG_KEY = 2048
WEAKEST_KEY = 1024
_AFFINE = ("iterativeaffine", "randomiterativeaffine", "affine")


class InitParam(Parameters):
    """How a model starts."""

    needs: ClassVar[tuple[Need, ...]] = (
        Need(("init_const",), lambda p: p.init_method == "const", "init_method is {p.init_method}"),
        Need(("random_seed",), lambda p: p.init_method.startswith("random"), "init_method is {p.init_method}"),
    )

    init_method: choice("random_uniform", "random_normal", "ones", "zeros", "const") = Field(
        default="random_uniform",
        description="Starting values: uniform in [0, 1) , standard normal, all 1, all 0, or all init_const.",
    )
    init_const: Float = Field(default=1, description="The starting value with the method const.")
    fit_intercept: Bool = Field(default=True, description="Whether the model has an intercept.")
    random_seed: Int | None = Field(default=None, description="Seed of random starts; without one, the job's seed.")


class EncryptParam(Parameters):
    """How numbers are encrypted while they are computed with."""

    #: what FATE's broken schemes become, in words as well; and who would see the labels without encryption
    sound: ClassVar[tuple[str, str]] = ("BFV", "BFV (lattices, 128-bit)")
    seen_by: ClassVar[str] = "the other parties"

    method: choice("BFV", "Paillier") = Field(
        default="BFV",
        description="BFV is a lattice scheme with 128-bit security, and fast. Paillier is FATE's scheme. FATE's "
        "iterativeAffine and randomIterativeAffine are broken and are replaced by BFV.",
    )
    key_length: Annotated[Int, Field(ge=WEAKEST_KEY, le=8192, multiple_of=2)] = Field(
        default=STRONG_KEY,
        description="Bits of a Paillier key. FATE's old default 1024 is raised to 2048 unless allow_weak_key is set; "
        "below 1024 is refused.",
    )
    allow_weak_key: Bool = Field(
        default=False, description="Not in FATE: take a key_length from 1024 to 2047 as it is, instead of raising it."
    )

    @field_validator("method", mode="before")
    @classmethod
    def _sound(cls, value: Any) -> Any:
        if value is None:
            raise ValueError(
                f"null, no encryption, would show the labels to {cls.seen_by}; expected {cls.sound[0]} or Paillier"
            )
        return cls.sound[0] if isinstance(value, str) and value.lower() in _AFFINE else value

    @model_validator(mode="after")
    def _strong(self) -> EncryptParam:
        if self.key_length < STRONG_KEY and not self.allow_weak_key:
            object.__setattr__(self, "key_length", STRONG_KEY)
        return self

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        found: list[tuple[Loc, str]] = []
        method = given.get("method")
        if isinstance(method, str) and method.lower() in _AFFINE:
            found.append((("method",), f"{method}: this scheme is broken and is replaced by {self.sound[1]}"))
        if self.method == "BFV":
            if "key_length" in given:
                found.append((("key_length",), "has no effect: BFV has fixed parameters of 128-bit security"))
        elif self.key_length < STRONG_KEY:
            found.append((("key_length",), f"{self.key_length}: a weak key, as allow_weak_key asks for"))
        elif "key_length" in given and str(given["key_length"]) != str(self.key_length):
            found.append((("key_length",), f"{given['key_length']}: too weak today, raised to {self.key_length}"))
        return found


class PredictParam(Parameters):
    """How scores become predictions."""

    passed_over: ClassVar[dict[str, str]] = {"with_proba": "predictions always have their probability"}

    threshold: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=0.5, description="Binary: the score above which the positive class is predicted."
    )


class CrossValidationParam(Parameters):
    """Cross validation: the rows are cut into folds, and each fold is predicted by a model of all others."""

    n_splits: Annotated[Int, Field(ge=2, le=1000)] = Field(default=5, description="Number of folds.")
    mode: choice("hetero", "homo") = Field(
        default="hetero",
        description="How the data is split between parties.",
        json_schema_extra=ignored("the component says it"),
    )
    role: choice("guest", "host", "arbiter") = Field(
        default="guest", description="Set by FATE itself.", json_schema_extra=ignored("the job says it")
    )
    shuffle: Bool = Field(default=True, description="Whether rows are shuffled before.")
    random_seed: Int = Field(default=1, description="Seed of the folds.")
    need_cv: Bool = Field(
        default=False,
        description="Whether to cross-validate: the metrics of each fold, their mean and deviation, and no model.",
    )
    output_fold_history: Bool = Field(
        default=True, description="Whether the output has each row's prediction by the model that did not see it."
    )
    evaluate_param: Any = Field(
        default=None,
        description="Of FATE before 1.5: how folds are evaluated.",
        json_schema_extra=ignored("folds have the metrics of the model's task"),
    )
    history_value_type: choice("score", "instance") = Field(
        default="score", description="What to keep of each fold.", json_schema_extra=ignored("scores are kept")
    )


class StochasticQuasiNewtonParam(Parameters):
    """The optimizer sqn."""

    update_interval_L: Positive = Field(default=3, description="Iterations between updates.")
    memory_M: Positive = Field(default=5, description="Updates kept.")
    sample_size: Positive = Field(default=5000, description="Rows for an update.")
    random_seed: Int | None = Field(default=None, description="Seed of the choice of rows.")


class StepwiseParam(Parameters):
    """Stepwise choice of features."""

    score_name: choice("AIC", "BIC") = Field(default="AIC", description="What to choose by.")
    mode: choice("hetero", "homo") = Field(default="hetero", description="How the data is split between parties.")
    role: choice("guest", "host", "arbiter") = Field(default="guest", description="Set by FATE itself.")
    direction: choice("forward", "backward", "both") = Field(default="both", description="Add or remove features.")
    max_step: Positive = Field(default=10, description="Steps at most.")
    nvmin: Positive = Field(default=2, description="Features at least.")
    nvmax: Positive | None = Field(default=None, description="Features at most.")
    need_stepwise: Bool = Field(
        default=False, description="Whether to choose features.", json_schema_extra=later("stepwise choice of features")
    )


class EncryptedModeCalculatorParam(Parameters):
    """FATE's ways of encrypting less often; FATE 1.11 takes strict whatever is set."""

    mode: choice("strict", "fast", "balance", "confusion_opt", "confusion_opt_balance") = Field(
        default="strict",
        description="How often numbers are encrypted anew.",
        json_schema_extra=ignored("everything is encrypted anew each time (strict)"),
    )
    re_encrypted_rate: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=1,
        description="Share that is encrypted anew.",
        json_schema_extra=ignored("everything is encrypted anew each time (strict)"),
    )


ValidationFreqs = Positive | list[Positive]


class CallbackParam(Parameters):
    """FATE 1.7's way of saying what happens during training. What it sets overrides the parameters of the same names
    beside it."""

    callbacks: list[choice("EarlyStopping", "PerformanceEvaluate", "ModelCheckpoint")] | None = Field(
        default=None,
        description="PerformanceEvaluate: validate during training. EarlyStopping: and stop when the metrics get no "
        "better. ModelCheckpoint: checkpoints, which are always kept here.",
    )
    validation_freqs: ValidationFreqs | None = Field(default=None, description="As beside it.")
    early_stopping_rounds: Positive | None = Field(default=None, description="As beside it.")
    metrics: list[str] | None = Field(default=None, description="As beside it.")
    use_first_metric_only: Bool = Field(default=False, description="As beside it.")
    save_freq: Positive = Field(
        default=1,
        description="Iterations between checkpoints.",
        json_schema_extra=ignored("checkpoints are kept after every fifth iteration"),
    )

    @field_validator("metrics", mode="after")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        return training_metrics(value)

    @property
    def validates(self) -> bool:
        return bool({"EarlyStopping", "PerformanceEvaluate"} & set(self.callbacks or ()))

    @property
    def stops(self) -> bool:
        return "EarlyStopping" in (self.callbacks or ())

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        found: list[tuple[Loc, str]] = []
        if "ModelCheckpoint" in (self.callbacks or ()):
            found.append((("callbacks",), "ModelCheckpoint: checkpoints are always kept"))
        if not self.validates:
            found += [
                ((name,), "has no effect, as neither EarlyStopping nor PerformanceEvaluate is among callbacks")
                for name in ("validation_freqs", "metrics", "use_first_metric_only")
                if given.get(name)
            ]
        if not self.stops and self.early_stopping_rounds is not None:
            found.append((("early_stopping_rounds",), "has no effect, as EarlyStopping is not among callbacks"))
        return found + curves(given)


#: of parameters that train in rounds
VALIDATION_NEEDS = (
    Need(("metrics",), lambda p: p.validation_freqs is not None, "validation_freqs is null"),
    Need(("use_first_metric_only",), lambda p: p.early_stopping_rounds is not None, "early_stopping_rounds is null"),
)


def training_metrics(value: list[str] | None) -> list[str] | None:
    """Full names of metrics to watch during training; curves beside them are left out, see :func:`curves`."""
    numbers = [name for name in value or () if name.lower() not in CURVES]
    return None if value is None else full_names(numbers or value, SINGLE, "a validation during training")


def curves(given: dict[str, Any]) -> list[tuple[Loc, str]]:
    """Remarks on metrics that are curves, which FATE's confs name here as well.

    :param given: the values as they stood in the conf
    """
    return [
        (("metrics",), f"{name}: is not watched during training, as it is no single number; Evaluation gives it")
        for name in given.get("metrics") or ()
        if isinstance(name, str) and name.lower() in CURVES
    ]


def with_callbacks(parameters: Any) -> Any:
    """Parameters that train in rounds, with what their ``callback_param`` sets laid over the values beside it.

    :raises ValueError: training is to stop early, and nothing says when to validate
    """
    callback = parameters.callback_param
    names = ("validation_freqs", "metrics", "use_first_metric_only") if callback.validates else ()
    for name in (*names, *(("early_stopping_rounds",) if callback.stops else ())):
        if value := getattr(callback, name):
            object.__setattr__(parameters, name, value)
    if parameters.early_stopping_rounds is not None and parameters.validation_freqs is None:
        raise ValueError("early_stopping_rounds needs validation_freqs, which says when to validate")
    return parameters
