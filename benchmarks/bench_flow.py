"""Much more than a broker can hold, through a broker limited to 512 MB, to a receiver that is slower than the sender.

What the broker takes of memory and disk at most, and whether it had to stop its publishers: with two parties of ours,
and with plain pika and publisher confirms, where nobody holds the sender back. Run it from the project's directory:
``python -m benchmarks.bench_flow``.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.checks import Array, Integer
from benchmarks.bench_messages import BODY, GUEST, HOST, MIB, plain_pika, two_parties
from tests.servers.rabbitmq import RabbitMQNode

LIMIT = 512  # MB of memory, beyond which the broker stops its publishers
PAUSE = 0.01  # seconds that the receiver computes for each MiB
KIND = Array("uint8", (BODY,))


@dataclass
class Watched:
    """What was seen at most while something ran."""

    memory: int = 0  # bytes that the broker counts
    resident: int = 0  # bytes of its processes
    disk: int = 0  # bytes of its data directory
    waiting: int = 0  # messages in its queues
    alarms: set[str] = field(default_factory=set)


def _resident(pid: int) -> int:
    """Bytes of a process and its descendants."""
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{one}/status").read_text().splitlines()
            total += int(next(line for line in status if line.startswith("VmRSS")).split()[1]) * 1024
            todo += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return total


def _disk(directory: Path) -> int:
    total = 0
    for place in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += place.stat().st_blocks * 512
    return total


@contextlib.contextmanager
def watched(node: RabbitMQNode) -> Iterator[Watched]:
    """Look at the broker ten times a second."""
    seen, ended = Watched(), threading.Event()
    empty = _disk(node.directory / "mnesia")

    def look() -> None:
        while not ended.wait(0.1):
            with contextlib.suppress(Exception):
                seen.resident = max(seen.resident, _resident(node.pid))
                seen.disk = max(seen.disk, _disk(node.directory / "mnesia") - empty)
                one = node.api("GET", "nodes")[0]
                seen.memory = max(seen.memory, one["mem_used"])
                seen.alarms |= {name for name in ("mem_alarm", "disk_free_alarm") if one[name]}
                queues = node.api("GET", "queues?columns=messages")
                seen.waiting = max(seen.waiting, sum(queue.get("messages", 0) for queue in queues))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _send(federation: Federation, count: int) -> tuple[float, float]:
    value = np.frombuffer(np.random.default_rng(0).bytes(BODY), np.uint8)
    federation.receive(HOST, "ready", Integer(0, 0))
    began = time.perf_counter()
    for number in range(count):
        federation.send(HOST, f"value.{number}", value)
    sent = time.perf_counter() - began
    peak = federation.receive(HOST, "done", Integer(0, 1 << 62))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"    sent in {sent:.1f} s, all taken in {time.perf_counter() - began:.1f} s; at most {own / MIB:.0f} MiB in "
        f"the sender's process and {peak / MIB:.0f} MiB in the receiver's",
        flush=True,
    )
    return sent


def _receive(federation: Federation, count: int) -> None:
    federation.send(GUEST, "ready", 0)
    for number in range(count):
        federation.receive(GUEST, f"value.{number}", KIND)
        time.sleep(PAUSE)
    federation.send(GUEST, "done", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10, help="to send between two parties")
    parser.add_argument("--plain", type=float, default=2, help="to send with plain pika")
    options = parser.parse_args()
    settings = {"vm_memory_high_watermark.absolute": f"{LIMIT}MB"}
    with tempfile.TemporaryDirectory() as directory, RabbitMQNode(Path(directory), "flow", settings=settings) as node:
        config: dict[str, Any] = {
            "kind": "rabbitmq", "host": node.host, "port": node.port, "vhost": node.vhost, "login": node.login,
            "password": node.password,
        }  # fmt: skip
        print(f"through a broker limited to {LIMIT} MB, the receiver computes {1000 * PAUSE:.0f} ms for each MiB")
        count = int(options.gigabytes * 1e9 / BODY)
        print(f"  two parties, {options.gigabytes:g} GB", flush=True)
        with watched(node) as ours:
            two_parties(config, _send, _receive, count)
        report(ours)
        print(f"  plain pika with confirms, {options.plain:g} GB", flush=True)
        with watched(node) as plain:
            seconds = plain_pika(config, int(options.plain * 1e9 / MIB), pause=PAUSE)
        print(f"    all taken in {seconds:.1f} s")
        report(plain)


def report(seen: Watched) -> None:
    alarms = f"ALARMS: {', '.join(sorted(seen.alarms))}" if seen.alarms else "no alarm"
    print(
        f"    broker, at most: {seen.memory / 1e6:.0f} MB of memory ({seen.resident / 1e6:.0f} MB resident), "
        f"{seen.disk / 1e6:.0f} MB of disk, {seen.waiting} messages; {alarms}",
        flush=True,
    )


if __name__ == "__main__":
    main()
