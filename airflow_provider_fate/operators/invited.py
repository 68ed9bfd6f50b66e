"""The invited side: decide on what another party asks for, and have a person approve where the policy wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator

from airflow_provider_fate.errors import ConfigError, PolicyError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators import _invited

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fate.job.conf import Job
    from airflow_provider_fate.job.invitation import Invitation

_SUBJECT = "{{ ti.xcom_pull(task_ids=task.decide_task_id, key='subject') or 'A federated job' }}"
_BODY = "{{ ti.xcom_pull(task_ids=task.decide_task_id, key='body') or '' }}"


class FateDecideOperator(BaseOperator):
    """Decide whether this party takes part in the job that the run's conf invites it to.

    The conf is taken as it is: nothing in it is ever rendered. It is checked, held against the policy and counted.
    The XCom ``fate_answer`` tells the initiator what came of it, also when the task fails: ``accepted``, ``reasons``
    and ``needs_approval``. A refusal fails the task without retries; nothing was read but descriptions of tables.

    Returns ``job_id``, ``initiator``, ``party``, ``kind`` (``train`` or ``predict``), ``needs_approval``, and
    ``subject`` and ``body`` for the person who is to approve.

    :param role: the role that this party plays here (templated)
    :param party_id: this party's id (templated)
    :param policy: absolute path of the file that says what other parties may ask for. Not a template, so that no run
        can name another one
    :param data: this party's own tables by role, other than those that the invitation names; the same as in the task
        that takes part (templated)
    :param storage_conn_id: where this party's tables and models are (templated)
    """

    template_fields: Sequence[str] = ("role", "party_id", "data", "storage_conn_id")
    ui_color = "#dae8fc"

    def __init__(
        self,
        *,
        role: str,
        party_id: str | int,
        policy: str,
        data: dict[str, Any] | None = None,
        storage_conn_id: str = "fate_storage",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.role = role
        self.party_id = party_id
        self.policy = policy
        self.data = data
        self.storage_conn_id = storage_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_fate.job.policy import Policy

        try:
            me = Party(str(self.role), str(self.party_id))
            policy = Policy.load(self.policy)
            invitation = _invited.read(getattr(context.get("dag_run"), "conf", None) or {}, me, None, context)
            job = _invited.whole_job(invitation, policy, self.storage_conn_id, context, self.data)
            needed = _invited.accept(invitation, job, policy, self.storage_conn_id, context)
        except Exception as error:
            _invited.push_answer(context, [_invited.reason_for_initiator(error)])
            if isinstance(error, (ConfigError, PolicyError)):
                raise AirflowFailException(str(error)) from error
            raise
        _invited.push_answer(context, [], bool(needed))
        self.log.info(
            "%s invites %s to %s job %s: accepted%s", invitation.initiator, me, invitation.kind, invitation.job_id,
            f", and a person must approve ({'; '.join(needed)})" if needed else "",
        )  # fmt: skip
        return {
            "job_id": invitation.job_id,
            "initiator": str(invitation.initiator),
            "party": str(me),
            "kind": invitation.kind,
            "needs_approval": bool(needed),
            "subject": f"{invitation.initiator} invites {me} to {invitation.kind}",
            "body": _described(invitation, job, needed),
        }


def _described(invitation: Invitation, job: Job, needed: list[str]) -> str:
    """The job for the person who approves, as Markdown."""
    from airflow_provider_fate.job.refusals import tables_of

    me = invitation.party
    mine = [component for component in job.components.values() if me.role in component.roles]
    lines = [
        ("Job", invitation.job_id),
        ("Parties", ", ".join(map(str, job.parties))),
        ("Model", job.model_id + (f", version {job.model_version}" if job.model_version else "")),
        ("Our tables", ", ".join(map(str, tables_of(job, me))) or "none"),
        ("Modules", ", ".join(dict.fromkeys(component.module for component in mine))),
        ("Why you are asked", "; ".join(needed)),
    ]
    return "\n".join(f"* {name}: `{text}`" for name, text in lines if text)


class FateApproveOperator(ApprovalOperator):
    """Have a person approve a job where the policy wants it; otherwise the task is skipped.

    It is Airflow's ApprovalOperator, so it waits without holding a worker slot, and takes its arguments
    (``assigned_users``, ``notifiers``, ``response_timeout``, ...); what its ``defaults`` say when the time is up is no
    approval. Who rejects fails the task; the XCom ``fate_answer`` tells the initiator either way. What it returns is
    the ``approval`` of the task that takes part.

    :param needed: whether it is, e.g. ``decide.output["needs_approval"]`` (templated)
    :param decide_task_id: the task that decided, which says what the person reads
    """

    template_fields: Sequence[str] = ("needed", *ApprovalOperator.template_fields)
    ui_color = "#dae8fc"

    def __init__(self, *, needed: Any, decide_task_id: str = "decide", **kwargs: Any) -> None:
        kwargs.setdefault("subject", _SUBJECT)
        kwargs.setdefault("body", _BODY)
        super().__init__(**kwargs)
        self.needed = needed
        self.decide_task_id = decide_task_id

    def execute(self, context: Context) -> Any:
        if self.needed in (False, "False", "false", None, ""):
            raise AirflowSkipException("the policy asks for no approval of this job")
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        if _invited.approved_by(event, None) is None:
            reason = "a person refused this job" if event.get("responded_by_user") else "nobody approved it in time"
            _invited.push_answer(context, [f"approval: {reason}"], True)
            raise AirflowFailException(reason)
        approved = super().execute_complete(context, event)
        _invited.push_answer(context, [], True)
        return approved
