"""What an initiator makes of the states and answers of its peers' runs."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.hooks.site_client import SiteRefusal
from airflow_provider_fate.triggers import peer_runs
from airflow_provider_fate.triggers.peer_runs import PeerRun, PeerRunsTrigger, answer_of, end_all

RUN = PeerRun("host-10000", "site", "fate_invited", "job-1", "https://site.example/dags/fate_invited/runs/job-1")
YES = {"accepted": True, "reasons": [], "needs_approval": False}
ASK = {**YES, "needs_approval": True}
NO = {"accepted": False, "reasons": ["component_parameters: too many\ntrees"], "needs_approval": False}


class Site:
    """What a site shows of a run; the real one is met in the integration tests."""

    def __init__(self, state: str, **answers: Any) -> None:
        self.state, self.answers = state, answers

    def run_state(self, dag_id: str, run_id: str) -> str:
        assert (dag_id, run_id) == (RUN.dag_id, RUN.run_id)
        return self.state

    def xcom(self, dag_id: str, run_id: str, task_id: str, kind: type) -> Any:
        assert kind is dict
        return self.answers.get(task_id)


@pytest.mark.parametrize(
    ("state", "answers", "outcome", "words"),
    [
        ("queued", {}, "waiting", "its run is queued"),
        ("failed", {}, "refused", "its run has failed without an answer"),
        ("running", {"decide": YES}, "accepted", "accepted"),
        ("success", {}, "refused", "its run was marked as success without an answer"),
        ("success", {"decide": NO}, "refused", "component_parameters: too many trees"),
        ("success", {"decide": ASK}, "refused", "nobody approved it"),
        ("success", {"decide": YES}, "lost", "it had accepted, and its run was marked as success since"),
        ("running", {"decide": NO}, "waiting", "says no so far: component_parameters: too many trees"),
        ("failed", {"decide": NO}, "refused", "component_parameters: too many trees"),
        ("failed", {"decide": {"accepted": "yes", "reasons": 5}}, "refused", "no reason given"),
        ("running", {"decide": ASK}, "approval", "waits for a person's approval"),
        ("failed", {"decide": ASK}, "refused", "nobody approved it"),
        ("running", {"decide": ASK, "approve": YES}, "accepted", "accepted"),
        ("failed", {"decide": ASK, "approve": NO}, "refused", "component_parameters: too many trees"),
        ("failed", {"decide": YES, "train": NO}, "refused", "component_parameters: too many trees"),
        ("failed", {"decide": YES, "predict": NO}, "refused", "component_parameters: too many trees"),
        ("failed", {"decide": YES}, "lost", "it had accepted, and its run has failed since"),
    ],
)
def test_what_a_peer_has_said(state, answers, outcome, words):
    assert answer_of(Site(state, **answers), RUN) == (outcome, words)


def trigger(**changes: Any) -> PeerRunsTrigger:
    given = {"until": "answered", "poll_interval": 0.01, "patience": 60.0, "deadline": time.time() + 60, **changes}
    return PeerRunsTrigger([RUN.to_dict()], **given)


async def first(waiting: PeerRunsTrigger, monkeypatch: pytest.MonkeyPatch, site: Any) -> TriggerEvent:
    monkeypatch.setattr("airflow_provider_fate.hooks.site.FateSiteHook", lambda conn_id: site)
    return await anext(waiting.run())


def test_all_have_accepted(monkeypatch):
    event = asyncio.run(first(trigger(), monkeypatch, Site("running", decide=YES)))
    assert event.payload == {"outcome": "accepted", "peers": {"host-10000": "accepted"}}


def test_how_runs_ended(monkeypatch):
    event = asyncio.run(first(trigger(until="ended"), monkeypatch, Site("failed")))
    assert event.payload == {"outcome": "ended", "states": {"host-10000": "failed"}}


def test_the_time_is_up(monkeypatch):
    event = asyncio.run(first(trigger(deadline=time.time() - 1), monkeypatch, Site("running", decide=ASK)))
    words = "the time is up (host-10000 waits for a person's approval)"
    assert event.payload == {"outcome": "lost", "peers": {"host-10000": words}}


def test_a_site_that_cannot_be_reached_is_given_some_time(monkeypatch):
    class Away(Site):
        asked = 0

        def run_state(self, dag_id: str, run_id: str) -> str:
            self.asked += 1
            raise TransportError("https://site.example: connection refused")

    away = Away("running")
    began = time.monotonic()
    event = asyncio.run(first(trigger(patience=0.3), monkeypatch, away))
    assert event.payload["outcome"] == "lost" and "connection refused" in event.payload["peers"]["host-10000"]
    assert away.asked > 3 and 0.3 <= time.monotonic() - began < 5


class Refusing(Site):
    """It takes no login that is older than the change of a password."""

    def __init__(self, *, changed: bool, status: int = 401) -> None:
        super().__init__("running", decide=YES)
        self.changed, self.status = changed, status

    def run_state(self, dag_id: str, run_id: str) -> str:
        if not self.changed:
            raise SiteRefusal("site", "refuses the login 'us' with its password: check both", self.status)
        return super().run_state(dag_id, run_id)


@pytest.mark.parametrize(
    ("looks", "status", "outcome"), [(3, 401, "accepted"), (1000, 401, "lost"), (3, 403, "lost")]
)
def test_who_waits_takes_a_password_that_is_changed_meanwhile(monkeypatch, looks, status, outcome):
    made = []

    def hook(conn_id: str) -> Site:
        made.append(conn_id)
        return Refusing(changed=len(made) > looks, status=status)

    monkeypatch.setattr("airflow_provider_fate.hooks.site.FateSiteHook", hook)
    event = asyncio.run(anext(trigger(patience=0.3 if outcome == "lost" else 60.0).run()))
    assert event.payload["outcome"] == outcome
    assert outcome == "accepted" or "refuses the login" in event.payload["peers"]["host-10000"]
    assert len(made) == 1 if status == 403 else len(made) > 3


def test_it_is_the_same_after_it_was_stored():
    waiting = trigger()
    path, arguments = waiting.serialize()
    assert path.endswith("triggers.peer_runs.PeerRunsTrigger")
    assert PeerRunsTrigger(**arguments).serialize() == (path, arguments)


class Ending(Site):
    """A run that ends by itself at a certain look, or is ended."""

    def __init__(self, ends_at_look: int, unreachable: tuple[int, ...] = ()) -> None:
        super().__init__("running")
        self.looks, self.ends_at, self.unreachable = 0, ends_at_look, unreachable
        self.ended_as: list[str] = []

    def run_state(self, dag_id: str, run_id: str) -> str:
        self.looks += 1
        if self.looks in self.unreachable:
            raise TransportError("no answer in time")
        return "failed" if self.looks >= self.ends_at else super().run_state(dag_id, run_id)

    def end_run(self, dag_id: str, run_id: str, note: str) -> str:
        self.ended_as.append(note)
        return "failed"


@pytest.mark.parametrize(
    ("site", "grace_period", "looks"),
    [
        (Ending(3), 10.0, 3),
        (Ending(3, unreachable=(1, 2)), 10.0, 3),
        (Ending(1000), 0.3, None),
        (Ending(1000, unreachable=tuple(range(1000))), 0.3, None),
        (Ending(1000), 0.0, 0),
    ],
)
def test_a_run_may_end_by_itself_before_it_is_ended(monkeypatch, site, grace_period, looks):
    monkeypatch.setattr("airflow_provider_fate.hooks.site.FateSiteHook", lambda conn_id: site)
    monkeypatch.setattr(peer_runs, "_LOOK", 0.02)
    began = time.monotonic()
    end_all([RUN], "why", logging.getLogger(__name__), grace_period=grace_period)
    took = time.monotonic() - began
    assert site.ended_as == ["why"], "it looks itself whether the run has ended"
    assert site.looks == looks if looks is not None else grace_period <= took < grace_period + 2
    assert looks is None or took < 2
