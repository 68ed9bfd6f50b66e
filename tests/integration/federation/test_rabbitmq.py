"""Sessions over a real RabbitMQ: values, routes, TLS, what cannot work, and what is left behind."""

from __future__ import annotations

import secrets
import socket
import time
from typing import Any
from urllib.parse import quote

import numpy as np
import pika
import pytest

from airflow_provider_fate.errors import PeerFailed, PeerFinished, PeerRestarted, TransportError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation import amqp, rabbitmq
from airflow_provider_fate.runtime.federation.abort import remove_left, tell_peers
from airflow_provider_fate.runtime.federation.checks import Array
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.queues import queue_name
from tests.servers.organisations import key_pairs
from tests.servers.process import HOST as LOOPBACK
from tests.servers.process import free_ports
from tests.servers.rabbitmq import RabbitMQNode
from tests.unit.federation.playing import ALL, ARBITER, GUEST, HOST, JOB, Player, anything, together, until


def config(node: RabbitMQNode, vhost: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "rabbitmq",
        "host": node.host,
        "port": node.port,
        "vhost": vhost,
        "login": node.login,
        "password": node.password,
        "connection_timeout": 5,
    } | changes


def route(node: RabbitMQNode, vhost: str, **changes: Any) -> dict[str, Any]:
    whole = config(node, vhost, **changes)
    return {key: whole[key] for key in ("host", "port", "vhost", "login", "password")}


def players(*configs: dict[str, Any], parties=ALL, wait: float = 30.0) -> list[Player]:
    """One for each party, with its config or the only one."""
    configs = configs if len(configs) > 1 else configs * len(parties)
    return [
        Player(None, party, parties, transport=transport_from_config(one), wait=wait)
        for party, one in zip(parties, configs, strict=True)
    ]


def meet(*who: Player) -> None:
    for outcome in together(*(player.session.meet for player in who)):
        assert outcome == [], outcome


def finish(*who: Player) -> None:
    assert together(*(player.session.finish for player in who)) == [None] * len(who)


def queues(node: RabbitMQNode, vhost: str) -> list[str]:
    return sorted(queue["name"] for queue in node.api("GET", f"queues/{quote(vhost, safe='')}"))


def connections(node: RabbitMQNode, vhost: str) -> list[dict[str, Any]]:
    """Those whose details the management knows by now."""
    return [one for one in node.api("GET", f"vhosts/{quote(vhost, safe='')}/connections") if "ssl" in one]


@pytest.fixture
def vhost(rabbitmq_node: RabbitMQNode) -> str:
    return rabbitmq_node.new_vhost()


def exchange(one: Player, other: Player, rounds: int = 20) -> None:
    """Values of all sizes in both directions at once."""

    def play(me: Player, peer) -> float:
        federation = me.session.federation()
        total = 0.0
        for number in range(rounds):
            length = 10 ** (number % 6) * 3
            federation.send(peer, f"{number}", np.full(length, number, np.float64))
            total += federation.receive(peer, f"{number}", Array("float64", (length,))).mean()
        return total

    expected = float(sum(range(rounds)))
    assert together(lambda: play(one, other.session.me), lambda: play(other, one.session.me)) == [expected] * 2


def test_three_parties_on_one_broker(rabbitmq_node, vhost):
    guest, host, arbiter = players(config(rabbitmq_node, vhost))
    meet(guest, host, arbiter)
    exchange(guest, host)
    exchange(arbiter, host)
    assert queues(rabbitmq_node, vhost) == sorted(queue_name(JOB, a, b) for a in ALL for b in ALL if a != b)
    finish(guest, host, arbiter)
    until(lambda: queues(rabbitmq_node, vhost) == [], 10)


