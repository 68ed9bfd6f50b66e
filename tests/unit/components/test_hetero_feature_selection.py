"""HeteroFeatureSelection by guest and hosts against the same rules on the joined table."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from airflow_provider_fate.errors import ConfigError, DataError, FateError
from airflow_provider_fate.job.parameters import (
    DataStatisticsParam,
    HeteroFastSecureBoostParam,
    HeteroFeatureBinningParam,
    HeteroFeatureSelectionParam,
)
from airflow_provider_fate.job.parameters.base import validate
from airflow_provider_fate.job.sources import render
from airflow_provider_fate.runtime.components.binning.own import large
from airflow_provider_fate.runtime.components.data_statistics import DataStatistics
from airflow_provider_fate.runtime.components.hetero_feature_binning import HeteroFeatureBinning
from airflow_provider_fate.runtime.components.hetero_feature_selection import HeteroFeatureSelection
from airflow_provider_fate.runtime.components.hetero_secureboost import HeteroFastSecureBoost
from airflow_provider_fate.runtime.components.selection.picking import Names, largest_counts
from airflow_provider_fate.runtime.data import Model, Rows
from tests.parties import run_parties
from tests.unit.components import boost_parties
from tests.unit.components.lr_parties import example
from tests.unit.components.running import GUEST, HOST, HOST2, Ran, component, run_component, table

PARTIES = (GUEST, HOST, HOST2)
STATISTICS = ["95%", "coefficient_of_variance", "stddev"]
#: what several of FATE's own examples of the module have in common
OLD = {
    "unique_param": {"eps": 1e-6},
    "iv_value_param": {"value_threshold": 0.1},
    "iv_percentile_param": {"percentile_threshold": 0.9},
    "variance_coe_param": {"value_threshold": 0.3},
    "outlier_param": {"percentile": 0.95, "upper_threshold": 2.0},
}
ALL_OLD = [
    "manually", "unique_value", "iv_value_thres", "coefficient_of_variation_value_thres", "iv_percentile",
    "outlier_cols",
]  # fmt: skip
NONE_OUT: dict[str, Any] = {"manually_param": {"filter_out_indexes": [], "filter_out_names": []}}
EXAMPLES: dict[str, dict[str, Any]] = {
    "iv_selection": {
        "select_names": [],
        "filter_methods": ["iv_value_thres"],
        "iv_value_param": {"value_threshold": 1},
    },
    "iv_top_k": {"filter_methods": ["iv_top_k"], "iv_top_k_param": {"k": 7, "local_only": False}},
    "manually": {
        "filter_methods": ALL_OLD,
        **OLD,
        "manually_param": {"filter_out_indexes": [0, 1, 2], "filter_out_names": ["x3"]},
    },
    "manually_left": {
        "filter_methods": ["manually"],
        "manually_param": {
            "filter_out_indexes": None,
            "filter_out_names": None,
            "left_col_indexes": [0, 1, 2],
            "left_col_names": ["x3"],
        },
    },
    "multi_host": {"filter_methods": ALL_OLD[1:], **OLD},
    "select_cols": {"select_col_indexes": [1, 2, 3, 4], "filter_methods": ALL_OLD, **OLD, **NONE_OUT},
    "select_col_names": {
        "select_col_indexes": [],
        "select_names": ["x0", "x1", "x3"],
        "filter_methods": ALL_OLD,
        **OLD,
        **NONE_OUT,
    },
    "single_predict": {"filter_methods": ["manually", "iv_value_thres", "iv_percentile"], **OLD, **NONE_OUT},
    "percentage_value": {"filter_methods": ["percentage_value"], "percentage_value_param": {"upper_pct": 0.8}},
    # without its psi_filter
    "multi_iso": {
        "filter_methods": ["iv_filter", "statistic_filter", "hetero_sbt_filter"],
        "iv_param": {
            "metrics": ["iv", "iv", "iv"],
            "filter_type": ["threshold", "top_k", "top_percentile"],
            "take_high": True,
            "threshold": [0.03, 15, 0.7],
            "host_thresholds": [[0.15], None, None],
            "select_federated": True,
        },
        "statistic_param": {
            "metrics": ["skewness", "skewness", "kurtosis", "median"],
            "filter_type": "threshold",
            "take_high": [True, False, True, True],
            "threshold": [-10, 10, -1.5, -1.5],
        },
        "sbt_param": {
            "metrics": "feature_importance", "filter_type": "threshold", "take_high": True, "threshold": 0.03,
        },
    },
}  # fmt: skip


def parameters(**given: Any) -> HeteroFeatureSelectionParam:
    return validate(HeteroFeatureSelectionParam, given, lambda loc: render("P", loc))[0]


@lru_cache(maxsize=4)
def prepared(name: str = "breast_hetero", hosts: int = 1, **binning: Any) -> tuple[dict, dict, dict]:
    """Data, tables and the models of binning and statistics."""
    y, *own = example(name)
    own = [own[0], own[1], own[1][:, ::-1].copy()][: hosts + 1]
    ids = [f"u{number}" for number in range(len(y))]
    data = {
        party: {"data": table(ids, x, y if party == GUEST else None, 2)}
        for party, x in zip(PARTIES, own, strict=False)
    }
    ran = run_component(HeteroFeatureBinning, HeteroFeatureBinningParam(**binning), data)
    assert [one.error for one in ran.values() if one.error] == []
    models = {}
    for party, rows in data.items():
        statistics = component(DataStatistics, DataStatisticsParam(statistics=STATISTICS), party).fit(rows, {})
        models[party] = {"isometric_model": ran[party].outputs.model, "isometric_model_1": statistics.model}
    return dict(zip(data, own, strict=True)), data, models


def select(data: dict[Any, dict[str, Rows]], models: dict[Any, dict[str, Model]], given: Any) -> dict[Any, Ran]:
    def play(party: Any) -> Any:
        def run(federation: Any) -> Ran:
            ran = Ran()
            made = parameters(**(given[party] if GUEST in given else given))
            try:
                part = component(HeteroFeatureSelection, made, party, ran.log, federation)
                ran.outputs = part.fit(data[party], models.get(party, {}))
            except FateError as error:
                ran.error = error
            return ran

        return run

    return run_parties({party: play(party) for party in data}, timeout=60)


def left(ran: dict[Any, Ran]) -> dict[Any, list[str]]:
    assert [one.error for one in ran.values() if one.error] == []
    for one in ran.values():
        assert list(one.rows.schema.features) == one.outputs.model.meta["left"]
    return {party: one.outputs.model.meta["left"] for party, one in ran.items()}


@pytest.mark.parametrize("category", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_no_column_stays_or_goes_by_the_label_of_a_row(category: bool, classes: int) -> None:
    """Columns of a host that are 1 in one row and 0 in all others, and one that is an honest category."""
    random = np.random.default_rng(5)
    y = random.integers(0, classes, 120) * 1.0
    x = np.column_stack([np.eye(120)[:, :20], random.integers(0, 2, 120), random.integers(0, 60, 120) // 59 + y])
    ids = [f"u{number}" for number in range(120)]
    data = {GUEST: {"data": table(ids, random.normal(size=(120, 2)), y)}, HOST: {"data": table(ids, x)}}
    binning = HeteroFeatureBinningParam(category_indexes=-1 if category else None)
    ran = run_component(HeteroFeatureBinning, binning, data)
    models = {party: {"isometric_model": one.outputs.model} for party, one in ran.items()}
    given = {"filter_methods": ["iv_value_thres"], "iv_value_param": {"value_threshold": 0.0, "host_thresholds": 1e-9}}
    found = select(data, models, given)
    assert not [name for name in left(found)[HOST] if name in [f"x{place}" for place in range(20)]]
    assert "x21" in left(found)[HOST]
    (said,) = [line for line in found[GUEST].log if "without bins" in line]
    assert said.startswith("information values of columns 0, 1, 2") and "19" in said and "of host-10000" in said


def test_small_bins_are_put_together() -> None:
    counts = np.array([[10, 5], [1, 0], [20, 20], [0, 0], [1, 1]])
    assert large(counts, False).tolist() == [[10, 5], [22, 21], [0, 0]]
    assert large(counts, True).tolist() == [[12, 6], [20, 20], [0, 0]]
    assert large(counts[[0, 2, 3]], False) is None
    assert large(np.array([[1, 0], [0, 1]]), True).tolist() == [[1, 1]]


def importance(splits: dict[str, int]) -> Model:
    """A model of HeteroSecureBoost whose columns split so often."""
    entries = [{"feature": name, "split": often} for name, often in splits.items()]
    return Model({"module": "HeteroSecureBoost", "feature_importance": entries})


class Plain:
    """The rules on a table of all parties' columns: a row a column, with its numbers."""

    def __init__(self, own: dict[Any, np.ndarray], models: dict[Any, dict[str, Model]], selected: Any = None) -> None:
        rows = []
        guest = models[GUEST]["isometric_model"].meta
        for party, x in own.items():
            for place in range(x.shape[1]):
                column = guest["columns"][f"x{place}"] if party == GUEST else guest["hosts"][str(party)][str(place)]
                values = pd.Series(x[:, place])
                rows.append(
                    {
                        "party": party,
                        "name": f"x{place}",
                        "place": place,
                        "iv": column["iv"],
                        "stddev": values.std(ddof=0),
                        "coefficient_of_variance": values.std(ddof=0) / max(abs(values.mean()), 1e-8),
                        "95%": np.quantile(x[:, place], 0.95, method="inverted_cdf"),
                        "median": np.quantile(x[:, place], 0.5, method="inverted_cdf"),
                        "skewness": values.skew() * (len(x) - 2) / math.sqrt(len(x) * (len(x) - 1)),
                        "kurtosis": ((values - values.mean()) ** 4).mean() / values.var(ddof=0) ** 2 - 3,
                        "share": values.value_counts().max() / len(x),
                    }
                )
        self.all = pd.DataFrame(rows)
        self.at = self.all if selected is None else self.all[selected(self.all)]
        self.looked_at = self.at.index

    def keep(self, stays: pd.Series, by: str = "place", high: bool = True) -> None:
        """At least one of each party."""
        found = []
        for _, columns in self.at.groupby("party", sort=False):
            ok = columns[stays[columns.index]]
            found.append(ok if len(ok) else columns.sort_values(by, ascending=not high).iloc[:1])
        self.at = pd.concat(found)

    def top(self, count: int) -> None:
        self.keep(self.at["iv"].rank(ascending=False, method="first") <= count, "iv")

    def left(self) -> dict[Any, list[str]]:
        stays = self.all.drop(self.looked_at.difference(self.at.index))
        return {party: rows["name"].tolist() for party, rows in stays.groupby("party", sort=False)}

    def old(self, threshold: float = 0.1) -> None:
        self.keep(self.at["stddev"] >= 1e-6, "stddev")
        self.keep(self.at["iv"] >= threshold, "iv")
        self.keep(self.at["coefficient_of_variance"] >= 0.3, "coefficient_of_variance")
        self.top(math.ceil(0.9 * len(self.at)))
        self.keep(self.at["95%"] <= 2, "95%", high=False)


