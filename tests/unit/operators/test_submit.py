"""What is made ready before spark-submit starts: the job file, the command, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fate.errors import FateError, StorageError, TransportError
from airflow_provider_fate.hooks.stores import models, tables
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators._submit import FateSubmitOperator
from airflow_provider_fate.operators._work import WorkDirectory
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.runtime.data import Model
from airflow_provider_fate.runtime.federation.messages import nonce_time, unpack

JOBS = Path(__file__).parents[3] / "dags" / "examples" / "fate_jobs"
JOB = json.loads((JOBS / "hetero_lr.json").read_text())
TABLES = {"guest": {"namespace": "n", "name": "g"}, "host": {"namespace": "n", "name": "h"}}


class Ti:
    dag_id, run_id, task_id, try_number, map_index = "dag", "manual__2026-01-01T00:00:00+00:00", "lr.guest_9999", 2, -1


@pytest.fixture
def prepared(connections: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Prepares a task as its ``execute`` does, without starting anything."""
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def prepare(operator: type[FateSubmitOperator] = FateTrainOperator, **arguments: Any) -> FateSubmitOperator:
        arguments = {"role": "guest", "party_id": 9999, **arguments}
        if operator is FateTrainOperator:
            arguments.setdefault("job", JOB)
        task = operator(task_id="lr", **arguments)
        task._work = WorkDirectory()
        task._prepare({"ti": Ti()})
        return task

    return prepare


def command(task: FateSubmitOperator) -> list[str]:
    return task._hook._build_spark_submit_command(task.application)


def pairs(words: list[str], name: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == name]


def test_the_job_file_holds_all_and_is_the_owners_alone(prepared, connections):
    task = prepared(parameters={"hetero_lr_0": {"learning_rate": 0.5}}, data=TABLES, wait_timeout="30")
    (path,) = task.application_args
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    content = json.loads(Path(path).read_text())
    assert {key: content[key] for key in ("format", "party", "wait_seconds", "job_id")} == {
        "format": 1, "party": "guest-9999", "wait_seconds": 30.0, "job_id": task.job_id,
    }  # fmt: skip
    assert content["storage"] == {"url": (connections / "storage").as_uri()}
    assert content["transport"] == {"kind": "directory", "path": str(connections / "messages")}
    assert nonce_time(content["nonce"]) is not None
    assert content["job"]["conf"]["component_parameters"]["common"]["hetero_lr_0"]["learning_rate"] == 0.5


def test_the_application_and_its_operator_alone_know_the_word_of_progress(prepared):
    task, other = prepared(), prepared()
    content = json.loads(Path(task.application_args[0]).read_text())
    assert content["progress_word"] == task._progress_word != other._progress_word
    assert task._hook._mark == f"@fate {task._progress_word} " and len(task._progress_word) == 32
    # the nonce is told to the peers
    assert task._progress_word not in json.dumps({**content, "progress_word": ""})
    assert task._progress_word not in " ".join(command(task))


def test_each_try_has_a_nonce_of_its_own_and_the_same_job_id(prepared):
    first, second = prepared(), prepared()
    assert second._messages.nonce != first._messages.nonce
    assert second.job_id == first.job_id
    assert first.job_id.startswith("dag_manual__2026-01-01T00-00-00")


def test_a_password_is_in_the_job_file_only(prepared, monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_BROKER",
        json.dumps({"conn_type": "fate_rabbitmq", "host": "127.0.0.1", "login": "u", "password": "hunter2hunter2"}),
    )
    task = prepared(transport_conn_id="broker")
    words = " ".join(command(task))
    assert "hunter2hunter2" in Path(task.application_args[0]).read_text()
    assert "hunter2hunter2" not in words
    assert "hunter2hunter2" not in json.dumps(task._hook._env or {})


def test_a_secret_of_sparks_is_in_the_directory_of_the_try(prepared):
    """Which somebody removes, also where the task is killed."""
    task = prepared(conf={"spark.authenticate.secret": "geheim"})
    words = command(task)
    path = Path(words[words.index("--properties-file") + 1])
    assert "geheim" in path.read_text() and task._work.path in path.parents