def test_each_party_on_its_own_broker(two_rabbitmq_nodes):
    ours, theirs = two_rabbitmq_nodes
    here, there = ours.new_vhost(), theirs.new_vhost()
    theirs.add_user(login := f"partner-{secrets.token_hex(3)}", password := secrets.token_hex(8))
    theirs.allow(login, there, configure="^$", write="^amq\\.default$", read="^$")  # it may send, and no more
    guest, host = players(
        config(ours, here, routes={"10000": route(theirs, there, login=login, password=password)}),
        config(theirs, there, routes={"9999": route(ours, here)}),
        parties=(GUEST, HOST),
    )
    # The guest comes first: the queue that it sends to is not there yet, and not its to declare.
    outcomes = together(guest.session.meet, lambda: (time.sleep(2), host.session.meet())[1])
    assert outcomes == [[], []]
    exchange(guest, host)
    assert queues(ours, here) == [queue_name(JOB, HOST, GUEST)]
    assert queues(theirs, there) == [queue_name(JOB, GUEST, HOST)]
    finish(guest, host)


def test_whoever_runs_the_brokers_reads_nothing(two_rabbitmq_nodes):
    ours, theirs = two_rabbitmq_nodes
    here, there = ours.new_vhost(), theirs.new_vhost()
    mine, peers = key_pairs("9999", "10000")
    guest, host = players(
        config(ours, here, routes={"10000": route(theirs, there)}, **mine),
        config(theirs, there, routes={"9999": route(ours, here)}, **peers),
        parties=(GUEST, HOST),
    )
    meet(guest, host)
    exchange(guest, host)
    # the host takes no messages, so that the broker's operator can look at what waits for it
    host.session.transport.close(remove=False)
    guest.session.federation().send(HOST, "some tag", {"some words": np.arange(1000.0)})
    guest.session.transport.flush(10)
    with pika.BlockingConnection(amqp.Broker(**route(theirs, there)).parameters("operator", 5)) as connection:
        channel = connection.channel()
        seen = b"".join(bodies(channel, queue_name(JOB, GUEST, HOST)))
    assert len(seen) > 8000 and seen.startswith(b"FSEC")
    for words in (b"some tag", b"some words", b"alive", np.arange(100.0).tobytes()):
        assert words not in seen
    guest.session.abort("over")
    host.session.abort("over")


def bodies(channel: Any, queue: str) -> list[bytes]:
    """What waits in a queue, which stays there."""
    seen, tag = [], 0
    while (got := channel.basic_get(queue))[0] is not None:
        tag = got[0].delivery_tag
        seen.append(got[2])
    if tag:
        channel.basic_nack(tag, multiple=True)
    return seen


def test_a_large_value_in_small_messages(rabbitmq_node, vhost):
    guest, host = players(config(rabbitmq_node, vhost, max_message_size=4096), parties=(GUEST, HOST))
    meet(guest, host)
    value = np.random.default_rng(1).random(1_000_000)
    guest.session.federation().send(HOST, "x", value)
    assert np.array_equal(host.session.federation().receive(GUEST, "x", anything), value)
    finish(guest, host)


def test_tls(rabbitmq_node, vhost):
    tls = {
        "ca_file": str(rabbitmq_node.authority.certificate),
        "client_cert": str(rabbitmq_node.client_certificate.certificate),
        "client_key": str(rabbitmq_node.client_certificate.key),
        "verify": True,
    }
    guest, host = players(config(rabbitmq_node, vhost, port=rabbitmq_node.tls_port, ssl=tls), parties=(GUEST, HOST))
    meet(guest, host)
    exchange(guest, host)
    until(lambda: len(connections(rabbitmq_node, vhost)) == 4, 15)
    assert all(connection["ssl"] for connection in connections(rabbitmq_node, vhost))
    finish(guest, host)


def failure(settings: dict[str, Any]) -> TransportError:
    transport = transport_from_config(settings)
    began = time.monotonic()
    with pytest.raises(TransportError) as error:
        transport.open(JOB, GUEST, [HOST], lambda body: None)
        while time.monotonic() - began < 15:  # a peer's broker is connected in the background
            transport.check()
            time.sleep(0.05)
    assert time.monotonic() - began < 15
    transport.close(remove=True)
    for secret in (settings["password"], *(one["password"] for one in settings.get("routes", {}).values())):
        assert secret not in str(error.value)
    return error.value


