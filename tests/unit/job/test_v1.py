"""FATE's v1 conf and DSL."""

from __future__ import annotations

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.names import TableName
from airflow_provider_fate.job.party import Party

from .jobs import changed, load, without

GUEST, HOST, ARBITER = Party("guest", "9999"), Party("host", "10000"), Party("arbiter", "10000")


def test_the_toy_example_runs_as_it_stands() -> None:
    job = Job.parse(*load("toy"))
    assert job.parties == (Party("guest", "9999"), Party("host", "9999"))
    assert job.initiator == GUEST
    assert job.job_type == "train"
    assert list(job.components) == ["secure_add_example_0"]
    guest, host = (job.parameters("secure_add_example_0", party) for party in job.parties)
    assert (guest.seed, guest.partition, guest.data_num) == (123, 48, 1000)
    assert (host.seed, host.partition, host.data_num) == (321, 48, 1000)
    assert job.spark_run.master == "spark://127.0.0.1:7077"
    assert job.spark_run.operator_kwargs() == {
        "executor_memory": "4g",
        "total_executor_cores": 4,
        "conf": {"spark.pyspark.python": "/opt/python/bin/python"},
    }
    assert job.notices == ["job_parameters.backend 0 (Eggroll): the job runs on Spark"]
    assert job.seed == 0
    assert job.partitions is None
    assert job.model_version is None


def test_args_data_become_readers() -> None:
    job = Job.parse(*load("hetero_lr_v1"))
    assert list(job.components) == [
        "reader_train_data_0", "dataio_0", "intersection_0", "hetero_lr_0", "evaluation_0",
    ]  # fmt: skip
    assert job.components["dataio_0"].inputs == {"data": ["reader_train_data_0.data"]}
    assert job.components["hetero_lr_0"].inputs == {"train_data": ["intersection_0.train"]}
    assert job.components["hetero_lr_0"].outputs == {"data": ["train"], "model": ["hetero_lr"]}
    assert job.reader_table("reader_train_data_0", GUEST) == TableName("experiment", "breast_hetero_guest")
    assert job.reader_table("reader_train_data_0", HOST) == TableName("experiment", "breast_hetero_host")
    assert job.reader_table("reader_train_data_0", ARBITER) is None
    assert job.model_id == "arbiter-10000#guest-9999#host-10000#model"


def test_role_parameters_are_of_each_party() -> None:
    conf, dsl = load("hetero_lr_v1")
    conf["role"]["host"] = [10000, "bank7"]
    for path in ("args/data/train_data", "dataio_0/with_label", "dataio_0/output_format", "evaluation_0/need_run"):
        *_, values = (conf["role_parameters"]["host"],)
        for step in path.split("/"):
            values = values[step]
        values.append(values[0])
    conf["role_parameters"]["host"]["dataio_0"]["missing_fill"] = [False, True]
    job = Job.parse(conf, dsl)
    fills = [job.parameters("dataio_0", Party("host", host)).missing_fill for host in ("10000", "bank7")]
    assert fills == [False, True]
    assert job.parameters("dataio_0", GUEST).with_label is True


def test_eval_data_is_for_validation_beside_train_data() -> None:
    conf, dsl = load("hetero_lr_v1")
    table = {"name": "more", "namespace": "experiment"}
    for role in ("guest", "host"):
        conf["role_parameters"][role]["args"]["data"]["eval_data"] = [table]
    dsl["components"]["dataio_1"] = {
        "module": "DataIO",
        "input": {"data": {"data": ["args.eval_data"]}, "model": ["dataio_0.dataio"]},
        "output": {"data": ["eval"]},
    }
    dsl["components"]["hetero_lr_0"]["input"]["data"]["eval_data"] = ["dataio_1.eval"]
    dsl["components"]["hetero_lr_1"] = {
        "module": "HeteroLR",
        "input": {"data": {"eval_data": ["dataio_1.eval"]}, "model": ["hetero_lr_0.hetero_lr"]},
        "output": {"data": ["eval"]},
    }
    job = Job.parse(conf, dsl)
    assert job.components["hetero_lr_0"].inputs["validate_data"] == ["dataio_1.eval"]
    assert job.components["hetero_lr_1"].inputs["test_data"] == ["dataio_1.eval"]
    assert (job.components["hetero_lr_0"].mode, job.components["hetero_lr_1"].mode) == ("fit", "predict")
    assert (job.components["dataio_1"].mode, job.components["dataio_1"].model_of) == ("predict", "dataio_0")
    assert job.components["hetero_lr_1"].roles == {"guest", "host"}
    assert job.reader_table("reader_eval_data_0", HOST) == TableName("experiment", "more")


