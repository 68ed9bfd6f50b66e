"""What FATE's own example jobs have in them, which FATE runs all the same."""

from __future__ import annotations

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.names import TableName
from airflow_provider_fate.job.party import Party

from .jobs import changed, load

GUEST = Party("guest", "9999")


def test_parameters_of_a_component_that_the_dsl_lacks_give_a_notice() -> None:
    """One conf for several DSLs; or, as in FATE's hetero_lr jobs, intersect_0 for what the DSL calls intersection_0."""
    conf, dsl = load("hetero_lr_v1")
    conf["algorithm_parameters"]["intersect_0"] = {"intersect_method": "raw"}
    conf["role_parameters"]["guest"]["evaluation_7"] = {"need_run": [False]}
    job = Job.parse(conf, dsl)
    said = [notice for notice in job.notices if "has no effect: the DSL has no such component" in notice]
    assert [notice.partition(" ")[0] for notice in said] == [
        "algorithm_parameters.intersect_0", "role_parameters.guest.evaluation_7",
    ]  # fmt: skip
    assert said[0].endswith("did you mean intersection_0?")
    assert job == Job.parse(*load("hetero_lr_v1"))
    changed_later = job.with_parameters({"hetero_lr_0": {"max_iter": 3}})
    assert [notice for notice in changed_later.notices if notice in said] == said


def test_parameters_of_an_index_group_give_one_notice() -> None:
    conf, dsl = load("hetero_lr_v2")
    conf["component_parameters"]["role"]["host"]["0|1"] = {"reader_7": {"table": {"name": "a", "namespace": "b"}}}
    notices = [notice for notice in Job.parse(conf, dsl).notices if "reader_7" in notice]
    assert len(notices) == 1
    assert notices[0].startswith("component_parameters.role.host.0|1.reader_7 has no effect")


def test_a_slip_in_a_components_name_is_refused() -> None:
    conf, dsl = load("hetero_lr_v2")
    common = conf["component_parameters"]["common"]
    common["hetero_lrr_0"] = common.pop("hetero_lr_0")
    with pytest.raises(ConfigError, match="did you mean hetero_lr_0?") as caught:
        Job.parse(conf, dsl)
    assert caught.value.path == "component_parameters.common.hetero_lrr_0"


def test_data_of_any_name_in_version_1() -> None:
    conf, dsl = load("hetero_lr_v1")
    for role in ("guest", "host"):
        data = conf["role_parameters"][role]["args"]["data"]
        data["data0"] = data.pop("train_data")
    dsl["components"]["dataio_0"]["input"]["data"]["data"] = ["args.data0"]
    job = Job.parse(conf, dsl)
    assert job.readers == ["reader_data0_0"]
    given = conf["role_parameters"]["guest"]["args"]["data"]["data0"][0]
    assert job.reader_table("reader_data0_0", GUEST) == TableName(given["namespace"], given["name"])
    table = {"namespace": "new", "name": "g"}
    assert job.with_data({"guest": {"data0": table}}).reader_table("reader_data0_0", GUEST) == TableName("new", "g")
    wrong = changed(conf, "role_parameters/guest/args/data/data0/0/name", "../secret")
    with pytest.raises(ConfigError, match="safe name") as caught:
        Job.parse(wrong, dsl)
    assert caught.value.path == "role_parameters.guest.args.data.data0[0].name"
    dsl["components"]["dataio_0"]["input"]["data"]["data"] = ["args.dat0"]
    with pytest.raises(ConfigError, match="did you mean data0?") as caught:
        Job.parse(conf, dsl)
    assert caught.value.path == "dsl.components.dataio_0.input.data.data[0]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processors_per_node", 4), ("task_nodes", 1), ("task_cores_per_node", 5), ("task_memory_per_node", 1024),
        ("align_task_input_data_partition", True), ("federated_comm", "PUSH"),
        ("spark_submit_config", {"driver-memory": "1g", "num-executors": 10}), ("task-cores", 3),
    ],
)  # fmt: skip
def test_job_parameters_of_older_versions_give_a_notice(name: str, value: object) -> None:
    conf, dsl = load("toy")
    notices = Job.parse(changed(conf, f"job_parameters/{name}", value), dsl).notices
    assert [notice for notice in notices if notice.startswith(f"job_parameters.{name} has no effect")]


