"""A training that is long enough to disturb, and one whose host never comes. Copied into the tests' Airflow."""

from __future__ import annotations

import json
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_fate.operators.group import fate_train
from airflow_provider_fate.operators.upload import FateUploadOperator

HERE = Path(__file__).parent
NAMESPACE = "fate_faults"
JOB = json.loads((HERE / "fate_jobs" / "hetero_lr.json").read_text())
# on the executors, where each iteration takes half a second or so
JOB["conf"]["job_parameters"]["common"] |= {"computing_partitions": 2, "model_id": "disturbed"}
JOB["conf"]["component_parameters"]["common"]["hetero_lr_0"] |= {"max_iter": 16, "tol": 1e-9, "batch_size": -1}
#: a task that is marked in Airflow hears of it some seconds later
ENDLESS = {"hetero_lr_0": {"max_iter": 10_000}}
TABLES = {role: {"namespace": NAMESPACE, "name": f"breast_hetero_{role}"} for role in ("guest", "host")}

with DAG("fate_faults_upload", schedule=None):
    for role, table in TABLES.items():
        FateUploadOperator(
            task_id=role, source=str(HERE / "data" / f"breast_hetero_{role}.csv"), drop=True, **table
        )

with DAG("fate_faults", schedule=None):
    fate_train("train", JOB, data=TABLES, wait_timeout=60)

with DAG("fate_faults_endless", schedule=None):
    fate_train("train", JOB, data=TABLES, parameters=ENDLESS, wait_timeout=60)

with DAG("fate_faults_alone", schedule=None):
    fate_train("train", JOB, data=TABLES, parties=["guest-9999"], wait_timeout=8)
