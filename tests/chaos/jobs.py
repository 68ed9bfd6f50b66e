"""The trainings that are disturbed, and what is known of one run of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_fate.job.names import job_id_of

EXAMPLES = Path(__file__).parents[2] / "dags" / "examples"
#: seconds that a party waits for one that gives no sign of life
WAIT = 60
RETRIES, RETRY_DELAY = 2, 5
#: a checkpoint is written after steps that are multiples of it
EVERY = 5


@dataclass(frozen=True)
class Job:
    """A training.

    :param steps: rounds or iterations
    :param step: what the guest's log says of one
    :param invited: by party, the DAG that takes the invitation
    """

    name: str
    component: str
    steps: int
    step: str
    invited: dict[str, str]
    conf: dict[str, Any] = field(repr=False)

    @property
    def dag_id(self) -> str:
        """Of the inviting side."""
        return f"chaos_{self.name}"

    @property
    def parties(self) -> list[str]:
        return ["guest-9999", *self.invited]

    @property
    def model_id(self) -> str:
        return f"chaos_{self.name}"


def _job(
    name: str,
    file: str,
    component: str,
    step: str,
    parameters: dict[str, Any],
    invited: dict[str, str],
    partitions: int | None = None,
) -> Job:
    conf = json.loads((EXAMPLES / "fate_jobs" / file).read_text())
    conf["conf"]["job_parameters"]["common"]["model_id"] = f"chaos_{name}"
    if partitions:
        conf["conf"]["job_parameters"]["common"]["computing_partitions"] = partitions
    conf["conf"]["component_parameters"]["common"][component] |= parameters
    steps = parameters.get("num_trees") or parameters["max_iter"]
    return Job(name, component, steps, step, invited, conf)


def _boosting(name: str, trees: int, partitions: int | None = None) -> Job:
    return _job(
        name, "hetero_secureboost.json", "hetero_secureboost_0", "round {} of", {"num_trees": trees},
        {"host-10000": "fate_invited"}, partitions,
    )  # fmt: skip


def _regression(name: str, iterations: int, partitions: int | None = None) -> Job:
    return _job(
        name, "hetero_lr.json", "hetero_lr_0", "iteration {} of",
        {"max_iter": iterations, "tol": 1e-12, "batch_size": -1},
        {"host-10000": "fate_invited", "arbiter-10000": "fate_invited_arbiter"}, partitions,
    )  # fmt: skip


#: so few rows the drivers compute by themselves
JOBS = {"secureboost": _boosting("secureboost", 30), "lr": _regression("lr", 100)}
#: the same on Spark's executors, for what strikes at these
ON_EXECUTORS = {"secureboost": _boosting("secureboost_spark", 8, 2), "lr": _regression("lr_spark", 10, 2)}
ALL = [*JOBS.values(), *ON_EXECUTORS.values()]


def settings() -> dict[str, Any]:
    """What both sides' DAGs read from ``chaos.json``."""
    return {
        "retries": RETRIES, "retry_delay": RETRY_DELAY, "wait_timeout": WAIT,
        "jobs": {job.name: {"conf": job.conf, "sites": sorted(job.invited)} for job in ALL},
    }  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run of a job.

    :param run_id: at the bank; the run at the telco has the job's id
    """

    job: Job
    run_id: str

    @property
    def job_id(self) -> str:
        return job_id_of(f"{self.job.dag_id}_{self.run_id}")


def step_in(log: str, job: Job) -> int:
    """The last step that a party's log tells of; 0 for none."""
    found = re.findall(job.step.format(r"(\d+)"), log)
    return int(found[-1]) if found else 0


_AFTER_STEP = re.compile(r"going on after (?:iteration|round) (\d+)")
_DONE = re.compile(r"(\w+) \(\w+\): done before, going on from its checkpoint")


def continued_from(log: str, job: Job) -> tuple[str, int]:
    """From where a party's last session went on, from its log.

    :returns: words for it, and the step after which the training went on; -1 where the job began from its start
    """
    session = log.rpartition("waiting for ")[2]
    if found := _AFTER_STEP.search(session):
        return f"step {found[1]}", int(found[1])
    if "going on from the end" in session:
        return "the end", job.steps
    done = _DONE.findall(session)
    return (done[-1], 0) if done else ("the start", -1)
