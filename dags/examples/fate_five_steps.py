"""The five steps of federated learning, on FATE's breast cancer data.

The guest (party 9999) has the label and ten features, the host (party 10000) has twenty more features of the same
people, and the arbiter keeps the keys. Nobody shows their rows to another.

1. upload the training data
2. define the pipeline (``fate_jobs/hetero_lr.json``) and submit it
3. adjust the parameters: the same training over two parameter sets, the best by AUC is deployed
4. upload the data to predict
5. predict

Where tables are kept, how messages travel and where Spark runs is said by the connections ``fate_storage``,
``fate_transport`` and ``fate_spark``; the DAG stays as it is on a cluster.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_fate.operators.deploy import FateDeployOperator
from airflow_provider_fate.operators.group import fate_predict, fate_train, fate_tune
from airflow_provider_fate.operators.upload import FateUploadOperator

DATA = Path(__file__).parent / "data"
RESULTS = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")) / "fate_results"
JOB = "fate_jobs/hetero_lr.json"
NAMESPACE = "fate_five_steps"
PARTIES = ["guest-9999", "host-10000", "arbiter-10000"]
TRAINING_TABLES = {
    "guest": {"namespace": NAMESPACE, "name": "breast_hetero_guest"},
    "host": {"namespace": NAMESPACE, "name": "breast_hetero_host"},
}
NEW_TABLES = {
    "guest": {"namespace": NAMESPACE, "name": "breast_hetero_guest_new"},
    "host": {"namespace": NAMESPACE, "name": "breast_hetero_host_new"},
}
PARAMETER_SETS = [
    {"hetero_lr_0": {"learning_rate": 0.05}},
    {"hetero_lr_0": {"learning_rate": 0.3, "alpha": 0.001}},
]


def upload(task_id: str, table: dict[str, str]) -> FateUploadOperator:
    return FateUploadOperator(task_id=task_id, source=str(DATA / f"{table['name']}.csv"), drop=True, **table)


@task
def show(result: dict) -> dict:
    """What came out, in the log."""
    rows = result["result"]
    print(f"{rows['count']} predictions in table {rows['namespace']}/{rows['name']}, as CSV in {result['csv']}")
    return rows


with DAG("fate_five_steps", schedule=None, catchup=False, tags=["fate"], doc_md=__doc__):
    uploaded = [upload(f"upload_{role}", table) for role, table in TRAINING_TABLES.items()]

    train = fate_train("train", JOB, data=TRAINING_TABLES)

    tune = fate_tune("tune", JOB, PARAMETER_SETS, metric="auc", data=TRAINING_TABLES)

    deploy = FateDeployOperator(
        task_id="deploy", model_id=tune.best["model_id"], model_version=tune.best["model_version"], parties=PARTIES
    )

    new = [upload(f"upload_{role}_new", table) for role, table in NEW_TABLES.items()]

    predict = fate_predict(
        "predict",
        model_id="breast_hetero_lr",
        parties=["guest-9999", "host-10000"],  # the arbiter has no part in it
        data=NEW_TABLES,
        export_csv=f"{RESULTS}/{{{{ run_id }}}}.csv",
    )

    uploaded >> train >> tune >> deploy >> new >> predict >> show(predict.result)