def expected(name: str, own: dict[Any, np.ndarray], models: dict[Any, dict[str, Model]]) -> dict[Any, list[str]]:
    plain = Plain(own, models)
    if name == "iv_selection":
        plain.keep(plain.at["iv"] >= 1, "iv")
    elif name == "iv_top_k":
        plain.top(7)
    elif name == "manually":
        plain.keep(plain.at["place"] > 3)
        plain.old()
    elif name == "manually_left":
        plain.keep(plain.at["place"] <= 3)
    elif name == "multi_host":
        plain.old()
    elif name == "select_cols":
        plain = Plain(own, models, lambda t: t["place"].isin([1, 2, 3, 4]))
        plain.old()
    elif name == "select_col_names":
        plain = Plain(own, models, lambda t: t["name"].isin(["x0", "x1", "x3"]))
        plain.old()
    elif name == "single_predict":
        plain.keep(plain.at["iv"] >= 0.1, "iv")
        plain.top(math.ceil(0.9 * len(plain.at)))
    elif name == "percentage_value":
        plain.keep(plain.at["share"] <= 0.8)
    else:
        bound = np.where(plain.at["party"] == GUEST, 0.03, 0.15)
        plain.keep(plain.at["iv"] >= bound, "iv")
        plain.top(15)
        plain.top(math.ceil(0.7 * len(plain.at)))
        plain.keep(plain.at["skewness"] >= -10)
        plain.keep(plain.at["skewness"] <= 10)
        plain.keep(plain.at["kurtosis"] >= -1.5)
        plain.keep(plain.at["median"] >= -1.5)
        plain.keep(plain.at["place"] < 8, high=False)
    return plain.left()


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_fate(name, hosts) -> None:
    own, data, models = prepared(hosts=hosts)
    if name == "multi_iso":
        trees = importance({f"x{i}": 2 for i in range(8)})
        models = {party: {**of, "isometric_model_2": trees} for party, of in models.items()}
    ran = select(data, models, EXAMPLES[name])
    found = left(ran)
    assert found == expected(name, own, models)
    if not name.startswith(("manually_left", "percentage_value", "select_col")):
        assert 0 < sum(map(len, found.values())) < sum(x.shape[1] for x in own.values())
    for party, x in own.items():
        kept = [int(column[1:]) for column in found[party]]
        assert np.array_equal(np.concatenate([block.x for block in ran[party].rows.blocks()]), x[:, kept])


