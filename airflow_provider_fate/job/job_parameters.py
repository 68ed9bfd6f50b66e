"""``job_parameters``: what concerns the whole job."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import check_name
from airflow_provider_fate.job.parameters.base import Int, Loc, Parameters, choice, ignored

_AIRFLOW = "Airflow schedules the job; set it on the task"
_CONNECTION = "addresses come from Airflow's connections"
_SPARK = "set spark_run"
_SAME = "the storage, messages and computing are those of the connections"


def _none(description: str, why: str) -> Any:
    return Field(default=None, description=description, json_schema_extra=ignored(why))


class JobParameters(Parameters):
    """FATE's job parameters. Flat in a v1 conf; in a v2 conf under ``common``, and what may differ from party to party
    also under ``role.<role>.<index>``."""

    #: of the toy example of FATE 1.6
    passed_over: ClassVar[dict[str, str]] = {"task-cores": _SPARK}

    job_type: choice("train", "predict") = Field(default="train", description="What the job does.")
    model_id: str | None = Field(
        default=None,
        description="Id of the model. Without one, as FATE: roles and party ids, such as "
        "arbiter-10000#guest-9999#host-10000#model. A predict job needs one.",
    )
    model_version: str | None = Field(
        default=None,
        description="Version of the model. A train job without one takes its job id; a predict job without one takes "
        "the deployed version.",
    )
    computing_partitions: Annotated[Int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Partitions of the rows after the intersection; without it they are chosen by size."
    )
    seed: Annotated[Int, Field(ge=0, le=2**63 - 1)] = Field(
        default=0,
        description="Not in FATE: seed of all that is random and public (batches, starting values). The same job with "
        "the same seed on the same data gives the same model. Keys and masks are never seeded.",
    )
    spark_run: dict[str, Any] | None = Field(
        default=None, description="Flags of spark-submit, see below. May differ from party to party."
    )
    work_mode: choice("0", "1") | None = Field(
        default=None, description="FATE 1.5: 0 standalone, 1 cluster. Here the connections decide."
    )
    backend: choice("0", "1", "2") | None = Field(
        default=None, description="FATE 1.5: 0 Eggroll, 1 Spark with RabbitMQ, 2 Spark with Pulsar. Here always Spark."
    )
    computing_engine: Any = _none("FATE's computing engine.", f"jobs run on Spark; {_SAME}")
    federation_engine: Any = _none("FATE's federation engine.", _SAME)
    storage_engine: Any = _none("FATE's storage engine.", _SAME)
    engines_address: Any = _none("Addresses of engines.", _CONNECTION)
    federated_mode: Any = _none("SINGLE or MULTIPLE.", "each party is an Airflow task of its own")
    federation_info: Any = _none("Broker user and password of the job.", _CONNECTION)
    federated_status_collect_type: Any = _none("PUSH or PULL.", "parties tell each other directly")
    task_parallelism: Any = _none("Components at the same time.", "components run one after the other")
    task_cores: Any = _none("Cores of a component.", _SPARK)
    processors_per_node: Any = _none("FATE 1.4: cores of Eggroll.", _SPARK)
    task_nodes: Any = _none("FATE 1.5: nodes of a component.", _SPARK)
    task_cores_per_node: Any = _none("FATE 1.5: cores of a component on each node.", _SPARK)
    task_memory_per_node: Any = _none("FATE 1.5: memory of a component on each node.", _SPARK)
    spark_submit_config: Any = _none("FATE 1.4: flags of spark-submit.", _SPARK)
    align_task_input_data_partition: Any = _none(
        "Whether input is split as the job says.", "rows are partitioned alike at all parties"
    )
    federated_comm: Any = _none("FATE 1.5: PUSH or PULL.", "parties tell each other directly")
    eggroll_run: Any = _none("Settings of Eggroll.", "jobs run on Spark; set spark_run")
    rabbitmq_run: Any = _none("Settings of RabbitMQ.", _CONNECTION)
    pulsar_run: Any = _none("Settings of Pulsar.", _CONNECTION)
    timeout: Any = _none("Seconds that the job may take.", f"{_AIRFLOW} (execution_timeout)")
    auto_retries: Any = _none("How often a component is tried again.", f"{_AIRFLOW} (retries)")
    auto_retry_delay: Any = _none("Seconds before that.", f"{_AIRFLOW} (retry_delay)")
    adaptation_parameters: Any = _none("Resources that FATE Flow computed.", _SPARK)
    inheritance_info: Any = _none("Earlier job whose components are used.", "a task tried again goes on by itself")
    dsl_version: Any = _none("Version of the DSL.", "dsl_version beside job_parameters decides")
    assistant_role: Any = _none("FATE 1.11, internal.", "it is internal to FATE Flow")
    map_table_name: Any = _none("FATE 1.11, internal.", "it is internal to FATE Flow")
    map_namespace: Any = _none("FATE 1.11, internal.", "it is internal to FATE Flow")
    task_conf: Any = _none("FATE 1.11: settings of single components.", _SPARK)
    roles: Any = _none("FATE 1.11, internal.", "it is internal to FATE Flow")
    role_parameters: Any = _none("FATE 1.11, internal.", "it is internal to FATE Flow")
    user: Any = _none("FATE 1.11: user of each party.", "Airflow's users and connections decide")

    @field_validator("model_id", "model_version", mode="before")
    @classmethod
    def _safe(cls, value: Any) -> Any:
        if value is None:
            return None
        try:
            return check_name(value, "")
        except ConfigError as error:
            raise ValueError(error.problem) from None

    @field_validator("work_mode", "backend", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _model_named(self) -> JobParameters:
        if self.job_type == "predict" and self.model_id is None:
            raise ValueError("a predict job needs model_id")
        return self

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        found: list[tuple[Loc, str]] = []
        if self.work_mode == "0":
            found.append((("work_mode",), "0 (standalone): each party runs as a Spark application all the same"))
        if self.backend == "0":
            found.append((("backend",), "0 (Eggroll): the job runs on Spark"))
        if self.backend == "2":
            found.append((("backend",), "2 (Spark with Pulsar): messages go where the connection says"))
        return found


#: What every party must have the same.
SHARED = ("job_type", "model_id", "model_version", "computing_partitions", "seed")
