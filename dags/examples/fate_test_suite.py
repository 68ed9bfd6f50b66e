"""A FATE test suite as a DAG: two trainings and a prediction, in the form that ``fate_test suite`` takes.

``fate_jobs/breast_suite/breast_hetero_testsuite.json`` lists the tables to upload and the jobs, one of them with a conf
of version 1; the prediction waits for the training that it names in ``deps``. The task ``summary`` logs a line for each
job. Bring your own: put a suite with its confs and DSLs beside the DAG's file, and name it here.
"""

from __future__ import annotations

from pathlib import Path

from airflow_provider_fate.operators.test_suite import fate_test_suite

dag = fate_test_suite(
    "fate_jobs/breast_suite/breast_hetero_testsuite.json",
    dag_id="fate_test_suite",
    # where the suite's data/breast_hetero_guest.csv and the others are
    data_root=Path(__file__).parent,
    dag_arguments={"doc_md": __doc__},
)