def test_the_guest_keeps_what_it_decided_and_a_host_learns_no_number() -> None:
    own, data, models = prepared()
    ran = select(data, models, EXAMPLES["iv_selection"])
    guest, host = (ran[party].outputs.model.meta["filters"][0] for party in (GUEST, HOST))
    assert guest["values"]["x0"] == models[GUEST]["isometric_model"].meta["columns"]["x0"]["iv"]
    assert [f"x{place}" for place in guest["hosts"]["host-10000"]["left"]] == host["left"]
    assert set(host) == {"filter", "metric", "type", "threshold", "left"}
    assert any(line.endswith("columns of host-10000 stay") for line in ran[GUEST].log)


def test_several_classes_are_merged() -> None:
    own, data, models = prepared("vehicle_scale_hetero")
    guest = models[GUEST]["isometric_model"].meta
    ivs = {
        party: [
            [one["iv"] for one in column["classes"]]
            for column in (guest["columns"] if party == GUEST else guest["hosts"]["host-10000"]).values()
        ]
        for party in own
    }
    for merge, function in (("average", np.mean), ("max", np.max), ("min", np.min)):
        values = {party: function(np.array(of), axis=1) for party, of in ivs.items()}
        bound = float(np.median(np.concatenate(list(values.values()))))
        given = {"filter_methods": ["iv_filter"], "iv_param": {"threshold": bound, "mul_class_merge_type": merge}}
        found = left(select(data, models, given))
        assert found == {party: [f"x{at}" for at in np.flatnonzero(of >= bound)] for party, of in values.items()}


