"""What training and prediction share: one party's part of one job as one Spark application."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_provider_fate.errors import ConfigError, DataError, FateError, PolicyError, reason_for_peers
from airflow_provider_fate.job.names import check_job_id
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.links import LINKS
from airflow_provider_fate.operators import _invited, _ship
from airflow_provider_fate.operators._identity import NamedByDate, default_job_id, log_file
from airflow_provider_fate.operators._messages import PartyMessages
from airflow_provider_fate.operators._spark_arguments import SparkArguments
from airflow_provider_fate.operators._template_files import TemplateFiles
from airflow_provider_fate.operators._watch import ProgressWatch
from airflow_provider_fate.operators._work import WorkDirectory

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fate.job.conf import Job
    from airflow_provider_fate.job.invitation import Invitation
    from airflow_provider_fate.job.policy import Policy

#: errors of the application that come again however often it is tried
_FINAL = ("ConfigError", "DataError", "CryptoError")
#: seconds for telling the peers when a task is stopped; Airflow kills the task five seconds after asking
_TELL_SECONDS = 3.5
#: seconds after which the queues are let be, when a task is stopped; and where an application was killed
_STOP_SECONDS, _REMOVE_SECONDS = 4.2, 5.0
_NONCE_KEY = "fate_nonce"


class FateSubmitOperator(NamedByDate, TemplateFiles, SparkArguments):
    """Base of the operators that run one party's part of a job; not used by itself.

    Every argument of ``SparkSubmitOperator`` is taken as well, but for ``application`` and its arguments.
    """

    template_fields: Sequence[str] = (
        *(field for field in SparkArguments.template_fields if field not in ("application", "application_args")),
        "data", "role", "party_id", "job_id", "spark_run", "spark_conn_id", "storage_conn_id", "transport_conn_id",
        "wait_timeout", "archives", "python", "invitation", "approval", "peers",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "data": "json", "spark_run": "json", "conf": "json", "env_vars": "json", "invitation": "json",
        "peers": "json",
    }  # fmt: skip
    template_files: ClassVar[dict[str, str]] = {"data": ".json", "spark_run": ".json"}
    operator_extra_links = tuple(LINKS.values())
    ui_color = "#fff2cc"
    #: what it is invited to
    kind: ClassVar[str] = ""

    def __init__(
        self,
        *,
        role: str,
        party_id: str | int,
        data: dict[str, Any] | str | None = None,
        job_id: str | None = None,
        spark_run: dict[str, Any] | str | None = None,
        spark_conn_id: str = "fate_spark",
        storage_conn_id: str = "fate_storage",
        transport_conn_id: str = "fate_transport",
        wait_timeout: float | str = 600,
        archives: str | None = None,
        python: str | None = None,
        invitation: dict[str, Any] | str | None = None,
        policy: str | None = None,
        approval: dict[str, Any] | None = None,
        peers: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(name=name, archives=archives, conn_id=spark_conn_id, **kwargs)
        self.role = role
        self.party_id = party_id
        self.data = data
        self.job_id = job_id
        self.spark_run = spark_run
        self.spark_conn_id = spark_conn_id
        self.storage_conn_id = storage_conn_id
        self.transport_conn_id = transport_conn_id
        self.wait_timeout = wait_timeout
        self.archives = archives
        self.python = python
        self.invitation = invitation
        self.policy = policy
        self.approval = approval
        self.peers = peers
        self._master: str | None = None
        self._party: Party | None = None
        self._job: Job | None = None
        self._progress_word = ""
        self._work: WorkDirectory | None = None
        self._driver_log: Path | None = None
        self._error: dict[str, str] | None = None
        self._context: Any = None
        self._messages: PartyMessages | None = None
        self._forget_drafts: Callable[[], None] | None = None
        self._stopped = False

    # -- what differs between training and prediction

    def load_job(self) -> Job:
        """The whole job, checked. :raises ConfigError: it is wrong"""
        raise NotImplementedError

    def finish(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """What remains to do after the application has ended well; returns the task's result."""
        return result

    # -- one try

    def execute(self, context: Context) -> dict[str, Any]:
        self._context = context
        self._work = WorkDirectory()
        try:
            try:
                self._prepare(context)
            except FateError as error:
                # a refusal goes to who asks: in its name nobody is to make this party end others' jobs
                to = [self._job.initiator] if isinstance(error, PolicyError) and self._job is not None else None
                self._tell_could_not_begin(error, to)
                if self.invitation is not None:
                    _invited.push_answer(context, [_invited.reason_for_initiator(error)])
                if isinstance(error, (ConfigError, DataError, PolicyError)):
                    # nothing was submitted, and the next try would fail the same way
                    raise AirflowFailException(str(error)) from error
                raise
            status = self._run(context)
        except AirflowTaskTimeout:
            # Airflow would call on_kill, but only after all that is tidied up behind the application
            self._stop("took longer than its execution_timeout")
            raise
        finally:
            self._work.remove()
            if self._messages is not None:
                self._messages.take_down()
        result = self.finish(context, self._result(status))
        self._forget_end()
        return result

    def _prepare(self, context: Context) -> None:
        from airflow_provider_fate.hooks.storage import storage_hook
        from airflow_provider_fate.hooks.stores import forget_drafts, job_ids
        from airflow_provider_fate.triggers.peer_runs import check_runs

        if self.peers:
            check_runs(self.peers, self.log)
        self._progress_word = secrets.token_hex(16)
        party = Party(str(self.role), str(self.party_id))
        invitation = self._read_invitation(context, party)
        self.job_id = check_job_id(self.job_id) if self.job_id else default_job_id(context, self)
        job, policy = self._whole_job(context, invitation, party)
        self._party, self._job = job.check_party(party), job
        # kept, as there is no time to ask for connections when the task is stopped
        self._messages = PartyMessages(self.transport_conn_id, self.job_id, party, job.parties, self.log)
        self._messages.check()
        self._forget_drafts = partial(forget_drafts, storage_hook(self.storage_conn_id).storage, self.job_id, party)
        if invitation is not None:
            _invited.enter(invitation, job, policy, self.storage_conn_id, context, self.approval)
        elif (owner := job_ids(self.storage_conn_id, party).owner(self.job_id)) not in (None, job.initiator.party_id):
            raise ConfigError("job_id", f"{self.job_id} has a job to which party {owner} invited us; choose another")
        job.check_tables(party)
        self._driver_log = log_file(context, self.job_id, party)
        for notice in job.notices:
            self.log.info(notice)
        wait_seconds = self._wait_seconds()
        self._settle_spark(job, party)
        path = self._work.path / f"{party}.json"
        self._write_job_file(path, job, party, wait_seconds)
        self.application = _ship.application()
        self.application_args = [str(path) if self._hook.client_mode else path.name]
        own = [component.module for component in job.components.values() if component.spec.component]
        self.py_files = _joined(_ship.code_zip(), *_ship.users_zips(own), self.py_files)
        if not self._hook.client_mode:
            self.files = _joined(str(path), self.files)
        self._hook = self._get_hook()
        if self._hook.client_mode:
            self._forget_status()
        self._messages.set_up()
        self.log.info("Job %s: %s of %s; model %s", self.job_id, party, ", ".join(map(str, job.parties)), job.model_id)

    def _read_invitation(self, context: Context, party: Party) -> Invitation | None:
        """What the task is invited to, ``None`` where it is not; the job's id is the invitation's then."""
        if (self.invitation is None) != (self.policy is None):
            raise ConfigError("policy", "invitation and policy go together: one of them is not given")
        if self.invitation is None:
            return None
        invitation = _invited.read(self.invitation, party, self.kind, context)
        if self.job_id and self.job_id != invitation.job_id:
            raise ConfigError("job_id", f"is {self.job_id}, and the invitation is to {invitation.job_id}; leave it out")
        self.job_id = invitation.job_id
        return invitation

    def _whole_job(self, context: Context, invitation: Invitation | None, party: Party) -> tuple[Job, Policy | None]:
        """The job, and where it is invited to the policy that it is held against."""
        from airflow_provider_fate.job.policy import Policy

        if invitation is None:
            return self.load_job(), None
        try:
            policy = Policy.load(str(self.policy))
            return _invited.whole_job(invitation, policy, self.storage_conn_id, context, self.data), policy
        except (ConfigError, PolicyError):
            # Who only says that it is the initiator must not make us end the initiator's job.
            if _invited.was_accepted(invitation, self.storage_conn_id):
                self._party, to = party, [invitation.initiator]
                self._messages = PartyMessages(self.transport_conn_id, invitation.job_id, party, to, self.log)
            raise

    def _wait_seconds(self) -> float:
        try:
            seconds = float(self.wait_timeout)
        except (TypeError, ValueError):
            seconds = 0.0
        if not 1 <= seconds <= 30 * 86_400:
            raise ConfigError("wait_timeout", f"{self.wait_timeout!r} is not a number of seconds from 1 to 2592000")
        return seconds

    def _write_job_file(self, path: Path, job: Job, party: Party, wait_seconds: float) -> None:
        """The application's only argument. It holds passwords: nobody else may read it."""
        from airflow_provider_fate.hooks.storage import storage_hook

        content = {
            "format": 1,
            "job_id": self.job_id,
            "nonce": self._messages.nonce,
            "progress_word": self._progress_word,
            "job": job.to_dict(),
            "party": str(party),
            "storage": storage_hook(self.storage_conn_id).spark_settings()["job_file_part"],
            "transport": self._messages.config,
            "wait_seconds": wait_seconds,
            "tell_in_storage": not self._hook.client_mode,
            "run_url": str(getattr((self._context or {}).get("ti"), "log_url", None) or ""),
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)

    # -- the run

    def _run(self, context: Context) -> dict[str, Any]:
        """Run the application to its end; returns the status that it left.

        :raises AirflowException: it failed, with its own message where it gave one
        """
        watch = None
        if not self._hook.client_mode:
            from airflow_provider_fate.hooks.stores import progress_reader

            read = progress_reader(self.storage_conn_id, str(self.job_id), self._party)
            watch = ProgressWatch(read, self.log.info, self._on_progress)
            watch.start()
        try:
            super().execute(context)
        except AirflowException as failure:
            explained = self._explained(failure)
            if explained is failure and not self._stopped:
                # the application did not come as far as telling them itself
                self._tell_peers(f"the Spark application of {self._party} failed")
                ti = context.get("ti")
                if getattr(ti, "try_number", 1) > getattr(ti, "max_tries", 0):  # else the next try takes what is there
                    self._remove_left(_REMOVE_SECONDS, for_absent=False)
            raise explained from None
        finally:
            if watch is not None:
                watch.stop()
        status = self._status()
        if status is None or status.get("state") != "success":
            raise self._explained(
                AirflowException(f"the application ended without having finished the job; see {self._driver_log}")
            )
        return status

    def submit_job(self, context: Context) -> str | None:
        """Submit a new application to a cluster; not called where the one of an earlier try still runs."""
        try:
            self._forget_status()
        except FateError as error:
            self._tell_could_not_begin(error)
            raise
        external_id = super().submit_job(context)
        if (store := context.get("task_state_store")) is not None:
            store.set(_NONCE_KEY, self._messages.nonce)
        return external_id

    def poll_until_complete(self, external_id: Any, context: Context) -> None:
        if (store := context.get("task_state_store")) is not None:
            # of the try that submitted it: the peers know it by that
            self._messages.nonce = store.get(_NONCE_KEY) or self._messages.nonce
        super().poll_until_complete(external_id, context)

    def _status(self) -> dict[str, Any] | None:
        from airflow_provider_fate.hooks.stores import job_status

        return job_status(self.storage_conn_id, str(self.job_id), self._party)

    def _forget_status(self) -> None:
        """An earlier try's status must not be taken for this one's."""
        from airflow_provider_fate.hooks.stores import forget_job_status

        forget_job_status(self.storage_conn_id, str(self.job_id), self._party)

    def _forget_end(self) -> None:
        """The last that is done: until then a try that is killed is done again without the peers, who may be gone."""
        from airflow_provider_fate.hooks.stores import forget_end

        try:
            forget_end(self.storage_conn_id, str(self.job_id), self._party)
        except FateError as error:
            self.log.warning("What the job kept for a next try could not be deleted: %s", error)

    def _on_progress(self, message: dict[str, Any]) -> None:
        """Take what the application says beside its line in the log."""
        if message.get("error"):
            self._error = {"type": str(message.get("kind", "")), "message": str(message["error"])}
        for key, link in LINKS.items():
            if message.get(key) and (ti := (self._context or {}).get("ti")) is not None:
                link.publish(self, ti, str(message[key]))

    def _explained(self, failure: AirflowException) -> AirflowException:
        """The failure in the application's own words."""
        error = self._error
        if error is None:
            with contextlib.suppress(FateError):
                status = self._status() or {}
                error = status.get("error") if status.get("state") == "failed" else None
        if not error:
            return failure
        where = f" (Spark's own output: {self._driver_log})" if self._hook.client_mode else ""
        if self._messages is not None and error.get("type") == "PeerTimeout":
            where = f"{self._messages.explain()}{where}"
        kind = AirflowFailException if error.get("type") in _FINAL else AirflowException
        return kind(f"{self._party} of job {self.job_id}: {error.get('message')}{where}")

    def _result(self, status: dict[str, Any]) -> dict[str, Any]:
        return {
            "job_id": self.job_id,
            "party": str(self._party),
            "model_id": status.get("model_id"),
            "model_version": status.get("model_version"),
            "metrics": status.get("metrics", {}),
            "output": status.get("output", {}),
        }

    # -- stopping

    def on_kill(self) -> None:
        """Tell the other parties why this one ends, and end the application.

        Airflow kills the task five seconds after it asked for this.
        """
        if not self._stopped:
            self._stop("was stopped in Airflow")

    def _stop(self, what: str) -> None:
        began = time.monotonic()
        self._stopped = True
        if self._work is not None:
            # holds passwords, and there may be no time for it later
            self._work.remove()
        ti = (self._context or {}).get("ti")
        where = f" ({ti.dag_id}, run {ti.run_id}, task {ti.task_id})" if ti is not None else ""
        reason = f"the task of {self._party} {what}{where}"
        by_whom = "; where the initiator has ended this run, its note says why" if self.invitation is not None else ""
        self.log.warning("%s%s", reason, by_whom)
        # whoever has left need not hear it: no queue is made again, so that none stays where all are stopped at once
        telling = threading.Thread(
            target=self._tell_peers, args=(reason,), kwargs={"last_words": True}, name="fate-tell-peers", daemon=True
        )
        telling.start()
        if self._hook is not None:
            # the application says that it was told to stop, which says less: ours is to arrive first
            telling.join(1.5)
            # not the backend's: on YARN that one ends nothing where the resource manager's address is not known
            self._hook.on_kill()
            # It had little time to tidy up. Without an invitation a peer that comes later finds these last words; with
            # one the initiator's Airflow ends the other runs, and an invited party's other try has met who is absent.
            for_absent = bool(self.peers) or (self.invitation is not None and getattr(ti, "try_number", 1) > 1)
            self._remove_left(began + _STOP_SECONDS - time.monotonic(), for_absent=for_absent)
        telling.join(max(0.0, began + _TELL_SECONDS - time.monotonic()))

    def _remove_left(self, seconds: float, *, for_absent: bool) -> None:
        """Remove what the application had no time to, as it was killed: of its messages, and files half-written."""
        if self._messages is None or self._forget_drafts is None:
            return
        forgetting = threading.Thread(target=self._forget_drafts_quietly, name="fate-drafts", daemon=True)
        forgetting.start()
        end = time.monotonic() + seconds
        self._messages.remove_left(seconds, for_absent=for_absent)
        forgetting.join(max(0.0, end - time.monotonic()))

    def _forget_drafts_quietly(self) -> None:
        try:
            self._forget_drafts()
        except Exception as error:  # noqa: BLE001 - nothing depends on it
            self.log.warning("Files that the application was writing could not be deleted: %s", error)

    def _tell_could_not_begin(self, error: FateError, to: list[Party] | None = None) -> None:
        self._tell_peers(f"{self._party} could not begin: {reason_for_peers(error)}", to)

    def _tell_peers(self, reason: str, to: list[Party] | None = None, *, last_words: bool = False) -> None:
        if self._messages is not None:
            self._messages.tell(reason, to, last_words=last_words)


def _joined(*parts: str | None) -> str:
    return ",".join(part for part in parts if part)
