"""What sends to the queues of one broker: confirmed, in order, and no faster than the receivers take it."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from pika import BasicProperties, DeliveryMode
from pika.channel import Channel

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.runtime.federation.amqp import Link
from airflow_provider_fate.runtime.federation.queues import declare

_log = logging.getLogger(__name__)

_WINDOW = 16 << 20  # bytes that are on their way to the broker, unconfirmed
_BUFFER = 64 << 20  # bytes that are kept for sending, the window among them
_SMALL = 4096  # bytes; signs of life and aborts do not wait behind a full buffer
_BACKLOG = 64 << 20  # bytes that may wait in a queue before whoever sends to it waits
_LOOK = 8 << 20  # bytes between two questions of how many messages a queue has
_LOOK_AGAIN = 0.05  # seconds between two, while somebody waits
_AGAIN = 0.5  # seconds between two attempts to reach a queue that is not there


class _Item:
    """A body on its way."""

    __slots__ = ("body", "queue", "returned")

    def __init__(self, queue: str, body: bytes) -> None:
        self.queue = queue
        self.body = body
        self.returned = False


class _Backlog:
    """What waits in one queue, as far as the broker has said."""

    __slots__ = ("bytes", "looking", "sizes", "unseen")

    def __init__(self) -> None:
        self.sizes: deque[int] = deque()  # of the messages, the oldest first
        self.bytes = 0  # of all of them
        self.unseen = 0  # bytes that were sent since the broker was asked
        self.looking = False  # it is being asked

    def sent(self, size: int) -> None:
        self.sizes.append(size)
        self.bytes += size
        self.unseen += size

    def counted(self, messages: int) -> None:
        """The broker has so many of them."""
        while len(self.sizes) > messages:
            self.bytes -= self.sizes.popleft()


class Publisher(Link):
    """Sends to queues of one broker, with confirms.

    :param queues: name -> what is called about once a second while a sender waits for the queue's receiver
    :param last_words: see :meth:`say_last_words`; no queue is made then
    """

    def __init__(
        self, *args: Any, queues: Mapping[str, Callable[[], None]], last_words: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._last_words = last_words
        self._queues = dict(queues)
        self._backlogs = {queue: _Backlog() for queue in queues}
        self._asking: Channel | None = None  # a channel of its own, as the broker closes it where a queue is missing
        self._not_ours = set(queues) if last_words else set()  # queues that are not declared here, or not by this user
        self._left: set[str] = set()  # queues whose receivers have left for good
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
        self._wait_for_receiver(queue, body)
        self._wait_for_broker(queue, body)
        with self.lock:
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

    def _wait_for_receiver(self, queue: str, body: bytes) -> None:
        backlog = self._backlogs[queue]
        # signs of life wait as well where nothing else is sent
        bound = _BACKLOG if len(body) > _SMALL else 2 * _BACKLOG
        self._wait_while(lambda: backlog.bytes > bound, queue)

    def _wait_for_broker(self, queue: str, body: bytes) -> None:
        def is_full() -> bool:
            if not self._bytes or self._bytes + len(body) <= _BUFFER:  # what is alone may be larger
                return False
            if time.monotonic() - self._progress_at > self.reconnect_seconds:
                raise TransportError(f"{self.broker} has taken nothing for {self.reconnect_seconds:.0f} s")
            return True

        if len(body) > _SMALL:
            self._wait_while(is_full, queue)

    def _wait_while(self, is_full: Callable[[], bool], queue: str) -> None:
        """Meanwhile the session looks about once a second whether there is something that ends the wait."""
        told = time.monotonic()
        while is_full() and self.error is None:
            with self.lock:
                if is_full():
                    self.lock.wait(0.5)
            if time.monotonic() - told >= 1:
                told = time.monotonic()
                self._queues[queue]()

    def flush(self, end: float) -> None:
        with self.lock:
            while self._bytes and self.error is None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TransportError(f"{self.broker} has not confirmed {self._bytes} bytes in time")
                self.lock.wait(left)
            if self.error is not None and self._bytes:
                raise self.error

    def say_last_words(self, only: bool) -> None:
        """Drop what is for a queue that is not there, from now on or no longer: its receiver has left."""
        with self.lock:
            self._last_words = only
            if only:
                self._bytes -= sum(len(item.body) for item in self._stray)
                self._stray.clear()
                self.lock.notify_all()

    def remove_at_end(self, queue: str) -> None:
        """Nobody takes from this queue any more."""
        self._left.add(queue)

    def remove_and_stop(self) -> None:
        """Delete the queues that nobody takes from, as far as the broker lets this user, and end."""
        left = self._left - self._not_ours
        self.stop(ending=(lambda: self.remove_queues(left, if_unused=True)) if left else None)

    # -- in the link's thread

    def set_up(self, channel: Channel) -> None:
        self._tag = 0
        self._declaring = None
        self._ask()
        channel.add_on_return_callback(self._on_return)
        # once: a queue that was there and is not any more had its receiver leave
        missing = [] if self._was_ready else list(self._queues)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._declare_next(missing))

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
                # a channel that the broker has closed is there until the link has noticed
                usable = self.ready and channel is not None and channel.is_open
                if not self._outbox or self._window >= _WINDOW or not usable:
                    self._pumping = False
                    return
                item = self._outbox.popleft()
                self._tag += 1
                self._unconfirmed[self._tag] = item
                self._window += len(item.body)
                backlog = self._backlogs[item.queue]
                backlog.sent(len(item.body))
            properties = BasicProperties(
                content_type="application/octet-stream",
                delivery_mode=DeliveryMode.Persistent.value,
                message_id=str(self._tag),
            )
            channel.basic_publish("", item.queue, item.body, properties, mandatory=True)
            if backlog.unseen >= _LOOK or backlog.bytes > _BACKLOG:
                self._look(item.queue)

    # -- how much waits there

    def _ask(self) -> None:
        """Open the channel for questions."""
        self._asking = None
        for backlog in self._backlogs.values():
            backlog.looking = False
        if self._connection is not None and self._connection.is_open:
            self._connection.channel(on_open_callback=self._on_asking)

    def _on_asking(self, channel: Channel) -> None:
        self._asking = channel
        channel.add_on_close_callback(self._on_no_answer)
        for queue, backlog in self._backlogs.items():
            if backlog.bytes > _BACKLOG:
                self._look(queue)

    def _on_no_answer(self, _channel: Channel, _reason: BaseException) -> None:
        # The queue is not there, or may not be asked about: the broker's own bound has to do.
        for queue, backlog in self._backlogs.items():
            if backlog.looking:
                self._on_count(queue, 0)
        if self.channel is not None and self.channel.is_open:
            self.call_later(_AGAIN, self._ask)

    def _look(self, queue: str) -> None:
        """Ask how many messages are in a queue."""
        backlog, channel = self._backlogs[queue], self._asking
        if backlog.looking or channel is None or not channel.is_open:
            return
        backlog.looking, backlog.unseen = True, 0
        channel.queue_declare(
            queue, passive=True, callback=lambda frame: self._on_count(queue, frame.method.message_count)
        )

    def _on_count(self, queue: str, messages: int) -> None:
        backlog = self._backlogs[queue]
        with self.lock:
            backlog.looking = False
            backlog.counted(messages)
            self.lock.notify_all()
            full = backlog.bytes > _BACKLOG
        if full:
            self.call_later(_LOOK_AGAIN, lambda: self._look(queue))

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
                if refused or (item.returned and not self._last_words):
                    item.returned = False
                    self._stray.append(item)
                else:
                    self._bytes -= len(item.body)
                    self._progress_at = time.monotonic()
            missing = {item.queue for item in self._stray}
            self.lock.notify_all()
        if missing and not strays:
            _log.info("%s: not there yet: %s", self.broker, ", ".join(missing))
            self.call_later(_AGAIN, self._retry)
        self._pump()

    def _retry(self) -> None:
        """Send again what came back; a receiver that comes makes its queue."""
        with self.lock:
            self._outbox.extendleft(reversed(self._stray))
            self._stray.clear()
        self._pump()
