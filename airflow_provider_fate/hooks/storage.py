"""The storage behind a connection id, whatever its type."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_fate.hooks.connections import ConnectionConfigError, get_connection
from airflow_provider_fate.hooks.hdfs import FateHdfsHook
from airflow_provider_fate.runtime.storage.local import LocalStorage

_EXAMPLE = """--conn-type fs --conn-extra '{"path": "/var/lib/fate"}'"""


def local_directory(connection: Any) -> Path:
    """The directory that a connection of Airflow's own type ``fs`` names."""
    path = connection.extra_dejson.get("path")
    place = f"connection {connection.conn_id!r}: extra.path"
    if not path:
        raise ConnectionConfigError(place, "it is not set; the absolute path of a directory is expected")
    if not isinstance(path, str) or not Path(path).is_absolute():
        raise ConnectionConfigError(place, f"{path!r} is not an absolute path of a directory")
    return Path(path)


class FateLocalHook(BaseHook):
    """Tables, models and jobs in a local directory: Airflow's own connection type ``fs``.

    Spark must see the same directory: on this machine, or through a shared file system.

    :param conn_id: a connection of type ``fs``
    """

    def __init__(self, conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    @cached_property
    def directory(self) -> Path:
        return local_directory(get_connection(self.conn_id, ["fs"], "storage", _EXAMPLE))

    @cached_property
    def storage(self) -> LocalStorage:
        """The files below the directory."""
        return LocalStorage(self.directory)

    @property
    def url(self) -> str:
        """The root as Spark names it."""
        return self.storage.url

    def spark_settings(self) -> dict[str, Any]:
        """What a Spark application needs to reach the same files, as :meth:`FateHdfsHook.spark_settings` has it."""
        return {"env_vars": {}, "conf": {}, "job_file_part": {"url": self.url}}


def storage_hook(conn_id: str) -> FateHdfsHook | FateLocalHook:
    """The hook for the storage connection ``conn_id``.

    :raises ConnectionConfigError: there is none, or it is of a type that is no storage
    """
    connection = get_connection(conn_id, [FateHdfsHook.conn_type, "fs"], "storage", _EXAMPLE)
    return FateHdfsHook(conn_id) if connection.conn_type == FateHdfsHook.conn_type else FateLocalHook(conn_id)
