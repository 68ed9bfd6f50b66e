"""One HTTP request within bounds of time and size, to a server that belongs to somebody else."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

#: bytes that an answer may have
MAX_ANSWER = 1 << 20
#: seconds to try to connect, where less is not asked for
CONNECT_SECONDS = 10.0


class AnswerTooLarge(requests.RequestException):
    """The server sends more than :data:`MAX_ANSWER` bytes, or packed ones."""


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    :param status: HTTP status
    :param body: its bytes, at most :data:`MAX_ANSWER`
    """

    status: int
    body: bytes


class _Watch:
    """Cuts the connections of one request when its time is up.

    The timeouts of sockets are for each read: a server that sends a byte now and then would never be late.
    """

    def __init__(self, seconds: float) -> None:
        self.late = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        with self._lock:
            for one in self._sockets:
                one.close()
            self._sockets.clear()

    def add(self, made: socket.socket) -> None:
        """Watch a connection. A copy is kept, as TLS takes the socket itself over."""
        with self._lock:
            if self.late:
                raise TimeoutError("the time is up")
            self._sockets.append(made.dup())

    def _cut(self) -> None:
        with self._lock:
            self.late = True
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Tells a watch of every connection that is made, to a proxy as well."""

    def __init__(self, watch: _Watch) -> None:
        self._pools = {"http": _pool(HTTPConnectionPool, watch), "https": _pool(HTTPSConnectionPool, watch)}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pool(base: Any, watch: _Watch) -> Any:
    class Connection(base.ConnectionCls):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            watch.add(made)
            return made

    return type("WatchedPool", (base,), {"ConnectionCls": Connection})


def ask(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    seconds: float,
    verify: bool | str = True,
    cert: tuple[str, str] | str | None = None,
) -> Answer:
    """Send one request on a connection of its own, and read the whole answer.

    Redirects are not followed, answers are not unpacked, and no login is taken from a ``.netrc`` file. Proxies are
    taken from the environment.

    :param seconds: time for all of it
    :param verify: whether to check the server's certificate, or the file of the authority
    :param cert: files of the client's certificate and key
    :raises AnswerTooLarge: it has more than :data:`MAX_ANSWER` bytes, or is packed
    :raises requests.Timeout: the whole answer was not there in time
    :raises requests.RequestException: the server cannot be spoken to
    """
    with _Watch(seconds) as watch, requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(watch))
        try:
            with session.request(
                method,
                url,
                data=body,
                headers={**headers, "Accept-Encoding": "identity", "Connection": "close"},
                auth=lambda prepared: prepared,  # or requests would look into ~/.netrc
                timeout=(min(CONNECT_SECONDS, seconds), seconds),
                verify=verify,
                cert=cert,
                allow_redirects=False,
                stream=True,
            ) as answer:
                content = _read(answer)
        except AnswerTooLarge:
            raise
        except (requests.RequestException, OSError) as error:
            if watch.late:
                raise requests.Timeout(f"no whole answer in {seconds:g} s") from error
            if isinstance(error, requests.RequestException):
                raise
            raise requests.ConnectionError(error) from error
        if watch.late:  # a body whose length was not announced just ends where it is cut
            raise requests.Timeout(f"no whole answer in {seconds:g} s")
        return Answer(answer.status_code, content)


def _read(answer: requests.Response) -> bytes:
    if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise AnswerTooLarge("the answer is packed, though that was not asked for")
    content = bytearray()
    for piece in answer.iter_content(1 << 16):
        content += piece
        if len(content) > MAX_ANSWER:
            raise AnswerTooLarge(f"the answer has more than {MAX_ANSWER} bytes")
    return bytes(content)
