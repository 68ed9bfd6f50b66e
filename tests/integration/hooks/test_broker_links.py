"""What hinders a link between brokers is named, in the Test and in a job's errors, and no secret is shown."""

from __future__ import annotations

import re
import time

import pytest

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.hooks import job_links
from airflow_provider_fate.hooks.rabbitmq import FateRabbitMQHook
from tests.integration.federation.linked import NOTHING, Side, hooks, links_of, sides, tls_of
from tests.servers.certificates import Authority
from tests.servers.process import free_ports
from tests.servers.rabbitmq import RabbitMQNode
from tests.unit.federation.playing import GUEST, HOST, until


@pytest.fixture(scope="module")
def nodes(rabbitmq_node, tmp_path_factory):
    """Two separate brokers, both with TLS."""
    with RabbitMQNode(tmp_path_factory.mktemp("linked"), "linked", tls=True) as other:
        yield rabbitmq_node, other


@pytest.fixture(scope="module")
def odd_node(tmp_path_factory):
    """A broker without the plugin, and with a certificate for another name."""
    node = RabbitMQNode(tmp_path_factory.mktemp("odd"), "odd", tls=True)
    (node.directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    node.authority.issue("server", "broker.example", "192.0.2.7")
    with node:
        yield node


@pytest.fixture
def pair(nodes):
    return sides(nodes)


def refused(hook: FateRabbitMQHook, side: Side, peer: Side, *expected: str) -> str:
    ok, message = hook.test_connection()
    assert not ok, message
    for part in expected:
        assert re.search(part, message), f"{part!r} is not in {message!r}"
    for secret in (side.password, peer.password, peer.peers_password, "wr0ng"):
        assert secret not in message
    assert side.objects() == NOTHING
    return message


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_the_test_makes_a_link_and_removes_it(pair, connect, secure):
    tls = [tls_of(side.node) for side in pair] if secure else (None, None)
    for side, hook in zip(pair, hooks(pair, connect, tls), strict=True):
        ok, message = hook.test_connection()
        assert ok, message
        assert re.search(r"our broker reaches party \d+'s at", message)
        assert side.objects() == NOTHING
        assert side.peers_password not in str(hook.describe()) and "federated" in str(hook.transport_config())


def test_what_hinders_a_link_is_named(pair, connect, tmp_path):
    guest, host = pair
    start = "the own broker works, but not its link to party 10000's RabbitMQ at .*: "

    def hook(tls=None, **changes):
        return guest.hook(connect, {"10000": {**host.upstream(tls), **changes}})

    refused(hook(password="wr0ng"), guest, host, start + "the login is refused there")
    refused(hook(vhost="nowhere"), guest, host, start + "the vhost does not exist there, or the account may not")
    (closed,) = free_ports(1)
    refused(hook(port=closed), guest, host, f"{closed}.*econnrefused")
    unknown = "our broker does not know the host name"
    refused(hook(host="no-such-host.invalid"), guest, host, start + unknown)
    two = f"no-such-host.invalid:.*{unknown}; RabbitMQ at nor-this.invalid:.*{unknown}"
    refused(hook(host="no-such-host.invalid, nor-this.invalid"), guest, host, two)
    ok, message = hook(host=f"no-such-host.invalid, {host.node.host}").test_connection()
    assert ok, message  # whatever the order in which the broker would try them
    place, port = host.node.host, host.upstream()["port"]
    assert f"reaches party 10000's at {place}:{port}, but not at no-such-host.invalid:{port}: {unknown}" in message
    assert guest.objects() == NOTHING
    refused(hook(port=host.node.tls_port), guest, host, start + "it does not speak AMQP there")
    tls = tls_of(host.node)
    stranger = Authority(tmp_path, "another authority")
    untrusted = {**tls, "ca_file": str(stranger.certificate)}
    refused(hook(untrusted), guest, host, start + "its certificate is not trusted by the upstream's ca_file")
    missing = {**tls, "ca_file": "/no/such.pem"}
    refused(hook(missing), guest, host, start + "our broker cannot read ca_file", re.escape("/no/such.pem"))
    key = stranger.issue("client")
    wrong = {**tls, "client_cert": str(key.certificate), "client_key": str(key.key)}
    refused(hook(wrong), guest, host, start)


def test_a_certificate_for_another_name_is_refused(pair, odd_node, connect):
    guest, host = pair
    other = Side(odd_node, HOST, "9999")
    for name in ("localhost", host.node.host):
        hook = guest.hook(connect, {"10000": host.upstream({**tls_of(host.node), "host": name})})
        assert hook.test_connection()[0]
        hook = guest.hook(connect, {"10000": other.upstream({**tls_of(odd_node), "host": name})})
        refused(hook, guest, other, "its certificate is for another host name")


def test_the_account_lacks_a_tag(pair, connect):
    guest, _ = pair
    hook, _ = hooks(pair, connect)
    node = guest.node
    node.add_user(guest.login, guest.password, "management")
    refusal = "does not let 'own-.*' link brokers.*set_user_tags own-.* policymaker"
    with pytest.raises(TransportError, match=refusal) as caught:
        links_of(hook, GUEST).set_up()
    assert guest.password not in str(caught.value)
    node.add_user(guest.login, guest.password, "policymaker")
    ok, message = hook.test_connection()
    assert ok and "cannot be read: give 'own-" in message, message


def test_the_plugin_is_not_enabled(nodes, odd_node, connect):
    side, peer = Side(odd_node, GUEST, "10000"), Side(nodes[0], HOST, "9999")
    hook = side.hook(connect, {"10000": peer.upstream()})
    refused(hook, side, peer, "the plugin rabbitmq_federation is not enabled at .*: rabbitmq-plugins enable")
    links = links_of(hook, GUEST)
    with pytest.raises(TransportError, match="the plugin rabbitmq_federation is not enabled"):
        links.set_up()
    links.take_down(1)
    assert side.objects() == NOTHING


def test_the_management_cannot_be_reached(pair, connect):
    (closed,) = free_ports(1)
    hook = pair[0].hook(connect, {"10000": pair[1].upstream()}, management_port=closed)
    links = links_of(hook, GUEST)
    with pytest.raises(TransportError, match=f"the management API at http://127.0.0.1:{closed}: connection refused"):
        links.set_up()
    links.take_down(1)  # says so in the log, and no more
    assert pair[0].objects() == NOTHING  # the queues, which need no management API


def test_a_changed_password_is_put_at_once_and_stays(pair, connect, monkeypatch):
    monkeypatch.setattr(job_links, "_LOOK", 0.2)
    guest, host = pair
    first = links_of(guest.hook(connect, {"10000": host.upstream()}), GUEST)
    first.set_up()
    assert "the link of our broker to party 10000's is up" in first.explain()
    host.node.add_user(host.peers_login, "an0ther")
    host.peers_password = "an0ther"
    second = links_of(guest.hook(connect, {"10000": host.upstream()}), GUEST, "job-2")
    second.set_up()
    assert "the link of our broker to party 10000's is up" in second.explain()
    time.sleep(1)  # the earlier job has looked again, and knows the old one
    (upstream,) = guest.node.api("GET", f"parameters/federation-upstream/{guest.vhost}")
    assert ":an0ther@" in upstream["value"]["uri"]
    for one in (first, second):
        one.take_down(1)
    assert guest.objects() == NOTHING


def test_what_is_as_it_should_be_is_left_alone(pair, connect, monkeypatch):
    """A PUT would have the broker look at all its queues and make the link anew."""
    guest_hook, _ = hooks(pair, connect)
    one, other = links_of(guest_hook, GUEST), links_of(guest_hook, GUEST, "job-2")
    one.set_up()
    asked, request = [], other._links._request

    def watched(method, *path, **more):
        asked.append(method)
        return request(method, *path, **more)

    monkeypatch.setattr(other._links, "_request", watched)
    other.set_up()
    assert asked == ["GET", "GET"]
    for links in (one, other):
        links.take_down(1)
    assert pair[0].objects() == NOTHING


def test_links_that_somebody_takes_away_come_back(pair, connect, monkeypatch):
    monkeypatch.setattr(job_links, "_LOOK", 0.2)
    guest = pair[0]
    links = links_of(hooks(pair, connect)[0], GUEST)
    links.set_up()
    guest.node.api("DELETE", f"policies/{guest.vhost}/fate-10000-to-9999")
    until(lambda: guest.objects()["policies"] == ["fate-10000-to-9999"], 10)
    links.take_down(1)
    assert guest.objects() == NOTHING


def test_a_silent_peer_is_explained_by_the_link(pair, connect):
    guest, host = pair
    (closed,) = free_ports(1)
    away = links_of(guest.hook(connect, {"10000": {**host.upstream(), "port": closed}}), GUEST)
    away.set_up()
    assert "the link of our broker to party 10000's is not up: econnrefused" in away.explain()
    away.take_down(1)
    absent = links_of(guest.hook(connect, {"10000": host.upstream()}), GUEST)
    absent.set_up()
    assert "up, but party 10000's broker has no queue of this job yet; has its task begun?" in absent.explain()
    absent.take_down(1)
    assert guest.objects() == NOTHING
    # what the account may not read has its own words
    waiting = links_of(host.hook(connect, {"9999": guest.upstream()}), HOST)
    waiting.set_up()
    host.node.allow(host.peers_login, host.vhost, configure="^$", write="^$", read="^$")
    absent = links_of(guest.hook(connect, {"10000": host.upstream()}), GUEST)
    absent.set_up()
    assert "is not up: the account there may not read the queue" in absent.explain()
    for one in (absent, waiting):
        one.take_down(1)