def test_sparks_own_temporary_files_are_there_too_unless_somebody_said_where(prepared, monkeypatch, tmp_path):
    task = prepared()
    command(task)
    assert task._hook._env["SPARK_LOCAL_DIRS"] == str(task._work.path)
    defaults = tmp_path / "spark-defaults.conf"
    defaults.write_text("spark.master local\nspark.local.dir\t/big/disk\n")
    for arguments in ({"conf": {"spark.local.dir": "/big/disk"}}, {"properties_file": str(defaults)}):
        task = prepared(**arguments)
        command(task)
        assert "SPARK_LOCAL_DIRS" not in task._hook._env, arguments
    monkeypatch.setenv("SPARK_LOCAL_DIRS", "/big/disk")
    task = prepared()
    command(task)
    assert "SPARK_LOCAL_DIRS" not in task._hook._env, "that of the environment stays"


def test_the_command_on_this_machine(prepared):
    task = prepared()
    words = command(task)
    assert pairs(words, "--master") == ["local[1]"]
    assert pairs(words, "--name") == [f"{task.job_id} guest-9999"]
    assert words[-2].endswith("runtime/main.py")
    assert words[-1] == task.application_args[0]
    assert pairs(words, "--py-files")[0].endswith(".zip")
    assert "spark.ui.showConsoleProgress=false" in pairs(words, "--conf")
    assert task.env_vars["SPARK_SUBMIT_OPTS"] == "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    assert task._hook._driver_log_path.endswith(f"logs/fate/{task.job_id}/guest-9999.try2.log")


def test_the_users_jvm_options_are_left_alone(prepared):
    task = prepared(spark_run={"driver-java-options": "-XX:+UseG1GC"})
    assert "SPARK_SUBMIT_OPTS" not in task.env_vars
    assert "spark.driver.extraJavaOptions=-XX:+UseG1GC" in pairs(command(task), "--conf")


def test_who_says_how_spark_runs(prepared):
    """The task's spark_run, then its other arguments, then the job's spark_run, then the connection."""
    job = json.loads(json.dumps(JOB))
    job["conf"]["job_parameters"]["common"]["spark_run"] = {
        "executor-memory": "1g", "driver-memory": "1g", "executor-cores": 1, "name": "of the job",
        "conf": {"spark.a": "job", "spark.b": "job", "spark.c": "job"},
    }  # fmt: skip
    words = command(
        prepared(
            job=job,
            spark_run={"executor-memory": "3g", "master": "spark://h:7077", "conf": "spark.a=run"},
            executor_memory="2g",
            driver_memory="2g",
            conf={"spark.a": "task", "spark.b": "task"},
        )
    )
    assert pairs(words, "--executor-memory") == ["3g"]
    assert pairs(words, "--driver-memory") == ["2g"]
    assert pairs(words, "--executor-cores") == ["1"]
    assert pairs(words, "--master") == ["spark://h:7077"]
    assert pairs(words, "--name") == ["of the job"]
    assert {"spark.a=run", "spark.b=task", "spark.c=job"} <= set(pairs(words, "--conf"))
    words = command(prepared(job=job, name="of the task", conf={"spark.executor.memory": "2g"}))
    assert pairs(words, "--name") == ["of the task"]
    assert "spark.executor.memory=2g" in pairs(words, "--conf")
    assert not pairs(words, "--executor-memory")
    assert pairs(command(prepared(job=job, name="of the task", spark_run={"name": "run"})), "--name") == ["run"]


def test_a_flag_that_says_no_counts(prepared):
    job = json.loads(json.dumps(JOB))
    job["conf"]["job_parameters"]["common"]["spark_run"] = {"verbose": True}
    assert "--verbose" in command(prepared(job=job))
    assert "--verbose" not in command(prepared(job=job, spark_run={"verbose": False}))


def test_a_deploy_mode_that_is_a_property(prepared):
    task = prepared(spark_run={"master": "yarn"}, conf={"spark.submit.deployMode": "cluster"})
    assert task.application_args == ["guest-9999.json"]
    assert not task._hook.client_mode


