"""A prediction that starts by itself when both parties have uploaded new rows.

Any upload into the two tables below starts it, from whatever DAG; it takes the model version that is deployed.
Train and deploy one first, e.g. with ``fate_five_steps``.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_fate.operators.assets import table_asset
from airflow_provider_fate.operators.group import fate_predict

RESULTS = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")) / "fate_results"
NEW_TABLES = {
    "guest": {"namespace": "fate_inbox", "name": "new_customers_guest"},
    "host": {"namespace": "fate_inbox", "name": "new_customers_host"},
}

with DAG(
    "fate_predict_on_new_table",
    schedule=[table_asset(**table) for table in NEW_TABLES.values()],
    catchup=False,
    tags=["fate"],
    doc_md=__doc__,
):
    fate_predict(
        "predict",
        model_id="breast_hetero_lr",
        parties=["guest-9999", "host-10000"],  # the arbiter has no part in it
        data=NEW_TABLES,
        export_csv=f"{RESULTS}/new_customers.csv",
    )
