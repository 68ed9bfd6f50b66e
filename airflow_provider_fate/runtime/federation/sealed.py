"""Messages encrypted and authenticated from party to party, over any transport.

Whoever runs what carries the messages can neither read nor change nor replay them, only lose them. Three kinds of
frames travel:

* an **offer** tells a peer the ephemeral public key of this run, and which of the peer's it knows; it is authenticated
  with the long-term keys. A replayed offer makes nobody change keys: a run counts as the peer's only when a frame
  arrives that is encrypted for the keys of both runs (Noise, revision 34, pattern KK: both know the other's long-term
  key beforehand);
* a **sealed** frame is AES-256-GCM (NIST SP 800-38D) under the key of its direction, with a counter as nonce; each
  counter is taken once;
* a **note** is for a peer that was not heard of: the last words of a party that ends. It can be replayed, and
  :meth:`.rendezvous.Peer.concerns` says what an old one is worth.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from airflow_provider_fate.errors import ConfigError, FateError, ProtocolError, TransportError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Deliver, Transport
from airflow_provider_fate.runtime.federation.keys import KEY_ID, SIZE, Keys, Pair, fingerprint
from airflow_provider_fate.runtime.federation.messages import MAGIC, SEALED_MAGIC, Abort, Bye, printable, unpack

_log = logging.getLogger(__name__)

_OFFER, _SEALED, _NOTE = b"\x01", b"\x02", b"\x03"
_START = len(SEALED_MAGIC) + 1
_COUNTER = 8
_TAG = 16
_OVERHEAD = _START + KEY_ID + _COUNTER + _TAG
_LARGEST_NAME = 255
_WINDOW = 1 << 16  # how far behind the newest counter a frame may come
_SMALL = 64 << 10  # bytes; no last words are larger
_RUNS = 1024  # runs of a peer in one of ours; only a peer that starts again and again has so many
_KEPT = 4  # bodies that are sent again when it is known which run is
_REFUSED = 5.0  # seconds for a proper offer to follow one with other keys, which may be left from an earlier run
_LAST_WORDS = (Abort, Bye)
_OFFER_PAUSE = 0.3  # seconds between two offers to the same peer that answer the same run


class _Run:
    """The keys that this run of ours shares with one run of a peer.

    Kept as long as ours lasts: made anew from an offer that somebody repeats, it would count from 0 again, under the
    same keys.
    """

    def __init__(self, ephemeral: bytes, name: bytes, sending: AESGCM, receiving: AESGCM) -> None:
        self.ephemeral = ephemeral
        self.name = name
        self.sending = sending
        self.receiving = receiving
        self.superseded = False  # a later run of the peer has been live
        self.answered_at = float("-inf")  # when an offer of it was answered last
        self._sent = 0
        self._floor = 0  # all counters below have been taken, or are too old
        self._taken: set[int] = set()

    def seal(self, body: bytes) -> bytes:
        counter = self._sent.to_bytes(_COUNTER, "little")
        self._sent += 1
        head = SEALED_MAGIC + _SEALED + self.name + counter
        return head + self.sending.encrypt(_nonce(counter), body, head)

    def open(self, frame: bytes) -> bytes | None:
        """The body; None where it was there before. :raises InvalidTag: it was not made with this key"""
        head = frame[: _START + KEY_ID + _COUNTER]
        counter = head[_START + KEY_ID :]
        number = int.from_bytes(counter, "little")
        if number < self._floor or number in self._taken:
            return None
        body = self.receiving.decrypt(_nonce(counter), memoryview(frame)[len(head) :], head)
        self._taken.add(number)
        self._floor = max(self._floor, number - _WINDOW)
        if len(self._taken) > 2 * _WINDOW:
            self._taken = {taken for taken in self._taken if taken >= self._floor}
        while self._floor in self._taken:
            self._taken.discard(self._floor)
            self._floor += 1
        return body


class _Peer:
    """What is known of one peer. The transport's lock is held."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.runs: OrderedDict[bytes, _Run] = OrderedDict()  # by name, the newest last
        self.live: _Run | None = None  # a frame that only it can have made has come
        self.kept: deque[bytes] = deque(maxlen=_KEPT)  # sent before there was a live run
        self.answered_at = float("-inf")  # where it was not known which run asks
        self.refused: tuple[str, float] | None = None

    @property
    def name(self) -> str:
        return str(self.pair.peer)

    def current(self) -> _Run | None:
        return self.live or next(reversed(self.runs.values()), None)