@pytest.mark.parametrize("bounds", [[0.5, 9], 1])
def test_thresholds_of_hosts(bounds) -> None:
    own, data, models = prepared(hosts=2)
    given = {"threshold": 3, "host_thresholds": bounds}
    plain = Plain(own, models)
    bounds = bounds if isinstance(bounds, list) else [1, 1]
    bound = plain.at["party"].map({GUEST: 3, HOST: bounds[0], HOST2: bounds[1]})
    plain.keep(plain.at["iv"] >= bound, "iv")
    assert left(select(data, models, {"filter_methods": ["iv_filter"], "iv_param": given})) == plain.left()
    old = {"value_threshold": 3, "host_thresholds": given["host_thresholds"]}
    assert left(select(data, models, {"filter_methods": ["iv_value_thres"], "iv_value_param": old})) == plain.left()
    three = {"filter_methods": ["iv_filter"], "iv_param": {**given, "host_thresholds": [1, 2, 3]}}
    assert "iv_filter has 3 host_thresholds for 2 hosts" in str(select(data, models, three)[GUEST].error)


def test_only_the_guest_selects() -> None:
    own, data, models = prepared()
    for given in (
        {"filter_methods": ["iv_filter"], "iv_param": {"threshold": 3, "select_federated": False}},
        {"filter_methods": ["iv_value_thres"], "iv_value_param": {"value_threshold": 3, "local_only": True}},
    ):
        plain = Plain({GUEST: own[GUEST]}, models)
        plain.keep(plain.at["iv"] >= 3, "iv")
        found = left(select(data, models, given))
        assert found == {**plain.left(), HOST: [f"x{place}" for place in range(20)]}


