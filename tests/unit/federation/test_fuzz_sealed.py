"""Frames that whoever carries them made, changed, repeated or mixed: nothing but what the peer sealed is delivered."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_fate.errors import FateError, ProtocolError, TransportError
from airflow_provider_fate.runtime.crypto.curve25519 import LOW_ORDER
from airflow_provider_fate.runtime.federation import sealed
from airflow_provider_fate.runtime.federation.keys import Keys
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import Abort, Alive, pack
from airflow_provider_fate.runtime.federation.sealed import SealedTransport
from tests.fuzzing import byte_recipes, cases, changed
from tests.unit.federation.playing import GUEST, HOST, JOB, PAIR, Player
from tests.unit.federation.test_fuzz_messages import SPOILT, VALUES, Spoiling, blamed, converse
from tests.watching import printed, watched

SECONDS, MEBIBYTES = 10.0, 64.0
PRIVATE = {"9999": bytes(range(32)), "10000": bytes(range(1, 33)), "666": bytes(range(2, 34))}
PUBLIC = {party_id: Keys(private).public for party_id, private in PRIVATE.items()}
KEYS = {
    own: Keys(private, {party_id: public for party_id, public in PUBLIC.items() if party_id != own})
    for own, private in PRIVATE.items()
}
NAMES = {"job": JOB, "sender": str(HOST), "receiver": str(GUEST)}


class End:
    """One party's transport without a session: what it delivers, and what it sends."""

    def __init__(self, me: Any, job: str = JOB, keys: Keys | None = None) -> None:
        self.delivered: list[bytes] = []
        self.hub = Hub()
        self.hub.record = []
        self.me = me
        self.transport = SealedTransport(MemoryTransport(self.hub), keys or KEYS[me.party_id])
        self.transport.open(job, me, [party for party in PAIR if party != me], self.delivered.append)

    def frames(self) -> list[bytes]:
        """What it has sent since the last call, when no more comes."""
        end = time.monotonic() + 2
        while self.transport._todo.qsize() and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.003)
        found, self.hub.record = [body for _, body in self.hub.record], []
        return found

    def close(self) -> None:
        self.transport.close(remove=True)


def body(number: int) -> bytes:
    return pack(Alive(**NAMES, session="s", sent=number))


def joined(guest: End, host: End) -> list[bytes]:
    """Let both find each other; the host's frames on the way."""
    seen: list[bytes] = []
    host.transport.send(GUEST, body(0))
    guest.transport.send(HOST, pack(Alive(job=JOB, sender=str(GUEST), receiver=str(HOST))))
    for _ in range(8):
        frames = host.frames()
        seen += frames
        for frame in frames:
            guest.transport._on_frame(frame)
        back = guest.frames()
        for frame in back:
            host.transport._on_frame(frame)
        if not frames and not back:
            break
    assert guest.transport._peers[str(HOST)].live is not None
    return seen


#: which frame, what is changed in it, and how many times more it comes
_frames = st.tuples(
    st.sampled_from(["offer", "sealed", "sealed", "note", "own", "other", "old"]),
    st.lists(byte_recipes(), max_size=2),
    st.integers(0, 2),
)


@cases(250)
@given(st.lists(_frames, min_size=1, max_size=6), st.booleans())
def test_frames_with_other_bytes(drawn: list[Any], met: bool) -> None:
    """Of every kind, of this run, of another job and another run, and of this party's own, changed and repeated."""
    with watched(SECONDS, MEBIBYTES):
        guest, host, elsewhere = End(GUEST), End(HOST), End(HOST, "job-2")
        try:
            seen = joined(guest, host) if met else []
            host.transport.send(GUEST, body(1))
            note = pack(Abort(**NAMES, nonce="n", reason="x"))
            elsewhere.transport.send(GUEST, body(2))
            own = pack(Alive(job=JOB, sender=str(GUEST), receiver=str(HOST)))
            guest.transport.send(HOST, own)
            kinds = {
                "offer": [host.transport._offer(host.transport._peers[str(GUEST)])],
                "sealed": host.frames(),
                "note": list(host.transport.notes(JOB, HOST, {GUEST: note}).values()) if not met else seen[:1],
                "own": guest.frames() or [guest.transport._offer(guest.transport._peers[str(HOST)])],
                "other": elsewhere.frames(),
                "old": seen or [b""],
            }
            authentic = {body(0), body(1), note}
            guest.delivered.clear()
            for kind, steps, again in drawn:
                frame = kinds[kind][0]
                for step in steps:
                    frame = changed(step, frame)
                for _ in range(1 + again):
                    guest.transport._on_frame(frame)
            assert set(guest.delivered) <= authentic, "something was delivered that nobody sealed"
            alive = [one for one in guest.delivered if one != note]
            assert len(alive) == len(set(alive)), "something was delivered twice"
            try:
                guest.transport.check()
            except (ProtocolError, TransportError) as error:
                assert blamed(printed(error), HOST) or "party outside of the job" in str(error), error
        finally:
            for one in (guest, host, elsewhere):
                one.close()


_REGIONS = {"magic": 0, "kind": 4, "run": 5, "counter": 13, "content": 21, "tag": -1}


