"""The same training over a list of parameter sets; the best by AUC is deployed.

The list comes from a task, so it may as well come from a file, a table or the trigger form.
"""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_fate.operators.deploy import FateDeployOperator
from airflow_provider_fate.operators.group import fate_tune
from airflow_provider_fate.operators.upload import FateUploadOperator

DATA = Path(__file__).parent / "data"
TABLES = {role: {"namespace": "fate_tuning", "name": f"breast_hetero_{role}"} for role in ("guest", "host")}


@task
def parameter_sets() -> list[dict]:
    """One training for each learning rate."""
    return [{"hetero_lr_0": {"learning_rate": learning_rate, "max_iter": 5}} for learning_rate in (0.05, 0.3)]


with DAG("fate_tuning", schedule=None, catchup=False, tags=["fate"], doc_md=__doc__):
    uploads = [
        FateUploadOperator(
            task_id=f"upload_{role}", source=str(DATA / f"{table['name']}.csv"), drop=True, **table
        )
        for role, table in TABLES.items()
    ]
    # at_once=1: one training after the other; more where there is room for more applications
    tune = fate_tune("tune", "fate_jobs/hetero_lr.json", parameter_sets(), metric="auc", at_once=1, data=TABLES)
    uploads >> tune
    FateDeployOperator(
        task_id="deploy",
        model_id=tune.best["model_id"],
        model_version=tune.best["model_version"],
        parties=["guest-9999", "host-10000", "arbiter-10000"],
    )
