"""Waits for what other organisations' Airflows say of a job, without a worker slot."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_fate.errors import FateError, TransportError

if TYPE_CHECKING:
    from airflow_provider_fate.hooks.site import FateSiteHook

#: tasks of the invited party's DAG that leave an answer, in their order; the last two take part
_DECIDE, _APPROVE, _PARTS = "decide", "approve", ("train", "predict")
_LONGEST_REASON = 2000  # characters
_LOOK = 2.0  # seconds between two looks at a run that may end by itself


@dataclass(frozen=True)
class PeerRun:
    """A run of a job at another organisation.

    :param party: who was invited, e.g. ``host-10000``
    :param conn_id: the connection to its site
    :param dag_id: of the run there
    :param run_id: of the run there
    :param url: where that site shows it
    """

    party: str
    conn_id: str
    dag_id: str
    run_id: str
    url: str

    def to_dict(self) -> dict[str, str]:
        """As JSON."""
        return asdict(self)


def answer_of(hook: FateSiteHook, run: PeerRun) -> tuple[str, str]:
    """What a peer has said so far.

    :returns: ``accepted``, ``refused``, ``approval`` (a person there has not decided yet), ``waiting`` or ``lost`` (its
        run has ended, for whatever reason); and words for the log
    """
    from airflow_provider_fate.hooks.site import ENDED

    state = hook.run_state(run.dag_id, run.run_id)
    # before our own part has begun none ends well by itself: one that is a success was marked so
    over = state in ENDED
    ended = "has failed" if state == "failed" else f"was marked as {state}"
    decided = hook.xcom(run.dag_id, run.run_id, _DECIDE, kind=dict)
    if decided is None:
        return ("refused", f"its run {ended} without an answer") if over else ("waiting", f"its run is {state}")
    if decided.get("accepted") is not True:
        return _refused(decided, over)
    if decided.get("needs_approval") is True:
        approved = hook.xcom(run.dag_id, run.run_id, _APPROVE, kind=dict)
        if approved is None:
            return ("refused", "nobody approved it") if over else ("approval", "waits for a person's approval")
        if approved.get("accepted") is not True:
            return _refused(approved, over)
    if not over:
        return "accepted", "accepted"
    for part in _PARTS:
        said = hook.xcom(run.dag_id, run.run_id, part, kind=dict)
        if said is not None and said.get("accepted") is not True:
            return _refused(said, over)
    return "lost", f"it had accepted, and its run {ended} since"


def _refused(answer: dict[str, Any], over: bool) -> tuple[str, str]:
    """A refusal counts when the run has failed by it; before that, its task may be tried again."""
    reasons = _reasons(answer)
    return ("refused", reasons) if over else ("waiting", f"says no so far: {reasons}")


def _reasons(answer: dict[str, Any]) -> str:
    from airflow_provider_fate.hooks.site_client import words

    reasons = answer.get("reasons")
    given = [str(one) for one in reasons] if isinstance(reasons, list) else []
    return words("; ".join(given), _LONGEST_REASON) or "no reason given"


class PeerRunsTrigger(BaseTrigger):
    """Looks at peers' runs until all have answered, or all have ended.

    Yields one event: ``{"outcome": "accepted" | "refused" | "lost", "peers": {party: words}}`` or ``{"outcome":
    "ended", "states": {party: state}}``.

    :param runs: of the peers, as :meth:`PeerRun.to_dict`
    :param until: ``answered`` or ``ended``
    :param poll_interval: seconds between two looks
    :param patience: seconds that a site may not be reached, or refuse our login
    :param deadline: when to give up, seconds since 1970
    """

    def __init__(
        self, runs: list[dict[str, str]], until: str, poll_interval: float, patience: float, deadline: float
    ) -> None:
        super().__init__()
        self.runs = runs
        self.until = until
        self.poll_interval = poll_interval
        self.patience = patience
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {
            "runs": self.runs, "until": self.until, "poll_interval": self.poll_interval, "patience": self.patience,
            "deadline": self.deadline,
        }  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from airflow_provider_fate.hooks.site import FateSiteHook

        runs = [PeerRun(**one) for one in self.runs]
        hooks = {run.party: FateSiteHook(run.conn_id) for run in runs}
        look = self._look_for_answers if self.until == "answered" else self._look_for_ends
        said: dict[str, str] = {}
        unreachable: dict[str, float] = {}  # since when, on the monotonic clock
        while True:
            # Also before the first look: Airflow's scheduler fails a task whose trigger fires before it has heard that
            # the task's process has ended.
            await asyncio.sleep(self.poll_interval)
            event = await look(runs, hooks, said, unreachable)
            if event is None and time.time() > self.deadline:
                waiting = "; ".join(f"{party} {words}" for party, words in said.items())
                event = {"outcome": "lost", "peers": {runs[0].party: f"the time is up ({waiting})"}}
            if event is not None:
                yield TriggerEvent(event)
                return

    async def _look_for_answers(self, runs: Any, hooks: Any, said: Any, unreachable: Any) -> dict[str, Any] | None:
        found: dict[str, str] = {}
        for run in runs:
            outcome, words = await self._ask(lambda run=run: answer_of(hooks[run.party], run), run, hooks, unreachable)
            if outcome in ("refused", "lost"):
                return {"outcome": outcome, "peers": {run.party: words}}
            found[run.party] = outcome
            self._tell(run, words, said)
        return {"outcome": "accepted", "peers": found} if set(found.values()) == {"accepted"} else None

    async def _look_for_ends(self, runs: Any, hooks: Any, said: Any, unreachable: Any) -> dict[str, Any] | None:
        from airflow_provider_fate.hooks.site import ENDED

        states: dict[str, str] = {}
        for run in runs:
            state, words = await self._ask(
                lambda run=run: (hooks[run.party].run_state(run.dag_id, run.run_id), ""), run, hooks, unreachable
            )
            if state == "lost":
                return {"outcome": "lost", "peers": {run.party: words}}
            states[run.party] = state
            self._tell(run, state, said)
        return {"outcome": "ended", "states": states} if set(states.values()) <= set(ENDED) else None

    async def _ask(
        self, question: Callable[[], tuple[str, str]], run: PeerRun, hooks: Any, unreachable: dict[str, float]
    ) -> tuple[str, str]:
        """Ask a site in a thread of its own; one that cannot be reached is given some time.

        So is one that refuses our login: who waits for days has read the connection before its password was changed.
        """
        from airflow_provider_fate.hooks.site import FateSiteHook
        from airflow_provider_fate.hooks.site_client import SiteRefusal

        try:
            answer = await asyncio.to_thread(question)
        except (TransportError, SiteRefusal) as error:
            refused = isinstance(error, SiteRefusal)
            since = unreachable.setdefault(run.party, time.monotonic())
            if refused and error.status != 401 or time.monotonic() - since > self.patience:
                return "lost", str(error)
            if refused:
                hooks[run.party] = FateSiteHook(run.conn_id)
            self.log.warning("%s: %s; asking again", run.party, error)
            return "waiting", "refuses our login" if refused else "cannot be reached"
        except Exception as error:  # noqa: BLE001 - the task says it
            return "lost", str(error)
        unreachable.pop(run.party, None)
        return answer

    def _tell(self, run: PeerRun, words: str, said: dict[str, str]) -> None:
        if said.get(run.party) != words:
            said[run.party] = words
            self.log.info("%s: %s (%s)", run.party, words, run.url)

    async def on_kill(self) -> None:
        """The task that waits was cleared or marked: the peers need not go on. After our own part they end alone."""
        if self.until == "answered":
            reason = "the initiator has stopped this job"
            await asyncio.to_thread(end_all, [PeerRun(**one) for one in self.runs], reason, self.log)


def check_runs(peers: dict[str, dict[str, str]], log: Any) -> None:
    """Whoever was marked failed at its own Airflow does not come, or come back, to meet us.

    :param peers: the runs by party, as :meth:`PeerRun.to_dict`
    :raises AirflowFailException: the run of an invited party has failed
    """
    from airflow_provider_fate.hooks.site import FateSiteHook

    for run in [PeerRun(**one) for one in peers.values()]:
        try:
            state = FateSiteHook(run.conn_id).run_state(run.dag_id, run.run_id)
        except FateError as error:
            log.warning("How the run of %s is cannot be seen: %s", run.party, error)
            continue
        if state == "failed":
            raise AirflowFailException(
                f"there is nobody to meet: the run of {run.party} has failed at its own Airflow ({run.url}). Begin the "
                "job anew: clear the task that invites"
            )


def end_all(runs: list[PeerRun], reason: str, log: Any, *, grace_period: float = 0) -> None:
    """End peers' runs, all at the same time: one site that does not answer is not to keep the others from hearing.

    :param grace_period: seconds in which the runs may end by themselves
    """
    threads = [threading.Thread(target=end_quietly, args=(run, reason, log, grace_period), daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def end_quietly(run: PeerRun, reason: str, log: Any, grace_period: float = 0) -> None:
    """End a peer's run. A site that cannot be reached notices by itself: its party waits for ours in vain."""
    from airflow_provider_fate.hooks.site import ENDED, FateSiteHook

    end = time.monotonic() + grace_period
    try:
        hook = FateSiteHook(run.conn_id)
        while time.monotonic() < end:
            with contextlib.suppress(FateError):  # it may be reached again
                if hook.run_state(run.dag_id, run.run_id) in ENDED:
                    break
            time.sleep(min(_LOOK, grace_period))
        state = hook.end_run(run.dag_id, run.run_id, reason)
        log.info("%s: its run has %s", run.party, "gone" if state is None else f"ended as {state}")
    except Exception as error:  # noqa: BLE001 - the reason for ending matters more
        log.warning("%s: its run could not be ended: %s", run.party, error)
