"""What the demo shows: how the tasks get on, and what came out."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.trouble import say

_OURS = "airflow_provider_fate"
_SHOWN_STATES = {"running", "success", "failed", "up_for_retry", "skipped"}
# the parties of one job tell much of the same; the guest, who has the results, tells it best
_QUIET = re.compile(r"\.(host|arbiter)_")
# what an operator says for whoever looks for a reason; the log has it
_DETAILS = ("Spark-Submit cmd", "Spark's own output", "Spark's UI", "Job ")
_MARKS = ("::group::", "::endgroup::", "DAG bundles loaded", "Filling up the DagBag", "Worker startup", *_DETAILS[:1])


class Follower:
    """Prints what changes in a run: states of tasks, and the lines that the project's operators log.

    :param log_file: gives the log file of a task instance
    """

    def __init__(self, log_file: Any) -> None:
        self._log_file = log_file
        self._started = time.monotonic()
        self._states: dict[tuple[str, int], str] = {}
        self._offsets: dict[Path, int] = {}

    def look(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        """Print what is new.

        :param tasks: the task instances of the run, as the REST API has them
        """
        for task in sorted(tasks, key=lambda one: one["start_date"] or "9"):
            key = (task["task_id"], task["map_index"])
            changed = self._states.get(key) != task["state"]
            if changed and task["state"] == "running":
                self._say(task, "running")
            if task["try_number"] and task["state"] in _SHOWN_STATES:
                for line in self._new_lines(self._log_file(task)):
                    self._progress(task, line)
            if changed and task["state"] in _SHOWN_STATES - {"running"}:
                took = f" after {task['duration']:.0f} s" if task["duration"] else ""
                self._say(task, task["state"] + took)
            self._states[key] = task["state"]

    def _say(self, task: Mapping[str, Any], text: str) -> None:
        say(f"[{time.monotonic() - self._started:4.0f} s] {name_of(task):42} {text}")

    def _progress(self, task: Mapping[str, Any], line: str) -> None:
        if line.startswith("failed") or not _QUIET.search(task["task_id"]):
            self._say(task, f"  {line}")

    def _new_lines(self, path: Path) -> list[str]:
        """The lines of the project's own loggers that the log has got since the last look."""
        try:
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, _, rest = file.read().rpartition(b"\n")
                self._offsets[path] = file.tell() - len(rest)
        except OSError:
            return []
        events = [event for event in map(_event, whole.decode(errors="replace").splitlines()) if event]
        ours = (str(event["event"]) for event in events if _OURS in str(event.get("logger", "")))
        return [line for line in ours if not line.startswith(_DETAILS)]


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def last_lines(path: Path, count: int = 12) -> list[str]:
    """The last lines of a task's log, one event a line, exceptions with type and text."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    shown: list[str] = []
    for line in lines:
        event = _event(line)
        if event is None:
            shown.append(line)
            continue
        if not str(event["event"]).startswith(_MARKS):
            shown += str(event["event"]).splitlines()
        shown += [f"{part.get('exc_type')}: {part.get('exc_value')}" for part in event.get("error_detail") or []]
    return [line for line in shown if line.strip()][-count:]


def name_of(task: Mapping[str, Any]) -> str:
    """A task instance's name, with its index where it is mapped."""
    return task["task_id"] + (f"[{task['map_index']}]" if task["map_index"] >= 0 else "")


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as text, columns as wide as their widest cell; the first row is the heading."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def tasks_table(tasks: Sequence[Mapping[str, Any]]) -> str:
    """Tasks, states and times in the order in which they started."""
    began = [datetime.fromisoformat(task["start_date"]) for task in tasks if task["start_date"]]
    first = min(began, default=None)
    rows: list[list[Any]] = [["task", "state", "tries", "began after", "took"]]
    for task in sorted(tasks, key=lambda one: (one["start_date"] or "9", one["task_id"], one["map_index"])):
        ran = task["start_date"] and task["try_number"]  # what never ran has times too: of the decision
        since = f"{(datetime.fromisoformat(task['start_date']) - first).seconds} s" if ran else ""
        took = f"{task['duration']:.1f} s" if ran and task["duration"] is not None else ""
        rows.append([name_of(task), task["state"], task["try_number"] or "", since, took])
    return table(rows)


def numbers(values: Any, wanted: Sequence[str]) -> dict[str, float]:
    """Numbers by name, wherever they stand in a component's metrics; the last one counts."""
    found: dict[str, float] = {}
    if isinstance(values, Mapping):
        for key, value in values.items():
            if key in wanted and isinstance(value, (int, float)):
                found[key] = float(value)
            else:
                found |= numbers(value, wanted)
    return found


def metrics_table(trainings: Mapping[str, Any], deployed: str | None) -> str:
    """AUC and KS of each training, and which model is deployed.

    :param trainings: what the trainings returned, by the name of their task
    :param deployed: the version that predictions take
    """
    rows: list[list[Any]] = [["training", "AUC", "KS", "deployed"]]
    for name, result in trainings.items():
        found = numbers(result["metrics"], ("auc", "ks"))
        chosen = "yes" if result["model_version"] == deployed else ""
        rows.append([name, *(_rounded(found.get(metric)) for metric in ("auc", "ks")), chosen])
    return table(rows)


def predictions_table(path: Path, count: int = 5) -> str:
    """The first rows of a prediction's CSV, without the columns that only programs read."""
    with path.open(newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(count), strict=False)]
    columns = [name for name in (rows[0] if rows else []) if name not in ("predict_detail", "type")]
    return table([columns, *([_rounded(row[name]) for name in columns] for row in rows)]) if rows else "(none)"


def _rounded(value: Any) -> str:
    if isinstance(value, float) or (isinstance(value, str) and "." in value):
        try:
            return f"{float(value):.4f}"
        except ValueError:
            return str(value)
    return "" if value is None else str(value)
