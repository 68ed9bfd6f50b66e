"""How parties meet, refuse each other, and meet again; and what earlier tries cannot do."""

from __future__ import annotations

import threading
import time

import pytest

from airflow_provider_fate.errors import (
    ConfigError,
    PeerFailed,
    PeerFinished,
    PeerRestarted,
    PeerTimeout,
    ProtocolError,
)
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation import exchange, waiting
from airflow_provider_fate.runtime.federation.memory import Hub
from airflow_provider_fate.runtime.federation.messages import Abort, Bye, Data, new_nonce, nonce_time, unpack
from airflow_provider_fate.runtime.federation.rendezvous import common_checkpoints
from tests.unit.federation.playing import (
    ALL,
    ARBITER,
    COMMON,
    GUEST,
    HOST,
    JOB,
    PAIR,
    Player,
    anything,
    hello,
    met,
    say,
    together,
    until,
)


def abort(sender: Party, to: Party, nonce: str, reason: str = "stopped", **fields) -> Abort:
    fields.setdefault("sent_at", time.time())
    return Abort(job=JOB, sender=str(sender), receiver=str(to), nonce=nonce, reason=reason, **fields)


def test_parties_meet_whenever_they_come():
    hub = Hub()
    guest, host, arbiter = (Player(hub, party, ALL) for party in ALL)
    outcomes = together(
        guest.session.meet,
        lambda: (time.sleep(0.3), host.session.meet())[1],
        lambda: (time.sleep(0.6), arbiter.session.meet())[1],
    )
    assert outcomes == [[], [], []]
    assert {"host-10000 is here", "arbiter-10000 is here"} <= set(guest.lines)
    assert len({player.session._session for player in (guest, host, arbiter)}) == 1
    for player in (guest, host, arbiter):
        player.session.abort("over")


def test_parties_meet_over_a_bad_network():
    for seed in range(5):
        with met(Hub(duplicate=0.5, delay=0.05, seed=seed), ALL):
            pass


def test_checkpoints_of_whom_a_part_does_not_concern():
    lists = [["lr#1", "lr@5#1", "ids#2", "@end"], ["ids#1", "lr", "@end"], ["lr@5#1", "lr#2", "ids", "@end"]]
    assert common_checkpoints(lists) == ["lr@5#1", "@end"]
    assert common_checkpoints([["lr"], ["lr@5#1", "lr@10#1"], ["lr@10#1"]]) == ["lr@10#1"]


def test_the_common_checkpoints_are_those_of_all_in_the_order_of_the_first():
    hub = Hub()
    guest, host, arbiter = (Player(hub, party, ALL) for party in ALL)
    outcomes = together(
        lambda: guest.session.meet(["c", "a", "b", "x"]),
        lambda: host.session.meet(["a", "b", "c", "y"]),
        lambda: arbiter.session.meet(["b", "c", "z"]),
    )
    assert outcomes == [["c", "b"]] * 3
    for player in (guest, host, arbiter):
        player.session.abort("over")


def test_one_party_alone_meets_nobody():
    player = Player(Hub(), GUEST, (GUEST,))
    assert player.session.meet(["a"]) == ["a"]
    player.session.finish()


def test_who_never_comes_is_named():
    guest = Player(Hub(), GUEST, wait=0.4)
    began = time.monotonic()
    with pytest.raises(PeerTimeout, match=r"host-10000 has not come to job job-1 within \d s \(messages over memory\)"):
        guest.session.meet()
    assert 0.4 <= time.monotonic() - began < 2
    guest.session.abort("over")


def test_only_the_one_who_never_comes_is_named():
    hub = Hub()
    guest, host = (Player(hub, party, ALL, wait=0.8) for party in (GUEST, HOST))
    for outcome in together(guest.session.meet, host.session.meet):
        assert isinstance(outcome, PeerTimeout) and outcome.party == "arbiter-10000"
    guest.session.abort("over")
    host.session.abort("over")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"component_parameters.common.hetero_lr_0.max_iter": 6}, "hetero_lr_0.max_iter"),
        ({"dsl.evaluation_0": {}}, r"dsl.evaluation_0 \(only at (guest-9999|host-10000)\)"),
    ],
)
def test_confs_that_differ_are_refused_on_both_sides_by_path(change, words):
    hub = Hub()
    guest, host = Player(hub, GUEST), Player(hub, HOST, common={**COMMON, **change})

    def meet(player):
        try:
            player.session.meet()
        except Exception as error:
            player.session.abort(str(error))
            raise

    for outcome, peer in zip(together(lambda: meet(guest), lambda: meet(host)), (HOST, GUEST), strict=True):
        assert isinstance(outcome, ConfigError), outcome
        assert outcome.problem.startswith(f"the job conf of {peer} differs")
        with pytest.raises(ConfigError, match=words):
            raise outcome
        assert "role" not in str(outcome)


