"""The queues of a job: their names, what the broker is told of them, and how they end from outside of a session."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, connect

_log = logging.getLogger(__name__)

#: milliseconds after which the broker removes a queue that nobody uses, should no party do it
EXPIRES = 24 * 3600 * 1000
#: bytes that the broker takes for one queue; who sends as we do stops long before, see :mod:`.publisher`
LARGEST = 512 << 20
ARGUMENTS = {"x-expires": EXPIRES, "x-max-length-bytes": LARGEST, "x-overflow": "reject-publish"}
_AGAIN = 0.2  # seconds between two looks at a queue


def queue_name(job_id: str, sender: Party, receiver: Party) -> str:
    """The queue that carries what ``sender`` sends to ``receiver``."""
    return f"fate.{job_id}.{sender}.{receiver}"


def declare(channel: Any, queue: str, callback: Callable[[Any], None] | None = None) -> None:
    """Make a queue unless it is there; both of its parties do."""
    arguments = {"callback": callback} if callback is not None else {}
    channel.queue_declare(queue, durable=True, arguments=ARGUMENTS, **arguments)


def remove_unused(broker: Broker, queues: Iterable[str], name: str, seconds: float) -> list[str]:
    """Delete each of ``queues``, with what is in it, once nobody takes from it any more.

    :param name: of the connection, shown in the broker's management
    :param seconds: to wait at most
    :returns: those that are still taken from
    :raises TransportError: the broker cannot be reached
    """
    return _remove(broker, dict.fromkeys(queues, _delete_unused), name, seconds)


def remove_drained(broker: Broker, queues: Mapping[str, float], name: str, seconds: float) -> list[str]:
    """Delete queues at the own broker that peers' brokers drain (RabbitMQ federation), which only their sender can.

    Each goes once it is empty and no broker takes from it any more.

    :param queues: name -> how many messages this party sent there, where it ends before the job does: a queue from
        which the peer's broker has taken some is then deleted in the end even if others are left in it. 0: never with
        a message in it. Infinite: the peer has ended, and what is in it is for nobody
    :param name: of the connection, shown in the broker's management
    :param seconds: to wait at most
    :returns: those that are still there; the broker removes them a day after their last use
    :raises TransportError: the broker cannot be reached
    """
    end = time.monotonic() + seconds
    return _remove(
        broker, {queue: partial(_delete_drained, sent=sent, end=end) for queue, sent in queues.items()}, name, seconds
    )


def _remove(broker: Broker, queues: Mapping[str, Callable[..., bool]], name: str, seconds: float) -> list[str]:
    """Call what deletes each queue until that says that it is gone, or the time is up. :returns: those that are left"""
    end = time.monotonic() + seconds
    left = dict(queues)
    connection = connect(broker, name, max(1.0, seconds))
    try:
        while True:
            last = time.monotonic() >= end
            left = {queue: delete for queue, delete in left.items() if not delete(connection, queue)}
            if last or not left:
                return list(left)
            connection.sleep(_AGAIN)
    except (AMQPError, OSError) as error:
        raise broker.problem(error)[0] from error
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def _delete_unused(connection: pika.BlockingConnection, queue: str) -> bool:
    """Delete a queue unless somebody takes from it, or this user may not. :returns: whether there is no more to do"""
    channel = connection.channel()
    try:
        channel.queue_delete(queue, if_unused=True)
    except ChannelClosedByBroker as error:
        if error.reply_code not in (403, 406):
            raise
        return error.reply_code == 403  # at a peer's broker an account may be for sending only
    channel.close()
    return True


def _delete_drained(connection: pika.BlockingConnection, queue: str, *, sent: float, end: float) -> bool:
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue, passive=True).method
        forsaken = (time.monotonic() >= end or math.isinf(sent)) and 0 < found.message_count < sent
        if not found.consumer_count and (forsaken or not found.message_count):
            channel.queue_delete(queue, if_unused=True, if_empty=not forsaken)
            return True
    except ChannelClosedByBroker as error:
        if error.reply_code == 404:
            return True
        if error.reply_code != 406:  # else it has come into use, or got a message, just now
            raise
    finally:
        if channel.is_open:
            channel.close()
    return False


def remove_drained_quietly(broker: Broker, queues: Mapping[str, float], name: str, seconds: float) -> None:
    """The same at the end of a run, which fails for no queue."""
    try:
        left: Any = remove_drained(broker, queues, name, seconds)
    except TransportError as error:
        left = error
    if left:
        _log.info("queues to other brokers are left: %s", left)