def test_what_cannot_work_says_where_who_and_why(rabbitmq_node, vhost, tmp_path):
    good = config(rabbitmq_node, vhost)
    place = f"RabbitMQ at {LOOPBACK}:{rabbitmq_node.port}, vhost '{vhost}', user 'fate': "
    assert str(failure({**good, "password": "wr0ng-secret"})) == place + (
        "the login is refused; check login and password"
    )
    assert "vhost 'nowhere', user 'fate': the vhost does not exist" in str(failure({**good, "vhost": "nowhere"}))
    (closed,) = free_ports(1)
    refused = str(failure({**good, "port": closed, "connection_timeout": 1}))
    assert f"{LOOPBACK}:{closed}" in refused and "connection refused" in refused
    unknown = str(failure({**good, "host": "broker.invalid", "connection_timeout": 1}))
    assert "broker.invalid" in unknown and "host name is not known" in unknown
    routed = failure({**good, "routes": {"10000": route(rabbitmq_node, vhost, password="wr0ng-secret")}})
    assert "the login is refused" in str(routed)


def test_permissions_that_are_missing_are_named(rabbitmq_node, vhost):
    rabbitmq_node.add_user(login := f"user-{secrets.token_hex(3)}", password := secrets.token_hex(8))
    settings = config(rabbitmq_node, vhost, login=login, password=password)
    assert "may not use it" in str(failure(settings))
    rabbitmq_node.allow(login, vhost, configure="^$", write=".*", read=".*")
    assert "a permission is missing" in str(failure(settings))


def test_tls_that_does_not_fit_is_named(rabbitmq_node, vhost, tmp_path):
    good = config(rabbitmq_node, vhost, port=rabbitmq_node.tls_port, connection_timeout=2)
    assert "certificate is not trusted" in str(failure({**good, "ssl": {"verify": True}}))
    missing = str(tmp_path / "missing.pem")
    assert missing in str(failure({**good, "ssl": {"ca_file": missing}}))
    plain = failure({**good, "port": rabbitmq_node.port, "ssl": {"verify": False}})
    assert f"{LOOPBACK}:{rabbitmq_node.port}" in str(plain) and "TLS" in str(plain)
    assert f"{LOOPBACK}:{rabbitmq_node.tls_port}" in str(failure(good))


def test_two_runs_of_one_party_do_not_share_its_messages(rabbitmq_node, vhost, monkeypatch):
    monkeypatch.setattr("airflow_provider_fate.runtime.federation.rabbitmq._ENDING", 0)
    settings = config(rabbitmq_node, vhost, connection_timeout=1)
    first = transport_from_config(settings)
    first.open(JOB, GUEST, [HOST], lambda body: None)
    assert "another process takes this party's messages" in str(failure(settings))
    first.close(remove=True)
    second = transport_from_config(settings)
    second.open(JOB, GUEST, [HOST], lambda body: None)
    second.close(remove=True)


def test_a_peer_that_is_killed_and_comes_back(rabbitmq_node, vhost):
    guest, host = players(config(rabbitmq_node, vhost), parties=(GUEST, HOST))
    meet(guest, host)
    host.session.federation().send(GUEST, "x", "old")
    host.session._stopped = True  # it dies without a word
    host.session.transport.close(remove=False)
    (_, again) = players(config(rabbitmq_node, vhost), parties=(GUEST, HOST))

    def go_on():
        with pytest.raises(PeerRestarted):
            guest.session.federation().receive(HOST, "never", anything)
        return guest.session.meet()

    assert together(go_on, again.session.meet) == [[], []]
    exchange(guest, again)
    finish(guest, again)


