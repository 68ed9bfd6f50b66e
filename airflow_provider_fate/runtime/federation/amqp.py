"""One broker: where it is, how to get in, a connection that comes back, and why it does not."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pika
from pika import exceptions as pika_errors
from pika.channel import Channel

from airflow_provider_fate.errors import ConfigError, TransportError
from airflow_provider_fate.runtime.federation.messages import printable

_log = logging.getLogger(__name__)

# pika logs each failure several times over, with tracebacks; all of them arrive as exceptions as well.
if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)

_HEARTBEAT = 20  # seconds; the broker drops a silent connection after two of them
_PAUSE, _LONGEST_PAUSE = 0.1, 3.0  # seconds between two attempts to connect
_BLOCKED_LINES = 200  # lines at most on whether the broker takes messages
_WORDS = 300  # characters of a broker's own words in a log or an error
_SET_UP = 10.0  # seconds for a fresh channel to be made ready; a broker that just started has been seen not to answer


class _Unanswered(TimeoutError):
    """The broker leaves a request without an answer."""


@dataclass(frozen=True)
class Tls:
    """TLS towards a broker.

    :param ca_file: PEM file of the authorities to trust, those of the system by default
    :param client_cert: PEM file of this client's certificate, where the broker asks for one
    :param client_key: PEM file of its key, where it is not in ``client_cert``
    :param verify: whether the broker's certificate and host name are checked
    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """:raises ConfigError: a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.client_cert:
                context.load_cert_chain(self.client_cert, self.client_key)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(name for name in (self.ca_file, self.client_cert, self.client_key) if name)
            raise ConfigError(
                "transport.ssl", f"{files}: {error.strerror or error}; expected PEM files that Spark's driver can read"
            ) from None
        return context


@dataclass(frozen=True)
class Broker:
    """A RabbitMQ broker, or the nodes of a cluster.

    :param host: host names, separated by commas
    """

    host: str
    port: int = 5672
    vhost: str = "/"
    login: str = "guest"
    password: str = field(default="guest", repr=False)
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"RabbitMQ at {self.host}:{self.port}, vhost {self.vhost!r}"

    @property
    def each(self) -> list[Broker]:
        """One broker for each host."""
        return [replace(self, host=host.strip()) for host in self.host.split(",")]

    def parameters(self, name: str, timeout: float) -> pika.ConnectionParameters:
        """For a connection to the (only) host.

        :param name: shown in the broker's management
        """
        tls = pika.SSLOptions(self.tls.context(), self.host) if self.tls else None
        return pika.ConnectionParameters(
            self.host,
            self.port,
            self.vhost,
            pika.PlainCredentials(self.login, self.password),
            ssl_options=tls,
            heartbeat=_HEARTBEAT,
            socket_timeout=timeout,
            stack_timeout=timeout,
            connection_attempts=1,
            client_properties={"connection_name": name},
        )

    def problem(self, error: BaseException | None) -> tuple[TransportError, bool]:
        """An error that says where, who and why, and whether trying again is in vain. Never the password."""
        cause, hopeless = _cause(error)
        return TransportError(f"{self}, user {self.login!r}: {cause}"), hopeless


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all those within it, the innermost first."""
    if error is None:
        return
    inner = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), error.__cause__, *error.args]
    for one in inner:
        if isinstance(one, BaseException) and one is not error:
            yield from _chain(one)
    yield error


