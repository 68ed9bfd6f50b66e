"""Flow control over a real RabbitMQ: what is not used does not fill the broker."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

import numpy as np
import pika
import pytest

from airflow_provider_fate.runtime.federation import queues as queue_settings
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.inbox import Limits
from airflow_provider_fate.runtime.federation.queues import queue_name
from tests.integration.federation.test_rabbitmq import config, finish, key_pairs, meet, queues, route
from tests.unit.federation.playing import GUEST, HOST, JOB, Player, until

MIB = 1 << 20
BACKLOG, BUFFER, PREFETCH = 64, 64, 32  # MiB, as publisher.py and rabbitmq.py have them
HELD = 16
VALUES = 400


def value(number: int) -> np.ndarray:
    return np.full(MIB - 1024, number % 256, np.uint8)


def parties(*configs) -> list[Player]:
    return [
        Player(None, me, transport=transport_from_config(one), wait=30, limits=Limits(held=HELD * MIB))
        for me, one in zip((GUEST, HOST), configs, strict=True)
    ]


def begin_to_send(guest: Player, waiting: Callable[[], int]) -> tuple[threading.Thread, list[int]]:
    """Send more than the receiver takes; returns a while after it has gone as far as it goes.

    :param waiting: how many messages wait at the sender's broker
    """
    sent: list[int] = []

    def send() -> None:
        federation = guest.session.federation()
        for number in range(VALUES):
            federation.send(HOST, f"{number}", value(number))
            sent.append(number)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    until(lambda: guest.session._send_began is not None and waiting() >= BACKLOG, 40)
    time.sleep(1.5)  # the receiver computes
    return thread, sent


def receive(host: Player, count: int) -> None:
    federation = host.session.federation()
    for number in range(count):
        assert (federation.receive(GUEST, f"{number}", lambda value: None) == number % 256).all()


@pytest.mark.parametrize("mode", ["shared", "routes", "encrypted"])
def test_a_slow_receiver_slows_the_sender(two_rabbitmq_nodes, mode):
    node, other = two_rabbitmq_nodes
    vhost, there = node.new_vhost(), other.new_vhost()
    if mode == "routes":
        other.add_user(login := f"partner-{secrets.token_hex(3)}", password := secrets.token_hex(8))
        other.allow(login, there, configure="^$", write="^amq\\.default$", read="^$")  # it may send, and no more
        configs = [
            config(node, vhost, routes={"10000": route(other, there, login=login, password=password)}),
            config(other, there, routes={"9999": route(node, vhost)}),
        ]
        where = (other, there)
    else:
        keys = key_pairs("9999", "10000") if mode == "encrypted" else [{}, {}]
        configs = [config(node, vhost, **own) for own in keys]
        where = (node, vhost)
    guest, host = parties(*configs)
    meet(guest, host)
    thread, sent = begin_to_send(guest, lambda: where[0].queues(where[1])[queue_name(JOB, GUEST, HOST)])
    assert len(sent) <= HELD + PREFETCH + BACKLOG + BUFFER + 32
    assert host.session._peers[str(GUEST)].inbox.unread <= (HELD + PREFETCH + 2) * MIB
    waiting = where[0].queues(where[1])[queue_name(JOB, GUEST, HOST)]
    assert BACKLOG <= waiting <= BACKLOG + BUFFER + 32
    receive(host, VALUES)
    thread.join(20)
    assert len(sent) == VALUES
    finish(guest, host)
    until(lambda: queues(*where) == [], 10)


def test_a_held_back_receiver_gets_everything_once_after_a_reconnection(two_rabbitmq_nodes):
    node = two_rabbitmq_nodes[0]
    vhost = node.new_vhost()
    guest, host = parties(config(node, vhost), config(node, vhost))
    meet(guest, host)
    sending = guest.session.federation()
    count = HELD + PREFETCH + 20
    for number in range(count):
        sending.send(HOST, f"{number}", value(number))
    until(lambda: host.session._held_back, 10)
    known = lambda: [one["name"] for one in node.api("GET", "connections") if one["vhost"] == vhost]  # noqa: E731
    until(known, 15)
    for name in known():
        node.api("DELETE", f"connections/{name.replace(' ', '%20').replace('>', '%3E')}")
    time.sleep(1)
    receive(host, count)
    finish(guest, host)


def test_the_broker_itself_takes_no_more_than_a_bound_for_one_queue(two_rabbitmq_nodes):
    """From somebody who may send to a queue and does not wait as we do."""
    node = two_rabbitmq_nodes[0]
    connection = node.connection(node.new_vhost())
    channel = connection.channel()
    queue_settings.declare(channel, "fate.flood.guest-1.host-2")
    channel.confirm_delivery()
    body = bytes(32 * MIB)
    taken = 0
    with pytest.raises(pika.exceptions.NackError):
        while taken < 100:
            channel.basic_publish("", "fate.flood.guest-1.host-2", body, mandatory=True)
            taken += 1
    assert queue_settings.LARGEST <= taken * len(body) <= queue_settings.LARGEST + len(body)
    channel.queue_delete("fate.flood.guest-1.host-2")
    connection.close()
