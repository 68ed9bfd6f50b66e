"""The RabbitMQ hook on real brokers."""

from __future__ import annotations

import json
import re
import socket

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.hooks.peers import tell_peers
from airflow_provider_fate.hooks.transport import transport_hook
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.config import transport_from_config
from tests.integration.hooks.tls_front import tls_front
from tests.servers.certificates import Authority

#: seconds for a server to answer a protocol that is not its own; on a busy machine that may take longer than ours wait
PATIENT = 60


@pytest.fixture
def make_hook(rabbitmq_node, connect):
    """``make_hook(login=..., port=..., **extra)``: a hook on the running broker, in a vhost of its own."""
    vhost = rabbitmq_node.new_vhost()

    def make(login=None, password=None, port=None, schema=vhost, host="127.0.0.1", **extra):
        node = rabbitmq_node
        fields = {"host": host, "port": port or node.port, "schema": schema, "login": login or node.login}
        fields["password"] = node.password if password is None else password
        extra = {"management_port": node.management_port, "connection_timeout": 5, **extra}
        hook = transport_hook(connect("fate_rabbitmq", extra=extra, **fields))
        hook.vhost = vhost
        return hook

    return make


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def refused(hook, *expected: str, secret: str = "") -> None:
    """The test fails, says each of ``expected``, and no secret."""
    ok, message = hook.test_connection()
    assert not ok, message
    for part in expected:
        assert re.search(part, message), f"{part!r} is not in {message!r}"
    assert not secret or secret not in message


def test_a_good_connection_passes_and_leaves_nothing(rabbitmq_node, make_hook):
    hook = make_hook()
    ok, message = hook.test_connection()
    assert ok, message
    assert "1048576 bytes" in message and hook.vhost in message and "configure '.*'" in message
    assert rabbitmq_node.password not in message and rabbitmq_node.queues(hook.vhost) == {}


def test_a_wrong_password_is_named_and_not_shown(rabbitmq_node, make_hook):
    refused(
        make_hook(password="gloomy-otter-42"),
        "user 'fate': the login is refused; check login and pass",
        secret="gloomy",
    )


def test_a_missing_vhost_is_named(make_hook):
    refused(make_hook(schema="nowhere"), "vhost 'nowhere'", "the vhost does not exist")


def test_a_vhost_that_is_closed_to_the_login_is_named(rabbitmq_node, make_hook):
    rabbitmq_node.add_user("outsider", "pw-outsider")
    refused(make_hook("outsider", "pw-outsider"), "may not use it", "outsider", secret="pw-outsider")


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        ({"configure": "^$"}, "cannot make a queue.*configure right"),
        ({"write": "^$"}, "cannot publish a message.*write right.*amq.default"),
        ({"read": "^$"}, "cannot read a message.*read right"),
    ],
)
def test_each_missing_permission_is_named(rabbitmq_node, make_hook, rights, expected):
    login = f"limited-{next(iter(rights))}"
    rabbitmq_node.add_user(login, "pw-limited", "management")
    hook = make_hook(login, "pw-limited")
    rabbitmq_node.allow(login, hook.vhost, **rights)
    refused(hook, expected, login, secret="pw-limited")


def test_the_management_api_is_a_step_of_its_own(rabbitmq_node, make_hook):
    rabbitmq_node.add_user("plain", "pw-plain")
    hook = make_hook("plain", "pw-plain")
    rabbitmq_node.allow("plain", hook.vhost)
    refused(hook, "messages work, but the management API.*refuses 'plain'", "tag management", secret="pw-plain")
    without = make_hook("plain", "pw-plain", management_port=0).test_connection()
    assert without[0] and "management API not used" in without[1]
    rabbitmq_node.add_user("plain", "pw-plain", "management")
    ok, message = hook.test_connection()
    assert ok and "'plain'" in message, message
    refused(make_hook(management_port=closed_port()), "messages work, but not the management API", "refused")
    refused(make_hook(management_port=rabbitmq_node.port), "messages work, but not the management API")


def test_a_dead_broker_and_other_ports_are_named(rabbitmq_node, make_hook):
    port = closed_port()
    refused(make_hook(port=port), f"127.0.0.1:{port}", "connection refused")
    wrong = make_hook(port=rabbitmq_node.management_port, connection_timeout=PATIENT)
    refused(wrong, "does not speak AMQP|connection was lost")
    refused(make_hook(host="no-such-host.invalid"), "no-such-host.invalid", "host name is not known")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused(make_hook(port=silent.getsockname()[1], connection_timeout=1), "no answer in time")


def test_one_of_several_hosts_is_enough(make_hook):
    ok, message = make_hook(host="no-such-host.invalid, 127.0.0.1").test_connection()
    assert ok and "not usable" in message and "no-such-host.invalid" in message


