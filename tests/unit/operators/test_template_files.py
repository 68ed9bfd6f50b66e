"""Which files Airflow's own rendering reads, and which names it leaves to be opened later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.operators._job import as_object, load_job
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.operators.upload import FateUploadOperator

JOBS = Path(__file__).parents[3] / "dags" / "examples" / "fate_jobs"
PARTY = {"role": "guest", "party_id": 9999}


@pytest.fixture
def rendered(tmp_path: Path):
    """Makes a task in a DAG whose folder is ``tmp_path / "dags"``, and renders it as Airflow does."""
    (tmp_path / "dags").mkdir()

    def render(operator: type, **arguments: Any) -> Any:
        with DAG("d", schedule=None, template_searchpath=[str(tmp_path / "dags")]) as dag:
            task = operator(task_id="t", **arguments)
        dag.resolve_template_files()
        task.render_template_fields({"params": {"rate": 0.5, "name": "settings"}, "task": task})
        return task

    return render


def test_a_file_beside_the_dag_is_a_template(rendered, tmp_path):
    (tmp_path / "dags" / "parameters.json").write_text('{"hetero_lr_0": {"learning_rate": {{ params.rate }}}}')
    (tmp_path / "dags" / "run.json").write_text('{"name": "{{ params.name }}"}')
    for name in ("conf", "dsl"):
        (tmp_path / "dags" / f"{name}.json").write_text((JOBS / f"toy_example_{name}.json").read_text())
    task = rendered(
        FateTrainOperator, **PARTY, job={"conf": "conf.json", "dsl": "dsl.json"}, parameters="parameters.json",
        spark_run="run.json",
    )  # fmt: skip
    assert json.loads(task.parameters) == {"hetero_lr_0": {"learning_rate": 0.5}}
    assert json.loads(task.spark_run) == {"name": "settings"}
    assert load_job(task.job).job_type == "train"


@pytest.mark.parametrize("operator", [FateTrainOperator, FatePredictOperator])
def test_an_absolute_name_is_read_as_it_stands(rendered, tmp_path, operator):
    path = tmp_path / "job.json"
    path.write_text((JOBS / "hetero_lr.json").read_text())
    more = {"model_id": "m"} if operator is FatePredictOperator else {}
    task = rendered(operator, **PARTY, job=str(path), data=str(path), **more)
    assert task.job == str(path)
    assert as_object(task.data, "data") == json.loads(path.read_text())
    both = {"conf": str(JOBS / "toy_example_conf.json"), "dsl": str(JOBS / "toy_example_dsl.json")}
    task = rendered(operator, **PARTY, job=both, **more)
    assert task.job == both
    assert load_job(task.job).job_type == "train"


def test_so_in_each_task_that_is_mapped(tmp_path):
    (tmp_path / "beside.json").write_text('{"conf": {"a": "{{ params.a }}"}}')
    with DAG("d", schedule=None, template_searchpath=[str(tmp_path)], params={"a": 3}):
        task = FateTrainOperator.partial(task_id="t", **PARTY).expand(job=["beside.json", "/etc/there.json"])
    found = []
    for kwargs in ({"job": "beside.json"}, {"job": "/etc/there.json"}):
        one = task.unmap(kwargs)
        context = {"params": {"a": 3}, "task": one}
        one._do_render_template_fields(one, task.template_fields, context, task.get_template_env(), set())
        found.append(one.job)
    assert found == ['{"conf": {"a": "3"}}', "/etc/there.json"]


def test_files_to_ship_are_no_templates(rendered, tmp_path):
    (tmp_path / "dags" / "settings.json").write_text("{}")
    task = rendered(
        FateTrainOperator, **PARTY, job={"conf": {}}, files="/etc/app/{{ params.name }}.json",
        spark_run={"files": "settings.json", "jars": "/opt/a.json"}, conf={"spark.x": "settings.json"},
        data={"guest": {"namespace": "n", "name": "t.json"}},
    )  # fmt: skip
    assert task.files == "/etc/app/settings.json"
    assert task.spark_run == {"files": "settings.json", "jars": "/opt/a.json"}
    assert task.conf == {"spark.x": "settings.json"}
    assert task.data["guest"]["name"] == "t.json"


def test_a_name_that_is_nowhere_stays_to_be_named(rendered):
    task = rendered(FateTrainOperator, **PARTY, job="nowhere.json")
    with pytest.raises(ConfigError, match="job: 'nowhere.json' is neither a JSON object nor a file"):
        load_job(task.job)


def test_an_upload_conf_by_an_absolute_name(rendered, connections, tmp_path):
    source = tmp_path / "rows.csv"
    source.write_text("id,x\n1,2\n")
    conf = tmp_path / "upload.json"
    conf.write_text(json.dumps({"file": str(source), "namespace": "n", "table_name": "t", "head": 1, "partition": 1}))
    task = rendered(FateUploadOperator, upload_conf=str(conf))
    assert task.execute({})["count"] == 1
    (tmp_path / "dags" / "upload.json").write_text(conf.read_text().replace('"t"', '"{{ params.name }}"'))
    assert rendered(FateUploadOperator, upload_conf="upload.json").execute({})["name"] == "settings"


def test_a_query_in_a_file(rendered, tmp_path):
    (tmp_path / "dags" / "beside.sql").write_text("SELECT {{ params.rate }}")
    path = tmp_path / "query.sql"
    path.write_text("SELECT 1")
    for given, expected in (("beside.sql", "SELECT 0.5"), (str(path), "SELECT 1"), ("SELECT 2", "SELECT 2")):
        task = rendered(FateUploadOperator, sql=given, sql_conn_id="db", parameters={"a": "b.sql"})
        assert task._statement(task.sql) == expected
        assert task.parameters == {"a": "b.sql"}
    with pytest.raises(ConfigError, match="sql: 'no.sql' is not a file"):
        FateUploadOperator._statement("no.sql")