def test_one_column_is_left_at_least() -> None:
    _, data, models = prepared()
    best = {"filter_methods": ["iv_filter"], "iv_param": {"threshold": 1000}}
    assert left(select(data, models, best)) == {GUEST: ["x2"], HOST: ["x7"]}
    first = {"filter_methods": ["manually"], "manually_param": {"left_col_names": ["nowhere"]}}
    assert left(select(data, {}, first)) == {GUEST: ["x0"], HOST: ["x0"]}
    low = {"filter_methods": ["outlier_cols"], "outlier_param": {"percentile": 0.95, "upper_threshold": -9}}
    bounds = np.quantile(example("breast_hetero")[1], 0.95, axis=0, method="inverted_cdf")
    assert left(select(data, models, low))[GUEST] == [f"x{bounds.argmin()}"]


def test_statistics_are_computed_where_no_model_has_them() -> None:
    _, data, models = prepared()
    given = {"filter_methods": ["unique_value", "outlier_cols", "statistic_filter"], **OLD}
    given["statistic_param"] = {"metrics": "skewness", "threshold": 0.5}
    assert left(select(data, {}, given)) == left(select(data, models, given))


def test_columns_that_are_not_looked_at_stay() -> None:
    _, data, models = prepared()
    given = {
        GUEST: {"select_col_indexes": [], "filter_methods": ["iv_filter"], "iv_param": {"threshold": 1000}},
        HOST: {"select_col_indexes": [0, 1, 99], "filter_methods": ["iv_filter"], "iv_param": {"threshold": 1000}},
    }
    found = left(select(data, models, given))
    assert found[GUEST] == [f"x{place}" for place in range(10)]
    assert found[HOST] == [f"x{place}" for place in range(20) if place != 1]


def test_columns_without_bins_say_nothing() -> None:
    _, data, models = prepared()
    some = HeteroFeatureBinningParam(bin_indexes=[0, 1, 2])
    ran = run_component(HeteroFeatureBinning, some, data)
    binned = {party: {"isometric_model": ran[party].outputs.model} for party in data}
    given = {"filter_methods": ["iv_filter"], "iv_param": {"threshold": 0.01}}
    assert left(select(data, binned, given)) == {GUEST: ["x0", "x1", "x2"], HOST: ["x0", "x1", "x2"]}


def test_anonymous_names() -> None:
    _, data, _ = prepared()
    out = ["guest_9999_x1", "host_10000_3", "host_10001_x5", "guest_9999_x77", "x2"]
    given = {"filter_methods": ["manually"], "use_anonymous": True, "manually_param": {"filter_out_names": out}}
    found = left(select(data, {}, given))
    assert [f"x{place}" for place in range(20) if f"x{place}" not in found[HOST]] == ["x3"]
    assert [f"x{place}" for place in range(10) if f"x{place}" not in found[GUEST]] == ["x1"]
    assert Names(HOST, ["a", "b"], True).of([1, -1, 5], ["host_10000_x0", "guest_9999_x0"]) == {"a", "b"}


def test_frequent_values_over_partitions() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(900, 4))
    x[:, 0] = np.where(np.arange(900) < 600, 5.0, x[:, 0])
    x[:, 1] = np.where(random.random(900) < 0.3, 2.0, x[:, 1])
    x[:, 2] = np.where(random.random(900) < 0.8, np.nan, x[:, 2])  # missing is no value
    x[:300, 3] = 1.0
    ids = [f"u{number}" for number in range(900)]
    for parts in (1, 7):
        counts = largest_counts(table(ids, x, None, parts), range(4), 0.25)
        assert counts == [600, (x[:, 1] == 2).sum(), 0, 300]
        given = parameters(filter_methods=["percentage_value"], percentage_value_param={"upper_pct": 1 / 3})
        ran = component(HeteroFeatureSelection, given).fit({"data": table(ids, x, None, parts)}, {})
        assert ran.model.meta["left"] == ["x1", "x2", "x3"]


def test_new_rows() -> None:
    _, data, models = prepared()
    model = select(data, models, EXAMPLES["manually_left"])[GUEST].outputs.model
    part = component(HeteroFeatureSelection, parameters())
    rows = table(["a"], np.array([[9, 3, 1, 0, 2.0]]), features=["more", "x3", "x1", "x0", "x2"])
    found = part.predict({"data": rows}, model).data["data"]
    assert (found.schema.features, found.blocks()[0].x.tolist()) == (("x0", "x1", "x2", "x3"), [[0, 1, 2, 3]])
    with pytest.raises(DataError, match="lacks column x3, which the model was fitted with"):
        part.predict({"data": table(["a"], np.zeros((1, 3)))}, model)
    with pytest.raises(DataError, match="expected a model of HeteroFeatureSelection in format 1, found"):
        part.predict({"data": rows}, Model({"module": "DataIO", "format": 1}))


