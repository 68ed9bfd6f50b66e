"""The links between brokers for the time of one job."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable

from pika.exceptions import AMQPError, ChannelClosedByBroker

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.hooks.broker_links import BrokerLinks
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import connect
from airflow_provider_fate.runtime.federation.queues import declare, queue_name, remove_drained, remove_unused

_log = logging.getLogger(__name__)

_LOOK = 60.0  # seconds between two looks whether the links are still there
_BEGIN = 0.5  # seconds for a link to begin to read
_STATE = 3.0  # seconds for a link to get a state


class JobLinks:
    """What a task does with its broker's links before and after its application runs.

    :param links: the broker's
    :param me: the task's party
    :param parties: all of the job; those without an upstream are none of this object's business
    """

    def __init__(self, links: BrokerLinks, job_id: str, me: Party, parties: Iterable[Party]) -> None:
        self._links = links
        self._me = me
        self._name = f"fate {job_id} {me} links"
        peers = [party for party in parties if party != me and party.party_id in links.upstreams]
        self._incoming = {queue_name(job_id, peer, me): peer.party_id for peer in peers}
        self._outgoing = [queue_name(job_id, me, peer) for peer in peers]
        self._begun = False
        self._over = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def peers(self) -> list[str]:
        """Ids of the parties whose brokers are linked with the own one."""
        return sorted(set(self._incoming.values()))

    def set_up(self) -> None:
        """Declare the job's queues, then have the peers' brokers linked; may be done again.

        Both kinds of queues, and first those that the peers' brokers look for: they look again after some seconds only.

        :raises TransportError: the broker or its management API cannot be reached, or refuses
        """
        self._begun = True
        broker = self._links.broker
        with connect(broker, self._name, self._links.timeout) as connection:
            channel = connection.channel()
            try:
                for queue in (*self._outgoing, *self._incoming):
                    declare(channel, queue)
            except (AMQPError, OSError) as error:
                raise broker.problem(error)[0] from error
        self._ensure()
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="fate-links", daemon=True)
            self._keeper.start()

    def _ensure(self, *, change: bool = True) -> None:
        for peer in self.peers:
            if not self._over.is_set():
                self._links.ensure(self._me.party_id, peer, change=change)

    def _keep(self) -> None:
        """Put back what another task took away that was killed before it could look again, or what a person did.

        What says something else stays: a job that began later knows a changed password, and this one does not.
        """
        while not self._over.wait(_LOOK):
            try:
                self._ensure(change=False)
            except FateError as error:
                _log.warning("The links between the brokers could not be looked at: %s", error)

    def take_down(self, seconds: float) -> None:
        """Delete the job's queues, and the links where no other job needs them. Never raises.

        Where the application still runs, which takes its messages, all stays. Where :meth:`set_up` has not come to be
        called, as the task could not begin or may not take part, only what has told the peers so is tidied up.

        :param seconds: to wait at most for the application to let go of its queues, and for the peers' brokers to take
            the last messages
        """
        self._over.set()
        if self._keeper is not None:
            self._keeper.join(min(2.0, seconds))
        end = time.monotonic() + seconds
        try:
            if self._begun and remove_unused(self._links.broker, self._incoming, self._name, seconds):
                _log.info("The application still takes messages; its queues and links stay")
                return
        except FateError as error:
            _log.warning(
                "The job's queues could not be deleted, they expire in a day; the links stay until a later job with %s "
                "ends: %s", ", ".join(self.peers), error,
            )  # fmt: skip
            return
        # the links before what takes longest: Airflow gives a task that is stopped little time
        for step in (self._remove_links, self._remove_outgoing):
            try:
                step(end)
            except FateError as error:
                _log.warning("The links between the brokers could not be taken down: %s", error)

    def _remove_links(self, _end: float) -> None:
        for peer in self.peers if self._begun else ():
            self._links.remove(self._me.party_id, peer)

    def _remove_outgoing(self, end: float) -> None:
        outgoing = dict.fromkeys(self._outgoing, 0)
        seconds = max(0.0, end - time.monotonic())
        for queue in remove_drained(self._links.broker, outgoing, self._name, seconds):
            _log.info("Queue %s stays, as the peer's broker has not taken all of it; it expires in a day", queue)

    def explain(self) -> str:
        """How the links are, for the error about a peer that is not heard of. Never raises; takes some seconds.

        The application has ended and taken its queue with it. A link has a state while there is a queue, and reads the
        peer's while somebody takes from that; what is taken here is of a run that has ended.
        """
        sentences, told = [], set()
        try:
            with connect(self._links.broker, self._name, self._links.timeout) as connection:
                for queue, peer in self._incoming.items():
                    if peer in told:
                        continue
                    told.add(peer)
                    channel = connection.channel()
                    declare(channel, queue)
                    with contextlib.suppress(ChannelClosedByBroker):  # the application still takes from it
                        channel.basic_consume(queue, lambda *_: None)
                    connection.sleep(_BEGIN)
                    state = self._links.state(queue, peer, _STATE)
                    if state is None:
                        words = "is in a state that this account may not read (it lacks the tag monitoring)"
                    elif state.up:
                        words = f"is {state.words}"
                    else:
                        words = f"is not up: {state.words}"
                    sentences.append(f"the link of our broker to party {peer}'s {words}")
        except (FateError, AMQPError, OSError) as error:
            sentences.append(f"how the links between the brokers are cannot be told: {error}")
        return "; ".join(sentences)