def test_a_conf_too_large_to_name_its_paths_is_still_compared():
    hub = Hub()
    common = {f"a.long.path.to.parameter.{number}": number for number in range(100)}
    guest = Player(hub, GUEST, common=common, max_body=2000)
    host = Player(hub, HOST, common={**common, "x": 1}, max_body=2000)
    for outcome in together(guest.session.meet, host.session.meet):
        assert isinstance(outcome, ConfigError) and "is not that of" in str(outcome)
    guest.session.abort("over")
    host.session.abort("over")


def test_parties_that_differ_are_refused():
    hub = Hub()
    guest, host = Player(hub, GUEST, (GUEST, HOST)), Player(hub, HOST, ALL)
    outcomes = together(guest.session.meet, host.session.meet)
    assert isinstance(outcomes[0], ConfigError) and "arbiter-10000 at host-10000" in str(outcomes[0])
    assert isinstance(outcomes[1], ConfigError) and "guest-9999, host-10000 at guest-9999" in str(outcomes[1])
    guest.session.abort("over")
    host.session.abort("over")


def test_another_version_of_the_protocol_is_refused():
    hub = Hub()
    guest = Player(hub, GUEST)

    def host():
        until(lambda: guest.session._run)
        say(hub, HOST, GUEST, hello(HOST, GUEST, "n", {"guest-9999": guest.session._run}, protocol=2))

    outcomes = together(guest.session.meet, host)
    assert (
        isinstance(outcomes[0], ProtocolError) and "version 2" in str(outcomes[0]) and "version 1" in str(outcomes[0])
    )
    guest.session.abort("over")


def test_what_an_earlier_try_left_behind_is_no_obstacle():
    """Its hello has another conf, its data another session, its abort another nonce."""
    hub = Hub()
    earlier = time.time() - 30
    say(hub, HOST, GUEST, hello(HOST, GUEST, "old", {"guest-9999": "older.1"}, digest=b"another", protocol=7))
    data = Data(
        job=JOB, sender=str(HOST), receiver=str(GUEST), session="s", tag="x", sequence=0, chunk=0, chunks=1, size=1
    )
    say(hub, HOST, GUEST, data, [b"\xc0"])
    say(hub, HOST, GUEST, abort(HOST, GUEST, "old", sent_at=earlier))
    say(hub, HOST, GUEST, abort(HOST, GUEST, "old", target="older"))
    with met(hub) as (guest, host):
        host.session.federation().send(GUEST, "x", 1)
        assert guest.session.federation().receive(HOST, "x", anything) == 1


def test_the_last_words_of_an_earlier_try_are_told_when_no_other_comes():
    hub = Hub()
    say(hub, HOST, GUEST, hello(HOST, GUEST, "old"))
    say(hub, HOST, GUEST, abort(HOST, GUEST, "old", "the disk is full", sent_at=time.time() - 30))
    guest = Player(hub, GUEST, wait=0.4)
    with pytest.raises(PeerTimeout, match="the disk is full"):
        guest.session.meet()
    guest.session.abort("over")


@pytest.mark.parametrize("first", [True, False])
def test_an_abort_sent_since_this_try_began_ends_it_even_before_they_met(first):
    """A task is marked failed in Airflow while its application is still starting."""
    hub = Hub()
    guest = Player(hub, GUEST)
    tell = lambda: say(hub, HOST, GUEST, abort(HOST, GUEST, new_nonce(), "marked failed"))  # noqa: E731
    if first:
        tell()
        outcome = together(guest.session.meet)[0]
    else:
        outcome = together(guest.session.meet, lambda: (time.sleep(0.3), tell()))[0]
    assert isinstance(outcome, PeerFailed) and "marked failed" in str(outcome)
    guest.session.abort("over")


def test_an_abort_with_the_nonce_of_the_peer_ends_the_job_and_another_does_not():
    hub = Hub()
    with met(hub) as (guest, host):
        say(hub, HOST, GUEST, abort(HOST, GUEST, new_nonce(), "another try"))
        say(hub, HOST, GUEST, abort(HOST, GUEST, host.nonce, "for another try of the guest", target=new_nonce()))
        host.session.federation().send(GUEST, "x", 1)
        assert guest.session.federation().receive(HOST, "x", anything) == 1
        say(hub, HOST, GUEST, abort(HOST, GUEST, host.nonce, "killed", sent_at=0.0))
        with pytest.raises(PeerFailed, match="killed"):
            guest.session.federation().receive(HOST, "y", anything)


