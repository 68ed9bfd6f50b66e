"""The example DAGs can be parsed, quickly, and can be kept as Airflow keeps them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

EXAMPLES = Path(__file__).parents[3] / "dags" / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
TASKS = {
    "fate_toy_example": 2,
    "fate_five_steps": 15,
    "fate_scheduled": 3,
    "fate_scheduled_retraining": 10,
    "fate_predict_on_new_table": 2,
    "fate_tuning": 8,
    "fate_params": 6,
    "fate_test_suite": 15,
    "fate_invite": 3,
    "fate_invited": 5,
}


@pytest.fixture
def dag(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DAG:
    """The one DAG of a file."""
    made: list[DAG] = []
    enter = DAG.__enter__
    monkeypatch.setattr(DAG, "__enter__", lambda self: made.append(self) or enter(self))
    spec = importlib.util.spec_from_file_location(f"example_{request.param.stem}", request.param)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    (one,) = made
    return one


@pytest.mark.parametrize("dag", FILES, indirect=True, ids=lambda path: path.stem)
def test_is_whole_and_serialises(dag: DAG) -> None:
    assert len(dag.tasks) == TASKS[dag.dag_id]
    assert not dag.catchup
    assert dag.doc_md
    assert json.dumps(DagSerialization.to_dict(dag))
    connections = {getattr(task, name, None) for task in dag.tasks for name in ("storage_conn_id", "spark_conn_id")}
    assert connections <= {None, "fate_storage", "fate_spark"}


def test_every_example_is_counted() -> None:
    assert {path.stem for path in FILES} == set(TASKS)


def test_parsing_is_quick_and_brings_nothing_heavy() -> None:
    """Beside Airflow itself; parsing happens again and again."""
    code = (
        "import sys, time\n"
        "import airflow.sdk, airflow.providers.apache.spark.operators.spark_submit\n"
        "import airflow.providers.common.compat.sdk\n"
        "from importlib.util import module_from_spec, spec_from_file_location\n"
        "began = time.process_time()\n"
        "for path in sys.argv[1:]:\n"
        "    spec = spec_from_file_location('dag', path)\n"
        "    spec.loader.exec_module(module_from_spec(spec))\n"
        "seconds = time.process_time() - began\n"
        "heavy = {'pyarrow', 'numpy', 'pandas', 'pyspark', 'tenseal', 'pika', 'hdfs'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert seconds < 1, seconds\n"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, FILES)], check=True)
