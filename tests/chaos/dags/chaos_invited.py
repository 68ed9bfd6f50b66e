"""The telco's side: a DAG that takes invitations for each role that it plays; and the upload of its table."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_fate.operators.invited import FateDecideOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.operators.upload import FateUploadOperator

HERE = Path(__file__).parent
SETTINGS = json.loads((HERE / "chaos.json").read_text())
POLICY = str(HERE / "chaos_policy.yaml")
AGAIN = {"retries": SETTINGS["retries"], "retry_delay": timedelta(seconds=SETTINGS["retry_delay"])}

for role, dag_id in (("host", "fate_invited"), ("arbiter", "fate_invited_arbiter")):
    me = {"role": role, "party_id": 10000, "policy": POLICY}
    with DAG(dag_id, schedule=None, default_args=AGAIN, is_paused_upon_creation=False):
        decide = FateDecideOperator(task_id="decide", **me)
        train = FateTrainOperator(
            task_id="train", invitation="{{ dag_run.conf | tojson }}", wait_timeout=SETTINGS["wait_timeout"], **me
        )
        decide >> train

with DAG("upload", schedule=None):
    FateUploadOperator(
        task_id="upload", source=str(HERE / "data" / "breast_hetero_host.csv"), drop=True,
        namespace="fate_examples", name="breast_hetero_host",
    )  # fmt: skip