def _cause(error: BaseException | None) -> tuple[str, bool]:
    for one in _chain(error):
        code = getattr(one, "reply_code", None)
        text = printable(str(getattr(one, "reply_text", "")), _WORDS)  # whoever runs the broker writes it
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {one.verify_message}; check ca_file and the host name", True
        if isinstance(one, ssl.SSLError):
            return f"TLS fails: {one.reason or one}; check the port, and whether a client certificate is needed", True
        if isinstance(one, socket.gaierror):
            return f"the host name is not known ({one.strerror})", False
        if isinstance(one, ConnectionRefusedError):
            return "connection refused; is the broker running there, and is the port open?", False
        if isinstance(one, pika_errors.ProbableAuthenticationError) or (code == 403 and "login was refused" in text):
            return "the login is refused; check login and password", True
        if "in exclusive use" in text:
            return "another process takes this party's messages; has an earlier run of the task not ended yet?", False
        if code == 403:
            return f"a permission is missing: {text}; give the user configure, write and read on 'fate\\..*'", True
        if isinstance(one, pika_errors.ProbableAccessDeniedError) or code == 530:
            return f"the vhost does not exist, or the user may not use it{f' ({text})' if text else ''}", True
        if code == 406 and "larger than" in text:
            return f"the broker refuses: {text}; lower max_message_size of the connection, or raise the broker's", True
        if code == 406:
            return f"the broker refuses: {text}", True
        if code == 541 or "vhost" in text:
            return f"the broker is not ready: {text}", False
        if isinstance(one, (TimeoutError, socket.timeout)) or "Timeout" in type(one).__name__:
            return "no answer in time; check host, port, firewall, and whether use_ssl is needed", False
        if isinstance(one, pika_errors.IncompatibleProtocolError):
            return "it does not speak AMQP there; check the port, and whether use_ssl is needed", False
        if isinstance(one, pika_errors.StreamLostError):
            return f"the connection was lost ({printable(str(one), _WORDS)})", False
        if isinstance(one, OSError):
            return one.strerror or str(one) or type(one).__name__, False
    return (f"{type(error).__name__}: {error}" if error is not None else "the connection was closed"), False


def connect(broker: Broker, name: str, timeout: float) -> pika.BlockingConnection:
    """A connection to the first node of ``broker`` that answers. :raises TransportError: where, who and why"""
    problem: Exception | None = None
    for node in broker.each:
        try:
            return pika.BlockingConnection(node.parameters(name, timeout))
        except Exception as error:  # pika lets errors of sockets, TLS and its own through
            problem = problem or error
    raise broker.problem(problem)[0] from problem


