"""Two organisations train together every night, without any invitation: both copy this DAG.

Each writes its own role, party id and data into it; DAG and tasks may have other names at each side. What makes two
runs one job is its id, and that follows from the logical date: ``nightly_20260131T030000``. So both have the same
``JOB_ID`` and schedule, with its time zone, and the same job but for the parameters of single parties.

Each side's part waits up to an hour for the other's. A run that is started by hand needs a logical date, the same at
both sides.
"""

from __future__ import annotations

from pathlib import Path

import pendulum
from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_fate.operators.deploy import FateDeployOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.operators.upload import FateUploadOperator

ME = {"role": "guest", "party_id": 9999}
JOB = "fate_jobs/hetero_secureboost.json"
JOB_ID = "nightly_{{ ts_nodash }}"
TABLE = {"namespace": "fate_examples", "name": f"breast_hetero_{ME['role']}"}

with DAG(
    "fate_scheduled",
    # by the name of its class, so that the logical date does not depend on each side's airflow.cfg
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["fate"],
    doc_md=__doc__,
):
    upload = FateUploadOperator(
        task_id="upload", source=str(Path(__file__).parent / "data" / f"{TABLE['name']}.csv"), drop=True, **TABLE
    )
    train = FateTrainOperator(task_id="train", job=JOB, job_id=JOB_ID, wait_timeout=3600, retries=2, **ME)
    deploy = FateDeployOperator(
        task_id="deploy",
        model_id=train.output["model_id"],
        model_version=train.output["model_version"],
        parties=[f"{ME['role']}-{ME['party_id']}"],  # each deploys its own part
    )
    upload >> train >> deploy
