"""Flow control over linked brokers: what a receiver does not take waits at the broker of its sender, within bounds."""

from __future__ import annotations

import pytest

from airflow_provider_fate.runtime.federation.queues import queue_name
from tests.integration.federation.linked import NOTHING, hooks, links_of, sides
from tests.integration.federation.test_flow import (
    BACKLOG,
    BUFFER,
    HELD,
    MIB,
    PREFETCH,
    VALUES,
    begin_to_send,
    parties,
    receive,
)
from tests.integration.federation.test_rabbitmq import finish, meet
from tests.integration.hooks.conftest import connect
from tests.unit.federation.playing import GUEST, HOST, JOB

__all__ = ["connect"]


@pytest.fixture
def pair(two_rabbitmq_nodes):
    return sides(two_rabbitmq_nodes)


def test_a_slow_receiver_slows_the_sender(pair, connect):
    both = hooks(pair, connect)
    links = [links_of(hook, party) for hook, party in zip(both, (GUEST, HOST), strict=True)]
    for one in links:
        one.set_up()
    guest, host = parties(*(hook.transport_config() for hook in both))
    meet(guest, host)
    link = 32  # messages on their way from broker to broker
    queue = queue_name(JOB, GUEST, HOST)
    thread, sent = begin_to_send(guest, lambda: pair[0].node.queues(pair[0].vhost)[queue])
    assert len(sent) <= HELD + PREFETCH + 2 * link + BACKLOG + BUFFER + 32
    assert host.session._peers[str(GUEST)].inbox.unread <= (HELD + PREFETCH + 2) * MIB
    waiting = [side.node.queues(side.vhost)[queue] for side in pair]
    assert BACKLOG <= waiting[0] <= BACKLOG + BUFFER + 32 and waiting[1] <= 2 * link
    receive(host, VALUES)
    thread.join(20)
    assert len(sent) == VALUES
    finish(guest, host)
    for one in links:
        one.take_down(6)
    assert [side.objects() for side in pair] == [NOTHING] * 2
