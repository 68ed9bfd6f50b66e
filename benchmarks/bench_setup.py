"""How long jobs take to be set up when many begin at once, in each way in which parties' messages can go.

Set up means: the links between the brokers where there are any, each party's connections and queues, and a first
message there and back. One job alone is measured beside all of them at once, with two parties a job, each party's part
as the operator and the application do it. Run it from the project's directory: ``python -m benchmarks.bench_setup``; it
starts two brokers of its own.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from airflow_provider_fate.hooks.broker_links import BrokerLinks, _Object
from airflow_provider_fate.hooks.job_links import JobLinks
from airflow_provider_fate.hooks.management import Management
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker
from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport

GUEST, HOST = Party("guest", "9999"), Party("host", "10000")
PATIENCE = 120.0  # seconds
PROCESSES = 4  # that share the jobs
MODES = ("shared", "routes", "links", "links-for-each-job")

_processes = multiprocessing.get_context("spawn")


class _LinksOfOneJob(BrokerLinks):
    """As it would be without sharing: an upstream and a policy for each job."""

    def __init__(self, job_id: str, *args: Any) -> None:
        super().__init__(*args)
        self._job_id = job_id

    def _objects(self, own: str, peer: str) -> list[_Object]:
        upstream, policy = super()._objects(own, peer)
        name = f"{upstream.path[-1]}-{self._job_id}"
        body = {
            **policy.body,
            "pattern": policy.body["pattern"].replace(".+", self._job_id),
            "definition": {"federation-upstream": name},
        }
        return [
            _Object((*upstream.path[:-1], name), upstream.body),
            _Object((*policy.path[:-1], name), body),
        ]


class Half:
    """One party's part of a job."""

    def __init__(self, mode: str, job_id: str, me: Party, peer: Party, own: Side, other: Side) -> None:
        self.job_id, self.me, self.peer = job_id, me, peer
        self.came = threading.Event()
        self.links: JobLinks | None = None
        options: dict[str, Any] = {}
        if mode == "routes":
            options["routes"] = {peer.party_id: other.broker}
        elif mode.startswith("links"):
            options["federated"] = [peer.party_id]
            given = (own.broker, own.management, {peer.party_id: other.broker}, PATIENCE)
            links = BrokerLinks(*given) if mode == "links" else _LinksOfOneJob(job_id, *given)
            self.links = JobLinks(links, job_id, me, (me, peer))
        self.transport = RabbitMQTransport(own.broker, connect_seconds=PATIENCE, **options)

    def set_up(self) -> None:
        if self.links is not None:
            self.links.set_up()
        self.transport.open(self.job_id, self.me, [self.peer], lambda _: self.came.set())
        self.transport.send(self.peer, b"here")
        if not self.came.wait(PATIENCE):
            raise TimeoutError(f"{self.job_id}: nothing came to {self.me}")

    def take_down(self) -> None:
        self.transport.close(remove=True)
        if self.links is not None:
            self.links.take_down(10)


class Side:
    """A party's broker."""

    def __init__(self, description: dict[str, Any], vhost: str) -> None:
        login = {name: description[name] for name in ("host", "port", "login", "password")}
        self.broker = Broker(vhost=vhost, **login)
        self.management = Management(self.broker, [description["management"]], PATIENCE)


def run(mode: str, job_id: str, sides: list[Side]) -> tuple[float, list[Half]]:
    """Seconds until a job is set up at both parties."""
    one, other = sides[0], sides[0] if mode == "shared" else sides[1]
    began = time.perf_counter()
    halves = [Half(mode, job_id, GUEST, HOST, one, other), Half(mode, job_id, HOST, GUEST, other, one)]
    together([half.set_up for half in halves])
    return time.perf_counter() - began, halves


