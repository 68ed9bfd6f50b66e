"""Every night: upload what there is, train anew, deploy the new model and score the customers with it.

Where the training fails, the version that is deployed stays.
"""

from __future__ import annotations

import os
from pathlib import Path

import pendulum
from airflow.sdk import DAG

from airflow_provider_fate.operators.deploy import FateDeployOperator
from airflow_provider_fate.operators.group import fate_predict, fate_train
from airflow_provider_fate.operators.upload import FateUploadOperator

DATA = Path(__file__).parent / "data"
RESULTS = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")) / "fate_results"
NAMESPACE = "fate_scheduled_retraining"
PARTIES = ["guest-9999", "host-10000", "arbiter-10000"]


def tables(suffix: str = "") -> dict[str, dict[str, str]]:
    return {role: {"namespace": NAMESPACE, "name": f"breast_hetero_{role}{suffix}"} for role in ("guest", "host")}


def uploads(suffix: str = "") -> list[FateUploadOperator]:
    return [
        FateUploadOperator(
            task_id=f"upload_{table['name']}", source=str(DATA / f"{table['name']}.csv"), drop=True, **table
        )
        for table in tables(suffix).values()
    ]


with DAG(
    "fate_scheduled_retraining",
    schedule="0 3 * * *",
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["fate"],
    doc_md=__doc__,
):
    train = fate_train("train", "fate_jobs/hetero_lr.json", data=tables(), retries=1)
    deploy = FateDeployOperator(
        task_id="deploy",
        model_id=train.result["model_id"],
        model_version=train.result["model_version"],
        parties=PARTIES,
    )
    predict = fate_predict(
        "predict",
        model_id=train.result["model_id"],
        # not "deployed": another run may have deployed a newer one in the meantime
        model_version=train.result["model_version"],
        parties=["guest-9999", "host-10000"],  # the arbiter has no part in it
        data=tables("_new"),
        export_csv=f"{RESULTS}/scores.csv",
    )
    uploads() >> train >> deploy >> predict
    uploads("_new") >> predict
