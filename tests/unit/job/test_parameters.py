"""The parameters of each module: FATE's names, values and limits."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.job_parameters import JobParameters
from airflow_provider_fate.job.modules import MODULES
from airflow_provider_fate.job.parameters import (
    DataIOParam,
    DataStatisticsParam,
    DataTransformParam,
    EvaluationParam,
    FeatureScaleParam,
    HeteroFastSecureBoostParam,
    HeteroFeatureBinningParam,
    HeteroFeatureSelectionParam,
    HeteroLinRParam,
    HeteroLRParam,
    HeteroPoissonParam,
    HeteroSecureBoostParam,
    HomoLRParam,
    IntersectParam,
)
from airflow_provider_fate.job.parameters.base import model_in, validate
from airflow_provider_fate.job.sources import render

KINDS: dict[str, type[BaseModel]] = {
    "lr": HeteroLRParam,
    "io": DataIOParam,
    "transform": DataTransformParam,
    "intersect": IntersectParam,
    "evaluation": EvaluationParam,
    "statistics": DataStatisticsParam,
    "scale": FeatureScaleParam,
    "binning": HeteroFeatureBinningParam,
    "selection": HeteroFeatureSelectionParam,
    "linr": HeteroLinRParam,
    "poisson": HeteroPoissonParam,
    "homo": HomoLRParam,
    "boost": HeteroSecureBoostParam,
    "fast": HeteroFastSecureBoostParam,
}


def read(kind: str, given: dict[str, Any]) -> tuple[Any, list[str]]:
    return validate(KINDS[kind], given, lambda loc: render("P", loc))


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.mark.parametrize(
    ("kind", "path", "given", "expected"),
    [
        ("lr", "penalty", "l1", "L1"),
        ("lr", "penalty", None, None),
        ("lr", "penalty", "none", None),
        ("lr", "optimizer", "Adam", "adam"),
        ("lr", "batch_size", 10, 10),
        ("lr", "batch_size", "320", 320),
        ("lr", "learning_rate", "0.15", 0.15),
        ("lr", "learning_rate", 1, 1.0),
        ("lr", "max_iter", 30.0, 30),
        ("lr", "init_param.fit_intercept", "False", False),
        ("lr", "init_param.init_method", "random_normal", "random_normal"),
        ("lr", "encrypt_param.method", "paillier", "Paillier"),
        ("lr", "encrypt_param.method", "bfv", "BFV"),
        ("lr", "encrypt_param.method", "iterativeAffine", "BFV"),
        ("lr", "encrypt_param.method", "IterativeAffine", "BFV"),
        ("lr", "encrypt_param.method", "randomIterativeAffine", "BFV"),
        ("lr", "encrypt_param.key_length", 3072, 3072),
        ("lr", "encrypt_param.key_length", 1024, 2048),
        ("lr", "metrics", [], ["auc", "ks"]),
        ("lr", "metrics", ["ACC", "auc"], ["accuracy", "auc"]),
        ("lr", "validation_freqs", [1, 5], [1, 5]),
        ("lr", "floating_point_precision", None, None),
        ("lr", "predict_param.threshold", 0.3, 0.3),
        ("io", "default_value", [1, "x", 2.5], [1, "x", 2.5]),
        ("io", "missing_impute", ["", None, -999], ["", None, -999]),
        ("io", "label_type", "STR", "str"),
        ("transform", "with_label", True, True),
        ("intersect", "intersect_method", "RSA", "rsa"),
        ("intersect", "rsa_params.hash_method", "sm3", "sm3"),
        ("intersect", "cardinality_only", True, True),
        ("evaluation", "eval_type", "MULTI", "multi"),
        ("evaluation", "pos_label", "yes", "yes"),
        ("evaluation", "pos_label", 1.5, 1.5),
        ("evaluation", "metrics", ["auc", "AUC", "f1"], ["auc", "f1_score"]),
    ],
)
def test_a_value_is_read(kind: str, path: str, given: object, expected: object) -> None:
    value, _ = read(kind, nested(path, given))
    for key in path.split("."):
        value = getattr(value, key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("kind", "path", "given", "says"),
    [
        ("lr", "penalty", "L3", "expected 'L1' or 'L2'"),
        ("lr", "optimizer", "sqn", "known and not there yet"),
        ("lr", "optimizer", "rmspop", "did you mean rmsprop?"),
        ("lr", "batch_size", 9, "at least 10"),
        ("lr", "batch_size", 0, "at least 10"),
        ("lr", "batch_size", 10.5, "expected integer"),
        ("lr", "alpha", -0.1, "greater than or equal to 0"),
        ("lr", "alpha", True, "expected number"),
        ("lr", "learning_rate", 0, "greater than 0"),
        ("lr", "max_iter", 0, "greater than or equal to 1"),
        ("lr", "max_iter", "ten", "expected integer"),
        ("lr", "decay_sqrt", 1, "expected boolean"),
        ("lr", "early_stop", "dif", "did you mean diff?"),
        ("lr", "multi_class", "ovo", "expected 'ovr'"),
        ("lr", "floating_point_precision", 64, "less than or equal to 63"),
        ("lr", "init_param", "zeros", "expected"),
        ("lr", "init_param.init_metod", "zeros", "did you mean init_method?"),
        ("lr", "encrypt_param.method", None, "would show the labels"),
        ("lr", "encrypt_param.method", "rsa", "expected 'BFV' or 'Paillier'"),
        ("lr", "encrypt_param.key_length", 512, "greater than or equal to 1024"),
        ("lr", "stepwise_param.need_stepwise", True, "known and not there yet"),
        ("lr", "predict_param.threshold", 1.5, "less than or equal to 1"),
        ("lr", "metrics", "auc", "expected list"),
        ("lr", "metrics", ["ks", "acuracy"], "did you mean accuracy?"),
        ("lr", "metrics", ["roc"], "is not a metric for a validation"),
        ("lr", "validation_freqs", 0, "greater than or equal to 1"),
        ("lr", "callback_param.callbacks", ["EarlyStoping"], "did you mean EarlyStopping?"),
        ("io", "input_format", "tags", "did you mean tag"),
        ("io", "delimitor", "", "at least 1 character"),
        ("io", "with_match_id", True, "unknown parameter"),
        ("io", "missing_fill_method", "median", "expected 'min', 'max', 'mean' or 'designated'"),
        ("io", "default_value", {"a": 1}, "expected a number, text or boolean"),
        ("io", "label_name", "", "at least 1 character"),
        ("transform", "with_match_id", True, "known and not there yet"),
        ("intersect", "intersect_method", "psi", "expected"),
        ("intersect", "join_method", "left_join", "known and not there yet"),
        ("intersect", "run_cache", True, "known and not there yet"),
        ("intersect", "intersect_cache_param.use_cache", True, "known and not there yet"),
        ("intersect", "intersect_cache_param", {"use_cache": True, "id_type": "tag1", "encrypt_type": "tag2"},
         "the cache of an intersection is known and not there yet"),
        ("intersect", "repeated_id_process", True, "known and not there yet"),
        ("intersect", "rsa_params.hash_method", "md5", "expected 'sha256'"),
        ("evaluation", "eval_type", "clustering", "known and not there yet"),
        ("evaluation", "metrics", ["aucc"], "did you mean auc?"),
        ("evaluation", "metrics", ["rmse"], "root_mean_squared_error is not a metric for eval_type binary"),
        ("evaluation", "pos_label", True, "expected"),
    ],
)
def test_a_value_is_refused_with_its_path(kind: str, path: str, given: object, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(kind, nested(path, given))
    assert caught.value.path.startswith(f"P.{path}")
    assert says in caught.value.problem


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("lr", {"masked_rate": 3}, "P.masked_rate has no effect here"),
        ("lr", {"encrypted_mode_calculator_param": {"mode": "fast"}}, "P.encrypted_mode_calculator_param.mode has no"),
        ("lr", {"penalty": None, "alpha": 0.5}, "P.alpha has no effect"),
        ("lr", {"encrypt_param": {"method": "IterativeAffine"}}, "P.encrypt_param.method IterativeAffine"),
        ("lr", {"encrypt_param": {"method": "Paillier", "key_length": 1024}}, "raised to 2048"),
        ("lr", {"encrypt_param": {"method": "Paillier", "key_length": 1024, "allow_weak_key": True}}, "a weak key"),
        ("lr", {"encrypt_param": {"key_length": 2048}}, "BFV has fixed parameters"),
        ("lr", {"callback_param": {"callbacks": ["ModelCheckpoint"]}}, "checkpoints are always kept"),
        ("lr", {"callback_param": {"validation_freqs": 2}}, "P.callback_param.validation_freqs has no effect"),
        ("lr", {"callback_param": {"early_stopping_rounds": 2}}, "EarlyStopping is not among callbacks"),
        ("io", {"delimitor": ";"}, "P.delimitor has no effect, as input_format is dense"),
        ("io", {"output_format": "sparse"}, "P.output_format has no effect here: features are kept as dense"),
        ("io", {"data_type": "str"}, "P.data_type is str: features are kept as numbers"),
        ("io", {"label_type": "str", "with_label": True}, "P.label_type is str: labels are kept as numbers"),
        ("io", {"exclusive_data_type": {"x0": "str"}}, "P.exclusive_data_type has no effect here"),
        ("io", {"missing_fill_method": "mean"}, "missing_fill is false"),
        ("intersect", {"intersect_method": "raw"}, "raw: is carried out as ECDH on Curve25519"),
        ("intersect", {"random_bit": 64}, "P.random_bit has no effect here"),
        ("intersect", {"intersect_cache_param": {"id_type": "tag1"}}, "P.intersect_cache_param.id_type has no effect"),
        ("intersect", {"cardinality_only": True, "cardinality_method": "rsa"}, "which is exact"),
    ],
)
def test_what_has_no_effect_or_is_replaced_gives_a_notice(kind: str, given: dict[str, Any], says: str) -> None:
    _, notices = read(kind, given)
    assert len([notice for notice in notices if says in notice]) == 1


@pytest.mark.parametrize(
    ("module", "path", "why"),
    [
        ("HeteroLR", "eps", "tol counts"),
        ("HeteroLR", "converge_func", "early_stop counts"),
        ("HeteroLR", "intersect_0", "it is another component"),
        ("HomoLR", "eps", "tol counts"),
        ("HomoLR", "converge_func", "early_stop counts"),
        ("HeteroSecureBoost", "predict_param.with_proba", "predictions always have their probability"),
        ("HeteroFeatureBinning", "cols", "bin_indexes and bin_names count"),
        ("HeteroFeatureSelection", "local_only", "each filter has its own"),
        ("HeteroFeatureSelection", "percentage_value_param.error", "shares are exact"),
        ("DataIO", "with_value", "tag_with_value counts"),
    ],
)
def test_names_that_fate_passes_over_are_left_out_with_a_notice(module: str, path: str, why: str) -> None:
    """As FATE 1.4's own confs give them."""
    model = MODULES[module].parameters
    found, notices = validate(model, nested(path, {"a": [1]}), lambda loc: render("P", loc))
    assert found == model()
    assert f"P.{path} has no effect, as in FATE: {why}" in notices
    group = path.rpartition(".")[0]
    assert not [notice for notice in notices if not notice.startswith((f"P.{path} ", f"P.{group} "))]
    with pytest.raises(ConfigError, match="unknown parameter"):
        validate(model, nested(f"{path}s", 1), lambda loc: render("P", loc))


