"""The DAG by which a party takes part in jobs that others initiate: copy it, with the policy file beside it.

The initiator starts a run of it over Airflow's REST API; the run's id is the job's, and its conf is the invitation.

1. ``decide`` checks the invitation, holds it against ``fate_invited_policy.yaml`` and leaves an answer to be read
2. ``approve`` waits for a person where the policy wants one; otherwise it is skipped
3. ``train`` or ``predict`` is this party's part. It checks the policy again before it reads anything

Nothing of the conf is ever rendered as a template. How Spark runs is said by this party's own connection.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_fate.operators.invited import FateApproveOperator, FateDecideOperator
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator

ME = {"role": "host", "party_id": 10000}
POLICY = str(Path(__file__).parent / "fate_invited_policy.yaml")
INVITATION = "{{ dag_run.conf | tojson }}"
# as at the initiator: who is tried again meets the other one, and both go on from their last checkpoint
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=30)}

with DAG(
    "fate_invited", schedule=None, catchup=False, tags=["fate"], doc_md=__doc__, max_active_runs=4, default_args=AGAIN
):
    decide = FateDecideOperator(task_id="decide", policy=POLICY, **ME)

    approve = FateApproveOperator(task_id="approve", needed=decide.output["needs_approval"])

    @task.branch(trigger_rule="none_failed")
    def which(kind: str) -> str:
        return kind  # which is the name of the task as well

    take_part = {**ME, "invitation": INVITATION, "policy": POLICY, "approval": approve.output}
    train = FateTrainOperator(task_id="train", trigger_rule="none_failed", **take_part)
    predict = FatePredictOperator(task_id="predict", trigger_rule="none_failed", **take_part)

    approve >> which(decide.output["kind"]) >> [train, predict]
