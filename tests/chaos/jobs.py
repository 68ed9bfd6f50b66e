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


def _job(name: str, file: str, component: str, step: str, parameters: dict[str, Any], invited: dict[str, str]) -> Job:
    conf = json.loads((EXAMPLES / "fate_jobs" / file).read_text())
    # on Spark's executors, where a step takes a second or so: there is something to hit, and time for it
    conf["conf"]["job_parameters"]["common"] |= {"computing_partitions": 2, "model_id": f"chaos_{name}"}
    conf["conf"]["component_parameters"]["common"][component] |= parameters
    steps = parameters.get("num_trees") or parameters["max_iter"]
    return Job(name, component, steps, step, invited, conf)


JOBS = {
    "secureboost": _job(
        "secureboost", "hetero_secureboost.json", "hetero_secureboost_0", "round {} of", {"num_trees": 10},
        {"host-10000": "fate_invited"},
    ),
    "lr": _job(
        "lr", "hetero_lr.json", "hetero_lr_0", "iteration {} of", {"max_iter": 12, "tol": 1e-12, "batch_size": -1},
        {"host-10000": "fate_invited", "arbiter-10000": "fate_invited_arbiter"},
    ),
}  # fmt: skip


def settings() -> dict[str, Any]:
    """What both sides' DAGs read from ``chaos.json``."""
    return {
        "retries": RETRIES, "retry_delay": RETRY_DELAY, "wait_timeout": WAIT,
        "jobs": {name: job.conf for name, job in JOBS.items()},
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
