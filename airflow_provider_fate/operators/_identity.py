"""Names that follow from where a task stands: the job's id and the file of the driver's output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fate.job.names import job_id_of
from airflow_provider_fate.job.party import Party


def default_job_id(context: Any, task: Any) -> str:
    """The same for all parties of a job, and for every try: DAG, run, task group and map index.

    Parties on Airflows of their own have it in common where their DAGs, groups and runs have the same names.
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
