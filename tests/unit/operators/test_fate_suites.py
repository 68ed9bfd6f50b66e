"""FATE's test suites: read, put in order, made into a DAG, and what is said of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, TaskGroup
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.operators._suite_tasks import FateRefusedOperator, FateSuiteSummaryOperator, table
from airflow_provider_fate.operators.test_suite import fate_test_suite

EXAMPLE = Path(__file__).parents[3] / "dags/examples/fate_jobs/breast_suite"
DATA = Path(__file__).parents[3] / "dags/examples"


class Suite:
    """The example's suite in a directory of its own, to be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in EXAMPLE.iterdir():
            (folder / path.name).write_text(path.read_text())
        self.path = folder / "breast_hetero_testsuite.json"
        self.content = self.read(self.path.name)

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def write(self, name: str, content: Any) -> str:
        (self.folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    def changed(self, name: str, new: str, change: Any) -> str:
        """A file with something else in it, under another name."""
        content = self.read(name)
        change(content)
        return self.write(new, content)

    def dag(self, **arguments: Any) -> DAG:
        self.write(self.path.name, self.content)
        return fate_test_suite(self.path, **{"data_root": DATA, **arguments})


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def row(dag: DAG, name: str) -> dict[str, Any]:
    (found,) = [one for one in dag.get_task("summary").rows if one["name"] == name]
    return found


def up(dag: DAG, task: str) -> set[str]:
    return dag.get_task(task).upstream_task_ids


def test_the_dag_of_a_suite(suite: Suite) -> None:
    dag = suite.dag(spark_run={"driver-memory": "1g"})
    assert dag.dag_id == "breast_hetero"
    assert dag.fileloc == __file__
    uploads = {"upload.guest_0_breast_hetero_guest", "upload.host_0_breast_hetero_host"}
    assert up(dag, "lr.guest_9999") == uploads
    trained = {"lr.guest_9999", "lr.host_10000", "lr.arbiter_10000"}
    assert up(dag, "lr_predict.host_10000") == {
        *trained, "lr_predict.turn", "upload.guest_0_breast_hetero_guest_new", "upload.host_0_breast_hetero_host_new",
    }  # fmt: skip
    assert "lr_predict.arbiter_10000" not in dag.task_ids
    assert up(dag, "lr_v1.turn") == {"lr_predict.turn", "lr_predict.guest_9999", "lr_predict.host_10000"}
    assert dag.get_task("lr_v1.turn").trigger_rule == "all_done"
    assert uploads <= up(dag, "lr_v1.guest_9999")
    guest = dag.get_task("lr_predict.guest_9999")
    assert guest.model_id == "arbiter-10000#guest-9999#host-10000#model"
    assert (
        str(guest.model_version)
        == "{{ task_instance.xcom_pull(task_ids='lr.guest_9999', dag_id='breast_hetero', key='model_version') }}"
    )  # noqa: E501
    assert guest.spark_run == {"driver-memory": "1g"}
    assert "model_version" not in guest.job["conf"]["job_parameters"]["common"]
    assert not [one for one in dag.get_task("summary").rows if one["reason"]]
    assert dag.get_task("summary").upstream_task_ids >= set(dag.task_ids) - {"summary", "lr_predict.turn", "lr_v1.turn"}
    upload = dag.get_task("upload.host_0_breast_hetero_host")
    assert upload.source == str(DATA / "data/breast_hetero_host.csv")
    assert (upload.upload_conf["drop"], upload.upload_conf["table_name"]) == (1, "breast_hetero_host")
    assert json.dumps(DagSerialization.to_dict(dag))


def test_as_a_group_of_another_dag(suite: Suite) -> None:
    with DAG("mine", schedule=None) as dag:
        group = fate_test_suite(suite.path, data_root=DATA, dag_id="old_suite")
    assert isinstance(group, TaskGroup)
    assert up(dag, "old_suite.lr_v1.turn") >= {"old_suite.lr_predict.guest_9999"}


def test_jobs_at_once(suite: Suite) -> None:
    dag = suite.dag(at_once=2)
    assert "lr_predict.turn" not in dag.task_ids
    assert up(dag, "lr_v1.turn") == {"lr.guest_9999", "lr.host_10000", "lr.arbiter_10000"}
    with pytest.raises(ConfigError, match="at_once"):
        suite.dag(at_once=0)


def test_without_uploads(suite: Suite) -> None:
    dag = suite.dag(upload=False)
    assert not [task for task in dag.task_ids if task.startswith("upload")]
    assert up(dag, "lr.guest_9999") == set()


def test_other_parties(suite: Suite) -> None:
    parties = {"guest-bank": {"storage_conn_id": "bank"}, "host-telco": None, "host-more": None, "arbiter-x": None}
    dag = suite.dag(parties=parties, storage_conn_id="common")
    assert {"lr.guest_bank", "lr.host_telco", "lr.arbiter_x", "lr_predict.guest_bank"} <= set(dag.task_ids)
    assert "lr.host_more" not in dag.task_ids
    task = dag.get_task("lr.guest_bank")
    assert task.job["conf"]["role"] == {"guest": ["bank"], "host": ["telco"], "arbiter": ["x"]}
    assert task.job["conf"]["initiator"] == {"role": "guest", "party_id": "bank"}
    assert (task.storage_conn_id, dag.get_task("lr.host_telco").storage_conn_id) == ("bank", "common")
    storages = {name: dag.get_task(f"upload.{name}").storage_conn_id for name in
                ("guest_0_breast_hetero_guest", "host_0_breast_hetero_host")}  # fmt: skip
    assert storages == {"guest_0_breast_hetero_guest": "bank", "host_0_breast_hetero_host": "common"}
    few = suite.dag(parties=["guest-1", "arbiter-2"])
    assert "role.host: has 1, but the suite's parties have none" in row(few, "lr")["reason"]


def test_a_prediction_has_the_parties_of_its_model(suite: Suite) -> None:
    """As FATE's own hetero_secureboost suite, whose predict conf has guest and host the other way round."""

    def swap(conf: dict[str, Any]) -> None:
        conf["role"] = {"guest": [10000], "host": [9999], "arbiter": [10000]}
        conf["initiator"]["party_id"] = 10000

    suite.changed("hetero_lr_predict_conf.json", "hetero_lr_predict_conf.json", swap)
    dag = suite.dag()
    assert row(dag, "lr_predict")["reason"] is None
    assert dag.get_task("lr_predict.guest_9999").job["conf"]["initiator"]["party_id"] == "9999"


@pytest.mark.parametrize(
    ("conf", "change", "says"),
    [
        ("hetero_lr_conf.json", {"initiator": {"role": ["guest"], "party_id": 9999}}, "initiator.role: ['guest'] is"),
        ("hetero_lr_conf.json", {"initiator": {"role": {}, "party_id": 9999}}, "initiator.role: {} is not a role"),
        ("hetero_lr_predict_conf.json", {"initiator": {"role": ["x"], "party_id": 1}}, "initiator.role: ['x'] is not"),
        ("hetero_lr_predict_conf.json", {"role": {"host": [10000]}}, "role.guest: is missing; a job needs a guest"),
        ("hetero_lr_predict_conf.json",
         {"role": {"guest": [], "host": [10000]}, "initiator": {"role": "arbiter", "party_id": 1}},
         "role.guest: is missing; a job needs a guest"),
    ],
)  # fmt: skip
def test_a_conf_of_another_shape_is_the_jobs_reason(suite: Suite, conf: str, change: Any, says: str) -> None:
    suite.changed(conf, conf, lambda content: content.update(change))
    dag = suite.dag()
    name = "lr" if conf == "hetero_lr_conf.json" else "lr_predict"
    assert says in row(dag, name)["reason"]
    assert row(dag, "lr_v1")["reason"] is None


def test_an_initiator_that_a_prediction_lacks_is_the_guest(suite: Suite) -> None:
    suite.changed("hetero_lr_predict_conf.json", "hetero_lr_predict_conf.json", lambda conf: conf.update(initiator={}))
    conf = suite.dag().get_task("lr_predict.guest_9999").job["conf"]
    assert conf["initiator"] == {"role": "guest", "party_id": "9999"}


def test_a_prediction_is_no_model(suite: Suite) -> None:
    suite.content["tasks"]["again"] = {**suite.content["tasks"]["lr_predict"], "deps": "lr_predict"}
    assert "tasks.again.deps: names lr_predict, which is no training" in row(suite.dag(), "again")["reason"]


def test_a_table_is_uploaded_once(suite: Suite) -> None:
    suite.content["data"].append({**suite.content["data"][0], "partition": 16})
    suite.content["data"].append({**suite.content["data"][0], "role": "host_0"})
    assert len([task for task in suite.dag().task_ids if task.startswith("upload.")]) == 4
    # where the host has a storage of its own, it gets the table there
    dag = suite.dag(parties={"guest-1": None, "host-2": {"storage_conn_id": "other"}, "arbiter-3": None})
    assert dag.get_task("upload.host_0_breast_hetero_guest").storage_conn_id == "other"
    suite.content["data"][-1]["file"] = "data/breast_hetero_host.csv"
    with pytest.raises(ConfigError, match=r"data\[5\]: .*is uploaded already, from another file"):
        suite.dag()


def test_a_table_without_a_role_goes_to_every_storage(suite: Suite) -> None:
    del suite.content["data"][0]["role"]
    suite.content["data"][0]["count"] = 569
    dag = suite.dag(parties={"guest-1": None, "host-2": {"storage_conn_id": "other"}, "arbiter-3": None})
    uploads = [dag.get_task(task) for task in dag.task_ids if "breast_hetero_guest" in task and "new" not in task]
    assert sorted(task.storage_conn_id for task in uploads) == ["fate_storage", "other"]


def test_data_is_found_beside_the_suite_or_above_it(suite: Suite) -> None:
    (suite.folder / "data").mkdir()
    with pytest.raises(ConfigError, match=r"breast_hetero_testsuite.json: data\[0\].file: .*say with data_root where"):
        suite.dag(data_root=None)
    for entry in suite.content["data"]:
        (suite.folder / entry["file"]).write_text("id,y\n")
    dag = suite.dag(data_root=None)
    source = dag.get_task("upload.guest_0_breast_hetero_guest").source
    assert source == str((suite.folder / "data/breast_hetero_guest.csv").resolve())


@pytest.mark.parametrize("below", [True, False])
def test_a_data_file_that_is_not_found_leaves_the_others(suite: Suite, below: bool) -> None:
    """It was the end of the whole suite without data_root, and an upload that failed as it ran with it."""
    (suite.folder / "data").mkdir()
    for entry in suite.content["data"]:
        (suite.folder / entry["file"]).write_text("id,y\n")
    suite.content["data"][1]["file"] = "data/nowhere.csv"
    dag = suite.dag(data_root=suite.folder if below else None)
    task = dag.get_task("upload.host_0_breast_hetero_host")
    assert isinstance(task, FateRefusedOperator)
    where = f"below data_root, {suite.folder}" if below else "below a folder above it; say with data_root where it is"
    assert task.reason == (
        f"breast_hetero_testsuite.json: data[1].file: 'data/nowhere.csv' is neither beside the suite nor {where}"
    )
    assert "upload.host_0_breast_hetero_host" in up(dag, "lr.host_10000")
    assert row(dag, "lr_predict")["reason"] is None
    others = [dag.get_task(name) for name in dag.task_ids if name.startswith("upload.") and name != task.task_id]
    assert len(others) == 3 and not any(isinstance(one, FateRefusedOperator) for one in others)


def test_data_that_is_only_where_the_workers_are(suite: Suite) -> None:
    dag = suite.dag(data_root="/nowhere/fate")
    upload = dag.get_task("upload.host_0_breast_hetero_host")
    assert upload.source == "/nowhere/fate/data/breast_hetero_host.csv"


@pytest.mark.parametrize("file", ["x" * 5000, "a\0b", "x/" * 3000])
def test_what_cannot_be_a_path_is_not_found(suite: Suite, file: str) -> None:
    suite.content["data"][0]["file"] = file
    dag = suite.dag()
    assert "data[0].file: " in dag.get_task("upload.guest_0_breast_hetero_guest").reason
    with pytest.raises(ConfigError, match="cannot be read|is not JSON"):
        fate_test_suite(file)
    suite.content["tasks"]["lr"]["conf"] = file
    with pytest.raises(ConfigError, match="tasks.lr.conf"):
        suite.dag()


def test_a_module_that_is_not_there_yet_leaves_the_others(suite: Suite) -> None:
    def nn(dsl: dict[str, Any]) -> None:
        dsl["components"]["hetero_lr_0"]["module"] = "HeteroNN"

    suite.changed("hetero_lr_dsl.json", "nn_dsl.json", nn)
    suite.content["tasks"]["nn"] = {"conf": "hetero_lr_conf.json", "dsl": "nn_dsl.json"}
    suite.content["tasks"]["nn_predict"] = {**suite.content["tasks"]["lr_predict"], "deps": "nn"}
    dag = suite.dag()
    reason = row(dag, "nn")["reason"]
    assert reason.startswith("hetero_lr_conf.json, nn_dsl.json: dsl.components.hetero_lr_0.module: the module HeteroNN")
    task = dag.get_task("nn")
    assert isinstance(task, FateRefusedOperator)
    with pytest.raises(AirflowFailException, match="HeteroNN is known and not there yet"):
        task.execute({})
    assert row(dag, "nn_predict")["reason"] == "needs nn"
    assert up(dag, "nn_predict") == {"nn"}
    assert {"lr.guest_9999", "lr_predict.guest_9999", "lr_v1.guest_9999"} <= set(dag.task_ids)
    assert json.dumps(DagSerialization.to_dict(dag))


def test_what_cannot_be_uploaded_leaves_the_others(suite: Suite) -> None:
    suite.content["data"] += [
        {"engine": "PATH", "namespace": "n", "name": "images", "address": {"path": "examples/data/mnist"},
         "role": "guest_0"},
        {**suite.content["data"][0], "table_name": "odd", "colour": "red"},
        {**suite.content["data"][0], "table_name": "a/b"},
        {**suite.content["data"][0], "table_name": "c", "head": "x"},
        {**suite.content["data"][0], "table_name": "d", "partition": 0},
        {**suite.content["data"][0], "table_name": "e", "drop": 3},
        {**suite.content["data"][0], "table_name": "f", "namespace": ".n"},
        {**suite.content["data"][0], "table_name": "g" * 300},
    ]  # fmt: skip
    dag = suite.dag()
    for name, says in {
        "a_b": "data[6].table_name: 'a/b' is not a safe name",
        "c": "data[7].head: 'x' is not a yes or no",
        "d": "data[8].partition: 0 is not a whole number from 1",
        "e": "data[9].drop: 3 is not a yes or no",
        "f": "data[10].namespace: '.n' is not a safe name",
    }.items():
        assert f"breast_hetero_testsuite.json: {says}" in dag.get_task(f"upload.guest_0_{name}").reason
    (longest,) = [dag.get_task(task) for task in dag.task_ids if "ggg" in task]
    assert "data[11].table_name: a name of 300 characters" in longest.reason
    assert "engine PATH" in dag.get_task("upload.guest_0_images").reason
    assert "breast_hetero_testsuite.json: data[5].colour: is not a key" in dag.get_task("upload.guest_0_odd").reason


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("tasks/lr/substitutes", {"v1": {}}, r"tasks.lr.v1: has the name of tasks.lr.substitutes.v1, lr.v1; re"),
        ("tasks/lr/conf", "no.json", r"testsuite.json: tasks.lr.conf \(.*no.json\): cannot be read"),
        ("tasks/lr/dsl", "broken.json", r"testsuite.json: tasks.lr.dsl \(.*broken.json\): is not JSON"),
        ("tasks/lr/dsl", "list.json", r"tasks.lr.dsl .*holds a JSON list"),
        ("tasks/lr/dsl", 5, r"tasks.lr.dsl: expected the name of a .json file, got 5"),
        ("tasks/lr/conf", None, r"tasks.lr.conf: is missing"),
        ("tasks/lr/dpes", "lr", r"tasks.lr.dpes: unknown key; did you mean deps\?"),
        ("tasks/lr_predict/deps", "lrr", r"tasks.lr_predict: needs 'lrr', which is no task; did you mean lr\?"),
        ("tasks/lr_predict/deps", {"a": 1}, r"tasks.lr_predict.deps: expected the name of a task"),
        ("tasks/lr/deps", "lr_predict", r"tasks.lr: waits in a circle: lr, lr_predict"),
        ("tasks/lr", [], r"tasks.lr: expected a dict"),
        ("tasks/lr/data_deps", {"lr.v1": {"gest_0": {}}}, r"tasks.lr.data_deps.lr.v1.gest_0: 'gest_0': expected guest"),
        ("tasks/lr/data_deps", {"lr.v1": {"guest_0": {"reader_0": 5}}}, r"guest_0.reader_0: expected the name"),
        ("task", {}, r"testsuite.json: task: unknown key; did you mean tasks\?"),
        ("data", {}, r"data: expected a list of uploads"),
        ("data/0/role", "arbiter_0", r"data\[0\].role: 'arbiter_0': expected guest_0, host_0"),
        ("data/0/file", None, r"data\[0\].file: expected the name of a file"),
        ("data/1/namespace", 5, r"data\[1\].namespace: expected text"),
        ("data/1/table_name", "", r"data\[1\].table_name: expected text"),
        ("data/1", "x", r"data\[1\]: expected a dict"),
    ],
)
def test_what_is_wrong_names_file_and_key(suite: Suite, path: str, value: Any, says: str) -> None:
    suite.content["tasks"]["lr.v1"] = suite.content["tasks"].pop("lr_v1")
    suite.write("broken.json", "{'a': 1}")
    suite.write("list.json", "[]")
    *steps, last = path.split("/")
    inner = suite.content
    for step in steps:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    inner[int(last) if isinstance(inner, list) else last] = value
    with pytest.raises(ConfigError, match=says):
        suite.dag()


