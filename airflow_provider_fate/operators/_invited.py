"""What the invited side does with an invitation: read it, hold it against the policy, count it, answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_fate.errors import ConfigError, PolicyError, StorageError, reason_for_peers
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators._job import as_object

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fate.job.conf import Job
    from airflow_provider_fate.job.invitation import Invitation
    from airflow_provider_fate.job.names import TableName
    from airflow_provider_fate.job.policy import Policy

#: the option of Airflow's approval tasks that approves
APPROVE = "Approve"
_ANOTHER_ID = "this id cannot be used here; choose another"


def push_answer(context: Context, refusals: list[str], needs_approval: bool = False) -> None:
    """Leave for the initiator whether it is accepted, and if not why.

    :param refusals: fit for the initiator; none where it is accepted
    """
    from airflow_provider_fate.job.invitation import ANSWER

    if (ti := context.get("ti")) is not None:
        answer = {"accepted": not refusals, "reasons": refusals, "needs_approval": needs_approval}
        ti.xcom_push(key=ANSWER, value=answer)


def reason_for_initiator(error: BaseException) -> str:
    """One sentence on why it goes no further."""
    return "; ".join(error.refusals) if isinstance(error, PolicyError) else reason_for_peers(error)


def read(value: Any, me: Party, kind: str | None, context: Context) -> Invitation:
    """The invitation, checked, where it is for this party and this run.

    :param kind: ``train`` or ``predict``, ``None`` for both
    :raises PolicyError: anything is wrong with it
    """
    from airflow_provider_fate.job.invitation import Invitation

    try:
        invitation = Invitation.parse(value)
    except ConfigError as error:
        # about nothing but what the initiator sent
        raise PolicyError([str(error)]) from error
    if invitation.party != me:
        raise PolicyError([f"party: the invitation is for {invitation.party}; here is {me}"])
    if kind is not None and invitation.kind != kind:
        raise PolicyError([f"kind: the invitation is to {invitation.kind}; this task is to {kind}"])
    ti = context.get("ti")
    if ti is not None and ti.run_id != invitation.job_id:
        raise PolicyError([f"job_id: the invitation is to {invitation.job_id}; the run is another one"])
    return invitation


def whole_job(
    invitation: Invitation, policy: Policy, storage_conn_id: str, context: Context, data: Any = None
) -> Job:
    """The job with, for a prediction, all that is kept with this party's part of the model.

    :param data: this party's own tables by role, other than in the invitation
    :raises PolicyError: the policy does not know who asks, or there is no such model for the initiator
    """
    from airflow_provider_fate.hooks.stores import models
    from airflow_provider_fate.job.refusals import refused

    job, me = invitation.job, invitation.party
    if strangers := policy.check_asker(invitation.initiator, me, _account(context)):
        raise refused(strangers)
    if (own := as_object(data, "data")) is not None:
        job = job.with_data(own)
    if invitation.kind == "train":
        return job
    if me.role == "arbiter":
        raise PolicyError(["party: the arbiter has no part in a prediction"])
    store = models(storage_conn_id, me)
    model_id, version = invitation.model_id, invitation.model_version
    none = f"model: there is no model {model_id} of these parties, or not in version {version}"
    versions = store.versions(model_id)
    if version == "deployed":
        try:
            version = store.deployed_version(model_id)
        except StorageError as error:
            raise PolicyError([none], [str(error)]) from error
    if version not in versions:
        raise PolicyError([none])
    stored = store.describe(model_id, version)["job"]
    if invitation.initiator.party_id not in _roles(stored).get(invitation.initiator.role, []):
        raise PolicyError([none], [f"{none}: {invitation.initiator} has no part in it"])
    try:
        whole = _in_version(job, model_id, version).for_prediction(stored)
    except ConfigError as error:
        raise PolicyError([str(error)]) from error
    if whole.initiator != invitation.initiator:
        raise PolicyError([f"initiator: {invitation.initiator} has no part in this prediction, and cannot ask for it"])
    return whole


def was_accepted(invitation: Invitation, storage_conn_id: str) -> bool:
    """Whether the initiator was told that we take part, and so may wait for us."""
    from airflow_provider_fate.hooks.stores import invitations

    known = invitations(storage_conn_id, invitation.initiator.party_id).find(invitation.job_id)
    return known is not None and known.get("digest") == invitation.digest


def _account(context: Context) -> str | None:
    """The account that started the run."""
    return getattr(context.get("dag_run"), "triggering_user_name", None)


def _in_version(job: Job, model_id: str, version: str) -> Job:
    from airflow_provider_fate.job.conf import Job

    both = job.to_dict()
    common = {**both["conf"]["job_parameters"]["common"], "model_id": model_id, "model_version": version}
    return Job.parse({**both["conf"], "job_parameters": {"common": common}}, both["dsl"])


def _roles(job: dict[str, Any]) -> dict[str, list[str]]:
    """The party ids by role of a job that is kept with a model."""
    return {role: sorted(map(str, ids)) for role, ids in job["conf"]["role"].items() if ids}


def accept(invitation: Invitation, job: Job, policy: Policy, storage_conn_id: str, context: Context) -> list[str]:
    """Hold a job against the policy and count it; returns why a person must approve, empty where nobody need.

    :raises PolicyError: it is not allowed
    """
    from airflow_provider_fate.hooks.stores import has_job, invitations, job_ids, models
    from airflow_provider_fate.job.refusals import Refusal, refused

    me, initiator, job_id = invitation.party, invitation.initiator, invitation.job_id
    tables = _tables(storage_conn_id)
    refusals = policy.check(job, me, tables, _account(context))
    store = invitations(storage_conn_id, initiator.party_id)
    ids = job_ids(storage_conn_id, me)
    known = store.find(job_id)
    if not refusals and invitation.kind == "train":
        kept, made = models(storage_conn_id, me), job.model_version or job_id
        there = {version: kept.describe(job.model_id, version) for version in kept.versions(job.model_id)}
        own = _roles(job.to_dict())
        if any(_roles(one["job"]) != own for one in there.values()):
            refusals.append(
                Refusal("model_id", f"{job.model_id} is asked for", _ANOTHER_ID, "a model of other parties has it")
            )
        # what this job has made itself it may make again, but not what another one has made since it was accepted
        elif made in there and (known is None or there[made].get("job_id") != job_id):
            text = "this version of the model is here already; only a new one may be made"
            refusals.append(Refusal("model_version", f"{made} is asked for", text))
    if refusals:
        raise refused(refusals)
    if known is not None and known.get("digest") != invitation.digest:
        raise refused([Refusal("job_id", f"{job_id} is asked for", "another job had this id")])
    owner = ids.owner(job_id) or initiator.party_id
    if known is None and owner == initiator.party_id:
        if has_job(storage_conn_id, job_id, me):
            text = "a job of this id is here already"
            raise refused([Refusal("job_id", f"{job_id} is asked for", _ANOTHER_ID, text)])
        most = policy.partner(initiator).limits.max_runs_a_day
        content = {
            "format": 1, "job_id": job_id, "initiator": str(initiator), "party": str(me), "kind": invitation.kind,
            "digest": invitation.digest, "accepted": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        if not store.accept(job_id, content, most):
            raise refused(
                [Refusal("job_id", "one more job is asked for today", f"at most {most} a day (UTC) are allowed")]
            )
    if owner == initiator.party_id and (owner := ids.claim(job_id, owner)) != initiator.party_id:
        store.forget(job_id)  # another was quicker
    if owner != initiator.party_id:
        raise refused([Refusal("job_id", f"{job_id} is asked for", _ANOTHER_ID, f"party {owner} has it")])
    return policy.approval_reasons(
        job, me, tables, lambda table, columns: store.used(table.namespace, table.name, columns)
    )


def enter(
    invitation: Invitation, job: Job, policy: Policy, storage_conn_id: str, context: Context, approval: Any
) -> None:
    """What a party's own task does before it reads anything: all of :func:`accept`, and see to the approval.

    :param approval: what the approval task returned
    :raises PolicyError: it is not allowed, or not approved
    """
    from airflow_provider_fate.hooks.stores import invitations
    from airflow_provider_fate.job.refusals import tables_of

    needed = accept(invitation, job, policy, storage_conn_id, context)
    store = invitations(storage_conn_id, invitation.initiator.party_id)
    if needed:
        who = approved_by(approval, policy.partner(invitation.initiator).account)
        if who is None:
            why = "approval: a person must approve this job first, and nobody has"
            if approved_by(approval, None) is not None:
                why = "approval: the initiator's own account approved this job, which does not count"
            raise PolicyError([why], [f"{why}: {'; '.join(needed)}"])
        store.note(invitation.job_id, {"approved_by": who, "approved_at": str(approval.get("responded_at") or "")})
    tables = _tables(storage_conn_id)
    for table in tables_of(job, invitation.party):
        store.mark_used(table.namespace, table.name, _columns(tables(table), table))


def _columns(meta: Any, table: TableName) -> list[str]:
    """:raises StorageError: the table was there when it was accepted, and is not any more"""
    if meta is None:
        raise StorageError(f"table {table} is not there any more")
    return [name for name, _ in meta.columns]


def approved_by(approval: Any, not_by: str | None) -> str | None:
    """Who approved, ``None`` where no person did.

    :param approval: what Airflow's approval task returned
    :param not_by: the initiator's account, which cannot approve its own job
    """
    if not isinstance(approval, dict) or list(approval.get("chosen_options") or ()) != [APPROVE]:
        return None
    user = approval.get("responded_by_user")
    names = [str(user[key]) for key in ("name", "id") if user.get(key)] if isinstance(user, dict) else []
    return names[0] if names and not_by not in names else None


def _tables(storage_conn_id: str) -> Any:
    from airflow_provider_fate.hooks.stores import tables

    store = tables(storage_conn_id)

    def meta(table: TableName) -> Any:
        return store.meta(table.namespace, table.name) if store.exists(table.namespace, table.name) else None

    return meta