def test_a_packed_environment(prepared):
    words = command(prepared(archives="env.tar.gz", spark_run={"master": "spark://h:7077"}))
    assert pairs(words, "--archives") == ["env.tar.gz#environment"]
    assert "spark.pyspark.python=./environment/bin/python" in pairs(words, "--conf")
    words = command(prepared_again := prepared(python="/opt/python", spark_run={"master": "spark://h:7077"}))
    assert "spark.pyspark.python=/opt/python" in pairs(words, "--conf")
    assert prepared_again.env_vars == {}


def test_on_yarn_the_job_file_is_shipped(prepared, monkeypatch):
    task = prepared(spark_run={"master": "yarn", "deploy-mode": "cluster"})
    assert task.application_args == ["guest-9999.json"]
    (shipped,) = task.files.split(",")
    assert json.loads(Path(shipped).read_text())["nonce"] == task._messages.nonce
    # nobody could say how an application of an earlier try went
    assert not task.durable
    extra = {"yarn_resourcemanager_webapp_address": "http://rm:8088"}
    monkeypatch.setenv("AIRFLOW_CONN_YARN", json.dumps({"conn_type": "fate_spark", "host": "yarn", "extra": extra}))
    task = prepared(spark_conn_id="yarn", spark_run={"deploy-mode": "cluster"})
    assert task._yarn_track_via_rm_api
    assert task.durable


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"role": "judge"}, "'judge' is not a role"),
        ({"party_id": 8888}, "guest-8888 is not in this job"),
        ({"wait_timeout": "soon"}, "wait_timeout: 'soon' is not a number of seconds"),
        ({"job_id": "a/b"}, "job_id: 'a/b' is not a safe name"),
        ({"spark_run": {"executor-memroy": "1g"}}, "spark_run.executor-memroy: .*did you mean executor-memory"),
        ({"spark_run": {"master": "sparkk://h"}}, "'sparkk://h' is not an address of a cluster manager"),
        ({"parameters": {"hetero_lr_9": {}}}, "parameters.hetero_lr_9: .*hetero_lr_0"),
        ({"parameters": {"hetero_lr_0": {"learning_rat": 1}}}, "learning_rate"),
        ({"data": {"guest": {"namespace": "n"}}}, "data.guest: expected a table with namespace and name"),
        ({"storage_conn_id": "none"}, "connection 'none': there is no such connection"),
        ({"transport_conn_id": "none"}, "connection 'none': there is no such connection"),
        ({"spark_conn_id": "none"}, "connection 'none': there is no such connection"),
        ({"job": {"conf": {**JOB["conf"], "rloe": {}}, "dsl": JOB["dsl"]}}, "rloe: .*role"),
        ({"job": "no.json"}, "job: 'no.json' is neither"),
    ],
)
def test_refused_before_anything_is_submitted(prepared, tmp_path, arguments, words):
    with pytest.raises(Exception, match=words):
        prepared(**arguments)
    with pytest.raises(AirflowFailException, match=words):  # so that Airflow does not try it again
        FateTrainOperator(task_id="t", **{"role": "guest", "party_id": 9999, "job": JOB, **arguments}).execute({})
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("states", "fails"),
    [
        (["running", "running"], False),
        (["success", "running"], False),
        (["running", "failed"], True),
        ([TransportError("it cannot be reached"), "running"], False),
        ([TransportError("it cannot be reached"), "failed"], True),
    ],
)
def test_a_try_ends_at_once_where_a_peers_run_has_failed(prepared, monkeypatch, states, fails):
    class Site:
        def __init__(self, conn_id: str) -> None:
            self.conn_id = conn_id

        def run_state(self, dag_id: str, run_id: str) -> str:
            answer = states[0 if self.conn_id == "site_1" else 1]
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr("airflow_provider_fate.hooks.site.FateSiteHook", Site)
    run = {"dag_id": "fate_invited", "run_id": "job"}
    peers = {
        party: {"party": party, "conn_id": conn_id, "url": f"https://{conn_id}", **run}
        for party, conn_id in (("host-10000", "site_1"), ("arbiter-10001", "site_2"))
    }
    if fails:
        with pytest.raises(AirflowFailException, match="the run of arbiter-10001 has failed .*https://site_2"):
            prepared(peers=peers)
    else:
        assert prepared(peers=peers).job_id


