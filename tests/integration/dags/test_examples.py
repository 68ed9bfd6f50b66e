"""Every example DAG runs to its end on a real Airflow, in the order in which a person would try them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableStore
from tests.servers.airflow import Airflow

MINUTES = 60


@pytest.fixture(scope="module")
def storage(examples: Airflow) -> LocalStorage:
    return LocalStorage(examples.root / "storage")


def rows_of(path: str | Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_toy_example(examples: Airflow) -> None:
    run = examples.run("fate_toy_example", seconds=4 * MINUTES)
    log = examples.task_log("fate_toy_example", run, "secure_add.guest_9999")
    assert re.search(r"success to calculate secure_sum, it is 2000\.0", log)
    assert "0 (Eggroll): the job runs on Spark" in log
    assert re.search(r"Spark's own output goes to .*guest-9999.try1.log", log)
    assert "INFO SparkContext" not in log
    found = examples.xcom("fate_toy_example", run, "secure_add.host_9999")
    assert found["party"] == "host-9999"


def test_five_steps(examples: Airflow, storage: LocalStorage) -> None:
    dag = "fate_five_steps"
    run = examples.run(dag, seconds=12 * MINUTES)
    trained = examples.xcom(dag, run, "train.guest_9999")
    assert trained["metrics"]["evaluation_0"]["auc"] > 0.98
    best = examples.xcom(dag, run, "tune.choose_best")
    tried = [examples.xcom(dag, run, "tune.parameter_set.train.guest_9999", map_index=i) for i in (0, 1)]
    aucs = [one["metrics"]["evaluation_0"]["auc"] for one in tried]
    assert best["value"] == max(aucs)
    assert best["model_version"] == tried[aucs.index(max(aucs))]["model_version"]
    assert tried[0]["model_version"] != tried[1]["model_version"]
    for party in ("guest-9999", "host-10000", "arbiter-10000"):
        assert ModelStore(storage, Party.parse(party)).deployed_version(best["model_id"]) == best["model_version"]

    predicted = examples.xcom(dag, run, "predict.guest_9999")
    result = predicted["result"]
    assert result["count"] == 90  # the customers that both parties know
    assert examples.xcom(dag, run, "predict.host_10000")["result"] is None
    table = TableStore(storage).preview(result["namespace"], result["name"], 1000)
    assert table.column_names == ["id", "label", "predict_result", "predict_score", "predict_detail", "type"]
    exported = rows_of(predicted["csv"])
    assert sorted(row["id"] for row in exported) == sorted(table["id"].to_pylist())
    right = sum(float(row["label"]) == float(row["predict_result"]) for row in exported)
    assert right / len(exported) > 0.9


def test_tables_and_models_are_assets(examples: Airflow) -> None:
    found = examples.api("GET", "assets/events", limit=200, order_by="-timestamp")["asset_events"]
    uploads = {event["uri"]: event["extra"] for event in found if event["uri"].startswith("fate://table/")}
    extra = uploads["fate://table/fate_five_steps/breast_hetero_guest"]
    assert extra["count"] == 569
    assert len(extra["digest"]) == 64
    assert extra["schema"] == {"id": "string", "y": "double", **{f"x{i}": "double" for i in range(10)}}
    by_uri: dict[str, list[Any]] = {}
    for event in found:
        by_uri.setdefault(event["uri"], []).append(event["extra"])
    deployed = by_uri["fate://deployed/breast_hetero_lr"][0]
    trained = by_uri["fate://model/breast_hetero_lr"]
    # one event a training, though all three parties are here
    versions = [one["model_version"] for one in trained]
    assert len(set(versions)) == len(versions) >= 3 and deployed["model_version"] in versions
    assert max(one["metrics"]["evaluation_0"]["auc"] for one in trained) > 0.98
    for party in deployed["parties"]:
        assert sorted(one["model_version"] for one in by_uri[f"fate://model/breast_hetero_lr/{party}"]) == sorted(
            versions
        )


def test_prediction_when_new_tables_arrive(examples: Airflow, tmp_path: Path) -> None:
    """After the five steps a version is deployed; two uploads from another DAG start the prediction."""
    examples.wait_for_dag("fate_predict_on_new_table")
    examples.api("PATCH", "dags/fate_predict_on_new_table", {"is_paused": False})
    dag = tmp_path / "fate_new_customers.py"
    dag.write_text(
        "from airflow.sdk import DAG\n"
        "from airflow_provider_fate.operators.upload import FateUploadOperator\n"
        "with DAG('fate_new_customers', schedule=None):\n"
        "    for role in ('guest', 'host'):\n"
        "        FateUploadOperator(\n"
        "            task_id=role, namespace='fate_inbox', name=f'new_customers_{role}', drop=True,\n"
        f"            source=f'{examples.dags}/data/breast_hetero_{{role}}_new.csv',\n"
        "        )\n"
    )
    examples.add_dags(dag)
    examples.run("fate_new_customers", seconds=2 * MINUTES)
    run = examples.latest_run("fate_predict_on_new_table")
    examples.wait("fate_predict_on_new_table", run, 4 * MINUTES)
    predicted = examples.xcom("fate_predict_on_new_table", run, "predict.guest_9999")
    assert predicted["result"]["count"] == 90
    assert len(rows_of(predicted["csv"])) == 90


def test_params(examples: Airflow, storage: LocalStorage) -> None:
    dag = "fate_params"
    conf = {"iterations": 2, "learning_rate": 0.3, "namespace": "chosen", "driver_memory": "768m"}
    run = examples.run(dag, conf, seconds=5 * MINUTES)
    trained = examples.xcom(dag, run, "train.guest_9999")
    model = ModelStore(storage, Party.parse("guest-9999")).describe(trained["model_id"], trained["model_version"])
    parameters = model["job"]["conf"]["component_parameters"]["common"]["hetero_lr_0"]
    assert (parameters["max_iter"], parameters["learning_rate"]) == (2, 0.3)
    assert TableStore(storage).exists("chosen", "breast_hetero_guest")
    assert "--driver-memory 768m" in examples.task_log(dag, run, "train.guest_9999")
    # the table's name was not known when the DAG was parsed; its event came all the same
    events = examples.api("GET", "assets/events", limit=200)["asset_events"]
    (event,) = [one for one in events if one["uri"] == "fate://table/chosen/breast_hetero_guest"]
    assert event["extra"]["count"] == 569


def test_tuning(examples: Airflow) -> None:
    run = examples.run("fate_tuning", seconds=8 * MINUTES)
    best = examples.xcom("fate_tuning", run, "tune.choose_best")
    assert best["value"] > 0.97
    assert examples.xcom("fate_tuning", run, "deploy")["model_version"] == best["model_version"]


def test_scheduled_retraining(examples: Airflow) -> None:
    dag = "fate_scheduled_retraining"
    assert examples.wait_for_dag(dag)["timetable_summary"] == "0 3 * * *"
    # switched on, it makes up for the last night by itself
    examples.api("PATCH", f"dags/{dag}", {"is_paused": False})
    run = examples.latest_run(dag)
    examples.wait(dag, run, 8 * MINUTES)
    examples.api("PATCH", f"dags/{dag}", {"is_paused": True})
    assert run.startswith("scheduled__")
    predicted = examples.xcom(dag, run, "predict.guest_9999")
    assert predicted["model_version"] == examples.xcom(dag, run, "deploy")["model_version"]
    assert len(rows_of(predicted["csv"])) == predicted["result"]["count"] == 90
