"""Operators run in threads of the test, as parties do on one Airflow: real Spark, storage and messages."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, directory in (("FATE_STORAGE", "storage"), ("FATE_TRANSPORT", "messages")):
        extra = {"path": str(tmp_path / directory)}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "fs", "extra": extra}))
    monkeypatch.setenv("AIRFLOW_CONN_FATE_SPARK", json.dumps({"conn_type": "fate_spark", "host": "local[1]"}))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    return tmp_path


class Parties:
    """Tasks that run at the same time."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.errors: dict[str, BaseException] = {}
        self._threads: list[threading.Thread] = []

    def start(self, tasks: dict[str, Any]) -> None:
        for name, task in tasks.items():
            thread = threading.Thread(target=self._run, args=(name, task), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _run(self, name: str, task: Any) -> None:
        try:
            self.results[name] = task.execute({})
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.errors[name] = error

    def wait(self, seconds: float = 180) -> None:
        for thread in self._threads:
            thread.join(seconds)
            assert not thread.is_alive(), "a party did not end"


@pytest.fixture
def run_parties() -> Callable[[dict[str, Any]], Parties]:
    def run(tasks: dict[str, Any], *, wait: bool = True) -> Parties:
        parties = Parties()
        parties.start(tasks)
        if wait:
            parties.wait()
        return parties

    return run
