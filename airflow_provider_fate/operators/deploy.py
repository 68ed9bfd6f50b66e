"""Mark a version of a model as the one that predictions take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_fate.errors import ConfigError, StorageError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators.assets import MODELS, deployed_asset, emit

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class FateDeployOperator(BaseOperator):
    """Deploy a model version at every party whose storage this Airflow reaches.

    Every party is looked at before the first one is changed: a version that one of them does not have is deployed
    nowhere. A party with an Airflow of its own deploys there. The task records an event of the asset of the deployed
    model (:func:`~airflow_provider_fate.operators.assets.deployed_asset`).

    :param model_id: the model (templated)
    :param model_version: the version, as the training returned it (templated)
    :param parties: ``["guest-9999", "host-10000"]``, or ``{"guest-9999": "storage_conn_id", ...}`` where the parties'
        storages differ (templated)
    :param storage_conn_id: the storage of parties that name none of their own (templated)
    """

    template_fields: Sequence[str] = ("model_id", "model_version", "parties", "storage_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parties": "json"}
    ui_color = "#e2f0d9"

    def __init__(
        self,
        *,
        model_id: str,
        model_version: str,
        parties: list[str] | dict[str, str | None],
        storage_conn_id: str = "fate_storage",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.model_id = model_id
        self.model_version = model_version
        self.parties = parties
        self.storage_conn_id = storage_conn_id
        self.outlets.append(MODELS)

    def execute(self, context: Context) -> dict[str, Any]:
        # imported here, as it brings Arrow along, which parsing a DAG need not wait for
        from airflow_provider_fate.hooks.stores import models

        try:
            stores = {party: models(conn_id, party) for party, conn_id in self._parties().items()}
            replaced = {}
            for party, store in stores.items():
                description = store.describe(self.model_id, self.model_version)
                roles = description.get("job", {}).get("conf", {}).get("role", {})
                if roles and party.party_id not in [str(one) for one in roles.get(party.role, [])]:
                    raise ConfigError("parties", f"{party} has no part in model {self.model_id!r}")
                replaced[party] = self._deployed(store)
        except ConfigError as error:
            raise AirflowFailException(str(error)) from error
        for party, store in stores.items():
            store.deploy(self.model_id, self.model_version)
            before = f", in place of {replaced[party]}" if replaced[party] else ""
            self.log.info("%s: version %s of model %s is deployed%s", party, self.model_version, self.model_id, before)
        result = {
            "model_id": self.model_id,
            "model_version": self.model_version,
            "parties": [str(party) for party in stores],
        }
        emit(context, self, MODELS, deployed_asset(self.model_id), result)
        return result

    def _parties(self) -> dict[Party, str]:
        named = self.parties if isinstance(self.parties, dict) else dict.fromkeys(self.parties or [])
        if not named:
            raise ConfigError("parties", "names no party; expected such as ['guest-9999', 'host-10000']")
        return {Party.parse(party): conn_id or self.storage_conn_id for party, conn_id in named.items()}

    def _deployed(self, store: Any) -> str | None:
        try:
            return store.deployed_version(self.model_id)
        except StorageError:
            return None
