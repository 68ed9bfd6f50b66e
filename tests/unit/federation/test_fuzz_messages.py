"""Drawn messages, delivered to a real session: an error that names the peer, or no effect; never a hang or a crash."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation import wire
from airflow_provider_fate.runtime.federation.checks import Integer
from airflow_provider_fate.runtime.federation.memory import Hub
from airflow_provider_fate.runtime.federation.messages import MAGIC, SEALED_MAGIC, Data
from tests.fuzzing import FLOATS, INTEGERS, PLAIN, SCALARS, TEXTS, cases, place
from tests.unit.federation.playing import GUEST, HOST, JOB, Player, met, together
from tests.watching import printed, watched

#: what one case may take: two parties meet in it, and one is waited for in vain
SECONDS, MEBIBYTES = 10.0, 64.0
FIVE = b"".join(wire.encode(5))


@contextlib.contextmanager
def attacked() -> Iterator[tuple[Player, Player]]:
    """A guest and a host that have met; the guest waits only a moment for signs of life."""
    with watched(SECONDS, MEBIBYTES) as watch, met(Hub()) as (guest, host):
        yield guest, host
        assert guest.session.transport._thread.is_alive() and guest.session._thread.is_alive()
        watch.lines += guest.lines


def judge(guest: Player, host: Player) -> str:
    """The host sends what it should and is gone; the guest gets it, or ends with an error that says who is to blame."""
    with contextlib.suppress(FateError):
        host.session.federation().send(GUEST, "wanted", 5)
    host.session.transport.hub.disconnect(HOST)
    guest.session.wait_seconds = 0.05
    guest.session._heartbeat = 0.01
    try:
        value = guest.session.federation().receive(HOST, "wanted", Integer(0, 9))
        guest.session.check()
    except FateError as error:
        text = printed(error)
        assert blamed(text, HOST), text
        return type(error).__name__
    finally:
        host.session.transport.hub.reconnect(HOST)
    assert value == 5
    return "value"


# -- bytes that are no message

_starts = st.sampled_from([b"", MAGIC, SEALED_MAGIC, MAGIC + b"\xff\xff\xff\xff", MAGIC + b"\0\0\0\0", b"FAT", b"{"])


@cases(200)
@given(st.lists(st.tuples(_starts, st.binary(max_size=200), st.booleans()), min_size=1, max_size=3))
def test_any_bytes(bodies: list[tuple[bytes, bytes, bool]]) -> None:
    with attacked() as (guest, host):
        for start, rest, with_length in bodies:
            length = len(rest).to_bytes(4, "little") if with_length else b""
            guest.session._deliver(start + length + rest)
        assert judge(guest, host) == "ProtocolError"


# -- messages of every kind with other fields

_runs = st.sampled_from(["n", "n.0", "n.1", "m.0", "x" * 256, "x" * 257, "\n.0", "", "0000000000000-0000000000000000"])
_names = st.sampled_from(["guest-9999", "host-10000", "host-666", "arbiter-10000", "host-10000\n", "HOST-10000", "*"])
_counts = st.sampled_from([0, 1, 2, 3, 99_999, 100_000, 100_001, 1 << 20, (1 << 20) + 1, 1 << 32, 1 << 62]) | INTEGERS
_any = SCALARS | PLAIN
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "hello": {
        "protocol": _counts,
        "nonce": _runs | TEXTS,
        "run": _runs | TEXTS,
        "number": _counts,
        "view": st.dictionaries(_names, _runs | TEXTS, max_size=4),
        "parties": st.lists(_names | TEXTS, max_size=4),
        "digest": st.binary(max_size=64),
        "digests": st.dictionaries(TEXTS, st.binary(max_size=9), max_size=4),
        "checkpoints": st.lists(TEXTS, max_size=4),
    },
    "alive": {"session": _runs | TEXTS, "sent": _counts},
    "data": {
        "session": _runs | TEXTS,
        "tag": TEXTS | st.sampled_from(["other", "job/done", "t" * 512, "t" * 513]),
        "sequence": _counts,
        "chunk": _counts,
        "chunks": _counts,
        "size": _counts,
    },
    "abort": {"nonce": _runs | TEXTS, "target": _runs | TEXTS, "reason": TEXTS, "sent_at": FLOATS},
    "bye": {"session": _runs | TEXTS, "sent": _counts, "left": st.booleans()},
}
_ADDRESS = {"job": TEXTS, "sender": _names, "receiver": _names, "kind": TEXTS | st.sampled_from(list(FIELDS))}


def right(kind: str, guest: Player, host: Player) -> dict[str, Any]:
    """A message as the host sends it."""
    about = {"kind": kind, "job": JOB, "sender": str(HOST), "receiver": str(GUEST)}
    session = guest.session
    if kind == "hello":
        about |= msgspec.to_builtins(host.session._hello(str(GUEST)), builtin_types=(bytes,))
    elif kind == "abort":
        about |= {"nonce": host.nonce, "target": guest.nonce, "reason": "no reason", "sent_at": 0.0}
    elif kind == "data":
        about |= {"tag": "other", "sequence": 1, "chunk": 0, "chunks": 1, "size": len(FIVE)}
    if kind in ("data", "alive", "bye"):
        about["session"] = session.id
    return about


def packed(about: Any, payload: bytes = b"") -> bytes:
    header = msgspec.msgpack.encode(about)
    return MAGIC + len(header).to_bytes(4, "little") + header + payload


@st.composite
def _changes(draw: st.DrawFn) -> tuple[str, dict[str, Any], list[str], bytes]:
    """A kind of message, what to put into it, what to leave out of it, and what follows it."""
    kind = draw(st.sampled_from(list(FIELDS)))
    fields = FIELDS[kind] | _ADDRESS
    chosen = draw(st.lists(st.sampled_from(list(fields)), max_size=3, unique=True))
    changed = {name: draw(fields[name] if draw(st.integers(0, 3)) else _any) for name in chosen}
    if draw(st.integers(0, 9)) == 0:
        changed[draw(TEXTS)] = draw(PLAIN)
    missing = draw(st.lists(st.sampled_from(list(fields)), max_size=1)) if draw(st.integers(0, 5)) == 0 else []
    payload = draw(st.sampled_from([b"", FIVE, FIVE[:-1], FIVE + b"\0", bytes(1000)]) | st.binary(max_size=20))
    return kind, changed, missing, payload


@cases(500)
@given(st.lists(_changes(), min_size=1, max_size=4), st.booleans())
def test_messages_with_other_fields(changes: list[Any], first: bool) -> None:
    """Before and after the host's own value has come."""
    with attacked() as (guest, host):
        if first:
            host.session.federation().send(GUEST, "before", 6)
            assert guest.session.federation().receive(HOST, "before", Integer(6, 6)) == 6
        for kind, changed, missing, payload in changes:
            about = right(kind, guest, host) | changed
            for name in missing:
                about.pop(name, None)
            guest.session._deliver(packed(about, payload if kind == "data" else b""))
        judge(guest, host)


