"""Who is there, what arrives and what is said in the background: the part of a session that never waits.

Everything here runs in the transport's thread or in the session's own, under the session's lock, and leaves what it
finds for whoever waits in :mod:`.waiting`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_provider_fate.errors import (
    ConfigError,
    FateError,
    PeerFailed,
    PeerFinished,
    PeerRestarted,
    ProtocolError,
    TransportError,
)
from airflow_provider_fate.job.names import check_job_id
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Transport
from airflow_provider_fate.runtime.federation.inbox import Limits
from airflow_provider_fate.runtime.federation.messages import (
    PROTOCOL,
    Abort,
    Alive,
    Bye,
    Data,
    Hello,
    nonce_time,
    pack,
    printable,
    unpack,
)
from airflow_provider_fate.runtime.federation.rendezvous import Peer, conf_digests, difference, session_id

_log = logging.getLogger(__name__)

_HEARTBEAT = 5.0  # seconds at most between two signs of life
_RUNS = 1024  # runs of a peer that are remembered; only one that starts again and again has so many
_WAITED_FOR_US = 30.0  # seconds after which what peers said before we began has arrived
_FIRST_HELLO, _LAST_HELLO = 1.0, 30.0  # seconds between the first two hellos, and the last ones


class Exchange:
    """One party's part in one job over a transport.

    :param nonce: of this try of the task (:func:`.messages.new_nonce`)
    :param wait_seconds: how long a peer may give no sign of life while it is waited for
    :param common: what all parties must agree on, by path
    :param log: one line for the person who reads the task's log
    :param limits: bounds on what peers can make this party keep
    """

    def __init__(
        self,
        transport: Transport,
        job_id: str,
        me: Party,
        parties: Iterable[Party],
        nonce: str,
        wait_seconds: float,
        common: Mapping[str, Any],
        log: Callable[[str], None] = lambda text: None,
        *,
        limits: Limits | None = None,
    ) -> None:
        self.transport = transport
        self.job_id = check_job_id(job_id)
        self.me = me
        self.parties = tuple(parties)
        if me not in self.parties or len(set(self.parties)) != len(self.parties):
            raise ConfigError("role", f"{me} must be one of the parties, each once: {', '.join(map(str, parties))}")
        if not nonce or len(nonce) > 128:
            raise ConfigError("nonce", "expected 1 to 128 characters")
        self.nonce = nonce
        self.wait_seconds = wait_seconds
        self.log = transport.log = log
        self.limits = limits or Limits()
        self._began = nonce_time(nonce) or time.time()
        self._digest, self._digests = conf_digests(common)
        self._lock = threading.Condition(threading.RLock())
        self._peers = {str(party): Peer(party, self.limits) for party in self.parties if party != me}
        self._heartbeat = min(_HEARTBEAT, wait_seconds / 4)
        self._beat_due = 0.0
        self._opened_at = float("inf")  # monotonic; when messages began to arrive
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._run = ""
        self._hello_number = 0
        self._hello_pause = _FIRST_HELLO
        self._checkpoints: list[str] = []
        self._view: dict[str, str] = {}
        self._seen_at = 0.0  # monotonic; when the view changed
        self._session: str | None = None
        self._met = False
        self._agreed = False  # all have come to the end in this session
        self._ended = ""  # an earlier session in which this party came to the end, without knowing of all others
        self._settled: PeerFinished | None = None  # who knows that all did
        self._fatal: FateError | None = None
        self._send_lock = threading.Lock()
        self._waiting = 0  # how many of our threads wait for something from a peer
        self._held_back = False  # more was there of some peer than is wanted
        self._send_began: float | None = None  # since when a peer has not taken what is sent to it
        self._send_looked = 0.0  # monotonic; when that was last looked at

    # -- rendezvous

    def _begin(self, checkpoints: list[str], ended: str) -> None:
        with self._lock:
            if self._stopped:
                raise RuntimeError("the session has ended")
            if isinstance(self._fatal, TransportError):
                raise self._fatal
            self._run = f"{self.nonce}.{secrets.token_hex(8)}"
            self._checkpoints = checkpoints
            self._hello_pause = _FIRST_HELLO
            self._met = self._agreed = False
            self._ended = ended
            self._settled = None
            self._fatal = None
            for peer in self._peers.values():
                peer.reset()
            self._see()

    def _see(self) -> None:
        """Take in whom we know now, and tell everybody."""
        view = {str(self.me): self._run}
        view |= {name: peer.hello.run for name, peer in self._peers.items() if peer.hello is not None}
        self._view = view
        self._session = session_id(self.job_id, view) if len(view) == len(self.parties) else None
        self._hello_number += 1
        self._seen_at = now = time.monotonic()
        for peer in self._peers.values():
            peer.hello_due = now
        self._lock.notify_all()

    def _all_agree(self) -> bool:
        return self._session is not None and all(
            peer.hello is not None and peer.hello.view == self._view for peer in self._peers.values()
        )

    def _hello(self, to: str, *, brief: bool = False) -> Hello:
        return Hello(
            job=self.job_id,
            sender=str(self.me),
            receiver=to,
            protocol=PROTOCOL,
            nonce=self.nonce,
            run=self._run,
            number=self._hello_number,
            view=dict(self._view),
            parties=[str(party) for party in self.parties],
            digest=self._digest,
            digests={} if brief else self._digests,
            checkpoints=self._checkpoints,
        )

    # -- arrivals (in the transport's thread)

    def _deliver(self, body: bytes) -> bool:
        """Take in one body. :returns: whether more is wanted from its sender at once"""
        try:
            message, payload = unpack(body)
        except ValueError as error:
            self._fail(ProtocolError("?", f"a message over {self.transport.description} is not understood: {error}"))
            return True
        peer = self._peers.get(message.sender)
        sender = printable(message.sender, 80)
        if message.job != self.job_id or message.receiver != str(self.me) or peer is None:
            self._fail(
                ProtocolError(
                    sender,
                    f"a message from {sender} to {printable(message.receiver, 80)} of job "
                    f"{printable(message.job, 130)} came to {self.me} of job {self.job_id}",
                )
            )
            return True
        with self._lock:
            if not isinstance(message, Abort | Bye):  # which are no sign that it lives, and may be repeated by others
                peer.heard()
            try:
                match message:
                    case Data():
                        self._on_data(peer, message, payload)
                    case Alive():
                        if message.session == self._session:
                            peer.inbox.expect(message.sent)
                    case Hello():
                        self._on_hello(peer, message)
                    case Abort():
                        self._on_abort(peer, message)
                    case Bye():
                        self._on_bye(peer, message)
            except ValueError as error:
                self._fail(ProtocolError(str(peer.party), f"{peer.party} broke the protocol: {error}"))
            except Exception as error:  # a hostile message must not end the transport's thread
                _log.exception("a message of %s could not be handled", peer.party)
                self._fail(ProtocolError(str(peer.party), f"{peer.party} broke the protocol: {type(error).__name__}"))
            return self._wants_more(peer)

    # -- flow control: what comes faster than it is used stays at the broker, and its sender waits. The lock is held.

    def _wants_more(self, peer: Peer) -> bool:
        """Whoever waits takes all that comes, as what it waits for may be behind it, or wait for us itself."""
        if self._waiting or self._send_began is not None or peer.inbox.unread <= self.limits.held:
            return True
        self._held_back = True
        return False

    def _take_all(self) -> None:
        if self._held_back:
            self._held_back = False
            self.transport.resume()

    def _wait(self, seconds: float) -> None:
        """Let others have the lock until something happens, ``seconds`` at most."""
        self._waiting += 1
        self._take_all()
        try:
            self._lock.wait(seconds)
        finally:
            self._waiting -= 1

    def _fail(self, error: FateError) -> None:
        with self._lock:
            if self._fatal is None:
                self._fatal = error
            self._lock.notify_all()

    def _on_data(self, peer: Peer, message: Data, payload: memoryview) -> None:
        if message.session != self._session or peer.restarted is not None:
            _log.debug("a piece of %r from %s is of another session", message.tag, peer.party)
        elif peer.inbox.add(message, payload):
            self._lock.notify_all()

    def _on_hello(self, peer: Peer, hello: Hello) -> None:
        if hello.run in peer.old_runs:
            return
        if not hello.run.startswith(hello.nonce + "."):
            raise ValueError("its hello contradicts itself")
        if peer.hello is not None and hello.run == peer.hello.run:
            self._on_same_run(peer, hello)
            return
        if self._agreed:
            # It came to the end too, and takes its results from its storage when it hears that all had.
            peer.bye_due = peer.said_bye
            self._lock.notify_all()
            return
        if peer.hello is not None:
            if len(peer.old_runs) >= _RUNS:
                raise ValueError(f"it has started more than {_RUNS} times while {self.me} ran")
            peer.old_runs.add(peer.hello.run)
        peer.hello = hello
        peer.failed = None
        if self._met:
            if peer.restarted is None:
                self.log(f"{peer.party} has come back; meeting again")
            peer.restarted = PeerRestarted(str(peer.party), f"{peer.party} came back with a new run of the job")
            self._lock.notify_all()
            return
        peer.here = False
        self._see()
        self._answered(peer)

    def _on_same_run(self, peer: Peer, hello: Hello) -> None:
        if hello.number > peer.hello.number:
            peer.hello = hello
        if not self._met:
            if hello.view.get(str(self.me)) != self._run:
                peer.hello_due = min(peer.hello_due, time.monotonic())
            self._answered(peer)
            self._lock.notify_all()
        elif peer.restarted is None and hello.view != self._view:
            # It is still on its way into the session, perhaps because it missed our last hello.
            peer.hello_due = min(peer.hello_due, time.monotonic() + 0.5)
            self._lock.notify_all()

    def _answered(self, peer: Peer) -> None:
        """Once a peer has answered this very run, it is here, and what its conf says counts."""
        if peer.here or not peer.knows(self.me, self._run):
            return
        peer.here = True
        problem = difference(self.me, self._hello(str(peer.party)), peer.party, peer.hello)
        if problem is not None:
            self._fail(problem)
        else:
            self.log(f"{peer.party} is here")

    def _on_abort(self, peer: Peer, abort: Abort) -> None:
        reason = printable(abort.reason) or "no reason given"
        if peer.bye or (peer.hello is not None and peer.hello.nonce != abort.nonce and peer.restarted is not None):
            return
        if peer.concerns(abort, self.me, self.nonce, self._began):
            if peer.failed is None:
                peer.failed = PeerFailed(str(peer.party), f"{peer.party} ended: {reason}")
        elif abort.sent_at < self._began and time.monotonic() > self._opened_at + _WAITED_FOR_US:
            # what was said before we began has waited for us, and came at once: this is repeated by somebody
            _log.debug("old last words of %s", peer.party)
            return
        else:
            peer.last_words = f"an earlier run of it ended: {reason}"
            _log.info("%s: %s", peer.party, peer.last_words)
        self._lock.notify_all()

    def _on_bye(self, peer: Peer, bye: Bye) -> None:
        if bye.session == self._session:
            peer.inbox.expect(bye.sent)
            peer.bye = True
            peer.left = peer.left or bye.left
        elif self._met:
            return
        elif bye.session and bye.session == self._ended:
            peer.left = peer.left or bye.left
            self._settled = PeerFinished(str(peer.party), f"{peer.party} has finished the job: all had come to the end")
        elif not peer.here and not peer.finished_before:
            peer.finished_before = True
            self.log(
                f"{peer.party} has finished this job in an earlier session, from which nothing is kept here; where it "
                "does not start again, clear the tasks of all parties, or begin a new run"
            )
        self._lock.notify_all()

    # -- hellos and signs of life (in a thread of the session)

    def _background(self) -> None:
        try:
            while True:
                with self._lock:
                    if self._stopped:
                        return
                    due = self._due()
                    if not due:
                        continue
                for party, body in due:
                    self.transport.send(party, body)
        except TransportError as error:
            self._fail(error)
        except Exception as error:
            _log.exception("signs of life cannot be sent")
            self._fail(TransportError(f"signs of life cannot be sent: {type(error).__name__}"))

    def _due(self) -> list[tuple[Party, bytes]]:
        """The messages that it is time for; waits a while where there are none. The lock is held."""
        now = time.monotonic()
        due: list[tuple[Party, bytes]] = []
        for name, peer in self._peers.items():
            if peer.hello_due <= now:
                due.append((peer.party, self._packed_hello(name)))
                again = not self._met and not (peer.hello is not None and peer.hello.view == self._view)
                peer.hello_due = now + self._hello_pause if again else float("inf")
            if peer.bye_due:
                peer.bye_due = False
                due.append((peer.party, self._packed_bye(name, self._session or "", sent=peer.sent)))
        if due and not self._met:
            self._hello_pause = min(2 * self._hello_pause, _LAST_HELLO)
        if self._beat_due <= now:
            self._beat_due = now + self._heartbeat
            for name, peer in self._peers.items():
                if not (peer.left or peer.said_bye):
                    alive = Alive(
                        job=self.job_id,
                        sender=str(self.me),
                        receiver=name,
                        session=self._session or "",
                        sent=peer.sent,
                    )
                    due.append((peer.party, pack(alive)))
        if not due:
            wake = min([self._beat_due, *(peer.hello_due for peer in self._peers.values())])
            self._lock.wait(max(0.0, wake - now))
        return due

    def _packed_bye(self, to: str, session: str, *, sent: int = 0, left: bool = False) -> bytes:
        return pack(
            Bye(job=self.job_id, sender=str(self.me), receiver=to, session=session, sent=sent, left=left)
        )

    def _packed_hello(self, to: str) -> bytes:
        body = pack(self._hello(to))
        if len(body) > self.transport.max_body:
            body = pack(self._hello(to, brief=True))
        if len(body) > self.transport.max_body:
            raise TransportError(
                f"messages of at most {self.transport.max_body} bytes are too small for the rendezvous, which needs "
                f"{len(body)}; allow larger ones in the connection"
            )
        return body
