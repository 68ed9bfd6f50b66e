"""What goes wrong on a network, in a few words and without secrets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import requests


def chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it wraps, outermost first: causes, contexts, and the reasons that urllib3 and pika keep."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [getattr(current, "reason", None), getattr(current, "exception", None)]
        waiting += [current.__cause__, current.__context__, *current.args]


def reason(error: BaseException) -> str:
    """Why a server could not be spoken to."""
    errors = list(chain(error))

    def first(*kinds: type[BaseException], name: str = "?") -> BaseException | None:
        return next((one for one in errors if isinstance(one, kinds) or name in type(one).__name__), None)

    # the innermost cause says most, and what wraps it has many names: look for one kind after another
    if isinstance(found := first(ssl.SSLCertVerificationError), ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({found.verify_message}); check ca_file"
    if isinstance(found := first(ssl.SSLError), ssl.SSLError):
        return f"TLS failed ({found.reason or found}); check use_ssl, the port and the client certificate"
    if first(socket.gaierror):
        return "the host name is not known"
    if first(ConnectionRefusedError):
        return "connection refused; is it running, and is the port right?"
    if first(TimeoutError, requests.Timeout, name="Timeout"):
        return "no answer in time; is it up, and does a firewall allow it?"
    if first(name="RemoteDisconnected"):
        return "the connection was closed without an answer; is TLS expected on this port?"
    if first(ConnectionResetError, BrokenPipeError):
        return "the connection was cut"
    if first(name="BadStatusLine"):
        return "it does not speak HTTP; its HTTP port is expected here, not an RPC or AMQP port"
    last = errors[-1]
    return f"{type(last).__name__}: {str(last)[:200]}"
