"""The session of one party with all the others: rendezvous, values exactly once, signs of life, abort, goodbye."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from airflow_provider_fate.errors import FateError, ProtocolError, TransportError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation import wire
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.checks import Check
from airflow_provider_fate.runtime.federation.messages import MAX_REASON, MAX_TAG, Abort, Data, pack, printable
from airflow_provider_fate.runtime.federation.rendezvous import Peer, common_checkpoints
from airflow_provider_fate.runtime.federation.waiting import Waiting

_log = logging.getLogger(__name__)

_GOODBYE = 3.0  # seconds for the last messages to be accepted
_LEFT = 1.0  # seconds for the word that a peer has left, which follows on its goodbye
_DONE = "job/done"  # the tag of the word that a party has come to the end


class Session(Waiting):
    """One party's part in one job over a transport: what the pipeline calls. See :class:`.exchange.Exchange` for the
    parameters."""

    # -- rendezvous

    def meet(self, checkpoints: Sequence[str] = (), ended: str = "") -> list[str]:
        """Wait until all parties are here with the same conf; may be called again after :class:`PeerRestarted`.

        :param checkpoints: what this party can go on from
        :param ended: the :attr:`id` of the session in which this party came to the end and kept its results, if any
        :returns: those that every party holds, in the order of the first party
        :raises PeerTimeout: who never came
        :raises PeerFailed: a peer ended, with its reason
        :raises PeerFinished: a peer knows that all had come to the end in ``ended``: nobody need be met
        :raises ConfigError: what differs between the parties' confs
        :raises ProtocolError: a peer speaks another version, or something that is no protocol at all
        """
        self._begin(list(checkpoints), ended)
        self.transport.last_words = False
        if self._thread is None:
            self.transport.on_wait = self._on_send_waits
            self.transport.wait_seconds = self.wait_seconds
            self._opened_at = time.monotonic()
            self.transport.open(self.job_id, self.me, [peer.party for peer in self._peers.values()], self._deliver)
            self._thread = threading.Thread(target=self._background, name=f"federation-{self.me}", daemon=True)
            self._thread.start()
        if self._peers:
            self.log(f"waiting for {', '.join(self._peers)} (messages over {self.transport.description})")
        with self._lock:
            self._wait_for(self._all_agree, [], "", self._not_come)
            self._met = True
            hellos = {name: peer.hello for name, peer in self._peers.items()}
        lists = [self._checkpoints if party == self.me else hellos[str(party)].checkpoints for party in self.parties]
        common = common_checkpoints(lists)
        if self._peers:
            _log.info("session %s of job %s: %s", self._session, self.job_id, ", ".join(map(str, self.parties)))
        return common

    @property
    def id(self) -> str:
        """The session's name, which a party keeps with its results; the same at all parties once they have met."""
        with self._lock:
            return self._session or ""

    # -- values

    def federation(self) -> Federation:
        """What components use to send and receive; valid until the next :meth:`meet`."""
        with self._lock:
            if not self._met or self._session is None:
                raise RuntimeError("meet() comes first")
            return _SessionFederation(self, self._session, "")

    def check(self) -> None:
        """Raise what has happened to the session in the background, if anything; never waits."""
        with self._lock:
            self._raise_pending()

    def send(self, session: str, to: Sequence[Party], tag: str, value: Any) -> None:
        """Encode once, send to each."""
        if not tag or len(tag) > MAX_TAG:
            raise ValueError(f"a tag has 1 to {MAX_TAG} characters: {tag[:80]!r}")
        peers = [self._peer(party) for party in to]
        try:
            buffers = wire.encode(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{tag}: {error}") from None
        size = wire.size(buffers)
        if size > self.limits.value:
            raise ValueError(f"{tag}: the value has {size} bytes, at most {self.limits.value} are sent")
        for peer in peers:
            self._send_value(session, peer, tag, buffers, size)

    def _send_value(self, session: str, peer: Peer, tag: str, buffers: list[wire.Buffer], size: int) -> None:
        # One value at a time, so that the signs of life in between tell truly what was sent before them.
        with self._send_lock:
            self._current(session)
            header = Data(
                job=self.job_id,
                sender=str(self.me),
                receiver=str(peer.party),
                session=session,
                tag=tag,
                sequence=peer.sent,
                chunk=self.limits.chunks,
                chunks=self.limits.chunks,
                size=size,
            )
            room = self.transport.max_body - len(pack(header)) - 16
            if room < 1:
                raise TransportError(f"messages of {self.transport.max_body} bytes are too small")
            header.chunks = -(-size // room)
            if header.chunks > self.limits.chunks:
                raise ValueError(f"{tag}: {size} bytes make {header.chunks} messages, at most {self.limits.chunks}")
            cut = wire.pieces(buffers, -(-size // header.chunks))
            for header.chunk, piece in enumerate(cut):
                if header.chunk:
                    self._current(session)
                try:
                    self.transport.send(peer.party, pack(header, piece))
                finally:
                    self._send_began = None
            with self._lock:
                peer.sent += 1

    def _on_send_waits(self, to: Party) -> None:
        """See :attr:`.base.Transport.on_wait`."""
        if threading.current_thread() is self._thread:
            return  # signs of life go on, whatever happens to the session
        peer = self._peer(to)
        with self._lock:
            self._raise_pending()
            now = time.monotonic()
            if self._send_began is None or now > self._send_looked + 1.0 + self._heartbeat:
                self._send_began = now  # where it is later than that, this process was asleep itself
            self._send_looked = now
            patience = min(self.wait_seconds, 3 * self._heartbeat)
            if now > max(peer.heard_at + self.wait_seconds, self._send_began + patience):
                raise self._silent(peer, now - peer.heard_at, "it to take what was sent to it")
            self._take_all()

    def receive(self, session: str, sender: Party, tag: str, check: Check) -> Any:
        """The value of ``tag``, when it is here and passes ``check``."""
        peer = self._peer(sender)
        with self._lock:
            self._current(session)
            if peer.inbox.taken(tag):
                raise RuntimeError(f"{tag} of {sender} has been received before")
            encoded = self._wait_for(
                lambda: peer.inbox.take(tag), [peer], tag, lambda peer, seconds: self._silent(peer, seconds, repr(tag))
            )
            if peer.inbox.unread <= self.limits.held // 2:
                self._take_all()
        try:
            value = wire.decode(encoded)
            check(value)
        except ValueError as error:
            raise ProtocolError(str(sender), f"{tag!r} of {sender} is not what was expected: {error}") from None
        return value

    def _peer(self, party: Party) -> Peer:
        peer = self._peers.get(str(party))
        if peer is None:
            raise ValueError(f"{party} is not another party of this job: {', '.join(self._peers)}")
        return peer

    def _current(self, session: str) -> None:
        with self._lock:
            self._raise_pending()
            if not self._met or session != self._session:
                raise RuntimeError("this federation belongs to a session that has ended")

    # -- the end

    def abort(self, reason: str) -> None:
        """Tell all the peers that this party ends, and why; they fail at once. Never raises; at most some seconds."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            self._lock.notify_all()
            # one that has ended itself need not hear it
            ended = [peer.party for peer in self._peers.values() if peer.left or peer.failed is not None]
            peers = [peer for peer in self._peers.values() if peer.party not in ended]
            last = {peer.party: self._last_words(peer, reason) for peer in peers}
        self.transport.forget(ended)
        # those who have not come yet find it in what was made for them when this party came
        self.transport.last_words = self._thread is not None
        self._end_with(last, unfinished=True)

    def _end_with(self, last: dict[Party, list[bytes]], *, unfinished: bool) -> None:
        sender = threading.Thread(target=self._send_last, args=(last,), daemon=True)
        sender.start()
        sender.join(2 * _GOODBYE)  # a broker that is away must not keep a task that has ended
        self.transport.close(remove=True, unfinished=unfinished)

    def _last_words(self, peer: Peer, reason: str) -> list[bytes]:
        """The abort; in the middle of a rendezvous a hello before it, by which the peer sees itself what differs."""
        abort = Abort(
            job=self.job_id,
            sender=str(self.me),
            receiver=str(peer.party),
            nonce=self.nonce,
            target=peer.hello.nonce if peer.knows(self.me, self.nonce) else "",
            reason=printable(reason, MAX_REASON),
            sent_at=time.time(),
        )
        bodies = [pack(abort)]
        if self._run and not self._met and peer.hello is not None:
            with contextlib.suppress(TransportError):
                bodies.insert(0, self._packed_hello(str(peer.party)))
        return bodies

    def _send_last(self, last: dict[Party, list[bytes]]) -> None:
        try:
            if self._thread is None and last:  # not even met yet: the others may be waiting already
                self.transport.open(self.job_id, self.me, list(last), lambda body: None)
        except FateError as error:
            _log.warning("the other parties could not be told: %s", error)
            return
        for party, bodies in last.items():
            try:
                for body in bodies:
                    self.transport.send(party, body)
            except FateError as error:  # the way to one of them is closed; not that to the others
                _log.warning("%s could not be told: %s", party, error)
        try:
            self.transport.flush(_GOODBYE)
        except FateError as error:
            _log.warning("not all of the other parties could be told: %s", error)

    def agree(self) -> None:
        """Tell all that this party has come to the end, and wait until all have said so.

        A vote that cannot be taken back: whoever calls this has kept its results where a later try of it finds them.
        From here on a peer that comes back is not met again; :meth:`finish` tells it that all had come to the end.

        :raises PeerRestarted: a peer came back before all had; meet again
        :raises PeerError: as :meth:`Federation.receive`
        """
        self.send(self.id, [peer.party for peer in self._peers.values()], _DONE, True)
        with self._lock:
            self._raise_pending()
            for peer in self._peers.values():
                self._wait_for(
                    partial(self._has_ended, peer), [peer], _DONE, lambda peer, s: self._silent(peer, s, "its end")
                )
            self._agreed = True

    def _has_ended(self, peer: Peer) -> bool:
        # one that says bye has heard it of all
        return any(one.bye for one in self._peers.values()) or peer.inbox.take(_DONE) is not None

    def leave(self, ended: str) -> None:
        """Tell all the peers that all had come to the end in session ``ended``, and end without waiting for anybody.

        For a party that has stored its results without meeting the others again. Those who have left are not told.
        Never raises; at most some seconds.
        """
        self.transport.last_words = True
        end = time.monotonic() + _LEFT
        with self._lock:
            while not all(peer.left for peer in self._peers.values()) and (rest := end - time.monotonic()) > 0:
                self._wait(rest)
            self._stopped = True
            self._lock.notify_all()
            here = {name: peer.party for name, peer in self._peers.items() if not peer.left}
            self.transport.forget(peer.party for peer in self._peers.values() if peer.left)
        byes = {party: [self._packed_bye(name, ended, left=True)] for name, party in here.items()}
        self._end_with(byes, unfinished=False)

    def finish(self, wait: float | None = None) -> None:
        """Say bye, wait until all the others do, and remove this party's queues or files.

        A job is done when it is done at every party: one that fails meanwhile ends this one too.

        :param wait: seconds to wait at most, ``wait_seconds`` by default; then this party leaves without an error
        :raises PeerFailed: a peer ended, with its reason
        :raises PeerRestarted: a peer came back before all had agreed to end; meet again
        """
        with self._lock:
            if not self._met or self._stopped:
                raise RuntimeError("meet() comes first")
            self._raise_pending()
            for peer in self._peers.values():
                peer.said_bye = True
        self.transport.last_words = True
        self._say_bye(left=False)
        end = time.monotonic() + (self.wait_seconds if wait is None else wait)
        with self._lock:
            while waiting := [name for name, peer in self._peers.items() if not peer.bye]:
                self._raise_pending()
                now = time.monotonic()
                silent = all(self._peers[name].heard_at + self.wait_seconds < now for name in waiting)
                if now >= end or silent:
                    self.log(f"not waiting any longer for {', '.join(waiting)}, which have not finished yet")
                    break
                self._wait(min(1.0, end - now))
            self._stopped = True
            self._lock.notify_all()
        if waiting:
            self._say_bye(left=True)
        self.transport.close(remove=True)

    @property
    def over(self) -> bool:
        """Whether all the others have said bye, so that none of them needs to hear of this party again."""
        with self._lock:
            return all(peer.bye for peer in self._peers.values())

    def _say_bye(self, *, left: bool) -> None:
        for name, peer in self._peers.items():
            if not peer.left and not (left and peer.bye):
                self.transport.send(peer.party, self._packed_bye(name, self.id, sent=peer.sent, left=left))
        self.transport.flush(max(_GOODBYE, self.wait_seconds))


class _SessionFederation(Federation):
    """A session's values, with a scope in front of every tag."""

    def __init__(self, session: Session, session_id: str, scope: str) -> None:
        self._session = session
        self._id = session_id
        self._scope = scope
        self.me = session.me
        self.parties = session.parties

    def send(self, to: Party | Iterable[Party], tag: str, value: Any) -> None:
        parties = [to] if isinstance(to, Party) else list(to)
        self._session.send(self._id, parties, self._scope + tag, value)

    def receive(self, sender: Party, tag: str, check: Check) -> Any:
        return self._session.receive(self._id, sender, self._scope + tag, check)

    def scoped(self, scope: str) -> Federation:
        return _SessionFederation(self._session, self._id, f"{self._scope}{scope}/")
