"""Messages that no honest peer sends: an error that names the sender, or no effect; never a hang or a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_fate.errors import FateError, ProtocolError
from airflow_provider_fate.runtime.federation import exchange, wire
from airflow_provider_fate.runtime.federation.checks import DictOf
from airflow_provider_fate.runtime.federation.inbox import Inbox, Limits
from airflow_provider_fate.runtime.federation.memory import Hub
from airflow_provider_fate.runtime.federation.messages import Abort, Alive, Bye, Data, Hello, pack, unpack
from tests.unit.federation.playing import GUEST, HOST, JOB, Player, anything, hello, met, say, together, until


def data(session: str = "s", **fields) -> Data:
    given_ = {"tag": "x", "sequence": 0, "chunk": 0, "chunks": 1, "size": 5} | fields
    return Data(**{"job": JOB, "sender": str(HOST), "receiver": str(GUEST), "session": session} | given_)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"FATE",
        b"FATE\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n",
        b"FATE\x01\0\0\0\xc1",
        b"FATE\x01\0\0\0\xc0",
        b"FATE\x02\0\0\0\x80",
        pack(Bye(job=JOB, sender="host-10000", receiver="guest-9999", session="")) + b"more",
        pack(Bye(job=JOB, sender="host-10000", receiver="guest-9999", session=""))[:-1],
        b"FATE" + (4).to_bytes(4, "little") + b"\x91\x91\x91\xc0",
        b"FATE" + (200_001).to_bytes(4, "little") + b"\x91" * 200_000 + b"\xc0",
    ],
)
def test_what_is_no_message_ends_the_waiting(body):
    with pytest.raises(ValueError):
        unpack(body)
    hub = Hub()
    with met(hub) as (guest, _):
        hub.put(JOB, HOST, GUEST, body)
        with pytest.raises(ProtocolError, match="over memory is not understood"):
            guest.session.federation().receive(HOST, "x", anything)


@pytest.mark.parametrize(
    "fields",
    [
        {"job": "job-2"},
        {"sender": "host-666"},
        {"sender": "guest-9999"},
        {"receiver": "host-10000"},
        {"sender": "\x1b[2J"},
    ],
)
def test_messages_of_another_job_or_party_name_both(fields):
    hub = Hub()
    with met(hub) as (guest, _):
        message = {"job": JOB, "sender": str(HOST), "receiver": str(GUEST)} | fields
        say(hub, HOST, GUEST, Alive(**message))
        with pytest.raises(ProtocolError, match="of job job-.* came to guest-9999 of job job-1") as error:
            guest.session.federation().receive(HOST, "x", anything)
        assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("session", ["", "another"])
def test_messages_of_another_session_have_no_effect(session):
    hub = Hub()
    with met(hub) as (guest, host):
        say(hub, HOST, GUEST, data(session), [b"\x01\0\0\0\xc0"])
        say(hub, HOST, GUEST, Bye(job=JOB, sender=str(HOST), receiver=str(GUEST), session=session))
        say(hub, HOST, GUEST, Alive(job=JOB, sender=str(HOST), receiver=str(GUEST), session=session, sent=99))
        host.session.federation().send(GUEST, "x", 5)
        assert guest.session.federation().receive(HOST, "x", anything) == 5


@pytest.mark.parametrize(
    ("fields", "payload", "words"),
    [
        ({"size": 6}, b"\x01\0\0\0\xc0", "piece 0 has 5 bytes, expected 6"),
        ({"size": 4}, b"\x01\0\0\0\xc0", "piece 0 has 5 bytes, expected 4"),
        ({"size": 1 << 62}, b"\x01\0\0\0\xc0", "at most"),
        ({"chunks": 2, "chunk": 2}, b"\x01\0\0", "piece 2 of 2"),
        ({"chunks": 2, "chunk": 1 << 61}, b"\x01\0\0", "piece"),
        ({"chunks": 4}, b"\x01\0", "4 pieces of 5 bytes"),
        ({"chunks": 6}, b"", "6 pieces of 5 bytes"),
        ({"chunks": 1 << 61, "size": 1 << 31}, b"", "pieces"),
        ({"sequence": 1 << 61}, b"\x01\0\0\0\xc0", "while value 0 is missing"),
        ({}, b"\x01\0\0\0\xc1", "malformed"),
        ({}, b"\x09\0\0\0\xc0", "structure has 9 bytes"),
    ],
)
def test_pieces_that_do_not_fit(fields, payload, words):
    hub = Hub()
    with met(hub) as (guest, _):
        say(hub, HOST, GUEST, data(guest.session._session, **fields), [payload])
        with pytest.raises(ProtocolError, match=words) as error:
            guest.session.federation().receive(HOST, "x", anything)
        assert error.value.party == "host-10000"


@pytest.mark.parametrize("change", [{"tag": "y"}, {"chunks": 3}, {"size": 6}])
def test_pieces_that_contradict_each_other(change):
    hub = Hub()
    with met(hub) as (guest, _):
        session = guest.session._session
        say(hub, HOST, GUEST, data(session, chunks=2), [b"\x01\0\0"])
        say(hub, HOST, GUEST, data(session, **({"chunks": 2, "chunk": 1} | change)), [b"\0\xc0"])
        with pytest.raises(ProtocolError, match="contradict"):
            guest.session.federation().receive(HOST, "x", anything)


def test_a_hello_whose_run_is_not_of_its_nonce():
    hub = Hub()
    with met(hub) as (guest, _):
        say(hub, HOST, GUEST, hello(HOST, GUEST, "n", run="another.1"))
        with pytest.raises(ProtocolError, match="host-10000 broke the protocol"):
            guest.session.federation().receive(HOST, "x", anything)


def test_a_peer_that_never_agrees_on_who_meets_is_not_waited_for_without_end():
    """It is alive all the time, and says of the host's own run what is not so."""
    guest = Player(Hub(), GUEST, wait=0.5)
    over = threading.Event()

    def talk():
        number = 0
        while not over.wait(0.05):
            number += 1
            view = {str(GUEST): guest.session._run, str(HOST): "another"}
            guest.session._deliver(pack(hello(HOST, GUEST, "n", view, number=number)))

    guest.session._digest = b""
    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    with pytest.raises(ProtocolError, match="host-10000 is here, and for 0 s has not agreed on who meets"):
        guest.session.meet()
    over.set()
    thread.join()
    guest.session.abort("over")


