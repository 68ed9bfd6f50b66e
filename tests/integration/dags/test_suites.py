"""FATE's test suites on a real Airflow: one that succeeds, and one with jobs that cannot be run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.servers.airflow import Airflow

MINUTES = 60
EXAMPLES = Path(__file__).parents[3] / "dags" / "examples"


def test_the_example(examples: Airflow) -> None:
    run = examples.run("fate_test_suite", seconds=8 * MINUTES)
    jobs = examples.xcom("fate_test_suite", run, "summary", key="jobs")
    assert list(jobs) == ["lr", "lr_predict", "lr_v1"]
    assert {job["state"] for job in jobs.values()} == {"success"}
    assert jobs["lr"]["metrics"]["evaluation_0.auc"] > 0.97
    assert jobs["lr_predict"]["metrics"]["rows"] == 90
    assert jobs["lr_predict"]["metrics"]["evaluation_0.auc"] > 0.95
    version = examples.xcom("fate_test_suite", run, "lr.guest_9999")["model_version"]
    assert examples.xcom("fate_test_suite", run, "lr_predict.guest_9999")["model_version"] == version
    log = examples.task_log("fate_test_suite", run, "summary")
    assert re.search(r"lr +success +[0-9.]+ +evaluation_0\.[^\n]*\bauc 0\.9", log)
    assert "all 3 jobs succeeded" in log


def test_jobs_that_cannot_be_run(examples: Airflow, tmp_path: Path) -> None:
    """One has a module that is not there yet, one a file that is not there; the third runs all the same."""
    folder = tmp_path / "suite"
    shutil.copytree(EXAMPLES / "fate_jobs" / "breast_suite", folder)
    path = folder / "breast_hetero_testsuite.json"
    suite = json.loads(path.read_text())
    dsl = json.loads((folder / "hetero_lr_dsl.json").read_text())
    dsl["components"]["hetero_lr_0"]["module"] = "HeteroNN"
    (folder / "nn_dsl.json").write_text(json.dumps(dsl))
    conf = json.loads((folder / "hetero_lr_conf.json").read_text())
    conf["component_parameters"]["role"]["guest"]["0"]["reader_0"]["table"]["name"] = "lost"
    (folder / "lost_conf.json").write_text(json.dumps(conf))
    suite["tasks"] = {
        "nn": {"conf": "hetero_lr_conf.json", "dsl": "nn_dsl.json"},
        "nn_predict": {**suite["tasks"]["lr_predict"], "deps": "nn"},
        "lost": {"conf": "lost_conf.json", "dsl": "hetero_lr_dsl.json"},
        "no_table": {"conf": conf | {"component_parameters": {**conf["component_parameters"], "role": {
            **conf["component_parameters"]["role"], "guest": {"0": {"reader_0": {"table": {
                "namespace": "nowhere", "name": "nothing"}}}}}}}, "dsl": "hetero_lr_dsl.json"},
        "lr_v1": suite["tasks"]["lr_v1"],
    }  # fmt: skip
    suite["data"] = [
        *suite["data"][:2],
        {**suite["data"][0], "file": "data/lost.csv", "table_name": "lost"},
    ]
    path.write_text(json.dumps(suite))
    (tmp_path / "old_suite.py").write_text(
        "from airflow_provider_fate.operators.test_suite import fate_test_suite\n"
        f"dag = fate_test_suite({str(path)!r}, dag_id='old_suite', data_root={str(EXAMPLES)!r}, at_once=2)\n"
    )
    examples.add_dags(tmp_path / "old_suite.py")
    run = examples.trigger("old_suite")
    examples.wait("old_suite", run, 8 * MINUTES, expect="failed")
    jobs = examples.xcom("old_suite", run, "summary", key="jobs")
    states = {name: job["state"] for name, job in jobs.items()}
    assert states == {
        "nn": "refused", "nn_predict": "not run", "lost": "not run", "no_table": "failed", "lr_v1": "success",
    }  # fmt: skip
    assert "HeteroNN is known and not there yet" in jobs["nn"]["reason"]
    assert "there is no table 'nothing'" in jobs["no_table"]["reason"]
    assert jobs["lr_v1"]["metrics"]["evaluation_0.auc"] > 0.9
    log = examples.task_log("old_suite", run, "summary")
    assert re.search(r"1 of 5 jobs succeeded; these did not: nn \(refused: ", log)
    assert re.search(r"upload\.guest_0_lost failed: .*data/lost\.csv", log)
    assert "HeteroNN is known and not there yet" in examples.task_log("old_suite", run, "nn")