@pytest.mark.parametrize("gone", [False, True], ids=["the peer waits", "the peer has left"])
def test_a_peer_that_is_killed_after_all_had_come_to_the_end(rabbitmq_node, vhost, gone):
    """What it has to know waits in its queue, also when nobody is there any more."""
    guest, host = players(config(rabbitmq_node, vhost), parties=(GUEST, HOST))
    meet(guest, host)
    assert together(guest.session.agree, host.session.agree) == [None, None]
    ended = host.session.id
    host.session._stopped = True  # it dies without a word
    host.session.transport.close(remove=False)
    (_, again) = players(config(rabbitmq_node, vhost), parties=(GUEST, HOST))

    def come_back():
        with pytest.raises(PeerFinished, match="guest-9999"):
            again.session.meet(ended=ended)
        again.session.leave(ended)

    if gone:
        guest.session.finish(wait=0.5)
        come_back()
    else:
        assert together(guest.session.finish, come_back) == [None, None]
    until(lambda: queues(rabbitmq_node, vhost) == [], 10)


def test_who_is_stopped_after_its_peers_have_left_makes_no_queue_for_them(rabbitmq_node, vhost):
    settings = config(rabbitmq_node, vhost)
    tell_peers(settings, JOB, HOST, ALL, "nonce", "stopped", last_words=True)
    assert queues(rabbitmq_node, vhost) == []
    heard: list[bytes] = []
    guest, _ = players(settings, parties=(GUEST, HOST))
    guest.session.transport.open(JOB, GUEST, [HOST], heard.append)
    tell_peers(settings, JOB, HOST, ALL, "nonce", "stopped", last_words=True)
    until(lambda: heard, 5)
    guest.session.transport.close(remove=True)


def test_what_a_killed_application_leaves_is_removed_from_outside_of_it(rabbitmq_node, vhost):
    settings = config(rabbitmq_node, vhost)
    guest, host, arbiter = players(settings)
    meet(guest, host, arbiter)
    every = queues(rabbitmq_node, vhost)
    with pytest.raises(TransportError, match="expires in a day: .* still takes from fate.job-1.guest-9999.host-10000"):
        remove_left(settings, JOB, HOST, ALL, 2, for_absent=True)
    assert queues(rabbitmq_node, vhost) == every

    host.session.transport.close(remove=False)  # as the kernel does for a process that is killed
    guest.session.federation().send(HOST, "x", 1)
    remove_left(settings, JOB, HOST, ALL, 5)
    assert queues(rabbitmq_node, vhost) == [one for one in every if not one.endswith(".host-10000")]

    arbiter.session.transport.close(remove=False)
    remove_left(settings, JOB, HOST, ALL, 5)
    assert "fate.job-1.host-10000.arbiter-10000" in queues(rabbitmq_node, vhost), "it may be tried again"
    remove_left(settings, JOB, HOST, ALL, 5, for_absent=True)
    assert "fate.job-1.host-10000.arbiter-10000" not in queues(rabbitmq_node, vhost)
    assert "fate.job-1.host-10000.guest-9999" in queues(rabbitmq_node, vhost), "the guest takes from it"

    guest.session.transport.close(remove=False)
    for party in (ARBITER, GUEST):
        remove_left(settings, JOB, party, ALL, 5, for_absent=True)
    assert queues(rabbitmq_node, vhost) == []


def test_at_a_peers_broker_an_account_for_sending_only_is_enough(rabbitmq_node, vhost):
    """It makes no queues there, and removes none; nobody is asked to give it more."""
    theirs = rabbitmq_node.new_vhost()
    rabbitmq_node.add_user(login := f"user-{secrets.token_hex(3)}", password := secrets.token_hex(8))
    rabbitmq_node.allow(login, theirs, configure="^$", write=r"amq\.default", read="^$")
    at_guest = config(
        rabbitmq_node, vhost, routes={"10000": route(rabbitmq_node, theirs, login=login, password=password)}
    )
    at_host = config(rabbitmq_node, theirs, routes={"9999": route(rabbitmq_node, vhost)})
    guest, host = players(at_guest, at_host, parties=(GUEST, HOST))
    meet(guest, host)
    for player in (guest, host):
        assert not any("permission" in line for line in player.lines), player.lines
        player.session.transport.close(remove=False)
    for settings, me in ((at_guest, GUEST), (at_host, HOST)):
        remove_left(settings, JOB, me, (GUEST, HOST), 5, for_absent=True)
    assert queues(rabbitmq_node, vhost) == queues(rabbitmq_node, theirs) == []