class SealedTransport(Transport):
    """Encrypts what goes over another transport, and opens what comes.

    :param inner: carries the frames
    :param keys: this party's long-term key and those pinned for its peers
    """

    def __init__(self, inner: Transport, keys: Keys) -> None:
        self.inner = inner
        self.keys = keys
        self.max_body = inner.max_body - _OVERHEAD
        self._me: Party | None = None
        self._ephemeral = X25519PrivateKey.generate()
        self._public = self._ephemeral.public_key().public_bytes_raw()
        self._peers: dict[str, _Peer] = {}
        self._deliver: Deliver = lambda body: None
        self._lock = threading.RLock()
        self._todo: queue.SimpleQueue[tuple[Party, bytes] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._error: FateError | None = None

    @property
    def last_words(self) -> bool:
        return self.inner.last_words

    @last_words.setter
    def last_words(self, only: bool) -> None:
        self.inner.last_words = only

    @property
    def description(self) -> str:
        return f"{self.inner.description}, encrypted"

    # -- life

    def open(self, job_id: str, me: Party, peers: Iterable[Party], deliver: Deliver) -> None:
        peers = tuple(peers)
        self._prepare(job_id, me, peers)
        self._deliver = deliver
        self.inner.log = lambda text: self.log(text)
        self.inner.on_wait = lambda to: self.on_wait(to)
        self.inner.wait_seconds = self.wait_seconds
        self._thread = threading.Thread(target=self._work, name=f"sealed-{me}", daemon=True)
        self._thread.start()
        self.inner.open(job_id, me, peers, self._on_frame)

    def _prepare(self, job_id: str, me: Party, peers: Iterable[Party]) -> None:
        self._me = me
        self._peers = {str(peer): _Peer(Pair.of(self.keys, job_id, me, peer)) for peer in peers}

    def _work(self) -> None:
        """Sends what arrivals call for: the thread that delivers must not wait for a slow broker."""
        while (one := self._todo.get()) is not None:
            try:
                self.inner.send(*one)
            except FateError as error:  # also one that the session heard of while this waited, and raises itself
                _log.info("a frame could not be sent: %s", error)

    def forget(self, gone: Iterable[Party]) -> None:
        self.inner.forget(gone)

    def close(self, *, remove: bool, unfinished: bool = False) -> None:
        self._todo.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        self.inner.close(remove=remove, unfinished=unfinished)

    def flush(self, timeout: float) -> None:
        self.inner.flush(timeout)

    def resume(self) -> None:
        self.inner.resume()

    def check(self) -> None:
        with self._lock:
            if self._error is not None:
                raise self._error
            for peer in self._peers.values():
                if peer.refused is not None and time.monotonic() - peer.refused[1] > _REFUSED:
                    raise ProtocolError(peer.name, peer.refused[0])
        self.inner.check()

    # -- sending

    def send(self, to: Party, body: bytes) -> None:
        peer = self._peers.get(str(to))
        if peer is None:
            raise TransportError("the transport is not open")
        if len(body) > self.max_body:
            raise TransportError(f"a message of {len(body)} bytes is larger than the largest, {self.max_body} bytes")
        with self._lock:
            run = peer.current()
            if peer.live is None:
                peer.kept.append(body)
            frames = [self._offer(peer) if run is None else run.seal(body)]
            if len(body) < _SMALL and isinstance(unpack(body)[0], _LAST_WORDS):
                # whoever is there now may be another run than the one that we know, or none that we have heard of
                frames.append(self._note(peer.pair, body))
        for frame in frames:
            self.inner.send(to, frame)

    def notes(self, job_id: str, me: Party, bodies: dict[Party, bytes]) -> dict[Party, bytes]:
        """Last words as frames, for whoever sends them without opening the transport.

        :raises ConfigError: no peer has a key that can be used; else those that have none are left out
        """
        found: dict[Party, bytes] = {}
        problem: ConfigError | None = None
        for party, body in bodies.items():
            try:
                found[party] = self._note(Pair.of(self.keys, job_id, me, party), body)
            except ConfigError as error:
                problem = error
        if problem is not None and not found:
            raise problem
        return found

    def _note(self, pair: Pair, body: bytes) -> bytes:
        ephemeral = X25519PrivateKey.generate()
        head = SEALED_MAGIC + _NOTE + ephemeral.public_key().public_bytes_raw() + _name(pair.me)
        return head + pair.note_cipher(ephemeral).encrypt(_nonce(b""), body, head)

    def _offer(self, peer: _Peer) -> bytes:
        run = peer.current()
        known = run.ephemeral if run is not None else bytes(SIZE)
        pair = peer.pair
        head = SEALED_MAGIC + _OFFER + self._public + known + pair.own_public + pair.peer_public + _name(pair.me)
        return head + hmac.digest(pair.offer_key(mine=True), head, hashlib.sha256)

    # -- arrivals, in the thread of the inner transport

    def _on_frame(self, frame: bytes) -> bool | None:
        kind = frame[len(SEALED_MAGIC) : _START]
        if not frame.startswith(SEALED_MAGIC) or kind not in (_OFFER, _SEALED, _NOTE):
            self._fail("?", self._not_a_frame(frame))
        elif kind == _SEALED:
            return self._on_sealed(frame)
        elif kind == _OFFER:
            self._on_offer(frame)
        else:
            self._on_note(frame)
        return None

    def _not_a_frame(self, frame: bytes) -> str:
        if not frame.startswith(MAGIC):
            return f"a message over {self.inner.description} is not understood: it is no encrypted message"
        try:
            sender = printable(unpack(frame)[0].sender, 80)
        except ValueError:
            sender = "somebody"
        return (
            f"{sender} sends messages that are not encrypted, and {self._me} has a private_key in its connection for "
            "messages; give all parties one, and pin each other's public key in peer_keys"
        )

    def _fail(self, peer: str, text: str) -> None:
        with self._lock:
            if self._error is None:
                self._error = ProtocolError(peer, text)

    def _sender(self, frame: bytes, start: int) -> tuple[_Peer | None, int]:
        """Who says that it sent a frame, and where the name ends."""
        end = start + 1 + frame[start] if len(frame) > start else start
        return self._peers.get(frame[start + 1 : end].decode("utf-8", "replace")), end

    def _on_sealed(self, frame: bytes) -> bool | None:
        name = frame[_START:][:KEY_ID]
        again: list[bytes] = []
        with self._lock:
            peer = next((one for one in self._peers.values() if name in one.runs), None)
            if peer is None or len(frame) < _OVERHEAD:
                _log.debug("a frame is of another run")
                self._remind()
                return None
            run = peer.runs[name]
            try:
                body = run.open(frame)
            except InvalidTag:
                self._fail(
                    peer.name, f"a message from {peer.name} over {self.inner.description} was changed on its way"
                )
                return None
            if body is None or run.superseded:
                return None
            peer.refused = None
            if peer.live is not run:
                if peer.live is not None:
                    peer.live.superseded = True
                for earlier in peer.runs.values():
                    if earlier is run:
                        break
                    earlier.superseded = True  # also where all that it ever sent was held back until now
                peer.live = run
                again = [run.seal(one) for one in peer.kept]
                peer.kept.clear()
        self._send_soon(peer, again)
        return self._take(peer, body)

    def _send_soon(self, peer: _Peer, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self._todo.put((peer.pair.peer, frame))

    def _take(self, peer: _Peer, body: bytes) -> bool | None:
        """Hand over what is authentic; a party may speak in its own name only."""
        try:
            sender = unpack(body)[0].sender
        except ValueError as error:
            self._fail(peer.name, f"a message from {peer.name} is not understood: {error}")
            return None
        if sender != peer.name:
            self._fail(peer.name, f"{peer.name} sends messages in the name of {printable(sender, 80)}")
            return None
        return self._deliver(body)

    def _remind(self) -> None:
        """Somebody encrypts for a run that is not ours: tell those who are not known to be here our key."""
        for peer in self._peers.values():
            if peer.live is None:
                self._answer(peer, peer)

    def _answer(self, peer: _Peer, asker: _Peer | _Run) -> None:
        """Send a peer an offer, but not again and again to who asks again and again. The lock is held.

        :param asker: the run of the peer, or the peer itself where it is not known which run asks
        """
        now = time.monotonic()
        if now - asker.answered_at >= _OFFER_PAUSE:
            asker.answered_at = now
            self._send_soon(peer, [self._offer(peer)])

    def _on_offer(self, frame: bytes) -> None:
        at = _START
        ephemeral, known, theirs, ours = (frame[at + place * SIZE : at + (place + 1) * SIZE] for place in range(4))
        peer, end = self._sender(frame, at + 4 * SIZE)
        if peer is None or len(frame) != end + hashlib.sha256().digest_size:
            self._fail("?", f"an offer over {self.inner.description} is malformed, or of a party outside of the job")
            return
        pair = peer.pair
        with self._lock:
            if problem := _mismatch(pair, theirs, ours):
                if peer.live is None:
                    if peer.refused is None:
                        self.log(f"{problem}; waiting a moment for another message")
                        peer.refused = (problem, time.monotonic())
                    self._answer(peer, peer)  # it refuses ours then, and says why
                return
            expected = hmac.digest(pair.offer_key(mine=False), frame[:end], hashlib.sha256)
            if not hmac.compare_digest(expected, frame[end:]):
                self._fail(peer.name, f"an offer in the name of {peer.name} was not made with its key")
                return
            peer.refused = None
            run, again = next((one for one in peer.runs.values() if one.ephemeral == ephemeral), None), []
            if run is None:
                try:
                    name, sending, receiving = pair.session(self._ephemeral, ephemeral)
                except ValueError as error:
                    self._fail(peer.name, f"the ephemeral key of {peer.name} is none: {error}")
                    return
                if len(peer.runs) >= _RUNS:
                    self._fail(peer.name, f"{peer.name} has started more than {_RUNS} times while {self._me} ran")
                    return
                run = peer.runs[name] = _Run(ephemeral, name, sending, receiving)
                again = [run.seal(body) for body in peer.kept]
            if known != self._public:
                self._answer(peer, run)
        self._send_soon(peer, again)

    def _on_note(self, frame: bytes) -> None:
        ephemeral = frame[_START:][:SIZE]
        peer, end = self._sender(frame, _START + SIZE)
        if peer is None:
            self._fail("?", f"a note over {self.inner.description} is malformed, or of a party outside of the job")
            return
        try:
            body = peer.pair.note_cipher(ephemeral).decrypt(_nonce(b""), frame[end:], frame[:end])
            are_last = isinstance(unpack(body)[0], _LAST_WORDS)
        except (InvalidTag, ValueError):
            _log.info("a note in the name of %s was not made with its key, or not for ours", peer.name)
            return
        if are_last:
            self._take(peer, body)


def _nonce(counter: bytes) -> bytes:
    return counter.rjust(12, b"\0")


def _name(party: Party) -> bytes:
    name = str(party).encode()
    if len(name) > _LARGEST_NAME:
        raise TransportError(f"the name of a party has at most {_LARGEST_NAME} bytes: {party}")
    return bytes([len(name)]) + name


def _mismatch(pair: Pair, theirs: bytes, ours: bytes) -> str:
    """Why two parties do not know each other's keys; empty where they do."""
    peer, me = pair.peer, pair.me
    if theirs != pair.peer_public:
        return (
            f"{peer} has the public key with fingerprint {fingerprint(theirs)}, and peer_keys of {me} pins "
            f"{fingerprint(pair.peer_public)} for party {peer.party_id}; ask its owner which is right, and correct "
            "peer_keys, or its private_key"
        )
    if ours != pair.own_public:
        return (
            f"{peer} has pinned {fingerprint(ours)} for party {me.party_id}, whose public key has the fingerprint "
            f"{fingerprint(pair.own_public)}; its owner has to correct peer_keys there"
        )
    return ""
