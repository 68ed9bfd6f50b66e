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

__all__ = ["FateDirectoryHook", "new_nonce", "transport_hook"]

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

    def check_keys(self, job_id: str, me: Party, parties: Iterable[Party]) -> None:
        """A directory's messages are not encrypted."""

    def job_links(self, job_id: str, me: Party, parties: Iterable[Party]) -> None:
        """A directory links no brokers."""

    def describe(self) -> dict[str, Any]:
        """The same for logs."""
        return self.transport_config()

    def test_connection(self) -> tuple[bool, str]:
        """Write, read and delete a probe file."""
        try:
            content = secrets.token_bytes(16)
            probe = self.directory / f".probe-{secrets.token_hex(8)}"
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(content)
            try:
                read = probe.read_bytes()
            finally:
                probe.unlink()
        except Exception as error:  # noqa: BLE001 - the form shows no traceback
            return False, str(error)
        if read != content:
            return False, f"a file written to {self.directory} has another content when it is read"
        return True, f"Wrote, read and deleted a file in {self.directory}"


def transport_hook(conn_id: str) -> FateRabbitMQHook | FateDirectoryHook:
    """The hook for the messages connection ``conn_id``.

    :raises ConnectionConfigError: there is none, or it is of a type that carries no messages
    """
    types = [FateRabbitMQHook.conn_type, "fs"]
    connection = get_connection(conn_id, types, "messages between parties", _EXAMPLE)
    kind = FateRabbitMQHook if connection.conn_type == FateRabbitMQHook.conn_type else FateDirectoryHook
    return kind(conn_id)
