"""Train a model: one party's part of a federated job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.operators._job import load_job
from airflow_provider_fate.operators._submit import FateSubmitOperator
from airflow_provider_fate.operators.assets import MODELS, emit, model_asset

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fate.job.conf import Job
    from airflow_provider_fate.job.invitation import Invitation
    from airflow_provider_fate.job.party import Party


class FateTrainOperator(FateSubmitOperator):
    """Run one party's part of a training job as one Spark application.

    All parties of a job run at the same time, each as a task of its own, on the same Airflow or on different ones;
    :func:`~airflow_provider_fate.operators.group.fate_train` makes the tasks of those on this one. Everything is
    checked before anything is submitted. A task that Airflow tries again meets the others again and goes on from the
    last checkpoint that all of them hold.

    Each party's task records an event of the asset of its part of the model, and the guest's one of the whole model's
    (:func:`~airflow_provider_fate.operators.assets.model_asset`).

    Returns ``job_id``, ``model_id``, ``model_version``, ``metrics`` (by component) and ``output`` (the tables made).

    :param job: FATE's runtime conf and DSL, unless the task is invited: a dict with ``conf`` and ``dsl``, each a dict
        or the name of a ``.json`` file; or the name of one ``.json`` file with both. A file beside the DAG is
        templated, one with an absolute name is read as it stands (templated)
    :param role: ``guest``, ``host`` or ``arbiter`` (templated)
    :param party_id: FATE's party id (templated)
    :param parameters: component parameters that are other than in the job, e.g.
        ``{"hetero_lr_0": {"learning_rate": 0.1}}``; the same at every party (templated)
    :param data: tables by role, e.g. ``{"guest": {"namespace": ..., "name": ...}, "host": [...]}``; by default those
        that the job names (templated)
    :param job_id: the same at all parties of the job; by default made of the DAG's, run's and task group's ids and the
        map index. Jobs of one DAG that stand in no task groups of their own need ids of their own. Parties that only
        have a schedule in common make it of the logical date: ``"nightly_{{ ts_nodash }}"`` (templated)
    :param spark_run: spark-submit's flags by their names (``executor-memory``, ``master``, ...), with ``conf`` as a
        dict, a list or ``k=v`` text; goes before the job's own and the connection (templated)
    :param spark_conn_id: where Spark runs (templated)
    :param storage_conn_id: where tables, models and checkpoints are (templated)
    :param transport_conn_id: how messages travel between the parties (templated)
    :param wait_timeout: seconds to wait for a party that gives no sign of life (templated)
    :param archives: packed Python environment for nodes that lack the libraries, unpacked beside the executors
        (templated)
    :param python: the executors' Python; by default that of ``archives``, or of Spark's own settings (templated)
    :param invitation: instead of ``job``, what another party sent: the run's conf, as a dict or JSON text, e.g.
        ``"{{ dag_run.conf | tojson }}"``. Nothing in it is rendered. It is checked and held against the policy before
        anything of this party's is read; the job's id is the invitation's, which is that of the run (templated)
    :param policy: with ``invitation``: the absolute path of the file that says what other parties may ask for. Not a
        template, so that no run can name another one
    :param approval: with ``invitation``: what the task returned in which a person approved, e.g. ``approve.output`` of
        :class:`~airflow_provider_fate.operators.invited.FateApproveOperator`; needed where the policy asks for it
        (templated)
    :param peers: of the task that invites, where there is one: what it returned, ``invite.output["peers"]``. Another
        try of this task then ends at once where an invited party's run has failed for good (templated)
    """

    kind: ClassVar[str] = "train"

    template_fields: Sequence[str] = ("job", "parameters", *FateSubmitOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **FateSubmitOperator.template_fields_renderers, "job": "json", "parameters": "json",
    }  # fmt: skip
    template_files: ClassVar[dict[str, str]] = {
        **FateSubmitOperator.template_files, "job": ".json", "parameters": ".json",
    }  # fmt: skip
    template_file_dicts = ("job",)

    def __init__(
        self,
        *,
        job: dict[str, Any] | str | None = None,
        parameters: dict[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.parameters = parameters
        # which model it is, the job's conf says, and that may be a file
        self.outlets.append(MODELS)

    def _read_invitation(self, context: Context, party: Party) -> Invitation | None:
        if self.invitation is not None and (self.job is not None or self.parameters):
            raise ConfigError("invitation", "brings the job and its parameters: leave out job and parameters")
        return super()._read_invitation(context, party)

    def load_job(self) -> Job:
        job = load_job(self.job, self.data, self.parameters)
        if job.job_type != "train":
            raise ConfigError("job_parameters.job_type", f"{job.job_type!r}; use FatePredictOperator for it")
        return job

    def finish(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        extra = {key: result[key] for key in ("job_id", "party", "model_id", "model_version", "metrics")}
        emit(context, self, MODELS, model_asset(result["model_id"], result["party"]), extra)
        if self._party.role == "guest":
            emit(context, self, MODELS, model_asset(result["model_id"]), extra)
        return result
