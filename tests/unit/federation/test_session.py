"""Values between parties: all of them, once, whole; and what stands in the way."""

from __future__ import annotations

import time

import numpy as np
import pytest

from airflow_provider_fate.errors import ConfigError, FateError, PeerFailed, PeerTimeout, ProtocolError, TransportError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.checks import Array, Integer, Text
from airflow_provider_fate.runtime.federation.inbox import Limits
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import Abort, unpack
from airflow_provider_fate.runtime.federation.session import Session
from tests.parties import run_parties
from tests.unit.federation.playing import ALL, ARBITER, GUEST, HOST, Player, anything, met, together, until


def test_values_of_each_kind_arrive():
    values = [None, True, -1, 1 << 200, 0.5, "text", b"bytes", [1, [2]], {"a": np.arange(3)}]

    def send(federation):
        for number, value in enumerate(values):
            federation.send(HOST, str(number), value)

    def receive(federation):
        return [federation.receive(GUEST, str(number), anything) for number in range(len(values))]

    got = run_parties({GUEST: send, HOST: receive})[HOST]
    assert got[:-1] == values[:-1]
    assert got[-1]["a"].tolist() == [0, 1, 2]


def test_values_wait_for_whoever_asks_later_in_another_order():
    def send(federation):
        for number in range(100):
            federation.send(HOST, f"n{number}", number)

    def receive(federation):
        return [federation.receive(GUEST, f"n{number}", Integer(0, 100)) for number in reversed(range(100))]

    assert run_parties({GUEST: send, HOST: receive})[HOST] == list(reversed(range(100)))


def test_one_value_to_several_parties():
    def send(federation):
        assert federation.guest == GUEST and federation.hosts == (HOST,) and federation.arbiter == ARBITER
        federation.send([HOST, ARBITER], "x", np.arange(5))

    def receive(federation):
        return federation.receive(GUEST, "x", Array("int64", (5,))).sum()

    assert run_parties({GUEST: send, HOST: receive, ARBITER: receive}) == {GUEST: None, HOST: 10, ARBITER: 10}


def test_scopes_keep_tags_apart():
    def send(federation):
        for scope in ("a", "b"):
            federation.scoped(scope).send(HOST, "x", scope)
            federation.scoped(scope).scoped("c").send(HOST, "x", scope + "c")

    def receive(federation):
        a, b = federation.scoped("a"), federation.scoped("b")
        return [one.receive(GUEST, "x", Text()) for one in (b.scoped("c"), b, a, a.scoped("c"))]

    assert run_parties({GUEST: send, HOST: receive})[HOST] == ["bc", "b", "a", "ac"]


@pytest.mark.parametrize("length", [1, 1000, 1001, 4096, 99_991])
def test_large_values_are_cut_and_put_together(length):
    value = np.random.default_rng(length).integers(0, 256, length, np.uint8)

    def receive(federation):
        return federation.receive(GUEST, "x", Array("uint8", (length,)))

    got = run_parties({GUEST: lambda f: f.send(HOST, "x", value), HOST: receive}, max_body=1000)[HOST]
    assert np.array_equal(got, value) and got.flags.writeable


def test_what_is_delivered_twice_and_late_is_received_once():
    hub = Hub(duplicate=0.5, delay=0.005, seed=7)

    def play(federation):
        (peer,) = [party for party in federation.parties if party != federation.me]
        total = 0
        for number in range(60):
            federation.send(peer, f"{number}", np.full(300, number))
            total += int(federation.receive(peer, f"{number}", Array("int64", (300,)))[0])
        return total

    assert run_parties({GUEST: play, HOST: play}, hub=hub, max_body=1000) == {GUEST: 1770, HOST: 1770}


def test_a_connection_that_was_away_for_a_while():
    hub = Hub()
    with met(hub) as (guest, host):
        hub.disconnect(HOST)
        guest.session.federation().send(HOST, "x", 1)
        time.sleep(0.2)
        hub.reconnect(HOST)
        assert host.session.federation().receive(GUEST, "x", anything) == 1


