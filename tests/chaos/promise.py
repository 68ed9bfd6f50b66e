"""What is promised after a fault, and whether it was kept.

Either the job ends with the same model as one that nothing disturbed, and went on from its last checkpoint; or it ends
at every party within a minute, and says by what. And nothing is left: no process, nothing at a broker, no temporary
file, no half table or model.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.faults import Fault
from tests.chaos.jobs import EVERY, Run, continued_from
from tests.chaos.sites import Sites

#: seconds for a job that cannot go on to end everywhere
SOON = 60.0
#: seconds for what ends a moment after its task
_AFTERWARDS = 20.0
_PARTIAL = re.compile(r"\.writing$|(^|/)\.|\.old$|_temporary|\.msg$|\.crc$")


@dataclass
class Outcome:
    """How a job went that a fault struck: one line of the table."""

    fault: str
    job: str
    at: str = ""
    did: str = ""
    outcome: str = ""
    seconds: float = 0.0
    continued: str = ""
    left: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        return not self.broken and not self.left


def judge(sites: Sites, run: Run, fault: Fault, step: int, undisturbed: dict[str, Any], outcome: Outcome) -> None:
    """Fill in how it ended.

    :param step: the guest had come to it when the fault struck
    :param undisturbed: files of the model that nothing disturbed, by party
    """
    states = {party: sites.site_of(party).state(run, party) for party in run.job.parties}
    logs = {party: sites.site_of(party).log(run, party) for party in run.job.parties}
    models = {party: sites.site_of(party).model(run, party) for party in run.job.parties}
    if set(states.values()) == {"success"}:
        outcome.outcome = "same model"
        for party, model in models.items():
            if model != undisturbed[party]:
                differ = sorted(
                    name for name in {*model, *undisturbed[party]} if model.get(name) != undisturbed[party].get(name)
                )
                outcome.outcome = "another model"
                outcome.broken.append(f"{party}'s model differs in {', '.join(differ)}")
        words, after = continued_from(logs["guest-9999"], run.job)
        went_on = sessions(logs["guest-9999"]) > 1
        outcome.continued = words if went_on else "no restart"
        expected = (step - 1) // EVERY * EVERY
        if went_on and after < expected:
            outcome.broken.append(f"went on from {words}, and step {expected} was done")
        if fault.must_end:
            outcome.broken.append("was to end, and has gone on")
    elif set(states.values()) == {"failed"}:
        outcome.outcome = "ended everywhere"
        if outcome.seconds > SOON + fault.allowance:
            outcome.broken.append(f"took more than {SOON:.0f} s to end, over the {fault.allowance:.0f} s of the fault")
        for party, log in logs.items():
            if not fault.cause or not re.search(fault.cause, log):
                last = [line for line in log.splitlines() if line.strip()][-3:]
                outcome.broken.append(f"{party} does not name the cause: {' / '.join(last)[-400:]}")
        if any(models.values()):
            outcome.broken.append("a model is there of a job that has failed")
    else:
        outcome.outcome = "ended apart"
        outcome.broken.append(f"the runs are {states}")


def sessions(log: str) -> int:
    """How often a party met the others, or did without as it had come to the end before."""
    begun = ("waiting for host-10000 (", "waiting for host-10000, arbiter-10000 (", "going on from the end")
    return sum(log.count(words) for words in begun)


def left_behind(sites: Sites, runs: Sequence[Run], before: dict[str, Any]) -> list[str]:
    """What is still there of runs, after it was given some seconds to go.

    :param before: what :func:`state_of` gave before the runs
    """
    deadline = time.monotonic() + _AFTERWARDS
    while (left := _left(sites, runs, before)) and time.monotonic() < deadline:
        time.sleep(1)
    return left


def state_of(sites: Sites) -> dict[str, Any]:
    """What is at the brokers and in the directories for temporary files, and what is half-written in the storages."""
    return {
        "brokers": sites.at_brokers(),
        "temporary": {site.name: {path.name for path in site.temporary.iterdir()} for site in sites},
        "partial": {site.name: {path for path in site.paths() if _PARTIAL.search(path)} for site in sites},
    }


def _left(sites: Sites, runs: Sequence[Run], before: dict[str, Any]) -> list[str]:
    left = [f"process {one.pid} ({one.line[:80]})" for site in sites for one in site.processes()]
    left += [f"executor {pid}" for pid in sites.telco.spark.executors()]
    now = state_of(sites)
    for name, parts in now["brokers"].items():
        for part, there in parts.items():
            left += [
                f"{part} {one} at the {name}'s broker" for one in there if one not in before["brokers"][name][part]
            ]
    for name, there in now["temporary"].items():
        left += [f"{one} of the {name}" for one in there - before["temporary"][name]]
    for name, there in now["partial"].items():
        left += [f"{path} in the {name}'s storage" for path in there - before["partial"][name]]
    for site in sites:
        paths = site.paths()
        # a job that has failed keeps it, beside its checkpoints, for whoever clears its tasks
        ends = [rf"jobs/{re.escape(run.job_id)}/[^/]+/end" for run in runs if _all_succeeded(sites, run)]
        ended = [path for path in paths if any(re.fullmatch(end, path) for end in ends)]
        left += [f"{path} in the {site.name}'s storage" for path in ended]
        for directory, mark in ((r"models/[^/]+/[^/]+/[^/]+", "_model.json"), (r"tables/[^/]+/[^/]+", "_meta.json")):
            whole = [path for path in paths if re.fullmatch(directory, path)]
            left += [f"{path}, which is not whole" for path in whole if f"{path}/{mark}" not in paths]
    return left


def _all_succeeded(sites: Sites, run: Run) -> bool:
    return all(sites.site_of(party).state(run, party) == "success" for party in run.job.parties)