def test_a_peer_that_starts_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(exchange, "_RUNS", 5)
    with met(Hub()) as (guest, _):
        for number in range(7):
            guest.session._deliver(pack(hello(HOST, GUEST, f"n{number}")))
        with pytest.raises(ProtocolError, match="host-10000 broke the protocol: it has started more than 5 times"):
            guest.session.check()


@pytest.mark.parametrize("header", [b"\xa5hello\xa4kind", b"\xa4kind\xaaa\nb\x1b[2J\0c"])
def test_the_reason_repeats_no_control_character(header):
    with pytest.raises(ValueError, match="malformed") as error:
        unpack(b"FATE" + (len(header) + 1).to_bytes(4, "little") + b"\x81" + header)
    with pytest.raises(ValueError, match="expected the keys") as keys:
        DictOf({"x": anything})({"a\nb" * 10_000: 1})
    for one in (error, keys):
        assert str(one.value).isprintable() and len(str(one.value)) < 500


@pytest.mark.parametrize("value", ["text", -1, 1 << 63, None, [1], 1.5])
@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(Data)])
def test_a_header_with_a_field_of_another_type(name, value):
    good = msgspec.msgpack.decode(msgspec.msgpack.encode(data()))
    if type(good[name]) is type(value) and value != -1:
        return
    header = msgspec.msgpack.encode(good | {name: value})
    with pytest.raises(ValueError, match="malformed"):
        unpack(b"FATE" + len(header).to_bytes(4, "little") + header)


def test_a_large_size_alone_takes_no_memory():
    inbox = Inbox(Limits())
    for number in range(2):
        inbox.add(data(tag=str(number), sequence=number, size=3 << 30, chunks=3072), memoryview(bytes(1 << 20)))
    with open("/proc/self/statm") as statm:
        assert int(statm.read().split()[1]) * 4096 < 2 << 30


