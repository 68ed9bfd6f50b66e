"""What the initiator's invitation leaves at its peers, whatever happens while it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred

from airflow_provider_fate.errors import ConfigError, TransportError
from airflow_provider_fate.operators.invite import FateInviteOperator

JOB = json.loads((Path(__file__).parents[3] / "dags" / "examples" / "fate_jobs" / "hetero_lr.json").read_text())
SITES = {"host-10000": "telco", "arbiter-10000": "arbiter"}


class Site:
    """A peer's Airflow with its runs; the real one is met in the integration tests.

    :param begin: called with the site instead of an answer to the first request for a run
    """

    dag_id = "fate_invited"

    def __init__(self, begin: Callable[[Site], None] | None = None) -> None:
        self.runs: dict[str, str] = {}
        self.begin = begin

    def start_run(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> bool:
        begin, self.begin = self.begin, None
        if begin is not None:
            begin(self)
        return self.runs.setdefault(run_id, "running") == "running"

    def run_url(self, dag_id: str, run_id: str) -> str:
        return f"https://site.example/dags/{dag_id}/runs/{run_id}"

    def run_state(self, dag_id: str, run_id: str) -> str:
        return self.runs[run_id]

    def end_run(self, dag_id: str, run_id: str, note: str) -> str | None:
        if run_id in self.runs:
            self.runs[run_id] = "failed"
        return self.runs.get(run_id)


class Ti:
    task_id, map_index = "invite", -1

    def __init__(self, on_push: Callable[[], None] = lambda: None) -> None:
        self.on_push = on_push

    def xcom_push(self, key: str, value: Any) -> None:
        self.on_push()


@pytest.fixture
def task() -> FateInviteOperator:
    return FateInviteOperator(task_id="invite", job=JOB, role="guest", party_id=9999, sites=SITES, job_id="job-1")


@pytest.fixture
def sites(monkeypatch) -> dict[str, Site]:
    made = {conn_id: Site() for conn_id in SITES.values()}
    monkeypatch.setattr("airflow_provider_fate.hooks.site.FateSiteHook", made.__getitem__)
    return made


def states(sites: dict[str, Site]) -> list[dict[str, str]]:
    return [site.runs for site in sites.values()]


def test_all_are_asked_before_it_waits(task, sites):
    with pytest.raises(TaskDeferred):
        task.execute({"ti": Ti()})
    assert states(sites) == [{"job-1": "running"}] * 2


def test_a_run_that_began_though_its_answer_was_lost_is_ended(task, sites):
    def lose(site: Site) -> None:
        site.runs["job-1"] = "running"
        raise TransportError("no answer in time")

    sites["arbiter"].begin = lose
    with pytest.raises(AirflowException, match="no answer in time"):
        task.execute({"ti": Ti()})
    assert states(sites) == [{"job-1": "failed"}] * 2


def test_a_run_of_somebody_elses_is_left_alone(task, sites):
    def conflict(site: Site) -> None:
        site.runs["job-1"] = "running"
        raise ConfigError("run job-1", "has a run of this id already, with another conf")

    sites["arbiter"].begin = conflict
    with pytest.raises(AirflowFailException, match="with another conf"):
        task.execute({"ti": Ti()})
    assert states(sites) == [{"job-1": "failed"}, {"job-1": "running"}]


@pytest.mark.parametrize("place", ["telco", "arbiter"])
def test_a_task_that_is_stopped_while_it_asks_leaves_no_run(task, sites, place):
    """Airflow calls on_kill while the request is under way, and the site begins the run after that."""
    sites[place].begin = lambda site: task.on_kill()
    with pytest.raises(AirflowException, match="the initiator has stopped this job"):
        task.execute({"ti": Ti()})
    assert states(sites) == ([{"job-1": "failed"}, {}] if place == "telco" else [{"job-1": "failed"}] * 2)


def test_a_refusal_is_told_also_where_the_task_is_stopped_meanwhile(task, sites):
    def refuse(site: Site) -> None:
        task.on_kill()
        raise ConfigError("connection 'arbiter'", "does not allow 'us' to start runs")

    sites["arbiter"].begin = refuse
    with pytest.raises(AirflowFailException, match="does not allow 'us'"):
        task.execute({"ti": Ti()})
    assert states(sites) == [{"job-1": "failed"}, {}]


def test_a_task_that_is_stopped_when_all_were_asked_does_not_wait(task, sites):
    with pytest.raises(AirflowException, match="the initiator has stopped this job"):
        task.execute({"ti": Ti(task.on_kill)})
    assert states(sites) == [{"job-1": "failed"}] * 2
