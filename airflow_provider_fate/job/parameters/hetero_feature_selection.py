"""HeteroFeatureSelection: which columns go on, by filters one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from airflow_provider_fate.job.names import did_you_mean, short
from airflow_provider_fate.job.parameters.base import Bool, Float, Int, Loc, Need, Parameters, Positive, choice
from airflow_provider_fate.job.parameters.data_statistics import Statistic

Share = Annotated[Float, Field(ge=0, le=1)]
Places = list[Int]
FilterType = choice("threshold", "top_k", "top_percentile")
MergeType = choice("average", "min", "max")
HostThresholds = Float | list[Float | list[Float] | None] | None

#: filters by FATE's name, and the group of parameters of each
FILTERS = {
    "manually": "manually_param",
    "unique_value": "unique_param",
    "iv_value_thres": "iv_value_param",
    "iv_percentile": "iv_percentile_param",
    "iv_top_k": "iv_top_k_param",
    "coefficient_of_variation_value_thres": "variance_coe_param",
    "outlier_cols": "outlier_param",
    "percentage_value": "percentage_value_param",
    "iv_filter": "iv_param",
    "statistic_filter": "statistic_param",
    "hetero_sbt_filter": "sbt_param",
    "hetero_fast_sbt_filter": "sbt_param",
}
#: those whose modules are not there
LATER = {
    "psi_filter": "psi_param",
    "vif_filter": "vif_param",
    "correlation_filter": "correlation_param",
    "homo_sbt_filter": "sbt_param",
}


@dataclass(frozen=True)
class Condition:
    """What a column's number must be like for the column to stay.

    :param metric: which number
    :param kind: ``threshold``, ``top_k`` or ``top_percentile``
    :param bound: the threshold, the number of columns, or their share
    :param high: whether high numbers are good
    :param hosts: thresholds of hosts: one for all, one each, or ``None`` for that of the guest
    :param federated: whether the columns of all parties are looked at together
    :param merge: how the numbers of several classes become one
    """

    metric: str
    kind: str
    bound: float
    high: bool = True
    hosts: float | list[float] | None = None
    federated: bool = False
    merge: str = "average"


#: that hosts have thresholds of their own says nothing where none of their columns is measured by one
_HOST_THRESHOLDS = Need(
    ("host_thresholds",),
    lambda p: any(one.federated and one.kind == "threshold" for one in p.conditions()),
    "no condition compares hosts' columns with a threshold",
)


class UniqueValueParam(Parameters):
    """Columns of one value go."""

    eps: Annotated[Float, Field(gt=0)] = Field(
        default=1e-5, description="A column stays whose standard deviation is at least this."
    )


class IVValueSelectionParam(Parameters):
    """Columns of a small information value go; FATE's older way to say iv_param."""

    needs: ClassVar[tuple[Need, ...]] = (Need(("host_thresholds",), lambda p: not p.local_only, "local_only is true"),)

    value_threshold: Float = Field(default=0.0, description="A column stays whose IV is at least this.")
    host_thresholds: list[Float] | Float | None = Field(
        default=None, description="For hosts: one number for all, or one each; without it as the guest's."
    )
    local_only: Bool = Field(default=False, description="Whether only the guest's columns are looked at.")


class IVPercentileSelectionParam(Parameters):
    """The columns of the largest information values stay; FATE's older way to say iv_param."""

    percentile_threshold: Share = Field(default=1.0, description="Share of the columns that stay, rounded up.")
    local_only: Bool = Field(default=False, description="Whether only the guest's columns are looked at.")


class IVTopKParam(Parameters):
    """The columns of the largest information values stay; FATE's older way to say iv_param."""

    k: Positive = Field(default=10, description="Columns that stay.")
    local_only: Bool = Field(default=False, description="Whether only the guest's columns are looked at.")


class VarianceOfCoeSelectionParam(Parameters):
    """Columns of a small coefficient of variation go."""

    value_threshold: Annotated[Float, Field(gt=0)] = Field(
        default=1.0, description="A column stays whose deviation over its mean, without sign, is at least this."
    )


class OutlierColsSelectionParam(Parameters):
    """Columns with a large percentile go."""

    percentile: Share = Field(default=1.0, description="Which percentile, as a share; in whole percents.")
    upper_threshold: Float = Field(default=1.0, description="A column stays where it is at most this.")


class PercentageValueParam(Parameters):
    """Columns go where one value is that of many rows."""

    passed_over: ClassVar[dict[str, str]] = {"error": "shares are exact"}

    upper_pct: Annotated[Float, Field(ge=0.1, le=1)] = Field(
        default=1.0, description="A column stays where no value is that of more than this share of the rows."
    )


