"""What is kept of accepted invitations: each job counts once, whatever is tried again."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.storage.invitations import InvitationStore, JobIds
from airflow_provider_fate.runtime.storage.local import LocalStorage

TODAY = date(2026, 2, 28)


@pytest.fixture
def store(tmp_path: Path) -> InvitationStore:
    return InvitationStore(LocalStorage(tmp_path), "9999")


def test_where_it_stands(store, tmp_path):
    assert store.find("j") is None
    assert store.accept("j", {"digest": "d"}, day=TODAY)
    assert (tmp_path / "invitations" / "9999" / "2026-02-28" / "j.json").exists()
    assert store.find("j") == {"digest": "d"}
    store.note("j", {"approved_by": "anna"})
    assert store.find("j") == {"digest": "d", "approved_by": "anna"}
    assert InvitationStore(LocalStorage(tmp_path), "8888").find("j") is None


def test_a_day_is_full(store):
    assert [store.accept(f"j{i}", {}, most=2, day=TODAY) for i in range(4)] == [True, True, False, False]
    assert store.count(TODAY) == 2
    assert store.find("j3") is None
    assert store.accept("j3", {}, most=2, day=TODAY + timedelta(days=1))
    # a job of the day before is found, so that nobody counts it again
    assert store.find("j1") == {}


def test_of_two_at_the_same_moment_none_is_one_too_many(store, monkeypatch):
    count = InvitationStore.count
    seen: list[int] = []

    def other_comes(self, day):
        seen.append(1)
        if len(seen) == 2:  # this one has written, as has another
            self.storage.write_json(f"{self.base}/{day}/other.json", {})
        return count(self, day)

    monkeypatch.setattr(InvitationStore, "count", other_comes)
    assert not store.accept("j", {}, most=1, day=TODAY)
    assert store.find("j") is None


def test_what_is_half_written_does_not_count(store, tmp_path):
    store.accept("j", {}, day=TODAY)
    (tmp_path / "invitations" / "9999" / "2026-02-28" / "k.json.writing").write_text("{")
    assert store.count(TODAY) == 1
    assert store.accept("k", {}, most=2, day=TODAY)


def test_two_parts_of_a_party_in_one_job(store, monkeypatch):
    """Host and arbiter of the same job may write it at the same time."""
    write = LocalStorage.write_json

    def late(self, path, value):
        write(self, path, value)
        raise StorageError("the other one moved it first")

    monkeypatch.setattr(LocalStorage, "write_json", late)
    assert store.accept("j", {"digest": "d"}, day=TODAY)
    monkeypatch.setattr(LocalStorage, "write_json", lambda *_: (_ for _ in ()).throw(StorageError("full")))
    with pytest.raises(StorageError, match="full"):
        store.accept("k", {}, day=TODAY)


def test_a_job_id_has_one_initiator(tmp_path, monkeypatch):
    ids = JobIds(LocalStorage(tmp_path), Party("host", "10000"))
    assert ids.owner("j") is None
    assert [ids.claim("j", who) for who in ("9999", "8888", "9999")] == ["9999"] * 3
    kept = tmp_path / "invitations" / "job-ids" / "j"
    assert os.listdir(kept) == ["host-10000.json"]
    # what another part of the party keeps of a job of this id is elsewhere
    assert JobIds(LocalStorage(tmp_path), Party("guest", "10000")).owner("j") is None
    # both look before one of them has it
    owner, looks = JobIds.owner, iter([True])
    monkeypatch.setattr(JobIds, "owner", lambda self, job_id: None if next(looks, False) else owner(self, job_id))
    assert ids.claim("j", "8888") == "9999"
    assert os.listdir(kept) == ["host-10000.json"]
    (kept / "host-10000.json").write_text("[]")
    with pytest.raises(StorageError, match="damaged"):
        ids.claim("j", "9999")


def test_tables(store):
    assert not store.used("bank", "customers", ["id", "x"])
    store.mark_used("bank", "customers", ["id", "x"])
    assert store.used("bank", "customers", ["x", "id"])
    assert store.used("bank", "customers", ["x"])
    assert not store.used("bank", "customers", ["id", "x", "y"])
    store.mark_used("bank", "customers", ["y"])
    assert store.used("bank", "customers", ["id", "x", "y"])
    assert store.find("customers") is None


@pytest.mark.parametrize("content", ["[]", "{", '{"columns": 1}'])
def test_damage_is_no_permission(store, tmp_path, content):
    store.mark_used("n", "t", ["x"])
    (tmp_path / "invitations" / "9999" / "tables" / "n" / "t.json").write_text(content)
    with pytest.raises(StorageError):
        store.used("n", "t", ["x"])
    if not content.startswith("{\""):
        store.accept("j", {}, day=TODAY)
        (tmp_path / "invitations" / "9999" / "2026-02-28" / "j.json").write_text(content)
        with pytest.raises(StorageError):
            store.find("j")
    assert os.listdir(tmp_path) == ["invitations"]
