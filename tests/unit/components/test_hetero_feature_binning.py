"""HeteroFeatureBinning by guest and hosts against pandas on the joined table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from airflow_provider_fate.errors import ConfigError, DataError, FateError, ProtocolError
from airflow_provider_fate.job.parameters import HeteroFeatureBinningParam
from airflow_provider_fate.job.parameters.base import validate
from airflow_provider_fate.job.sources import render
from airflow_provider_fate.runtime.components.binning import counting, federated
from airflow_provider_fate.runtime.components.binning.own import Binned, coarse
from airflow_provider_fate.runtime.components.hetero_feature_binning import HeteroFeatureBinning
from airflow_provider_fate.runtime.data import Model, Rows
from tests.unit.components.lr_parties import example
from tests.unit.components.running import GUEST, HOST, HOST2, Ran, component, run_component, table

#: FATE's own examples of the module; the fields that all of them share are those of the defaults
EXAMPLES: dict[str, dict[str, Any]] = {
    "quantile": {"method": "quantile", "compress_thres": 10000, "head_size": 10000, "error": 0.001, "bin_names": None},
    "bucket": {"method": "bucket", "category_indexes": None, "category_names": None},
    "large_bin": {"method": "quantile", "bin_num": 100},
    "category": {"method": "quantile", "category_indexes": [0]},
    "skip_statistic": {"method": "quantile", "skip_static": True},
    "woe": {"transform_param": {"transform_cols": [0, 1, 2], "transform_names": None, "transform_type": "woe"}},
    **{
        f"optimal_{metric}": {
            "method": "optimal",
            "optimal_binning_param": {
                "metric_method": metric,
                "min_bin_pct": 0.05,
                "max_bin_pct": 0.8,
                "init_bucket_method": "quantile",
                "init_bin_nums": 100,
                "mixture": True,
            },
        }
        for metric in ("iv", "gini", "chi_square", "chi-square", "ks")
    },
    "optimal_bucket": {
        "method": "optimal",
        "optimal_binning_param": {"metric_method": "iv", "init_bucket_method": "bucket", "init_bin_nums": 100},
    },
    "optimal_impure": {
        "method": "optimal",
        "optimal_binning_param": {"metric_method": "iv", "init_bin_nums": 100, "mixture": False},
    },
}


def parameters(**given: Any) -> HeteroFeatureBinningParam:
    return validate(HeteroFeatureBinningParam, given, lambda loc: render("P", loc))[0]


def tables(y: np.ndarray, guest: np.ndarray, *hosts: np.ndarray, partitions: int = 2) -> dict[Any, dict[str, Rows]]:
    ids = [f"u{number}" for number in range(len(y))]
    found = {GUEST: {"data": table(ids, guest, y, partitions)}}
    for party, x in zip((HOST, HOST2), hosts, strict=False):
        found[party] = {"data": table(ids, x, None, partitions, [f"z{place}" for place in range(x.shape[1])])}
    return found


def run(data: dict[Any, dict[str, Rows]], given: Any = None, **more: Any) -> dict[Any, Ran]:
    made = {party: parameters(**one) for party, one in given.items()} if given else parameters(**more)
    return run_component(HeteroFeatureBinning, made, data)


def fitted(ran: dict[Any, Ran]) -> dict[Any, Ran]:
    assert [one.error for one in ran.values() if one.error] == []
    return ran


def refusal(ran: dict[Any, Ran], party: Any = GUEST) -> str:
    assert ran[party].error is not None
    return str(ran[party].error)


def meta(ran: dict[Any, Ran], party: Any = GUEST) -> dict[str, Any]:
    model = ran[party].outputs.model
    assert model is not None
    return model.meta


def x_of(rows: Rows) -> np.ndarray:
    return np.concatenate([block.x for block in rows.blocks()])


def by_pandas(values: np.ndarray, event: np.ndarray, points: list[float], factor: float = 0.5) -> pd.DataFrame:
    """Counts, WOE and IV of each bin by their definitions; the bin of missing values is the last."""
    bounds = [-np.inf, *points[:-1], np.inf]
    bins = pd.cut(pd.Series(values), bounds, labels=False).fillna(len(points))
    size = len(points) + bool(np.isnan(values).any())
    found = pd.DataFrame({"event": event, "other": ~event}).groupby(bins).sum().reindex(range(size), fill_value=0)
    both = found + factor * found.eq(0).any(axis=1).to_numpy()[:, None]
    rates = both / found.sum()
    found["woe"] = np.log(rates["event"] / rates["other"])
    found["iv"] = (rates["event"] - rates["other"]) * found["woe"]
    return found


def check_column(column: dict[str, Any], values: np.ndarray, event: np.ndarray, points: list[float]) -> None:
    expected = by_pandas(values, event, points)
    assert column["event_count"] == expected["event"].tolist()
    assert column["non_event_count"] == expected["other"].tolist()
    # the same formulas; the last digits differ with the order of additions
    np.testing.assert_allclose(column["woe"], expected["woe"], rtol=1e-12)
    np.testing.assert_allclose(column["iv_array"], expected["iv"], rtol=1e-12)
    assert column["iv"] == pytest.approx(expected["iv"].sum(), rel=1e-12)


def check_all(ran: dict[Any, Ran], y: np.ndarray, parts: dict[Any, np.ndarray]) -> None:
    """All that the guest knows of all columns, by the bounds that each party keeps."""
    for party, x in parts.items():
        for place, (name, own) in enumerate(meta(ran, party)["columns"].items()):
            assert name == meta(ran, party)["features"][place]
            known = own if party == GUEST else meta(ran)["hosts"][str(party)][str(place)]
            assert own["bins"] == known["bins"] == len(own["split_points"]) + own["missing"]
            if party != GUEST:
                assert "iv" not in own
                assert "split_points" not in known
            if "classes" in known:
                for one in known["classes"]:
                    check_column(one, x[:, place], y == one["label"], own["split_points"])
            else:
                check_column(known, x[:, place], y == 1, own["split_points"])


def messy() -> tuple[np.ndarray, np.ndarray]:
    """Labels and columns with missing values, few values, one value and none."""
    random = np.random.default_rng(3)
    y = (random.random(700) < 0.3).astype(float)
    x = np.column_stack(
        [
            random.normal(size=700) + y,
            np.where(random.random(700) < 0.2, np.nan, random.normal(size=700) - y),
            random.integers(0, 4, 700) * 1.5,
            np.full(700, 7.0),
            np.full(700, np.nan),
            np.where(random.random(700) < 0.6, 0.0, random.exponential(size=700)),
        ]
    )
    return y, x


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_fate(name) -> None:
    y, guest, host = example("breast_hetero")
    data = tables(y, guest, host)
    ran = fitted(run(data, **EXAMPLES[name]))
    if name == "skip_statistic":
        assert "iv" not in meta(ran)["columns"]["x0"]
        assert "hosts" not in meta(ran)
        assert x_of(ran[HOST].rows).max() == 9
    else:
        check_all(ran, y, {GUEST: guest, HOST: host})
    if name == "woe":
        assert np.array_equal(x_of(ran[HOST].rows), host)
        assert "known to the guest only" in " ".join(ran[HOST].log)
        new = x_of(ran[GUEST].rows)
        assert np.array_equal(new[:, 3:], guest[:, 3:])
        assert set(new[:, 0]) == set(meta(ran)["columns"]["x0"]["woe"])
    if name.startswith("optimal"):
        for party in (GUEST, HOST):
            columns = meta(ran, party)["columns"].values()
            assert all(2 <= column["bins"] <= 10 for column in columns)
    if name == "category":
        assert meta(ran, HOST)["columns"]["z0"]["split_points"] == np.unique(host[:, 0]).tolist()
        assert meta(ran)["hosts"]["host-10000"]["0"]["category"]


def test_asymmetric_parties() -> None:
    y, guest, host = example("breast_hetero")
    gini = {"method": "optimal", "optimal_binning_param": {"metric_method": "gini", "init_bin_nums": 50}}
    ran = fitted(run(tables(y, guest, host), {GUEST: {"bin_num": 12}, HOST: gini}))
    check_all(ran, y, {GUEST: guest, HOST: host})
    assert meta(ran)["columns"]["x0"]["bins"] == 12
    both = fitted(run(tables(y, host, host), **gini))
    # a host's bins are those that the guest would have found in the same column
    found = [column["split_points"] for column in meta(both)["columns"].values()]
    assert [column["split_points"] for column in meta(ran, HOST)["columns"].values()] == found


def test_old_encryption_is_replaced_and_paillier_gives_the_same() -> None:
    y, guest, host = example("breast_hetero")
    data = tables(y, guest[:, :2], host[:, :2])
    given = {"encrypt_param": {"method": "iterativeAffine", "key_length": 1024}}
    read, notices = validate(HeteroFeatureBinningParam, given, lambda loc: render("P", loc))
    assert (read.encrypt_param.method, read.encrypt_param.key_length) == ("OU", 2048)
    assert any("broken" in notice for notice in notices)
    # an example of FATE's has this length
    assert parameters(encrypt_param={"key_length": 1204}).encrypt_param.key_length == 2048
    with pytest.raises(ConfigError, match="key_length 2056: expected a multiple of 16"):
        parameters(encrypt_param={"key_length": 2056})
    by_paillier = fitted(run(data, encrypt_param={"method": "Paillier"}))
    assert meta(by_paillier) == meta(fitted(run(data)))


def test_missing_values_and_odd_columns_at_two_hosts() -> None:
    y, x = messy()
    other = x[:, ::-1]
    optimal = {"method": "optimal", "optimal_binning_param": {"init_bin_nums": 50}}
    for more in ({}, {"method": "bucket"}, optimal, {"category_indexes": [2]}):
        ran = fitted(run(tables(y, x, x, other), **more))
        check_all(ran, y, {GUEST: x, HOST: x, HOST2: other})
        columns = meta(ran)["columns"]
        assert [columns[name]["missing"] for name in columns] == [False, True, False, False, True, False]
        assert (columns["x3"]["bins"], columns["x4"]["bins"], columns["x4"]["split_points"]) == (1, 1, [])
        known = meta(ran)["hosts"]["host-10000"]
        assert [known[str(place)]["iv"] for place in range(6)] == [column["iv"] for column in columns.values()]
        # missing values have the number after those of the bounds
        new = x_of(ran[HOST].rows)
        assert (new[np.isnan(x[:, 1]), 1] == len(columns["x1"]["split_points"])).all()


def test_any_partitioning_gives_the_same() -> None:
    y, x = messy()
    for more in ({}, {"method": "optimal"}, {"method": "bucket"}):
        one, three = (fitted(run(tables(y, x, x, partitions=parts), **more)) for parts in (1, 3))
        for party in (GUEST, HOST):
            assert meta(one, party) == meta(three, party)
            assert x_of(one[party].rows).tobytes() == x_of(three[party].rows).tobytes()


def test_several_classes() -> None:
    y, guest, host = example("vehicle_scale_hetero")
    ran = fitted(run(tables(y, guest, host)))
    assert meta(ran)["classes"] == [3, 2, 1, 0]
    check_all(ran, y, {GUEST: guest, HOST: host})
    assert set(ran[GUEST].outputs.summary["result"]) == {"0", "1", "2", "3"}


def test_more_classes_than_fit_into_one_number() -> None:
    random = np.random.default_rng(0)
    y, x = random.integers(0, 90, 400) * 1.0, random.normal(size=(400, 2))
    ran = fitted(run(tables(y, x, x), bin_num=3))
    known, own = (columns["classes"] for columns in (meta(ran)["hosts"]["host-10000"]["0"], meta(ran)["columns"]["x0"]))
    assert known == own
    assert [sum(one["event_count"]) for one in known] == [(y == one["label"]).sum() for one in known]
    for one in known[::30]:
        check_column(one, x[:, 0], y == one["label"], meta(ran, HOST)["columns"]["z0"]["split_points"])


def test_labels_of_minus_one_and_one() -> None:
    y, guest, host = example("breast_hetero")
    ran = fitted(run(tables(2 * y - 1, guest[:, :2], host[:, :2])))
    assert meta(ran)["classes"] == [1, -1]
    assert meta(ran)["columns"] == meta(fitted(run(tables(y, guest[:, :2], host[:, :2]))))["columns"]


def test_the_summary_names_the_columns_of_hosts_as_fate_does() -> None:
    y, guest, host = example("breast_hetero")
    ivs = fitted(run(tables(y, guest, host)))[GUEST].outputs.summary["result"]["iv"]
    assert ivs[0][0] == "x2"
    assert ivs[4][0] == "host_10000_7"
    assert [iv for _, iv in ivs] == sorted((iv for _, iv in ivs), reverse=True)


def test_some_columns_and_split_points_of_ones_own() -> None:
    y, guest, host = example("breast_hetero")
    given = {
        GUEST: {
            "bin_indexes": [0],
            "bin_names": ["x3", "nowhere"],
            "split_points_by_index": {"0": [-0.5, 0.5, 4]},
            "split_points_by_col_name": {"x3": [0.0, 1.0]},
            "transform_param": {"transform_cols": [], "transform_names": ["x3"]},
        },
        HOST: {"bin_indexes": None, "bin_names": ["z5"], "transform_param": {"transform_type": None}},
    }
    ran = fitted(run(tables(y, guest, host), given))
    columns = meta(ran)["columns"]
    assert list(columns) == ["x0", "x3"]
    assert meta(ran)["method"] == "given"
    assert list(meta(ran)["hosts"]["host-10000"]) == ["5"]
    check_column(columns["x0"], guest[:, 0], y == 1, [-0.5, 0.5, 4])
    check_column(columns["x3"], guest[:, 3], y == 1, [0, 1])
    new = x_of(ran[GUEST].rows)
    assert np.array_equal(np.delete(new, 3, axis=1), np.delete(guest, 3, axis=1))
    assert new[:, 3].tolist() == (guest[:, 3] > 0).tolist()
    assert np.array_equal(x_of(ran[HOST].rows), host)
    assert "no column nowhere: passed over" in " ".join(ran[GUEST].log)


def test_local_only_sends_nothing() -> None:
    y, guest, host = example("breast_hetero")
    ran = fitted(run(tables(y, guest, host), local_only=True))
    assert "hosts" not in meta(ran)
    for place, column in enumerate(meta(ran)["columns"].values()):
        check_column(column, guest[:, place], y == 1, column["split_points"])
    assert x_of(ran[HOST].rows).max() == 9
    alone = component(HeteroFeatureBinning, parameters(local_only=True)).fit(tables(y, guest)[GUEST], {})
    assert alone.model.meta == meta(ran)


def predicted(model: Model, x: np.ndarray, features: list[str], party: Any = GUEST, **given: Any) -> np.ndarray:
    rows = table([f"n{number}" for number in range(len(x))], x, features=features)
    made = component(HeteroFeatureBinning, parameters(**given), party)
    return x_of(made.predict({"data": rows}, model).data["data"])


def test_new_rows_get_the_bins_that_were_fitted() -> None:
    y, x = messy()
    ran = fitted(run(tables(y, x, x)))
    for party, letter in ((GUEST, "x"), (HOST, "z")):
        model = ran[party].outputs.model
        points = {name: column["split_points"] for name, column in model.meta["columns"].items()}
        new = np.array([[-99, np.nan, 3.1, 8, 5, 0.5], [99, 0.1, -1, 7, np.nan, np.nan]])
        # the columns are found by name, and others are left alone
        names = [f"{letter}{place}" for place in range(6)]
        order = [3, 0, 5, 1, 4, 2]
        found = predicted(model, np.column_stack([new[:, order], [5, 6]]), [*(names[i] for i in order), "more"], party)
        assert found[:, 6].tolist() == [5, 6]
        expected = [
            [len(points[name]) if np.isnan(v) else min(sum(p < v for p in points[name]), max(len(points[name]) - 1, 0))
             for name, v in zip(names, row, strict=True)]
            for row in new
        ]  # fmt: skip
        assert found[:, np.argsort(order)].tolist() == expected


def test_weights_of_evidence_of_new_rows() -> None:
    y, x = messy()
    woe = {"transform_param": {"transform_type": "woe"}}
    ran = fitted(run(tables(y, x, x), **woe))
    model = ran[GUEST].outputs.model
    columns = model.meta["columns"]
    names = list(columns)
    found = predicted(model, np.array([[-99, np.nan, 0, 7, np.nan, 0]]), names, **woe)
    assert found[0, :2].tolist() == [columns["x0"]["woe"][0], columns["x1"]["woe"][-1]]
    with pytest.raises(DataError, match="column x2 of guest-9999's input has missing values, and had none when the"):
        predicted(model, np.array([[-99, 1, np.nan, 7, np.nan, 0]]), names, **woe)
    with pytest.raises(DataError, match="lacks column x5, which the model was fitted with"):
        predicted(model, np.zeros((1, 5)), names[:5], **woe)
    with pytest.raises(DataError, match="expected a model of HeteroFeatureBinning in format 1, found"):
        predicted(Model({"module": "HeteroLR", "format": 1}), np.zeros((1, 5)), names[:5])


def test_need_run() -> None:
    y, guest, host = example("breast_hetero")
    ran = fitted(run(tables(y, guest, host), need_run=False))
    assert np.array_equal(x_of(ran[HOST].rows), host)
    assert ran[GUEST].outputs.model is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"bin_indexes": [10]}, "part_0.bin_indexes: names place 10; the input has 10 features, at 0 to 9"),
        ({"transform_param": {"transform_cols": [12]}}, "transform_cols: names place 12"),
        (
            {"transform_param": {"transform_cols": None, "transform_names": ["a"]}},
            "part_0.transform_param.transform_names: guest-9999's input has no column a",
        ),
        (
            {"bin_indexes": [0], "transform_param": {"transform_cols": [1]}},
            "transform_cols: column x1 of guest-9999 cannot be replaced, as it is not binned",
        ),
        ({"split_points_by_index": {"0": [1.0]}}, "no others; columns x1, x2, x3, x4, x5, x6, x7, x8, x9 of guest"),
        ({"split_points_by_index": {"a": [1.0]}}, "'a' is not the place of one of 10 columns"),
        ({"split_points_by_col_name": {"y": [1.0]}}, "guest-9999's input has no column 'y'"),
        (
            {"split_points_by_col_name": {"x0": [1.0]}, "split_points_by_index": {"0": [1.0]}},
            "the split points of x0 stand in split_points_by_index as well",
        ),
    ],
)
def test_columns_that_are_not_there(given, problem) -> None:
    y, guest, _ = example("breast_hetero")
    with pytest.raises(ConfigError) as error:
        component(HeteroFeatureBinning, parameters(local_only=True, **given)).fit(tables(y, guest)[GUEST], {})
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"method": "optimal", "skip_static": True}, "the method optimal needs the counts that skip_static leaves out"),
        (
            {"skip_static": True, "transform_param": {"transform_type": "woe"}},
            "transform_type woe needs the weights of evidence that skip_static leaves out",
        ),
        (
            {"method": "optimal", "bin_num": 2, "optimal_binning_param": {"max_bin_pct": 0.3}},
            "2 bins of at most 0.3 of the rows cannot hold all rows",
        ),
        (
            {"optimal_binning_param": {"min_bin_pct": 0.5, "max_bin_pct": 0.3}},
            "min_bin_pct 0.5 is above max_bin_pct 0.3",
        ),
        ({"split_points_by_index": {"0": [2.0, 1.0]}}, "must be a list of ascending numbers"),
        ({"encrypt_param": {"method": None}}, "would show the labels to the hosts; expected OU or Paillier"),
        ({"encrypt_param": {"method": "BFV"}}, "expected 'OU' or 'Paillier'"),
        ({"adjustment_factor": 1}, "less than 1"),
        ({"bin_indexes": 3}, "expected"),
        ({"metod": "bucket"}, "unknown parameter; did you mean method?"),
    ],
)
def test_parameters_that_are_refused(given, problem) -> None:
    with pytest.raises(ConfigError) as error:
        parameters(**given)
    assert problem in str(error.value)


def test_parameters_without_effect_are_said() -> None:
    given = {"bin_names": ["x1"], "error": 0.001, "split_points_by_index": {"0": [1]}, "method": "bucket"}
    notices = validate(HeteroFeatureBinningParam, given, lambda loc: render("P", loc))[1]
    assert [notice.split()[0] for notice in notices] == ["P.error", "P.method", "P.bin_names"]


def test_labels_that_do_not_do() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(1500, 1))
    no_label = {GUEST: {"data": table([f"u{i}" for i in range(1500)], x)}, HOST: tables(x[:, 0], x, x)[HOST]}
    assert "the guest's input has no label" in refusal(run(no_label))
    assert "has more than 1000 distinct values" in refusal(run(tables(x[:, 0], x, x)))
    assert "has 1 distinct values" in refusal(run(tables(np.ones(1500), x, x)))
    assert "has missing or infinite values" in refusal(run(tables(np.where(x[:, 0] > 1, np.nan, 1), x, x)))
    three = tables(np.arange(1500) % 3, x, x)
    assert "woe takes labels of two classes, as in FATE; here are 3" in refusal(
        run(three, transform_param={"transform_type": "woe"})
    )
    assert "part_0.method: optimal takes labels of two classes" in refusal(run(three, method="optimal"))
    assert "part_0.method at host-10000: optimal takes" in refusal(run(three, {GUEST: {}, HOST: {"method": "optimal"}}))


def test_rows_that_do_not_do() -> None:
    y, guest, host = example("breast_hetero")
    data = tables(y, guest, host)
    other = {**data, HOST: {"data": table([f"v{number}" for number in range(len(y))], host, None, 2)}}
    assert "not the same ids in the same order; let it come from an Intersection" in refusal(run(other))
    infinite = guest.copy()
    infinite[3, 4] = np.inf
    assert "column x4 of guest-9999's input holds infinity" in refusal(run(tables(y, infinite, host)))
    empty = tables(y[:0], guest[:0], host[:0])
    assert "guest-9999's input has no rows" in refusal(run(empty))
    many = tables(np.arange(20_000) % 2, np.arange(20_000.0)[:, None])[GUEST]
    with pytest.raises(FateError, match="column x0 has more than 10000 distinct values, too many to be categories"):
        component(HeteroFeatureBinning, parameters(category_indexes=-1, local_only=True)).fit(many, {})
    local = parameters(local_only=True, method="optimal")
    with pytest.raises(ConfigError, match="optimal needs the counts that local_only leaves out, so host-10000 cannot"):
        component(HeteroFeatureBinning, local, HOST).fit(data[HOST], {})


def test_a_host_reads_no_labels_off_the_bins_that_it_asks_for() -> None:
    """A bin a row to begin with, as many bins as the labels have runs, of one class each."""
    random = np.random.default_rng(0)
    y = (random.random(300) < 0.4).astype(float)
    x = random.permutation(300)[:, None] * 1.0
    runs = int((np.diff(y[np.argsort(x[:, 0])]) != 0).sum()) + 1
    free = {"min_bin_pct": 0.0, "mixture": False}
    how = {"metric_method": "gini", "init_bucket_method": "bucket", "init_bin_nums": 300, **free}
    asked = {"method": "optimal", "bin_num": runs, "optimal_binning_param": how}
    for own, fewest, mixed in (
        ({"bin_num": 10}, 15, True),
        ({"bin_num": 60, "optimal_binning_param": free}, 5, False),
        ({"bin_num": 60, "optimal_binning_param": {**how, "init_bin_nums": 30}}, 10, False),
    ):
        ran = fitted(run(tables(y, x, x), {GUEST: own, HOST: asked}))
        check_all(ran, y, {GUEST: x, HOST: x})
        (known,) = meta(ran)["hosts"][str(HOST)].values()
        counts = np.column_stack([known["event_count"], known["non_event_count"]])
        assert len(counts) <= min(own["bin_num"], 300 // fewest) and counts.sum(axis=1).min() >= fewest
        assert not mixed or counts.all()
        told = " ".join(ran[GUEST].log)
        assert f"host-10000 asked for optimal binning with metric gini, at most {runs} bins" in told
        assert f"done with at most {own['bin_num']} bins" in told


def test_a_host_that_asks_for_less_gets_less() -> None:
    y, guest, host = example("breast_hetero")
    strict = {"method": "optimal", "bin_num": 4, "optimal_binning_param": {"min_bin_pct": 0.2, "init_bin_nums": 100}}
    loose = {"bin_num": 50, "optimal_binning_param": {"min_bin_pct": 0.0, "mixture": False}}
    ran = fitted(run(tables(y, guest, host), {GUEST: loose, HOST: strict}))
    check_all(ran, y, {GUEST: guest, HOST: host})
    for column in meta(ran)["hosts"][str(HOST)].values():
        assert column["bins"] <= 4 and min(column["event_count"]) and min(column["non_event_count"])
    assert not any("own parameters" in line for line in ran[GUEST].log)


def test_few_rows_stay_together_whatever_their_labels() -> None:
    assert coarse(np.array([3, 1, 1, 7, 0, 2]), 5) == [2, 5]
    assert coarse(np.array([1, 1, 1]), 5) == [2]
    assert coarse(np.array([5, 5, 4]), 5) == [0, 2]
    assert coarse(np.array([1, 2]), 1) == [0, 1] and coarse(np.array([], int), 5) == []


def test_a_peer_that_sends_what_it_should_not(monkeypatch) -> None:
    y, guest, host = example("breast_hetero")
    data = tables(y, guest[:, :2], host[:, :2])
    sums = counting.encrypted_sums
    with monkeypatch.context() as patch:  # a host that leaves out a bin
        patch.setattr(counting, "encrypted_sums", lambda *given: [[None, *group[1:]] for group in sums(*given)])
        assert refusal(run(data)) == "the sums from host-10000 are not those of all rows"
    with monkeypatch.context() as patch:  # a guest that sends zeros, which is no ciphertext
        patch.setattr(counting, "encrypted_labels", lambda rows, *_: [[bytes(256 * count)] for count in rows.counts])
        assert "the labels from guest-9999 cannot be used" in refusal(run(data), HOST)
    column = Binned(0, np.array([1.0, 2.0, 5.0]), True, False)
    assert federated._checked(GUEST, column, [0, 2]) == [0, 2]
    for ends in ([0, 1], [2, 0], [0, 0, 2], [3], []):
        with pytest.raises(ProtocolError, match="put bins together that are not those of a column of 3"):
            federated._checked(GUEST, column, ends)
