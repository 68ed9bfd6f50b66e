"""Long-term keys on a connection for messages: what the application gets, and what is refused."""

from __future__ import annotations

import os

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.hooks.rabbitmq import FateRabbitMQHook
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.keys import Keys, encode_key, fingerprint
from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport
from airflow_provider_fate.runtime.federation.sealed import SealedTransport

OWN, PEER = Keys(os.urandom(32)), Keys(os.urandom(32))


def hook(connect, **extra) -> FateRabbitMQHook:
    return FateRabbitMQHook(connect("fate_rabbitmq", host="127.0.0.1", login="fate", extra=extra))


def test_keys_reach_the_application_and_no_log(connect):
    given = hook(connect, private_key=encode_key(OWN.private), peer_keys={"10000": encode_key(PEER.public)})
    transport = transport_from_config(given.transport_config())
    assert isinstance(transport, SealedTransport) and isinstance(transport.inner, RabbitMQTransport)
    assert transport.keys.private == OWN.private and transport.keys.peers == {"10000": PEER.public}
    assert fingerprint(OWN.public) in str(given.describe())
    assert encode_key(OWN.private) not in str(given.describe())


def test_without_keys_messages_are_plain(connect):
    assert isinstance(transport_from_config(hook(connect).transport_config()), RabbitMQTransport)
    assert "not encrypted" in hook(connect)._test_keys()[0]


def test_the_test_shows_fingerprints_to_compare(connect):
    given = hook(connect, private_key=encode_key(OWN.private), peer_keys={"10000": encode_key(PEER.public)})
    [line] = given._test_keys()
    assert fingerprint(OWN.public) in line and f"10000 {fingerprint(PEER.public)}" in line
    assert "nobody can be met" in hook(connect, private_key=encode_key(OWN.private))._test_keys()[0]


def test_a_party_without_a_pinned_key_is_named_before_a_job_begins(connect):
    given = hook(connect, private_key=encode_key(OWN.private), peer_keys={"10000": encode_key(PEER.public)})
    guest, host, arbiter = Party("guest", "9999"), Party("host", "10000"), Party("arbiter", "9999")
    given.check_keys("job", guest, [guest, host, arbiter])
    with pytest.raises(ConfigError, match=r"extra\.peer_keys: no public key is pinned for party 8888; ask its owner"):
        given.check_keys("job", guest, [guest, host, Party("host", "8888")])
    low = hook(connect, private_key=encode_key(OWN.private), peer_keys={"10000": encode_key(bytes(32))})
    with pytest.raises(ConfigError, match=r"extra\.peer_keys\.10000: this is no public key"):
        low.check_keys("job", guest, [host])
    hook(connect).check_keys("job", guest, [guest, host])


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({"private_key": "hunter2"}, r"extra\.private_key: expected a key of 44 characters"),
        ({"peer_keys": {"10000": encode_key(PEER.public)}}, r"extra\.private_key: it is empty"),
        ({"private_key": encode_key(OWN.private), "peer_keys": {"10000": "x"}}, r"extra\.peer_keys\.10000: .*'x'"),
        ({"private_key": encode_key(OWN.private), "peer_keys": {"a/b": "x"}}, r"extra\.peer_keys: 'a/b' is not"),
        ({"private_key": encode_key(OWN.private), "peer_keys": "[1]"}, r"extra\.peer_keys: a JSON object"),
    ],
)
def test_wrong_keys_are_named(connect, extra, path):
    with pytest.raises(ConfigError, match=path) as caught:
        hook(connect, **extra).transport_config()
    assert "hunter2" not in str(caught.value)
    ok, message = hook(connect, **extra).test_connection()
    assert not ok and "extra." in message
