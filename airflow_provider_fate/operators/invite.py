"""The initiator's side: invite the other organisations to a job, and see to their runs until it is over."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseOperator

from airflow_provider_fate.errors import ConfigError, FateError
from airflow_provider_fate.job.names import job_id_of
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.links import ArbiterRunLink, GuestRunLink, HostRunLink
from airflow_provider_fate.operators._identity import NamedByDate, default_job_id
from airflow_provider_fate.operators._job import load_job
from airflow_provider_fate.operators._template_files import TemplateFiles
from airflow_provider_fate.triggers.peer_runs import PeerRun, PeerRunsTrigger, end_all

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fate.job.conf import Job

#: how often a job whose peers' runs have all ended may be begun again under one name
_MOST_TRIES = 20
#: seconds after the trigger's own time for Airflow's, which says less
_LATER = 600
#: why the peers' runs are ended where nothing better is known; their tasks have heard the cause
_NO_SUCCESS = "the initiator's part of this job has ended without success"
_STOPPED = "the initiator has stopped this job"
#: XCom with the runs that were started
_RUNS = "peer_runs"
_LINKS = {"guest": GuestRunLink(), "host": HostRunLink(), "arbiter": ArbiterRunLink()}


class FateInviteOperator(NamedByDate, TemplateFiles, BaseOperator):
    """Invite the other parties of a job: start a run at each one's Airflow, and wait until all have answered.

    Each party is told only what concerns it, never another party's role parameters. Its own DAG
    (``dags/examples/fate_invited.py``) decides, and a person there may have to approve; this task waits without holding
    a worker slot. A refusal ends the runs at all the others, and fails this task with the reason.

    Asked twice, a party has one run: its id is the job's. Where the peers' runs of an earlier try have ended, the job
    goes by the next name (``...~2``), which this task returns as ``job_id``; the party's own task takes that.

    Returns ``job_id`` and ``peers``: for each its site, run and address.

    :param job: FATE's runtime conf and DSL, as :class:`.FateTrainOperator` takes them (templated)
    :param role: the role that this party plays; it is the job's initiator (templated)
    :param party_id: this party's id (templated)
    :param sites: for each other party the id of a ``fate_site`` connection:
        ``{"host-10000": "fate_site_10000"}`` (templated)
    :param parameters: component parameters that are other than in the job (templated)
    :param data: tables by role (templated)
    :param job_id: by default made of the DAG's, run's and task group's ids (templated)
    :param answer_timeout: seconds that the answers may take, a person's approval among them
    :param poll_interval: seconds between two looks at the peers' answers
    :param patience: seconds that a site may not be reached while it is asked
    """

    template_fields: Sequence[str] = ("job", "role", "party_id", "sites", "parameters", "data", "job_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "job": "json", "sites": "json", "parameters": "json", "data": "json",
    }  # fmt: skip
    template_files: ClassVar[dict[str, str]] = {"job": ".json", "data": ".json", "parameters": ".json"}
    template_file_dicts = ("job",)
    operator_extra_links = tuple(_LINKS.values())
    ui_color = "#fff2cc"

    def __init__(
        self,
        *,
        job: dict[str, Any] | str,
        role: str,
        party_id: str | int,
        sites: Mapping[str, str],
        parameters: dict[str, Any] | str | None = None,
        data: dict[str, Any] | str | None = None,
        job_id: str | None = None,
        answer_timeout: float = 7 * 86_400,
        poll_interval: float = 10,
        patience: float = 600,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.job = job
        self.role = role
        self.party_id = party_id
        self.sites = sites
        self.parameters = parameters
        self.data = data
        self.job_id = job_id
        self.answer_timeout = answer_timeout
        self.poll_interval = poll_interval
        self.patience = patience
        self._started: list[PeerRun] = []
        self._stopped = False

    def execute(self, context: Context) -> Any:
        try:
            me = Party(str(self.role), str(self.party_id))
            job = load_job(self.job, self.data, self.parameters)
            sites = self._sites(job, me)
            job_id = self._invite(job, self.job_id or default_job_id(context, self), me, sites)
        except FateError as error:
            self._end_all("the initiator could not invite all parties")
            if isinstance(error, ConfigError):
                raise AirflowFailException(str(error)) from error
            raise AirflowException(str(error)) from error
        runs = [run.to_dict() for run in self._started]
        if (ti := context.get("ti")) is not None:
            ti.xcom_push(key=_RUNS, value=runs)
            for run in reversed(self._started):  # of several hosts, the first one's link stays
                _LINKS[Party.parse(run.party).role].publish(self, ti, run.url)
        self._end_if_stopped()
        self.defer(
            trigger=PeerRunsTrigger(
                runs, "answered", self.poll_interval, self.patience, time.time() + self.answer_timeout
            ),
            method_name="answered",
            kwargs={"job_id": job_id, "runs": runs},
            timeout=timedelta(seconds=self.answer_timeout + _LATER),
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As Airflow's; where the waiting itself failed, the peers' runs do not stay behind."""
        if next_method == "__fail__" and (ti := context.get("ti")) is not None:
            runs = ti.xcom_pull(task_ids=ti.task_id, key=_RUNS, map_indexes=ti.map_index)
            self._started = [PeerRun(**one) for one in runs or ()]
            self._end_all("the initiator does not wait for an answer any more")
        return super().resume_execution(next_method, next_kwargs, context)

    def _sites(self, job: Job, me: Party) -> dict[Party, str]:
        """The site of each party that is asked; parties that are here are not among them."""
        if job.check_party(me) != job.initiator:
            raise ConfigError("initiator", f"is {job.initiator}; only it invites, and here is {me}")
        found: dict[Party, str] = {}
        for text, conn_id in dict(self.sites).items():
            try:
                found[job.check_party(Party.parse(str(text)))] = str(conn_id)
            except ConfigError as error:
                raise ConfigError(f"sites.{text}", error.problem) from None
        if not found or me in found:
            raise ConfigError("sites", "expected such as {'host-10000': 'fate_site_10000'}, of the parties to invite")
        return found

    def _invite(self, job: Job, name: str, me: Party, sites: dict[Party, str]) -> str:
        """Start a run at each site; the job's id, which is the run's at all of them.

        :raises FateError: a site cannot be reached or refuses, or has a run of the id with another conf
        """
        from airflow_provider_fate.hooks.site import ENDED, FateSiteHook
        from airflow_provider_fate.job.invitation import Invitation

        hooks = {party: FateSiteHook(conn_id) for party, conn_id in sites.items()}
        for number in range(1, _MOST_TRIES + 1):
            job_id = job_id_of(name if number == 1 else f"{name}~{number}")
            over = False
            for party, hook in hooks.items():
                conf = Invitation.for_party(job, job_id, me, party).to_dict()
                url = hook.run_url(hook.dag_id, job_id)
                run = PeerRun(str(party), sites[party], hook.dag_id, job_id, url)
                self._started.append(run)  # before it is asked for: where the answer is lost, it may have begun
                try:
                    begun = hook.start_run(hook.dag_id, job_id, conf)
                except ConfigError:  # there is none, or one that is not ours
                    self._started = [one for one in self._started if one is not run]
                    raise
                self._end_if_stopped(run)
                if not begun and hook.run_state(hook.dag_id, job_id) in ENDED:
                    over = True
                else:
                    self.log.info("%s is invited to job %s: %s", party, job_id, url)
            if not over:
                return job_id
            self._end_all("the initiator begins this job anew under another id")
        raise ConfigError("job_id", f"{name} was begun {_MOST_TRIES} times; begin a new run")

    def answered(self, context: Context, event: dict[str, Any], job_id: str, runs: list[dict[str, str]]) -> Any:
        """All have accepted, or one has not."""
        self._started = [PeerRun(**one) for one in runs]
        if event["outcome"] == "accepted":
            return {"job_id": job_id, "peers": {run.party: run.to_dict() for run in self._started}}
        [(party, words)] = event["peers"].items()
        self._end_all(f"{party} takes no part in this job")
        if event["outcome"] == "refused":
            raise AirflowFailException(f"{party} refuses job {job_id}: {words}")
        raise AirflowException(f"the answer of {party} to job {job_id} cannot be had: {words}")

    def _end_all(self, reason: str) -> None:
        runs, self._started = self._started, []
        end_all(runs, reason, self.log)

    def _end_if_stopped(self, *begun: PeerRun) -> None:
        """Airflow calls :meth:`on_kill` in the middle of a step, and then the step goes on.

        :param begun: what may have begun after that
        """
        if self._stopped:
            self._started = [*begun]
            self._end_all(_STOPPED)
            raise AirflowException(_STOPPED)

    def on_kill(self) -> None:
        self._stopped = True
        self._end_all(_STOPPED)