@cases(120)
@given(st.sampled_from(list(_REGIONS)), st.integers(1, 255), st.integers(0, 7), st.booleans())
def test_every_part_of_a_sealed_frame_is_authentic(region: str, change: int, further: int, first: bool) -> None:
    with watched(SECONDS, MEBIBYTES):
        guest, host = End(GUEST), End(HOST)
        try:
            joined(guest, host)
            guest.delivered.clear()
            host.transport.send(GUEST, body(5))
            (frame,) = host.frames()
            start = _REGIONS[region]
            at = min(start + further, len(frame) - 1) if start >= 0 else len(frame) - 1 - further
            if region in ("magic", "run", "counter"):
                at = min(at, start + {"magic": 3, "run": 7, "counter": 7}[region])
            spoilt = frame[:at] + bytes([frame[at] ^ change]) + frame[at + 1 :]
            if not first:
                guest.transport._on_frame(frame)
            guest.transport._on_frame(spoilt)
            if first:
                guest.transport._on_frame(frame)
            assert guest.delivered == [body(5)]
        finally:
            guest.close()
            host.close()


_LOW = [number.to_bytes(32, "little") for number in LOW_ORDER]
_KEYS = st.sampled_from([*_LOW, bytes(32), b"\xff" * 32, *PUBLIC.values(), b"own", b"long"])


@cases(150)
@given(st.tuples(_KEYS, _KEYS, _KEYS, _KEYS), st.binary(max_size=300), st.booleans(), st.integers(0, 255))
def test_offers_of_any_keys(keys: Any, name: bytes, right: bool, length: int) -> None:
    """Made by the peer itself, which has its long-term key, and by others, who have not."""
    with watched(SECONDS, MEBIBYTES):
        guest = End(GUEST)
        host = SealedTransport(MemoryTransport(Hub()), KEYS["10000"] if right else Keys(os.urandom(32), PUBLIC))
        host._prepare(JOB, HOST, [GUEST])
        pair = host._peers[str(GUEST)].pair
        made = [{b"own": guest.transport._public, b"long": pair.own_public}.get(key, key) for key in keys]
        said = sealed._name(HOST) if length % 2 else bytes([length]) + name
        head = sealed.SEALED_MAGIC + sealed._OFFER + b"".join(made) + said
        frame = head + sealed.hmac.digest(pair.offer_key(mine=True), head, "sha256")
        try:
            for _ in range(2):
                guest.transport._on_frame(frame)
            assert not guest.delivered and len(guest.transport._peers[str(HOST)].runs) <= int(right)
            guest.transport.check()
        except ProtocolError as error:
            assert str(HOST) in printed(error) or "party outside of the job" in str(error)
        finally:
            guest.close()


def test_floods_take_a_bounded_amount_of_memory() -> None:
    """10^5 frames: offers of ever new runs, offers that are repeated, notes, frames of no run, and of this one."""
    guest, host = End(GUEST), End(HOST)
    seen = joined(guest, host)
    peer = guest.transport._peers[str(HOST)]
    offers = []
    for _ in range(sealed._RUNS + 50):
        one = SealedTransport(MemoryTransport(Hub()), KEYS["10000"])
        one._prepare(JOB, HOST, [GUEST])
        offers.append(one._offer(one._peers[str(GUEST)]))
    [note] = host.transport.notes(JOB, HOST, {GUEST: pack(Abort(**NAMES, nonce="n", reason="x"))}).values()
    guest.hub.record = None
    outside = b"FSEC\x02" + bytes(40)
    with watched(120, MEBIBYTES):
        for number in range(33_000):
            guest.transport._on_frame(offers[number % len(offers)])
            guest.transport._on_frame(seen[-1])
            guest.transport._on_frame(outside[:-2] + number.to_bytes(2, "little"))
            if number % 10 == 0:
                guest.transport._on_frame(note)
    assert len(peer.runs) <= sealed._RUNS
    assert guest.transport._todo.qsize() < 1000
    try:
        guest.transport.check()
        raise AssertionError("a peer that starts without end is an error")
    except ProtocolError as error:
        assert f"{HOST} has started more than {sealed._RUNS} times" in printed(error)
    guest.close()
    host.close()


@cases(60)
@given(SPOILT)
def test_conversations_with_a_frame_spoilt(spoilt: tuple[int, str, float, int]) -> None:
    """Whatever is done to one frame, what the guest receives is what the host sent."""
    hub = Spoiling(*spoilt)
    guest, host = (
        Player(None, party, transport=SealedTransport(MemoryTransport(hub, 4096), KEYS[party.party_id]), wait=0.6)
        for party in PAIR
    )
    with watched(30, MEBIBYTES) as watch:
        outcomes, received = converse(guest, host)
        watch.lines += guest.lines + host.lines
    for tag, value in received.items():
        right = VALUES[tag]
        assert np.array_equal(value, right) if isinstance(right, np.ndarray) else value == right
    assert outcomes[0] != "done" or set(received) == set(VALUES)
    for one in outcomes:
        assert one == "done" or isinstance(one, FateError)