def test_a_conf_for_prediction_is_not_trained(prepared):
    conf = {**JOB["conf"], "job_parameters": {"common": {"job_type": "predict", "model_id": "m"}}}
    with pytest.raises(AirflowFailException, match="use FatePredictOperator"):
        FateTrainOperator(task_id="t", job={"conf": conf}, role="guest", party_id=9999).execute({})


# -- prediction


@pytest.fixture
def model(connections: Path) -> None:
    store = models("fate_storage", Party("guest", "9999"))
    for version in ("v1", "v2"):
        store.save("breast_hetero_lr", version, {"hetero_lr_0": Model({"format": 1})}, JOB)


def test_a_prediction_takes_job_and_parties_from_the_model(prepared, model):
    models("fate_storage", Party("guest", "9999")).deploy("breast_hetero_lr", "v1")
    for version, expected in (("deployed", "v1"), ("v2", "v2")):
        task = prepared(FatePredictOperator, model_id="breast_hetero_lr", model_version=version, data=TABLES)
        job = task._job
        assert (job.job_type, job.model_id, job.model_version) == ("predict", "breast_hetero_lr", expected)
        assert [str(party) for party in job.parties] == ["guest-9999", "host-10000"]
        assert str(job.reader_table("reader_0", Party("guest", "9999"))) == "n/g"


def test_a_predict_conf_of_fate(prepared, model):
    conf = {
        "initiator": JOB["conf"]["initiator"],
        "role": JOB["conf"]["role"],
        "job_parameters": {"work_mode": 1, "backend": 1, "model_id": "breast_hetero_lr", "model_version": "v1"},
        "role_parameters": {
            "guest": {"args": {"data": {"eval_data": [{"namespace": "n", "name": "g"}]}}},
            "host": {"args": {"data": {"eval_data": [{"namespace": "n", "name": "h"}]}}},
        },
    }
    task = prepared(FatePredictOperator, model_id="breast_hetero_lr", model_version="v1", job={"conf": conf})
    assert str(task._job.reader_table("reader_0", Party("guest", "9999"))) == "n/g"
    other = FatePredictOperator(
        task_id="p", model_id="breast_hetero_lr", model_version="v2", job={"conf": conf}, role="guest", party_id=9999
    )
    with pytest.raises(AirflowFailException, match=r"job_parameters.model_version: 'v1' in the conf, .* for 'v2'"):
        other.execute({})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model_version": "v3"}, "guest-9999 has no version 'v3' of model 'breast_hetero_lr'.*there are: v1, v2"),
        ({}, "no version of model 'breast_hetero_lr' is deployed at guest-9999"),
        ({"model_version": "v1", "data": None}, "guest-9999 has no table to read; expected namespace and name"),
        ({"model_version": "v1", "party_id": 1}, "guest-1 has no version 'v1'"),
    ],
)
def test_predictions_refused(prepared, model, arguments, words):
    arguments = {
        "model_id": "breast_hetero_lr", "data": TABLES, "role": "guest", "party_id": 9999, **arguments,
    }  # fmt: skip
    with pytest.raises((FateError, AirflowFailException), match=words):
        FatePredictOperator(task_id="p", **arguments).execute({})


# -- the start


def no_storage(*args: Any) -> None:
    raise StorageError("hdfs://namenode:8020 cannot be reached")


def told_to(connections: Path, job_id: str, peer: str) -> list[str]:
    found = (connections / "messages" / job_id / peer / "guest-9999").glob("*.msg")
    return [unpack(path.read_bytes())[0].reason for path in found]


