"""Messages through a directory: whole, in order, between processes, and gone afterwards."""

from __future__ import annotations

import multiprocessing
import os
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_fate.errors import PeerFailed, PeerTimeout, TransportError
from airflow_provider_fate.runtime.federation import waiting
from airflow_provider_fate.runtime.federation.abort import remove_left, tell_peers
from airflow_provider_fate.runtime.federation.checks import Array
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from tests.unit.federation.playing import ALL, ARBITER, GUEST, HOST, JOB, Player, anything, together, until


def listen(transport: DirectoryTransport, me=HOST, peers=(GUEST,)) -> list[bytes]:
    got: list[bytes] = []
    transport.open(JOB, me, peers, got.append)
    return got


def test_bodies_arrive_whole_and_in_order(tmp_path):
    guest, host = DirectoryTransport(tmp_path), DirectoryTransport(tmp_path)
    listen(guest, GUEST, [HOST])
    guest.send(HOST, b"early")
    got = listen(host)
    bodies = [os.urandom(number * 997 % 5000) for number in range(500)]
    for body in bodies:
        guest.send(HOST, body)
    until(lambda: len(got) == 501)
    assert got == [b"early", *bodies]
    guest.close(remove=True)
    host.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_two_threads_that_send_lose_nothing(tmp_path):
    guest, host = DirectoryTransport(tmp_path), DirectoryTransport(tmp_path)
    listen(guest, GUEST, [HOST])
    got = listen(host)

    def send(name):
        for number in range(300):
            guest.send(HOST, b"%s %d" % (name, number))

    together(lambda: send(b"a"), lambda: send(b"b"))
    until(lambda: len(got) == 600)
    for name in (b"a", b"b"):
        assert [int(body.split()[1]) for body in got if body.startswith(name)] == list(range(300))
    guest.close(remove=True)
    host.close(remove=True)


def test_only_the_user_may_look(tmp_path):
    previous = os.umask(0)
    try:
        transport = DirectoryTransport(tmp_path / "messages")
        listen(transport, GUEST, [HOST])
        transport.send(HOST, b"secret")
    finally:
        os.umask(previous)
    modes = {place: stat.S_IMODE(place.stat().st_mode) for place in [*(tmp_path / "messages").rglob("*")]}
    assert any(place.suffix == ".msg" for place in modes)
    assert all(mode == (0o700 if place.is_dir() else 0o600) for place, mode in modes.items())
    assert stat.S_IMODE((tmp_path / "messages").stat().st_mode) == 0o700
    transport.close(remove=False)


def test_drafts_are_not_read(tmp_path):
    host = DirectoryTransport(tmp_path)
    got = listen(host)
    inbox = tmp_path / JOB / "host-10000" / "guest-9999"
    (inbox / ".00-draft").write_bytes(b"half a mess")
    (inbox / "other.txt").write_bytes(b"something else")
    (inbox / ".01-draft").write_bytes(b"whole")
    (inbox / ".01-draft").rename(inbox / "1-000.msg")
    until(lambda: got)
    time.sleep(0.1)
    assert got == [b"whole"]
    host.close(remove=False)


def test_two_runs_of_one_party_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_provider_fate.runtime.federation.directory._ENDING", 0.2)
    first = DirectoryTransport(tmp_path)
    listen(first)
    with pytest.raises(TransportError, match="another process plays host-10000 in job job-1"):
        listen(DirectoryTransport(tmp_path))
    first.close(remove=True)
    second = DirectoryTransport(tmp_path)
    listen(second)
    second.close(remove=True)


def test_a_run_waits_a_while_for_an_earlier_one_to_end(tmp_path):
    first = DirectoryTransport(tmp_path)
    listen(first)
    threading.Timer(0.3, lambda: first.close(remove=True)).start()
    second, guest = DirectoryTransport(tmp_path), DirectoryTransport(tmp_path)
    got = listen(second)
    guest.attach(JOB, GUEST)
    guest.send(HOST, b"for the second")
    until(lambda: got)
    second.close(remove=True)


def test_jobs_that_nobody_touches_are_swept(tmp_path):
    def job(name: str, *parts: str) -> Path:
        place = tmp_path / name
        for part in parts or ("host-1/guest-1",):
            (place / part).mkdir(parents=True)
        return place

    old, other, new, ours = job("old"), job("not-ours", "holiday/photos"), job("new"), job("job-1")
    long_ago = time.time() - 3 * 86400
    for place in (old, other, ours):
        for each in [*place.rglob("*"), place]:
            os.utime(each, (long_ago, long_ago))
    transport = DirectoryTransport(tmp_path)
    listen(transport)
    assert not old.exists() and other.exists() and new.exists() and ours.exists()
    transport.close(remove=True)


