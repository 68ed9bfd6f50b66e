"""Whole jobs with binning, statistics and selection: models go from one component into another, and are used again."""

from __future__ import annotations

from typing import Any

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.runtime.storage.models import ModelStore
from tests.unit.runtime.whole_jobs import GUEST, HOST, TABLES, Parties

BINNING = {"method": "quantile", "bin_num": 10, "transform_param": {"transform_cols": -1, "transform_type": "bin_num"}}
#: as in FATE's example "selection"
SELECTION = {
    "select_col_indexes": -1,
    "select_names": [],
    "filter_methods": [
        "manually", "unique_value", "iv_value_thres", "coefficient_of_variation_value_thres", "iv_percentile",
        "outlier_cols",
    ],
    "unique_param": {"eps": 1e-6},
    "iv_value_param": {"value_threshold": 1.0},
    "iv_percentile_param": {"percentile_threshold": 0.9},
    "variance_coe_param": {"value_threshold": 0.3},
    "outlier_param": {"percentile": 0.95, "upper_threshold": 2.0},
    "manually_param": {"filter_out_indexes": [], "filter_out_names": []},
}  # fmt: skip


def component(module: str, source: str, *models: str, data: str = "data") -> dict[str, Any]:
    return {
        "module": module,
        "input": {"data": {data: [f"{source}.data"]}, **({"isometric_model": list(models)} if models else {})},
        "output": {"data": ["data"], **({"model": ["model"]} if module != "Intersection" else {})},
    }


def conf(parameters: dict[str, Any]) -> dict[str, Any]:
    roles = {
        role: {"0": {"reader_0": {"table": TABLES[role]}, "dataio_0": {"with_label": role == "guest"}}}
        for role in ("guest", "host")
    }
    return {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000], "arbiter": [10000]},
        "component_parameters": {"common": parameters, "role": roles},
    }


def steps() -> dict[str, Any]:
    models = ("hetero_feature_binning_0.model", "statistic_0.model")
    return {
        "reader_0": {"module": "Reader", "output": {"data": ["data"]}},
        "dataio_0": component("DataIO", "reader_0"),
        "intersection_0": component("Intersection", "dataio_0"),
        "hetero_feature_binning_0": component("HeteroFeatureBinning", "intersection_0"),
        "statistic_0": component("DataStatistics", "intersection_0"),
        "hetero_feature_selection_0": component("HeteroFeatureSelection", "intersection_0", *models),
        "hetero_lr_0": component("HeteroLR", "hetero_feature_selection_0", data="train_data"),
    }


def test_select_train_and_predict(breast: Parties) -> None:
    parameters = {
        "hetero_feature_binning_0": BINNING,
        "statistic_0": {"statistics": ["95%", "coefficient_of_variance", "stddev"]},
        "hetero_feature_selection_0": SELECTION,
        "hetero_lr_0": {"max_iter": 3, "learning_rate": 0.15, "early_stop": "weight_diff"},
    }
    train = Job.parse(conf(parameters), {"components": steps()})
    breast.run(train)
    left = {}
    for party in (GUEST, HOST):
        models = ModelStore(breast.storage(party), party).load(train.model_id, "job1")
        left[party] = models["hetero_feature_selection_0"].meta["left"]
        assert set(models["hetero_lr_0"].meta["weights"]) == set(left[party])
    assert 3 <= len(left[GUEST]) < 10
    assert 3 <= len(left[HOST]) < 20
    common = {"job_type": "predict", "model_id": train.model_id, "model_version": "job1"}
    predict = {**conf({}), "component_parameters": {}, "job_parameters": {"common": common}}
    stored = ModelStore(breast.storage(GUEST), GUEST).describe(train.model_id, "job1")["job"]
    status = breast.run(Job.parse(predict).with_data(TABLES).for_prediction(stored), "job2")
    assert status[GUEST]["result"]["count"] == 569


def test_columns_that_trees_split_by_stay(breast: Parties) -> None:
    parameters = {
        "hetero_secure_boost_0": {"num_trees": 2, "tree_param": {"max_depth": 2}},
        "hetero_feature_selection_0": {
            "filter_methods": ["hetero_sbt_filter"],
            "sbt_param": {"metrics": "feature_importance", "filter_type": "threshold", "threshold": 0.03},
        },
    }
    dsl = {
        **{name: part for name, part in steps().items() if name in ("reader_0", "dataio_0", "intersection_0")},
        "hetero_secure_boost_0": component("HeteroSecureBoost", "intersection_0", data="train_data"),
        "hetero_feature_selection_0": component(
            "HeteroFeatureSelection", "intersection_0", "hetero_secure_boost_0.model"
        ),
    }
    trees = Job.parse(conf(parameters), {"components": dsl})
    breast.run(trees)
    all_used = 0
    for party in (GUEST, HOST):
        models = ModelStore(breast.storage(party), party).load(trees.model_id, "job1")
        importance = models["hetero_secure_boost_0"].meta["feature_importance"]
        used = {one["feature"] for one in importance if one["split"]}
        # one column stays where no tree splits by any
        assert set(models["hetero_feature_selection_0"].meta["left"]) == (used or {"x0"})
        all_used += len(used)
    assert all_used > 1
