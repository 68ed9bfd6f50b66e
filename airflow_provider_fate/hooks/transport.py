"""The way of messages between parties behind a connection id, whatever its type."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_fate.hooks.connections import get_connection
from airflow_provider_fate.hooks.rabbitmq import FateRabbitMQHook
from airflow_provider_fate.hooks.storage import local_directory
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.messages import new_nonce

__all__ = ["FateDirectoryHook", "TransportHook", "new_nonce", "transport_hook"]

_EXAMPLE = """--conn-type fs --conn-extra '{"path": "/var/lib/fate-messages"}'"""


class FateDirectoryHook(BaseHook):
    """Messages through a directory that all parties see: Airflow's own connection type ``fs``.

    :param conn_id: a connection of type ``fs``
    """

    def __init__(self, conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    @cached_property
    def directory(self) -> Path:
        return local_directory(get_connection(self.conn_id, ["fs"], "messages", _EXAMPLE))

    def transport_config(self) -> dict[str, Any]:
        """What the application needs to exchange messages."""
        return {"kind": "directory", "path": str(self.directory)}

    def describe(self) -> dict[str, Any]:
        """The same for logs."""
        return self.transport_config()

    def test_connection(self) -> tuple[bool, str]:
        """Write, read and delete a probe file."""
        try:
            probe = self.directory / f".probe-{secrets.token_hex(8)}"
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"probe")
            probe.unlink()
        except Exception as error:  # noqa: BLE001 - the form shows no traceback
            return False, str(error)
        return True, f"Wrote and deleted a file in {self.directory}"


class TransportHook:
    """A hook for messages, of whatever type its connection is. Made by :func:`transport_hook`."""

    def __init__(self, hook: FateRabbitMQHook | FateDirectoryHook) -> None:
        self.hook = hook

    def transport_config(self) -> dict[str, Any]:
        """What the application needs to exchange messages. Holds passwords: only for the job file."""
        return self.hook.transport_config()

    def describe(self) -> dict[str, Any]:
        """The same for logs: no secrets."""
        return self.hook.describe()

    def test_connection(self) -> tuple[bool, str]:
        return self.hook.test_connection()

    def tell_peers(self, job_id: str, me: Party, parties: Iterable[Party], nonce: str, reason: str) -> None:
        """Tell the other parties of a job that this one ends, so that they end too. Takes a few seconds at most.

        :param me: the party that ends
        :param parties: all parties of the job
        :param nonce: of the run that ends
        :param reason: what the others show; no secrets
        """
        from airflow_provider_fate.runtime.federation.abort import tell_peers

        tell_peers(self.transport_config(), job_id, me, tuple(parties), nonce, reason)


def transport_hook(conn_id: str) -> TransportHook:
    """The hook for the messages connection ``conn_id``.

    :raises ConnectionConfigError: there is none, or it is of a type that carries no messages
    """
    types = [FateRabbitMQHook.conn_type, "fs"]
    connection = get_connection(conn_id, types, "messages between parties", _EXAMPLE)
    kind = FateRabbitMQHook if connection.conn_type == FateRabbitMQHook.conn_type else FateDirectoryHook
    return TransportHook(kind(conn_id))