def test_a_peer_that_takes_nothing_holds_the_sender_up(tmp_path):
    transport = DirectoryTransport(tmp_path, backlog=20_000)
    listen(transport, GUEST, [HOST])
    waits = []

    def on_wait(to):
        waits.append(to)
        if len(waits) == 2:
            raise InterruptedError("long enough")

    transport.on_wait = on_wait
    with pytest.raises(InterruptedError):
        for _ in range(1000):
            transport.send(HOST, bytes(5000))
    assert waits == [HOST] * 2
    assert sum(place.stat().st_size for place in tmp_path.rglob("*.msg")) < 20_000 + 16 * 5000 + 1
    transport.close(remove=True)


def test_who_waits_for_one_receiver_speaks_to_the_others(tmp_path):
    transport = DirectoryTransport(tmp_path, backlog=20_000)
    listen(transport, GUEST, [HOST, ARBITER])
    held, over = threading.Event(), threading.Event()

    def on_wait(to):
        held.set()
        assert over.wait(20)
        raise InterruptedError

    def send_without_end():
        for _ in range(1000):
            transport.send(HOST, bytes(5000))

    transport.on_wait = on_wait

    def speak():
        assert held.wait(20)
        try:
            transport.send(ARBITER, b"still here")
        finally:
            over.set()

    outcomes = together(send_without_end, speak)
    assert isinstance(outcomes[0], InterruptedError) and outcomes[1] is None
    transport.close(remove=True)


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TransportError, match=r"cannot use the directory .*/file for messages: .*directory"):
        listen(DirectoryTransport(tmp_path / "file"))


def test_a_directory_that_disappears_is_an_error_of_the_waiting(tmp_path):
    transport = DirectoryTransport(tmp_path / "messages")
    player = Player(None, HOST, transport=transport, wait=20)

    def spoil():
        until(lambda: transport._thread)
        inbox = tmp_path / "messages" / JOB / "host-10000" / "guest-9999"
        (inbox / "0.msg").mkdir()

    outcome = together(player.session.meet, spoil)[0]
    assert isinstance(outcome, TransportError) and "cannot read the directory" in str(outcome)
    player.session.abort("over")


def play(path, me, peer, done):
    player = Player(None, me, transport=DirectoryTransport(path, max_body=100_000), wait=30)
    player.session.meet()
    federation = player.session.federation()
    total = 0.0
    for number in range(20):
        federation.send(peer, f"{number}", np.full(50_000, number, np.float64))
        total += federation.receive(peer, f"{number}", Array("float64", (50_000,))).sum()
    player.session.finish()
    done.put((str(me), total))


def test_parties_in_processes_of_their_own(tmp_path):
    context = multiprocessing.get_context("fork")
    done = context.SimpleQueue()
    processes = [context.Process(target=play, args=(tmp_path, *pair, done)) for pair in ((GUEST, HOST), (HOST, GUEST))]
    for process in processes:
        process.start()
    assert dict(done.get() for _ in processes) == {"guest-9999": 9_500_000.0, "host-10000": 9_500_000.0}
    for process in processes:
        process.join(10)
    assert list(tmp_path.iterdir()) == []


def test_small_values_take_milliseconds_and_idling_little(tmp_path):
    players = [Player(None, me, transport=DirectoryTransport(tmp_path), wait=30) for me in (GUEST, HOST)]
    together(*(player.session.meet for player in players))
    guest, host = (player.session.federation() for player in players)

    def ping():
        times = []
        for number in range(150):
            began = time.perf_counter()
            guest.send(HOST, f"ping.{number}", number)
            guest.receive(HOST, f"pong.{number}", anything)
            times.append(time.perf_counter() - began)
        # the best third: the machine may be busy with other things for a while
        return min(sorted(times[part : part + 50])[25] for part in (0, 50, 100))

    def pong():
        for number in range(150):
            host.receive(GUEST, f"ping.{number}", anything)
            host.send(GUEST, f"pong.{number}", number)

    assert together(ping, pong)[0] < 0.02
    time.sleep(0.5)
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.2
    assert together(*(player.session.finish for player in players)) == [None, None]