def test_no_suite_at_all(suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.json: cannot be read"):
        fate_test_suite(tmp_path / "nowhere.json")
    suite.content = {"data": [], "pipeline_tasks": {"lr": {"script": "lr.py"}}}
    with pytest.raises(ConfigError, match="tasks: is missing or empty; pipeline_tasks are Python scripts"):
        suite.dag()


def test_a_benchmark_suite_names_scripts(suite: Suite) -> None:
    content = {"data": suite.content["data"], "hetero_lr": {"local": {"script": "sklearn-lr.py", "conf": "lr.yaml"}}}
    suite.write("lr_benchmark.json", content)
    with pytest.raises(ConfigError, match="lr_benchmark.json: hetero_lr: benchmark suites name Python scripts"):
        fate_test_suite(suite.folder / "lr_benchmark.json", data_root=DATA)


@pytest.mark.parametrize("nothing", [[], "", None])
def test_deps_that_name_nothing_are_none(suite: Suite, nothing: Any) -> None:
    suite.content["tasks"]["lr"]["deps"] = nothing
    suite.content["tasks"]["lr_predict"]["model_deps"] = nothing
    dag = suite.dag()
    assert row(dag, "lr")["needs"] == []
    assert row(dag, "lr_predict")["needs"] == ["lr"]


def test_the_reason_of_a_cache(suite: Suite) -> None:
    suite.content["tasks"]["lr"]["cache_deps"] = "lr_v1"
    reason = row(suite.dag(), "lr")["reason"]
    assert reason.endswith("tasks.lr.cache_deps: the cache of an intersection is known and not there yet")


def test_a_party_as_text(suite: Suite) -> None:
    few = suite.dag(parties="guest-1")
    assert "role.host: has 1, but the suite's parties have none" in row(few, "lr")["reason"]


def test_older_forms_of_suites(suite: Suite) -> None:
    """FATE 1.4: work_mode with the data, a type, and the same job on other tables."""
    for entry in suite.content["data"]:
        entry.update(work_mode=0, backend=0)
        entry["role"] = entry["role"].removesuffix("_0")
    tables = {
        role: {
            "args": {"data": {"train_data": [{"name": f"breast_hetero_{role}_new", "namespace": "fate_test_suite"}]}}
        }
        for role in ("guest", "host")
    }
    suite.content["work_mode"] = 0
    suite.content["tasks"]["lr_v1"].update(type="train", substitutes={"new": {"role_parameters": tables}})
    suite.content["tasks"]["lr"]["conf"] = suite.read("hetero_lr_conf.json")
    dag = suite.dag()
    assert "upload.guest_0_breast_hetero_guest_new" in up(dag, "lr_v1_new.guest_9999")
    assert "upload.guest_0_breast_hetero_guest_new" not in up(dag, "lr_v1.guest_9999")
    notices = dag.get_task("summary").notices
    assert len([notice for notice in notices if "work_mode has no effect here" in notice]) == 2


def test_the_output_of_another_job_as_data(suite: Suite) -> None:
    """FATE 1.6: data_deps; what a Reader read is known, predictions are when they are made."""
    suite.content["tasks"]["again"] = {
        "conf": "hetero_lr_conf.json", "dsl": "hetero_lr_dsl.json",
        "data_deps": {"lr_predict": {"guest_0": {"reader_0": "reader_0"}, "host_0": {"reader_0": "reader_0"}}},
    }  # fmt: skip
    suite.content["tasks"]["stacked"] = {
        "conf": "hetero_lr_conf.json", "dsl": "hetero_lr_dsl.json",
        "data_deps": {"lr": {"guest_0": {"reader_0": "hetero_lr_0"}}},
    }  # fmt: skip
    suite.content["tasks"]["no"] = {
        "conf": "hetero_lr_conf.json", "dsl": "hetero_lr_dsl.json",
        "data_deps": {"lr": {"guest_0": {"reader_0": "intersection_0"}}},
    }  # fmt: skip
    dag = suite.dag()
    again = dag.get_task("again.guest_9999").data
    assert again["guest"] == [{"reader_0": {"namespace": "fate_test_suite", "name": "breast_hetero_guest_new"}}]
    assert "lr_predict.guest_9999" in up(dag, "again.host_10000")
    stacked = dag.get_task("stacked.arbiter_10000").data
    assert stacked["guest"][0]["reader_0"]["name"] == (
        "{{ (ti.xcom_pull(task_ids='lr.guest_9999', key='output')['hetero_lr_0'].values() | first)['name'] }}"
    )
    assert "are not kept as a table" in row(dag, "no")["reason"]


def test_names_that_airflow_does_not_take(suite: Suite) -> None:
    suite.content["tasks"] = {
        "lr (ovr), é": suite.content["tasks"]["lr"], "lr_ovr": suite.content["tasks"]["lr_v1"],
        "summary": suite.content["tasks"]["lr_v1"],
    }  # fmt: skip
    dag = suite.dag()
    assert {"lr_ovr.guest_9999", "lr_ovr_2.guest_9999", "summary_2.guest_9999", "summary"} <= set(dag.task_ids)
    assert row(dag, "lr_ovr")["result"] == "lr_ovr_2.guest_9999"


def test_names_that_are_too_long_for_airflow(suite: Suite) -> None:
    task = suite.content["tasks"]["lr_v1"]
    suite.content["tasks"] = {name: task for name in ("x" * 260, "x" * 261, "y" * 150)}
    dag = suite.dag(dag_id="d")
    short, other, whole = (row(dag, name)["tasks"][0] for name in suite.content["tasks"])
    assert whole == f"{'y' * 150}.guest_9999"
    assert short.startswith("x" * 141 + "_") and len(short) == len(whole) == len(other)
    assert short != other
    assert suite.dag().task_ids == dag.task_ids
    long = suite.write("z" * 230 + "_testsuite.json", suite.content)
    assert len(fate_test_suite(suite.folder / long, data_root=DATA).dag_id) == 150


# -- the summary


class Ti:
    """A task instance that knows how the others went."""

    dag_id, run_id = "d", "r"

    def __init__(self, states: dict[str, str], xcoms: dict[tuple[str, str], Any]) -> None:
        self.states, self.xcoms, self.pushed = states, xcoms, {}

    def get_task_breadcrumbs(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return [{"task_id": task, "state": state, "duration": 2.5} for task, state in self.states.items()]

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        return self.xcoms.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def rows(*names: str, reason: str | None = None) -> list[dict[str, Any]]:
    return [
        {
            "name": n,
            "tasks": [f"{n}.g", f"{n}.h"],
            "result": f"{n}.g",
            "needs": ["a"],
            "reason": reason,
            "evaluations": ["evaluation_0"],
        }
        for n in names
    ]


def test_a_summary_of_what_went_well() -> None:
    states = {"a.g": "success", "a.h": "success"}
    xcoms = {("a.g", "metrics"): {"a_0": {"loss": 1}, "evaluation_0": {"auc": 0.98765, "n": {"ks": 0.9}, "ok": True}},
             ("a.g", "result"): {"count": 90}}  # fmt: skip
    ti = Ti(states, xcoms)
    found = FateSuiteSummaryOperator(task_id="s", rows=rows("a"), uploads=[], notices=[]).execute({"ti": ti})
    assert found["a"]["metrics"] == {"evaluation_0.auc": 0.98765, "evaluation_0.n.ks": 0.9, "a_0.loss": 1, "rows": 90}
    assert list(found["a"]["metrics"])[0] == "evaluation_0.auc"
    assert table(found)[1].split() == [
        "a", "success", "2.5",
        "evaluation_0.auc", "0.98765,", "evaluation_0.n.ks", "0.9,", "a_0.loss", "1,", "rows", "90",
    ]  # fmt: skip


def test_a_summary_names_what_failed() -> None:
    states = {"a.g": "failed", "a.h": "failed", "b.g": "upstream_failed", "b.h": "upstream_failed", "u": "failed",
              "c.g": "failed", "c.h": "success"}  # fmt: skip
    ti = Ti(states, {("a.h", "fate_error"): "host-1: no rows"})
    more = [*rows("a", "b"), *rows("c", reason="the module HeteroNN is known and not there yet")]
    summary = FateSuiteSummaryOperator(task_id="s", rows=more, uploads=["u"], notices=[])
    with pytest.raises(AirflowFailException, match=r"0 of 3 jobs succeeded; .*a \(failed: host-1: no rows\); b \(not "):
        summary.execute({"ti": ti})
    assert {name: job["state"] for name, job in ti.pushed["jobs"].items()} == {
        "a": "failed", "b": "not run", "c": "refused",
    }  # fmt: skip
    assert ti.pushed["jobs"]["b"]["reason"] == "needs a"