def test_a_value_that_does_not_pass_the_check_names_sender_and_tag():
    def receive(federation):
        return federation.receive(GUEST, "x", Integer(0, 5))

    with pytest.raises(ProtocolError, match="'x' of guest-9999 .* \\[0, 5\\]") as error:
        run_parties({GUEST: lambda f: f.send(HOST, "x", 6), HOST: receive})
    assert error.value.party == "guest-9999"


def test_a_tag_used_twice_is_an_error_of_the_sender():
    with met(Hub()) as (guest, host):
        federation = guest.session.federation()
        federation.send(HOST, "x", 1)
        federation.send(HOST, "x", 2)
        with pytest.raises(ProtocolError, match="guest-9999 .*'x'.*used before"):
            host.session.federation().receive(GUEST, "y", anything)


def test_receiving_twice_is_an_error_at_once():
    with met(Hub()) as (guest, host):
        guest.session.federation().send(HOST, "x", 1)
        host.session.federation().receive(GUEST, "x", anything)
        with pytest.raises(RuntimeError, match="received before"):
            host.session.federation().receive(GUEST, "x", anything)


@pytest.mark.parametrize("party", [GUEST, Party("host", "777")])
def test_only_other_parties_of_the_job_are_sent_to(party):
    with met(Hub()) as (guest, _):
        with pytest.raises(ValueError, match="not another party"):
            guest.session.federation().send(party, "x", 1)
        with pytest.raises(ValueError, match="not another party"):
            guest.session.federation().receive(party, "x", anything)


def test_what_cannot_be_sent_names_the_tag():
    with met(Hub()) as (guest, _):
        with pytest.raises(TypeError, match="weights: builtins.set"):
            guest.session.federation().send(HOST, "weights", {1})
        with pytest.raises(ValueError, match="a tag has"):
            guest.session.federation().send(HOST, "x" * 1000, 1)


def test_a_value_larger_than_the_bound_is_neither_sent_nor_taken():
    hub = Hub()
    guest, host = Player(hub, GUEST), Player(hub, HOST, limits=Limits(value=1000))
    together(guest.session.meet, host.session.meet)
    with pytest.raises(ValueError, match="x: the value has .* bytes, at most 1000"):
        host.session.federation().send(GUEST, "x", bytes(2000))
    guest.session.federation().send(HOST, "x", bytes(2000))
    with pytest.raises(ProtocolError, match="'x'.* bytes, at most 1000"):
        host.session.federation().receive(GUEST, "x", anything)
    guest.session.abort("over")
    host.session.abort("over")


def test_values_that_nobody_receives_have_a_bound():
    hub = Hub()
    with met(hub, limits=Limits(unread=5000)) as (guest, host):
        for number in range(6):
            guest.session.federation().send(HOST, f"{number}", bytes(1000))
        with pytest.raises(ProtocolError, match="have not been received"):
            host.session.federation().receive(GUEST, "other", anything)


def test_a_silent_peer_is_named_with_tag_and_time():
    hub = Hub()
    with met(hub, wait=0.6) as (_, host):
        hub.disconnect(GUEST)
        began = time.monotonic()
        with pytest.raises(
            PeerTimeout, match=r"guest-9999 has given no sign of life for \d s.*'lr/w'.*memory"
        ) as error:
            host.session.federation().scoped("lr").receive(GUEST, "w", anything)
        assert error.value.party == "guest-9999"
        assert 0.3 < time.monotonic() - began < 2
        hub.reconnect(GUEST)


