"""Errors that say what is wrong, where, what was expected and what to do."""

from __future__ import annotations


class FateError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(FateError):
    """A job conf, DSL, parameter, connection or argument is wrong.

    :param path: where it stands, e.g. ``component_parameters.common.hetero_lr_0.penalty``
    :param problem: what is wrong and what was expected
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}" if path else problem)


class DataError(FateError):
    """The content of a table or file is not what it should be."""


class StorageError(FateError):
    """A table, model or file cannot be read or written."""


class TransportError(FateError):
    """Messages cannot be sent or received: broker unreachable, refused, misconfigured."""


class PeerError(FateError):
    """Another party of the job is the reason that this one ends.

    :param party: ``role-party_id`` of the peer
    """

    def __init__(self, party: str, problem: str) -> None:
        self.party = party
        super().__init__(problem)


class PeerTimeout(PeerError):
    """A peer gave no sign of life for the configured wait."""


class PeerFailed(PeerError):
    """A peer said that it failed or was stopped, and why."""


class PeerRestarted(PeerError):
    """A peer came back with a new run of the same job: meet again and go on from a checkpoint."""


class ProtocolError(PeerError):
    """What arrived from a peer is not what the protocol allows."""


class CryptoError(FateError):
    """A value cannot be encrypted, decrypted or encoded soundly."""
