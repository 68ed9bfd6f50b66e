"""Errors that say what is wrong, where, what was expected and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence


class FateError(Exception):
    """Base of every error that this package raises on purpose."""

    #: what the other parties are told: messages name tables, columns, servers and rows, which are this party's own
    for_peers = "something went wrong there"


class ConfigError(FateError):
    """A job conf, DSL, parameter, connection or argument is wrong.

    :param path: where it stands, e.g. ``component_parameters.common.hetero_lr_0.penalty``
    :param problem: what is wrong and what was expected
    """

    for_peers = "its job conf or a connection is wrong"

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}" if path else problem)


class PolicyError(FateError):
    """This party's policy refuses what another party asks for.

    :param refusals: one sentence each, fit for that party to read
    :param own: the same with what only this party may know, for its log; by default the refusals
    """

    for_peers = "its policy refuses the job"

    def __init__(self, refusals: Sequence[str], own: Sequence[str] = ()) -> None:
        self.refusals = list(refusals)
        super().__init__("; ".join(own or refusals))


class DataError(FateError):
    """The content of a table or file is not what it should be."""

    for_peers = "its rows are not what the job expects"


class StorageError(FateError):
    """A table, model or file cannot be read or written."""

    for_peers = "a table, model or file cannot be read or written there"


class TransportError(FateError):
    """Messages cannot be sent or received: broker unreachable, refused, misconfigured."""

    for_peers = "it cannot send or receive messages"


class PeerError(FateError):
    """Another party of the job is the reason that this one ends.

    :param party: ``role-party_id`` of the peer
    """

    def __init__(self, party: str, problem: str) -> None:
        self.party = party
        super().__init__(problem)
        self.for_peers = self._for_peers()

    def _for_peers(self) -> str:
        return str(self)


class PeerTimeout(PeerError):
    """A peer gave no sign of life for the configured wait."""

    def _for_peers(self) -> str:
        return f"{self.party} gave it no sign of life"


class PeerFailed(PeerError):
    """A peer said that it failed or was stopped, and why."""

    def _for_peers(self) -> str:
        # what a peer passed on is passed on as if it had come from the first one
        return re.sub(r"^(\S+ ended: )+(?=\S+ ended: )", "", str(self))


class PeerRestarted(PeerError):
    """A peer came back with a new run of the same job: meet again and go on from a checkpoint."""


class PeerFinished(PeerError):
    """A peer has finished the job, in a session in which this party had come to the end as well before it ended."""


class ProtocolError(PeerError):
    """What arrived from a peer is not what the protocol allows."""

    def _for_peers(self) -> str:
        return f"what {self.party} sent it is not what the protocol allows; its log says more"


class CryptoError(FateError):
    """A value cannot be encrypted, decrypted or encoded soundly."""

    for_peers = "a value cannot be encrypted or decrypted there"


def reason_for_peers(error: BaseException) -> str:
    """One sentence about an error that says nothing of this party's tables, columns, servers or rows."""
    if isinstance(error, PeerError):
        return error.for_peers
    if isinstance(error, PolicyError):
        return f"{error.for_peers}: {'; '.join(error.refusals)}"
    if isinstance(error, FateError):
        return f"{error.for_peers}; its log says more"
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "it was stopped"
    return "an error that was not expected; its log says more"