def test_a_peer_that_is_gone_is_noticed_by_those_who_wait_for_each_other():
    """The two that are alive would wait for each other without end."""
    with met(Hub(), ALL, wait=1.0) as (guest, host, arbiter):
        guest.session.transport.close(remove=False)
        began = time.monotonic()
        outcomes = together(
            lambda: host.session.federation().receive(ARBITER, "x", anything),
            lambda: arbiter.session.federation().receive(HOST, "y", anything),
        )
        assert time.monotonic() - began < 5
        first, other = sorted(outcomes, key=lambda one: isinstance(one, PeerTimeout), reverse=True)
        assert isinstance(first, PeerTimeout) and "guest-9999 has given no sign of life" in str(first)
        assert isinstance(other, (PeerTimeout, PeerFailed)) and other.party in (str(GUEST), str(HOST), str(ARBITER))


def test_a_peer_that_works_for_long_is_waited_for():
    with met(Hub(), wait=1.0) as (guest, host):

        def slow():
            time.sleep(3)
            guest.session.federation().send(HOST, "x", 1)

        assert together(slow, lambda: host.session.federation().receive(GUEST, "x", anything))[1] == 1


def test_an_abort_ends_the_others_at_once_with_the_reason():
    with met(Hub(), ALL) as (guest, host, arbiter):
        began = time.monotonic()
        outcomes = together(
            lambda: guest.session.federation().receive(HOST, "x", anything),
            lambda: arbiter.session.federation().receive(GUEST, "x", anything),
            lambda: host.session.abort("the table is empty"),
        )
        assert time.monotonic() - began < 1
        for outcome in outcomes[:2]:
            assert isinstance(outcome, PeerFailed)
            assert str(outcome) == "host-10000 ended: the table is empty" and outcome.party == "host-10000"


def test_who_has_ended_is_not_told_that_others_end():
    """It would wait, where its next try finds it."""
    hub = Hub()
    with met(hub, ALL) as (guest, host, arbiter):
        host.session.abort("the disk is full")
        for player in (guest, arbiter):
            with pytest.raises(PeerFailed):
                player.session.federation().receive(HOST, "x", anything)
        hub.record = []
        guest.session.abort("because of the host")
        told = [party for party, body in hub.record if isinstance(unpack(body)[0], Abort)]
        assert told == [ARBITER]


def test_an_abort_is_seen_while_computing_and_sending_too():
    with met(Hub()) as (guest, host):
        host.session.abort("stopped")
        until(lambda: guest.session._peers["host-10000"].failed)
        with pytest.raises(PeerFailed, match="stopped"):
            guest.session.check()
        with pytest.raises(PeerFailed, match="stopped"):
            guest.session.federation().send(HOST, "x", 1)


def test_whoever_waits_is_woken_when_its_own_part_is_ended():
    """A signal arrives while the main thread waits for a peer."""
    with met(Hub(), wait=60) as (guest, _):
        outcomes = together(
            lambda: guest.session.federation().receive(HOST, "x", anything),
            lambda: (time.sleep(0.2), guest.session.abort("SIGTERM")),
            timeout=5,
        )
        assert isinstance(outcomes[0], FateError) and "has been ended" in str(outcomes[0])


def test_a_reason_cannot_disturb_the_log():
    with met(Hub()) as (guest, host):
        host.session.abort("a\x1b[2Jb\u202e" + "c" * 100_000)
        with pytest.raises(PeerFailed) as error:
            guest.session.federation().receive(HOST, "x", anything)
        assert "\x1b" not in str(error.value) and "\u202e" not in str(error.value) and len(str(error.value)) < 5000


def test_a_party_that_fails_before_it_meets_tells_those_who_wait():
    hub = Hub()
    guest, host = Player(hub, GUEST), Player(hub, HOST)
    outcomes = together(guest.session.meet, lambda: (time.sleep(0.2), host.session.abort("no such table")))
    assert isinstance(outcomes[0], PeerFailed) and "no such table" in str(outcomes[0])


