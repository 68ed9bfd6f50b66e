"""HeteroSecureBoost and HeteroFastSecureBoost: gradient-boosted trees over columns of several parties."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from airflow_provider_fate.job.parameters.additive import AdditiveEncryptParam
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
from airflow_provider_fate.job.parameters.linear import (
    VALIDATION_NEEDS,
    CallbackParam,
    CrossValidationParam,
    EncryptedModeCalculatorParam,
    PredictParam,
    ValidationFreqs,
    curves,
    training_metrics,
    with_callbacks,
)

_REGRESSIONS = ("lse", "lae", "huber", "fair", "tweedie", "log_cosh")
_WITH_NUMBER = ("huber", "fair", "tweedie")
NotNegative = Annotated[Float, Field(ge=0)]
Share = Annotated[Float, Field(gt=0, lt=1)]
MOST_DEPTH = 20


class ObjectiveParam(Parameters):
    """What the trees minimise."""

    needs: ClassVar[tuple[Need, ...]] = (
        Need(("params",), lambda p: p.objective in _WITH_NUMBER, "objective is {p.objective}"),
    )

    objective: choice("cross_entropy", *_REGRESSIONS) | None = Field(
        default="cross_entropy",
        description="cross_entropy for classes; lse (squared error), lae (absolute error), huber (its smooth form), "
        "fair, tweedie or log_cosh for a regression. FATE allows null at a host.",
    )
    params: list[Float] | None = Field(
        default=None, description="One number: delta of huber, c of fair, or the power of tweedie, in [1, 2)."
    )

    @model_validator(mode="after")
    def _parameter(self) -> ObjectiveParam:
        if self.objective in _WITH_NUMBER:
            if not self.params:
                raise ValueError(f"{self.objective} needs its number in params, such as [1.0]")
            if self.objective == "tweedie" and not 1 <= self.params[0] < 2:
                raise ValueError(f"params {self.params}: the power of tweedie is in [1, 2)")
            if self.params[0] <= 0:
                raise ValueError(f"params {self.params}: {self.objective} needs a number above 0")
        return self


class DecisionTreeParam(Parameters):
    """How a tree grows."""

    criterion_method: choice("xgboost") = Field(default="xgboost", description="Gains and weights as in XGBoost.")
    criterion_params: list[NotNegative] = Field(
        default=[0.1, 0],
        min_length=1,
        max_length=2,
        description='The l2 and l1 regularisation of the leaves: [l2, l1], or {"l1": ..., "l2": ...}.',
    )
    max_depth: Annotated[Int, Field(ge=1, le=MOST_DEPTH)] = Field(default=3, description="Levels of splits at most.")
    min_sample_split: Annotated[Int, Field(ge=0)] = Field(default=2, description="Rows that a node needs to be split.")
    min_impurity_split: NotNegative = Field(default=1e-3, description="A split needs a gain above this.")
    min_leaf_node: Annotated[Int, Field(ge=0)] = Field(default=1, description="Rows that each side of a split needs.")
    min_child_weight: NotNegative = Field(
        default=0, description="Sum of second derivatives that each side of a split needs."
    )
    max_split_nodes: Positive = Field(
        default=65536,
        description="Nodes whose splits are found at the same time.",
        json_schema_extra=ignored("all nodes of a level are split together"),
    )
    feature_importance_type: choice("split", "gain") = Field(
        default="split",
        description="What the feature importance is sorted by, and HeteroFeatureSelection goes by: how often a column "
        "splits, or its gain. Gains are known to the guest only; a host goes by splits.",
    )
    n_iter_no_change: Bool = Field(
        default=True, description="Not used by FATE.", json_schema_extra=ignored("the one beside tree_param counts")
    )
    tol: Float = Field(
        default=0.001, description="Not used by FATE.", json_schema_extra=ignored("the one beside tree_param counts")
    )
    use_missing: Bool = Field(default=False, description="As beside tree_param.")
    zero_as_missing: Bool = Field(default=False, description="As beside tree_param.")
    deterministic: Bool = Field(
        default=False,
        description="Whether the same job gives the same trees.",
        json_schema_extra=ignored("it always does"),
    )

    @field_validator("criterion_params", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) != {"l1", "l2"}:
                raise ValueError(f"expected the keys l1 and l2, got {', '.join(map(str, value)) or 'none'}")
            return [value["l2"], value["l1"]]
        return value

    @property
    def l2(self) -> float:
        return self.criterion_params[0]

    @property
    def l1(self) -> float:
        return self.criterion_params[1] if len(self.criterion_params) > 1 else 0.0


class HeteroSecureBoostParam(Parameters):
    """Gradient-boosted trees of a guest with the label and hosts with more features. Each party's model lists the
    importance of its own columns; the guest's, unlike FATE's, has no anonymous names of hosts' columns beside them, as
    the guest learns how often a host's columns split, but not which of them."""

    needs: ClassVar[tuple[Need, ...]] = (
        Need(
            ("guest_depth", "host_depth"),
            lambda p: p.boosting_strategy == "layered",
            "boosting_strategy is {p.boosting_strategy}",
        ),
        Need(
            ("tree_num_per_party",),
            lambda p: p.boosting_strategy == "mix",
            "boosting_strategy is {p.boosting_strategy}",
        ),
        Need(("complete_secure",), lambda p: p.boosting_strategy != "mix", "the first trees of mix are the guest's"),
        Need(
            ("tree_param.max_depth",),
            lambda p: p.boosting_strategy != "layered" or p.complete_secure,
            "layered has guest_depth and host_depth",
        ),
        Need(("top_rate", "other_rate"), lambda p: p.run_goss, "run_goss is false"),
        Need(("tol",), lambda p: p.n_iter_no_change, "n_iter_no_change is false"),
        Need(("zero_as_missing",), lambda p: p.use_missing, "use_missing is false"),
        Need(
            ("predict_param.threshold",), lambda p: p.task_type == "classification", "a regression predicts the number"
        ),
        *VALIDATION_NEEDS,
    )

    task_type: choice("classification", "regression") = Field(
        default="classification", description="Whether labels are classes (two or more) or numbers."
    )
    objective_param: ObjectiveParam = Field(default_factory=ObjectiveParam, description="What the trees minimise.")
    tree_param: DecisionTreeParam = Field(default_factory=DecisionTreeParam, description="How a tree grows.")
    learning_rate: Annotated[Float, Field(gt=0)] = Field(default=0.3, description="What leaves are multiplied by.")
    num_trees: Annotated[Int, Field(ge=1, le=100_000)] = Field(
        default=5, description="Rounds at most: one tree each, or one a class where there are more than two."
    )
    subsample_feature_rate: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=1, description="Share of each party's columns that a tree uses, at least one."
    )
    n_iter_no_change: Bool = Field(default=True, description="Whether training ends when the loss changes below tol.")
    tol: NotNegative = Field(default=1e-4, description="See n_iter_no_change.")
    bin_num: Annotated[Int, Field(ge=2, le=60_000)] = Field(
        default=32, description="Bins of a column at most; their bounds are its quantiles, and the splits to choose of."
    )
    binning_error: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=1e-4,
        description="Error of the quantiles.",
        json_schema_extra=ignored("quantiles are exact"),
    )
    encrypt_param: AdditiveEncryptParam = Field(
        default_factory=AdditiveEncryptParam, description="How derivatives are encrypted."
    )
    encrypted_mode_calculator_param: EncryptedModeCalculatorParam = Field(
        default_factory=EncryptedModeCalculatorParam, description="FATE's ways of encrypting less often."
    )
    predict_param: PredictParam = Field(default_factory=PredictParam, description="How scores become predictions.")
    cv_param: CrossValidationParam = Field(default_factory=CrossValidationParam, description="Cross validation.")
    validation_freqs: ValidationFreqs | None = Field(
        default=None, description="Validate every so many rounds, or after the rounds listed; null for never."
    )
    early_stopping_rounds: Positive | None = Field(
        default=None,
        description="Stop after so many validations without a better metric, and keep the best rounds; needs "
        "validation_freqs.",
    )
    metrics: list[str] | None = Field(
        default=None,
        description="Metrics of the validation; without any, auc and ks of two classes, accuracy, precision and recall "
        "of more, root_mean_squared_error and mean_absolute_error of a regression.",
    )
    use_first_metric_only: Bool = Field(
        default=False, description="Whether only the first metric counts for early_stopping_rounds."
    )
    callback_param: CallbackParam = Field(default_factory=CallbackParam, description="What happens during training.")
    use_missing: Bool = Field(
        default=False,
        description="Whether values may be missing: each split sends them to the side that gives the better gain.",
    )
    zero_as_missing: Bool = Field(default=False, description="Whether 0 counts as missing; with use_missing.")
    random_seed: Annotated[Int, Field(ge=0)] | None = Field(
        default=100, description="Seed of the columns and rows of each tree; null for the job's."
    )
    subsample_random_seed: Annotated[Int, Field(ge=0)] | None = Field(
        default=None, description="FATE 1.5's name of random_seed, which it overrides."
    )
    complete_secure: Annotated[Int, Field(ge=0)] = Field(
        default=0,
        description="So many first rounds use the guest's columns only, so that hosts learn nothing of the labels from "
        "the first trees; true for one.",
    )
    run_goss: Bool = Field(
        default=False,
        description="Gradient-based one-side sampling: trees are made of the rows with the largest derivatives and a "
        "random part of the others.",
    )
    top_rate: Share = Field(default=0.2, description="Share of rows with the largest derivatives; with run_goss.")
    other_rate: Share = Field(default=0.1, description="Share of rows drawn from the others; with run_goss.")
    cipher_compress: Bool = Field(default=True, description="Whether a ciphertext of a host holds several sums.")
    cipher_compress_error: Any = Field(
        default=None, description="Not used by FATE.", json_schema_extra=ignored("sums are exact")
    )
    new_ver: Bool = Field(
        default=True, description="FATE's newer implementation.", json_schema_extra=ignored("there is one")
    )
    sparse_optimization: Bool = Field(
        default=False, description="Not used by FATE.", json_schema_extra=ignored("FATE has it no more either")
    )
    boosting_strategy: choice("std", "mix", "layered") = Field(
        default="std",
        description="std: every node is split by any party's column. mix: whole trees of one party's columns, in turn. "
        "layered: the host's columns at the first levels, the guest's at those that follow; one host only.",
    )
    work_mode: choice("std", "mix", "layered") | None = Field(
        default=None, description="FATE's older name of boosting_strategy, which it overrides."
    )
    tree_num_per_party: Positive = Field(default=1, description="Rounds of a party before the next one's; with mix.")
    guest_depth: Annotated[Int, Field(ge=1, le=MOST_DEPTH)] = Field(
        default=2, description="Levels of the guest; with layered."
    )
    host_depth: Annotated[Int, Field(ge=1, le=MOST_DEPTH)] = Field(
        default=3, description="Levels of the host; with layered."
    )
    multi_mode: choice("single_output", "multi_output") = Field(
        default="single_output",
        description="More than two classes: a tree a class in each round.",
        json_schema_extra=later("multi_output, trees with a weight a class"),
    )
    EINI_inference: Bool = Field(
        default=False,
        description="Prediction with encrypted leaves.",
        json_schema_extra=later("EINI, prediction with encrypted leaves,"),
    )
    EINI_random_mask: Bool = Field(
        default=False,
        description="Multiplies EINI's predictions by a random number.",
        json_schema_extra=later("EINI, prediction with encrypted leaves,"),
    )
    EINI_complexity_check: Bool = Field(
        default=False,
        description="Refuses EINI for small trees.",
        json_schema_extra=later("EINI, prediction with encrypted leaves,"),
    )

    @field_validator("complete_secure", mode="before")
    @classmethod
    def _first_rounds(cls, value: Any) -> Any:
        texts = {"true": 1, "false": 0}
        return int(value) if isinstance(value, bool) else texts.get(str(value).strip().lower(), value)

    @field_validator("metrics", mode="after")
    @classmethod
    def _known_metrics(cls, value: list[str] | None) -> list[str] | None:
        return training_metrics(value) or None

    @model_validator(mode="after")
    def _whole(self) -> HeteroSecureBoostParam:
        regression = self.task_type == "regression"
        objective = self.objective_param.objective
        if objective is None:
            raise ValueError("objective_param.objective is null, and all parties must have the same")
        if regression != (objective in _REGRESSIONS):
            expected = ", ".join(_REGRESSIONS) if regression else "cross_entropy"
            raise ValueError(f"objective_param.objective {objective}: expected {expected} for a {self.task_type}")
        if self.top_rate + self.other_rate >= 1:
            raise ValueError(f"top_rate {self.top_rate} and other_rate {self.other_rate}: expected a sum below 1")
        if self.work_mode is not None:
            object.__setattr__(self, "boosting_strategy", self.work_mode)
        if self.subsample_random_seed is not None:
            object.__setattr__(self, "random_seed", self.subsample_random_seed)
        if self.tree_param.use_missing:
            object.__setattr__(self, "use_missing", True)
        if self.tree_param.zero_as_missing:
            object.__setattr__(self, "zero_as_missing", True)
        if self.boosting_strategy == "layered" and self.guest_depth + self.host_depth > MOST_DEPTH:
            raise ValueError(f"guest_depth and host_depth: expected at most {MOST_DEPTH} levels together")
        return with_callbacks(self)

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        return curves(given)


class HeteroFastSecureBoostParam(HeteroSecureBoostParam):
    """HeteroSecureBoost in FATE's faster ways: trees, or levels of trees, of one party's columns."""

    work_mode: choice("mix", "layered") = Field(
        default="mix",
        description="mix: whole trees of one party's columns, in turn. layered: the host's columns at the first "
        "levels, the guest's at those that follow; one host only.",
    )
    boosting_strategy: choice("std", "mix", "layered") = Field(
        default="std", description="The same.", json_schema_extra=ignored("work_mode says it")
    )
    guest_depth: Annotated[Int, Field(ge=1, le=MOST_DEPTH)] = Field(
        default=1, description="Levels of the guest; with layered."
    )
    host_depth: Annotated[Int, Field(ge=1, le=MOST_DEPTH)] = Field(
        default=1, description="Levels of the host; with layered."
    )