def test_data_that_no_component_reads_gives_a_notice() -> None:
    conf, dsl = load("hetero_lr_v1")
    conf["role_parameters"]["guest"]["args"]["data"]["eval_data"] = [{"name": "x", "namespace": "y"}]
    job = Job.parse(conf, dsl)
    assert "role_parameters.guest.args.data.eval_data has no effect: no component reads args.eval_data" in job.notices


def test_broken_and_weak_encryption_is_replaced_with_a_notice() -> None:
    job = Job.parse(*load("hetero_lr_v1"))
    assert job.parameters("hetero_lr_0", GUEST).encrypt_param.method == "BFV"
    path = "algorithm_parameters.hetero_lr_0.encrypt_param"
    assert any(n.startswith(f"{path}.method iterativeAffine") and "replaced by BFV" in n for n in job.notices)
    assert any(n.startswith(f"{path}.key_length has no effect") for n in job.notices)


def test_job_parameters_without_meaning_here_give_notices() -> None:
    conf, dsl = load("toy")
    conf["job_parameters"].update(work_mode=0, task_cores=4, timeout=3600, federated_status_collect_type="PULL")
    notices = Job.parse(conf, dsl).notices
    for key in ("work_mode", "backend", "task_cores", "timeout", "federated_status_collect_type"):
        assert [n for n in notices if n.startswith(f"job_parameters.{key} ")], key


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("algorithm_parameters/secure_add_example_0/partitoin", 4,
         "algorithm_parameters.secure_add_example_0.partitoin", "did you mean partition?"),
        ("algorithm_parameters/secure_add_example_0/partition", "many",
         "algorithm_parameters.secure_add_example_0.partition", "expected integer"),
        ("algorithm_parameters", {"secure_add_exmple_0": {}}, "algorithm_parameters.secure_add_exmple_0",
         "did you mean secure_add_example_0?"),
        ("role_parameters/host/secure_add_example_0/seed", [1, 2],
         "role_parameters.host.secure_add_example_0.seed", "one value for each host, that is 1, got 2"),
        ("role_parameters/host/secure_add_example_0/seed", 5,
         "role_parameters.host.secure_add_example_0.seed", "expected a list"),
        ("role_parameters/host/secure_add_example_0/seed", ["x"],
         "role_parameters.host.secure_add_example_0.seed[0]", "expected integer"),
        ("role_parameters/hots", {}, "role_parameters.hots", "did you mean host?"),
        ("role_parameters/arbiter", {}, "role_parameters.arbiter", "there is no arbiter"),
        ("role_parameters/guest/args", {"data": {"train": []}}, "role_parameters.guest.args.data.train",
         "one value for each guest, that is 1, got 0"),
        ("role_parameters/guest/args", {"data": {"../x": []}}, "role_parameters.guest.args.data.../x",
         "not a component name"),
        ("job_parameters/work_mod", 1, "job_parameters.work_mod", "did you mean work_mode?"),
        ("job_parameters/backend", 7, "job_parameters.backend", "expected '0', '1' or '2'"),
        ("job_parameters/common", {}, "job_parameters.common", "version 2"),
        ("job_parameters/spark_run/executor-memry", "4g", "job_parameters.spark_run.executor-memry",
         "did you mean executor-memory?"),
        ("job_parameters/spark_run", [], "job_parameters.spark_run", "expected dictionary"),
        ("job_parameters/model_id", "../../etc", "job_parameters.model_id", "not a safe name"),
        ("job_parameters/seed", -1, "job_parameters.seed", "greater than or equal to 0"),
        ("initator", {}, "initator", "did you mean initiator?"),
        ("component_parameters", {}, "component_parameters", "version 2"),
        ("initiator/role", "gest", "initiator.role", "did you mean guest?"),
        ("initiator/party_id", 1, "initiator", "guest-1 is not among the parties"),
        ("initiator/party_id", None, "initiator.party_id", "expected text or a number"),
        ("initiator", {"role": "guest"}, "initiator.party_id", "is missing"),
        ("role/guest", [], "role.guest", "is missing"),
        ("role/guest", [9999, 1], "role.guest", "expected one guest"),
        ("role/guest", 9999, "role.guest", "expected a list"),
        ("role/host", ["a/b"], "role.host[0]", "not a party id"),
        ("role/host", [True], "role.host[0]", "expected text or a number"),
        ("role/host", [5, "5"], "role.host[1]", "given twice"),
        ("role/local", [0], "role.local", "uploads are tasks of their own"),
        ("role/host", [1, 2], "role_parameters.host.secure_add_example_0.seed", "that is 2, got 1"),
        ("dsl_version", 3, "dsl_version", "expected 1 or 2"),
        ("dsl_version", [2], "dsl_version", "expected 1 or 2"),
        ("job_parameters/dsl_version", 2, "job_parameters.dsl_version", "the conf is of version 1"),
        ("schema_version", "2.0.0", "conf", "not there yet"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_path(path: str, value: object, where: str, says: str) -> None:
    conf, dsl = load("toy")
    with pytest.raises(ConfigError) as caught:
        Job.parse(changed(conf, path, value), dsl)
    assert caught.value.path == where
    assert says in caught.value.problem


def test_a_nested_parameter_of_one_party_is_refused_with_its_path() -> None:
    conf, dsl = load("hetero_lr_v1")
    conf["role_parameters"]["host"]["hetero_lr_0"] = {"encrypt_param": {"key_lenght": [2048]}}
    with pytest.raises(ConfigError) as caught:
        Job.parse(conf, dsl)
    assert caught.value.path == "role_parameters.host.hetero_lr_0.encrypt_param.key_lenght[0]"
    assert "did you mean key_length?" in caught.value.problem


def test_a_party_without_a_table_is_told_when_it_needs_one() -> None:
    conf, dsl = load("hetero_lr_v1")
    job = Job.parse(without(conf, "role_parameters/host/args"), dsl)
    job.check_tables(GUEST)
    job.check_tables(ARBITER)
    with pytest.raises(ConfigError, match="host-10000 has no table to read") as caught:
        job.check_tables(HOST)
    assert caught.value.path == "component_parameters.role.host.0.reader_train_data_0.table"


def test_a_table_with_an_unsafe_name_is_refused_where_it_stands() -> None:
    conf, dsl = load("hetero_lr_v1")
    conf = changed(conf, "role_parameters/guest/args/data/train_data/0/name", "../secret")
    with pytest.raises(ConfigError, match="not a safe name") as caught:
        Job.parse(conf, dsl)
    assert caught.value.path == "role_parameters.guest.args.data.train_data[0].name"


def test_a_dsl_is_needed_to_train() -> None:
    with pytest.raises(ConfigError, match="is missing") as caught:
        Job.parse(load("toy")[0])
    assert caught.value.path == "dsl"
    with pytest.raises(ConfigError, match="set job_type to predict"):
        Job.parse(changed(load("toy")[0], "job_parameters/model_id", "m"))


def test_a_component_with_the_name_of_a_reader_to_be_is_refused() -> None:
    conf, dsl = load("hetero_lr_v1")
    dsl["components"]["reader_train_data_0"] = {"module": "Reader", "output": {"data": ["data"]}}
    with pytest.raises(ConfigError, match="args.train_data becomes"):
        Job.parse(conf, dsl)