def test_all_say_bye_and_nothing_is_left():
    hub = Hub()
    with met(hub, ALL) as players:
        assert together(*(player.session.finish for player in players)) == [None] * 3
        assert all(hub.waiting("job-1", party) == 0 for party in ALL)
        with pytest.raises(FateError, match="guest-9999 in job job-1 has been ended"):
            players[0].session.federation().send(HOST, "x", 1)


def test_who_is_done_waits_for_the_others():
    with met(Hub()) as (guest, host):

        def late():
            time.sleep(0.5)
            host.session.federation().send(GUEST, "x", 1)
            host.session.finish()

        began = time.monotonic()
        assert together(guest.session.finish, late) == [None, None]
        assert time.monotonic() - began >= 0.5


def test_who_is_done_fails_with_one_that_fails():
    with met(Hub()) as (guest, host):
        outcomes = together(guest.session.finish, lambda: (time.sleep(0.1), host.session.abort("disk full")))
        assert isinstance(outcomes[0], PeerFailed) and "disk full" in str(outcomes[0])


def test_waiting_for_byes_is_bounded():
    with met(Hub()) as (guest, host):
        began = time.monotonic()
        guest.session.finish(wait=0.3)
        assert 0.3 <= time.monotonic() - began < 2
        assert any("not waiting any longer for host-10000" in line for line in guest.lines)
        host.session.finish()  # it knows that the guest has left
        assert time.monotonic() - began < 3


def test_waiting_for_one_who_is_done_is_an_error():
    with met(Hub()) as (guest, host):

        def receive():
            try:
                host.session.federation().receive(GUEST, "x", anything)
            except Exception as error:
                host.session.abort(str(error))
                raise

        outcomes = together(guest.session.finish, receive)
        assert isinstance(outcomes[1], ProtocolError) and "finished the job without sending 'x'" in str(outcomes[1])
        assert isinstance(outcomes[0], PeerFailed) and "without sending 'x'" in str(outcomes[0])


def test_what_was_sent_before_the_bye_is_there_after_it():
    with met(Hub(delay=0.05)) as (guest, host):
        guest.session.federation().send(HOST, "x", 5)
        outcomes = together(
            guest.session.finish,
            lambda: (time.sleep(0.3), host.session.federation().receive(GUEST, "x", anything), host.session.finish())[
                1
            ],
        )
        assert outcomes == [None, 5]


def test_a_lost_value_is_noticed():
    class Leaky(MemoryTransport):
        def send(self, to, body):
            if b"lost" not in body:
                super().send(to, body)

    hub = Hub()
    guest = Player(hub, GUEST, transport=Leaky(hub), wait=1)
    host = Player(hub, HOST, wait=1)
    together(guest.session.meet, host.session.meet)
    guest.session.federation().send(HOST, "lost", 1)
    with pytest.raises(ProtocolError, match="value 0 of guest-9999 was sent and has not come.*'lost'"):
        host.session.federation().receive(GUEST, "lost", anything)
    guest.session.abort("over")
    host.session.abort("over")


def test_a_transport_that_fails_in_the_background_ends_the_waiting():
    class Failing(MemoryTransport):
        broken = False

        def check(self):
            if self.broken:
                raise TransportError("the broker is gone")

    hub = Hub()
    transport = Failing(hub)
    guest, host = Player(hub, GUEST, transport=transport), Player(hub, HOST)
    together(guest.session.meet, host.session.meet)
    transport.broken = True
    with pytest.raises(TransportError, match="gone"):
        guest.session.federation().receive(HOST, "x", anything)
    guest.session.abort("over")
    host.session.abort("over")


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "a b", "-x", "x" * 200, "é"])
def test_a_job_id_names_queues_and_directories(job_id):
    with pytest.raises(ConfigError, match="job_id"):
        Session(MemoryTransport(Hub()), job_id, GUEST, ALL, "n", 1, {})


def test_a_party_must_be_one_of_the_parties():
    with pytest.raises(ConfigError, match="guest-1"):
        Session(MemoryTransport(Hub()), "job", Party("guest", "1"), ALL, "n", 1, {})