def test_a_name_that_another_version_passes_over_stays_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown parameter; did you mean tag_with_value"):
        read("transform", {"with_value": True})


POINTS = {"split_points_by_col_name": {"x0": [1, 2]}}


@pytest.mark.parametrize(
    ("kind", "given", "beside", "why"),
    [
        ("io", {"missing_impute": [-1]}, {"missing_fill": True}, "missing_fill is false"),
        ("io", {"default_value": 3}, {"missing_fill": True}, "missing_fill is false"),
        (
            "io",
            {"missing_fill": True, "missing_fill_method": "mean", "default_value": 3},
            {"missing_fill_method": "designated"},
            "missing_fill_method is mean",
        ),
        ("io", {"outlier_replace_method": "mean"}, {"outlier_replace": True}, "outlier_replace is false"),
        ("io", {"outlier_impute": [9]}, {"outlier_replace": True}, "outlier_replace is false"),
        ("io", {"outlier_replace_value": 9}, {"outlier_replace": True}, "outlier_replace is false"),
        (
            "io",
            {"outlier_replace": True, "outlier_replace_method": "max", "outlier_replace_value": 9},
            {"outlier_replace_method": None},
            "outlier_replace_method is max",
        ),
        ("io", {"label_name": "z"}, {"with_label": True}, "with_label is false"),
        ("io", {"label_name": "z"}, {"input_format": "sparse"}, "with_label is false"),
        (
            "io",
            {"input_format": "sparse", "tag_with_value": True},
            {"input_format": "tag"},
            "input_format is sparse",
        ),
        (
            "io",
            {"input_format": "tag", "tag_value_delimitor": ";"},
            {"tag_with_value": True},
            "tag_with_value is false",
        ),
        ("statistics", {"column_names": ["x0"]}, {"column_indexes": []}, "column_indexes is -1"),
        ("scale", {"method": "min_max_scale", "with_mean": False}, {"method": "standard_scale"}, "min_max_scale"),
        ("scale", {"method": "min_max_scale", "with_std": False}, {"method": "standard_scale"}, "min_max_scale"),
        ("scale", {"scale_names": ["x0"]}, {"scale_col_indexes": [1]}, "all features are scaled"),
        ("evaluation", {"eval_type": "multi", "pos_label": 2}, {"eval_type": "binary"}, "eval_type is multi"),
        ("evaluation", {"unfold_multi_result": True}, {"eval_type": "multi"}, "eval_type is binary"),
        ("lr", {"sqn_param": {"memory_M": 3}}, None, "the optimizer is rmsprop"),
        ("lr", {"stepwise_param": {"score_name": "BIC"}}, None, "need_stepwise is false"),
        ("lr", {"init_param": {"init_const": 3}}, {"init_param": {"init_const": 3, "init_method": "const"}}, "init_me"),
        ("lr", {"metrics": ["ks"]}, {"validation_freqs": 2}, "validation_freqs is null"),
        ("lr", {"use_first_metric_only": True}, {"validation_freqs": 2, "early_stopping_rounds": 1}, "early_stopping_"),
        ("homo", {"mu": 0.3}, {"use_proximal": True}, "use_proximal is false"),
        ("homo", {"metrics": ["ks"]}, {"validation_freqs": 2}, "validation_freqs is null"),
        ("boost", {"guest_depth": 3}, {"boosting_strategy": "layered"}, "boosting_strategy is std"),
        ("boost", {"host_depth": 2}, {"work_mode": "layered"}, "boosting_strategy is std"),
        ("fast", {"host_depth": 2}, {"work_mode": "layered"}, "boosting_strategy is mix"),
        ("boost", {"tree_num_per_party": 3}, {"boosting_strategy": "mix"}, "boosting_strategy is std"),
        ("boost", {"boosting_strategy": "mix", "complete_secure": 1}, {"boosting_strategy": "std"}, "are the guest's"),
        (
            "boost",
            {"boosting_strategy": "layered", "tree_param": {"max_depth": 4}},
            {"complete_secure": 1},
            "layered has guest_depth",
        ),
        ("boost", {"top_rate": 0.3}, {"run_goss": True}, "run_goss is false"),
        ("boost", {"other_rate": 0.3}, {"run_goss": True}, "run_goss is false"),
        ("boost", {"metrics": ["ks"]}, {"validation_freqs": 2}, "validation_freqs is null"),
        ("boost", {"zero_as_missing": True}, {"use_missing": True}, "use_missing is false"),
        ("boost", {"n_iter_no_change": False, "tol": 1}, {"n_iter_no_change": True}, "n_iter_no_change is false"),
        (
            "boost",
            {"objective_param": {"objective": "cross_entropy", "params": [1.5]}},
            {"task_type": "regression", "objective_param": {"objective": "fair", "params": [1.5]}},
            "objective is cross_entropy",
        ),
        (
            "boost",
            {
                "task_type": "regression",
                "objective_param": {"objective": "lse"},
                "predict_param": {"threshold": 0.3},
            },
            {"task_type": "classification", "objective_param": {"objective": "cross_entropy"}},
            "a regression predicts the number",
        ),
        ("binning", {"optimal_binning_param": {"init_bin_nums": 9}}, {"method": "optimal"}, "method is quantile"),
        (
            "binning",
            {"category_names": ["a"], "category_indexes": -1},
            {"category_indexes": [0]},
            "category_indexes is",
        ),
        ("binning", {"bin_num": 5, **POINTS}, {"split_points_by_col_name": None}, "split points are given"),
        ("binning", {"method": "bucket", **POINTS}, {"split_points_by_col_name": None}, "split points are given"),
        (
            "binning",
            {"method": "optimal", "optimal_binning_param": {"metric_method": "ks", "max_bin_pct": 0.5}},
            {"optimal_binning_param": {"metric_method": "iv", "max_bin_pct": 0.5}},
            "metric_method is ks",
        ),
        ("binning", {"bin_names": ["x0"]}, {"bin_indexes": []}, "bin_indexes is -1"),
        (
            "binning",
            {"transform_param": {"transform_names": ["x0"]}},
            {"transform_param": {"transform_names": ["x0"], "transform_cols": None}},
            "transform_cols is -1",
        ),
        (
            "selection",
            {"filter_methods": ["iv_filter"], "iv_param": {"filter_type": "top_k", "host_thresholds": 2}},
            {"iv_param": {"host_thresholds": 2}},
            "no condition compares",
        ),
        (
            "selection",
            {"filter_methods": ["hetero_sbt_filter"], "sbt_param": {"select_federated": False, "host_thresholds": 2}},
            {"sbt_param": {"host_thresholds": 2}},
            "no condition compares",
        ),
        (
            "selection",
            {"filter_methods": ["iv_value_thres"], "iv_value_param": {"local_only": True, "host_thresholds": 2}},
            {"iv_value_param": {"host_thresholds": 2}},
            "local_only is true",
        ),
    ],
)
def test_what_only_counts_beside_another_value_gives_a_notice_without_it(
    kind: str, given: dict[str, Any], beside: dict[str, Any] | None, why: str
) -> None:
    _, notices = read(kind, given)
    assert len([notice for notice in notices if " has no effect, as " in notice and why in notice]) == 1
    if beside is not None:
        _, notices = read(kind, given | beside)
        assert [notice for notice in notices if why in notice] == []


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ({"statistic_param": {"host_thresholds": 2.0}}, "statistic_param.host_thresholds has no effect, as in FATE"),
        ({"statistic_param": {"select_federated": True}}, "statistic_param.select_federated has no effect, as in FATE"),
        ({"sbt_param": {"filter_type": "top_k", "threshold": 3}}, "sbt_param.filter_type top_k: each party takes"),
        (
            {"sbt_param": {"filter_type": "top_percentile", "threshold": 0.3}},
            "sbt_param.filter_type top_percentile: each party takes",
        ),
    ],
)
def test_filters_that_are_each_party_s_own_say_so(group: dict[str, Any], says: str) -> None:
    methods = ["statistic_filter", "hetero_sbt_filter", "hetero_fast_sbt_filter"]
    _, notices = read("selection", {"filter_methods": methods, **group})
    assert len([notice for notice in notices if says in notice]) == 1
    assert len(notices) == 1


