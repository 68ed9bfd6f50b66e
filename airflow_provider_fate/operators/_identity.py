"""Names that follow from where a task stands: the job's id and the file of the driver's output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, conf
from jinja2 import TemplateSyntaxError, meta

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import job_id_of
from airflow_provider_fate.job.party import Party

#: what a template can make a job's id of where the run has a logical date; without one, Airflow does not have them
_OF_THE_DATE = {
    "logical_date", "ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "data_interval_start",
    "data_interval_end",
}  # fmt: skip


class NamedByDate:
    """For operators with a templated ``job_id``: says what is wrong where it is made of the run's logical date, and the
    run has none, as those that assets or another task start. Jinja would only say that a name is undefined."""

    job_id: str | None

    # Airflow calls this one, not ``render_template_fields``, for mapped tasks as well
    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        if parent is self and context.get("logical_date") is None and _of_the_date(self.job_id, jinja_env):
            error = ConfigError(
                "job_id",
                f"{self.job_id!r} is made of the run's logical date, and this run has none; let a schedule start it, "
                "or give the run that you start by hand a logical date, the same at every party",
            )
            raise AirflowFailException(str(error))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)  # type: ignore[misc]


def _of_the_date(template: Any, jinja_env: Any) -> bool:
    if not isinstance(template, str):
        return False
    try:
        return not _OF_THE_DATE.isdisjoint(meta.find_undeclared_variables(jinja_env.parse(template)))
    except TemplateSyntaxError:
        return False  # rendering says so


def default_job_id(context: Any, task: Any) -> str:
    """The same for all parties of a job, and for every try: DAG, run, task group and map index.

    Parties on Airflows of their own have it in common where their DAGs, groups and runs have the same names; where
    they only have the schedule in common, they give ``job_id`` a template of the logical date.
    """
    ti = context.get("ti")
    if ti is None:
        return job_id_of(f"manual-{task.task_id}")
    group = getattr(task, "task_group", None)
    parts = [ti.dag_id, ti.run_id]
    if group is not None and group.group_id:
        parts.append(group.group_id)
    if ti.map_index is not None and ti.map_index >= 0:
        parts.append(str(ti.map_index))
    return job_id_of("_".join(parts))


def log_file(context: Any, job_id: str, party: Party) -> Path:
    """Where a try's Spark output goes: below Airflow's own logs, readable for Airflow's account alone."""
    ti = context.get("ti")
    number = getattr(ti, "try_number", 1) if ti is not None else 1
    base = Path(conf.get("logging", "base_log_folder", fallback="/tmp")).expanduser()
    return base / "fate" / job_id / f"{party}.try{number}.log"
