"""The end of a job, with a party killed at each point of it and tried again: all store their results, once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_fate.errors import ConfigError, StorageError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.runtime.ending import Ending
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.pipeline import Pipeline
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.models import ModelStore
from tests.unit.runtime.whole_jobs import GUEST, HOST, Killed, Kills, Parties, finish

#: seconds without a sign of life after which a party is given up
WAIT = 2.0


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
    "when it had written down that they were": (Ending, "finish", 1, {"after": True}),
}


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


@pytest.mark.parametrize(
    ("point", "told"),
    [("when it had stored", True), ("when it had written down that they were", False)],
)
def test_nobody_is_told_who_needs_no_telling(
    breast: Parties, job: Job, kills: Kills, monkeypatch: pytest.MonkeyPatch, point: str, told: bool
) -> None:
    """What would be told to peers that are done for good stays with the broker until it expires."""
    left: list[str] = []
    leave = Session.leave
    monkeypatch.setattr(Session, "leave", lambda session, ended: (left.append(ended), leave(session, ended))[1])
    owner, name, call, options = POINTS[point]
    kills.at(HOST, owner, name, call, **options)
    finish(breast, job, breast.start(job, wait=WAIT), late=True)
    check_stored(breast, job)
    assert bool(left) == told
    assert breast.lines[HOST][-1].startswith("going on from the end")


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


def test_a_version_that_another_job_makes_meanwhile_is_not_replaced(
    breast: Parties, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs of one explicit version that run at the same time; whoever is first has made it."""
    store = ModelStore(breast.storage(HOST), HOST)
    for owner, name, others_fail in ((Pipeline, "_run_components", True), (Session, "agree", False)):
        usual = getattr(owner, name)

        def other_ends(self: Any, *args: Any, usual: Any = usual) -> Any:
            result = usual(self, *args)
            if getattr(self, "party", getattr(self, "me", None)) == HOST:
                store.save(job.model_id, "job1", {}, job.to_dict(), "other")
            return result

        monkeypatch.setattr(owner, name, other_ends)
        tries = {one.party: one for one in breast.start(job, wait=WAIT)}
        for one in tries.values():
            one.join(30)
        monkeypatch.undo()
        assert isinstance(tries[HOST].error, ConfigError)
        assert "was made by job other while this job ran" in str(tries[HOST].error)
        assert store.made_by(job.model_id, "job1") == "other"
        stored = ModelStore(breast.storage(GUEST), GUEST).made_by(job.model_id, "job1")
        assert stored == (None if others_fail else "job1")
        # who clears the task runs the job anew: nothing is kept of what could not be stored
        assert not list((breast.folder / str(HOST) / "jobs" / "job1" / str(HOST)).glob("end/*"))
        store.storage.delete("models")
        breast.hub = type(breast.hub)()

    # one that was there before is, as in every training under a version of its own
    for party in job.parties:
        breast.storage(party).delete(f"jobs/job1/{party}")
    store.save(job.model_id, "job1", {}, job.to_dict(), "other")
    breast.run(job)
    assert store.made_by(job.model_id, "job1") == "job1"


def test_results_that_are_gone_are_not_taken_for_stored(tmp_path: Any) -> None:
    storage = LocalStorage(tmp_path)
    storage.write_json("end/s/model/m.json", {})
    ending = Ending(storage, "end", "key")
    ending.keep("s", [("end/s/model", "models/m")], {})
    ending.store()
    ending.store()  # moved already
    assert storage.exists("models/m/m.json")
    storage.delete("models")
    with pytest.raises(StorageError, match="end/s/model is gone"):
        ending.store()
