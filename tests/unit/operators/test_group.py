"""Task groups of parties, and the choice of the best parameter set."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import DAG

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators.group import best_of, fate_predict, fate_train, fate_tune, parties_of

CONF = {"role": {"host": [10000, 10001], "guest": [9999], "arbiter": [10000]}}
PARTIES = ["guest-9999", "host-10000", "host-10001", "arbiter-10000"]


def test_parties_of_a_job():
    assert parties_of({"conf": CONF, "dsl": {}}) == PARTIES
    assert parties_of({"runtime_conf": CONF}) == PARTIES
    with pytest.raises(ConfigError, match="name the parties: parties="):
        parties_of({"conf": {}})
    with pytest.raises(ConfigError, match="no file 'no.json' beside"):
        parties_of("no.json")


@pytest.mark.parametrize("content", ["{'a': 1}", '{"role": {{ params.role }}}', "[]", ""])
def test_a_job_file_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "job.json").write_text(content)
    (tmp_path / "good.json").write_text(json.dumps(CONF))
    with DAG("d", schedule=None, template_searchpath=str(tmp_path)):
        assert parties_of({"conf": "good.json"}) == PARTIES
        for job in ("job.json", {"conf": "job.json"}, tmp_path / "job.json"):
            with pytest.raises(ConfigError, match=r"^job \(.*/job.json\): .*JSON.*name the parties"):
                fate_train("lr", job)


def test_one_task_for_each_party():
    with DAG("d", schedule=None) as dag:
        group = fate_train("lr", {"conf": CONF, "dsl": {}}, retries=2, spark_conn_id="big")
    assert sorted(dag.task_ids) == ["lr.arbiter_10000", "lr.guest_9999", "lr.host_10000", "lr.host_10001"]
    host = dag.get_task("lr.host_10001")
    assert (host.role, host.party_id, host.retries, host.spark_conn_id) == ("host", "10001", 2, "big")
    assert host.job == {"conf": CONF, "dsl": {}}
    assert group.guest.task_id == "lr.guest_9999"
    assert group.operators[Party("host", "10001")] is host


def test_arguments_of_single_parties():
    parties = {"host-10000": {"storage_conn_id": "telco", "wait_timeout": 5}, "guest-9999": None}
    with DAG("d", schedule=None) as dag:
        fate_predict("p", "model", parties, storage_conn_id="bank")
    assert dag.get_task("p.guest_9999").storage_conn_id == "bank"
    assert dag.get_task("p.host_10000").storage_conn_id == "telco"
    assert dag.get_task("p.host_10000").wait_timeout == 5
    with DAG("d", schedule=None), pytest.raises(ConfigError, match="names no party"):
        fate_predict("p", "model", [])


def test_the_result_is_the_guests_or_that_of_who_is_here():
    with DAG("d", schedule=None):
        assert fate_train("a", {"conf": CONF}).result.operator.task_id == "a.guest_9999"
        assert fate_train("b", {"conf": CONF}, parties=["host-10000"]).result.operator.task_id == "b.host_10000"
        assert list(fate_train("c", {"conf": CONF}, parties="host-10000").operators) == [Party("host", "10000")]


def test_tuning_is_mapped_over_the_sets():
    with DAG("d", schedule=None) as dag:
        tune = fate_tune("tune", {"conf": CONF}, [{"a": {}}, {"b": {}}], metric="auc", at_once=3)
    guest = dag.get_task("tune.parameter_set.train.guest_9999")
    assert guest.max_active_tis_per_dagrun == 3
    assert next(guest.iter_mapped_task_groups()).group_id == "tune.parameter_set"
    assert tune.best.operator.task_id == "tune.choose_best"
    assert dag.get_task("tune.choose_best").upstream_task_ids == {guest.task_id}


def result(name: str, **metrics: object) -> dict:
    return {"model_version": name, "metrics": {"evaluation_0": metrics}}


def test_the_best():
    results = [result("a", auc=0.8, rmse=3), result("b", auc=0.9, rmse=5), result("c", auc=0.9, rmse=4)]
    best = best_of(results, "auc")
    assert (best["model_version"], best["position"], best["value"]) == ("b", 1, 0.9)
    assert best_of(results, "rmse", greater_is_better=False)["value"] == 3
    assert best_of([result("nan", auc=float("nan")), *results], "auc")["position"] == 2
    values = (("x", 0.9), ("y", 0.7))
    nested = [result(name, train={"auc": value}, validate={"auc": 1 - value}) for name, value in values]
    assert best_of(nested, "validate.auc")["model_version"] == "y"
    assert best_of(nested, "train.auc")["model_version"] == "x"


def test_no_such_metric():
    with pytest.raises(ConfigError, match="no result has 'acu'; there are: auc, ks"):
        best_of([result("a", auc=0.8, ks=0.5)], "acu")
    with pytest.raises(ConfigError, match="no result has 'auc' of evaluation_1"):
        best_of([result("a", auc=0.8)], "auc", component="evaluation_1")
    with pytest.raises(ConfigError, match="there are: none"):
        best_of([], "auc")
