"""The bank's side: two trainings to disturb, one by trees and one with an arbiter; and the upload of its table."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_fate.operators.invite import FateDismissOperator, FateInviteOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.operators.upload import FateUploadOperator

HERE = Path(__file__).parent
SETTINGS = json.loads((HERE / "chaos.json").read_text())
SITES = {"host-10000": "fate_site_10000", "arbiter-10000": "fate_site_10000_arbiter"}
AGAIN = {"retries": SETTINGS["retries"], "retry_delay": timedelta(seconds=SETTINGS["retry_delay"])}

for name, job in SETTINGS["jobs"].items():
    sites = {party: SITES[party] for party in job["sites"]}
    how = {"job": job["conf"], "role": "guest", "party_id": 9999}
    with DAG(f"chaos_{name}", schedule=None, default_args=AGAIN):
        invite = FateInviteOperator(task_id="invite", sites=sites, poll_interval=1, patience=120, **how)
        train = FateTrainOperator(
            task_id="train", job_id=invite.output["job_id"], peers=invite.output["peers"],
            wait_timeout=SETTINGS["wait_timeout"], **how,
        )  # fmt: skip
        dismiss = FateDismissOperator(
            task_id="dismiss", peers=invite.output["peers"], succeeded=train.output, poll_interval=1, patience=120
        )
        invite >> train >> dismiss.as_teardown(setups=invite)

with DAG("upload", schedule=None):
    FateUploadOperator(
        task_id="upload", source=str(HERE / "data" / "breast_hetero_guest.csv"), drop=True,
        namespace="fate_examples", name="breast_hetero_guest",
    )  # fmt: skip
