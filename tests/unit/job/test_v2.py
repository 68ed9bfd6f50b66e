"""FATE's v2 conf, and what is made from a job."""

from __future__ import annotations

import json

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.names import TableName
from airflow_provider_fate.job.party import Party

from .jobs import changed, load, without

GUEST = Party("guest", "9999")
HOSTS = [Party("host", str(10000 + i)) for i in range(3)]


@pytest.fixture
def job() -> Job:
    return Job.parse(*load("hetero_lr_v2"))


def test_indexes_name_one_or_several_parties(job: Job) -> None:
    assert job.parties == (GUEST, *HOSTS, Party("arbiter", "10000"))
    tables = [job.reader_table("reader_0", host) for host in HOSTS]
    assert tables == [TableName("experiment", n) for n in ("breast_hetero_host", "other_host", "other_host")]
    assert [job.parameters("dataio_0", host).missing_fill for host in HOSTS] == [True, False, True]
    assert job.partitions == 4
    assert job.model_id == "arbiter-10000#guest-9999#host-10000_10001_10002#model"


def test_spark_run_of_a_party_lies_over_the_common_one(job: Job) -> None:
    assert job.spark_run_for(GUEST).to_dict() == {
        "executor-memory": "2g", "conf": {"spark.executor.memoryOverhead": "512m"},
    }  # fmt: skip
    assert job.spark_run_for(HOSTS[2]).to_dict() == {
        "executor-memory": "1g",
        "conf": {"spark.executor.memoryOverhead": "512m", "spark.task.maxFailures": "8"},
    }
    assert job.spark_run_for(HOSTS[1]) == job.spark_run


def test_all_means_every_party_of_the_role() -> None:
    conf, dsl = load("hetero_lr_v2")
    conf["component_parameters"]["role"]["host"] = {
        "all": {"dataio_0": {"missing_fill": True, "default_value": 5}, "reader_0": {"table": {"name": "a"}}},
        "1": {"dataio_0": {"default_value": 7}},
        **conf["component_parameters"]["role"]["host"],
    }
    conf["component_parameters"]["role"]["host"]["all"]["reader_0"]["table"]["namespace"] = "more"
    conf["job_parameters"]["role"] = {"host": {"all": {"spark_run": {"executor-memory": "3g"}}}}
    job = Job.parse(conf, dsl)
    assert [job.parameters("dataio_0", host).default_value for host in HOSTS] == [5, 7, 5]
    assert all(job.parameters("dataio_0", host).missing_fill for host in HOSTS)
    assert not job.parameters("dataio_0", GUEST).missing_fill
    assert [job.reader_table("reader_0", host).namespace for host in HOSTS] == ["experiment"] * 3
    assert [job.spark_run_for(host).flags["executor-memory"] for host in HOSTS] == ["3g"] * 3
    assert Job.from_dict(job.to_dict()) == job


def test_a_components_name_in_place_of_an_index_has_no_effect() -> None:
    """As in FATE 1.6's toy example, where it is the host's seed."""
    conf, dsl = load("hetero_lr_v2")
    conf["component_parameters"]["role"]["host"]["dataio_0"] = {"with_label": False}
    job = Job.parse(conf, dsl)
    (said,) = [notice for notice in job.notices if "role.host.dataio_0" in notice]
    assert said.startswith("component_parameters.role.host.dataio_0 has no effect, as in FATE: ")
    assert job == Job.parse(*load("hetero_lr_v2"))


def test_an_integer_works_as_an_index() -> None:
    conf, dsl = load("toy")
    conf = {
        "dsl_version": 2, "initiator": conf["initiator"], "role": conf["role"],
        "component_parameters": {"role": {"guest": {0: {"secure_add_example_0": {"seed": 5}}}}},
    }  # fmt: skip
    assert Job.parse(conf, dsl).parameters("secure_add_example_0", GUEST).seed == 5


def test_a_callback_overrides_what_stands_beside_it(job: Job) -> None:
    parameters = job.parameters("hetero_lr_0", GUEST)
    assert (parameters.validation_freqs, parameters.early_stopping_rounds, parameters.metrics) == (2, 3, ["auc"])
    assert parameters.encrypt_param.method == "Paillier"
    assert parameters.encrypt_param.key_length == 2048
    assert any("key_length 1024: too weak today, raised to 2048" in notice for notice in job.notices)