class ManuallyFilterParam(Parameters):
    """Columns that go, or those that stay; unknown ones are passed over."""

    filter_out_indexes: Places | None = Field(default=None, description="Places of columns that go.")
    filter_out_names: list[str] | None = Field(default=None, description="Names of columns that go.")
    left_col_indexes: Places | None = Field(default=None, description="Places of columns that stay.")
    left_col_names: list[str] | None = Field(default=None, description="Names of columns that stay.")

    @property
    def leaves_out(self) -> bool:
        """Whether columns that go are listed, rather than those that stay."""
        return self.filter_out_indexes is not None or self.filter_out_names is not None

    @model_validator(mode="after")
    def _one_way(self) -> ManuallyFilterParam:
        if (self.filter_out_indexes or self.filter_out_names) and (self.left_col_indexes or self.left_col_names):
            raise ValueError("give either the columns that go (filter_out_...) or those that stay (left_col_...)")
        return self


class CommonFilterParam(Parameters):
    """Conditions on numbers of columns: one, or several with lists of the same length, one after the other."""

    metrics: str | list[str] = Field(description="Which numbers.")
    filter_type: FilterType | list[FilterType] = Field(
        default="threshold",
        description="threshold: columns stay whose number is at least that (at most, where take_high is false). top_k, "
        "top_percentile: so many columns, or so large a share of them, with the best numbers.",
    )
    take_high: Bool | list[Bool] = Field(default=True, description="Whether high numbers are good.")
    threshold: Float | list[Float] = Field(default=1.0, description="The threshold, the number or the share.")
    host_thresholds: HostThresholds = Field(
        default=None,
        description="Thresholds of hosts: one for all or a list with one each; of several conditions a list of these. "
        "Without it as the guest's.",
    )
    select_federated: Bool | list[Bool] = Field(
        default=True, description="Whether the columns of all parties are looked at together."
    )

    def conditions(self) -> list[Condition]:
        """One for each metric."""
        single = isinstance(self.metrics, str)
        metrics = [self.metrics] if isinstance(self.metrics, str) else self.metrics

        def of(name: str) -> list[Any]:
            value = getattr(self, name, "average")
            return value if isinstance(value, list) else [value] * len(metrics)

        hosts: Any = self.host_thresholds
        # of one condition, a list has one threshold for each host
        if not isinstance(hosts, list) or (single and not any(isinstance(one, list) for one in hosts)):
            hosts = [hosts] * len(metrics)
        names = ("filter_type", "threshold", "take_high", "select_federated", "mul_class_merge_type")
        return [
            Condition(metric, kind, bound, high, host, federated, merge)
            for metric, host, kind, bound, high, federated, merge in zip(
                metrics, hosts, *(of(name) for name in names), strict=True
            )
        ]

    @model_validator(mode="after")
    def _lists(self) -> CommonFilterParam:
        several = self.metrics if isinstance(self.metrics, list) else None
        for name in ("filter_type", "take_high", "threshold", "select_federated", "mul_class_merge_type"):
            value = getattr(self, name, None)
            if isinstance(value, list) and several is None:
                raise ValueError(f"{name} is a list, so metrics must be a list with as many entries")
            if isinstance(value, list) and several is not None and len(value) != len(several):
                raise ValueError(f"{name} has {len(value)} entries and metrics has {len(several)}")
        hosts = self.host_thresholds
        if several is not None and isinstance(hosts, list) and len(hosts) != len(several):
            raise ValueError(f"host_thresholds has {len(hosts)} entries and metrics has {len(several)}")
        for one in self.conditions():
            if one.kind == "top_k" and (one.bound < 1 or one.bound != int(one.bound)):
                raise ValueError(f"threshold {one.bound:g}: top_k takes a whole number of columns, at least 1")
            if one.kind == "top_percentile" and not 0 <= one.bound <= 1:
                raise ValueError(f"threshold {one.bound:g}: top_percentile takes a share from 0 to 1")
        return self


class StatisticFilterParam(CommonFilterParam):
    """Conditions on numbers that DataStatistics computes, of its model where one comes in. Each party's columns by
    themselves."""

    metrics: Statistic | list[Statistic] = Field(default="mean", description="Names of statistics, such as 95%.")
    host_thresholds: HostThresholds = Field(
        default=None,
        description="No effect, as in FATE. A threshold of a host's own belongs in the host's own parameters.",
    )
    select_federated: Bool | list[Bool] = Field(
        default=True, description="No effect, as in FATE: each party looks at its own columns."
    )

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        found: list[tuple[Loc, str]] = []
        if self.host_thresholds is not None:
            text = "has no effect, as in FATE: give a host its own threshold in its own parameters (role.host)"
            found.append((("host_thresholds",), text))
        if "select_federated" in given:
            found.append((("select_federated",), "has no effect, as in FATE: each party looks at its own columns"))
        return found


