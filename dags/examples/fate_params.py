"""A training with a form: tables, iterations, learning rate and Spark's memory are asked for when it is triggered."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG, Param, task

from airflow_provider_fate.operators.group import fate_train
from airflow_provider_fate.operators.upload import FateUploadOperator

DATA = Path(__file__).parent / "data"
MEMORY = {"type": "string", "pattern": "^[0-9]+[mg]$"}

with DAG(
    "fate_params",
    schedule=None,
    catchup=False,
    tags=["fate"],
    doc_md=__doc__,
    # so that a number from the form stays a number
    render_template_as_native_obj=True,
    params={
        "namespace": Param("fate_params", type="string", minLength=1, title="Namespace", section="Tables"),
        "guest_table": Param(
            "breast_hetero_guest", type="string", minLength=1, title="The guest's table", section="Tables"
        ),
        "host_table": Param(
            "breast_hetero_host", type="string", minLength=1, title="The host's table", section="Tables"
        ),
        "upload_example_data": Param(
            True, type="boolean", title="Upload the example data into these tables first", section="Tables"
        ),
        "iterations": Param(5, type="integer", minimum=1, maximum=1000, title="Iterations at most", section="Model"),
        "learning_rate": Param(
            0.15, type="number", exclusiveMinimum=0, maximum=1, title="Learning rate", section="Model"
        ),
        "driver_memory": Param("1g", **MEMORY, title="Memory of the driver, such as 512m or 4g", section="Spark"),
        "executor_memory": Param("1g", **MEMORY, title="Memory of an executor", section="Spark"),
    },
):
    uploads = [
        FateUploadOperator(
            task_id=f"upload_{role}",
            source=str(DATA / f"breast_hetero_{role}.csv"),
            namespace="{{ params.namespace }}",
            name=f"{{{{ params.{role}_table }}}}",
            drop=True,
        )
        for role in ("guest", "host")
    ]

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def example_data_wanted(params: dict) -> bool:
        return params["upload_example_data"]

    example_data_wanted() >> uploads >> fate_train(
        "train",
        "fate_jobs/hetero_lr.json",
        data={
            "guest": {"namespace": "{{ params.namespace }}", "name": "{{ params.guest_table }}"},
            "host": {"namespace": "{{ params.namespace }}", "name": "{{ params.host_table }}"},
        },
        parameters={
            "hetero_lr_0": {
                "max_iter": "{{ params.iterations }}",
                "learning_rate": "{{ params.learning_rate }}",
            }
        },
        spark_run={
            "driver-memory": "{{ params.driver_memory }}",
            "executor-memory": "{{ params.executor_memory }}",
        },
        trigger_rule="none_failed",
    )
