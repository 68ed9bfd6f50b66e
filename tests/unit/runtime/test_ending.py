"""The end of a job, with a party killed at each point of it and tried again: all store their results, once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.ending import Ending
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.models import ModelStore
from tests.unit.runtime.whole_jobs import GUEST, HOST, Killed, Parties, Try, lr_job

#: seconds without a sign of life after which a party is given up
WAIT = 2.0


@pytest.fixture
def job() -> Job:
    """A table and a model at guest and host, and nothing that takes long."""
    whole = lr_job().to_dict()
    components = whole["dsl"]["components"]
    del components["hetero_lr_0"], components["evaluation_0"]
    common = whole["conf"]["component_parameters"]["common"]
    common.pop("hetero_lr_0"), common.pop("evaluation_0")
    return Job.from_dict(whole)


class Kills:
    """Kills threads of parties at a point of the code, each once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.done: list[str] = []

    def at(
        self, who: Party, owner: type, name: str, call: int = 1, *, after: bool = False,
        only: Callable[..., bool] = lambda *a: True,
    ) -> None:  # fmt: skip
        """At the ``call``-th call of a method, before it does anything or after."""
        original = getattr(owner, name)
        calls = 0

        def killing(this: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal calls
            ours = threading.current_thread().name == str(who) and only(*arguments)
            calls += ours
            fatal = ours and calls == call
            if fatal and not after:
                self.done.append(name)
                raise Killed
            found = original(this, *arguments, **options)
            if fatal:
                self.done.append(name)
                raise Killed
            return found

        self._patch.setattr(owner, name, killing)


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Kills:
    return Kills(monkeypatch)


def done_tag(_session: str, _peer: Any, tag: str, *_: Any) -> bool:
    return tag == "job/done"


def to_models(_source: str, target: str) -> bool:
    return target.startswith("models/")


#: where in the code, in the order in which it is run
POINTS: dict[str, tuple[Any, ...]] = {
    "before it kept its results": (Ending, "keep", 1, {}),
    "when it had kept them": (Ending, "keep", 1, {"after": True}),
    "when it had told one peer": (Session, "_send_value", 1, {"after": True, "only": done_tag}),
    "when it had told all": (Session, "_send_value", 2, {"after": True, "only": done_tag}),
    "when it had heard it of all": (Session, "agree", 1, {"after": True}),
    "when it had written that down": (Ending, "agree", 1, {"after": True}),
    "while it stored": (LocalStorage, "replace_directory", 1, {"only": to_models}),
    "when it had stored": (Ending, "store", 1, {"after": True}),
    "when it had said bye to one": (Session, "_packed_bye", 2, {}),
    "when all were gone": (Session, "finish", 1, {"after": True}),
}


def finish(parties: Parties, job: Job, tries: list[Try], *, late: bool, most: int = 3) -> int:
    """Try again whoever did not end well, as Airflow does. :returns: how many tries were needed"""
    running = {one.party: one for one in tries}
    needed = len(tries)
    rounds = dict.fromkeys(running, 1)
    while True:
        for one in list(running.values()):
            one.join(0.02)
        if late and any(one.is_alive() for one in running.values()):
            continue
        failed = [one for one in running.values() if not one.is_alive() and one.error is not None]
        if not failed and not any(one.is_alive() for one in running.values()):
            return needed
        for one in failed:
            rounds[one.party] += 1
            assert rounds[one.party] <= most, (one.party, one.error, parties.lines)
            needed += 1
            running[one.party] = Try(parties, job, one.party, one.job_id, one.wait)


def check_stored(parties: Parties, job: Job) -> None:
    for party in job.parties:
        stored = ModelStore(parties.storage(party), party).load(job.model_id, "job1")
        assert ("dataio_0" in stored) == (party.role != "arbiter")
        directory = parties.folder / str(party) / "jobs" / "job1" / str(party)
        assert json.loads((directory / "status.json").read_text())["state"] == "success"
        assert json.loads((directory / "status.json").read_text())["model_version"] == "job1"
        assert not (directory / "checkpoints").exists()
        assert not list(directory.glob("end/*/*"))


@pytest.mark.parametrize("late", [False, True], ids=["tried again at once", "tried again when the others are gone"])
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_party(breast: Parties, job: Job, kills: Kills, point: str, late: bool) -> None:
    owner, name, call, options = POINTS[point]
    kills.at(HOST, owner, name, call, **options)
    needed = finish(breast, job, breast.start(job, wait=WAIT), late=late)
    assert kills.done == [name]
    check_stored(breast, job)
    places = list(POINTS)
    if not late or places.index(point) > places.index("when it had told one peer"):
        assert needed == 4, breast.lines  # nobody else had to be tried again


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("when it had told all", "while it stored"),
        ("when it had heard it of all", "when it had written that down"),
        ("when it had stored", "when it had told all"),
        ("when it had told all", "when it had told all"),
    ],
)
def test_two_killed_parties(breast: Parties, job: Job, kills: Kills, one: str, other: str, late: bool) -> None:
    for party, point in ((HOST, one), (GUEST, other)):
        owner, name, call, options = POINTS[point]
        kills.at(party, owner, name, call, **options)
    finish(breast, job, breast.start(job, wait=WAIT), late=late)
    assert len(kills.done) == 2
    check_stored(breast, job)


def test_all_killed_after_they_had_kept_their_results(breast: Parties, job: Job, kills: Kills) -> None:
    """Nobody knows of all others; when they meet again, they see that all had, and nothing is computed again."""
    for party in job.parties:
        kills.at(party, Session, "agree")
    tries = breast.start(job, wait=WAIT)
    for one in tries:
        one.join(30)
        assert isinstance(one.error, Killed)
    breast.lines.clear()
    assert finish(breast, job, breast.start(job, wait=WAIT), late=True, most=1) == 3
    check_stored(breast, job)
    assert not [line for party in job.parties for line in breast.lines[party] if "intersection_0" in line]


def test_a_party_whose_disk_is_full_at_the_end(
    breast: Parties, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have stored theirs and fail with it; tried again, each is done by itself."""
    stored = LocalStorage.replace_directory

    def full(self: LocalStorage, source: str, target: str) -> None:
        if "host-10000" in str(self.root) and to_models(source, target):
            raise OSError("no space left")
        stored(self, source, target)

    monkeypatch.setattr(LocalStorage, "replace_directory", full)
    tries = breast.start(job, wait=WAIT)
    for one in tries:
        one.join(30)
        assert one.error is not None
    monkeypatch.undo()
    assert finish(breast, job, breast.start(job, wait=WAIT, only=[HOST]), late=True, most=1) == 1
    assert finish(breast, job, breast.start(job, wait=WAIT, only=[GUEST]), late=True, most=1) == 1
    assert breast.lines[GUEST][-1].startswith("going on from the end")


def test_other_input_is_another_job(breast: Parties, job: Job, kills: Kills) -> None:
    """What was kept for one table is not given out for another of its name."""
    kills.at(GUEST, Session, "finish", after=True)
    for one in breast.start(job, wait=WAIT):
        one.join(30)
    table = breast.folder / "guest-9999" / "tables" / "experiment" / "breast_hetero_guest" / "_meta.json"
    meta = json.loads(table.read_text())
    table.write_text(json.dumps({**meta, "digest": "other"}))
    (guest,) = breast.start(job, wait=1, only=[GUEST])
    guest.join(30)
    assert "has not come to job job1" in str(guest.error)
