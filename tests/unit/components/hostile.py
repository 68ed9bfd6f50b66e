"""A component at all its parties, one of which sends something else under one tag."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.checks import Check
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session
from tests.watching import printed

#: errors about numbers that are sums of several parties', masked so that nobody can tell whose is wrong
NOBODY = ("the arbiter or a party whose numbers are in it", "diverged: ")
#: what a party does in a job
Part = Callable[[Federation], Any]
#: seconds for all parties together
TIME = 20.0
#: seconds without a sign of life, and until nobody is thought to send anything more
WAIT, STALLED = 1.0, 0.4


@dataclass(frozen=True, order=True)
class Kind:
    """Messages with the same meaning: numbers in their tags do not count."""

    sender: Party
    receiver: Party
    tag: str

    @classmethod
    def of(cls, sender: Party, receiver: Party, tag: str) -> Kind:
        return cls(sender, receiver, re.sub(r"[0-9]+", "#", tag))

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}: {self.tag}"


@dataclass
class Seen:
    """One message of a run in which all were honest, and how its receiver checked it."""

    tag: str
    value: Any
    check: Check


@dataclass
class Table:
    """How the cases of each kind ended at those who are honest."""

    ends: dict[Kind, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __str__(self) -> str:
        lines = []
        for kind, ends in sorted(self.ends.items()):
            said = ", ".join(f"{name} {count}" for name, count in ends.most_common())
            lines.append(f"  {kind}: {said}")
        return "\n".join(lines)


class Waiting:
    """Who waits for a message, and since when nothing has changed."""

    def __init__(self) -> None:
        self.parties: set[Party] = set()
        self.since = time.monotonic()
        self._lock = threading.Lock()

    def begins(self, party: Party) -> None:
        with self._lock:
            self.parties.add(party)
            self.since = time.monotonic()

    def ends(self, party: Party) -> None:
        with self._lock:
            self.parties.discard(party)
            self.since = time.monotonic()


class Tapped(Federation):
    """Passes on what a component sends and receives, to others first."""

    def __init__(
        self, inner: Federation, sent: Callable[..., Any], received: Callable[..., None], waiting: Waiting
    ) -> None:
        self.me, self.parties = inner.me, inner.parties
        self._inner, self._sent, self._received, self._waiting = inner, sent, received, waiting

    def send(self, to: Party | Iterable[Party], tag: str, value: Any) -> None:
        for party in [to] if isinstance(to, Party) else list(to):
            self._inner.send(party, tag, self._sent(self.me, party, tag, value))

    def receive(self, sender: Party, tag: str, check: Check) -> Any:
        self._received(self.me, sender, tag, check)
        self._waiting.begins(self.me)
        try:
            return self._inner.receive(sender, tag, check)
        finally:
            self._waiting.ends(self.me)

    def scoped(self, scope: str) -> Federation:
        return Tapped(self._inner.scoped(scope), self._sent, self._received, self._waiting)


def play(
    parts: Mapping[Party, Part],
    sent: Callable[..., Any] = lambda *given: given[-1],
    received: Callable[..., None] = lambda *_: None,
    hostile: Party | None = None,
) -> dict[Party, Any]:
    """Run all parties; of each, what it returned or the error that it ended with.

    Who is alive is waited for: no message tells whether it computes, or will never send what is waited for. So where
    all wait for each other, the hostile party goes without a word, and the others are to notice that.

    :raises TimeoutError: who has not ended
    """
    hub = Hub()
    ends: dict[Party, Any] = {}
    waiting = Waiting()
    sessions = {
        party: Session(
            MemoryTransport(hub), "job", party, tuple(parts), new_nonce(), TIME if hostile is None else WAIT, {}
        )
        for party in parts
    }

    def run(party: Party, part: Part) -> None:
        session = sessions[party]
        try:
            session.meet()
            ends[party] = part(Tapped(session.federation(), sent, received, waiting))
            waiting.begins(party)
            session.finish()
        except BaseException as error:
            ends[party] = error
            waiting.begins(party)
            session.abort(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=one, name=str(one[0]), daemon=True) for one in parts.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + TIME
    gone = hostile is None
    while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
        threads[0].join(0.02)
        for thread in threads[1:]:
            thread.join(0.001)
        if not gone and len(waiting.parties) == len(parts) and time.monotonic() > waiting.since + STALLED:
            sessions[hostile].transport.close(remove=False)
            gone = True
    if late := [thread.name for thread in threads if thread.is_alive()]:
        raise TimeoutError(f"these parties have not ended: {', '.join(late)}")
    return ends


def record(parts: Mapping[Party, Part]) -> dict[Kind, list[Seen]]:
    """All messages of a run of honest parties that a component receives, by kind."""
    values: dict[tuple[Party, Party, str], Any] = {}
    checks: dict[tuple[Party, Party, str], Check] = {}

    def sent(me: Party, to: Party, tag: str, value: Any) -> Any:
        values[me, to, tag] = value
        return value

    def received(me: Party, sender: Party, tag: str, check: Check) -> None:
        checks[sender, me, tag] = check

    for party, end in play(parts, sent, received).items():
        assert not isinstance(end, BaseException), (party, end)
    seen: dict[Kind, list[Seen]] = defaultdict(list)
    for (sender, receiver, tag), check in checks.items():
        seen[Kind.of(sender, receiver, tag)].append(Seen(tag, values[sender, receiver, tag], check))
    return dict(seen)


def attack(parts: Mapping[Party, Part], kind: Kind, tag: str, change: Callable[[Any], Any]) -> str:
    """Run all parties while one message is changed; how it ended at those who did not send it.

    :raises AssertionError: a party ended with something else than an error that says whose fault it is
    """

    def sent(me: Party, to: Party, sent_tag: str, value: Any) -> Any:
        return change(value) if (me, to, sent_tag) == (kind.sender, kind.receiver, tag) else value

    ends = play(parts, sent, hostile=kind.sender)
    words = []
    for party, end in ends.items():
        if party == kind.sender:
            continue
        if not isinstance(end, BaseException):
            words.append("done")
            continue
        if not isinstance(end, FateError):
            raise AssertionError(f"{party} ended with {type(end).__name__}: {end}") from end
        text = printed(end)
        if not any(str(other) in text for other in parts if other != party) and not any(map(text.count, NOBODY)):
            raise AssertionError(f"{party} names nobody: {type(end).__name__}: {text}") from end
        words.append(type(end).__name__)
    # who saw it itself, else what the others were told
    return min(words, key=lambda word: (word == "done", word == "PeerFailed"))