class IVFilterParam(CommonFilterParam):
    """Conditions on information values, of a model of HeteroFeatureBinning."""

    needs: ClassVar[tuple[Need, ...]] = (_HOST_THRESHOLDS,)

    metrics: Literal["iv"] | list[Literal["iv"]] = Field(default="iv", description="The information value.")
    mul_class_merge_type: MergeType | list[MergeType] = Field(
        default="average", description="How the information values of several classes become one."
    )

    @model_validator(mode="after")
    def _high(self) -> IVFilterParam:
        if not all(one.high for one in self.conditions()):
            raise ValueError("take_high: columns of high information values stay; expected true")
        return self


class SBTFilterParam(CommonFilterParam):
    """Conditions on how often a column splits, or on its gain where feature_importance_type of the trees is gain, of a
    model of HeteroSecureBoost or HeteroFastSecureBoost. Each party decides over its own columns: by a threshold they
    stay that would in FATE 1.5, where the guest knows the hosts' numbers; of top_k and top_percentile each party takes
    the best of its own, where FATE 1.5 takes the best of all parties (and later versions only look at the guest's).
    A host has no gains, so its columns go by how often they split."""

    needs: ClassVar[tuple[Need, ...]] = (_HOST_THRESHOLDS,)

    metrics: Literal["feature_importance"] | list[Literal["feature_importance"]] = Field(
        default="feature_importance", description="How often the trees split by the column, or their gain."
    )
    select_federated: Bool | list[Bool] = Field(
        default=True, description="Whether hosts look at their columns too; otherwise all of them stay, as in FATE 1.5."
    )

    @model_validator(mode="after")
    def _high(self) -> SBTFilterParam:
        if not all(one.high for one in self.conditions()):
            raise ValueError("take_high: columns of high importance stay; expected true")
        return self

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        kinds = {one.kind for one in self.conditions() if one.federated and one.kind != "threshold"}
        if not kinds:
            return []
        text = (
            f"{' and '.join(sorted(kinds))}: each party takes the best of its own columns, not of those of all parties "
            "together: the guest does not learn how often each of a host's columns splits"
        )
        return [(("filter_type",), text)]


class PSIFilterParam(CommonFilterParam):
    """For psi_filter."""

    metrics: Literal["psi"] | list[Literal["psi"]] = Field(default="psi", description="The stability index.")
    take_high: Bool | list[Bool] = Field(default=False, description="Whether high numbers are good.")


class VIFFilterParam(CommonFilterParam):
    """For vif_filter."""

    metrics: Literal["vif"] | list[Literal["vif"]] = Field(default="vif", description="The inflation factor.")
    take_high: Bool | list[Bool] = Field(default=False, description="Whether high numbers are good.")
    threshold: Float | list[Float] = Field(default=5.0, description="The threshold, the number or the share.")


class CorrelationFilterParam(Parameters):
    """For correlation_filter."""

    sort_metric: choice("iv") = Field(default="iv", description="Columns of a high one stay.")
    threshold: Annotated[Float, Field(gt=0)] = Field(default=0.1, description="Correlation at most.")
    select_federated: Bool = Field(default=True, description="Whether the columns of all parties are looked at.")


