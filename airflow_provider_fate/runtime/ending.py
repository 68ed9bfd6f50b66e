"""How a party ends a job: either all parties store their results, or none does, whoever is killed meanwhile.

The two-phase commit of the textbooks (Gray, *Notes on Data Base Operating Systems*, 1978), with every party as its own
coordinator:

1. A party that has come to the end keeps its results below ``jobs/{job_id}/{party}/end``, where nobody looks for them,
   and only then says so to all the others (:meth:`.federation.session.Session.agree`).
2. Who has heard it of all the others writes that down, moves the results to where they belong, and says bye.

A party that is killed and started again reads what it wrote. Where that says that all had come to the end, it moves its
results and is done, without meeting anybody. Where it does not, it asks: a peer that has gone on answers with a bye, as
does what such a peer left in its queue; and where all have come back, and all hold results of the same session, then
all had come to the end.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.runtime.storage.base import Storage

FORMAT = 1
_RECORD = "end.json"


class Ending:
    """One party's results between the end of the last component and their place in the storage.

    :param directory: below the storage's root, for this party of this job
    :param key: changes with all that the results depend on; what was kept under another one counts for nothing
    """

    def __init__(self, storage: Storage, directory: str, key: str) -> None:
        self._storage = storage
        self._directory = directory
        self._key = key
        self._record: dict[str, Any] = {}
        if storage.exists(f"{directory}/{_RECORD}"):
            record = storage.read_json(f"{directory}/{_RECORD}")
            if isinstance(record, dict) and record.get("format") == FORMAT and record.get("key") == key:
                self._record = record

    @property
    def session(self) -> str:
        """The session in which this party came to the end, empty where it has not."""
        return str(self._record.get("session", ""))

    @property
    def label(self) -> str:
        """What this party says at a rendezvous that it holds."""
        return f"@{self.session}" if self.session else ""

    @property
    def agreed(self) -> bool:
        """Whether this party knows that all had come to the end."""
        return bool(self._record.get("agreed"))

    @property
    def over(self) -> bool:
        """Whether this party knows that all others know it too, so that none of them will ever ask."""
        return bool(self._record.get("over"))

    @property
    def results(self) -> dict[str, Any]:
        """As they were given to :meth:`keep`."""
        return self._record["results"]

    def begin(self, session: str) -> str:
        """Forget what was kept before. :returns: the directory for the results of ``session``"""
        self.forget()
        return f"{self._directory}/{session}"

    def forget(self) -> None:
        """Forget what was kept: the next try runs the job anew."""
        self._record = {}
        # first: where this is all that is done of it, no record tells of results that are not there
        self._storage.delete(f"{self._directory}/{_RECORD}")
        self._storage.delete(self._directory)

    def keep(self, session: str, moves: list[tuple[str, str]], results: dict[str, Any]) -> None:
        """The results are whole.

        :param moves: directories of the results, and where each belongs
        :param results: JSON-able, what is told of them when they are stored
        """
        self._record = {
            "format": FORMAT, "key": self._key, "session": session, "agreed": False, "moves": moves, "results": results,
        }  # fmt: skip
        self._write()

    def agree(self) -> None:
        """All have come to the end; there is no way back."""
        self._record["agreed"] = True
        self._write()

    def finish(self) -> None:
        """All others have said bye: whatever happens to them, they do without this party's word."""
        self._record["over"] = True
        self._write()

    def store(self) -> None:
        """Move the results to where they belong; those that an earlier try moved are there already.

        :raises StorageError: they are at neither place
        """
        for source, target in self._record["moves"]:
            if self._storage.exists(source):
                self._storage.replace_directory(source, target)
            elif not self._storage.exists(target):
                raise StorageError(f"{self._storage.spark_path(source)} is gone: what the job made cannot be stored")

    def _write(self) -> None:
        self._storage.write_json(f"{self._directory}/{_RECORD}", self._record)
