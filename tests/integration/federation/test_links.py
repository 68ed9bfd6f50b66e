"""A broker for each party, linked by RabbitMQ federation: messages, set-up, take-down and what goes wrong."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

import numpy as np
import pika
import pytest

from airflow_provider_fate.errors import PeerFailed, PeerTimeout
from airflow_provider_fate.runtime.federation.abort import remove_left, tell_peers
from airflow_provider_fate.runtime.federation.amqp import Broker
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.queues import queue_name
from tests.integration.federation.linked import NOTHING, hooks, linked, links_of, rabbitmqctl, sides, tls_of
from tests.integration.federation.test_rabbitmq import connections, exchange, finish, key_pairs, meet
from tests.integration.hooks.conftest import connect
from tests.servers.rabbitmq import RabbitMQNode
from tests.unit.federation.playing import GUEST, HOST, JOB, Player, anything, together, until

__all__ = ["connect"]

TO_GUEST, TO_HOST = queue_name(JOB, HOST, GUEST), queue_name(JOB, GUEST, HOST)


@pytest.fixture(scope="module")
def nodes(rabbitmq_node, tmp_path_factory):
    """Two separate brokers, both with TLS."""
    with RabbitMQNode(tmp_path_factory.mktemp("linked"), "linked", tls=True) as other:
        yield rabbitmq_node, other


@pytest.fixture
def pair(nodes):
    return sides(nodes)


@pytest.mark.parametrize("may_declare", [False, True])
def test_who_may_make_the_queues_that_it_reads_leaves_none(pair, connect, may_declare):
    """The other set of rights in docs/connections.md, with which a waiting link is quiet, and the usual one."""
    for side, peer in zip(pair, ("10000", "9999"), strict=True):
        own = rf"^fate\..*-{peer}$"
        side.node.allow(side.peers_login, side.vhost, configure=own if may_declare else "^$", write="^$", read=own)
    both = hooks(pair, connect)
    early = links_of(both[0], GUEST)
    early.set_up()
    until(lambda: (pair[1].objects()["queues"] == [TO_GUEST]) == may_declare, 10)
    with linked(both) as (guest, host):
        meet(guest, host)
        exchange(guest, host)
        finish(guest, host)
    early.take_down(3)
    assert [side.objects() for side in pair] == [NOTHING] * 2
    with linked(both) as (guest, host):
        meet(guest, host)
        host.session.abort("the disk is full")
        with pytest.raises(PeerFailed, match="the disk is full"):
            guest.session.federation().receive(HOST, "y", anything)
        guest.session.abort("because of the host")
    assert [side.objects() for side in pair] == [NOTHING] * 2


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls and keys"])
def test_a_job_over_two_linked_brokers_leaves_nothing(pair, connect, secure):
    """With the rights of docs/connections.md: a peer's broker may read what is addressed to it, and no more."""
    guest_side, host_side = pair
    keys = key_pairs("9999", "10000") if secure else ({}, {})
    tls = [tls_of(side.node) for side in pair] if secure else (None, None)
    with linked(hooks(pair, connect, tls, keys)) as (guest, host):
        meet(guest, host)
        exchange(guest, host)
        both = {"queues": [TO_HOST, TO_GUEST]}
        assert guest_side.objects() == {**both, **dict.fromkeys(("policies", "upstreams"), ["fate-10000-to-9999"])}
        assert host_side.objects() == {**both, **dict.fromkeys(("policies", "upstreams"), ["fate-9999-to-10000"])}
        for side in pair:  # each application speaks to its own broker; what else is there is the other broker
            until(lambda side=side: {one["user"] for one in connections(side.node, side.vhost)} == side.logins, 15)
            links = [one for one in connections(side.node, side.vhost) if one["user"] == side.peers_login]
            assert [one["ssl"] for one in links] == [secure]
        finish(guest, host)
        for side in pair:  # the application itself has removed its queues
            assert side.objects()["queues"] == []
    for side in pair:
        assert side.objects() == NOTHING


