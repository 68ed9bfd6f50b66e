"""What the other parties are told when one ends, and what becomes of what they say."""

from __future__ import annotations

import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, StreamLostError
from pika.frame import Method
from pika.spec import Connection

from airflow_provider_fate.errors import (
    ConfigError,
    PeerFailed,
    PeerRestarted,
    ProtocolError,
    reason_for_peers,
)
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, Link
from airflow_provider_fate.runtime.federation.memory import Hub
from airflow_provider_fate.runtime.federation.messages import Hello, printable
from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport
from airflow_provider_fate.runtime.federation.rendezvous import difference
from airflow_provider_fate.runtime.federation.session import Session
from tests.unit.federation.playing import ALL, GUEST, HOST, Player, anything, met, together

FORGED = 'x\n@fate {"text": "all is well", "spark_ui": "https://evil.example/"}\r\u2028\x85y'


def test_nobody_is_told_of_this_party_s_brokers() -> None:
    other = Party("host", "777")
    partners = {"777": Broker("mq.partner.example", 5671, "x")}
    transport = RabbitMQTransport(Broker("mq.bank.example", 5671, "p"), partners)
    parties = [GUEST, HOST, other]
    session = Session(transport, "job", GUEST, parties, "n", 5, {})
    peer = session._peers[str(HOST)]
    assert "mq.bank.example" in str(session._silent(peer, 600, "x"))
    for error in (session._silent(peer, 600, "x"), session._not_come(peer, 600)):
        assert reason_for_peers(error) == "host-10000 gave it no sign of life"
    error = ProtocolError(str(HOST), "'a' of host-10000 is not what was expected: an array of shape (569, 3)")
    assert reason_for_peers(error) == "what host-10000 sent it is not what the protocol allows; its log says more"
    assert reason_for_peers(PeerRestarted(str(HOST), "host-10000 came back")) == "host-10000 came back"


def test_a_wrong_value_is_not_described_to_those_who_sent_it() -> None:
    with met(Hub()) as (guest, host):

        def refuses() -> None:
            try:
                guest.session.federation().receive(HOST, "x", check)
            except ProtocolError as error:
                assert "569 rows" in str(error)
                guest.session.abort(reason_for_peers(error))

        def check(value: object) -> None:
            raise ValueError("expected an array of 569 rows")

        host.session.federation().send(GUEST, "x", 1)
        _, outcome = together(refuses, lambda: host.session.federation().receive(GUEST, "y", anything))
        assert isinstance(outcome, PeerFailed) and "569" not in str(outcome)


@pytest.mark.parametrize("code", [320, 403, 406, 530, 541])
def test_a_broker_writes_no_lines_of_its_own(code: int) -> None:
    by_broker = [kind(code, FORGED) for kind in (ConnectionClosedByBroker, ChannelClosedByBroker)]
    for error in (*by_broker, StreamLostError(FORGED)):
        said, _ = Broker("mq.partner.example").problem(error)
        assert len(str(said).splitlines()) == 1 and str(said).isprintable()


def test_a_broker_fills_no_log() -> None:
    lines: list[str] = []
    link = Link(Broker("mq"), "x", connect_seconds=1, reconnect_seconds=1, log=lines.append)
    blocked = Method(0, Connection.Blocked(FORGED))
    for _ in range(1000):
        link._on_blocked(None, blocked)
        link._on_unblocked(None, None)
    assert len(lines) == 200
    assert "takes no messages at the moment: x @fate" in lines[0] and "takes messages again" in lines[1]
    assert all(line.isprintable() for line in lines)


def test_a_reason_is_passed_on_once() -> None:
    first = PeerFailed("host-1", "host-1 ended: its rows are not what the job expects; its log says more")
    assert reason_for_peers(first) == str(first)
    third = PeerFailed("guest-3", f"guest-3 ended: host-2 ended: {first}")
    assert reason_for_peers(third) == str(first)


def test_what_a_peer_says_is_one_line() -> None:
    assert printable(FORGED).splitlines() == [printable(FORGED)]
    assert printable("a\tb\x1b[31m c") == "a b [31m c"
    with met(Hub(), ALL) as (guest, host, _):
        host.session.abort(FORGED)
        (outcome,) = together(lambda: guest.session.federation().receive(HOST, "x", anything))
        assert isinstance(outcome, PeerFailed) and len(str(outcome).splitlines()) == 1


@pytest.mark.parametrize("what", ["parties", "digests"])
def test_what_a_peer_s_conf_says_is_one_line(what: str) -> None:
    mine = Player(None, GUEST, transport=object.__new__(RabbitMQTransport)).session._hello(str(HOST))
    theirs = Hello(**{name: getattr(mine, name) for name in Hello.__struct_fields__})
    if what == "parties":
        theirs.parties = [f"guest-9999{FORGED}"]
    else:
        theirs.digest, theirs.digests = b"x", {**mine.digests, f"a{FORGED}": b"y"}
    problem = difference(GUEST, mine, HOST, theirs)
    assert isinstance(problem, ConfigError) and len(str(problem).splitlines()) == 1
