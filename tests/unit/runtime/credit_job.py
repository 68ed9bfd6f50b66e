"""A job of many components: what users of credit scores put together."""

from __future__ import annotations

from typing import Any

from airflow_provider_fate.job.conf import Job
from tests.unit.runtime.whole_jobs import TABLES


def credit_job() -> Job:
    """Two models of the breast data, after the steps that a credit score takes."""
    dsl: dict[str, Any] = {
        "reader_0": {"module": "Reader", "output": {"data": ["data"]}},
        "dataio_0": step("DataIO", "reader_0.data"),
        "intersection_0": step("Intersection", "dataio_0.data", model=False),
        "feature_scale_0": step("FeatureScale", "intersection_0.data"),
        "statistics_0": step("DataStatistics", "feature_scale_0.data"),
        "hetero_feature_binning_0": step("HeteroFeatureBinning", "feature_scale_0.data"),
        "hetero_feature_selection_0": step("HeteroFeatureSelection", "feature_scale_0.data"),
        "hetero_lr_0": step("HeteroLR", "hetero_feature_selection_0.data", "train_data"),
        "hetero_secureboost_0": step("HeteroSecureBoost", "hetero_feature_selection_0.data", "train_data"),
        "evaluation_0": {"module": "Evaluation", "input": {"data": {"data": ["hetero_lr_0.data"]}}},
        "evaluation_1": {"module": "Evaluation", "input": {"data": {"data": ["hetero_secureboost_0.data"]}}},
    }
    dsl["hetero_feature_selection_0"]["input"]["isometric_model"] = [
        "hetero_feature_binning_0.model", "statistics_0.model",
    ]  # fmt: skip
    selection = {
        "filter_methods": ["iv_filter", "statistic_filter"],
        "iv_param": {"metrics": "iv", "filter_type": "threshold", "threshold": 0.1},
        "statistic_param": {"metrics": ["stddev"], "filter_type": "threshold", "threshold": 0.01},
    }
    tables: dict[str, Any] = {role: {"reader_0": {"table": table}} for role, table in TABLES.items()}
    tables["guest"]["dataio_0"] = {"with_label": True, "label_name": "y"}
    conf = {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000], "arbiter": [10000]},
        "component_parameters": {
            "common": {
                "hetero_feature_selection_0": selection,
                "hetero_lr_0": {"max_iter": 10, "learning_rate": 0.15, "batch_size": 320},
                "hetero_secureboost_0": {"num_trees": 10, "tree_param": {"max_depth": 3}},
                "evaluation_0": {"eval_type": "binary"},
                "evaluation_1": {"eval_type": "binary"},
            },
            "role": {role: {"0": values} for role, values in tables.items()},
        },
    }
    return Job.parse(conf, {"components": dsl})


def step(module: str, data: str, into: str = "data", *, model: bool = True) -> dict[str, Any]:
    """A component that takes one data and gives one."""
    output = {"data": ["data"], **({"model": ["model"]} if model else {})}
    return {"module": module, "input": {"data": {into: [data]}}, "output": output}
