"""Messages over RabbitMQ: one durable queue for each ordered pair of parties, whatever the number of values.

A party takes its messages from its own broker. It sends to the broker of the peer where ``routes`` names one, and to
its own otherwise, from which the peer's broker fetches them where the two are linked (``federated``). Messages are
persistent and confirmed by the broker; what it has not confirmed is sent again after a reconnection, and the session
ignores what comes twice.

A receiver that wants no more for now does not acknowledge what came last, so that the broker keeps the rest; and a
sender waits while much waits in its queue (:mod:`.publisher`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from pika import BasicProperties
from pika.channel import Channel

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.job.names import check_job_id
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, Link
from airflow_provider_fate.runtime.federation.base import Deliver, Transport
from airflow_provider_fate.runtime.federation.publisher import Publisher
from airflow_provider_fate.runtime.federation.queues import declare, queue_name, remove_drained_quietly

_PREFETCH = 32  # bodies that the broker hands over before they are acknowledged
_ENDING = 60.0  # seconds for an earlier run of the same party to let go of the queues
_SETTLE = 0.5  # seconds for a link between brokers to acknowledge to the peer's what has been taken here
_SOONER = 3.0  # seconds that a peer's broker is given up before the peer itself
_DRAIN = 4.0  # seconds for the peers' brokers to take the last messages


class _Consumer(Link):
    """Takes what arrives in this party's queues."""

    def __init__(self, *args: Any, queues: Iterable[str], deliver: Deliver, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queues = list(queues)
        self._deliver = deliver
        self._held: list[int] = []  # delivery tags that are acknowledged when more is wanted

    def patience(self, error: BaseException | None) -> float:
        return _ENDING if "in exclusive use" in str(error) else super().patience(error)

    def set_up(self, channel: Channel) -> None:
        self._held.clear()  # the broker delivers them again
        channel.add_on_cancel_callback(self._on_cancelled)
        todo = list(self.queues)

        def next_queue(_frame: Any = None) -> None:
            if not todo:
                self.set_ready()
                return
            queue = todo.pop()
            declare(
                channel,
                queue,
                lambda _: channel.basic_consume(queue, self._on_message, exclusive=True, callback=next_queue),
            )

        channel.basic_qos(prefetch_count=_PREFETCH, callback=next_queue)

    def _on_cancelled(self, _frame: Any) -> None:
        if not self._stopping.is_set():  # else we have deleted the queue ourselves, and there are more to delete
            self._close()  # somebody deleted it: begin anew

    def _on_message(self, channel: Channel, method: Any, _properties: BasicProperties, body: bytes) -> None:
        if self._deliver(body) is False:
            self._held.append(method.delivery_tag)
        elif channel.is_open:  # else the broker delivers it again
            channel.basic_ack(method.delivery_tag)

    def resume(self) -> None:
        """Acknowledge what was held back; from any thread."""
        self.call(self._acknowledge)

    def _acknowledge(self) -> None:
        for tag in self._held:
            if self.channel is not None and self.channel.is_open:
                self.channel.basic_ack(tag)
        self._held.clear()

    def remove_and_stop(self) -> None:
        """Delete the queues, as far as the broker can be reached, and end."""
        self.stop(ending=lambda: self.remove_queues(self.queues))


class RabbitMQTransport(Transport):
    """Messages over RabbitMQ.

    The user needs configure, write and read permission on ``fate\\..*``, and write on ``amq\\.default``; at a peer's
    broker write on ``amq\\.default`` is enough, where the peer's own user declares its queues.

    :param broker: this party's own
    :param routes: party id -> the broker of that party
    :param federated: party ids whose own broker fetches what they are sent from this party's broker, and from whose
        broker this party's fetches what they send (RabbitMQ federation)
    :param max_body: bytes in one message; the broker's own limit (``max_message_size``) must not be lower
    :param connect_seconds: how long the first connection is tried; to a peer's broker at least until the peer itself
        would be given up, while messages wait to be sent
    :param reconnect_seconds: how long a lost connection is tried again; a broker that takes nothing may take as long
    """

    def __init__(
        self,
        broker: Broker,
        routes: Mapping[str, Broker] | None = None,
        *,
        federated: Iterable[str] = (),
        max_body: int = 1 << 20,
        connect_seconds: float = 10.0,
        reconnect_seconds: float = 300.0,
    ) -> None:
        self.broker = broker
        self.routes = dict(routes or {})
        self.federated = frozenset(federated)
        self.max_body = max_body
        self._options = {
            "connect_seconds": connect_seconds,
            "reconnect_seconds": reconnect_seconds,
            "log": lambda text: self.log(text),
        }
        self._last_words = False
        self._job_id = ""
        self._me: Party | None = None
        self._publishers: dict[Broker, Publisher] = {}
        self._consumer: _Consumer | None = None
        self._drained: dict[str, int] = {}  # queues that peers' brokers drain, and how many messages were sent there
        self._gone: set[str] = set()  # queues to peers that have ended or left

    @property
    def last_words(self) -> bool:
        return self._last_words

    @last_words.setter
    def last_words(self, only: bool) -> None:
        self._last_words = only
        for publisher in self._publishers.values():
            publisher.say_last_words(only)

    @property
    def description(self) -> str:
        routes = [f"{party_id} through {broker}" for party_id, broker in self.routes.items()]
        linked = [f"{party_id} by federation" for party_id in sorted(self.federated)]
        return ", ".join([str(self.broker), *routes, *linked])

    def route(self, to: Party) -> Broker:
        """The broker that has the queues of ``to``."""
        return self.routes.get(to.party_id, self.broker)

    def open(self, job_id: str, me: Party, peers: Iterable[Party], deliver: Deliver) -> None:
        self._job_id, self._me = check_job_id(job_id), me
        peers = tuple(peers)
        self._drained = {queue_name(job_id, me, peer): 0 for peer in peers if peer.party_id in self.federated}
        name = f"fate {job_id} {me}"
        queues: dict[Broker, dict[str, Callable[[], None]]] = {}
        for peer in peers:
            queues.setdefault(self.route(peer), {})[queue_name(job_id, me, peer)] = partial(self._on_wait, peer)
        # A peer's broker may be away as long as the peer: before the session gives that up, this says why.
        seconds = max(self._options["connect_seconds"], self.wait_seconds - _SOONER)
        patient = {**self._options, "connect_seconds": seconds}
        for broker, names in queues.items():
            options = self._options if broker == self.broker else patient
            self._publishers[broker] = Publisher(
                broker, f"{name} sends", queues=names, last_words=self.last_words, **options
            )
        self._consumer = _Consumer(
            self.broker,
            f"{name} receives",
            queues=[queue_name(job_id, peer, me) for peer in peers],
            deliver=deliver,
            **self._options,
        )
        links = [self._consumer, *self._publishers.values()]
        for link in links:
            link.start()
        try:
            for link in links:
                if link.broker == self.broker:
                    link.wait_ready()
        except TransportError:
            self.close(remove=False)
            raise

    def send(self, to: Party, body: bytes) -> None:
        publisher = self._publishers.get(self.route(to))
        if publisher is None or self._me is None:
            raise TransportError("the transport is not open")
        if len(body) > self.max_body:
            raise TransportError(f"a message of {len(body)} bytes is larger than the largest, {self.max_body} bytes")
        queue = queue_name(self._job_id, self._me, to)
        publisher.send(queue, body)
        if queue in self._drained:
            self._drained[queue] += 1

    def _on_wait(self, to: Party) -> None:
        self.on_wait(to)

    def resume(self) -> None:
        if self._consumer is not None:
            self._consumer.resume()

    def flush(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        problems: list[TransportError] = []
        for publisher in self._publishers.values():
            try:
                publisher.flush(end)
            except TransportError as error:  # the others are waited for all the same
                problems.append(error)
        if problems:
            raise problems[0]

    def check(self) -> None:
        for link in (self._consumer, *self._publishers.values()):
            if link is not None and link.error is not None:
                raise link.error

    def forget(self, gone: Iterable[Party]) -> None:
        for party in gone:
            if (publisher := self._publishers.get(self.route(party))) is not None:
                queue = queue_name(self._job_id, self._me, party)
                self._gone.add(queue)
                if queue not in self._drained:
                    publisher.remove_at_end(queue)

    def close(self, *, remove: bool, unfinished: bool = False) -> None:
        for publisher in self._publishers.values():
            publisher.remove_and_stop()
        if self._consumer is not None:
            if remove:
                if self._drained:
                    time.sleep(_SETTLE)
                self._consumer.remove_and_stop()
            else:
                self._consumer.stop()
        if remove and self._drained:
            # own queues first: both sides wait here until the other's broker takes no more
            queues = {
                queue: math.inf if queue in self._gone else sent if unfinished else 0
                for queue, sent in self._drained.items()
            }
            remove_drained_quietly(self.broker, queues, f"fate {self._job_id} {self._me} ends", _DRAIN)
            self._drained = {}
