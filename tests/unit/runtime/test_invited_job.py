"""Parties that know a job from their invitations alone agree on it, and make the model that all-knowing ones make."""

from __future__ import annotations

import json

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.invitation import Invitation
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableStore
from tests.unit.runtime.whole_jobs import GUEST, HOST, TABLES, Parties, Try, lr_job


def invited(job: Job, job_id: str, party: Party) -> Job:
    """The job as it arrives at a party."""
    text = json.dumps(Invitation.for_party(job, job_id, GUEST, party).to_dict())
    assert TABLES["guest"]["name"] not in text
    return Invitation.parse(text).job


def run(breast: Parties, jobs: dict[Party, Job], job_id: str) -> dict[Party, dict]:
    tries = [Try(breast, job, party, job_id, 20) for party, job in jobs.items()]
    for one in tries:
        one.join(60)
    assert [one.error for one in tries if one.error is not None] == []
    return {one.party: one.status for one in tries}


def weights(breast: Parties, job: Job, version: str) -> dict[Party, str]:
    stores = {party: ModelStore(breast.storage(party), party) for party in (GUEST, HOST)}
    return {
        party: json.dumps(store.load(job.model_id, version)["hetero_lr_0"].meta, sort_keys=True)
        for party, store in stores.items()
    }


def test_training_and_prediction(breast: Parties) -> None:
    job = lr_job()
    breast.run(job, "whole")
    told = {party: job if party == GUEST else invited(job, "invited", party) for party in job.parties}
    status = run(breast, told, "invited")
    assert status[GUEST]["metrics"]["evaluation_0"]["auc"] > 0.97
    assert weights(breast, job, "invited") == weights(breast, job, "whole")

    conf = {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000]},
        "job_parameters": {"common": {"job_type": "predict", "model_id": job.model_id, "model_version": "invited"}},
    }
    predict = Job.parse(conf).with_data(TABLES)
    told = {GUEST: predict, HOST: invited(predict, "predicted", HOST)}
    for party, one in told.items():
        stored = ModelStore(breast.storage(party), party).describe(job.model_id, "invited")["job"]
        told[party] = one.for_prediction(stored)
    result = run(breast, told, "predicted")[GUEST]["result"]
    assert result["count"] == TableStore(breast.storage(GUEST)).meta("experiment", "breast_hetero_guest").count
