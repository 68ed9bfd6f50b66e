"""What components and the session need of messages between parties.

Three layers, each behind an interface:

* a :class:`Transport` moves opaque bodies from one party to another, in order per sender, at least once
  (RabbitMQ, a directory, memory);
* the session (:mod:`.session`) adds rendezvous, envelopes, chunks, exactly-once delivery, heartbeats,
  abort and timeouts on top of any transport;
* components see a :class:`Federation`: named values to and from named parties.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.checks import Check

#: takes a body; False where no more is wanted from its sender for now
Deliver = Callable[[bytes], bool | None]


class Transport(ABC):
    """Moves bodies between the parties of one job. One instance per party and run.

    Bodies are opaque bytes of at most :attr:`max_body` bytes. Delivery is at least once and in order per sender;
    a body accepted by :meth:`send` survives a restart of whatever carries it.
    """

    #: the largest body that one call of :meth:`send` takes, in bytes
    max_body: int = 1 << 20
    #: one line for the person who reads the task's log, e.g. that a connection was lost; the session sets it
    log: Callable[[str], None] = staticmethod(lambda text: None)
    #: called about once a second while :meth:`send` waits for its receiver to take what is there; what it raises ends
    #: the wait. The session sets it
    on_wait: Callable[[Party], None] = staticmethod(lambda to: None)
    #: how long a peer is waited for, and so what only leads to it; the session sets it
    wait_seconds: float = 0.0

    #: set by a party that has last words to say only: they go to those who are there, or were killed and may come back;
    #: nothing is made for a peer that has left, and what is for it is dropped
    last_words: bool = False

    @abstractmethod
    def open(self, job_id: str, me: Party, peers: Iterable[Party], deliver: Deliver) -> None:
        """Connect, and call ``deliver(body)`` from a background thread for each body addressed to ``me``.

        ``deliver`` is quick and never raises. Where it returns False, what else comes from that sender stays where it
        is, but for some bodies that are on their way, until :meth:`resume`.

        :raises TransportError: unreachable, refused, misconfigured
        """

    def resume(self) -> None:  # noqa: B027 - a transport that holds nothing back has nothing to do
        """Go on with the senders that ``deliver`` has held back. Never waits."""

    @abstractmethod
    def send(self, to: Party, body: bytes) -> None:
        """Hand one body over for ``to``; returns once it is accepted durably or queued in a bounded buffer.

        Waits while more lies at the receiver's door than a broker should have to keep.

        :raises TransportError: it cannot be handed over, after the transport's own retries.
        """

    @abstractmethod
    def flush(self, timeout: float) -> None:
        """Wait until all that was sent is accepted durably. :raises TransportError: not within ``timeout`` seconds."""

    @property
    def description(self) -> str:
        """Over what messages travel, for errors and logs; without a secret."""
        return type(self).__name__

    def check(self) -> None:  # noqa: B027 - not every transport has something to say
        """Say what went wrong in the background. :raises TransportError: nothing more is delivered, and why."""

    def forget(self, gone: Iterable[Party]) -> None:  # noqa: B027 - most transports keep nothing for peers
        """These peers have ended or left: :meth:`close` removes what is kept for them."""

    @abstractmethod
    def close(self, *, remove: bool, unfinished: bool = False) -> None:
        """Disconnect. Never raises.

        :param remove: delete this party's own queues or files of the job as well
        :param unfinished: the job has not come to its end: what peers have begun to take is not kept for them
        """


class Federation(ABC):
    """Named values between the parties of a job; what a component sees, scoped to that component.

    Values are ``None``, ``bool``, ``int`` (any size), ``float``, ``str``, ``bytes``, NumPy arrays of numbers,
    and lists and str-keyed dicts of these. Never pickled.
    """

    me: Party
    parties: tuple[Party, ...]

    @property
    def guest(self) -> Party:
        return next(p for p in self.parties if p.role == "guest")

    @property
    def hosts(self) -> tuple[Party, ...]:
        return tuple(p for p in self.parties if p.role == "host")

    @property
    def arbiter(self) -> Party | None:
        return next((p for p in self.parties if p.role == "arbiter"), None)

    @abstractmethod
    def send(self, to: Party | Iterable[Party], tag: str, value: Any) -> None:
        """Send ``value`` under ``tag``; each (sender, receiver, tag) is used once in a component.

        :raises TransportError: the transport cannot take it
        :raises PeerError: a peer failed or came back, as for :meth:`receive`
        """

    @abstractmethod
    def receive(self, sender: Party, tag: str, check: Check) -> Any:
        """Wait for the value that ``sender`` sent under ``tag``; ``check`` is applied before it is returned.

        :raises PeerTimeout: no sign of life of ``sender`` for the configured wait
        :raises PeerFailed: a peer aborted, with its reason
        :raises PeerRestarted: a peer came back with a new run; the pipeline meets it again
        :raises ProtocolError: what arrived does not pass ``check``
        """

    @abstractmethod
    def scoped(self, scope: str) -> Federation:
        """The same parties with tags of their own, e.g. one per component."""