def test_need_run() -> None:
    _, data, _ = prepared()
    ran = select(data, {}, {"need_run": False, "filter_methods": ["iv_filter"]})
    assert ran[HOST].rows is data[HOST]["data"]


def test_models_that_do_not_do() -> None:
    _, data, models = prepared()
    iv = {"filter_methods": ["iv_filter"]}

    def error(some: dict[Any, dict[str, Model]], given: dict[str, Any]) -> str:
        return str(select({GUEST: data[GUEST], HOST: data[HOST]}, some, given)[GUEST].error)

    assert "has no model of HeteroFeatureBinning, which the filter iv_filter needs" in error({}, iv)
    assert "has no model of HeteroSecureBoost" in error({}, {"filter_methods": ["hetero_sbt_filter"]})
    assert "has no model of HeteroFastSecureBoost" in error({}, {"filter_methods": ["hetero_fast_sbt_filter"]})
    twice = {party: {"isometric_model": of["isometric_model"], "isometric_model_1": of["isometric_model"]}
             for party, of in models.items()}  # fmt: skip
    assert "there are two models of HeteroFeatureBinning; keep one" in error(twice, iv)
    more = {"filter_methods": ["statistic_filter"], "statistic_param": {"metrics": "5%"}}
    assert "has no statistic 5% of column x0" in error(models, more)

    def without(**more: Any) -> dict[Any, dict[str, Model]]:
        return {p: {"isometric_model": Model(of["isometric_model"].meta | more)} for p, of in models.items()}

    assert "knows none of host-10000; run it without local_only" in error(without(hosts={}), iv)
    assert "left out; run it with skip_static false" in error(without(classes=None), iv)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"filter_methods": ["psi_filter"]}, "the filter psi_filter is known and not there yet"),
        ({"filter_methods": ["vif_filter"]}, "the filter vif_filter is known and not there yet"),
        ({"filter_methods": ["correlation_filter"]}, "known and not there yet"),
        ({"filter_methods": ["homo_sbt_filter"]}, "known and not there yet"),
        ({"filter_methods": ["iv_filtr"]}, "is not a filter; did you mean iv_filter?"),
        ({"iv_param": {"take_high": False}}, "columns of high information values stay"),
        ({"iv_param": {"threshold": [1, 2]}}, "threshold is a list, so metrics must be a list"),
        ({"iv_param": {"metrics": ["iv"], "threshold": [1, 2]}}, "threshold has 2 entries and metrics has 1"),
        ({"iv_param": {"metrics": ["iv"], "host_thresholds": [1, 2]}}, "host_thresholds has 2 entries and"),
        ({"iv_param": {"metrics": "woe"}}, "expected 'iv'"),
        ({"iv_param": {"filter_type": "top_k", "threshold": 0.5}}, "top_k takes a whole number of columns"),
        ({"iv_param": {"filter_type": "top_percentile", "threshold": 7}}, "top_percentile takes a share from 0 to 1"),
        ({"statistic_param": {"metrics": "meen"}}, "did you mean mean?"),
        ({"percentage_value_param": {"upper_pct": 0.05}}, "greater than or equal to 0.1"),
        (
            {"manually_param": {"filter_out_names": ["a"], "left_col_names": ["b"]}},
            "give either the columns that go (filter_out_...) or those that stay",
        ),
    ],
)
def test_parameters_that_are_refused(given, problem) -> None:
    with pytest.raises(ConfigError) as error:
        parameters(**given)
    assert problem in str(error.value)


