"""Messages over RabbitMQ: one durable queue for each ordered pair of parties, whatever the number of values.

A party takes its messages from its own broker. It sends to the broker of the peer where ``routes`` names one, and to
its own otherwise, from which the peer's broker fetches them where the two are linked (``federated``). Messages are
persistent and confirmed by the broker; what it has not confirmed is sent again after a reconnection, and the session
ignores what comes twice.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pika import BasicProperties, DeliveryMode
from pika.channel import Channel

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.job.names import check_job_id
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, Link
from airflow_provider_fate.runtime.federation.base import Transport
from airflow_provider_fate.runtime.federation.outgoing import remove_quietly

_log = logging.getLogger(__name__)

#: milliseconds after which the broker removes a queue that nobody uses, should no party do it
EXPIRES = 24 * 3600 * 1000
_WINDOW = 16 << 20  # bytes that are on their way to the broker, unconfirmed
_BUFFER = 64 << 20  # bytes that are kept for sending, the window among them
_SMALL = 4096  # bytes; signs of life and aborts do not wait behind a full buffer
_PREFETCH = 32  # bodies that the broker hands over before they are acknowledged
_ENDING = 60.0  # seconds for an earlier run of the same party to let go of the queues
_AGAIN = 0.5  # seconds between two attempts to reach a queue that is not there
_SETTLE = 0.25  # seconds for a link between brokers to acknowledge to the peer's what has been taken here
_DRAIN = 4.0  # seconds for the peers' brokers to take the last messages


def queue_name(job_id: str, sender: Party, receiver: Party) -> str:
    """The queue that carries what ``sender`` sends to ``receiver``."""
    return f"fate.{job_id}.{sender}.{receiver}"


def declare(channel: Any, queue: str, callback: Callable[[Any], None] | None = None) -> None:
    """Make a queue unless it is there; both of its parties do."""
    arguments = {"callback": callback} if callback is not None else {}
    channel.queue_declare(queue, durable=True, arguments={"x-expires": EXPIRES}, **arguments)


class _Item:
    """A body on its way."""

    __slots__ = ("body", "queue", "returned")

    def __init__(self, queue: str, body: bytes) -> None:
        self.queue = queue
        self.body = body
        self.returned = False


class _Publisher(Link):
    """Sends to queues of one broker, with confirms."""

    def __init__(self, *args: Any, queues: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._queues = list(queues)
        self._not_ours: set[str] = set()  # queues that this user may not declare
        self._declaring: str | None = None
        self._outbox: deque[_Item] = deque()
        self._unconfirmed: OrderedDict[int, _Item] = OrderedDict()
        self._stray: deque[_Item] = deque()  # came back, as their queue was not there
        self._bytes = 0  # of all three
        self._window = 0  # of the unconfirmed
        self._tag = 0
        self._pumping = False
        self._progress_at = time.monotonic()

    # -- in the caller's thread

    def send(self, queue: str, body: bytes) -> None:
        with self.lock:
            while self._bytes + len(body) > _BUFFER and len(body) > _SMALL and self.error is None:
                if time.monotonic() - self._progress_at > self.reconnect_seconds:
                    raise TransportError(f"{self.broker} has taken nothing for {self.reconnect_seconds:.0f} s")
                self.lock.wait(1)
            if self.error is not None:
                raise self.error
            if not self._bytes:
                self._progress_at = time.monotonic()
            self._outbox.append(_Item(queue, body))
            self._bytes += len(body)
            pump = self.ready and not self._pumping
            self._pumping = self._pumping or pump
        if pump:
            self.call(self._pump)

    def flush(self, end: float) -> None:
        with self.lock:
            while self._bytes and self.error is None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TransportError(f"{self.broker} has not confirmed {self._bytes} bytes in time")
                self.lock.wait(left)
            if self.error is not None and self._bytes:
                raise self.error

    # -- in the link's thread

    def set_up(self, channel: Channel) -> None:
        self._tag = 0
        self._declaring = None
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._declare_next(list(self._queues)))

    def _declare_next(self, queues: list[str]) -> None:
        while queues and queues[0] in self._not_ours:
            queues.pop(0)
        if self.channel is None:
            return
        if not queues:
            self._declaring = None
            self.set_ready()
            self._pump()
            return
        self._declaring = queues.pop(0)
        declare(self.channel, self._declaring, lambda _: self._declare_next(queues))

    def forgive(self, error: BaseException | None) -> bool:
        # Whoever may only write there leaves it to the receiver to declare its queues.
        if self._declaring is None or getattr(error, "reply_code", None) not in (403, 406):
            return False
        self._not_ours.add(self._declaring)
        return True

    def lost(self) -> None:
        with self.lock:
            again = [item for item in self._unconfirmed.values()] + list(self._stray)
            for item in again:
                item.returned = False
            self._outbox.extendleft(reversed(again))
            self._unconfirmed.clear()
            self._stray.clear()
            self._window = 0
            self._pumping = False

    def _pump(self) -> None:
        while True:
            with self.lock:
                channel = self.channel
                if not self._outbox or self._window >= _WINDOW or channel is None or not self.ready:
                    self._pumping = False
                    return
                item = self._outbox.popleft()
                self._tag += 1
                self._unconfirmed[self._tag] = item
                self._window += len(item.body)
            properties = BasicProperties(
                content_type="application/octet-stream",
                delivery_mode=DeliveryMode.Persistent.value,
                message_id=str(self._tag),
            )
            channel.basic_publish("", item.queue, item.body, properties, mandatory=True)

    def _on_return(self, _channel: Channel, _method: Any, properties: BasicProperties, _body: bytes) -> None:
        item = self._unconfirmed.get(int(properties.message_id))
        if item is not None:
            item.returned = True

    def _on_confirm(self, frame: Any) -> None:
        tag, refused = frame.method.delivery_tag, frame.method.NAME == "Basic.Nack"
        with self.lock:
            if frame.method.multiple:
                done = []
                while self._unconfirmed and (first := next(iter(self._unconfirmed))) <= tag:
                    done.append(self._unconfirmed.pop(first))
            else:
                item = self._unconfirmed.pop(tag, None)
                done = [] if item is None else [item]
            strays = bool(self._stray)
            for item in done:
                self._window -= len(item.body)
                if refused or item.returned:
                    item.returned = False
                    self._stray.append(item)
                else:
                    self._bytes -= len(item.body)
                    self._progress_at = time.monotonic()
            missing = {item.queue for item in self._stray}
            self.lock.notify_all()
        if missing and not strays:
            _log.info("%s: not there yet: %s", self.broker, ", ".join(missing))
            self.call_later(_AGAIN, lambda: self._retry(missing))
        self._pump()

    def _retry(self, queues: Iterable[str]) -> None:
        """Declare what was missing, and send again what came back."""
        if self.channel is None or not self.channel.is_open:
            return
        todo = [queue for queue in queues if queue not in self._not_ours]

        def declared(_frame: Any = None) -> None:
            if todo and self.channel is not None:
                self._declaring = todo.pop()
                declare(self.channel, self._declaring, declared)
                return
            self._declaring = None
            with self.lock:
                self._outbox.extendleft(reversed(self._stray))
                self._stray.clear()
            self._pump()

        declared()


class _Consumer(Link):
    """Takes what arrives in this party's queues."""

    def __init__(self, *args: Any, queues: Iterable[str], deliver: Callable[[bytes], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queues = list(queues)
        self._deliver = deliver

    def patience(self, error: BaseException | None) -> float:
        return _ENDING if "in exclusive use" in str(error) else 0.0

    def set_up(self, channel: Channel) -> None:
        channel.add_on_cancel_callback(lambda _: self._close())  # somebody deleted the queue: begin anew
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

    def _on_message(self, channel: Channel, method: Any, _properties: BasicProperties, body: bytes) -> None:
        self._deliver(body)
        channel.basic_ack(method.delivery_tag)

    def remove_and_stop(self) -> None:
        """Delete the queues, as far as the broker can be reached, and end."""
        self.stop(ending=self._remove)

    def _remove(self) -> None:
        channel, todo = self.channel, list(self.queues)
        if channel is None or not channel.is_open:
            self._close()
            return

        def next_queue(_frame: Any = None) -> None:
            if todo:
                channel.queue_delete(todo.pop(), callback=next_queue)
            else:
                self._close()

        next_queue()


class RabbitMQTransport(Transport):
    """Messages over RabbitMQ.

    The user needs configure, write and read permission on ``fate\\..*``, and write on ``amq\\.default``; at a peer's
    broker write on ``amq\\.default`` is enough, where the peer's own user declares its queues.

    :param broker: this party's own
    :param routes: party id -> the broker of that party
    :param federated: party ids whose own broker fetches what they are sent from this party's broker, and from whose
        broker this party's fetches what they send (RabbitMQ federation)
    :param max_body: bytes in one message; the broker's own limit (``max_message_size``) must not be lower
    :param connect_seconds: how long the first connection is tried
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
        self._job_id = ""
        self._me: Party | None = None
        self._publishers: dict[Broker, _Publisher] = {}
        self._consumer: _Consumer | None = None
        self._drained: dict[str, int] = {}  # queues that peers' brokers drain, and how many messages were sent there
        self._forsaken: dict[str, float] | None = None  # the same where the job has failed

    @property
    def description(self) -> str:
        routes = [f"{party_id} through {broker}" for party_id, broker in self.routes.items()]
        linked = [f"{party_id} by federation" for party_id in sorted(self.federated)]
        return ", ".join([str(self.broker), *routes, *linked])

    def route(self, to: Party) -> Broker:
        """The broker that has the queues of ``to``."""
        return self.routes.get(to.party_id, self.broker)

    def open(self, job_id: str, me: Party, peers: Iterable[Party], deliver: Callable[[bytes], None]) -> None:
        self._job_id, self._me = check_job_id(job_id), me
        peers = tuple(peers)
        self._drained = {queue_name(job_id, me, peer): 0 for peer in peers if peer.party_id in self.federated}
        name = f"fate {job_id} {me}"
        queues: dict[Broker, list[str]] = {}
        for peer in peers:
            queues.setdefault(self.route(peer), []).append(queue_name(job_id, me, peer))
        for broker, names in queues.items():
            self._publishers[broker] = _Publisher(broker, f"{name} sends", queues=names, **self._options)
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

    def flush(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        for publisher in self._publishers.values():
            publisher.flush(end)

    def check(self) -> None:
        for link in (self._consumer, *self._publishers.values()):
            if link is not None and link.error is not None:
                raise link.error

    def forsake(self, ended: Iterable[Party]) -> None:
        nobody = [queue_name(self._job_id, self._me, party) for party in ended] if self._me is not None else []
        self._forsaken = {queue: math.inf if queue in nobody else sent for queue, sent in self._drained.items()}

    def close(self, *, remove: bool) -> None:
        for publisher in self._publishers.values():
            publisher.stop()
        if self._consumer is not None:
            if remove:
                if self._drained:
                    time.sleep(_SETTLE)
                self._consumer.remove_and_stop()
            else:
                self._consumer.stop()
        if remove and self._drained:
            # own queues first: both sides wait here until the other's broker takes no more
            queues = self._forsaken if self._forsaken is not None else dict.fromkeys(self._drained, 0)
            remove_quietly(self.broker, queues, f"fate {self._job_id} {self._me} ends", _DRAIN)
            self._drained = {}