class Link:
    """A connection with one channel, in a thread of its own, made again whenever it is lost.

    Subclasses set up the channel in :meth:`set_up`, and call :meth:`set_ready` when done.

    :param connect_seconds: how long the first connection is tried where trying again makes sense
    :param reconnect_seconds: the same for a connection that was there
    :param log: one line for a person
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        connect_seconds: float,
        reconnect_seconds: float,
        log: Callable[[str], None],
    ) -> None:
        self.broker = broker
        self.name = name
        self.connect_seconds = connect_seconds
        self.reconnect_seconds = reconnect_seconds
        self.log = log
        self.lock = threading.Condition()
        self.error: TransportError | None = None
        self.ready = False
        self.channel: Channel | None = None
        self._connection: pika.SelectConnection | None = None
        self._cause: BaseException | None = None
        self._was_ready = False
        self._blocked_told = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # -- for subclasses

    def set_up(self, channel: Channel) -> None:
        """Prepare a fresh channel (in the link's thread)."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection is gone (in the link's thread)."""

    def forgive(self, error: BaseException | None) -> bool:
        """Whether to go on in spite of an error that is hopeless otherwise."""
        return False

    def patience(self, error: BaseException | None) -> float:
        """How many seconds longer to try in the face of this error."""
        return 2 * _SET_UP if isinstance(error, _Unanswered) else 0.0

    def set_ready(self) -> None:
        """The channel can be used."""
        with self.lock:
            again = self._was_ready
            self.ready = self._was_ready = True
            self.lock.notify_all()
        if again:
            self.log(f"connected to {self.broker} again")

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` in the link's thread soon, if it is connected."""
        connection = self._connection
        if connection is not None:
            connection.ioloop.add_callback_threadsafe(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """The same after a while; only from the link's thread."""
        if self._connection is not None:
            self._connection.ioloop.call_later(seconds, function)

    def give_up(self, error: TransportError) -> None:
        with self.lock:
            self.error = self.error or error
            self.lock.notify_all()

    # -- life

    def start(self) -> None:
        """Begin to connect, without waiting."""
        self._thread.start()

    def wait_ready(self) -> None:
        """:raises TransportError: it cannot be connected, and why."""
        with self.lock:
            while not self.ready and self.error is None:
                self.lock.wait(1)
            if self.error is not None:
                raise self.error

    def stop(self, seconds: float = 5.0, ending: Callable[[], None] | None = None) -> None:
        """Close the connection and end the thread. Never raises.

        :param ending: closes in its own way, in the link's thread
        """
        self._stopping.set()
        self.call(ending or self._close)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def remove_queues(self, queues: Iterable[str], *, if_unused: bool = False) -> None:
        """Delete queues, as far as the broker can be reached, and close; in the link's thread."""
        channel, todo = self.channel, list(queues)
        if channel is None or not channel.is_open:
            self._close()
            return

        def next_queue(_frame: Any = None) -> None:
            if todo:
                channel.queue_delete(todo.pop(), if_unused=if_unused, callback=next_queue)
            else:
                self._close()

        next_queue()

    def _close(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if connection.is_open:
            connection.close()
        elif not connection.is_closing:
            connection.ioloop.stop()

    def _run(self) -> None:
        try:
            self._keep_connected()
        except ConfigError as error:
            self.give_up(TransportError(str(error)))
        except Exception as error:
            _log.exception("%s ends", self.name)
            self.give_up(TransportError(f"{self.broker}: {type(error).__name__}: {error}"))

    def _keep_connected(self) -> None:
        brokers = self.broker.each
        attempt = 0
        pause = _PAUSE
        end = time.monotonic() + self.connect_seconds
        while not self._stopping.is_set():
            broker = brokers[attempt % len(brokers)]
            attempt += 1
            left = end + self.patience(self._cause) - time.monotonic()
            self._cause = None
            self._connect_once(broker, min(10.0, max(1.0, left)))
            with self.lock:
                had_been, self.ready = self.ready, False
            self.lost()
            if self._stopping.is_set():
                return
            error, hopeless = broker.problem(self._cause)
            _log.info("%s: %s", self.name, error)
            if had_been:
                self.log(f"{error}; trying again")
                pause = _PAUSE
                end = time.monotonic() + self.reconnect_seconds
            # What is hopeless at first may pass while a broker that was there starts again.
            vain = hopeless and not self._was_ready and attempt >= len(brokers)
            left = end + self.patience(self._cause) - time.monotonic()
            forgiven = self.forgive(self._cause)
            if not forgiven and (vain or left < 0 or self._is_final(self._cause)):
                self.give_up(error)
                return
            if attempt == 1 and not had_been and not forgiven:
                self.log(f"{error}; trying again")
            self._stopping.wait(min(pause, max(_PAUSE, left)))
            pause = min(2 * pause, _LONGEST_PAUSE)

    @staticmethod
    def _is_final(cause: BaseException | None) -> bool:
        """Trying again does not help, even where a connection was there."""
        code, text = getattr(cause, "reply_code", None), str(getattr(cause, "reply_text", ""))
        return (code == 406 and "larger than" in text) or (code == 403 and "exchange" in text)

    def _connect_once(self, broker: Broker, timeout: float) -> None:
        """Connect, and serve the connection until it is closed."""
        connection = pika.SelectConnection(
            broker.parameters(self.name, timeout),
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_open_error,
            on_close_callback=self._on_close,
        )
        self._connection = connection
        try:
            if not self._stopping.is_set():
                connection.ioloop.start()
        finally:
            self._connection = self.channel = None
            connection.ioloop.close()

    def _on_open_error(self, connection: pika.SelectConnection, error: BaseException) -> None:
        self._cause = error
        connection.ioloop.stop()

    def _on_close(self, connection: pika.SelectConnection, reason: BaseException) -> None:
        self._cause = self._cause or reason
        connection.ioloop.stop()

    def _on_open(self, connection: pika.SelectConnection) -> None:
        if self._stopping.is_set():
            self._close()
            return
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_channel)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        reason = printable(str(frame.method.reason), _WORDS)
        self._tell_blocked(f"{self.broker} takes no messages at the moment: {reason}")

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self._tell_blocked(f"{self.broker} takes messages again")

    def _tell_blocked(self, text: str) -> None:
        """A broker may say so as often as it likes."""
        if self._blocked_told < _BLOCKED_LINES:
            self._blocked_told += 1
            self.log(text)

    def _on_channel(self, channel: Channel) -> None:
        self.channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        self.set_up(channel)
        self.call_later(_SET_UP, lambda: self._check_set_up(channel))

    def _check_set_up(self, channel: Channel) -> None:
        """Begin anew where the broker leaves a request of :meth:`set_up` without an answer."""
        connection = self._connection
        if self.channel is not channel or self.ready or connection is None or not connection.is_open:
            return
        self._cause = self._cause or _Unanswered("the broker leaves a request unanswered")
        # an orderly close would wait for that answer
        connection._terminate_stream(self._cause)

    def _on_channel_closed(self, _channel: Channel, reason: BaseException) -> None:
        self._cause = self._cause or reason
        self._close()
