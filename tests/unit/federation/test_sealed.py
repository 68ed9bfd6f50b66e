"""Messages encrypted from party to party: who can read, change, repeat or forge them, and what wrong keys lead to."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from airflow_provider_fate import keys as command
from airflow_provider_fate.errors import (
    ConfigError,
    PeerFailed,
    PeerFinished,
    PeerRestarted,
    PeerTimeout,
    ProtocolError,
)
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.crypto.curve25519 import LOW_ORDER
from airflow_provider_fate.runtime.federation import sealed
from airflow_provider_fate.runtime.federation.abort import tell_peers
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.keys import Keys, decode_key, encode_key, fingerprint
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import Abort, Alive, pack
from airflow_provider_fate.runtime.federation.sealed import SealedTransport
from tests.unit.federation.playing import (
    ALL,
    ARBITER,
    GUEST,
    HOST,
    JOB,
    PAIR,
    Player,
    anything,
    together,
    until,
)

PRIVATE = {party_id: os.urandom(32) for party_id in ("9999", "10000")}
PUBLIC = {party_id: Keys(private).public for party_id, private in PRIVATE.items()}
KEYS = {
    own: Keys(private, {party_id: public for party_id, public in PUBLIC.items() if party_id != own})
    for own, private in PRIVATE.items()
}


def player(hub: Hub, me: Party, parties=PAIR, *, keys: Keys | None = None, max_body=1 << 20, **options) -> Player:
    inner = MemoryTransport(hub, max_body)
    return Player(None, me, parties, transport=SealedTransport(inner, keys or KEYS[me.party_id]), **options)


def meet(*players: Player) -> None:
    for outcome in together(*(one.session.meet for one in players)):
        assert outcome == [], outcome


def meet_again(guest: Player, host: Player) -> None:
    """The guest, which waits for a value, meets a host that has come back."""

    def wait() -> list[str]:
        try:
            return guest.session.federation().receive(HOST, "x", anything)
        except PeerRestarted:
            return guest.session.meet()

    assert together(wait, host.session.meet) == [[], []]


def end(*players: Player) -> None:
    for one in players:
        one.session.abort("the test is over")


def recording() -> Hub:
    hub = Hub()
    hub.record = []
    return hub


def test_values_of_any_size_arrive():
    hub = recording()
    guest, host, arbiter = (player(hub, party, ALL, max_body=4096) for party in ALL)
    meet(guest, host, arbiter)
    matrix = np.random.default_rng(1).normal(size=(300, 7))
    guest.session.federation().send([HOST, ARBITER], "matrix", {"x": matrix, "secret words": "attack at dawn"})
    for one in (host, arbiter):
        value = one.session.federation().receive(GUEST, "matrix", anything)
        assert np.array_equal(value["x"], matrix)
    assert all(len(body) <= 4096 for _, body in hub.record)
    end(guest, host, arbiter)
    # of all that was sent, nobody on the way can read a word: not even which components run
    everything = b"".join(body for _, body in hub.record)
    for words in (b"attack at dawn", b"secret words", b"matrix", b"hetero_lr_0", matrix.tobytes()[:64]):
        assert words not in everything


def test_they_meet_whoever_comes_first_and_over_a_bad_network():
    for seed in range(5):
        hub = Hub(duplicate=0.5, delay=0.05, seed=seed)
        guest, host, arbiter = (player(hub, party, ALL) for party in ALL)
        outcomes = together(
            host.session.meet,
            lambda guest=guest: (time.sleep(0.2), guest.session.meet())[1],
            lambda arbiter=arbiter: (time.sleep(0.4), arbiter.session.meet())[1],
        )
        assert outcomes == [[], [], []]
        end(guest, host, arbiter)


def test_guest_and_host_of_one_party():
    one, two = Party("guest", "9999"), Party("host", "9999")
    hub = Hub()
    players = [player(hub, party, (one, two)) for party in (one, two)]
    meet(*players)
    players[0].session.federation().send(two, "x", 1)
    assert players[1].session.federation().receive(one, "x", anything) == 1
    end(*players)


def test_a_party_that_comes_back_is_met_again():
    hub = Hub()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    host.session.transport.close(remove=False)  # killed: without a word
    again = player(hub, HOST)
    meet_again(guest, again)
    again.session.federation().send(GUEST, "x", 5)
    assert guest.session.federation().receive(HOST, "x", anything) == 5
    end(guest, again)


def test_frames_of_an_earlier_run_do_not_keep_parties_from_meeting():
    hub = recording()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    old = list(hub.record)
    guest.session.transport.close(remove=True)
    host.session.transport.close(remove=True)
    for to, body in old:
        hub.put(JOB, GUEST if to == HOST else HOST, to, body)
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    guest.session.federation().send(HOST, "x", 1)
    assert host.session.federation().receive(GUEST, "x", anything) == 1
    end(guest, host)


def test_replaying_all_of_it_changes_nothing():
    hub = recording()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    earlier = list(hub.record)
    end(guest, host)
    hub.record = []
    guest, host = player(hub, GUEST, wait=3.0), player(hub, HOST, wait=3.0)
    meet(guest, host)
    guest.session.federation().send(HOST, "x", 1)
    assert host.session.federation().receive(GUEST, "x", anything) == 1
    for to, body in [*earlier, *hub.record]:
        hub.put(JOB, GUEST if to == HOST else HOST, to, body)
    until(lambda: not hub.waiting(JOB, HOST) and not hub.waiting(JOB, GUEST))
    time.sleep(0.2)
    guest.session.check()
    host.session.check()
    guest.session.federation().send(HOST, "y", 2)
    assert host.session.federation().receive(GUEST, "y", anything) == 2
    # a peer that is gone gives no sign of life, whatever old ones are repeated
    host.session.transport.close(remove=False)
    until(lambda: not hub.waiting(JOB, GUEST))
    time.sleep(0.1)  # the last one that was true is taken in
    silent = guest.session._peers[str(HOST)].heard_at
    for to, body in list(hub.record):
        hub.put(JOB, GUEST if to == HOST else HOST, to, body)
    time.sleep(0.3)
    assert guest.session._peers[str(HOST)].heard_at == silent
    end(guest, host)


@pytest.mark.parametrize("place", ["first", "name", "counter", "middle", "last", "cut"])
def test_a_changed_message_ends_the_job_or_is_none(place):
    hub = recording()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    guest.session.federation().send(HOST, "x", bytes(1000))
    frame = bytearray([body for to, body in hub.record if to == HOST and len(body) > 1000][-1])
    assert host.session.federation().receive(GUEST, "x", anything) == bytes(1000)
    if place == "cut":
        frame = frame[:30]
    elif place == "counter":
        frame[13] ^= 0x40
    else:
        frame[{"first": 0, "name": 6, "middle": 500, "last": len(frame) - 1}[place]] ^= 1
        frame[14] ^= 1  # another counter, else it would be a repetition
    hub.put(JOB, GUEST, HOST, bytes(frame))
    time.sleep(0.2)
    if place in ("name", "cut"):
        host.session.check()  # of no run of ours: nobody's message
    else:
        expected = "is no encrypted message" if place == "first" else "guest-9999 .* was changed on its way"
        with pytest.raises(ProtocolError, match=expected):
            host.session.check()
    end(guest, host)


def test_who_has_no_key_cannot_speak_for_another():
    hub = Hub()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    outsider = Keys(os.urandom(32), PUBLIC)
    names = {"job": JOB, "sender": str(HOST), "receiver": str(GUEST)}
    body = pack(Abort(**names, nonce=host.nonce, reason="x", sent_at=time.time()))
    [note] = SealedTransport(MemoryTransport(hub), outsider).notes(JOB, HOST, {GUEST: body}).values()
    hub.put(JOB, HOST, GUEST, note)
    time.sleep(0.2)
    guest.session.check()
    end(guest, host)


def test_a_party_cannot_speak_for_another_party():
    hub = Hub()
    guest, host, arbiter = (player(hub, party, ALL) for party in ALL)
    meet(guest, host, arbiter)
    forged = Abort(job=JOB, sender=str(ARBITER), receiver=str(GUEST), nonce=arbiter.nonce, reason="x")
    host.session.transport.send(GUEST, pack(forged))
    until(lambda: guest.session.transport._error is not None)
    with pytest.raises(ProtocolError, match="host-10000 sends messages in the name of arbiter-10000"):
        guest.session.check()
    end(guest, host, arbiter)


def test_another_private_key_is_refused_on_both_sides_with_fingerprints():
    other = Keys(os.urandom(32), PUBLIC)
    hub = Hub()
    guest, host = player(hub, GUEST), player(hub, HOST, keys=other)
    at_guest, at_host = together(guest.session.meet, host.session.meet)
    assert isinstance(at_guest, ProtocolError) and isinstance(at_host, ProtocolError)
    assert fingerprint(other.public) in str(at_guest) and fingerprint(PUBLIC["10000"]) in str(at_guest)
    assert "peer_keys of guest-9999 pins" in str(at_guest)
    assert "guest-9999 has pinned" in str(at_host) and fingerprint(other.public) in str(at_host)
    end(guest, host)


def test_a_stale_offer_with_an_old_key_is_no_reason_to_refuse():
    hub = recording()
    old = player(hub, HOST, keys=Keys(os.urandom(32), PUBLIC))
    old.session.transport.open(JOB, HOST, [GUEST], lambda body: None)
    old.session.transport.send(GUEST, pack(Alive(job=JOB, sender=str(HOST), receiver=str(GUEST))))
    old.session.transport.close(remove=False)
    assert hub.waiting(JOB, GUEST) == 1
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    end(guest, host)


def test_a_peer_without_a_pinned_key_is_named_before_anything_is_sent():
    hub = recording()
    guest = player(hub, GUEST, keys=Keys(PRIVATE["9999"], {"9999": PUBLIC["9999"]}))
    with pytest.raises(ConfigError, match="peer_keys: no public key is pinned for party 10000"):
        guest.session.meet()
    assert hub.record == []
    guest.session.abort("over")


def test_who_lacks_one_peers_key_can_still_tell_the_others():
    stranger = Party("arbiter", "7777")
    body = pack(Abort(job=JOB, sender=str(GUEST), receiver=str(HOST), nonce="n", reason="x", sent_at=time.time()))
    transport = SealedTransport(MemoryTransport(Hub()), KEYS["9999"])
    assert list(transport.notes(JOB, GUEST, {stranger: body, HOST: body})) == [HOST]
    with pytest.raises(ConfigError, match="no public key is pinned for party 7777"):
        transport.notes(JOB, GUEST, {stranger: body})


def test_one_party_that_encrypts_and_one_that_does_not_say_so_on_both_sides():
    hub = Hub()
    guest, host = player(hub, GUEST), Player(hub, HOST)
    at_guest, at_host = together(guest.session.meet, host.session.meet)
    assert "host-10000 sends messages that are not encrypted, and guest-9999 has a private_key" in str(at_guest)
    assert "it is encrypted, and the connection for messages has no private_key here" in str(at_host)
    end(guest, host)


def test_an_abort_reaches_a_peer_that_is_met_and_one_that_is_not():
    hub = Hub()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    guest.session.abort("stopped by its owner")
    with pytest.raises(PeerFailed, match="guest-9999 ended: stopped by its owner"):
        host.session.federation().receive(GUEST, "x", anything)
    host.session.abort("over")

    host = player(hub, HOST)
    guest = player(hub, GUEST)

    def fail():
        time.sleep(0.3)
        guest.session.abort("no table")

    outcome, _ = together(host.session.meet, fail)
    assert isinstance(outcome, PeerFailed) and "no table" in str(outcome)
    host.session.abort("over")


def test_a_task_that_is_stopped_tells_the_peers_from_outside(tmp_path):
    def config(party_id):
        return {
            "kind": "directory",
            "path": str(tmp_path),
            "private_key": encode_key(PRIVATE[party_id]),
            "peer_keys": {party: encode_key(public) for party, public in PUBLIC.items()},
        }

    guest = Player(None, GUEST, transport=transport_from_config(config("9999")))
    host = Player(None, HOST, transport=transport_from_config(config("10000")))
    meet(guest, host)
    tell_peers(config("10000"), JOB, HOST, PAIR, host.nonce, "marked failed in Airflow")
    with pytest.raises(PeerFailed, match="marked failed in Airflow"):
        guest.session.federation().receive(HOST, "x", anything)
    end(guest, host)


def test_notes_carry_last_words_only():
    hub = Hub()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    alive = pack(Alive(job=JOB, sender=str(HOST), receiver=str(GUEST)))
    [note] = host.session.transport.notes(JOB, HOST, {GUEST: alive}).values()
    host.session.transport.close(remove=False)
    hub.put(JOB, HOST, GUEST, note)
    until(lambda: not hub.waiting(JOB, GUEST))
    heard = guest.session._peers[str(HOST)].heard_at
    time.sleep(0.1)
    guest.session.check()
    assert guest.session._peers[str(HOST)].heard_at == heard
    end(guest)


@pytest.mark.parametrize("kind", [b"", b"FSEC", *(b"FSEC%c" % kind for kind in (0, 1, 2, 3, 9))])
@pytest.mark.parametrize("rest", [0, 10, 300])
def test_what_is_no_frame_is_no_crash(kind, rest):
    hub = Hub()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    hub.put(JOB, HOST, GUEST, kind + bytes(rest))
    until(lambda: not hub.waiting(JOB, GUEST))
    time.sleep(0.1)
    assert guest.session.transport.inner._thread.is_alive()
    try:
        guest.session.check()
    except ProtocolError as error:
        assert "malformed" in str(error) or "no encrypted message" in str(error)
    end(guest, host)


def frames_of(tries: int) -> tuple[list[bytes], Hub]:
    """The offers of several tries of the host, which whoever carries them has kept."""
    hub = recording()
    for _ in range(tries):
        one = SealedTransport(MemoryTransport(hub), KEYS["10000"])
        one.open(JOB, HOST, [GUEST], lambda body: None)
        one.send(GUEST, pack(Alive(job=JOB, sender=str(HOST), receiver=str(GUEST))))
        one.close(remove=True)
    return [body for to, body in hub.record if to == GUEST], hub


def test_offers_that_are_repeated_never_make_a_counter_begin_again():
    offers, _ = frames_of(8)
    hub = recording()
    guest = SealedTransport(MemoryTransport(hub), KEYS["9999"])
    guest.open(JOB, GUEST, [HOST], lambda body: None)
    for round_ in range(3):
        for offer in offers:
            guest._on_frame(offer)
            guest.send(HOST, pack(Alive(job=JOB, sender=str(GUEST), receiver=str(HOST), sent=round_)))
    guest.close(remove=False)
    frames = [body for to, body in hub.record if to == HOST and body[4:5] == b"\x02"]
    counters = [body[:21] for body in frames]
    assert len(frames) >= 24 and len(set(counters)) == len(counters)


def test_offers_that_are_repeated_in_turn_are_not_answered_without_end():
    offers, _ = frames_of(2)
    hub = recording()
    guest = SealedTransport(MemoryTransport(hub), KEYS["9999"])
    guest.open(JOB, GUEST, [HOST], lambda body: None)
    began = time.monotonic()
    for offer in offers * 1000:
        guest._on_frame(offer)
    periods = 1 + (time.monotonic() - began) // sealed._OFFER_PAUSE
    guest.close(remove=False)
    assert 2 <= len([body for to, body in hub.record if to == HOST]) <= 2 * periods


def test_a_peer_that_starts_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(sealed, "_RUNS", 5)
    offers, _ = frames_of(6)
    guest = SealedTransport(MemoryTransport(Hub()), KEYS["9999"])
    guest.open(JOB, GUEST, [HOST], lambda body: None)
    for offer in offers:
        guest._on_frame(offer)
    with pytest.raises(ProtocolError, match="host-10000 has started more than 5 times"):
        guest.check()
    guest.close(remove=True)


def check_that_it_changes_nothing(hub: Hub, held: list[bytes], guest: Player, host: Player) -> None:
    """What an earlier run of the host had sent comes now, and the job goes on as it was."""
    live = guest.session.transport._peers[str(HOST)].live
    for body in held:
        hub.put(JOB, HOST, GUEST, body)
    until(lambda: not hub.waiting(JOB, GUEST))
    time.sleep(0.1)
    assert guest.session.transport._peers[str(HOST)].live is live
    host.session.federation().send(GUEST, "y", 7)
    assert guest.session.federation().receive(HOST, "y", anything) == 7
    end(guest, host)


def test_a_frame_that_was_held_back_does_not_bring_an_earlier_run_back():
    hub = recording()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    late = host.session.transport
    again = player(hub, HOST)
    host.session.transport.inner._stopped.set()
    meet_again(guest, again)
    run = late._peers[str(GUEST)].live
    held = run.seal(pack(Alive(job=JOB, sender=str(HOST), receiver=str(GUEST))))
    check_that_it_changes_nothing(hub, [held], guest, again)


def test_a_run_of_which_all_was_held_back_does_not_come_to_life_after_the_next():
    hub = recording()
    guest, first = player(hub, GUEST), player(hub, HOST)
    usual, held = hub.put, []

    def hold_back(job_id, sender, to, body):
        if to == GUEST and body.startswith(sealed.SEALED_MAGIC + sealed._SEALED):
            held.append(body)
        else:
            usual(job_id, sender, to, body)

    hub.put = hold_back
    guest_meets = threading.Thread(target=guest.session.meet, daemon=True)
    guest_meets.start()
    threading.Thread(target=together, args=(first.session.meet,), daemon=True).start()
    until(lambda: held)
    first.session._stopped = True  # killed
    first.session.transport.inner._stopped.set()
    hub.put = usual
    again = player(hub, HOST)
    assert again.session.meet() == []
    guest_meets.join(10)
    check_that_it_changes_nothing(hub, held, guest, again)


def test_last_words_that_are_repeated_are_no_sign_of_life():
    hub = recording()
    guest, host = player(hub, GUEST, wait=1.0), player(hub, HOST, wait=1.0)
    meet(guest, host)
    host.session.transport.close(remove=False)  # killed
    names = {"job": JOB, "sender": str(HOST), "receiver": str(GUEST)}
    body = pack(Abort(**names, nonce="0000000000000-0000000000000000", reason="long ago", sent_at=1.0))
    [note] = SealedTransport(MemoryTransport(hub), KEYS["10000"]).notes(JOB, HOST, {GUEST: body}).values()
    over = threading.Event()

    def repeat():
        while not over.wait(0.2):
            hub.put(JOB, HOST, GUEST, note)

    threading.Thread(target=repeat, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(PeerTimeout, match="host-10000 has given no sign of life"):
        guest.session.federation().receive(HOST, "x", anything)
    assert time.monotonic() - began < 4
    over.set()
    end(guest)


def test_who_has_left_tells_a_peer_that_comes_back_as_without_encryption():
    hub = Hub()
    guest, host = player(hub, GUEST), player(hub, HOST)
    meet(guest, host)
    ended = guest.session.id
    for one in (guest, host):
        one.session.transport.close(remove=True)
    again, left = player(hub, HOST, wait=8.0), player(hub, GUEST)

    def leave():
        time.sleep(0.5)
        left.session.leave(ended)

    began = time.monotonic()
    outcome, _ = together(lambda: again.session.meet(ended=ended), leave)
    assert isinstance(outcome, PeerFinished) and time.monotonic() - began < 5
    again.session.abort("over")


@pytest.mark.parametrize("low", [number for number in LOW_ORDER if number])  # zero is how an offer says "not known"
def test_an_ephemeral_key_of_low_order_is_refused(low):
    hub = Hub()
    guest, host = player(hub, GUEST, wait=2.0), player(hub, HOST, wait=2.0)
    host.session.transport._public = low.to_bytes(32, "little")
    at_guest, _ = together(guest.session.meet, host.session.meet)
    assert isinstance(at_guest, ProtocolError) and "the ephemeral key of host-10000 is none" in str(at_guest)
    end(guest, host)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"private_key": "abc"}, "transport.private_key"),
        ({"private_key": encode_key(bytes(31))}, "transport.private_key"),
        ({"peer_keys": {"1": "x"}}, "transport.private_key"),
        ({"private_key": encode_key(bytes(range(32))), "peer_keys": {"1": "x"}}, "transport.peer_keys.1"),
        ({"private_key": encode_key(bytes(range(32))), "peer_keys": ["x"]}, "transport.peer_keys"),
        ({"private_key": encode_key(bytes(range(32))), "peer_keys": {"a/b": "x"}}, "not a party id"),
    ],
)
def test_keys_that_are_none_are_named_without_the_secret(config, path):
    with pytest.raises(ConfigError, match=path) as caught:
        transport_from_config({"kind": "directory", "path": "/tmp/x", **config})
    secret = config.get("private_key", "")
    assert not secret or secret not in str(caught.value)


def test_the_command_prints_a_pair(capsys):
    assert command.main([]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines()[:3])
    private, public = (decode_key(lines[name].strip(), name) for name in ("private key", "public key"))
    assert Keys(private).public == public and fingerprint(public) == lines["fingerprint"].strip()
    assert command.main(["x"]) == 2


def test_private_keys_do_not_show():
    keys = KEYS["9999"]
    assert encode_key(keys.private) not in repr(keys) and repr(keys.private) not in repr(keys)
