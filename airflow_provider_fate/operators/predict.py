"""Predict with a model: one party's part of a federated prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.common import common_of, common_path, with_common
from airflow_provider_fate.job.names import check_name
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.job.plain import join
from airflow_provider_fate.operators._job import as_object, conf_and_dsl
from airflow_provider_fate.operators._submit import FateSubmitOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fate.job.conf import Job
    from airflow_provider_fate.job.invitation import Invitation

DEPLOYED = "deployed"


class FatePredictOperator(FateSubmitOperator):
    """Run one party's part of a prediction as one Spark application.

    The components, their parameters, guest and hosts are those of the training, as they are kept with the model; the
    arbiter has no part in it.
    The party with the label, as a rule the guest, gets a result table: ``id``, ``label`` (where known),
    ``predict_result``, ``predict_score``, ``predict_detail``, ``type``.

    Returns what training returns and ``result``: the table's ``namespace``, ``name`` and ``count`` (``None`` at a
    party that gets none), and ``csv``, where it was exported to.

    :param model_id: the model, unless the task is invited (templated)
    :param model_version: a version, or ``deployed`` for the one that FateDeployOperator marked (templated)
    :param data: tables by role, e.g. ``{"guest": {"namespace": ..., "name": ...}, "host": [...]}`` (templated)
    :param job: a predict conf of FATE's, where more is to be said than model and data: a dict with ``conf`` and
        perhaps ``dsl``, or the name of a ``.json`` file (templated)
    :param export_csv: a file on the worker that the result is written to as well (templated)
    :param role: ``guest`` or ``host`` (templated)
    :param party_id: FATE's party id (templated)
    :param job_id: as in :class:`~airflow_provider_fate.operators.train.FateTrainOperator`, which has ``spark_run``,
        ``spark_conn_id``, ``storage_conn_id``, ``transport_conn_id``, ``wait_timeout``, ``archives``, ``python``
        and ``peers`` as well (templated)
    :param invitation: instead of ``model_id``, ``model_version`` and ``job``, what another party sent; this,
        ``policy`` and ``approval`` are as in FateTrainOperator
    """

    kind: ClassVar[str] = "predict"

    template_fields: Sequence[str] = (
        "model_id", "model_version", "job", "export_csv", *FateSubmitOperator.template_fields,
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **FateSubmitOperator.template_fields_renderers, "job": "json",
    }  # fmt: skip
    template_files: ClassVar[dict[str, str]] = {**FateSubmitOperator.template_files, "job": ".json"}
    template_file_dicts = ("job",)

    def __init__(
        self,
        *,
        model_id: str | None = None,
        model_version: str = DEPLOYED,
        job: dict[str, Any] | str | None = None,
        export_csv: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_id = model_id
        self.model_version = model_version
        self.job = job
        self.export_csv = export_csv

    def _read_invitation(self, context: Context, party: Party) -> Invitation | None:
        if self.invitation is not None and (self.model_id or self.job):
            raise ConfigError("invitation", "brings the model and the job: leave out model_id and job")
        return super()._read_invitation(context, party)

    def load_job(self) -> Job:
        from airflow_provider_fate.hooks.stores import models
        from airflow_provider_fate.job.conf import Job

        if self.role == "arbiter":
            raise ConfigError("role", "the arbiter has no part in a prediction; leave its task out")
        if self.model_id is None:
            raise ConfigError("model_id", "is not given; expected the id of a model, as the training returned it")
        model_id = check_name(self.model_id, "model_id")
        store = models(self.storage_conn_id, Party(str(self.role), str(self.party_id)))
        version = str(self.model_version or DEPLOYED)
        if version == DEPLOYED:
            version = store.deployed_version(model_id)
        check_name(version, "model_version")
        stored = store.describe(model_id, version)["job"]
        self.log.info("Model %s, version %s", model_id, version)
        if self.job is None:
            conf, dsl = self._conf_of(stored), None
        else:
            conf, dsl = conf_and_dsl(self.job)
        job = Job.parse(_with_model(conf, model_id, version), dsl)
        data = as_object(self.data, "data")
        if data:
            job = job.with_data(data)
        return job.for_prediction(stored)

    @staticmethod
    def _conf_of(stored: dict[str, Any]) -> dict[str, Any]:
        trained = stored["conf"]
        # the arbiter has no part in applying a model
        role = {role: ids for role, ids in trained["role"].items() if role != "arbiter"}
        initiator = {"role": "guest", "party_id": role["guest"][0]}
        return {"dsl_version": 2, "initiator": initiator, "role": role, "job_parameters": {}}

    def finish(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        table = self._table
        result["result"], result["csv"] = table, None
        if table and self.export_csv:
            from airflow_provider_fate.hooks.stores import tables
            from airflow_provider_fate.operators.export import export_csv

            path = export_csv(tables(self.storage_conn_id), table["namespace"], table["name"], self.export_csv)
            self.log.info("%d predictions are in %s", table["count"], path)
            result["csv"] = path
        return result

    def _result(self, status: dict[str, Any]) -> dict[str, Any]:
        self._table = status.get("result")
        if self._table:
            self.log.info(
                "%d predictions are in table %s/%s",
                self._table["count"], self._table["namespace"], self._table["name"],
            )  # fmt: skip
        return super()._result(status)


def _with_model(conf: dict[str, Any], model_id: str, version: str) -> dict[str, Any]:
    """The conf as that of a predict job with this model.

    :raises ConfigError: it names another model
    """
    common = common_of(conf)
    for key, value in (("job_type", "predict"), ("model_id", model_id), ("model_version", version)):
        given = common.get(key)
        if given is not None and str(given) != value and not (key == "model_version" and given == DEPLOYED):
            path = join(common_path(conf), key)
            raise ConfigError(path, f"{given!r} in the conf, but this task is for {value!r}; leave one of them out")
        common[key] = value
    return with_common(conf, common)