def restart(hub: Hub, player: Player, me: Party, parties) -> Player:
    """The process dies without a word, and the task is tried again."""
    player.session._stopped = True
    player.session.transport.close(remove=False)
    return Player(hub, me, parties)


def test_a_peer_that_comes_back_is_met_again_and_old_messages_are_gone():
    hub = Hub()
    with met(hub, ALL) as (guest, host, arbiter):
        host.session.federation().send(GUEST, "x", "old")
        again = restart(hub, host, HOST, ALL)

        def go_on(player, checkpoints):
            with pytest.raises(PeerRestarted, match="host-10000|guest-9999|arbiter-10000"):
                player.session.federation().receive(HOST, "never", anything)
            return player.session.meet(checkpoints)

        outcomes = together(
            lambda: again.session.meet(["one", "two"]),
            lambda: go_on(guest, ["one", "two", "three"]),
            lambda: go_on(arbiter, ["two", "one"]),
        )
        assert outcomes == [["one", "two"]] * 3
        again.session.federation().send([GUEST, ARBITER], "x", "new")
        for player in (guest, arbiter):
            assert player.session.federation().receive(HOST, "x", anything) == "new"
        again.session.abort("over")


def test_a_peer_that_failed_and_comes_back_while_this_party_computes_is_met_again():
    hub = Hub()
    with met(hub) as (guest, host):
        federation = guest.session.federation()
        host.session.abort("lost an executor")
        until(lambda: guest.session._peers["host-10000"].failed)
        again = Player(hub, HOST)

        def go_on():
            until(lambda: guest.session._peers["host-10000"].restarted)
            with pytest.raises(PeerRestarted):
                federation.receive(HOST, "x", anything)
            return guest.session.meet()

        assert together(go_on, again.session.meet) == [[], []]
        with pytest.raises(RuntimeError, match="has ended"):
            federation.send(HOST, "x", 1)
        again.session.abort("over")


def test_a_failure_is_not_forgotten_by_who_is_about_to_meet_again(monkeypatch):
    monkeypatch.setattr(waiting, "_AFTER_LAST_WORDS", 0.5)
    hub = Hub()
    with met(hub, ALL, wait=20) as (guest, host, arbiter):
        again = restart(hub, host, HOST, ALL)

        def go_on():
            with pytest.raises(PeerRestarted):
                guest.session.federation().receive(HOST, "never", anything)
            until(lambda: arbiter.session._peers["host-10000"].restarted)  # else it speaks to the one that was killed
            arbiter.session.abort("the disk is full")
            until(lambda: guest.session._peers["arbiter-10000"].failed)
            with pytest.raises(PeerTimeout, match="arbiter-10000 ended: the disk is full"):
                guest.session.meet()
            guest.session.abort("over")

        outcomes = together(go_on, again.session.meet)
        assert outcomes[0] is None and isinstance(outcomes[1], PeerFailed), outcomes
        again.session.abort("over")


def test_old_last_words_that_are_repeated_later_shorten_no_wait(monkeypatch):
    """What a peer said before we began is there when we begin."""
    monkeypatch.setattr(waiting, "_AFTER_LAST_WORDS", 0.3)
    monkeypatch.setattr(exchange, "_WAITED_FOR_US", 0.4)
    for later, least, most in ((0.0, 0.3, 3.5), (0.6, 4.0, 8.0)):
        hub = Hub()
        guest = Player(hub, GUEST, wait=4.0)
        old = abort(HOST, GUEST, new_nonce(), sent_at=1.0)
        threading.Timer(later, say, (hub, HOST, GUEST, old)).start()
        began = time.monotonic()
        with pytest.raises(PeerTimeout):
            guest.session.meet()
        assert least <= time.monotonic() - began < most
        guest.session.abort("over")


def test_byes_of_another_session_that_are_repeated_fill_no_log():
    hub = Hub()
    guest = Player(hub, GUEST, wait=1.0)
    for _ in range(50):
        say(hub, HOST, GUEST, Bye(job=JOB, sender=str(HOST), receiver=str(GUEST), session="another", sent=0))
    with pytest.raises(PeerTimeout):
        guest.session.meet()
    assert sum("has finished this job" in line for line in guest.lines) == 1
    guest.session.abort("over")


