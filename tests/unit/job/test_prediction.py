"""The predict job that belongs to a train job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party

from .jobs import load

GUEST, HOST = Party("guest", "9999"), Party("host", "10000")
V1_ID = "arbiter-10000#guest-9999#host-10000#model"
V2_ID = "arbiter-10000#guest-9999#host-10000_10001_10002#model"


def stored(name: str) -> dict[str, Any]:
    return json.loads(json.dumps(Job.parse(*load(name)).to_dict()))


def table(name: str) -> dict[str, str]:
    return {"namespace": "new", "name": name}


def v1(**more: Any) -> dict[str, Any]:
    return {
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000]},
        "job_parameters": {"job_type": "predict", "model_id": V1_ID, "model_version": "20261123"},
        "role_parameters": {
            "guest": {"args": {"data": {"eval_data": [table("g")]}}},
            "host": {"args": {"data": {"eval_data": [table("h")]}}},
        },
        **more,
    }


def v2(**more: Any) -> dict[str, Any]:
    return {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10002, 10000, 10001], "arbiter": [10000]},
        "job_parameters": {"common": {"job_type": "predict", "model_id": V2_ID}},
        "component_parameters": {
            "role": {
                "guest": {"0": {"reader_0": {"table": table("g")}}},
                "host": {"0|1|2": {"reader_0": {"table": table("h")}}},
            }
        },
        **more,
    }


def test_the_whole_pipeline_without_naming_it_again() -> None:
    conf = Job.parse(v1())
    assert conf.components == {}
    assert Job.from_dict(conf.to_dict()) == conf
    job = conf.for_prediction(stored("hetero_lr_v1"))
    assert list(job.components) == [
        "reader_train_data_0", "dataio_0", "intersection_0", "hetero_lr_0", "evaluation_0",
    ]  # fmt: skip
    assert job.components["hetero_lr_0"].inputs == {"test_data": ["intersection_0.train"]}
    assert [c.mode for c in job.components.values()] == ["fit", "predict", "fit", "predict", "fit"]
    assert job.components["hetero_lr_0"].model_of == "hetero_lr_0"
    assert job.components["hetero_lr_0"].roles == {"guest", "host"}
    assert str(job.require_table("reader_train_data_0", GUEST)) == "new/g"
    assert str(job.require_table("reader_train_data_0", HOST)) == "new/h"
    assert job.parameters("dataio_0", GUEST).with_label is True
    assert job.parameters("dataio_0", HOST).with_label is False
    assert job.parameters("hetero_lr_0", GUEST).learning_rate == 0.15
    assert (job.model_id, job.model_version) == (V1_ID, "20261123")
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def test_branches_that_only_served_validation_fall_away() -> None:
    job = Job.parse(v2()).for_prediction(stored("hetero_lr_v2"))
    assert list(job.components) == ["reader_0", "dataio_0", "intersection_0", "hetero_lr_0", "evaluation_0"]
    assert job.components["hetero_lr_0"].inputs == {"test_data": ["intersection_0.data"]}
    assert job.model_version is None


def test_a_branch_with_a_fit_of_its_own_for_validation_falls_away() -> None:
    conf, dsl = load("hetero_lr_v2")
    del dsl["components"]["dataio_1"]["input"]["model"]
    job = Job.parse(v2()).for_prediction(Job.parse(conf, dsl).to_dict())
    assert list(job.components) == ["reader_0", "dataio_0", "intersection_0", "hetero_lr_0", "evaluation_0"]


def test_a_test_branch_in_the_train_job_falls_away_and_the_evaluation_stays() -> None:
    conf, dsl = load("hetero_lr_v2")
    dsl["components"]["hetero_lr_1"] = {
        "module": "HeteroLR",
        "input": {"data": {"test_data": ["intersection_1.data"]}, "model": ["hetero_lr_0.model"]},
        "output": {"data": ["data"]},
    }
    dsl["components"]["evaluation_0"]["input"]["data"]["data"].append("hetero_lr_1.data")
    job = Job.parse(v2()).for_prediction(Job.parse(conf, dsl).to_dict())
    assert job.components["evaluation_0"].inputs == {"data": ["hetero_lr_0.data"]}
    assert "hetero_lr_1" not in job.components


def test_a_job_that_ends_in_an_intersection_keeps_it() -> None:
    conf, dsl = load("hetero_lr_v1")
    for name in ("hetero_lr_0", "evaluation_0"):
        del dsl["components"][name], conf["algorithm_parameters"][name]
        for role in ("guest", "host"):
            conf["role_parameters"][role].pop(name, None)
    job = Job.parse(v1()).for_prediction(Job.parse(conf, dsl).to_dict())
    assert list(job.components) == ["reader_train_data_0", "dataio_0", "intersection_0"]


def test_parameters_go_to_the_party_whatever_its_index() -> None:
    job = Job.parse(v2()).for_prediction(stored("hetero_lr_v2"))
    fills = {h: job.parameters("dataio_0", Party("host", h)).missing_fill for h in ("10000", "10001", "10002")}
    assert fills == {"10000": True, "10001": False, "10002": True}


def test_parameters_of_the_predict_conf_lie_over_those_of_training() -> None:
    conf = v2()
    conf["component_parameters"]["common"] = {
        "hetero_lr_0": {"predict_param": {"threshold": 0.7}},
        "dataio_0": {"missing_fill": False, "missing_fill_method": None},
    }
    job = Job.parse(conf).for_prediction(stored("hetero_lr_v2"))
    assert job.parameters("hetero_lr_0", GUEST).predict_param.threshold == 0.7
    assert job.parameters("hetero_lr_0", GUEST).learning_rate == 0.15
    assert job.parameters("dataio_0", Party("host", "10000")).missing_fill is False


def test_tables_of_training_are_not_read_again() -> None:
    conf = v1()
    del conf["role_parameters"]["host"]
    job = Job.parse(conf).for_prediction(stored("hetero_lr_v1"))
    job.check_tables(GUEST)
    with pytest.raises(ConfigError, match="host-10000 has no table"):
        job.check_tables(HOST)


def test_data_given_beside_the_conf() -> None:
    conf = v1()
    del conf["role_parameters"]
    job = (
        Job.parse(conf).with_data({"guest": table("g2"), "host": [table("h2")]}).for_prediction(stored("hetero_lr_v1"))
    )
    assert str(job.require_table("reader_train_data_0", HOST)) == "new/h2"
    after = Job.parse(conf).for_prediction(stored("hetero_lr_v1")).with_data({"host": table("h3")})
    assert str(after.require_table("reader_train_data_0", HOST)) == "new/h3"
    named = Job.parse(conf).with_data({"host": {"reader_train_data_0": table("h4")}})
    assert str(named.for_prediction(stored("hetero_lr_v1")).require_table("reader_train_data_0", HOST)) == "new/h4"


def test_spark_run_is_the_predict_confs() -> None:
    conf = v1()
    conf["job_parameters"]["spark_run"] = {"executor-memory": "3g"}
    job = Job.parse(conf).for_prediction(stored("hetero_lr_v1"))
    assert job.spark_run_for(HOST).flags == {"executor-memory": "3g"}


def test_a_dsl_of_its_own() -> None:
    dsl = {
        "components": {
            "reader_9": {"module": "Reader", "output": {"data": ["data"]}},
            "dataio_0": {
                "module": "DataIO",
                "input": {"data": {"data": ["reader_9.data"]}, "model": ["pipeline.dataio_0.model"]},
                "output": {"data": ["data"]},
            },
            "intersection_0": {
                "module": "Intersection", "input": {"data": {"data": ["dataio_0.data"]}}, "output": {"data": ["data"]},
            },
            "hetero_lr_0": {
                "module": "HeteroLR",
                "input": {"data": {"test_data": ["intersection_0.data"]}, "model": ["pipeline.hetero_lr_0.model"]},
            },
        }
    }  # fmt: skip
    conf = v2(component_parameters={"role": {"guest": {"0": {"reader_9": {"table": table("g")}}}}})
    job = Job.parse(conf, dsl).for_prediction(stored("hetero_lr_v2"))
    assert list(job.components) == ["reader_9", "dataio_0", "intersection_0", "hetero_lr_0"]
    assert job.components["hetero_lr_0"].model_of == "hetero_lr_0"
    assert str(job.require_table("reader_9", GUEST)) == "new/g"
    assert job.parameters("hetero_lr_0", GUEST).learning_rate == 0.15
    dsl["components"]["hetero_lr_0"]["input"]["model"] = ["pipeline.other_0.model"]
    with pytest.raises(ConfigError, match="applies the stored model of its own name"):
        Job.parse(conf, dsl)


def test_a_component_that_the_model_lacks_is_refused() -> None:
    dsl = {
        "components": {
            "reader_0": {"module": "Reader", "output": {"data": ["data"]}},
            "dataio_7": {"module": "DataIO", "input": {"data": {"data": ["reader_0.data"]}}},
        }
    }
    with pytest.raises(ConfigError, match="the model has no DataIO of this name") as caught:
        Job.parse(v2(component_parameters={}), dsl).for_prediction(stored("hetero_lr_v2"))
    assert caught.value.path == "dsl.components.dataio_7"


def test_jobs_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="made arbiter-10000"):
        Job.parse(v1()).for_prediction(stored("hetero_lr_v2"))
    with pytest.raises(ConfigError, match="expected predict"):
        Job.parse(*load("hetero_lr_v1")).for_prediction(stored("hetero_lr_v1"))
    other = v1(role={"guest": [9999], "host": [10000, 10001]}, role_parameters={})
    with pytest.raises(ConfigError, match="the model is of host 10000; this conf has 10000, 10001") as caught:
        Job.parse(other).for_prediction(stored("hetero_lr_v1"))
    assert caught.value.path == "role.host"


def test_an_unknown_component_shows_when_the_components_are_known() -> None:
    conf = v2()
    conf["component_parameters"]["common"] = {"hetero_lr_7": {"max_iter": 3}}
    notices = Job.parse(conf).for_prediction(stored("hetero_lr_v2")).notices
    assert [n for n in notices if n.startswith("component_parameters.common.hetero_lr_7 has no effect")]
    assert not [n for n in Job.parse(v2()).for_prediction(stored("hetero_lr_v2")).notices if "has no effect: the" in n]


def test_the_arbiter_of_fates_predict_confs_is_not_waited_for() -> None:
    conf = v2(initiator={"role": "arbiter", "party_id": 10000})
    conf["job_parameters"]["role"] = {"arbiter": {"0": {"spark_run": {"driver-memory": "1g"}}}}
    job = Job.parse(conf).for_prediction(stored("hetero_lr_v2"))
    assert [str(party) for party in job.parties] == ["guest-9999", "host-10002", "host-10000", "host-10001"]
    assert str(job.initiator) == "guest-9999"
    assert Job.from_dict(job.to_dict()) == job
