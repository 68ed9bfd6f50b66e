"""FATE's toy example: two parties add numbers that neither shows the other.

The conf and the DSL are FATE's own files. The log of guest_9999 ends with
``success to calculate secure_sum, it is 2000.0``.
"""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_fate.operators.group import fate_train

with DAG("fate_toy_example", schedule=None, catchup=False, tags=["fate"], doc_md=__doc__):
    fate_train(
        "secure_add",
        job={"conf": "fate_jobs/toy_example_conf.json", "dsl": "fate_jobs/toy_example_dsl.json"},
    )
