"""The job parameters that all parties share, in a conf of either version that is not parsed yet."""

from __future__ import annotations

from typing import Any

from airflow_provider_fate.job.plain import as_dict


def common_of(conf: dict[str, Any]) -> dict[str, Any]:
    """A copy of the shared job parameters of a conf.

    :raises ConfigError: they are no dict
    """
    given = as_dict(conf.get("job_parameters"), "job_parameters")
    return dict(as_dict(given.get("common"), common_path(conf)) if _v2(conf) else given)


def with_common(conf: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """The conf with other shared job parameters."""
    given = {**as_dict(conf.get("job_parameters"), "job_parameters"), "common": common} if _v2(conf) else common
    return {**conf, "job_parameters": given}


def common_path(conf: dict[str, Any]) -> str:
    """Where the shared job parameters of a conf stand, for errors."""
    return "job_parameters.common" if _v2(conf) else "job_parameters"


def _v2(conf: dict[str, Any]) -> bool:
    return str(conf.get("dsl_version", 1)) == "2"
