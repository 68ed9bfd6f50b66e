"""Upstreams on a connection for messages: what the own broker is told, and what is refused."""

from __future__ import annotations

import json
import re

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.hooks.broker_links import _pattern, upstream_uri
from airflow_provider_fate.hooks.rabbitmq import FateRabbitMQHook
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, Tls
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.queues import queue_name
from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport

PEER = {"host": "rabbit.peer.example", "login": "party-9999", "password": "gl00my"}


def hook(connect, **extra) -> FateRabbitMQHook:
    return FateRabbitMQHook(connect("fate_rabbitmq", host="127.0.0.1", login="fate", extra=extra))


def test_where_a_broker_finds_another():
    plain = Broker("rabbit.peer.example", 5672, "/", "party-9999", "p%:/@?&x")
    assert upstream_uri(plain, 5) == (
        "amqp://party-9999:p%25%3A%2F%40%3F%26x@rabbit.peer.example:5672/%2F?heartbeat=20&connection_timeout=5000"
    )
    files = {"ca_file": "/etc/ca & co.pem", "client_cert": "/etc/fate/own.pem"}
    cluster = Broker("rabbit-1, ::1,192.0.2.7", 5671, "fate", "a", "b", Tls(**files))
    first, second, third = upstream_uri(cluster, 10)
    assert first.startswith("amqps://a:b@rabbit-1:5671/fate?heartbeat=20&connection_timeout=10000&")
    assert first.endswith(
        "&cacertfile=/etc/ca%20%26%20co.pem&certfile=/etc/fate/own.pem&keyfile=/etc/fate/own.pem"
        "&verify=verify_peer&server_name_indication=rabbit-1"
    )
    assert "@[::1]:5671/" in second and second.endswith("verify=verify_peer")
    assert "@192.0.2.7:5671/" in third and third.endswith("verify=verify_peer")
    assert "verify=verify_none" in upstream_uri(Broker("x", tls=Tls(verify=False)), 10)


@pytest.mark.parametrize(
    ("sender", "receiver", "job", "matches"),
    [
        ("host-10000", "guest-9999", "a.b~c#1@x+y-2", True),
        ("arbiter-10000", "host-9999", "j", True),
        ("guest-9999", "host-10000", "j", False),
        ("host-10000", "guest-99990", "j", False),
        ("host-110000", "guest-9999", "j", False),
        ("host-10000", "guest-1", "x.host-10000.guest-9999", False),
    ],
)
def test_the_policy_is_for_one_direction_between_two_parties(sender, receiver, job, matches):
    name = queue_name(job, Party.parse(sender), Party.parse(receiver))
    assert bool(re.search(_pattern("9999", "10000"), name)) == matches


def test_the_application_learns_who_is_linked_and_no_password_of_theirs(connect):
    other = connect("fate_rabbitmq", **PEER)
    given = hook(connect, upstreams={"10000": other, "10001": PEER}, routes={"10002": {"host": "y"}})
    config = given.transport_config()
    assert config["federated"] == ["10000", "10001"] and "gl00my" not in json.dumps(config)
    assert "gl00my" not in json.dumps(given.describe()) and "rabbit.peer.example" in json.dumps(given.describe())
    transport = transport_from_config(config)
    assert isinstance(transport, RabbitMQTransport)
    assert transport.route(Party("host", "10000")) == transport.broker == given.broker
    assert "10000 by federation" in transport.description


def test_without_upstreams_there_are_no_links(connect):
    me, peer = Party("guest", "9999"), Party("host", "10000")
    assert hook(connect).links is None and hook(connect).job_links("j", me, [me, peer]) is None
    other = hook(connect, upstreams={"10001": PEER})
    assert other.job_links("j", me, [me, peer]) is None
    assert other.job_links("j", me, [me, peer, Party("arbiter", "10001")]).peers == ["10001"]


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({"upstreams": "10000=b"}, r"extra\.upstreams: it is not JSON"),
        ({"upstreams": {"10000": 5}}, r"upstreams\.10000: the id of a fate_rabbitmq connection is expected"),
        ({"upstreams": {"a-b": "x"}}, r"upstreams\.a-b: .*not a party id"),
        ({"upstreams": {"10000": "missing_broker"}}, "no such connection.*for the upstream of party 10000"),
        ({"upstreams": {"10000": PEER}, "routes": {"10000": PEER}}, r"upstreams\.10000: the party is in routes"),
        ({"upstreams": {"10000": {**PEER, "use_ssl": True}}}, r"upstreams\.10000: ca_file is empty"),
        ({"upstreams": {"10000": PEER}, "management_port": 0}, r"extra\.management_port: it is 0, and upstreams"),
    ],
)
def test_what_is_wrong_is_named(connect, extra, path):
    with pytest.raises(ConfigError, match=path) as caught:
        hook(connect, **extra).transport_config()
    assert "gl00my" not in str(caught.value)


def test_a_job_file_that_contradicts_itself_is_refused():
    config = {"kind": "rabbitmq", "host": "x", "federated": ["1"], "routes": {"1": {"host": "y"}}}
    with pytest.raises(ConfigError, match="transport.federated: party 1 is in routes as well"):
        transport_from_config(config)
    with pytest.raises(ConfigError, match="transport.federated: expected a list"):
        transport_from_config({**config, "federated": "1"})
