"""The tables, models and jobs in the storage behind a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_fate.hooks.storage import storage_hook
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.progress import checkpoints_directory, end_directory, job_directory
from airflow_provider_fate.runtime.storage.base import DRAFT, Storage
from airflow_provider_fate.runtime.storage.invitations import InvitationStore, JobIds
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore

__all__ = [
    "InvitationStore", "ModelStore", "TableMeta", "TableStore", "forget_drafts", "forget_end", "forget_job_status",
    "has_job", "invitations", "job_ids", "job_status", "models", "progress_reader", "tables",
]  # fmt: skip


def tables(conn_id: str) -> TableStore:
    """The tables in the storage of connection ``conn_id``."""
    return TableStore(storage_hook(conn_id).storage)


def models(conn_id: str, party: Party) -> ModelStore:
    """The models that ``party`` has in the storage of connection ``conn_id``."""
    return ModelStore(storage_hook(conn_id).storage, party)


def invitations(conn_id: str, initiator_id: str) -> InvitationStore:
    """The invitations of one initiator that were accepted, in the storage of connection ``conn_id``."""
    return InvitationStore(storage_hook(conn_id).storage, initiator_id)


def job_ids(conn_id: str, party: Party) -> JobIds:
    """Whose jobs ``party`` is invited to by which id, in the storage of connection ``conn_id``."""
    return JobIds(storage_hook(conn_id).storage, party)


def has_job(conn_id: str, job_id: str, party: Party) -> bool:
    """Whether a party has begun a job of this id."""
    return storage_hook(conn_id).storage.exists(job_directory(job_id, party))


def job_status(conn_id: str, job_id: str, party: Party) -> dict[str, Any] | None:
    """What a party's application last said of its job, ``None`` where it said nothing.

    :raises StorageError: it cannot be read
    """
    storage = storage_hook(conn_id).storage
    path = _status_path(job_id, party)
    if not storage.exists(path):
        return None
    status = storage.read_json(path)
    return status if isinstance(status, dict) else None


def progress_reader(conn_id: str, job_id: str, party: Party) -> Callable[[], dict[str, Any]]:
    """Reads what a party's application says while it runs, where it keeps that in the storage."""
    storage = storage_hook(conn_id).storage
    return lambda: storage.read_json(_progress_path(job_id, party))


def forget_job_status(conn_id: str, job_id: str, party: Party) -> None:
    """Delete what :func:`job_status` and :func:`progress_reader` would give."""
    storage = storage_hook(conn_id).storage
    storage.delete(_status_path(job_id, party))
    storage.delete(_progress_path(job_id, party))


def forget_end(conn_id: str, job_id: str, party: Party) -> None:
    """Delete what a party keeps to end a job without its peers; a task that is cleared runs its job anew then."""
    storage_hook(conn_id).storage.delete(end_directory(job_id, party))


def forget_drafts(storage: Storage, job_id: str, party: Party) -> None:
    """Delete the files, and tables of checkpoints, that a party's application was writing when it was killed.

    What it has kept for its next try stays.
    """
    directories = [job_directory(job_id, party), end_directory(job_id, party)]
    kept = checkpoints_directory(job_id, party)
    for job in storage.list(kept):
        directories += [f"{kept}/{job}/{component}" for component in storage.list(f"{kept}/{job}")]
    for directory in directories:
        for name in storage.list(directory):
            if name.endswith(DRAFT) or name.startswith("."):
                storage.delete(f"{directory}/{name}")


def _status_path(job_id: str, party: Party) -> str:
    return f"{job_directory(job_id, party)}/status.json"


def _progress_path(job_id: str, party: Party) -> str:
    return f"{job_directory(job_id, party)}/progress.json"
