"""The tasks of a test suite that are not a party's: a job that cannot be run, and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_ERROR = "fate_error"
_MOST_METRICS = 8
_MOST_ERROR = 2000


def keep_error(context: Context) -> None:
    """Keep why a task failed, for the summary; a callback on failure."""
    error = context.get("exception")
    if error is not None:
        context["ti"].xcom_push(_ERROR, str(error)[:_MOST_ERROR])


class FateRefusedOperator(BaseOperator):
    """Stands for what cannot be run here, and fails with the reason.

    :param reason: why
    """

    ui_color = "#f8cecc"

    def __init__(self, *, reason: str, **kwargs: Any) -> None:
        super().__init__(**{"retries": 0, **kwargs})
        self.reason = reason

    def execute(self, context: Context) -> None:
        raise AirflowFailException(self.reason)


class FateSuiteSummaryOperator(BaseOperator):
    """A line for each job of a suite, with state, seconds and metrics; fails where one was not successful.

    What it logs is in XCom ``jobs`` as well: by job ``state``, ``seconds``, ``metrics`` and ``reason``.

    :param rows: of each job ``name``, ``tasks`` (ids), ``result`` (the id of the task that has metrics),
        ``evaluations`` (components whose metrics come first), ``needs`` (other jobs) and ``reason`` (why it cannot be
        run)
    :param uploads: the ids of the tasks that upload
    :param notices: lines for the log before it
    """

    ui_color = "#e2f0d9"
    template_fields_renderers: ClassVar[dict[str, str]] = {}

    def __init__(self, *, rows: list[dict[str, Any]], uploads: list[str], notices: list[str], **kwargs: Any) -> None:
        super().__init__(**{"trigger_rule": "all_done", "retries": 0, **kwargs})
        self.rows = rows
        self.uploads = uploads
        self.notices = notices

    def execute(self, context: Context) -> dict[str, Any]:
        ti = context["ti"]
        ended = {one["task_id"]: one for one in ti.get_task_breadcrumbs(dag_id=ti.dag_id, run_id=ti.run_id)}
        for notice in self.notices:
            self.log.info(notice)
        failed_uploads = [task for task in self.uploads if _state(ended, task) == "failed"]
        jobs = {row["name"]: self._job(row, ended, ti) for row in self.rows}
        for line in table(jobs):
            self.log.info(line)
        for task in failed_uploads:
            self.log.info("%s failed: %s", task, self._error(ti, [task]) or "see its log")
        ti.xcom_push("jobs", jobs)
        bad = {name: job for name, job in jobs.items() if job["state"] != "success"}
        if bad or failed_uploads:
            told = [f"{name} ({job['state']}: {job['reason']})" for name, job in bad.items()]
            told += [f"{task} (failed)" for task in failed_uploads]
            raise AirflowFailException(
                f"{len(jobs) - len(bad)} of {len(jobs)} jobs succeeded; these did not: {'; '.join(told)}"
            )
        self.log.info("all %d jobs succeeded", len(jobs))
        return jobs

    def _job(self, row: Mapping[str, Any], ended: Mapping[str, Any], ti: Any) -> dict[str, Any]:
        states = {task: _state(ended, task) for task in row["tasks"]}
        seconds = max((float(ended[task]["duration"] or 0) for task in states if task in ended), default=0.0)
        job: dict[str, Any] = {"state": "success", "seconds": round(seconds, 1), "metrics": {}, "reason": None}
        failed = [task for task, state in states.items() if state == "failed"]
        if row["reason"]:
            job.update(state="refused" if failed else "not run", reason=row["reason"])
        elif failed:
            job.update(state="failed", reason=self._error(ti, failed) or f"see the log of {failed[0]}")
        elif any(state != "success" for state in states.values()):
            job.update(state="not run", reason=f"needs {', '.join(row['needs']) or 'tables that were not uploaded'}")
        elif row["result"]:
            job["metrics"] = numbers(ti.xcom_pull(task_ids=row["result"], key="metrics") or {}, row["evaluations"])
            predicted = ti.xcom_pull(task_ids=row["result"], key="result")
            if isinstance(predicted, Mapping):
                job["metrics"]["rows"] = predicted.get("count")
        return job

    @staticmethod
    def _error(ti: Any, tasks: Sequence[str]) -> str | None:
        for task in tasks:
            error = ti.xcom_pull(task_ids=task, key=_ERROR)
            if error:
                return str(error)
        return None


def _state(ended: Mapping[str, Any], task: str) -> str | None:
    """The state of a task that has ended, as text, ``None`` otherwise."""
    state = ended[task]["state"] if task in ended else None
    return None if state is None else str(getattr(state, "value", state))


def numbers(metrics: Mapping[str, Any], first: Sequence[str] = ()) -> dict[str, float]:
    """By ``component.name``, the numbers of all components.

    :param first: components whose numbers come before the others'
    """
    found: dict[str, float] = {}
    for component, values in sorted(metrics.items(), key=lambda item: item[0] not in first):
        for name, value in _leaves(values):
            found[f"{component}.{name}"] = value
    return found


def _leaves(value: Any, path: str = "") -> list[tuple[str, float]]:
    if isinstance(value, bool):
        return []
    if isinstance(value, (int, float)):
        return [(path, float(value))] if path else []
    if isinstance(value, Mapping):
        return [leaf for key, one in value.items() for leaf in _leaves(one, f"{path}.{key}" if path else str(key))]
    return []


def table(jobs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of the summary: one for each job, under a heading."""
    width = max([4, *(len(name) for name in jobs)])
    lines = [f"{'job':<{width}}  {'state':<8}  {'seconds':>8}  metrics, or what went wrong"]
    for name, job in jobs.items():
        shown = list(job["metrics"].items())
        said = ", ".join(f"{key} {value:.6g}" for key, value in shown[:_MOST_METRICS] if value is not None)
        if len(shown) > _MOST_METRICS:
            said += f", and {len(shown) - _MOST_METRICS} more"
        lines.append(f"{name:<{width}}  {job['state']:<8}  {job['seconds']:>8.1f}  {job['reason'] or said or '-'}")
    return lines