def test_nothing_can_be_removed_at_a_broker_that_is_away(rabbitmq_node, vhost):
    began = time.monotonic()
    with pytest.raises(TransportError, match="could not all be removed; it expires in a day: .*connection refused"):
        remove_left(config(rabbitmq_node, vhost, port=1), JOB, HOST, ALL, 1, for_absent=True)
    assert time.monotonic() - began < 3


def test_a_job_that_fails_at_one_party_leaves_no_queue_whoever_hears_of_it_first(rabbitmq_node, vhost):
    guest, host, arbiter = players(config(rabbitmq_node, vhost))
    meet(guest, host, arbiter)

    def hear(player: Player, peer) -> None:
        with pytest.raises(PeerFailed):
            player.session.federation().receive(peer, "never", anything)
        player.session.abort("another party failed")

    outcomes = together(
        lambda: hear(guest, ARBITER), lambda: hear(arbiter, GUEST), lambda: host.session.abort("no more disk")
    )
    assert outcomes == [None] * 3
    # the last to tell the others speaks to queues that have gone
    assert queues(rabbitmq_node, vhost) == []
    time.sleep(1)
    assert queues(rabbitmq_node, vhost) == []


def test_a_last_word_is_for_those_who_were_there_and_makes_no_queue(rabbitmq_node, vhost):
    guest, host, arbiter = players(config(rabbitmq_node, vhost))
    meet(guest, host, arbiter)
    ended = host.session.id
    # the guest is killed, and will come back; the arbiter has left for good
    guest.session._stopped = True
    guest.session.transport.close(remove=False)
    arbiter.session.transport.close(remove=True)
    host.session.transport.close(remove=False)
    (_, again, _) = players(config(rabbitmq_node, vhost))
    again.session.leave(ended)
    assert sorted(queues(rabbitmq_node, vhost)) == [queue_name(JOB, ARBITER, GUEST), queue_name(JOB, HOST, GUEST)]
    (back, _, _) = players(config(rabbitmq_node, vhost))
    with pytest.raises(PeerFinished, match="host-10000"):
        back.session.meet(ended=ended)
    back.session.abort("the test is over")


def test_queues_that_somebody_deletes_come_back(rabbitmq_node, vhost):
    guest, host = players(config(rabbitmq_node, vhost), parties=(GUEST, HOST))
    meet(guest, host)
    rabbitmq_node.api("DELETE", f"queues/{vhost}/{queue_name(JOB, GUEST, HOST)}")
    exchange(guest, host)
    finish(guest, host)
    until(lambda: queues(rabbitmq_node, vhost) == [], 10)


def test_a_connection_that_is_cut_is_made_again(rabbitmq_node, vhost):
    guest, host = players(config(rabbitmq_node, vhost), parties=(GUEST, HOST))
    meet(guest, host)
    until(lambda: len(connections(rabbitmq_node, vhost)) == 4, 15)

    def cut():
        for connection in connections(rabbitmq_node, vhost):
            rabbitmq_node.api("DELETE", f"connections/{quote(connection['name'], safe='')}")

    _, outcome = together(cut, lambda: exchange(guest, host, 60))
    assert outcome is None
    until(lambda: any("trying again" in line for line in guest.lines), 10)
    until(lambda: any("again" in line and line.startswith("connected to") for line in guest.lines), 10)
    finish(guest, host)


