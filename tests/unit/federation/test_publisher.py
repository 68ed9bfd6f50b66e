"""Waiting for a broker that takes nothing; what a real one does is in the integration tests."""

from __future__ import annotations

import pytest

from airflow_provider_fate.errors import PeerFailed, TransportError
from airflow_provider_fate.runtime.federation import publisher
from airflow_provider_fate.runtime.federation.amqp import Broker
from airflow_provider_fate.runtime.federation.publisher import Publisher


def made(on_wait=lambda: None, reconnect_seconds: float = 30.0) -> Publisher:
    """One that is never connected."""
    return Publisher(
        Broker("127.0.0.1"), "test", queues={"q": on_wait}, connect_seconds=1, reconnect_seconds=reconnect_seconds,
        log=lambda text: None,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(publisher, "_BUFFER", 100_000)


def test_while_a_broker_takes_nothing_the_session_is_looked_at():
    """A peer may have failed, or come back, and say so over another broker."""

    def fail() -> None:
        raise PeerFailed("host-10000", "host-10000 ended: the disk is full")

    one = made(fail)
    one.send("q", bytes(80_000))
    with pytest.raises(PeerFailed, match="the disk is full"):
        one.send("q", bytes(80_000))
    assert one._bytes == 80_000
    one.send("q", b"a sign of life does not wait")


def test_a_broker_that_takes_nothing_is_named():
    one = made(reconnect_seconds=0.2)
    one.send("q", bytes(80_000))
    with pytest.raises(TransportError, match=r"RabbitMQ at 127.0.0.1:5672.* has taken nothing for 0 s"):
        one.send("q", bytes(80_000))


def test_a_message_that_is_larger_than_the_buffer_waits_for_nothing_but_those_before_it():
    one = made(reconnect_seconds=0.2)
    one.send("q", bytes(200_000))
    with pytest.raises(TransportError, match="has taken nothing"):
        one.send("q", bytes(200_000))
