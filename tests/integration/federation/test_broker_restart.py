"""A broker that goes away in mid-job: what was sent arrives once it is back, each value once."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from airflow_provider_fate.errors import PeerFailed, TransportError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.config import transport_from_config
from tests.integration.federation.test_rabbitmq import config, finish, key_pairs, meet, players, route
from tests.servers.rabbitmq import RabbitMQNode
from tests.unit.federation.playing import GUEST, HOST, JOB, Player, anything, together, until

_VALUES = 400
THIRD = Party("host", "10001")


@pytest.fixture(scope="module")
def own_node(tmp_path_factory):
    """A node of this module's own, as the others' must not go away."""
    with RabbitMQNode(tmp_path_factory.mktemp("restarted"), "restarted") as node:
        yield node


@pytest.fixture
def node(own_node):
    """The module's node, up again should the test before have left it down."""
    return own_node.start()


def value(number: int) -> np.ndarray:
    return np.random.default_rng(number).random(40_000)


def send(player: Player, peer, restarting) -> None:
    federation = player.session.federation()
    for number in range(_VALUES):
        federation.send(peer, f"{number}", value(number))
        if number == _VALUES // 4:
            restarting.append(True)  # in the middle of it
        time.sleep(0.002)


def receive(player: Player, peer) -> str:
    federation = player.session.federation()
    whole = hashlib.sha256()
    for number in range(_VALUES):
        whole.update(federation.receive(peer, f"{number}", anything).tobytes())
    return whole.hexdigest()


@pytest.mark.parametrize(("crash", "encrypted"), [(True, False), (False, False), (True, True)])
def test_a_broker_restarted_in_mid_job_loses_and_repeats_nothing(node, crash, encrypted):
    vhost = node.new_vhost()
    keys = [own if encrypted else {} for own in key_pairs("9999", "10000")]
    guest, host = players(*(config(node, vhost, **own) for own in keys), parties=(GUEST, HOST), wait=60)
    meet(guest, host)
    restarting: list[bool] = []

    def restart():
        until(lambda: restarting, 30)
        node.restart(crash=crash)

    outcomes = together(
        lambda: send(guest, HOST, restarting),
        lambda: send(host, GUEST, restarting),
        lambda: receive(guest, HOST),
        lambda: receive(host, GUEST),
        restart,
        timeout=120,
    )
    expected = hashlib.sha256(b"".join(value(number).tobytes() for number in range(_VALUES))).hexdigest()
    assert outcomes == [None, None, expected, expected, None]
    for player in (guest, host):
        assert any("trying again" in line for line in player.lines)
        assert not any(node.password in line for line in player.lines)
    finish(guest, host)


def test_a_broker_that_stays_away_is_an_error_after_the_configured_time(node):
    vhost = node.new_vhost()
    guest, host = players(config(node, vhost, reconnect_timeout=2), parties=(GUEST, HOST), wait=60)
    meet(guest, host)
    node.kill()
    began = time.monotonic()
    outcomes = together(
        lambda: guest.session.federation().receive(HOST, "x", anything),
        lambda: [host.session.federation().send(GUEST, f"{n}", value(n)) for n in range(10_000)],
    )
    assert time.monotonic() - began < 20
    for outcome in outcomes:
        assert isinstance(outcome, TransportError) and f"{node.host}:{node.port}" in str(outcome), outcome
    began = time.monotonic()
    guest.session.abort("the broker is gone")
    host.session.abort("the broker is gone")
    assert time.monotonic() - began < 15


def test_a_broker_with_a_lower_limit_is_an_error_that_says_so(node):
    node.kill()
    (node.directory / "advanced.config").write_text("[{rabbit, [{max_message_size, 100000}]}].\n")
    try:
        node.start()
        guest, host = players(config(node, node.new_vhost(), reconnect_timeout=20), parties=(GUEST, HOST))
        meet(guest, host)
        guest.session.federation().send(HOST, "x", value(0))
        with pytest.raises(TransportError, match="larger than configured max size.*max_message_size"):
            guest.session.federation().receive(HOST, "y", anything)
        guest.session.abort("over")
        host.session.abort("over")
    finally:
        node.kill()
        (node.directory / "advanced.config").unlink()


def test_what_waits_for_a_party_outlives_the_broker(node):
    settings = config(node, node.new_vhost())
    guest, host = transport_from_config(settings), transport_from_config(settings)
    guest.open(JOB, GUEST, [HOST], lambda body: None)
    bodies = [b"%d" % number for number in range(1000)]
    for body in bodies:
        guest.send(HOST, body)
    guest.flush(20)
    guest.close(remove=False)
    node.restart(crash=True)
    got: list[bytes] = []
    host.open(JOB, HOST, [GUEST], got.append)
    until(lambda: len(got) == 1000, 10)
    assert got == bodies
    host.close(remove=True)


def test_a_peers_broker_that_is_away_is_waited_for_as_long_as_the_peer(node, rabbitmq_node):
    """The host's broker is not up when the guest begins: the guest waits, as it does for the host itself."""
    vhost, ours = node.new_vhost(), rabbitmq_node.new_vhost()
    at_guest = config(rabbitmq_node, ours, routes={"10000": route(node, vhost)}, connection_timeout=3)
    at_host = config(node, vhost, routes={"9999": route(rabbitmq_node, ours)}, connection_timeout=3)
    guest, host = players(at_guest, at_host, parties=(GUEST, HOST), wait=60)
    node.kill()

    def later():
        until(lambda: any("connection refused" in line and "trying again" in line for line in guest.lines), 20)
        time.sleep(3)
        node.start()
        return host.session.meet()

    assert together(guest.session.meet, later, timeout=90) == [[], []]
    finish(guest, host)


@pytest.mark.parametrize(("away", "there", "wait"), [(THIRD, HOST, 8), (HOST, THIRD, 12)])
def test_a_peers_broker_that_stays_away_is_named_and_the_others_are_told(node, rabbitmq_node, away, there, wait):
    vhost, ours = node.new_vhost(), rabbitmq_node.new_vhost()
    at_guest = config(rabbitmq_node, ours, routes={away.party_id: route(node, vhost)}, connection_timeout=3)
    parties = (GUEST, HOST, THIRD)
    guest, other = (
        Player(None, party, parties, transport=transport_from_config(one), wait=seconds)
        for party, one, seconds in ((GUEST, at_guest, wait), (there, config(rabbitmq_node, ours), 60))
    )
    node.kill()

    def give_up():
        with pytest.raises(TransportError, match=f":{node.port}, vhost .*connection refused"):
            guest.session.meet()
        guest.session.abort("it cannot reach a broker")

    began = time.monotonic()
    outcomes = together(give_up, other.session.meet, timeout=40)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], PeerFailed) and "it cannot reach a broker" in str(outcomes[1])
    assert wait - 4 < time.monotonic() - began < wait + 10
    other.session.abort("over")
