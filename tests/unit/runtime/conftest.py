"""Parties with tables of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.runtime.whole_jobs import DATA, GUEST, HOST, Parties, upload


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    return Parties(tmp_path)


@pytest.fixture
def breast(parties: Parties) -> Parties:
    upload(parties.storage(GUEST), DATA / "breast_hetero_guest.csv", "breast_hetero_guest", "y")
    upload(parties.storage(HOST), DATA / "breast_hetero_host.csv", "breast_hetero_host")
    return parties