def test_a_party_killed_from_outside_is_reported_at_once(tmp_path):
    players = [Player(None, me, ALL, transport=DirectoryTransport(tmp_path), wait=30) for me in ALL]
    together(*(player.session.meet for player in players))
    guest, host, arbiter = players
    config = {"kind": "directory", "path": str(tmp_path)}
    began = time.monotonic()
    tell_peers(config, JOB, HOST, ALL, "an-earlier-nonce", "not this one")
    time.sleep(0.2)
    guest.session.check()
    tell_peers(config, JOB, HOST, ALL, host.nonce, "the task was marked failed")
    for player in (guest, arbiter):
        with pytest.raises(PeerFailed, match="host-10000 ended: the task was marked failed"):
            player.session.federation().receive(HOST, "x", anything)
    assert time.monotonic() - began < 2
    for player in players:
        player.session.abort("over")


def test_telling_nobody_who_is_there_is_no_error(tmp_path):
    tell_peers({"kind": "directory", "path": str(tmp_path)}, JOB, GUEST, ALL, "nonce", "stopped")
    time.sleep(0.01)  # nonces tell milliseconds
    late = Player(None, HOST, transport=DirectoryTransport(tmp_path), wait=0.3)
    with pytest.raises(PeerTimeout, match="stopped"):
        late.session.meet()  # it began after that
    late.session.abort("over")


def test_who_is_stopped_after_its_peers_have_left_makes_nothing_for_them(tmp_path):
    config = {"kind": "directory", "path": str(tmp_path)}
    tell_peers(config, JOB, GUEST, ALL, "nonce", "stopped", last_words=True)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_leaves_is_removed_from_outside_of_it(tmp_path):
    config = {"kind": "directory", "path": str(tmp_path)}
    guest, host, arbiter = players = [Player(None, me, ALL, transport=DirectoryTransport(tmp_path)) for me in ALL]
    together(*(player.session.meet for player in players))
    with pytest.raises(TransportError, match="still uses .*host-10000"):
        remove_left(config, JOB, HOST, ALL, 0.1, for_absent=True)
    sent = tmp_path / JOB / str(ARBITER) / str(HOST)
    assert sent.is_dir() and (tmp_path / JOB / str(HOST)).is_dir()

    for player in (host, arbiter):
        player.session.transport.close(remove=False)
    remove_left(config, JOB, HOST, ALL, 1)
    assert sent.is_dir() and not (tmp_path / JOB / str(HOST)).exists()
    remove_left(config, JOB, HOST, ALL, 1, for_absent=True)
    assert not sent.exists() and (tmp_path / JOB / str(GUEST) / str(HOST)).is_dir(), "the guest is there"
    remove_left(config, JOB, ARBITER, ALL, 1, for_absent=True)
    guest.session.transport.close(remove=False)
    remove_left(config, JOB, GUEST, ALL, 1, for_absent=True)
    assert list(tmp_path.iterdir()) == []


def test_a_peer_that_ended_before_is_not_waited_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "_AFTER_LAST_WORDS", 0.5)
    tell_peers({"kind": "directory", "path": str(tmp_path)}, JOB, GUEST, ALL, "nonce", "there is no table")
    time.sleep(0.01)
    late = Player(None, HOST, transport=DirectoryTransport(tmp_path), wait=30)
    with pytest.raises(PeerTimeout, match="an earlier run of it ended: there is no table"):
        late.session.meet()
    late.session.abort("over")


def test_nothing_is_made_again_for_a_peer_that_has_left(tmp_path):
    guest, host = DirectoryTransport(tmp_path), DirectoryTransport(tmp_path)
    listen(guest, GUEST, [HOST])
    guest.send(HOST, b"before it comes")
    heard = listen(host, HOST, [GUEST])
    until(lambda: heard == [b"before it comes"], 5)
    host.close(remove=True)
    guest.send(HOST, b"a sign of life")
    assert not (tmp_path / JOB / str(HOST)).exists()
    again = DirectoryTransport(tmp_path)
    heard = listen(again, HOST, [GUEST])
    guest.send(HOST, b"to the next try")
    until(lambda: heard == [b"to the next try"], 5)
    for transport in (again, guest):
        transport.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_an_inbox_that_is_removed_under_a_living_party_is_made_again(tmp_path):
    """As by an earlier try of its own that is stopped late: senders make none again."""
    guest, host = DirectoryTransport(tmp_path), DirectoryTransport(tmp_path)
    heard = listen(host, HOST, [GUEST])
    listen(guest, GUEST, [HOST])
    guest.send(HOST, b"1")
    until(lambda: heard == [b"1"], 5)
    inbox = tmp_path / JOB / str(HOST) / str(GUEST)
    inbox.rmdir()
    until(inbox.exists, 5)
    guest.send(HOST, b"2")
    until(lambda: heard == [b"1", b"2"], 5)
    for transport in (host, guest):
        transport.close(remove=True)