def together(steps: list[Any]) -> None:
    """Run the steps at the same time. The first of their errors is raised."""
    errors: list[BaseException] = []

    def step(what: Any) -> None:
        try:
            what()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=step, args=(what,)) for what in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def many(mode: str, first: int, count: int, descriptions: list[dict[str, Any]], vhost: str, barrier: Any, results: Any):
    """A process's share of the jobs."""
    sides = [Side(one, vhost) for one in descriptions]
    seconds: list[float] = []
    halves: list[Half] = []

    def job(number: int) -> None:
        try:
            took, made = run(mode, f"job-{number}", sides)
        except Exception as error:  # noqa: BLE001 - counted
            print(f"{mode}, job {number}: {error}", file=sys.stderr)
            return
        seconds.append(took)
        halves.extend(made)

    barrier.wait()  # all begin
    together([lambda number=number: job(number) for number in range(first, first + count)])
    results.put(seconds)
    barrier.wait()  # all are up
    barrier.wait()  # and counted
    began = time.perf_counter()
    together([half.take_down for half in halves])
    results.put([time.perf_counter() - began])


def objects(nodes: list[Any], vhost: str) -> dict[str, int]:
    """How many there are at both brokers."""
    found = {}
    for kind, path in (("queues", "queues"), ("policies", "policies"), ("upstreams", "parameters/federation-upstream")):
        found[kind] = sum(len(node.api("GET", f"{path}/{vhost}")) for node in nodes)
    return found


def measure(mode: str, jobs: int, nodes: list[Any]) -> str:
    """One line of the table."""
    vhost = f"bench-{mode}-{jobs}"
    for node in nodes:
        node.new_vhost(vhost)
    descriptions = [
        {
            "host": node.host, "port": node.port, "login": node.login, "password": node.password,
            "management": f"http://{node.host}:{node.management_port}",
        }
        for node in nodes
    ]  # fmt: skip
    sides = [Side(one, vhost) for one in descriptions]
    alone = []
    for number in range(5):
        took, halves = run(mode, f"alone-{number}", sides)
        alone.append(took)
        together([half.take_down for half in halves])
    barrier, results = _processes.Barrier(PROCESSES + 1), _processes.Queue()
    ends = [jobs * number // PROCESSES for number in range(PROCESSES + 1)]
    workers = [
        _processes.Process(target=many, args=(mode, first, end - first, descriptions, vhost, barrier, results))
        for first, end in itertools.pairwise(ends)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    seconds = sorted(took for _ in workers for took in results.get(timeout=4 * PATIENCE))
    whole = time.perf_counter() - began
    barrier.wait()
    up = objects(nodes, vhost)
    barrier.wait()
    down = max(took for _ in workers for took in results.get(timeout=4 * PATIENCE))
    for worker in workers:
        worker.join()
    left = sum(objects(nodes, vhost).values())
    columns = (
        mode, jobs, f"{statistics.median(alone):.2f} s", f"{statistics.median(seconds):.2f} s", f"{seconds[-1]:.2f} s",
        f"{1000 * whole / len(seconds):.0f} ms", jobs - len(seconds), up["queues"],
        f"{up['policies']} + {up['upstreams']}", f"{down:.1f} s", left,
    )  # fmt: skip
    return f"| {' | '.join(map(str, columns))} |"


def main() -> None:
    """Print the table."""
    from tests.servers.rabbitmq import RabbitMQNode

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="*", default=[50, 200], help="how many begin at once")
    parser.add_argument("--modes", nargs="*", default=["shared", "routes", "links"], choices=MODES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        nodes = [RabbitMQNode(Path(directory) / name, name) for name in ("bench-1", "bench-2")]
        for node in nodes:
            stack.callback(node.kill)
            node.launch()
        for node in nodes:
            node.wait_ready()
        columns = (
            "mode", "jobs at once", "one alone", "median of all at once", "the slowest", "clock a job", "failed",
            "queues at both brokers", "policies + upstreams", "take-down of all", "left",
        )  # fmt: skip
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
        for mode in given.modes:
            for jobs in given.jobs:
                print(measure(mode, jobs, nodes), flush=True)
        if given.modes == parser.get_default("modes"):  # takes minutes with more of them
            print(measure(MODES[-1], min(given.jobs), nodes), flush=True)


if __name__ == "__main__":
    main()