def test_an_empty_list_of_models_is_none() -> None:
    conf, dsl = load("hetero_lr_v2")
    for name in ("model", "isometric_model"):
        dsl["components"]["hetero_lr_0"]["input"][name] = []
    assert Job.parse(conf, dsl) == Job.parse(*load("hetero_lr_v2"))


def test_need_run_beside_the_module_gives_a_notice() -> None:
    conf, dsl = load("hetero_lr_v2")
    dsl["components"]["intersection_0"]["need_run"] = False
    notices = Job.parse(conf, dsl).notices
    assert [notice for notice in notices if notice.startswith("dsl.components.intersection_0.need_run has no effect")]


def test_one_value_to_replace_is_a_list_of_one() -> None:
    conf, dsl = load("hetero_lr_v2")
    conf["component_parameters"]["common"]["dataio_0"] = {"outlier_impute": "-9999", "missing_impute": -1}
    parameters = Job.parse(conf, dsl).parameters("dataio_0", GUEST)
    assert (parameters.outlier_impute, parameters.missing_impute) == (["-9999"], [-1])


def test_a_train_jobs_dsl_predicts() -> None:
    """FATE's homo_nn suite gives one DSL to the training and to the prediction."""
    conf, dsl = load("hetero_lr_v2")
    trained = Job.parse(conf, dsl)
    job_parameters = {"common": {"job_type": "predict", "model_id": trained.model_id, "model_version": "1"}}
    job = Job.parse({**conf, "job_parameters": job_parameters}, dsl).for_prediction(trained.to_dict())
    assert job.components["hetero_lr_0"].inputs == {"test_data": ["intersection_0.data"]}
    assert job.components["hetero_lr_0"].mode == "predict"
    assert [n for n in job.notices if n.startswith("dsl.components.hetero_lr_0.input.data.train_data is taken as")]


def test_modules_in_other_letters_are_the_same() -> None:
    """FATE's own suites train a HomoSecureBoost and predict with a HomoSecureboost."""
    conf, dsl = load("hetero_lr_v2")
    dsl["components"]["hetero_lr_0"]["module"] = "Heterolr"
    assert Job.parse(conf, dsl) == Job.parse(*load("hetero_lr_v2"))


def test_curves_are_not_watched_during_training() -> None:
    """FATE's hetero_feature_selection suite has auc and roc for a SecureBoost."""
    conf, dsl = load("hetero_lr_v2")
    conf["component_parameters"]["common"]["hetero_lr_0"].update(metrics=["auc", "roc"], validation_freqs=1)
    job = Job.parse(conf, dsl)
    assert job.parameters("hetero_lr_0", GUEST).metrics == ["auc"]
    path = "component_parameters.common.hetero_lr_0.metrics roc: is not watched"
    assert len([notice for notice in job.notices if notice.startswith(path)]) == 1


def test_parties_without_a_part_in_a_component_need_not_have_its_parameters() -> None:
    """In version 1 guest and host have their own, and the arbiter what is common."""
    conf, dsl = load("hetero_lr_v1")
    for role in ("guest", "host"):
        conf["role_parameters"][role]["intersection_0"] = {"only_output_key": [False], "intersect_method": ["raw"]}
    conf["algorithm_parameters"]["intersection_0"] = {"intersect_method": "rsa"}
    assert Job.parse(conf, dsl).parameters("intersection_0", GUEST).intersect_method
    conf["role_parameters"]["host"]["intersection_0"]["intersect_method"] = ["rsa"]
    with pytest.raises(ConfigError, match="must be the same for all parties"):
        Job.parse(conf, dsl)
