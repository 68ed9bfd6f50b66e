"""A seeded series of faults, one job after the other, and the table of what came of them."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.jobs import Job, Run
from tests.chaos.promise import Outcome, judge, left_behind, state_of
from tests.chaos.sites import Sites
from tests.servers.process import ServerError

_COLUMNS = ("fault", "job", "at", "outcome", "seconds", "continued from", "left behind")
#: seconds in which a job ends, whatever happens
_LONGEST = 420.0


class Series:
    """Runs jobs at two organisations and strikes at each.

    :param sites: the organisations
    :param seed: of all that is chosen at random
    """

    def __init__(self, sites: Sites, seed: int) -> None:
        self.sites = sites
        self.seed = seed
        self.outcomes: list[Outcome] = []
        self._undisturbed: dict[str, dict[str, dict[str, bytes]]] = {}
        self._number = 0

    def plan(self, faults: Sequence[str], jobs: Sequence[str], rounds: int) -> list[tuple[Fault, Job]]:
        """What strikes what, in which order."""
        dice = random.Random(self.seed)
        planned = []
        for _ in range(rounds):
            pairs = [(FAULTS[name], job) for name in faults for job in FAULTS[name].jobs(jobs)]
            dice.shuffle(pairs)
            planned += pairs
        return planned

    def undisturbed(self, job: Job) -> dict[str, dict[str, bytes]]:
        """The model of a run that nothing disturbs, by party."""
        if job.name not in self._undisturbed:
            run = self._begin(job, "undisturbed")
            self._await_end(run)
            models = {party: self.sites.site_of(party).model(run, party) for party in job.parties}
            states = {party: self.sites.site_of(party).state(run, party) for party in job.parties}
            if set(states.values()) != {"success"}:
                log = self.sites.bank.log(run, "guest-9999")
                raise ServerError(f"{job.name} does not even end well undisturbed: {states}\n{log[-3000:]}")
            self._undisturbed[job.name] = models
        return self._undisturbed[job.name]

    def strike(self, fault: Fault, job: Job) -> Outcome:
        """Run a job, strike at a random point of it, and judge how it ended."""
        if fault.network and self.sites.lacking:
            raise ServerError(f"{fault.name} needs networks of the sites' own: {self.sites.lacking}")
        undisturbed = self.undisturbed(job)
        dice = random.Random(f"{self.seed}/{fault.name}/{job.name}/{self._number}")
        before = state_of(self.sites)
        step, delay = dice.randint(1, job.steps - 3), dice.uniform(0, 1)
        run = self._begin(job, fault.name)
        outcome = Outcome(fault.name, job.name, f"{job.component} {step}")
        self.outcomes.append(outcome)
        self._await_step(run, step)
        time.sleep(delay)
        struck = time.monotonic()
        outcome.did = fault.strike(self.sites, run, dice)
        try:
            self._await_end(run)
        except ServerError as error:
            outcome.broken.append(str(error))
        outcome.seconds = time.monotonic() - struck
        judge(self.sites, run, fault, step, undisturbed, outcome)
        outcome.left = left_behind(self.sites, run, before)
        return outcome

    def _begin(self, job: Job, why: str) -> Run:
        self._number += 1
        run = Run(job, f"{self._number}-{why}")
        self.sites.bank.airflow.trigger(job.dag_id, {}, run_id=run.run_id)
        return run

    def _await_step(self, run: Run, step: int, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        text = run.job.step.format(step)
        while text not in (log := self.sites.bank.log(run, "guest-9999")):
            if time.monotonic() > deadline:
                invited = self.sites.bank.log(run, "guest-9999", "invite")
                raise ServerError(f"{run.job_id} has not come to {text}\n{invited[-2000:]}\n{log[-3000:]}")
            time.sleep(0.1)

    def _await_end(self, run: Run) -> None:
        deadline = time.monotonic() + _LONGEST
        while not self.sites.has_ended(run):
            if time.monotonic() > deadline:
                raise ServerError(f"{run.job_id} has not ended after {_LONGEST:.0f} s")
            time.sleep(0.5)


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes, one a line, and below it what of the promise was broken."""
    rows: list[Sequence[Any]] = [_COLUMNS]
    for one in outcomes:
        what = f"{one.fault} ({one.did})" if one.did else one.fault
        left = "; ".join(one.left) or "nothing"
        rows.append((what, one.job, one.at, one.outcome, f"{one.seconds:.0f}", one.continued or "-", left))
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(_COLUMNS) - 1)]
    lines = [
        " | ".join([*(str(cell).ljust(width) for cell, width in zip(row, widths, strict=False)), str(row[-1])])
        for row in rows
    ]
    lines.insert(1, "-+-".join("-" * width for width in (*widths, len(_COLUMNS[-1]))))
    lines += [f"broken by {one.fault} in {one.job}: {text}" for one in outcomes for text in one.broken]
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, flush=True, file=sys.stdout)
