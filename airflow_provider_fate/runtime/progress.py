"""What a running job tells: lines in the task's log, numbers, and the job's status in the storage."""

from __future__ import annotations

import json
import math
import sys
import time
from datetime import UTC, datetime
from typing import Any

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.storage.base import Storage

#: what the operator looks for at the start of a line of the driver's output
MARK = "@fate "
#: seconds between two writes of the metrics file
FLUSH_SECONDS = 5.0


def job_directory(job_id: str, party: Party) -> str:
    """Where one party's part of a job stands, below the storage's root."""
    return f"jobs/{job_id}/{party}"


class Progress:
    """Lines for the task's log on standard output, ``metrics.jsonl`` and ``status.json`` in the storage."""

    def __init__(self, job_id: str, party: Party) -> None:
        self.job_id = job_id
        self.party = party
        self.status: dict[str, Any] = {
            "format": 1,
            "job_id": job_id,
            "party": str(party),
            "state": "running",
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics": {},
            "output": {},
        }
        self._storage: Storage | None = None
        self._lines: list[str] = []
        self._written = 0
        self._last_write = 0.0

    def attach(self, storage: Storage) -> None:
        """From here on the status and the metrics are kept in ``storage``."""
        self._storage = storage
        self.write_status()

    @property
    def directory(self) -> str:
        return job_directory(self.job_id, self.party)

    def say(self, text: str, **more: Any) -> None:
        """One line in the task's log."""
        print(MARK + json.dumps({"text": text, **more}), flush=True, file=sys.stdout)

    def record(self, component: str, name: str, value: float, step: int | None = None) -> None:
        """One number of a component, e.g. a loss, at a step."""
        number = float(value)
        self._lines.append(
            json.dumps(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "component": component,
                    "name": name,
                    "value": number if math.isfinite(number) else None,
                    "step": step,
                }
            )
        )
        if time.monotonic() - self._last_write > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the metrics recorded so far."""
        self._last_write = time.monotonic()
        if self._storage is not None and len(self._lines) > self._written:
            self._storage.write_bytes(f"{self.directory}/metrics.jsonl", ("\n".join(self._lines) + "\n").encode())
            self._written = len(self._lines)

    def write_status(self, **more: Any) -> None:
        """Keep the status, with what is new in ``more``."""
        self.status.update(more, updated=datetime.now(UTC).isoformat(timespec="seconds"))
        if self._storage is not None:
            self.flush()
            self._storage.write_json(f"{self.directory}/status.json", self.status)