def test_names_of_fate_1_5() -> None:
    assert read("boost", {"subsample_random_seed": 3})[0].random_seed == 3
    assert read("fast", {"subsample_random_seed": None, "random_seed": 5})[0].random_seed == 5
    _, notices = read("poisson", {"predict_param": {"threshold": 0.4}})
    assert len([notice for notice in notices if "P.predict_param has no effect here" in notice]) == 1
    assert read("poisson", {"predict_param": {"threshold": 0.5}})[1] == []


#: whose groups say that their filter is not there, and what is always each party's own
SAYS_MORE = ("selection",)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SAYS_MORE])
def test_defaults_give_no_notice_even_when_spelt_out(kind: str) -> None:
    parameters, notices = read(kind, {})
    assert notices == []
    given = parameters.model_dump(mode="json")
    if kind in ("lr", "linr", "poisson"):
        del given["encrypt_param"]["key_length"]
    if kind == "fast":
        del given["boosting_strategy"]  # what work_mode came to
    again, notices = read(kind, given)
    assert (again, notices) == (parameters, [])


def test_a_weak_key_is_kept_when_asked_for_by_name() -> None:
    given = {"encrypt_param": {"method": "Paillier", "key_length": 1024, "allow_weak_key": True}}
    assert read("lr", given)[0].encrypt_param.key_length == 1024


