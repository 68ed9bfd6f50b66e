"""What a party keeps of the invitations that it accepted: to count a day's, and to know which tables were used.

Layout below the storage's root::

    invitations/{initiator's party id}/{yyyy-mm-dd}/{job_id}.json         one a job, on the day it was first accepted
    invitations/{initiator's party id}/tables/{namespace}/{name}.json     the columns that jobs have used
    invitations/job-ids/{job_id}/{role}-{party_id}.json                   the initiator whose job it is for this party
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Any

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.storage.base import Storage

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ENDING = ".json"


def _read(storage: Storage, path: str, **kinds: type) -> dict[str, Any]:
    """What was kept at ``path``, with values of these kinds. :raises StorageError: it is damaged, or cannot be read"""
    found = storage.read_json(path)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in kinds.items()):
        raise StorageError(f"{storage.spark_path(path)} is damaged")
    return found


class InvitationStore:
    """The accepted invitations of one initiator.

    :param storage: of the invited party
    :param initiator_id: the initiator's party id
    """

    def __init__(self, storage: Storage, initiator_id: str) -> None:
        self.storage = storage
        self.base = f"invitations/{initiator_id}"

    def find(self, job_id: str) -> dict[str, Any] | None:
        """What was kept of a job on whatever day, ``None`` where it never was accepted.

        :raises StorageError: it cannot be read
        """
        path = self._path_of(job_id)
        if path is None:
            return None
        return _read(self.storage, path)

    def count(self, day: date) -> int:
        """Jobs that were first accepted on a day."""
        return len([name for name in self.storage.list(f"{self.base}/{day}") if name.endswith(_ENDING)])

    def accept(self, job_id: str, content: dict[str, Any], most: int | None = None, day: date | None = None) -> bool:
        """Keep and count a job that :meth:`find` does not know.

        Of several that take the day's last place at the same time none gets it: rather one too few than one too many.

        :param most: jobs of a day at most
        :param day: today in UTC by default
        :returns: whether there was room for it
        :raises StorageError: it cannot be written
        """
        day = day or datetime.now(UTC).date()
        path = f"{self.base}/{day}/{job_id}{_ENDING}"
        if most is not None and self.count(day) >= most:
            return False
        try:
            self.storage.write_json(path, content)
        except StorageError:
            # another part of this party in the same job may have written it just now
            if not self.storage.exists(path):
                raise
        if most is not None and self.count(day) > most:
            self.storage.delete(path)
            return False
        return True

    def note(self, job_id: str, more: dict[str, Any]) -> None:
        """Add to what is kept of a job."""
        path = self._path_of(job_id)
        if path is not None:
            self.storage.write_json(path, {**self.storage.read_json(path), **more})

    def forget(self, job_id: str) -> None:
        """Keep and count a job no longer."""
        path = self._path_of(job_id)
        if path is not None:
            self.storage.delete(path)

    def used(self, namespace: str, name: str, columns: Collection[str]) -> bool:
        """Whether a job has used a table with all these columns."""
        return set(columns) <= set(self._columns(namespace, name) or ()) if columns else False

    def mark_used(self, namespace: str, name: str, columns: Collection[str]) -> None:
        """Keep that a job uses a table with these columns."""
        before = self._columns(namespace, name) or []
        if not set(columns) <= set(before):
            self.storage.write_json(self._table(namespace, name), {"columns": sorted({*before, *columns})})

    def _path_of(self, job_id: str) -> str | None:
        for day in reversed(self.storage.list(self.base)):
            path = f"{self.base}/{day}/{job_id}{_ENDING}"
            if _DAY.fullmatch(day) and self.storage.exists(path):
                return path
        return None

    def _table(self, namespace: str, name: str) -> str:
        return f"{self.base}/tables/{namespace}/{name}{_ENDING}"

    def _columns(self, namespace: str, name: str) -> list[str] | None:
        path = self._table(namespace, name)
        if not self.storage.exists(path):
            return None
        return _read(self.storage, path, columns=list)["columns"]


class JobIds:
    """Which initiator has which job id: what a party keeps of a job goes by its id, whoever asked for it.

    :param storage: of the invited party
    :param party: the part that it plays in the job
    """

    def __init__(self, storage: Storage, party: Party) -> None:
        self.storage = storage
        self.party = party

    def owner(self, job_id: str) -> str | None:
        """The party id of the initiator that has it, ``None`` where nobody has. :raises StorageError: unreadable"""
        path = self._path(job_id)
        if not self.storage.exists(path):
            return None
        return _read(self.storage, path, initiator=str)["initiator"]

    def claim(self, job_id: str, initiator_id: str) -> str:
        """Take a job id for an initiator, unless another has it. :returns: who has it now

        :raises StorageError: it cannot be written
        """
        if (owner := self.owner(job_id)) is not None:
            return owner
        draft = f"{self._path(job_id)}.{secrets.token_hex(6)}"
        self.storage.write_json(draft, {"initiator": initiator_id})
        try:
            self.storage.rename(draft, self._path(job_id))
        except StorageError:
            self.storage.delete(draft)
            if self.owner(job_id) is None:
                raise
        return self.owner(job_id) or initiator_id

    def _path(self, job_id: str) -> str:
        # no party id holds a hyphen
        return f"invitations/job-ids/{job_id}/{self.party}{_ENDING}"
