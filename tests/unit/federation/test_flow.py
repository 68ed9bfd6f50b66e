"""Flow control: who is slow to use what comes slows who sends it, and nobody waits for ever for it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from airflow_provider_fate.errors import PeerFailed, PeerTimeout, TransportError
from airflow_provider_fate.runtime.federation.amqp import Broker
from airflow_provider_fate.runtime.federation.checks import Array
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from airflow_provider_fate.runtime.federation.inbox import Limits
from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport
from tests.unit.federation.playing import ALL, ARBITER, GUEST, HOST, PAIR, Player, together, until

MIB = 1 << 20
HELD = BACKLOG = 4 * MIB
VALUES = 40
VALUE = Array("uint8", (MIB,))


def value(number: int) -> np.ndarray:
    return np.full(MIB, number, np.uint8)


@pytest.fixture
def meet(tmp_path):
    """Parties who have met over a directory that holds little."""
    players: list[Player] = []

    def begin(parties=PAIR, wait: float = 10.0) -> list[Player]:
        for party in parties:
            transport = DirectoryTransport(tmp_path, max_body=MIB, backlog=BACKLOG)
            players.append(
                Player(None, party, parties, transport=transport, wait=wait, limits=Limits(held=HELD))
            )
        for outcome in together(*(player.session.meet for player in players)):
            assert outcome == [], outcome
        return players

    yield begin
    for player in players:
        player.session.abort("the test is over")


def send_all(player: Player, to, sent: list[int] | None = None) -> None:
    federation = player.session.federation()
    for number in range(VALUES):
        federation.send(to, f"{number}", value(number))
        if sent is not None:
            sent.append(number)


def receive_all(player: Player, sender) -> bool:
    federation = player.session.federation()
    return all((federation.receive(sender, f"{n}", VALUE) == n).all() for n in range(VALUES))


def begin_to_send(player: Player, to) -> tuple[threading.Thread, list[int], list[Exception]]:
    """Send in the background until it goes no further."""
    sent: list[int] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            send_all(player, to, sent)
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until(lambda: player.session._send_began is not None)
    return thread, sent, errors


def test_a_slow_receiver_slows_the_sender(meet):
    guest, host = meet()
    thread, sent, errors = begin_to_send(guest, HOST)
    time.sleep(1.5)  # the receiver computes, and signs of life go on
    inbox = host.session._peers[str(GUEST)].inbox
    assert HELD < inbox.unread < HELD + 4 * MIB
    # a look at the directory comes every 16 messages
    assert HELD + BACKLOG < len(sent) * MIB < HELD + BACKLOG + 20 * MIB
    assert receive_all(host, GUEST)
    thread.join(10)
    assert errors == [] and len(sent) == VALUES


def test_two_who_both_send_first_do_not_wait_for_each_other_for_ever(meet):
    guest, host = meet()

    def play(me: Player, peer) -> bool:
        send_all(me, peer)
        return receive_all(me, peer)

    assert together(lambda: play(guest, HOST), lambda: play(host, GUEST)) == [True, True]


def test_what_a_third_party_waits_for_is_not_held_back(meet):
    guest, host, arbiter = meet(ALL)
    federations = {player.session.me: player.session.federation() for player in (guest, host, arbiter)}

    def guest_plays() -> bool:
        send_all(guest, HOST)
        federations[GUEST].send(ARBITER, "go", 1)
        return True

    def arbiter_plays() -> bool:
        federations[ARBITER].receive(GUEST, "go", lambda value: None)
        federations[ARBITER].send(HOST, "go", 1)
        return True

    def host_plays() -> bool:
        time.sleep(1)  # what the guest sends fills all that there is
        federations[HOST].receive(ARBITER, "go", lambda value: None)
        return receive_all(host, GUEST)

    assert together(guest_plays, host_plays, arbiter_plays) == [True] * 3


def test_who_waits_for_a_receiver_hears_that_it_failed(meet):
    guest, host = meet()
    thread, _, errors = begin_to_send(guest, HOST)
    host.session.abort("no more room")
    thread.join(5)
    assert isinstance(errors[0], PeerFailed) and "no more room" in str(errors[0])


def test_who_waits_for_a_silent_receiver_says_so(meet):
    guest, host = meet(wait=2)
    thread, _, errors = begin_to_send(guest, HOST)
    with host.session._lock:
        host.session._stopped = True  # no more signs of life, as of a process that was stopped
        host.session._lock.notify_all()
    thread.join(10)
    assert isinstance(errors[0], PeerTimeout)
    assert "host-10000 has given no sign of life for" in str(errors[0])
    assert "waited for it to take what was sent to it" in str(errors[0])


def test_all_brokers_are_waited_for_though_one_takes_nothing() -> None:
    """Last words to one peer are not to be cut off by another one's broker that is away."""

    class Sender:
        def __init__(self, problem: str = "") -> None:
            self.problem, self.flushed = problem, False

        def flush(self, end: float) -> None:
            self.flushed = True
            if self.problem:
                raise TransportError(self.problem)

    transport = RabbitMQTransport(Broker("a"))
    away, there = Sender("b has not confirmed"), Sender()
    transport._publishers = {Broker("b"): away, Broker("a"): there}
    with pytest.raises(TransportError, match="b has not confirmed"):
        transport.flush(1)
    assert there.flushed
