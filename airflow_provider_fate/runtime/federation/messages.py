"""The messages that travel between the sessions of two parties.

A body is ``FATE``, the length of a MessagePack header, the header, and for :class:`Data` a piece of an encoded value.
The format of :class:`Hello` stays as it is over all versions of the protocol, so that parties of different versions can
tell each other which they speak.
"""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

#: the version of the protocol; parties of different versions refuse each other
PROTOCOL = 1
#: the longest tag of a value, in characters, with the scopes in front
MAX_TAG = 512
#: the longest reason that is sent with an abort, in characters
MAX_REASON = 4000

#: how a message begins
MAGIC = b"FATE"
#: how an encrypted one does, see :mod:`.sealed`
SEALED_MAGIC = b"FSEC"
#: categories of characters that are controls, or end a line
_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_START = len(MAGIC) + 4

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Run = Annotated[str, Meta(min_length=1, max_length=256)]
Session = Annotated[str, Meta(max_length=64)]
Count = Annotated[int, Meta(ge=0, le=(1 << 62))]


class Message(Struct, tag_field="kind", kw_only=True):
    """What every message says.

    :param job: the job id
    :param sender: the sending party, e.g. ``guest-9999``
    :param receiver: the party that it is for
    """

    job: Name
    sender: Name
    receiver: Name


class Hello(Message, tag="hello"):
    """ "Here I am, and this is whom I see." Sent at a rendezvous until all see the same.

    :param protocol: see :data:`PROTOCOL`
    :param nonce: of the sender's try of its task
    :param run: the nonce and a part that is new for each rendezvous
    :param number: counts the hellos of one run, as what they say changes
    :param view: the run of each party that the sender knows, its own among them
    :param parties: the parties of the job as the sender's conf has them
    :param digest: of all of the conf that every party must agree on
    :param digests: the same by path, to name what differs; empty where it would not fit
    :param checkpoints: what the sender can go on from
    """

    protocol: Count
    nonce: Name
    run: Run
    number: Count = 0
    view: dict[Name, Run] = {}
    parties: list[Name] = []
    digest: bytes = b""
    digests: dict[str, bytes] = {}
    checkpoints: list[Annotated[str, Meta(max_length=512)]] = []


class Alive(Message, tag="alive"):
    """A sign of life, every few seconds.

    :param sent: how many values the sender sent to this receiver in the session; one that stays missing was lost
    """

    session: Session = ""
    sent: Count = 0


class Data(Message, tag="data"):
    """A piece of a value.

    :param sequence: the number of the value among those from this sender to this receiver in the session
    :param chunk: the number of the piece, of ``chunks``; all but the last have the same length
    :param size: bytes of the whole encoded value
    """

    session: Session
    tag: Annotated[str, Meta(min_length=1, max_length=MAX_TAG)]
    sequence: Count
    chunk: Count
    chunks: Annotated[int, Meta(ge=1, le=(1 << 62))]
    size: Annotated[int, Meta(ge=1, le=(1 << 62))]


class Abort(Message, tag="abort"):
    """The sender failed or was stopped.

    :param nonce: of the try that ended
    :param target: the nonce of the receiver's try, empty where the sender does not know it
    :param sent_at: the sender's clock, seconds since 1970
    """

    nonce: Name
    target: Annotated[str, Meta(max_length=256)] = ""
    reason: str = ""
    sent_at: float = 0.0


class Bye(Message, tag="bye"):
    """The sender is done with the job: all parties had come to the end in this session, and it has stored its results.

    :param sent: as in :class:`Alive`
    :param left: it is not waiting for the receiver's bye, and nothing more can be sent to it
    """

    session: Session
    sent: Count = 0
    left: bool = False


AnyMessage = Hello | Alive | Data | Abort | Bye

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(AnyMessage)


def pack(message: Message, payload: list[bytes | memoryview] | None = None) -> bytes:
    """One body: the message as header, and for data a piece of the value."""
    header = _ENCODER.encode(message)
    return b"".join((MAGIC, len(header).to_bytes(4, "little"), header, *(payload or ())))


def unpack(body: bytes) -> tuple[AnyMessage, memoryview]:
    """The message and what follows it. :raises ValueError: it is not a message of this protocol."""
    view = memoryview(body)
    if view[: len(SEALED_MAGIC)] == SEALED_MAGIC:
        raise ValueError("it is encrypted, and the connection for messages has no private_key here")
    if view[: len(MAGIC)] != MAGIC or len(view) < _START:
        raise ValueError("it does not begin as a message of this protocol does")
    end = _START + int.from_bytes(view[len(MAGIC) : _START], "little")
    if end > len(view):
        raise ValueError("its header is cut off")
    try:
        message = _DECODER.decode(view[_START:end])
    except (msgspec.MsgspecError, RecursionError, MemoryError) as error:
        # it repeats what stands in the header
        raise ValueError(f"its header is malformed: {printable(str(error), 300) or type(error).__name__}") from None
    if end < len(view) and not isinstance(message, Data):
        raise ValueError("something follows its header")
    return message, view[end:]


def new_nonce() -> str:
    """A nonce for one try of a task, which tells when the try began."""
    return f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(8)}"


def nonce_time(nonce: str) -> float | None:
    """When the try of a nonce of :func:`new_nonce` began, seconds since 1970; None where it does not tell."""
    match = re.fullmatch(r"([0-9]{13})-[0-9a-f]{16}", nonce)
    return int(match[1]) / 1000 if match else None


def printable(text: str, length: int = MAX_REASON) -> str:
    """Text from a peer, fit for a log: one line, without control characters, and not too long.

    A line end would let a peer write lines of its own, which whoever reads the log takes for this party's.
    """
    clean = "".join(" " if unicodedata.category(c) in _NOT_SHOWN else c for c in text[: length + 1])
    return clean if len(clean) <= length else clean[: length - 1] + "…"
