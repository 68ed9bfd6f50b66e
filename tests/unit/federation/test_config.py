"""Transports from JSON: what is read, and what is refused with its path."""

from __future__ import annotations

import pytest

from airflow_provider_fate.errors import ConfigError, TransportError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.abort import tell_peers
from airflow_provider_fate.runtime.federation.amqp import Tls
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport

RABBIT = {"kind": "rabbitmq", "host": "broker", "login": "fate", "password": "s3cret"}


def test_a_directory():
    transport = transport_from_config({"kind": "directory", "path": "/tmp/x", "max_message_size": 5000})
    assert isinstance(transport, DirectoryTransport)
    assert str(transport.path) == "/tmp/x" and transport.max_body == 5000


def test_a_broker_with_routes():
    transport = transport_from_config(
        {
            **RABBIT,
            "vhost": "fl",
            "ssl": {"ca_file": "/ca.pem", "verify": True},
            "routes": {"10000": {"host": "a, b", "port": 1, "login": "u", "password": "p", "vhost": "v", "ssl": None}},
            "max_message_size": 1 << 20,
            "connection_timeout": 3,
        }
    )
    assert isinstance(transport, RabbitMQTransport)
    assert transport.broker.port == 5671 and transport.broker.tls == Tls(ca_file="/ca.pem")
    route = transport.route(Party("host", "10000"))
    assert [str(node) for node in route.each] == ["RabbitMQ at a:1, vhost 'v'", "RabbitMQ at b:1, vhost 'v'"]
    assert transport.route(Party("arbiter", "1")) is transport.broker
    assert "s3cret" not in f"{transport.description} {transport.broker} {transport.broker!r}"


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        ([], "transport", "object"),
        ({}, "transport.kind", "expected one of directory, rabbitmq"),
        ({"kind": "kafka"}, "transport.kind", "'kafka'"),
        ({"kind": "directory"}, "transport.path", "absolute"),
        ({"kind": "directory", "path": "x"}, "transport.path", "absolute"),
        ({"kind": "directory", "path": "/x", "pth": 1}, "transport.pth", "'path'"),
        ({"kind": "rabbitmq"}, "transport.host", "host name"),
        ({**RABBIT, "host": "a,,b"}, "transport.host", "host name"),
        ({**RABBIT, "port": "5672"}, "transport.port", "whole number"),
        ({**RABBIT, "port": 0}, "transport.port", "from 1 to 65535"),
        ({**RABBIT, "passwort": "x"}, "transport.passwort", "'password'"),
        ({**RABBIT, "password": ["s3cret"]}, "transport.password", "expected text, got list"),
        ({**RABBIT, "ssl": True}, "transport.ssl", "object"),
        ({**RABBIT, "ssl": {"ca": "x"}}, "transport.ssl.ca", "not known"),
        ({**RABBIT, "ssl": {"verify": "no"}}, "transport.ssl.verify", "true or false"),
        ({**RABBIT, "routes": ["x"]}, "transport.routes", "object"),
        ({**RABBIT, "routes": {"1": "x"}}, "transport.routes.1", "object"),
        ({**RABBIT, "routes": {"1": {}}}, "transport.routes.1.host", "host name"),
        ({**RABBIT, "routes": {"1": {"host": "x", "routes": {}}}}, "transport.routes.1.routes", "not known"),
        ({**RABBIT, "max_message_size": 100}, "transport.max_message_size", "from 4096"),
        ({**RABBIT, "max_message_size": True}, "transport.max_message_size", "whole number"),
        ({**RABBIT, "connection_timeout": "soon"}, "transport.connection_timeout", "number"),
    ],
)
def test_what_is_wrong_is_named(config, path, words):
    with pytest.raises(ConfigError, match=words) as error:
        transport_from_config(config)
    assert error.value.path == path
    assert "s3cret" not in str(error.value)


def test_telling_with_a_wrong_config_is_an_error_of_the_transport():
    with pytest.raises(TransportError, match="cannot be told: transport.host"):
        tell_peers({"kind": "rabbitmq"}, "job", Party("host", "1"), [], "nonce", "stopped")
