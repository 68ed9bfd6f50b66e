"""The hook for messages behind a connection id, where no broker is needed for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.hooks.rabbitmq import FateRabbitMQHook
from airflow_provider_fate.hooks.transport import FateDirectoryHook, transport_hook


def test_the_connections_type_decides(connect, tmp_path):
    assert isinstance(transport_hook(connect("fate_rabbitmq", host="broker")), FateRabbitMQHook)
    assert isinstance(transport_hook(connect("fs", extra={"path": str(tmp_path)})), FateDirectoryHook)
    with pytest.raises(ConfigError, match="'http'.*fate_rabbitmq or fs"):
        transport_hook(connect("http", host="x"))


def test_what_is_written_to_the_directory_is_read_again(connect, tmp_path, monkeypatch):
    hook = transport_hook(connect("fs", extra={"path": str(tmp_path)}))
    ok, message = hook.test_connection()
    assert ok and message == f"Wrote, read and deleted a file in {tmp_path}"
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"")
    ok, message = hook.test_connection()
    assert not ok and "another content" in message
    assert list(tmp_path.iterdir()) == []