def documented() -> list[list[str]]:
    """The commands by which docs/connections.md gives rights at the broker of party 9999 to that of party 10000."""
    page = (Path(__file__).parents[3] / "docs" / "connections.md").read_text(encoding="utf-8")
    return [shlex.split(line)[1:] for line in re.findall(r"^rabbitmqctl .*$", page, re.MULTILINE)]


def test_the_rights_of_the_documentation_are_enough_and_no_more(pair, connect):
    assert [command[0] for command in documented()] == ["set_user_tags", "set_permissions"]
    for side, peer in zip(pair, ("10000", "9999"), strict=True):
        side.node.add_user(side.login, side.password)
        side.node.allow(side.peers_login, side.vhost, configure="^$", write="^$", read="^$")
        own = {"fate": side.login, "party-10000": side.peers_login, "-p": "-p"}
        for command in documented():
            words = [own.get(word, word.replace("10000", peer)) for word in command]
            if "-p" in words:
                words[words.index("-p") + 1] = side.vhost
            rabbitmqctl(side.node, *words)
    with linked(hooks(pair, connect)) as (guest, host):
        meet(guest, host)
        exchange(guest, host)
        side = pair[0]
        stranger = Broker(side.node.host, side.node.port, side.vhost, side.peers_login, side.peers_password)
        forbidden = (
            lambda channel: channel.basic_get(TO_GUEST),
            lambda channel: channel.queue_purge(TO_GUEST),
            lambda channel: channel.queue_delete(TO_HOST),
            lambda channel: channel.queue_declare("fate.new.guest-9999.host-10000"),
            lambda channel: channel.basic_publish("", TO_GUEST, b"x"),
        )
        for attempt in forbidden:
            with pika.BlockingConnection(stranger.parameters("stranger", 5)) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
                    attempt(channel)
        finish(guest, host)
    assert [side.objects() for side in pair] == [NOTHING] * 2


def test_a_party_that_comes_later_finds_what_waits(pair, connect):
    guest_hook, host_hook = hooks(pair, connect)
    links = links_of(guest_hook, GUEST)
    links.set_up()
    time.sleep(1.5)  # the link has found no queue at the host's broker
    with linked((guest_hook, host_hook)) as (guest, host):
        outcomes = together(guest.session.meet, lambda: (time.sleep(2), host.session.meet())[1])
        assert outcomes == [[], []]
        exchange(guest, host)
        finish(guest, host)
    links.take_down(6)
    assert [side.objects() for side in pair] == [NOTHING] * 2


def test_an_abort_reaches_the_peer_and_leaves_nothing(pair, connect):
    with linked(hooks(pair, connect)) as (guest, host):
        meet(guest, host)
        guest.session.federation().send(HOST, "x", np.arange(1000.0))
        host.session.abort("the disk is full")
        with pytest.raises(PeerFailed, match="host-10000 ended: the disk is full"):
            guest.session.federation().receive(HOST, "y", anything)
        guest.session.abort("because of the host")
        assert pair[0].objects()["queues"] == []
    assert [side.objects() for side in pair] == [NOTHING] * 2


def test_a_task_that_is_stopped_tells_the_peer(pair, connect):
    both = hooks(pair, connect)
    with linked(both) as (guest, host):
        meet(guest, host)
        began = time.monotonic()
        tell_peers(both[1].transport_config(), JOB, HOST, (GUEST, HOST), host.nonce, "the task was marked failed")
        with pytest.raises(PeerFailed, match="host-10000 ended: the task was marked failed"):
            guest.session.federation().receive(HOST, "x", anything)
        assert time.monotonic() - began < 5
        together(lambda: guest.session.abort("over"), lambda: host.session.abort("it was stopped"))
    assert [side.objects() for side in pair] == [NOTHING] * 2