class FateDismissOperator(BaseOperator):
    """See to the runs at the invited parties when this party's own part is over: the teardown of an invitation.

    Where the own part succeeded, wait without a worker slot until the peers' runs have ended, and say how. Where it
    did not (it failed, was cleared or stopped), end them. Their tasks hear the cause from this party's own task, and
    are given some seconds to end by that; a run that is then still there is ended through its Airflow.

    :param peers: what :class:`FateInviteOperator` returned (templated)
    :param succeeded: whether the own part did: what its task returned, which is nothing where it failed (templated)
    :param poll_interval: seconds between two looks at the peers' runs
    :param patience: seconds that a site may not be reached
    :param end_timeout: seconds for the peers to end after this party
    :param grace_period: seconds for the peers' tasks to end with the cause in their logs, where this party has failed
    """

    template_fields: Sequence[str] = ("peers", "succeeded")
    ui_color = "#fff2cc"

    def __init__(
        self,
        *,
        peers: Any,
        succeeded: Any,
        poll_interval: float = 10,
        patience: float = 600,
        end_timeout: float = 3600,
        grace_period: float = 15,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.peers = peers
        self.succeeded = succeeded
        self.poll_interval = poll_interval
        self.patience = patience
        self.end_timeout = end_timeout
        self.grace_period = grace_period
        self._ending: list[PeerRun] = []

    def execute(self, context: Context) -> Any:
        runs = [PeerRun(**one) for one in (self.peers or {}).values()]
        if not runs:
            return None
        if not self.succeeded:
            self._ending = runs
            end_all(runs, _NO_SUCCESS, self.log, grace_period=self.grace_period)
            return None
        self.defer(
            trigger=PeerRunsTrigger(
                [run.to_dict() for run in runs], "ended", self.poll_interval, self.patience,
                time.time() + self.end_timeout,
            ),
            method_name="ended",
            timeout=timedelta(seconds=self.end_timeout + _LATER),
        )  # fmt: skip

    def ended(self, context: Context, event: dict[str, Any]) -> dict[str, str]:
        """How the peers' runs ended. :raises AirflowException: one did not succeed, or cannot be seen"""
        if event["outcome"] == "lost":
            [(party, words)] = event["peers"].items()
            raise AirflowException(f"how {party} ended cannot be seen: {words}")
        failed = [party for party, state in event["states"].items() if state != "success"]
        if failed:
            raise AirflowException(
                f"this party's part succeeded, and the run of {', '.join(failed)} failed; look at it together"
            )
        return event["states"]

    def on_kill(self) -> None:
        """End at once what would be ended after the grace."""
        end_all(self._ending, _NO_SUCCESS, self.log)
