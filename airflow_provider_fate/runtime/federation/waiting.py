"""How a session waits: until something is there, or somebody has ended, or is silent for too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from airflow_provider_fate.errors import FateError, PeerTimeout, ProtocolError
from airflow_provider_fate.runtime.federation.exchange import Exchange
from airflow_provider_fate.runtime.federation.rendezvous import Peer

_LOST = 60.0  # seconds after which a value that was sent and has not come is lost
_AFTER_LAST_WORDS = 60.0  # seconds that a peer which ended before we began is waited for
_STILL = 60.0  # seconds between two lines that say whom we wait for


class Waiting(Exchange):
    """The waits of a session, and the errors that end them. See :class:`.exchange.Exchange` for the parameters."""

    def _raise_pending(self) -> None:
        """Raise the error that ends what the session is doing. The lock is held."""
        if self._stopped:
            raise FateError(f"the part of {self.me} in job {self.job_id} has been ended")
        if self._settled is not None:
            raise self._settled
        if self._fatal is not None:
            raise self._fatal
        for peer in self._peers.values():
            if peer.failed is not None:
                raise peer.failed
        for peer in self._peers.values():
            if peer.restarted is not None:
                raise peer.restarted
        self.transport.check()

    def _wait_for(
        self,
        ready: Callable[[], Any],
        peers: list[Peer],
        tag: str,
        timeout: Callable[[Peer, float], PeerTimeout],
    ) -> Any:
        """Wait until ``ready`` gives something. The lock is held.

        :param peers: who is waited for; at a rendezvous, all who have not answered yet
        """
        began = time.monotonic()
        patience = min(self.wait_seconds, 3 * self._heartbeat)
        still = began + _STILL
        woke = float("-inf")  # when this process last came back from a sleep of its own, such as a stopped machine's
        while True:
            self._raise_pending()
            if (result := ready()) is not None and result is not False:
                return result
            now = time.monotonic()
            wake = min(now + 1.0, still)
            waited = peers or self._missing()
            # One that is silent is no good to anybody, whoever is waited for: others may wait for it, and for us.
            others = [peer for peer in self._peers.values() if not peer.bye and peer not in waited] if self._met else []
            for peer in [*waited, *others]:
                # Who was silent before is given some heartbeats' time: we may have been asleep ourselves.
                at_least = began + (patience if self._met else self.wait_seconds)
                due = max(peer.heard_at + self.wait_seconds, at_least, woke + patience)
                if peer.last_words and peer.hello is None:
                    # It ended before we began. If Airflow tries it again, that is soon, or after we are tried again.
                    due = min(due, began + _AFTER_LAST_WORDS)
                if now >= due:
                    raise timeout(peer, now - max(began - (self.wait_seconds if self._met else 0), peer.heard_at))
                if not self._met and peer.here and now >= self._seen_at + self.wait_seconds:
                    raise ProtocolError(
                        str(peer.party),
                        f"{peer.party} is here, and for {self.wait_seconds:.0f} s has not agreed on who meets in job "
                        f"{self.job_id}: what it says of the parties contradicts what they say themselves",
                    )
                wake = min(wake, due)
                if tag and peer in waited:
                    self._raise_if_gone(peer, tag)
            if now >= still:
                names = ", ".join(str(peer.party) for peer in peers or self._missing())
                self.log(f"still waiting for {names}{f': {tag}' if tag else ''} ({now - began:.0f} s)")
                still = now + _STILL
            self._wait(max(0.001, wake - now))
            if time.monotonic() > wake + self._heartbeat:
                woke = time.monotonic()  # what came meanwhile is looked at before anybody is given up

    def _missing(self) -> list[Peer]:
        absent = [peer for peer in self._peers.values() if not peer.here]
        return absent or [peer for peer in self._peers.values() if peer.hello.view != self._view]

    def _raise_if_gone(self, peer: Peer, tag: str) -> None:
        if peer.bye and not peer.inbox.behind:
            raise ProtocolError(str(peer.party), f"{peer.party} has finished the job without sending {tag!r}")
        lost = peer.inbox.lost(min(_LOST, self.wait_seconds))
        if lost is not None:
            raise ProtocolError(
                str(peer.party),
                f"value {lost} of {peer.party} was sent and has not come, while {self.me} waited for {tag!r}; was "
                f"something deleted at {self.transport.description}?",
            )

    def _not_come(self, peer: Peer, seconds: float) -> PeerTimeout:
        name = str(peer.party)
        if peer.here:
            return self._silent(peer, seconds, "the rendezvous")
        return PeerTimeout(
            name,
            f"{name} has not come to job {self.job_id} within {seconds:.0f} s (messages over "
            f"{self.transport.description}).{_last_heard(peer)} Is its task running, for the same job id, and do its "
            "connection and ours lead to the same place?",
        )

    def _silent(self, peer: Peer, seconds: float, what: str) -> PeerTimeout:
        name = str(peer.party)
        return PeerTimeout(
            name,
            f"{name} has given no sign of life for {seconds:.0f} s, while {self.me} waited for {what} (job "
            f"{self.job_id}, messages over {self.transport.description}).{_last_heard(peer)} Look at the log of its "
            "task, and whether its Spark application still runs.",
        )


def _last_heard(peer: Peer) -> str:
    return f" The last that was heard of it: {peer.last_words}." if peer.last_words else ""