@cases(150)
@given(st.lists(_changes(), min_size=1, max_size=5))
def test_messages_before_anybody_is_met(changes: list[Any]) -> None:
    hub = Hub()
    guest, host = Player(hub, GUEST, wait=0.05), Player(hub, HOST, wait=0.05)
    guest.session._heartbeat = 0.01
    with watched(SECONDS, MEBIBYTES) as watch:
        for kind, changed, missing, payload in changes:
            about = right(kind, guest, host) | changed
            for name in missing:
                about.pop(name, None)
            guest.session._deliver(packed(about, payload if kind == "data" else b""))
        with pytest.raises(FateError) as caught:
            guest.session.meet()
        text = printed(caught.value)
        assert blamed(text, HOST), text
        guest.session.abort("over")
        watch.lines += guest.lines


# -- values in pieces


@cases(150)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(*[st.integers(0, 40)] * 2, st.integers(-3, 3), st.booleans()), min_size=1, max_size=60),
)
def test_pieces_of_several_values_at_once(chunks: int, steps: list[tuple[int, int, int, bool]]) -> None:
    """Pieces in any order, some of the wrong length, of values that go on at the same time."""
    body = b"".join(wire.encode(np.arange(60)))
    length = -(-len(body) // chunks)
    chunks = -(-len(body) // length)
    with attacked() as (guest, host):
        for sequence, chunk, wrong, again in steps:
            piece = body[chunk * length : (chunk + 1) * length + wrong]
            header = Data(
                job=JOB, sender=str(HOST), receiver=str(GUEST), session=guest.session.id, tag=f"t{sequence}",
                sequence=sequence + 1, chunk=chunk, chunks=chunks, size=len(body),
            )  # fmt: skip
            for _ in range(1 + again):
                guest.session._deliver(packed(msgspec.to_builtins(header), piece))
        judge(guest, host)


# -- MessagePack that means more than it is


def _nested(depth: int, opening: bytes, inside: bytes) -> bytes:
    return opening * depth + inside


_BOMBS = st.one_of(
    st.builds(
        _nested,
        st.sampled_from([1, 31, 32, 33, 1000, 100_000]),
        st.sampled_from([b"\x91", b"\x81\xa1x", b"\xdc\x00\x01", b"\x92\xc0", b"\x81\x91\xc0"]),
        st.binary(max_size=3),
    ),
    # arrays, maps, texts, bytes and extension types that say they are long
    st.builds(
        lambda head, length, rest: head + length + rest,
        st.sampled_from([b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"]),
        st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\xff\xff\xff"]),
        st.binary(max_size=50),
    ),
    # many small things: their objects take more memory than their bytes
    st.builds(
        lambda count, what: b"\xdd" + count.to_bytes(4, "big") + what * count,
        st.sampled_from([1000, 200_000]),
        st.sampled_from([b"\xc0", b"\x90", b"\x80", b"\xa1x", b"\xc4\x01x", b"\x01", b"\xca\0\0\0\0"]),
    ),
)


@cases(120)
@given(_BOMBS, st.sampled_from(["header", "view", "value"]))
def test_bombs(bomb: bytes, at: str) -> None:
    with attacked() as (guest, host):
        if at == "header":
            guest.session._deliver(MAGIC + len(bomb).to_bytes(4, "little") + bomb)
        elif at == "view":
            about = right("hello", guest, host) | {"view": "here"}
            header = msgspec.msgpack.encode(about).replace(b"\xa4here", bomb)
            guest.session._deliver(MAGIC + len(header).to_bytes(4, "little") + header)
        else:
            body = len(bomb).to_bytes(4, "little") + bomb
            about = right("data", guest, host) | {"tag": "wanted", "sequence": 0, "size": len(body)}
            guest.session._deliver(packed(about, body))
        assert judge(guest, host) == "ProtocolError"


# -- real conversations with one message spoilt


class Spoiling(Hub):
    """Spoils one of the bodies that the host sends.

    :param number: of the body
    :param how: see :func:`_spoilt`
    """

    def __init__(self, number: int, how: str, share: float, value: int) -> None:
        super().__init__()
        self.number, self.how, self.share, self.value = number, how, share, value
        self.count = 0
        self.held: bytes | None = None
        self.earlier: list[bytes] = []

    def put(self, job_id: str, sender: Any, to: Any, body: bytes) -> None:
        if sender != HOST:
            return super().put(job_id, sender, to, body)
        self.count += 1
        bodies = self._spoilt(body) if self.count == self.number else [body]
        self.earlier.append(body)
        if self.held is not None and self.count > self.number:
            bodies, self.held = [*bodies, self.held], None
        for one in bodies:
            super().put(job_id, sender, to, one)
        return None

    def _spoilt(self, body: bytes) -> list[bytes]:
        at = place(self.share, len(body))
        match self.how:
            case "cut":
                return [body[:at]]
            case "flip":
                return [body[:at] + bytes([body[at] ^ (self.value or 1)]) + body[at + 1 :]]
            case "twice":
                return [body, body]
            case "later":
                self.held = body
                return []
            case "lost":
                return []
            case "grown":
                return [body[:at] + bytes(1 + self.value) + body[at:]]
            case _:
                return [self.earlier[place(self.share, len(self.earlier))]] if self.earlier else []


SPOILT = st.tuples(
    st.integers(1, 12),
    st.sampled_from(["cut", "flip", "flip", "flip", "twice", "later", "lost", "grown", "replaced"]),
    st.floats(0, 1),
    st.integers(0, 255),
)
VALUES = {"one": 1, "array": np.arange(1000.0), "list": [{"a": [b"x", None, 2.5]}] * 3}


def converse(guest: Player, host: Player) -> tuple[list[Any], dict[str, Any]]:
    """Both meet, send and end; what came of it at each, and what the guest received."""
    received: dict[str, Any] = {}

    def at_guest() -> str:
        guest.session.meet()
        federation = guest.session.federation()
        federation.send(HOST, "go", True)
        for tag in VALUES:
            received[tag] = federation.receive(HOST, tag, lambda value: None)
        guest.session.agree()
        guest.session.finish()
        return "done"

    def at_host() -> str:
        host.session.meet()
        federation = host.session.federation()
        federation.receive(GUEST, "go", lambda value: None)
        for tag, value in VALUES.items():
            federation.send(GUEST, tag, value)
        host.session.agree()
        host.session.finish()
        return "done"

    def ended(step: Any, player: Player) -> Any:
        try:
            return step()
        except FateError as error:
            player.session.abort(str(error))
            return error

    hub = getattr(host.session.transport, "inner", host.session.transport).hub
    over = threading.Event()

    def lose() -> None:
        # who is alive is waited for, whatever it does: in the end it is not
        if not over.wait(3):
            hub.disconnect(HOST)
            over.wait(3)
            hub.reconnect(HOST)

    loser = threading.Thread(target=lose, daemon=True)
    loser.start()
    outcomes = together(lambda: ended(at_guest, guest), lambda: ended(at_host, host), timeout=15)
    over.set()
    loser.join()
    for one, peer in zip(outcomes, (HOST, GUEST), strict=True):
        assert one == "done" or isinstance(one, FateError), repr(one)
        if one != "done":
            assert blamed(printed(one), peer), one
    return outcomes, received


def blamed(text: str, peer: Party) -> bool:
    """Whether an error says whose message it is about."""
    return str(peer) in text or "over memory" in text or re.search(r"came to (guest-9999|host-10000) of job", text)


@cases(60)
@given(SPOILT)
def test_conversations_with_a_message_spoilt(spoilt: tuple[int, str, float, int]) -> None:
    """What no key protects may hold another value then, of the size of the one that was sent."""
    hub = Spoiling(*spoilt)
    guest, host = (Player(hub, party, wait=0.6, max_body=4096) for party in (GUEST, HOST))
    with watched(20, MEBIBYTES) as watch:
        outcomes, received = converse(guest, host)
        watch.lines += guest.lines + host.lines
    if spoilt[1] in ("twice", "later") and outcomes[0] == "done":
        assert set(received) == set(VALUES) and np.array_equal(received["array"], VALUES["array"])
