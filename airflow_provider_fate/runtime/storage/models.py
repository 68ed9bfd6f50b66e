"""Models as files that a person can read: JSON, and Parquet for what is large.

Layout below the storage's root::

    models/{model_id}/{model_version}/{role}-{party_id}/_model.json       the job, components, written last
    models/{model_id}/{model_version}/{role}-{party_id}/{component}.json
    models/{model_id}/{model_version}/{role}-{party_id}/{component}.{table}.parquet
    models/{model_id}/deployed-{role}-{party_id}.json                     which version a prediction takes
"""

from __future__ import annotations

import io
import secrets
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.data import Model
from airflow_provider_fate.runtime.storage.base import Storage

FORMAT = 1


class ModelStore:
    """The models of one party in one storage.

    :param storage: where they are
    :param party: whose
    """

    def __init__(self, storage: Storage, party: Party) -> None:
        self.storage = storage
        self.party = party

    def directory(self, model_id: str, version: str) -> str:
        return f"models/{model_id}/{version}/{self.party}"

    def save(
        self, model_id: str, version: str, models: dict[str, Model], job: dict[str, Any], job_id: str = ""
    ) -> None:
        """Write the models of all components of a job; they are there together or not at all.

        :param models: by component name
        :param job: the job's DSL and conf, so that a prediction needs no other file
        :param job_id: of the job that has made them
        """
        temporary = f"models/{model_id}/{version}/.{self.party}.{secrets.token_hex(6)}"
        try:
            self.write(temporary, model_id, version, models, job, job_id)
            self.storage.replace_directory(temporary, self.directory(model_id, version))
        except BaseException:
            self.storage.delete(temporary)
            raise

    def write(
        self, directory: str, model_id: str, version: str, models: dict[str, Model], job: dict[str, Any], job_id: str
    ) -> None:
        """Write what :meth:`save` does into another directory, to be moved to where the model belongs."""
        for component, model in models.items():
            save_component(self.storage, directory, component, model)
        self.storage.write_json(
            f"{directory}/_model.json",
            {
                "format": FORMAT,
                "model_id": model_id,
                "model_version": version,
                "party": str(self.party),
                "components": sorted(models),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "job": job,
                "job_id": job_id,
            },
        )

    def versions(self, model_id: str) -> list[str]:
        """Versions that this party has of a model, oldest name first."""
        return [
            version
            for version in self.storage.list(f"models/{model_id}")
            if self.storage.exists(f"{self.directory(model_id, version)}/_model.json")
        ]

    def describe(self, model_id: str, version: str) -> dict[str, Any]:
        """The ``_model.json`` of a version. :raises StorageError: this party has no such model."""
        path = f"{self.directory(model_id, version)}/_model.json"
        if not self.storage.exists(path):
            versions = self.versions(model_id)
            raise StorageError(
                f"{self.party} has no version {version!r} of model {model_id!r} below {self.storage.url}; "
                + (f"there are: {', '.join(versions[-10:])}" if versions else "there is no version of this model")
            )
        description = self.storage.read_json(path)
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise StorageError(f"{self.storage.spark_path(path)} is not a model description of format {FORMAT}")
        return description

    def made_by(self, model_id: str, version: str) -> str | None:
        """The id of the job that has made a version, ``None`` where there is no such version."""
        if not self.storage.exists(f"{self.directory(model_id, version)}/_model.json"):
            return None
        return str(self.describe(model_id, version).get("job_id", ""))

    def load(self, model_id: str, version: str) -> dict[str, Model]:
        """Models by component name. :raises StorageError: there is no such model, or a file is damaged."""
        directory = self.directory(model_id, version)
        return {
            name: load_component(self.storage, directory, name)
            for name in self.describe(model_id, version)["components"]
        }

    def _deployed(self, model_id: str) -> str:
        return f"models/{model_id}/deployed-{self.party}.json"

    def deploy(self, model_id: str, version: str) -> None:
        """Make ``version`` the one that predictions take. :raises StorageError: there is no such version."""
        self.describe(model_id, version)
        self.storage.write_json(
            self._deployed(model_id),
            {"model_version": version, "deployed": datetime.now(UTC).isoformat(timespec="seconds")},
        )

    def deployed_version(self, model_id: str) -> str:
        """:raises StorageError: no version is deployed."""
        path = self._deployed(model_id)
        if not self.storage.exists(path):
            raise StorageError(
                f"no version of model {model_id!r} is deployed at {self.party} (below {self.storage.url}); "
                "deploy one with FateDeployOperator, or name a model_version"
            )
        return str(self.storage.read_json(path)["model_version"])


def save_component(storage: Storage, directory: str, component: str, model: Model) -> None:
    """Write one component's model into ``directory``."""
    for table_name, table in model.tables.items():
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        storage.write_bytes(f"{directory}/{component}.{table_name}.parquet", sink.getvalue())
    storage.write_json(f"{directory}/{component}.json", {"meta": model.meta, "tables": sorted(model.tables)})


def load_component(storage: Storage, directory: str, component: str) -> Model:
    """Read what :func:`save_component` wrote. :raises StorageError: a file is missing or damaged."""
    path = f"{directory}/{component}.json"
    content = storage.read_json(path)
    try:
        return Model(
            content["meta"],
            {
                name: pq.read_table(io.BytesIO(storage.read_bytes(f"{directory}/{component}.{name}.parquet")))
                for name in content["tables"]
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{storage.spark_path(path)} is damaged: {error}") from error