def test_a_value_that_nobody_has_room_for():
    inbox = Inbox(Limits(unread=1000))
    with pytest.raises(ValueError, match="at most .* values of 1000 bytes"):
        inbox.add(data(size=1001), memoryview(bytes(1001)))


def test_pieces_in_any_order_and_number():
    value = b"".join(wire.encode(np.arange(500)))
    chunks = 7
    length = -(-len(value) // chunks)
    pieces = [
        (data(chunk=number, chunks=chunks, size=len(value)), value[number * length : (number + 1) * length])
        for number in range(chunks)
    ]
    for seed in range(20):
        inbox = Inbox(Limits())
        order = pieces + pieces
        random.Random(seed).shuffle(order)
        assert sum(inbox.add(header, memoryview(piece)) for header, piece in order) == 1
        assert wire.decode(inbox.take("x")).tolist() == list(range(500))
        assert inbox.take("x") is None and inbox.taken("x")


_names = st.sampled_from([str(GUEST), str(HOST), "host-1", "x"])
_texts = st.sampled_from(["", "s", "n", "n.0", "n.1", "m.0", "\x00", "ü" * 100])
_numbers = st.sampled_from([0, 1, 2, 3, 5, 1 << 31, 1 << 62])
_views = st.dictionaries(_names, _texts.filter(len), max_size=3)


def _messages(session: str, run: str):
    address = {"job": st.just(JOB), "sender": st.just(str(HOST)), "receiver": st.just(str(GUEST))}
    sessions = st.sampled_from([session, "s", ""])
    return st.one_of(
        st.builds(
            Data,
            **address,
            session=sessions,
            tag=_texts.filter(len),
            sequence=_numbers,
            chunk=_numbers,
            chunks=_numbers.filter(bool),
            size=_numbers.filter(bool),
        ),
        st.builds(
            Hello,
            **address,
            protocol=_numbers,
            nonce=_texts.filter(len),
            run=_texts.filter(len),
            number=_numbers,
            view=_views | st.just({str(GUEST): run}),
            parties=st.lists(_names, max_size=3),
            digest=st.binary(max_size=3),
            digests=st.dictionaries(_texts, st.binary(max_size=3), max_size=2),
            checkpoints=st.lists(_texts, max_size=2),
        ),
        st.builds(
            Abort,
            **address,
            nonce=_texts.filter(len),
            target=_texts,
            reason=_texts,
            sent_at=st.floats(),
        ),
        st.builds(Alive, **address, session=sessions, sent=_numbers),
        st.builds(Bye, **address, session=sessions, sent=_numbers, left=st.booleans()),
    )


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_sequence_of_messages_is_survived(draw):
    """The thread of the transport lives on, and whoever waits ends with an error of ours or a value."""
    hub = Hub()
    guest, host = Player(hub, GUEST, wait=0.05), Player(hub, HOST)
    guest.session._began, guest.session._heartbeat = 0, 0.01
    meet = draw.draw(st.booleans())
    try:
        if meet:
            guest.session.wait_seconds = 5
            assert together(guest.session.meet, host.session.meet) == [[], []]
            guest.session.wait_seconds = 0.05
        messages = _messages(guest.session._session or "s", guest.session._run or "r")
        for message in draw.draw(st.lists(messages, max_size=8)):
            payload = draw.draw(st.binary(max_size=6)) if isinstance(message, Data) else b""
            guest.session._deliver(pack(message, [payload]))
        with pytest.raises(FateError):
            if meet:
                guest.session.federation().receive(HOST, "missing", anything)
            else:
                guest.session.meet()
    finally:
        guest.session.abort("over")
        host.session.abort("over")


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_message_or_refused(body):
    header = body[:200]
    for candidate in (body, b"FATE" + body, b"FATE" + len(header).to_bytes(4, "little") + body):
        with contextlib.suppress(ValueError):
            unpack(candidate)


def test_limits_can_be_changed():
    assert dataclasses.replace(Limits(), value=5).value == 5


def test_the_transport_thread_survives_what_ends_the_session():
    hub = Hub()
    with met(hub) as (guest, _):
        hub.put(JOB, HOST, GUEST, b"rubbish")
        until(lambda: guest.session._fatal)
        assert guest.session.transport._thread.is_alive()