def test_parties_meet_again_and_again():
    hub = Hub(delay=0.01)
    with met(hub, ALL) as players:
        players = dict(zip(ALL, players, strict=True))
        for round_, who in enumerate([HOST, GUEST, ARBITER, HOST]):
            players[who] = restart(hub, players[who], who, ALL)

            def play(player, who=who):
                if player is not players[who]:
                    with pytest.raises(PeerRestarted):
                        while True:
                            player.session.check()
                            time.sleep(0.01)
                while True:
                    try:
                        player.session.meet()
                        federation = player.session.federation()
                        others = [party for party in ALL if party != federation.me]
                        federation.send(others, "x", str(federation.me))
                        return sorted(federation.receive(party, "x", anything) for party in others)
                    except PeerRestarted:
                        continue

            outcomes = together(*(lambda player=player: play(player) for player in players.values()))
            names = sorted(map(str, ALL))
            assert outcomes == [[name for name in names if name != str(party)] for party in ALL], round_
        for player in players.values():
            player.session.abort("over")


def test_who_comes_back_after_all_had_come_to_the_end_is_told_and_not_met():
    hub = Hub()
    with met(hub) as (guest, host):
        assert together(guest.session.agree, host.session.agree) == [None, None]
        ended = host.session.id
        again = restart(hub, host, HOST, PAIR)

        def come_back():
            with pytest.raises(PeerFinished, match="guest-9999"):
                again.session.meet(ended=ended)
            again.session.leave(ended)

        assert together(guest.session.finish, come_back) == [None, None]
        assert not any("not waiting" in line or "come back" in line for line in guest.lines)


def test_who_leaves_alone_hears_first_who_has_left():
    """The goodbye tells that all had come to the end; only what follows on it tells that nobody is there any more."""
    hub = Hub()
    with met(hub) as (guest, host):
        assert together(guest.session.agree, host.session.agree) == [None, None]
        ended = host.session.id
        again = restart(hub, host, HOST, PAIR)

        def bye(left):
            return Bye(job=JOB, sender=str(GUEST), receiver=str(HOST), session=ended, left=left)

        say(hub, GUEST, HOST, bye(False))
        with pytest.raises(PeerFinished, match="guest-9999"):
            again.session.meet(ended=ended)
        hub.record = []
        threading.Timer(0.2, say, (hub, GUEST, HOST, bye(True))).start()
        again.session.leave(ended)
        assert not [to for to, body in hub.record if to == GUEST and isinstance(unpack(body)[0], Bye)]


def test_who_comes_back_and_has_kept_nothing_says_so():
    hub = Hub()
    with met(hub) as (guest, host):
        assert together(guest.session.agree, host.session.agree) == [None, None]
        again = restart(hub, host, HOST, PAIR)
        again.session.wait_seconds = 1
        outcomes = together(lambda: guest.session.finish(wait=2), again.session.meet)
        assert outcomes[0] is None and isinstance(outcomes[1], PeerTimeout)
        assert any("guest-9999 has finished this job in an earlier session" in line for line in again.lines)


def test_an_end_is_not_agreed_on_where_one_comes_back_before_it():
    hub = Hub()
    with met(hub) as (guest, host):

        def agree():
            with pytest.raises(PeerRestarted):
                guest.session.agree()
            return guest.session.meet()

        again = restart(hub, host, HOST, PAIR)
        assert together(agree, again.session.meet) == [[], []]
        assert together(guest.session.agree, again.session.agree) == [None, None]
        again.session.abort("over")


def test_a_hello_that_comes_twice_is_no_restart():
    hub = Hub()
    hub.record = []
    with met(hub) as (guest, host):
        hellos = [body for to, body in hub.record if to == GUEST and b"hello" in body]
        for body in hellos:
            hub.put(JOB, HOST, GUEST, body)
        host.session.federation().send(GUEST, "x", 1)
        assert guest.session.federation().receive(HOST, "x", anything) == 1


def test_a_late_starter_gets_no_flood_of_hellos():
    hub = Hub()
    hub.record = []
    guest = Player(hub, GUEST, wait=3)
    together(guest.session.meet)
    assert 2 <= sum(b"hello" in body for _, body in hub.record) <= 4
    guest.session.abort("over")


def test_meeting_settles_quietly():
    hub = Hub()
    hub.record = []
    with met(hub, ALL):
        time.sleep(0.5)
        assert sum(b"hello" in body for _, body in hub.record) <= 30


def test_a_nonce_tells_when_the_try_began():
    assert abs(nonce_time(new_nonce()) - time.time()) < 1
    assert nonce_time("anything") is None
    assert new_nonce() != new_nonce()