SPLITS = {
    GUEST: importance({"x0": 5, "x1": 4, "x2": 1}),
    HOST: importance({"x3": 9, "x4": 2}),
    HOST2: importance({"x5": 3, "x6": 2, "x7": 1}),
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"threshold": 2}, [["x0", "x1"], ["x3", "x4"], ["x5", "x6"]]),
        # a host applies its own threshold itself
        ({"threshold": 2, "host_thresholds": [3, 1]}, [["x0", "x1"], ["x3"], ["x5", "x6", "x7"]]),
        ({"threshold": 2, "host_thresholds": 3}, [["x0", "x1"], ["x3"], ["x5"]]),
        ({"threshold": 2, "host_thresholds": [None, 3]}, [["x0", "x1"], ["x3", "x4"], ["x5"]]),
        # all of a host's columns stay, as in FATE 1.5
        ({"threshold": 2, "select_federated": False}, [["x0", "x1"], None, None]),
        # each party the best of its own
        ({"filter_type": "top_k", "threshold": 1}, [["x0"], ["x3"], ["x5"]]),
        ({"filter_type": "top_k", "threshold": 1, "select_federated": False}, [["x0"], None, None]),
        ({"filter_type": "top_percentile", "threshold": 0.15}, [["x0", "x1"], ["x3", "x4", "x0"], ["x5", "x6", "x7"]]),
    ],
    ids=str,
)
def test_importance_is_each_party_s_own(given: dict[str, Any], expected: list[list[str] | None]) -> None:
    own, data, _ = prepared(hosts=2)
    models = {party: {"isometric_model": model} for party, model in SPLITS.items()}
    found = left(select(data, models, {"filter_methods": ["hetero_sbt_filter"], "sbt_param": given}))
    for (party, x), names in zip(own.items(), expected, strict=True):
        every = [f"x{place}" for place in range(x.shape[1])]
        assert found[party] == [name for name in every if names is None or name in names]


def test_as_many_thresholds_as_hosts() -> None:
    _, data, _ = prepared(hosts=2)
    models = {party: {"isometric_model": model} for party, model in SPLITS.items()}
    three = {"filter_methods": ["hetero_sbt_filter"], "sbt_param": {"host_thresholds": [1, 2, 3]}}
    error = select(data, models, three)[HOST].error
    assert "hetero_sbt_filter has 3 host_thresholds for 2 hosts" in str(error)


@pytest.mark.parametrize("kind", ["split", "gain"])
def test_importance_of_trees_that_were_trained(kind: str) -> None:
    """hetero_fast_sbt_filter after HeteroFastSecureBoost: splits, or gains, which a host does not have."""
    run = boost_parties.Run(
        HeteroFastSecureBoostParam(
            num_trees=4, bin_num=8, encrypt_param=boost_parties.WEAK, tree_param={"feature_importance_type": kind}
        ),
        boost_parties.hetero("breast_hetero"),
    )
    run.kind = HeteroFastSecureBoost
    run.fit()
    numbers: dict[Any, dict[str, float]] = {GUEST: {}, HOST: {}}
    for tree in boost_parties.trees_of(run):
        for node in tree:
            if "party" in node:
                party = GUEST if node["party"] == str(GUEST) else HOST
                more = node["gain"] if (kind, party) == ("gain", GUEST) else 1
                numbers[party][node["feature"]] = numbers[party].get(node["feature"], 0) + more
    data = {party: {"data": own["train_data"]} for party, own in run.data.items()}
    models = {party: {"isometric_model": Model(run.meta(party))} for party in data}
    bound = sorted(numbers[GUEST].values())[-2]
    given = {"filter_methods": ["hetero_fast_sbt_filter"], "sbt_param": {"threshold": bound, "host_thresholds": 1}}
    ran = select(data, models, given)
    found = left(ran)
    for party, least in ((GUEST, bound), (HOST, 1)):
        names = [name for name in data[party]["data"].schema.features if numbers[party].get(name, 0) >= least]
        assert found[party] == names
        filtered = ran[party].outputs.model.meta["filters"][0]
        assert filtered["values"] == pytest.approx(
            {name: numbers[party].get(name, 0) for name in filtered["values"]}, rel=1e-9
        )
    assert 2 <= len(found[GUEST]) < len(numbers[GUEST])
    said = [line for line in ran[HOST].log if "gains are known to the guest only" in line]
    assert len(said) == (kind == "gain")


def test_groups_without_their_filter_are_said() -> None:
    notices = validate(HeteroFeatureSelectionParam, EXAMPLES["single_predict"], lambda loc: render("P", loc))[1]
    assert [notice.split()[0] for notice in notices] == ["P.unique_param", "P.variance_coe_param", "P.outlier_param"]
