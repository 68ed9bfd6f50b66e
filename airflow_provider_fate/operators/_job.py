"""A job as the user gives it, made into one that can be submitted."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from airflow_provider_fate.errors import ConfigError

if TYPE_CHECKING:
    from airflow_provider_fate.job.conf import Job


def as_object(value: Any, path: str) -> dict[str, Any] | None:
    """A dict as it is, or read from JSON text or a ``.json`` file.

    Airflow's templating has replaced the name of a file below the DAG's folder by its text already; an absolute name
    is read here.

    :raises ConfigError: neither
    """
    if value is None or isinstance(value, dict):
        return value
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigError(path, f"is a {type(value).__name__}; expected a dict or the name of a .json file")
    text = os.fspath(value)
    if not text.lstrip().startswith("{"):
        try:
            with open(text, encoding="utf-8-sig") as stream:
                path, text = f"{path} ({text})", stream.read()
        except (OSError, ValueError) as error:
            raise ConfigError(
                path, f"{str(value)!r:.200} is neither a JSON object nor a file that can be read"
            ) from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(path, f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(path, f"holds a JSON {type(found).__name__}; expected an object")
    return found


def conf_and_dsl(job: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The runtime conf and the DSL of a job.

    :param job: a dict with ``conf`` and ``dsl`` (each a dict or the name of a ``.json`` file), or the name of one file
        with both; FATE's own names ``runtime_conf``, ``job_runtime_conf`` and ``job_dsl`` are known as well
    :raises ConfigError: a part is missing or cannot be read
    """
    whole = as_object(job, "job")
    if whole is None:
        raise ConfigError("job", "is not given; expected a dict with conf and dsl, or the name of a .json file")
    names = {
        "conf": "conf", "runtime_conf": "conf", "job_runtime_conf": "conf", "dsl": "dsl", "job_dsl": "dsl",
    }  # fmt: skip
    parts: dict[str, Any] = {}
    for key, value in whole.items():
        if key not in names:
            raise ConfigError(f"job.{key}", "is not a part of a job; expected conf and dsl")
        if names[key] in parts:
            raise ConfigError(f"job.{key}", f"the job has a {names[key]} already")
        parts[names[key]] = as_object(value, f"job.{key}")
    if parts.get("conf") is None:
        raise ConfigError("job.conf", "is not given")
    return parts["conf"], parts.get("dsl")


def load_job(job: Any, data: Any = None, parameters: Any = None) -> Job:
    """Parse and validate a job, with other tables and parameters where they are given.

    :param data: tables by role, see ``Job.with_data``
    :param parameters: component parameters, see ``Job.with_parameters``
    :raises ConfigError: anything is wrong
    """
    from airflow_provider_fate.job.conf import Job

    parsed = Job.parse(*conf_and_dsl(job))
    parameters = as_object(parameters, "parameters")
    if parameters:
        parsed = parsed.with_parameters(parameters)
    data = as_object(data, "data")
    if data:
        parsed = parsed.with_data(data)
    return parsed