def test_what_is_sent_while_the_channel_closes_is_sent_again(rabbitmq_node, vhost):
    guest, host = players(config(rabbitmq_node, vhost), parties=(GUEST, HOST))
    meet(guest, host)
    federation = guest.session.federation()
    (publisher,) = guest.session.transport._publishers.values()

    def close_and_pump():
        publisher.channel.close()
        federation.send(HOST, "x", 5)
        publisher._pump()

    publisher.call(close_and_pump)
    assert host.session.federation().receive(GUEST, "x", anything) == 5
    assert any("again" in line and line.startswith("connected to") for line in guest.lines)
    finish(guest, host)


def test_a_task_that_is_stopped_tells_the_others(rabbitmq_node, vhost):
    settings = config(rabbitmq_node, vhost)
    everyone = players(settings)
    meet(*everyone)
    guest, host, arbiter = everyone
    began = time.monotonic()
    tell_peers(settings, JOB, HOST, ALL, "another-nonce", "an earlier try")
    tell_peers(settings, JOB, HOST, ALL, host.nonce, "the task was marked failed")
    assert time.monotonic() - began < 6
    for player in (guest, arbiter):
        with pytest.raises(PeerFailed, match="host-10000 ended: the task was marked failed"):
            player.session.federation().receive(HOST, "x", anything)
    for player in everyone:
        player.session.abort("over")


def test_telling_over_a_broker_that_is_away_or_mute_takes_no_longer(rabbitmq_node, vhost, mute):
    (closed,) = free_ports(1)
    for port, words in ((closed, "connection refused"), (mute, "no answer in time")):
        settings = config(
            rabbitmq_node, vhost, routes={"9999": route(rabbitmq_node, vhost, port=port)}, connection_timeout=60
        )
        began = time.monotonic()
        with pytest.raises(TransportError, match=f"{port}.*{words}") as error:
            tell_peers(settings, JOB, HOST, ALL, "nonce", "stopped")
        assert time.monotonic() - began < 3
        assert rabbitmq_node.password not in str(error.value)


@pytest.fixture
def mute():
    """A port where somebody listens and says nothing."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_more_than_three_parties_leave_no_queue(rabbitmq_node, vhost):
    parties = (*ALL, Party("host", "10001"), Party("host", "10002"))
    everybody = players(config(rabbitmq_node, vhost), parties=parties)
    meet(*everybody)
    finish(*everybody)
    until(lambda: queues(rabbitmq_node, vhost) == [], 10)


def test_aborting_leaves_no_queue_of_its_own(rabbitmq_node, vhost):
    guest, host = players(config(rabbitmq_node, vhost), parties=(GUEST, HOST))
    meet(guest, host)
    host.session.abort("stopped")
    with pytest.raises(PeerFailed):
        guest.session.federation().receive(HOST, "x", anything)
    guest.session.abort("because of the host")
    until(lambda: queue_name(JOB, HOST, GUEST) not in queues(rabbitmq_node, vhost), 10)


def test_a_request_that_the_broker_leaves_unanswered_is_made_again(rabbitmq_node, vhost, monkeypatch):
    """As a node did that had just started: the connection was open and the answer to a declaration never came."""
    declare, unanswered = rabbitmq.declare, []

    def sometimes(channel, queue, callback=None):
        if len(unanswered) < 2:  # once for who sends, once for who receives
            unanswered.append(queue)
            callback = None
        declare(channel, queue, callback)

    monkeypatch.setattr(rabbitmq, "declare", sometimes)
    monkeypatch.setattr(amqp, "_SET_UP", 1.0)
    guest, host = players(config(rabbitmq_node, vhost, connection_timeout=1), parties=(GUEST, HOST))
    meet(guest, host)
    guest.session.federation().send(HOST, "x", 7)
    assert host.session.federation().receive(GUEST, "x", anything) == 7
    finish(guest, host)
    assert len(unanswered) == 2
    until(lambda: not connections(rabbitmq_node, vhost), 20)  # none is left open at the broker
