"""Linked brokers of which one is killed, or whose link is cut, in mid-job: each value arrives once."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest

from tests.integration.federation.linked import NOTHING, hooks, linked, rabbitmqctl, sides, tls_of
from tests.integration.federation.test_broker_restart import _VALUES, receive, send, value
from tests.integration.federation.test_rabbitmq import connections, finish, key_pairs, meet
from tests.integration.hooks.conftest import connect
from tests.servers.rabbitmq import RabbitMQNode
from tests.unit.federation.playing import GUEST, HOST, together, until

__all__ = ["connect"]


@pytest.fixture(scope="module")
def own_nodes(tmp_path_factory):
    """Nodes of this module's own, as the others' must not go away."""
    nodes = [RabbitMQNode(tmp_path_factory.mktemp(name), name, tls=True) for name in ("linked-1", "linked-2")]
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready()
        yield tuple(nodes)
    finally:
        for node in nodes:
            node.kill()


@pytest.fixture
def pair(own_nodes):
    """Two parties on the module's nodes, which are up again should the test before have left one down."""
    for node in own_nodes:
        node.start()
    return sides(own_nodes)


def links_to(side) -> list[str]:
    """Names of the connections that the peer's broker has to a side's."""
    return [one["name"] for one in connections(side.node, side.vhost) if one["user"] == side.peers_login]


def cut(side, begun: list[bool]) -> None:
    """Close what the peer's broker has open at ``side``, again and again."""
    (name,) = links_to(side)
    until(lambda: begun, 30)
    side.node.api("DELETE", f"connections/{quote(name, safe='')}")  # an error where it is not there
    for _ in range(3):
        rabbitmqctl(side.node, "close_all_user_connections", side.peers_login, "cut by the test")


@pytest.mark.parametrize("what", ["the guest's broker", "the host's broker", "the links"])
def test_nothing_is_lost_and_nothing_comes_twice(pair, connect, what):
    secure = what != "the links"
    keys = key_pairs("9999", "10000") if secure else ({}, {})
    tls = [tls_of(side.node) for side in pair] if secure else (None, None)
    with linked(hooks(pair, connect, tls, keys), wait=60) as (guest, host):
        meet(guest, host)
        begun: list[bool] = []
        for side in pair:
            until(lambda side=side: links_to(side), 20)

        def disturb():
            until(lambda: begun, 30)
            (pair[0] if what == "the guest's broker" else pair[1]).node.restart(crash=True)

        disturbances = [lambda side=side: cut(side, begun) for side in pair] if what == "the links" else [disturb]
        outcomes = together(
            lambda: send(guest, HOST, begun),
            lambda: send(host, GUEST, begun),
            lambda: receive(guest, HOST),
            lambda: receive(host, GUEST),
            *disturbances,
            timeout=120,
        )
        expected = hashlib.sha256(b"".join(value(number).tobytes() for number in range(_VALUES))).hexdigest()
        assert outcomes == [None, None, expected, expected, *(None for _ in disturbances)]
        for side in pair:
            for player in (guest, host):
                assert not any(side.password in line or side.peers_password in line for line in player.lines)
        finish(guest, host)
    assert [side.objects() for side in pair] == [NOTHING] * 2
