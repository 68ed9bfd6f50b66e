"""The tests' RabbitMQ node serves, survives kill -9 with its data, speaks TLS and federates."""

from __future__ import annotations

import ssl
import time

import pika
import pytest

from tests.servers.process import is_open
from tests.servers.rabbitmq import RabbitMQNode


def test_message_survives_kill_and_all_ends(tmp_path):
    node = RabbitMQNode(tmp_path / "node", "crash")
    with node:
        vhost = node.new_vhost()
        connection = node.connection(vhost)
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        channel.basic_publish("", "kept", b"still here", pika.BasicProperties(delivery_mode=2), mandatory=True)
        assert node.queues(vhost) == {"kept": 1}
        node.kill()
        assert not is_open(node.port)
        assert not is_open(node._epmd_port), "epmd outlived its node"
        node.start()
        _, _, body = node.connection(vhost).channel().basic_get("kept", auto_ack=True)
        assert body == b"still here"
    assert not is_open(node.port)
    assert not is_open(node.management_port)
    assert not is_open(node._epmd_port)


def test_tls_with_client_certificate(rabbitmq_node):
    context = ssl.create_default_context(cafile=str(rabbitmq_node.authority.certificate))
    client = rabbitmq_node.client_certificate
    context.load_cert_chain(client.certificate, client.key)
    parameters = pika.ConnectionParameters(
        "localhost",
        rabbitmq_node.tls_port,
        "/",
        pika.PlainCredentials(rabbitmq_node.login, rabbitmq_node.password),
        ssl_options=pika.SSLOptions(context, "localhost"),
    )
    connection = pika.BlockingConnection(parameters)
    assert connection.is_open
    connection.close()


def test_tls_of_an_unknown_authority_is_refused(rabbitmq_node):
    parameters = pika.ConnectionParameters(
        "localhost",
        rabbitmq_node.tls_port,
        "/",
        pika.PlainCredentials(rabbitmq_node.login, rabbitmq_node.password),
        ssl_options=pika.SSLOptions(ssl.create_default_context(), "localhost"),
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        pika.BlockingConnection(parameters)


def test_federation_between_two_nodes(two_rabbitmq_nodes):
    upstream, downstream = two_rabbitmq_nodes
    vhost = "federated"
    upstream.new_vhost(vhost)
    downstream.new_vhost(vhost)
    uri = f"amqp://{upstream.login}:{upstream.password}@{upstream.host}:{upstream.port}/{vhost}"
    downstream.api("PUT", f"parameters/federation-upstream/{vhost}/up", {"value": {"uri": uri, "reconnect-delay": 1}})
    downstream.api(
        "PUT",
        f"policies/{vhost}/all",
        {"pattern": "^q$", "apply-to": "queues", "definition": {"federation-upstream-set": "all"}},
    )
    sender = upstream.connection(vhost)
    sender.channel().queue_declare("q", durable=True)
    sender.channel().basic_publish("", "q", b"across")
    receiver = downstream.connection(vhost)
    channel = receiver.channel()
    channel.queue_declare("q", durable=True)
    got: list[bytes] = []
    channel.basic_consume("q", lambda c, m, p, body: got.append(body), auto_ack=True)
    deadline = time.monotonic() + 30
    while not got and time.monotonic() < deadline:
        receiver.process_data_events(time_limit=0.5)
    assert got == [b"across"]
    sender.close()
    receiver.close()