def test_peers_hear_of_a_storage_that_is_away_at_the_start(connections, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    monkeypatch.setattr("airflow_provider_fate.hooks.stores.forget_job_status", no_storage)
    with pytest.raises(StorageError, match="cannot be reached"):
        FateTrainOperator(task_id="lr", job=JOB, role="guest", party_id=9999, job_id="j").execute({"ti": Ti()})
    for peer in ("host-10000", "arbiter-10000"):
        [reason] = told_to(connections, "j", peer)
        assert reason.startswith("guest-9999 could not begin")


def test_they_hear_of_it_too_where_an_application_is_submitted_to_a_cluster(prepared, connections, monkeypatch):
    task = prepared(job_id="j")
    monkeypatch.setattr("airflow_provider_fate.hooks.stores.forget_job_status", no_storage)
    with pytest.raises(StorageError, match="cannot be reached"):
        task.submit_job({})
    assert [reason[:26] for reason in told_to(connections, "j", "host-10000")] == ["guest-9999 could not begin"]


# -- the end


def test_what_is_kept_for_a_next_try_goes_when_all_is_done(connections, monkeypatch):
    """Not before: the next try of a task that fails in its last steps has no peers any more."""
    end = connections / "storage" / "jobs" / "j" / "guest-9999" / "end" / "end.json"
    end.parent.mkdir(parents=True)
    end.write_text("{}")
    task = FateTrainOperator(task_id="lr", job=JOB, role="guest", party_id=9999, job_id="j")
    task._party = Party("guest", "9999")
    monkeypatch.setattr(task, "_prepare", lambda context: None)
    monkeypatch.setattr(task, "_run", lambda context: {"model_id": "m", "model_version": "j"})
    monkeypatch.setattr(FateTrainOperator, "finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        task.execute({})
    assert end.exists()
    monkeypatch.setattr(FateTrainOperator, "finish", lambda self, context, result: result)
    assert task.execute({})["model_version"] == "j"
    assert not end.parent.exists()


# -- the rest


def test_export_is_whole_and_the_owners_alone(connections, tmp_path):
    import pyarrow as pa

    from airflow_provider_fate.hooks.stores import TableMeta
    from airflow_provider_fate.operators.export import export_csv

    store = tables("fate_storage")
    meta = TableMeta("n", "t", "id", None, [("id", "string"), ("predict_score", "double")])
    with store.writer(meta) as writer:
        writer.write(pa.record_batch({"id": ["a", "b,c"], "predict_score": [0.5, 1.0]}))
        writer.write(pa.record_batch({"id": ["d"], "predict_score": [0.25]}))
    path = export_csv(store, "n", "t", tmp_path / "new" / "out.csv")
    assert Path(path).read_text() == '"id","predict_score"\n"a",0.5\n"b,c",1\n"d",0.25\n'
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(tmp_path / "new") == ["out.csv"]


@pytest.mark.parametrize("operator", [FateTrainOperator, FatePredictOperator])
def test_templates_mapping_and_links(operator):
    known = {"role", "party_id", "data", "job_id", "spark_run", "storage_conn_id", "conf", "env_vars", "wait_timeout"}
    assert known <= set(operator.template_fields)
    assert set(operator.template_fields_renderers) <= set(operator.template_fields)
    assert [link.name for link in operator.operator_extra_links] == [
        "Spark UI", "Guest's run", "Host's run", "Arbiter's run",
    ]  # fmt: skip
    own = {"job": JOB} if operator is FateTrainOperator else {"model_id": "m"}
    partial = operator.partial(task_id="t", role="guest", party_id=1)
    assert partial.expand(**{key: [value] for key, value in own.items()}) is not None


@pytest.mark.parametrize("invites", [False, True])
def test_a_task_that_is_stopped_removes_what_its_application_could_not(prepared, connections, invites):
    task = prepared()
    task._context = {"ti": Ti()}
    task.peers = {"host-10000": {}} if invites else None
    job = connections / "messages" / task.job_id
    to_absent = job / "host-10000" / "guest-9999"
    kept = connections / "storage" / "jobs" / task.job_id / "guest-9999"
    component = kept / "checkpoints" / "key" / "lr_0"
    for path in (
        job / "guest-9999" / "host-10000" / "1.msg", to_absent / "1.msg", kept / "metrics.jsonl",
        kept / "metrics.jsonl.writing", kept / "end" / "end.json.writing", component / "step-5.abc.npz",
        component / "step-10.abc.npz.writing", component / ".data.train.1234" / "part-0.parquet",
    ):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    began = time.monotonic()
    task.on_kill()
    assert time.monotonic() - began < 5, "then Airflow kills the task"
    assert not (job / "guest-9999").exists()
    # the words for one that comes later, where only they would tell it
    assert to_absent.exists() is not invites
    left = [path.relative_to(kept).as_posix() for path in sorted(kept.rglob("*")) if path.is_file()]
    assert left == ["checkpoints/key/lr_0/step-5.abc.npz", "metrics.jsonl"]
    task.on_kill()  # nothing is there any more
