"""What the demo prints of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import presentation

OURS = "airflow.task.operators.airflow_provider_fate.operators.train.FateTrainOperator"


def task(task_id: str, state: str | None, **more) -> dict:
    usual = {"map_index": -1, "try_number": 1, "start_date": "2026-01-02T03:04:05+00:00", "duration": 2.0}
    return {"task_id": task_id, "state": state} | usual | more


def event(text: str, logger: str = OURS, **more) -> str:
    return json.dumps({"event": text, "logger": logger, "level": "info"} | more) + "\n"


@pytest.fixture
def follower(tmp_path: Path):
    return presentation.Follower(lambda one: tmp_path / f"{one['task_id']}.log")


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.partition("] ")[2] for line in capsys.readouterr().out.splitlines()]


def test_states_are_shown_once(follower, capsys):
    follower.look([task("upload", "queued", try_number=0)])
    assert shown(capsys) == []
    follower.look([task("upload", "running")])
    follower.look([task("upload", "running")])
    assert shown(capsys) == [f"{'upload':42} running"]
    follower.look([task("upload", "success")])
    follower.look([task("upload", "success")])
    assert shown(capsys) == [f"{'upload':42} success after 2 s"]


def test_new_lines_of_our_operators_are_shown_as_they_come(follower, capsys, tmp_path):
    log = tmp_path / "train.guest_9999.log"
    log.write_text(event("reader_0: started") + event("Filling up the DagBag", logger="airflow") + "no JSON\n")
    follower.look([task("train.guest_9999", "running")])
    assert shown(capsys)[1:] == [f"{'train.guest_9999':42}   reader_0: started"]
    half = event("hetero_lr_0: iteration 1 of 3, loss 0.5")
    log.write_text(log.read_text() + half[:20])
    follower.look([task("train.guest_9999", "running")])
    assert shown(capsys) == []
    log.write_text(log.read_text() + half[20:])
    follower.look([task("train.guest_9999", "running")])
    assert shown(capsys) == [f"{'train.guest_9999':42}   hetero_lr_0: iteration 1 of 3, loss 0.5"]


def test_of_the_other_parties_only_failures_are_shown(follower, capsys, tmp_path):
    (tmp_path / "train.host_10000.log").write_text(event("reader_0: started") + event("failed: no such table"))
    follower.look([task("train.host_10000", "failed")])
    assert shown(capsys) == [
        f"{'train.host_10000':42}   failed: no such table",
        f"{'train.host_10000':42} failed after 2 s",
    ]


def test_last_lines_have_the_error(tmp_path):
    log = tmp_path / "task.log"
    trouble = [{"exc_type": "ConfigError", "exc_value": "role.guest: is missing", "frames": []}]
    log.write_text(event("::group::Pre Execute") + event("first\nsecond") + event("Task failed", error_detail=trouble))
    assert presentation.last_lines(log) == ["first", "second", "Task failed", "ConfigError: role.guest: is missing"]
    assert presentation.last_lines(log, 1) == ["ConfigError: role.guest: is missing"]
    assert presentation.last_lines(tmp_path / "none.log") == []


def test_tasks_table():
    tasks = [
        task("predict", "upstream_failed", try_number=0, duration=0.0, start_date="2026-01-02T03:04:30+00:00"),
        task("train", "failed", map_index=1, start_date="2026-01-02T03:04:15+00:00", duration=12.34),
        task("upload", "success"),
        task("never", None, try_number=0, start_date=None, duration=None),
    ]
    assert presentation.tasks_table(tasks) == (
        "task      state            tries  began after  took\n"
        "--------  ---------------  -----  -----------  ------\n"
        "upload    success          1      0 s          2.0 s\n"
        "train[1]  failed           1      10 s         12.3 s\n"
        "predict   upstream_failed\n"
        "never"
    )


def test_metrics_table():
    results = {
        "train": {"metrics": {"evaluation_0": {"train": {"auc": 0.98765, "ks": 0.9}}}, "model_version": "1"},
        "tune[0]": {"metrics": {"evaluation_0": {"auc": 1}}, "model_version": "2"},
    }
    assert presentation.metrics_table(results, "2") == (
        "training  AUC     KS      deployed\n"
        "--------  ------  ------  --------\n"
        "train     0.9877  0.9000\n"
        "tune[0]   1.0000          yes"
    )


def test_predictions_table(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text(
        'id,label,predict_result,predict_score,predict_detail,type\nü1,1,1,0.912345,"{""0"": 1}",test\n' * 1
    )
    assert presentation.predictions_table(path) == (
        "id  label  predict_result  predict_score\n"
        "--  -----  --------------  -------------\n"
        "ü1  1      1               0.9123"
    )
    path.write_text("id,label\n")
    assert presentation.predictions_table(path) == "(none)"
