"""Queues at the own broker that the peers' brokers drain (RabbitMQ federation): only their sender can remove them."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.runtime.federation.amqp import Broker, connect

_log = logging.getLogger(__name__)

_AGAIN = 0.2  # seconds between two looks at a queue


def remove_drained(broker: Broker, queues: Mapping[str, float], name: str, seconds: float) -> list[str]:
    """Delete each of ``queues`` once it is empty and no broker takes from it any more.

    :param queues: name -> how many messages this party sent there, where it ends before the job does: a queue from
        which the peer's broker has taken some is then deleted in the end even if others are left in it. 0: never with
        a message in it. Infinite: the peer has ended, and what is in it is for nobody
    :param name: of the connection, shown in the broker's management
    :param seconds: to wait at most
    :returns: those that are still there; the broker removes them a day after their last use
    :raises TransportError: the broker cannot be reached
    """
    end = time.monotonic() + seconds
    left = dict(queues)
    connection = connect(broker, name, max(1.0, seconds))
    try:
        while left:
            last = time.monotonic() >= end
            left = {queue: sent for queue, sent in left.items() if not _removed(connection, queue, sent, last)}
            if last:
                break
            if left:
                connection.sleep(_AGAIN)
    except (AMQPError, OSError) as error:
        raise broker.problem(error)[0] from error
    finally:
        with contextlib.suppress(Exception):
            connection.close()
    return list(left)


def _removed(connection: pika.BlockingConnection, queue: str, sent: float, last: bool) -> bool:
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue, passive=True).method
        forsaken = (last or math.isinf(sent)) and 0 < found.message_count < sent
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


def remove_quietly(broker: Broker, queues: Mapping[str, float], name: str, seconds: float) -> None:
    """The same at the end of a run, which fails for no queue."""
    try:
        left: Any = remove_drained(broker, queues, name, seconds)
    except TransportError as error:
        left = error
    if left:
        _log.info("queues to other brokers are left: %s", left)
