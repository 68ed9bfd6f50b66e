"""Parties with tables of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_fate.job.conf import Job
from tests.unit.runtime.whole_jobs import DATA, GUEST, HOST, Kills, Parties, quick_job, upload


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    return Parties(tmp_path)


@pytest.fixture
def breast(parties: Parties) -> Parties:
    upload(parties.storage(GUEST), DATA / "breast_hetero_guest.csv", "breast_hetero_guest", "y")
    upload(parties.storage(HOST), DATA / "breast_hetero_host.csv", "breast_hetero_host")
    return parties


@pytest.fixture
def job() -> Job:
    return quick_job()


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Kills:
    return Kills(monkeypatch)
