"""What a running job tells: lines in the task's log, numbers, and the job's status in the storage."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.storage.base import Storage

#: what the operator looks for at the start of a line of the driver's output, and a word of the run after it
MARK = "@fate "
#: the start of a line of text that may hold a peer's words
QUOTE = "| "
#: lines that are kept for an operator which reads them from the storage
KEPT_MESSAGES = 200
#: seconds between two writes of the metrics file
FLUSH_SECONDS = 5.0


def job_directory(job_id: str, party: Party) -> str:
    """Where one party's part of a job stands, below the storage's root."""
    return f"jobs/{job_id}/{party}"


def checkpoints_directory(job_id: str, party: Party) -> str:
    """Where a party keeps what it goes on from after a restart: a directory for each conf, in it one a component."""
    return f"{job_directory(job_id, party)}/checkpoints"


def end_directory(job_id: str, party: Party) -> str:
    """Where a party keeps its results until they are where they belong and its task has ended, see ``ending.py``."""
    return f"{job_directory(job_id, party)}/end"


def mark_of(word: str) -> str:
    """The start of a line of progress. Nobody but the operator and the application knows the run's word, so that no
    other text that ends up in the output, such as a peer's, is taken for progress."""
    return f"{MARK}{word} " if word else MARK


class Progress:
    """Lines for the task's log on standard output, ``metrics.jsonl`` and ``status.json`` in the storage.

    :param word: of the run, see :func:`mark_of`
    """

    def __init__(self, job_id: str, party: Party, word: str = "") -> None:
        self._mark = mark_of(word)
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
        self._said = 0
        self._messages: deque[dict[str, Any]] | None = None  # the last ones, where they are kept in the storage
        self._told = 0
        self._writing = threading.Lock()
        self._lines: list[tuple[str, str]] = []  # component and line of metrics.jsonl
        self._unwritten = False
        self._last_write = 0.0

    def attach(self, storage: Storage) -> None:
        """From here on the status and the metrics are kept in ``storage``, after what an earlier try recorded."""
        self._storage = storage
        path = f"{self.directory}/metrics.jsonl"
        if storage.exists(path):
            earlier = storage.read_bytes(path).decode(errors="replace").splitlines()
            self._lines = [(name, line) for line in earlier if (name := _component_of(line)) is not None]
        self.write_status()

    @property
    def directory(self) -> str:
        return job_directory(self.job_id, self.party)

    def say(self, text: str, **more: Any) -> None:
        """One line in the task's log."""
        message = {"text": text, **more}
        print(self._mark + json.dumps(message), flush=True, file=sys.stdout)
        if self._messages is not None:
            self._messages.append(message)
            self._said += 1

    def tell_in_storage(self, seconds: float = 3.0) -> None:
        """Keep the last lines in ``progress.json`` as well, for an operator that does not see this process's output.

        The file is ``{"said": how many lines there were, "messages": [the last ones]}``.

        :param seconds: between two looks at whether there is something new to write
        """
        self._messages = deque(maxlen=KEPT_MESSAGES)

        def write() -> None:
            while True:
                time.sleep(seconds)
                with contextlib.suppress(Exception):  # the next one may succeed
                    self._tell()

        threading.Thread(target=write, name="progress", daemon=True).start()

    def _tell(self) -> None:
        with self._writing:
            said = self._said
            if self._messages is not None and self._storage is not None and said > self._told:
                content = {"said": said, "messages": list(self._messages)}
                self._storage.write_bytes(f"{self.directory}/progress.json", json.dumps(content).encode())
                self._told = said

    def record(self, component: str, name: str, value: float, step: int | None = None) -> None:
        """One number of a component, e.g. a loss, at a step."""
        number = float(value)
        line = json.dumps(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "component": component,
                "name": name,
                "value": number if math.isfinite(number) else None,
                "step": step,
            }
        )
        self._lines.append((component, line))
        self._unwritten = True
        if time.monotonic() - self._last_write > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the metrics recorded so far."""
        self._last_write = time.monotonic()
        if self._storage is not None and self._unwritten:
            text = "".join(f"{line}\n" for _, line in self._lines)
            self._storage.write_bytes(f"{self.directory}/metrics.jsonl", text.encode())
            self._unwritten = False

    def recorded(self, component: str) -> int:
        """Write the metrics, and say how many numbers of a component are among them."""
        self.flush()
        return sum(name == component for name, _ in self._lines)

    def go_on(self, recorded: Mapping[str, int | None]) -> None:
        """Drop the numbers that are recorded again, as the job goes on from checkpoints.

        :param recorded: of each component, how many of its first numbers stay; ``None`` for all
        """
        seen: Counter[str] = Counter()
        kept = []
        for name, line in self._lines:
            limit = recorded.get(name, 0)
            if limit is None or seen[name] < limit:
                kept.append((name, line))
            seen[name] += 1
        self._unwritten = self._unwritten or len(kept) < len(self._lines)
        self._lines = kept
        self.flush()

    def write_status(self, **more: Any) -> None:
        """Keep the status, with what is new in ``more``."""
        self.status.update(more, updated=datetime.now(UTC).isoformat(timespec="seconds"))
        if self._storage is not None:
            self.flush()
            self._tell()
            self._storage.write_json(f"{self.directory}/status.json", self.status)


def _component_of(line: str) -> str | None:
    """Whose number a line of the metrics file is, ``None`` where it is none."""
    try:
        return str(json.loads(line)["component"])
    except (ValueError, KeyError, TypeError):
        return None