def test_json_and_back(job: Job) -> None:
    again = Job.from_dict(json.loads(json.dumps(job.to_dict())))
    assert again == job
    assert again.common() == job.common()
    assert list(again.components) == list(job.components)
    for name in job.components:
        for party in job.parties:
            assert again.parameters(name, party) == job.parameters(name, party)


def test_what_may_hold_secrets_is_not_kept() -> None:
    conf, dsl = load("toy")
    conf["job_parameters"]["spark_run"]["conf"] = "spark.hadoop.fs.s3a.secret.key=hush-hush"
    conf["job_parameters"]["rabbitmq_run"] = {"password": "hush-hush"}
    job = Job.parse(conf, dsl)
    assert job.spark_run.conf == {"spark.hadoop.fs.s3a.secret.key": "hush-hush"}
    assert "hush-hush" not in json.dumps(job.to_dict()) + json.dumps(job.common()) + " ".join(job.notices)


@pytest.mark.parametrize("value", [None, [], {}, {"dsl": {}}, {"conf": {}, "more": 1}, {"conf": 5}])
def test_something_else_is_no_job(value: object) -> None:
    with pytest.raises(ConfigError):
        Job.from_dict(value)


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("component_parameters/role/host/0/hetero_lr_0", {"penality": "L2"},
         "component_parameters.role.host.0.hetero_lr_0.penality", "did you mean penalty?"),
        ("component_parameters/role/host/0|2/dataio_0/missing_fil", True,
         "component_parameters.role.host.0|2.dataio_0.missing_fil", "did you mean missing_fill?"),
        ("component_parameters/common/hetero_lr_0/init_param/init_method", "zeroes",
         "component_parameters.common.hetero_lr_0.init_param.init_method", "did you mean zeros?"),
        ("component_parameters/role/host/3", {}, "component_parameters.role.host.3", "expected 0 to 2"),
        ("component_parameters/role/host/0|x", {}, "component_parameters.role.host.0|x", "'x' is not the index"),
        ("component_parameters/role/host/0|1", {"reader_0": {"table": {"name": "q", "namespace": "experiment"}}},
         "component_parameters.role.host.0|1.reader_0.table.name", "host-10000 has another value already"),
        ("component_parameters/role/host/1", {"hetero_lr_0": {"max_iter": 7}},
         "component_parameters.role.host.1.hetero_lr_0.max_iter", "must be the same for all parties"),
        ("component_parameters/hetero_lr_0", {}, "component_parameters.hetero_lr_0", "under common or role"),
        ("component_parameters/common/hetero_lr_0", 5, "component_parameters.common.hetero_lr_0", "expected a dict"),
        ("job_parameters/backend", 1, "job_parameters.backend", "belongs under common"),
        ("job_parameters/role/host/1", {"job_type": "train"}, "job_parameters.role.host.1.job_type", "the same"),
        ("job_parameters/role/host/1", {"task_core": 2}, "job_parameters.role.host.1.task_core", "task_cores"),
        ("job_parameters/role/host/1", {"spark_run": {"executor-memory": "much"}},
         "job_parameters.role.host.1.spark_run.executor-memory", "512m or 4g"),
        ("component_parameters/role/host/dataio_7", {"with_label": False}, "component_parameters.role.host.dataio_7",
         "'dataio_7' is not the index of a host; expected 0 to 2, several such as 0|1, or all"),
        ("component_parameters/role/host/all", {"dataio_0": {"missing_fill": False}},
         "component_parameters.role.host.all.dataio_0.missing_fill", "host-10000 has another value already, True"),
        ("component_parameters/role/host/all", {"dataio_0": {"missing_fil": True}},
         "component_parameters.role.host.all.dataio_0.missing_fil", "did you mean missing_fill?"),
        ("component_parameters/role/host/all|0", {}, "component_parameters.role.host.all|0", "'all' is not the index"),
        ("job_parameters/role/host/dataio_0", {}, "job_parameters.role.host.dataio_0", "is not the index of a host"),
        ("job_parameters/common/job_type", "predict", "job_parameters.common", "needs model_id"),
        ("role_parameters", {}, "role_parameters", "version 1"),
        ("role/arbiter", None, "role.arbiter", "is missing; hetero_lr_0 (HeteroLR) needs one"),
        ("role/arbiter", [1, 2], "role.arbiter", "expected one arbiter"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_path(path: str, value: object, where: str, says: str) -> None:
    conf, dsl = load("hetero_lr_v2")
    with pytest.raises(ConfigError) as caught:
        Job.parse(changed(conf, path, value), dsl)
    assert caught.value.path == where
    assert says in caught.value.problem


def test_several_wrong_values_are_named_together() -> None:
    conf, dsl = load("hetero_lr_v2")
    conf = changed(conf, "component_parameters/common/hetero_lr_0/alpha", -1)
    conf = changed(conf, "component_parameters/common/hetero_lr_0/batch_size", 9)
    with pytest.raises(ConfigError) as caught:
        Job.parse(conf, dsl)
    for key in ("alpha", "batch_size"):
        assert f"component_parameters.common.hetero_lr_0.{key}" in str(caught.value)


# -- step 3: other parameters


def test_parameters_change_at_every_party(job: Job) -> None:
    other = job.with_parameters({"hetero_lr_0": {"learning_rate": 0.5, "init_param": {"fit_intercept": False}}})
    for party in job.parties:
        parameters = other.parameters("hetero_lr_0", party)
        assert parameters.learning_rate == 0.5
        assert parameters.init_param.model_dump() == {
            "init_method": "zeros", "init_const": 1, "fit_intercept": False, "random_seed": None,
        }  # fmt: skip
        assert job.parameters("hetero_lr_0", party).learning_rate == 0.15
    assert other.common() != job.common()
    assert other.spark_run_for(HOSTS[0]) == job.spark_run_for(HOSTS[0])


def test_parameters_lie_over_those_of_single_parties(job: Job) -> None:
    other = job.with_parameters({"dataio_0": {"missing_fill": False, "missing_fill_method": None}})
    assert not any(other.parameters("dataio_0", host).missing_fill for host in HOSTS)
    assert other.parameters("dataio_0", GUEST).with_label is True


@pytest.mark.parametrize(
    ("value", "where", "says"),
    [
        ({"hetero_lr_0": {"learning_rte": 1}}, "parameters.hetero_lr_0.learning_rte", "did you mean learning_rate?"),
        ({"hetero_lr": {}}, "parameters.hetero_lr", "did you mean hetero_lr_0?"),
        ({"hetero_lr_0": {"alpha": float("nan")}}, "parameters.hetero_lr_0.alpha", "finite"),
        ({"hetero_lr_0": {"alpha": "much"}}, "parameters.hetero_lr_0.alpha", "expected number"),
        ([], "parameters", "expected a dict"),
    ],
)
def test_wrong_parameters_are_refused(job: Job, value: object, where: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        job.with_parameters(value)
    assert caught.value.path == where
    assert says in caught.value.problem


def test_notices_stay_when_a_job_is_changed() -> None:
    job = Job.parse(*load("hetero_lr_v1"))
    assert job.with_data({"guest": {"namespace": "a", "name": "b"}}).notices == job.notices
    said = job.with_parameters({"intersection_0": {"intersect_method": "ecdh"}}).notices
    assert said == [notice for notice in job.notices if "intersect_method" not in notice]


# -- other tables


def test_data_of_the_only_reader() -> None:
    job = Job.parse(*load("hetero_lr_v1")).with_data(
        {"guest": {"namespace": "n", "name": "g"}, "host": [{"namespace": "n", "name": "h"}]}
    )
    host = Party("host", "10000")
    assert job.reader_table("reader_train_data_0", GUEST) == TableName("n", "g")
    assert job.reader_table("reader_train_data_0", host) == TableName("n", "h")
    by_name = job.with_data({"host": {"train_data": {"namespace": "n", "name": "i"}}})
    assert by_name.reader_table("reader_train_data_0", host) == TableName("n", "i")
    assert by_name.reader_table("reader_train_data_0", GUEST) == TableName("n", "g")


def test_data_of_several_readers_and_hosts(job: Job) -> None:
    tables = [{"namespace": "n", "name": f"h{i}"} for i in range(3)]
    other = job.with_data({"host": {"reader_1": tables}})
    assert [str(other.reader_table("reader_1", host)) for host in HOSTS] == ["n/h0", "n/h1", "n/h2"]
    assert other.reader_table("reader_0", HOSTS[0]) == job.reader_table("reader_0", HOSTS[0])
    each = job.with_data({"host": [{"reader_0": table} for table in tables]})
    assert [str(each.reader_table("reader_0", host)) for host in HOSTS] == ["n/h0", "n/h1", "n/h2"]


@pytest.mark.parametrize(
    ("value", "where", "says"),
    [
        ({"guest": {"namespace": "n", "name": "g"}}, "data.guest", "several Readers"),
        ({"host": {"reader_0": {"namespace": "n", "name": "g"}}}, "data.host.reader_0", "a list of 3, got 1"),
        ({"guest": {"reader_2": {"namespace": "n", "name": "g"}}}, "data.guest.reader_2", "did you mean reader_0?"),
        ({"guest": {"reader_0": {"namespace": "n"}}}, "data.guest.reader_0", "namespace and name"),
        ({"guest": {"reader_0": {"namespace": "n", "name": ".."}}}, "data.guest.reader_0.name", "not a safe name"),
        ({"guests": {}}, "data.guests", "did you mean guest?"),
        ({"arbiter": {"namespace": "n", "name": "g"}}, "data.arbiter", "not a role that brings data"),
        ("table", "data", "expected a dict"),
    ],
)
def test_wrong_data_is_refused(job: Job, value: object, where: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        job.with_data(value)
    assert caught.value.path == where
    assert says in caught.value.problem


# -- what parties must agree on


def test_common_holds_what_matters_and_nothing_of_single_parties(job: Job) -> None:
    common = job.common()
    assert json.loads(json.dumps(common)) == common
    assert common["component_parameters.common.hetero_lr_0.learning_rate"] == 0.15
    assert common["component_parameters.common.hetero_lr_0.tol"] == 1e-4
    assert common["dsl.components.hetero_lr_0.input.data.train_data"] == ["intersection_0.data"]
    assert common["role.host"] == ["10000", "10001", "10002"]
    assert common["job_parameters.computing_partitions"] == 4
    assert common["job_parameters.seed"] == 0
    assert common["job_parameters.model_id"] == job.model_id
    text = json.dumps(common)
    assert "breast_hetero_guest" not in text
    assert "executor" not in text
    assert "with_label" not in text


def test_common_is_the_same_for_parties_that_know_only_their_own(job: Job) -> None:
    conf, dsl = load("hetero_lr_v2")
    assert Job.parse(without(conf, "component_parameters/role/host"), dsl).common() == job.common()
    spelt_out = changed(conf, "component_parameters/common/hetero_lr_0/tol", 1e-4)
    reordered = {"components": dict(reversed(dsl["components"].items()))}
    assert Job.parse(spelt_out, reordered).common() == job.common()
    assert list(Job.parse(conf, reordered).components) == list(job.components)


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("component_parameters/common/hetero_lr_0/alpha", 0.02, "component_parameters.common.hetero_lr_0.alpha"),
        ("job_parameters/common/seed", 7, "job_parameters.seed"),
        ("job_parameters/common/computing_partitions", 5, "job_parameters.computing_partitions"),
        ("job_parameters/common/model_version", 3, "job_parameters.model_version"),
        ("initiator", {"role": "host", "party_id": 10001}, "initiator"),
    ],
)
def test_a_difference_shows_in_common(job: Job, path: str, value: object, key: str) -> None:
    conf, dsl = load("hetero_lr_v2")
    other = Job.parse(changed(conf, path, value), dsl).common()
    assert {k for k in other.keys() | job.common().keys() if other.get(k) != job.common().get(k)} == {key}


def test_unknown_parties_and_components_are_refused(job: Job) -> None:
    with pytest.raises(ConfigError, match="host-1 is not in this job"):
        job.parameters("dataio_0", Party("host", "1"))
    with pytest.raises(ConfigError, match="did you mean dataio_0"):
        job.parameters("dataio", GUEST)
