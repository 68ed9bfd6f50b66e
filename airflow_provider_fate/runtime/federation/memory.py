"""Messages between threads of one process, for tests: a hub that can be told to misbehave."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Deliver, Transport

_log = logging.getLogger(__name__)


class Hub:
    """What the transports of all parties share. It keeps what is sent to a party that is not there yet.

    :param duplicate: the share of bodies that are delivered twice, the second time a little later
    :param delay: the longest time that a body is on its way, in seconds; the order per sender is kept
    :param seed: makes the faults repeatable
    """

    def __init__(self, *, duplicate: float = 0.0, delay: float = 0.0, seed: int = 0) -> None:
        self.duplicate = duplicate
        self.delay = delay
        self.random = random.Random(seed)
        self._lock = threading.Condition()
        self._queues: dict[tuple[str, Party], deque[tuple[float, bytes]]] = defaultdict(deque)
        self._down: set[Party] = set()
        #: all bodies that were put, where a test sets it to a list
        self.record: list[tuple[Party, bytes]] | None = None

    def disconnect(self, party: Party) -> None:
        """Nothing reaches ``party``, and it cannot send, until :meth:`reconnect`."""
        with self._lock:
            self._down.add(party)

    def reconnect(self, party: Party) -> None:
        """``party`` gets what was kept for it, and its sends go through."""
        with self._lock:
            self._down.discard(party)
            self._lock.notify_all()

    def waiting(self, job_id: str, party: Party) -> int:
        """The number of bodies that wait for ``party``."""
        with self._lock:
            return len(self._queues[job_id, party])

    def put(self, job_id: str, sender: Party, to: Party, body: bytes) -> None:
        """Keep one body for ``to``; waits while the sender is disconnected."""
        with self._lock:
            while sender in self._down:
                self._lock.wait(1)
            if self.record is not None:
                self.record.append((to, body))
            due = time.monotonic() + self.random.random() * self.delay
            waiting = self._queues[job_id, to]
            waiting.append((due, body))
            if self.random.random() < self.duplicate:
                waiting.append((due, body))
            self._lock.notify_all()

    def take(self, job_id: str, party: Party, stopped: threading.Event) -> bytes | None:
        """The next body for ``party``; None once ``stopped``."""
        with self._lock:
            while not stopped.is_set():
                waiting = self._queues[job_id, party]
                if party in self._down or not waiting:
                    self._lock.wait(1)
                elif (wait := waiting[0][0] - time.monotonic()) > 0:
                    self._lock.wait(wait)
                else:
                    return waiting.popleft()[1]
        return None

    def wake(self) -> None:
        """Let all that wait look again."""
        with self._lock:
            self._lock.notify_all()

    def remove(self, job_id: str, party: Party) -> None:
        """Forget what waits for ``party``."""
        with self._lock:
            self._queues.pop((job_id, party), None)


class MemoryTransport(Transport):
    """One party's end of a :class:`Hub`.

    :param max_body: a small one makes chunks of small values
    """

    def __init__(self, hub: Hub, max_body: int = 1 << 20) -> None:
        self.hub = hub
        self.max_body = max_body
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._job_id = ""
        self._me: Party | None = None

    @property
    def description(self) -> str:
        return "memory"

    def open(self, job_id: str, me: Party, peers: Iterable[Party], deliver: Deliver) -> None:
        self._job_id, self._me = job_id, me
        self._thread = threading.Thread(target=self._run, args=(deliver,), name=f"memory-{me}", daemon=True)
        self._thread.start()

    def _run(self, deliver: Deliver) -> None:
        while (body := self.hub.take(self._job_id, self._me, self._stopped)) is not None:
            try:
                deliver(body)
            except Exception:
                _log.exception("a message could not be delivered")

    def send(self, to: Party, body: bytes) -> None:
        if self._stopped.is_set() or self._me is None:
            raise TransportError("the connection is closed")
        if len(body) > self.max_body:
            raise TransportError(f"a message of {len(body)} bytes is larger than the largest, {self.max_body} bytes")
        self.hub.put(self._job_id, self._me, to, bytes(body))

    def flush(self, timeout: float) -> None:
        pass

    def close(self, *, remove: bool, unfinished: bool = False) -> None:
        self._stopped.set()
        self.hub.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        if remove and self._me is not None:
            self.hub.remove(self._job_id, self._me)
