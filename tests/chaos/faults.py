"""What is done to a running job. Each fault strikes once, and mends what a person would mend."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.jobs import JOBS, ON_EXECUTORS, WAIT, Job, Run
from tests.chaos.sites import Site, Sites
from tests.servers.process import ServerError
from tests.servers.processes import Running

GUEST, HOST, ARBITER = "guest-9999", "host-10000", "arbiter-10000"
#: words for a peer that was not heard of, or could not be reached
_SILENT = (
    "no sign of life|has not come to job|no answer in time|cannot be reached|has taken nothing|connection was lost"
)


#: strikes at runs, which are one where the fault can be aimed, and gives words on what exactly it did
Strike = Callable[[Sites, Sequence[Run], random.Random], str]


@dataclass(frozen=True)
class Fault:
    """Something that breaks.

    :param strike: does it
    :param aimed: it strikes at one run; others strike at all that runs
    :param cause: a regular expression that the log of every party matches where the job ends by it
    :param allowance: seconds that pass by this fault before anybody can know of it
    :param must_end: the job is not to go on after it
    :param network: it needs networks of the sites' own
    :param needs: the party that must take part
    :param executors: it strikes at Spark's executors, which must have something to do
    """

    name: str
    strike: Strike
    aimed: bool = False
    cause: str = ""
    allowance: float = 0.0
    must_end: bool = False
    network: bool = False
    needs: str = GUEST
    executors: bool = False

    def jobs(self, names: Iterable[str]) -> list[Job]:
        """Which of these it can strike."""
        known = ON_EXECUTORS if self.executors else JOBS
        return [known[name] for name in names if self.needs in known[name].parties]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _driver_of(site: Site, run: Run, party: str, seconds: float = 30) -> Running:
    deadline = time.monotonic() + seconds
    while not (found := site.drivers(run, party)):
        if time.monotonic() > deadline:
            raise ServerError(f"{party} has no driver")
        time.sleep(0.1)
    return found[0]


def _driver(party: str) -> Strike:
    def strike(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
        driver = _driver_of(sites.site_of(party), runs[0], party)
        which = dice.choice(("Python", "JVM"))
        _kill(driver.pid if which == "Python" else driver.parent)
        return which

    return strike


def _executor(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    sites.telco.spark.kill_executor(f"{runs[0].job_id} {HOST}")
    return "the host's"


def _task(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    """Kill the process that runs the task's code, or Airflow's process above it with that one."""
    party = dice.choice((GUEST, HOST))
    site = sites.site_of(party)
    by_pid = site.all_processes()
    task = by_pid[by_pid[_driver_of(site, runs[0], party).parent].parent]
    which = dice.choice(("task", "task and supervisor"))
    if which != "task":
        _kill(task.parent)
    _kill(task.pid)
    return f"{party}'s {which}"


def _scheduler(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    site = dice.choice((sites.bank, sites.telco))
    which = dice.choice(("alone", "with its tasks"))
    if which == "alone":
        site.airflow.kill_scheduler_alone()
    else:
        site.airflow.kill_component("scheduler")
    time.sleep(dice.uniform(1, 5))
    site.airflow.start_component("scheduler")
    return f"the {site.name}'s, {which}"


def _broker(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    site = dice.choice((sites.bank, sites.telco))
    site.broker.kill()
    time.sleep(dice.uniform(0, 10))
    site.broker.start()
    return f"the {site.name}'s"


def _datanode(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    hdfs = sites.bank.hdfs
    hdfs.kill("datanode")
    away = dice.uniform(5, 20)
    time.sleep(away)
    hdfs.start_daemon("datanode")
    hdfs.wait_ready()
    return f"away for {away:.0f} s"


def _nginx(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    sites.nginx.kill()
    away = dice.uniform(2, 15)
    time.sleep(away)
    sites.nginx.start()
    return f"away for {away:.0f} s"


def _cut(seconds: float) -> Strike:
    def strike(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
        assert sites.network is not None
        sites.network.cut()
        try:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not all(map(sites.has_ended, runs)):
                time.sleep(1)
        finally:
            sites.network.restore()
        return f"for {seconds:.0f} s"

    return strike


def _slow(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    assert sites.network is not None
    sites.network.slow("512kbit")
    time.sleep(20)
    sites.network.restore()
    return "512 kbit/s for 20 s"


def _disk(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    """Fill the disk below the telco's broker, beyond the limit at which RabbitMQ takes no more messages."""
    if sites.disk is None:
        raise ServerError("no disk of the broker's own could be mounted (a tmpfs), so that none can be filled")
    state = os.statvfs(sites.disk)
    filler = sites.disk / "filler"
    node = sites.telco.broker
    try:
        # the broker writes meanwhile
        filler.write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - (24 << 20))))
        deadline = time.monotonic() + 40
        while not any(one.get("disk_free_alarm") for one in node.api("GET", "nodes")):
            if time.monotonic() > deadline:
                raise ServerError("RabbitMQ has not noticed that its disk is full")
            time.sleep(0.5)
        time.sleep(dice.uniform(5, 15))
    finally:
        filler.unlink(missing_ok=True)
    return "the telco's, below 50 MB free"


def _clear(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    party = dice.choice((GUEST, HOST))
    site = sites.site_of(party)
    dag_id, run_id = site.dag_of(runs[0], party)
    what = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["train"], "only_failed": False}
    site.airflow.api("POST", f"dags/{dag_id}/clearTaskInstances", what)
    return f"{party}'s train"


def _mark(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    party = dice.choice((GUEST, HOST))
    site = sites.site_of(party)
    site.airflow.set_task_state(*site.dag_of(runs[0], party), "train", "failed")
    return f"{party}'s train"


def _twice(sites: Sites, runs: Sequence[Run], dice: random.Random) -> str:
    """Ask both Airflows for the run that they have."""
    for party in (GUEST, HOST):
        site = sites.site_of(party)
        dag_id, run_id = site.dag_of(runs[0], party)
        conf = site.airflow.api("GET", f"dags/{dag_id}/dagRuns/{run_id}")["conf"]
        try:
            site.airflow.trigger(dag_id, conf, run_id=run_id)
        except ServerError as refusal:
            if ": 409 " not in str(refusal):
                raise
            continue
        raise AssertionError(f"{site.name}: Airflow took run {run_id} of {dag_id} twice")
    return "409 at both"


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("executor", _executor, aimed=True, needs=HOST, executors=True),
        Fault("guest-driver", _driver(GUEST), aimed=True),
        Fault("host-driver", _driver(HOST), aimed=True, needs=HOST),
        Fault("arbiter-driver", _driver(ARBITER), aimed=True, needs=ARBITER),
        Fault("task", _task, aimed=True),
        Fault("scheduler", _scheduler),
        Fault("broker", _broker),
        Fault("datanode", _datanode, cause="DataNode|datanode|BlockMissing|could only be written"),
        Fault("nginx", _nginx),
        Fault("cut-30", _cut(30), network=True),
        Fault("cut-long", _cut(WAIT + 60), cause=_SILENT, allowance=WAIT, network=True),
        Fault("slow", _slow, network=True),
        Fault("disk", _disk, network=True),
        Fault("clear", _clear, aimed=True),
        Fault("mark-failed", _mark, aimed=True, cause="stopped in Airflow|told to stop", must_end=True),
        Fault("twice", _twice, aimed=True),
    )
}
