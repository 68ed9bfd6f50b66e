"""The example whose Params are a form: filled in and started in Airflow's real UI, it trains with what was chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.servers.airflow import Airflow

EXAMPLES = Path(__file__).parents[3] / "dags" / "examples"
DAG = "fate_params"


@pytest.fixture(scope="module")
def server(airflow_server: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    root = tmp_path_factory.mktemp("fate")
    airflow_server.set_connection("fate_storage", "fs", extra={"path": str(root / "storage")})
    airflow_server.set_connection("fate_transport", "fs", extra={"path": str(root / "messages")})
    airflow_server.set_connection("fate_spark", "fate_spark", host="local[1]", port=0)
    airflow_server.add_dags(EXAMPLES)
    airflow_server.wait_for_dag(DAG)
    return airflow_server


def test_form_starts_a_training_that_succeeds(server, ui):
    form = ui.trigger_form(DAG)
    assert "The guest's table" in form.section("Tables")
    assert "Iterations at most" in form.section("Model")
    form.fill_in("Model", iterations=2, learning_rate=0.3)
    form.fill_in("Spark", driver_memory="700m", executor_memory="700m")
    form.start()

    run_id = server.latest_run(DAG)
    run = server.wait(DAG, run_id, 600)
    chosen = {"iterations": 2, "learning_rate": 0.3, "driver_memory": "700m", "upload_example_data": True}
    assert chosen.items() <= run["conf"].items()
    trained = server.xcom(DAG, run_id, "train.guest_9999")
    assert trained["metrics"]["hetero_lr_0"]["iterations"] == 2
    assert "700m" in server.task_log(DAG, run_id, "train.guest_9999")
    ui.page.goto(f"{server.url}/dags/{DAG}/runs/{run_id}")
    expect(ui.page.get_by_text("Success").first).to_be_visible()


def test_form_refuses_what_spark_would_not_take(server, ui):
    form = ui.trigger_form(DAG)
    form.fill_in("Model", iterations=0)
    expect(form.field("iterations")).to_have_value("1")  # the form keeps to the smallest number allowed
    form.fill_in("Spark", driver_memory="lots")
    form.button().click()
    expect(form.dialog).to_contain_text("'lots' does not match")
    expect(form.dialog).to_be_visible()
