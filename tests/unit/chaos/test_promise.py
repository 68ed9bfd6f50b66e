"""What the series of faults reads in logs, and how it judges."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.jobs import JOBS, ON_EXECUTORS, Run, continued_from, step_in
from tests.chaos.promise import Outcome, judge
from tests.chaos.series import Series, table

JOB = JOBS["secureboost"]
MODEL = {"hetero_secureboost_0.json": b"{}"}
FIRST = "waiting for host-10000 (messages)\nhetero_secureboost_0 (HeteroSecureBoost): started\nround 7 of 30"
DONE = "intersection_0 (Intersection): done before, going on from its checkpoint"
AGAIN = f"{FIRST}\nwaiting for host-10000 (messages)\n{DONE}"


def sites(states, logs, models):
    """Both organisations' storage and logs, as far as a judge looks at them."""
    site = SimpleNamespace(
        state=lambda run, party: states[party],
        log=lambda run, party: logs.get(party, ""),
        model=lambda run, party: models.get(party, {}),
    )
    return SimpleNamespace(site_of=lambda party: site)


def judged(states="success", logs=None, models=None, fault="guest-driver", step=8, seconds=30.0) -> Outcome:
    outcome = Outcome(fault, JOB.name, seconds=seconds)
    states = dict.fromkeys(JOB.parties, states) if isinstance(states, str) else states
    models = dict.fromkeys(JOB.parties, MODEL) if models is None else models
    undisturbed = dict.fromkeys(JOB.parties, MODEL)
    judge(sites(states, logs or {}, models), Run(JOB, "run"), FAULTS[fault], step, undisturbed, outcome)
    return outcome


@pytest.mark.parametrize(
    ("log", "words", "step"),
    [
        (FIRST, "the start", -1),
        (AGAIN, "intersection_0", 0),
        (f"{AGAIN}\nhetero_secureboost_0: going on after round 5", "step 5", 5),
        (f"{AGAIN}\ngoing on from the end, to which host-10000 had come before", "the end", 30),
    ],
)
def test_from_where_a_job_went_on(log, words, step):
    assert continued_from(log, JOB) == (words, step)


def test_how_far_a_job_is():
    assert step_in(FIRST, JOB) == 7 and step_in("", JOB) == 0
    assert step_in("iteration 3 of 100, loss 1\niteration 12 of 100, loss 1", JOBS["lr"]) == 12


def test_the_same_model_after_a_checkpoint_is_what_is_promised():
    assert judged(logs={"guest-9999": FIRST}).kept
    kept = judged(logs={"guest-9999": f"{AGAIN}\nhetero_secureboost_0: going on after round 5"})
    assert kept.kept and (kept.outcome, kept.continued) == ("same model", "step 5")
    kept = judged(logs={"guest-9999": f"{FIRST}\ngoing on from the end, to which an earlier try had come before"})
    assert kept.kept and kept.continued == "the end"


@pytest.mark.parametrize(
    ("problem", "arguments"),
    [
        ("model differs in hetero_secureboost_0.json", {"models": {"guest-9999": MODEL, "host-10000": {}}}),
        ("went on from the start, and step 5 was done", {"logs": {"guest-9999": f"{FIRST}\n{FIRST}"}}),
        ("went on from intersection_0, and step 5 was done", {"logs": {"guest-9999": AGAIN}}),
        ("the runs are", {"states": {"guest-9999": "success", "host-10000": "failed"}}),
        ("the runs are", {"states": {"guest-9999": "failed", "host-10000": "running"}}),
        ("was to end, and has gone on", {"fault": "mark-failed"}),
        ("guest-9999 does not name the cause", {"states": "failed", "models": {}, "fault": "mark-failed"}),
        ("took more than 60 s", {"states": "failed", "models": {}, "fault": "mark-failed", "seconds": 61.0}),
        ("a model is there of a job that has failed", {"states": "failed", "fault": "mark-failed"}),
    ],
)
def test_what_breaks_the_promise(problem, arguments):
    outcome = judged(**arguments)
    assert not outcome.kept and problem in " ".join(outcome.broken)
    assert f"broken by {outcome.fault}" in table([outcome])


def test_an_end_everywhere_that_names_its_cause_is_what_is_promised():
    logs = dict.fromkeys(JOB.parties, "host-10000 ended: the task of host-10000 was stopped in Airflow")
    assert judged("failed", logs, {}, "mark-failed").kept
    logs = dict.fromkeys(JOB.parties, "host-10000 has given no sign of life for 60 s")
    assert judged("failed", logs, {}, "cut-long", seconds=110.0).kept


def test_a_seed_gives_one_series():
    plans = [Series(None, seed).plan(list(FAULTS), list(JOBS), 2) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    names = [(fault.name, job.name) for fault, jobs in plans[0] for job in jobs]
    assert names.count(("broker", "lr")) == 2
    assert ("arbiter-driver", "secureboost") not in names, "it has none"
    struck = {job.name for fault, jobs in plans[0] for job in jobs if fault.executors}
    assert struck == {job.name for job in ON_EXECUTORS.values()}


def test_points_are_within_the_training():
    for job in (*JOBS.values(), *ON_EXECUTORS.values()):
        assert random.Random(0).randint(1, job.steps - 3) >= 1
