"""How parties find out that they run the same job, and what they know of each other."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_fate.errors import ConfigError, FateError, PeerFailed, PeerRestarted, ProtocolError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.inbox import Inbox, Limits
from airflow_provider_fate.runtime.federation.messages import PROTOCOL, Abort, Hello, nonce_time, printable

_NAMED_PATHS = 20


class Peer:
    """What this party knows of another one. Not thread-safe: the session holds its lock."""

    def __init__(self, party: Party, limits: Limits) -> None:
        self.party = party
        self.limits = limits
        self.hello: Hello | None = None
        self.old_runs: set[str] = set()
        self.heard_at = float("-inf")  # monotonic
        self.last_words = ""  # the reason of an abort that did not concern this try
        self.reset()

    def reset(self) -> None:
        """Forget what belongs to a session. Who failed has to come back with a new run."""
        if getattr(self, "failed", None) is not None and self.hello is not None:
            self.old_runs.add(self.hello.run)
            self.hello = None
            self.last_words = str(self.failed)
        self.failed: PeerFailed | None = None
        self.restarted: PeerRestarted | None = None
        self.here = False  # it has answered this run
        self.bye = False
        self.finished_before = False  # it has said so, in another session than we know
        self.left = False
        self.said_bye = False
        self.bye_due = False  # it came back after the end was agreed, and is to be told
        self.sent = 0
        self.hello_due = 0.0  # monotonic; when to say hello to it
        self.inbox = Inbox(self.limits)

    def knows(self, me: Party, run_or_nonce: str) -> bool:
        """Whether its last hello was an answer to this run, or to any run of this nonce."""
        known = self.hello.view.get(str(me), "") if self.hello is not None else ""
        return known == run_or_nonce or known.startswith(run_or_nonce + ".")

    def concerns(self, abort: Abort, me: Party, nonce: str, began: float) -> bool:
        """Whether an abort ends this party's try, or is left over from an earlier one.

        A try that had met this one says so (``target``). A worker that ends a try from outside does not know whom it
        had met: if the peer has answered this try, then the nonces tell; if not, the abort counts when it was sent
        after this try began. Clocks that differ can cost one try too many or a wait for the timeout, no more.

        :param began: when this party's try began, seconds since 1970
        """
        known = self.hello.nonce if self.hello is not None else None
        if abort.target:
            return abort.target == nonce and known in (None, abort.nonce)
        if self.knows(me, nonce):
            return known == abort.nonce
        if known not in (None, abort.nonce):
            newer = (nonce_time(abort.nonce) or 0.0) > (nonce_time(known) or float("inf"))
            return newer and abort.sent_at >= began
        return abort.sent_at >= began

    def heard(self) -> None:
        self.heard_at = time.monotonic()


def digest(value: Any) -> bytes:
    """SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=True)
    return hashlib.sha256(text.encode()).digest()


def conf_digests(common: Mapping[str, Any]) -> tuple[bytes, dict[str, bytes]]:
    """A digest of all that every party must agree on, and short ones by path to name what differs."""
    by_path = {path: digest(value) for path, value in common.items()}
    whole = digest({path: value.hex() for path, value in by_path.items()})
    return whole, {path: value[:8] for path, value in by_path.items()}


def session_id(job_id: str, view: Mapping[str, str]) -> str:
    """Names one session: the job and the runs of all its parties."""
    return digest([job_id, sorted(view.items())]).hex()[:32]


def difference(me: Party, mine: Hello, peer: Party, theirs: Hello) -> FateError | None:
    """Why two parties cannot do the job together; None where they can."""
    if theirs.protocol != PROTOCOL:
        return ProtocolError(
            str(peer),
            f"{peer} speaks version {theirs.protocol} of the protocol between parties, {me} speaks version "
            f"{PROTOCOL}; install the same version of airflow-provider-fate at all parties",
        )
    if theirs.parties != mine.parties:
        return ConfigError(
            "role",
            f"the parties are {', '.join(mine.parties)} at {me}, and "
            f"{printable(', '.join(theirs.parties), 500)} at {peer}; give all parties the same job conf",
        )
    if theirs.digest == mine.digest:
        return None
    paths = [path for path in {**mine.digests, **theirs.digests} if mine.digests.get(path) != theirs.digests.get(path)]
    if not (mine.digests and theirs.digests and paths):
        return ConfigError("", f"the job conf of {peer} is not that of {me}; give all parties the same job conf")
    named = []
    for path in sorted(paths)[:_NAMED_PATHS]:
        if path not in theirs.digests:
            named.append(f"{path} (only at {me})")
        elif path not in mine.digests:
            named.append(f"{printable(path, 200)} (only at {peer})")
        else:
            named.append(path)
    more = f" and {len(paths) - _NAMED_PATHS} more" if len(paths) > _NAMED_PATHS else ""
    return ConfigError(
        "", f"the job conf of {peer} differs from that of {me} in {', '.join(named)}{more}; give all parties the same"
    )


def common_checkpoints(lists: Iterable[list[str]]) -> list[str]:
    """The checkpoints that all parties hold, in the order of the first that names them.

    A name may have a part that begins with ``@`` or ``#``. Who lists it without holds all that begin so.
    """
    held = [dict.fromkeys(names) for names in lists]
    every = dict.fromkeys(name for names in held for name in names)
    return [name for name in every if all(name in names or re.split("[@#]", name)[0] in names for names in held)]