def test_tls_is_verified(rabbitmq_node, make_hook, tmp_path):
    node, port = rabbitmq_node, rabbitmq_node.tls_port
    tls = {"use_ssl": True, "management_scheme": "http"}
    ca, client = str(node.authority.certificate), node.client_certificate
    own = {"client_cert": str(client.certificate), "client_key": str(client.key)}
    ok, message = make_hook(port=port, **tls, ca_file=ca, **own).test_connection()
    assert ok, message
    assert make_hook(port=port, **tls, ca_file=ca).test_connection()[0]
    assert make_hook(port=port, **tls, verify=False).test_connection()[0]
    with tls_front(node.management_port, node.authority, node.authority.issue("front", "127.0.0.1")) as https:
        secure = {"use_ssl": True, "ca_file": ca, "management_port": https}
        ok, message = make_hook(port=port, **secure).test_connection()
        assert ok and "configure '.*'" in message, message
    other = Authority(tmp_path, "another authority")
    refused(make_hook(port=port, **tls, ca_file=str(other.certificate)), "certificate is not trusted", "ca_file")
    refused(make_hook(port=port, **tls), "certificate is not trusted")
    stranger = other.issue("client")
    wrong = {"client_cert": str(stranger.certificate), "client_key": str(stranger.key)}
    refused(make_hook(port=port, **tls, ca_file=ca, **wrong), f"127.0.0.1:{port}")
    refused(make_hook(port=node.port, **tls, ca_file=ca, connection_timeout=PATIENT), "TLS fails|connection was lost")
    refused(make_hook(port=port, connection_timeout=PATIENT), "does not speak AMQP|connection was lost")
    refused(make_hook(port=port, **tls, ca_file="/no/such.pem"), "/no/such.pem")
    refused(make_hook(port=port, **tls, ca_file=str(client.key)), re.escape(str(client.key)))


def test_routes_to_the_peers_brokers(two_rabbitmq_nodes, connect, make_hook):
    _, peer = two_rabbitmq_nodes
    fields = {"host": "127.0.0.1", "port": peer.port, "login": peer.login, "password": peer.password}
    there = connect("fate_rabbitmq", **fields)
    hook = make_hook(routes={"10000": there, "10001": {**fields, "vhost": "/"}})
    ok, message = hook.test_connection()
    assert ok and f"party 10000 is reached at 127.0.0.1:{peer.port}" in message and "party 10001" in message
    config = hook.transport_config()
    assert config["kind"] == "rabbitmq" and config["vhost"] == hook.vhost and config["max_message_size"] == 1 << 20
    expected = {"host": "127.0.0.1", "port": peer.port, "vhost": "/", "login": peer.login, "ssl": None}
    assert transport_from_config(config).max_body == 1 << 20
    assert config["routes"]["10000"] == config["routes"]["10001"] == {**expected, "password": peer.password}
    assert peer.password not in json.dumps(hook.describe()) and config["password"] not in json.dumps(hook.describe())
    assert peer.password not in repr(hook.routes)
    bad = make_hook(routes=json.dumps({"10000": {**fields, "password": "pw-gloomy"}}))
    refused(bad, "the own broker works, but not the route to party 10000", "the login is refused", secret="pw-gloomy")


def test_peers_are_told(rabbitmq_node, make_hook):
    hook, me, peer = make_hook(), Party("guest", "9999"), Party("host", "10000")
    tell_peers(hook.transport_config(), "job-1", me, [me, peer], "n1", "stopped by a person")
    (queue,) = rabbitmq_node.queues(hook.vhost)
    connection = rabbitmq_node.connection(hook.vhost)
    _, _, body = connection.channel().basic_get(queue)
    connection.close()
    assert str(peer) in queue and b"stopped by a person" in body


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"routes": "10000=b"}, "routes: it is not JSON"),
        ({"routes": {"10000": 5}}, "routes.10000: the id of a fate_rabbitmq connection is expected"),
        ({"routes": {"a-b": "x"}}, "routes.a-b: .*not a party id"),
        ({"routes": {"10000": "missing_broker"}}, "missing_broker.*no such connection"),
        ({"routes": {"10000": {"hosts": "x"}}}, "routes.10000.hosts"),
        ({"routes": {"10000": {"host": "x", "port": 99999}}}, "routes.10000.port"),
        ({"max_message_size": 100}, "max_message_size.*out of range"),
        ({"ca_file": "/x.pem"}, "ca_file: it is set, but use_ssl is off"),
        ({"use_ssl": "maybe"}, "use_ssl: true or false"),
        ({"vhost": "x"}, "vhost: this field is not known"),
    ],
)
def test_a_wrong_field_is_named(make_hook, extra, expected):
    refused(make_hook(**extra), expected)


def test_a_message_larger_than_the_broker_allows_is_refused_in_the_test(rabbitmq_node, connect, make_hook):
    hook = make_hook(max_message_size=1 << 25)
    ok, message = hook.test_connection()
    assert ok and str(1 << 25) in message  # this broker takes up to 128 MiB


def test_a_directory_carries_messages_too(connect, tmp_path):
    hook = transport_hook(connect("fs", extra={"path": str(tmp_path / "messages")}))
    assert hook.transport_config() == {"kind": "directory", "path": str(tmp_path / "messages")}
    assert hook.test_connection()[0] and list((tmp_path / "messages").iterdir()) == []
    (tmp_path / "file").write_text("")
    assert not transport_hook(connect("fs", extra={"path": str(tmp_path / "file")})).test_connection()[0]
    with pytest.raises(ConfigError, match="'http'.*fate_rabbitmq or fs"):
        transport_hook(connect("http", host="x"))