@pytest.mark.parametrize("for_absent", [False, True])
def test_a_task_that_is_killed_while_it_waits_for_one_who_is_gone(pair, connect, for_absent):
    """What it has said to that one is removed where nobody needs it."""
    hook = hooks(pair, connect)[1]
    links, settings = links_of(hook, HOST), hook.transport_config()
    links.set_up()
    host = Player(None, HOST, (GUEST, HOST), transport=transport_from_config(settings), wait=1)
    with pytest.raises(PeerTimeout):
        host.session.meet()
    host.session.transport.close(remove=False)
    remove_left(settings, JOB, HOST, (GUEST, HOST), 5, for_absent=for_absent)
    assert pair[1].objects()["queues"] == ([] if for_absent else [TO_GUEST])
    links.take_down(1)
    assert pair[1].objects() == {**NOTHING, "queues": [] if for_absent else [TO_GUEST]}


def test_a_task_that_may_not_begin_leaves_nothing_of_its_refusal(pair, connect):
    """The peer, which waits for it, hears it."""
    both = hooks(pair, connect)
    waiting, refusing = (links_of(hook, party) for hook, party in zip(both, (GUEST, HOST), strict=True))
    waiting.set_up()
    guest = Player(None, GUEST, (GUEST, HOST), transport=transport_from_config(both[0].transport_config()), wait=60)

    def refuse():
        time.sleep(1)
        tell_peers(both[1].transport_config(), JOB, HOST, (GUEST, HOST), "a-nonce", "its policy refuses the job")
        refusing.take_down(20)
        return pair[1].objects()

    def wait():
        with pytest.raises(PeerFailed, match="its policy refuses the job"):
            guest.session.meet()
        guest.session.abort("because of the host")
        waiting.take_down(6)

    assert together(refuse, wait) == [NOTHING, None]
    assert pair[0].objects() == NOTHING


def test_links_stay_for_another_job_and_while_the_application_runs(pair, connect):
    both = hooks(pair, connect)
    other = [links_of(hook, party, "job-2") for hook, party in zip(both, (GUEST, HOST), strict=True)]
    for one in other:
        one.set_up()
    with linked(both) as (guest, host):
        meet(guest, host)
        for one in other:
            one.take_down(3)
        assert pair[0].objects()["policies"] == ["fate-10000-to-9999"]
        surviving = links_of(both[0], GUEST)  # of a task that ends while its application goes on
        surviving.set_up()
        surviving.take_down(0.5)
        assert pair[0].objects()["queues"] == [TO_HOST, TO_GUEST]
        exchange(guest, host)
        finish(guest, host)
    assert [side.objects() for side in pair] == [NOTHING] * 2


def test_a_job_that_begins_while_another_ends_keeps_its_links(pair, connect, monkeypatch):
    """Its queue comes after the one that ends has looked for queues, and before that takes the links away."""
    hook, _ = hooks(pair, connect)
    ending, beginning = links_of(hook, GUEST), links_of(hook, GUEST, "job-2")
    ending.set_up()
    ending._over.set()
    delete, between = ending._links._delete, []

    def late(own, peer):
        beginning.set_up()  # looks as well, and finds the links still there
        between.append(pair[0].objects()["policies"])
        delete(own, peer)

    monkeypatch.setattr(ending._links, "_delete", late)
    ending.take_down(1)
    assert between == [["fate-10000-to-9999"]]
    assert pair[0].objects()["policies"] == pair[0].objects()["upstreams"] == ["fate-10000-to-9999"]
    beginning.take_down(1)
    assert pair[0].objects() == NOTHING


def test_many_jobs_that_begin_and_end_at_once(pair, connect):
    """A job that has been set up has its links, again at once where another that ends has just taken them away."""
    hook, _ = hooks(pair, connect)
    name = "fate-10000-to-9999"

    def live(number: int) -> None:
        for turn in range(6):
            links = links_of(hook, GUEST, f"job-{number}-{turn}")
            links.set_up()
            time.sleep(0.02 * ((number + turn) % 4))
            until(lambda: pair[0].objects()["policies"] == pair[0].objects()["upstreams"] == [name])
            links.take_down(0)

    outcomes = together(*(lambda number=number: live(number) for number in range(6)), timeout=90)
    assert outcomes == [None] * 6
    assert pair[0].objects() == NOTHING
