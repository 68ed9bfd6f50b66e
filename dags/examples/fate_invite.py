"""The initiator's side of a training with another organisation, which has an Airflow of its own: copy it.

1. ``invite`` starts a run of the other party's DAG (``fate_invited.py``) over its Airflow's REST API, and waits until
   it has accepted, without a worker slot; a person there may have to approve
2. ``train`` is this party's own part. The other one's runs at the same time, in its own Airflow
3. ``dismiss`` sees to the other party's run: it ends it where our part did not succeed, and else waits for its end

The connection ``fate_site_10000`` (type ``fate_site``) leads to the other party's Airflow.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_fate.operators.invite import FateDismissOperator, FateInviteOperator
from airflow_provider_fate.operators.train import FateTrainOperator

ME = {"role": "guest", "party_id": 9999}
JOB = "fate_jobs/hetero_secureboost.json"
# The other party has the same: who is tried again meets the other one, and both go on from their last checkpoint.
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=30)}

with DAG("fate_invite", schedule=None, catchup=False, tags=["fate"], doc_md=__doc__, default_args=AGAIN):
    invite = FateInviteOperator(task_id="invite", job=JOB, sites={"host-10000": "fate_site_10000"}, **ME)

    invited = {"job_id": invite.output["job_id"], "peers": invite.output["peers"]}
    train = FateTrainOperator(task_id="train", job=JOB, **invited, **ME)

    dismiss = FateDismissOperator(task_id="dismiss", peers=invite.output["peers"], succeeded=train.output)

    invite >> train >> dismiss.as_teardown(setups=invite)