def test_fates_defaults_of_hetero_lr() -> None:
    defaults = HeteroLRParam().model_dump()
    for name, value in {
        "penalty": "L2", "tol": 1e-4, "alpha": 1.0, "optimizer": "rmsprop", "batch_size": -1, "shuffle": True,
        "batch_strategy": "full", "learning_rate": 0.01, "max_iter": 100, "early_stop": "diff", "decay": 1,
        "decay_sqrt": True, "multi_class": "ovr", "metrics": ["auc", "ks"], "floating_point_precision": 23,
    }.items():  # fmt: skip
        assert defaults[name] == value, name


def test_early_stopping_needs_validation() -> None:
    with pytest.raises(ConfigError, match="early_stopping_rounds needs validation_freqs"):
        read("lr", {"early_stopping_rounds": 3})
    assert read("lr", {"early_stopping_rounds": 3, "validation_freqs": 1})[0].early_stopping_rounds == 3


def test_metrics_that_are_not_named_are_all_of_the_type() -> None:
    assert read("evaluation", {"eval_type": "multi"})[0].chosen_metrics == ("accuracy", "precision", "recall")
    assert read("evaluation", {})[0].chosen_metrics[:2] == ("auc", "ks")
    chosen = read("evaluation", {"eval_type": "regression", "metrics": ["rmse", "msle"]})[0].chosen_metrics
    assert chosen == ("root_mean_squared_error", "mean_squared_log_error")


def _models() -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    left: list[type[BaseModel]] = [JobParameters, *(spec.parameters for spec in MODULES.values())]
    while left:
        model = left.pop()
        if model not in found:
            found.append(model)
            left += [m for f in model.model_fields.values() if (m := model_in(f.annotation)) is not None]
    return found


@pytest.mark.parametrize("model", _models(), ids=lambda model: model.__name__)
def test_needs_name_fields(model: type[BaseModel]) -> None:
    for need in getattr(model, "needs", ()):
        for name in need.fields:
            at: type[BaseModel] | None = model
            for key in name.split("."):
                assert at is not None and key in at.model_fields, name
                at = model_in(at.model_fields[key].annotation)


@pytest.mark.parametrize("model", _models(), ids=lambda model: model.__name__)
def test_every_field_is_described_and_unknown_ones_are_forbidden(model: type[BaseModel]) -> None:
    assert model.model_config["extra"] == "forbid"
    assert model.__doc__
    for name, field in model.model_fields.items():
        assert field.description and field.description.endswith("."), name