class HeteroFeatureSelectionParam(Parameters):
    """Which columns go on, by filters in the order of filter_methods. Each works on the columns that the ones before
    left, and leaves at least one. Information values are known to the guest only: it tells hosts which of their columns
    stay. All other filters are each party's own."""

    passed_over: ClassVar[dict[str, str]] = {"local_only": "each filter has its own"}
    own: ClassVar[frozenset[str] | None] = frozenset(
        {
            "select_col_indexes", "select_names", "use_anonymous", "unique_param", "variance_coe_param",
            "outlier_param", "manually_param", "percentage_value_param", "statistic_param", "sbt_param", "psi_param",
            "vif_param", "correlation_param",
        }
    )  # fmt: skip

    select_col_indexes: Literal[-1] | Places | None = Field(
        default=-1,
        description="Places of the columns that filters look at, from 0; -1 for all. Others stay. Unknown ones are "
        "passed over.",
    )
    select_names: list[str] | None = Field(
        default=None, description="Names of such columns, beside select_col_indexes where that is not -1."
    )
    filter_methods: list[str] = Field(
        default=["manually"], description=f"Filters, in their order: {', '.join(FILTERS)}."
    )
    unique_param: UniqueValueParam = Field(default_factory=UniqueValueParam, description="Of unique_value.")
    iv_value_param: IVValueSelectionParam = Field(
        default_factory=IVValueSelectionParam, description="Of iv_value_thres."
    )
    iv_percentile_param: IVPercentileSelectionParam = Field(
        default_factory=IVPercentileSelectionParam, description="Of iv_percentile."
    )
    iv_top_k_param: IVTopKParam = Field(default_factory=IVTopKParam, description="Of iv_top_k.")
    variance_coe_param: VarianceOfCoeSelectionParam = Field(
        default_factory=VarianceOfCoeSelectionParam, description="Of coefficient_of_variation_value_thres."
    )
    outlier_param: OutlierColsSelectionParam = Field(
        default_factory=OutlierColsSelectionParam, description="Of outlier_cols."
    )
    manually_param: ManuallyFilterParam = Field(default_factory=ManuallyFilterParam, description="Of manually.")
    percentage_value_param: PercentageValueParam = Field(
        default_factory=PercentageValueParam, description="Of percentage_value."
    )
    iv_param: IVFilterParam = Field(default_factory=IVFilterParam, description="Of iv_filter.")
    statistic_param: StatisticFilterParam = Field(
        default_factory=StatisticFilterParam, description="Of statistic_filter."
    )
    sbt_param: SBTFilterParam = Field(
        default_factory=SBTFilterParam, description="Of hetero_sbt_filter and hetero_fast_sbt_filter."
    )
    psi_param: PSIFilterParam = Field(
        default_factory=PSIFilterParam, description="Of psi_filter, which is known and not there yet."
    )
    vif_param: VIFFilterParam = Field(
        default_factory=VIFFilterParam, description="Of vif_filter, which is known and not there yet."
    )
    correlation_param: CorrelationFilterParam = Field(
        default_factory=CorrelationFilterParam, description="Of correlation_filter, which is known and not there yet."
    )
    use_anonymous: Bool = Field(
        default=False,
        description="Whether select_names, filter_out_names and left_col_names are FATE's anonymous names: role, party "
        "id and place, such as host_10000_x3, or host_10000_3 as in FATE 1.5.",
    )
    need_run: Bool = Field(default=True, description="Whether to run at all; if not, rows pass unchanged.")

    @field_validator("filter_methods", mode="after")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        found = [name.lower() for name in value]
        for name in found:
            if name in LATER:
                raise ValueError(f"the filter {name} is known and not there yet; there are {', '.join(FILTERS)}")
            if name not in FILTERS:
                raise ValueError(f"{short(name)} is not a filter; {did_you_mean(name, [*FILTERS, *LATER])}")
        return found

    def conditions(self, method: str) -> list[Condition]:
        """What a filter asks of columns' numbers; none for ``manually`` and ``percentage_value``."""
        old = getattr(self, FILTERS[method])
        if method == "unique_value":
            return [Condition("stddev", "threshold", old.eps)]
        if method == "coefficient_of_variation_value_thres":
            return [Condition("coefficient_of_variance", "threshold", old.value_threshold)]
        if method == "outlier_cols":
            return [Condition(f"{round(old.percentile * 100)}%", "threshold", old.upper_threshold, high=False)]
        if method == "iv_value_thres":
            hosts, federated = old.host_thresholds, not old.local_only
            return [Condition("iv", "threshold", old.value_threshold, hosts=hosts, federated=federated)]
        if method == "iv_percentile":
            return [Condition("iv", "top_percentile", old.percentile_threshold, federated=not old.local_only)]
        if method == "iv_top_k":
            return [Condition("iv", "top_k", old.k, federated=not old.local_only)]
        return old.conditions() if isinstance(old, CommonFilterParam) else []

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        found: list[tuple[Loc, str]] = []
        used = {FILTERS[method] for method in self.filter_methods}
        for group in dict.fromkeys([*FILTERS.values(), *LATER.values()]):
            if given.get(group) and group not in used:
                names = [name for name, of in (FILTERS | LATER).items() if of == group]
                found.append(((group,), f"has no effect, as {' or '.join(names)} is not among filter_methods"))
        if self.select_col_indexes == -1 and self.select_names:
            found.append((("select_names",), "has no effect, as select_col_indexes is -1, which is all columns"))
        return found
