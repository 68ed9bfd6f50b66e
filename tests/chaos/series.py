"""A seeded series of faults, one job after the other, and the table of what came of them."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.jobs import Job, Run, step_in
from tests.chaos.promise import Outcome, judge, left_behind, state_of
from tests.chaos.sites import Sites
from tests.servers.process import ServerError

_COLUMNS = ("fault", "job", "at", "outcome", "seconds", "continued from", "left behind")
#: seconds in which a job ends, whatever happens
_LONGEST = 420.0


@dataclass
class _Struck:
    """A run that a fault strikes.

    :param step: to which it had come then
    """

    run: Run
    outcome: Outcome
    step: int = 0
    dice: random.Random = field(default_factory=random.Random)


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

    def plan(self, faults: Sequence[str], jobs: Sequence[str], rounds: int) -> list[tuple[Fault, list[Job]]]:
        """What strikes what, in which order; the jobs that a fault strikes run at the same time."""
        dice = random.Random(self.seed)
        planned = []
        for _ in range(rounds):
            groups = [(FAULTS[name], FAULTS[name].jobs(jobs)) for name in faults]
            for _, struck in groups:
                dice.shuffle(struck)
            dice.shuffle(groups)
            planned += [(fault, struck) for fault, struck in groups if struck]
        return planned

    def undisturbed(self, jobs: Sequence[Job]) -> None:
        """Run those jobs that have not run undisturbed yet."""
        runs = [self._begin(job, "undisturbed") for job in jobs if job.name not in self._undisturbed]
        for run in runs:
            self._await_end(run)
            parties = {party: self.sites.site_of(party) for party in run.job.parties}
            states = {party: site.state(run, party) for party, site in parties.items()}
            if set(states.values()) != {"success"}:
                log = self.sites.bank.log(run, "guest-9999")
                raise ServerError(f"{run.job.name} does not even end well undisturbed: {states}\n{log[-3000:]}")
            self._undisturbed[run.job.name] = {party: site.model(run, party) for party, site in parties.items()}

    def strike(self, fault: Fault, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs at the same time, strike at a random point of each, or of the first, and judge how they ended."""
        if fault.network and self.sites.lacking:
            raise ServerError(f"{fault.name} needs networks of the sites' own: {self.sites.lacking}")
        self.undisturbed(jobs)
        before = state_of(self.sites)
        struck = [_Struck(self._begin(job, fault.name), Outcome(fault.name, job.name)) for job in jobs]
        self.outcomes += [one.outcome for one in struck]
        for one in struck:
            one.dice = random.Random(f"{self.seed}/{one.run.run_id}/{one.run.job.name}")
        if fault.aimed:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda one: self._strike_or_say([one], fault), struck))
        else:
            self._strike_or_say(struck, fault)
        for one in struck:
            judge(self.sites, one.run, fault, one.step, self._undisturbed[one.run.job.name], one.outcome)
        struck[0].outcome.left = left_behind(self.sites, [one.run for one in struck], before)
        return [one.outcome for one in struck]

    def _strike_or_say(self, struck: Sequence[_Struck], fault: Fault) -> None:
        """Strike; where that cannot be done, the series goes on and says so in the end."""
        try:
            self._strike_at(struck, fault)
        except Exception as error:  # noqa: BLE001
            for one in struck:
                one.outcome.broken.append(str(error)[-1000:] or repr(error))

    def _strike_at(self, struck: Sequence[_Struck], fault: Fault) -> None:
        """Strike when the first of the runs is at its point, and wait until all have ended."""
        first = struck[0]
        step, delay = first.dice.randint(1, first.run.job.steps - 3), first.dice.uniform(0, 1)
        self._await_step(first.run, step)
        time.sleep(delay)
        for one in struck:
            one.step = step_in(self.sites.bank.log(one.run, "guest-9999"), one.run.job)
            one.outcome.at = f"{one.run.job.component} {one.step}" if one.step else "before the training"
        began = time.monotonic()
        did = fault.strike(self.sites, [one.run for one in struck], first.dice)
        waiting = list(struck)
        while waiting:
            for one in [one for one in waiting if self.sites.has_ended(one.run)]:
                one.outcome.did, one.outcome.seconds = did, time.monotonic() - began
                waiting.remove(one)
            if time.monotonic() - began > _LONGEST:
                for one in waiting:
                    one.outcome.broken.append(f"has not ended after {_LONGEST:.0f} s")
                    one.outcome.did, one.outcome.seconds = did, time.monotonic() - began
                break
            time.sleep(0.5)

    def _begin(self, job: Job, why: str) -> Run:
        self._number += 1
        run = Run(job, f"{self._number}-{why}")
        self.sites.bank.airflow.trigger(job.dag_id, {}, run_id=run.run_id)
        return run

    def _await_step(self, run: Run, step: int, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while step_in(log := self.sites.bank.log(run, "guest-9999"), run.job) < step:
            if time.monotonic() > deadline:
                invited = self.sites.bank.log(run, "guest-9999", "invite")
                raise ServerError(f"{run.job_id} has not come to step {step}\n{invited[-2000:]}\n{log[-3000:]}")
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
