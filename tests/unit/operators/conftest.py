"""A local storage behind the connection id that operators use by default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_fate.hooks.stores import TableStore, tables


@pytest.fixture
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Connections of the embedded default, all below a directory of the test's own."""
    for name, directory in (("FATE_STORAGE", "storage"), ("FATE_TRANSPORT", "messages")):
        path = tmp_path / directory
        path.mkdir()
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "fs", "extra": {"path": str(path)}})
        )
    monkeypatch.setenv("AIRFLOW_CONN_FATE_SPARK", json.dumps({"conn_type": "spark", "host": "local[1]"}))
    return tmp_path


@pytest.fixture
def tables_here(connections: Path) -> TableStore:
    return tables("fate_storage")
