"""Training and prediction as real Spark applications: results, failures, stopping and trying again."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_fate.hooks.stores import models, tables
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators.deploy import FateDeployOperator
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.operators.upload import FateUploadOperator
from tests.servers.processes import named, wait_for_none

EXAMPLES = Path(__file__).parents[3] / "dags" / "examples"
JOB = json.loads((EXAMPLES / "fate_jobs" / "hetero_lr.json").read_text())
PARTIES = ("guest-9999", "host-10000", "arbiter-10000")
TABLES = {role: {"namespace": "n", "name": role} for role in ("guest", "host")}


@pytest.fixture
def uploaded(connections: Path) -> Path:
    for role in ("guest", "host"):
        FateUploadOperator(
            task_id="u", source=str(EXAMPLES / "data" / f"breast_hetero_{role}.csv"), namespace="n", name=role
        ).execute({})
    return connections


def tasks(operator: Any, parties: tuple[str, ...] = PARTIES, **arguments: Any) -> dict[str, Any]:
    made = {}
    for text in parties:
        party = Party.parse(text)
        made[text] = operator(
            task_id=f"t_{party.role}", role=party.role, party_id=party.party_id, data=TABLES, **arguments
        )
    return made


def train(parties: tuple[str, ...] = PARTIES, **arguments: Any) -> dict[str, Any]:
    own = {"job": JOB, "job_id": "job", "wait_timeout": 120, **arguments}
    return tasks(FateTrainOperator, parties, **own)


def wait_for_status(connections: Path, party: str, component: str, seconds: float = 120) -> None:
    path = connections / "storage" / "jobs" / "job" / party / "status.json"
    deadline = time.monotonic() + seconds
    while not (path.exists() and json.loads(path.read_text() or "{}").get("component") == component):
        assert time.monotonic() < deadline, f"{party} never came to {component}"
        time.sleep(0.1)


def test_train_deploy_predict(uploaded, run_parties):
    parameters = {"hetero_lr_0": {"max_iter": 3}}
    own = train(parameters=parameters)
    own["guest-9999"]._forget_end = lambda: None  # as if its worker were killed just then
    done = run_parties(own)
    assert not done.errors, done.errors
    guest = done.results["guest-9999"]
    assert (guest["model_id"], guest["model_version"]) == ("breast_hetero_lr", "job")
    assert guest["metrics"]["evaluation_0"]["auc"] > 0.9
    assert done.results["arbiter-10000"]["model_version"] == "job"
    began = time.monotonic()
    alone = run_parties(train(("guest-9999",), parameters=parameters))
    assert alone.results == {"guest-9999": guest}, alone.errors
    assert time.monotonic() - began < 100  # it does not wait for peers that have gone
    assert not list((uploaded / "storage" / "jobs" / "job").glob("*/end"))
    FateDeployOperator(
        task_id="d", model_id="breast_hetero_lr", model_version="job", parties=list(PARTIES)
    ).execute({})
    export = str(uploaded / "out.csv")
    arguments = {"model_id": "breast_hetero_lr", "job_id": "predict", "export_csv": export}
    done = run_parties(tasks(FatePredictOperator, PARTIES[:2], **arguments))
    assert not done.errors, done.errors
    result = done.results["guest-9999"]["result"]
    assert result["count"] == 569
    assert tables("fate_storage").meta(result["namespace"], result["name"]).kind == "prediction"
    assert len((uploaded / "out.csv").read_text().splitlines()) == 570
    assert done.results["host-10000"]["result"] is None
    # nothing is left of the files with passwords
    assert not list((uploaded / "tmp").iterdir())


def test_a_failure_is_told_in_the_applications_words(uploaded, run_parties):
    """The host's table is not there: its error is final, and the others say whose fault it is."""
    own = train()
    own["host-10000"].data = {**TABLES, "host": {"namespace": "n", "name": "hosst"}}
    done = run_parties(own)
    assert set(done.errors) == set(PARTIES)
    host = str(done.errors["host-10000"])
    assert "there is no table 'hosst' in namespace 'n'" in host
    assert "Spark's own output: " in host
    assert "Traceback" not in host
    for party in ("guest-9999", "arbiter-10000"):
        assert isinstance(done.errors[party], AirflowException)
        assert "host-10000 ended: a table, model or file cannot be read or written there" in str(done.errors[party])
        assert "hosst" not in str(done.errors[party])  # the name of its table is its own


def test_a_conf_that_is_wrong_at_one_party_ends_the_others(uploaded, run_parties):
    """Nothing of the host's is submitted, and the guest, which waits for it, need not wait for long."""
    own = train(("guest-9999", "host-10000"), wait_timeout=600)
    own["host-10000"].spark_run = {"executor-memroy": "1g"}
    guest = run_parties({"guest-9999": own["guest-9999"]}, wait=False)
    log = uploaded / "storage" / "jobs" / "job" / "guest-9999" / "status.json"
    deadline = time.monotonic() + 120
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(5)  # it waits by now
    host = run_parties({"host-10000": own["host-10000"]})
    assert isinstance(host.errors["host-10000"], AirflowFailException)
    guest.wait(60)
    assert "did you mean executor-memory" in str(host.errors["host-10000"])
    assert "host-10000 could not begin: its job conf or a connection is wrong" in str(guest.errors["guest-9999"])


def test_stopping_one_party(uploaded, run_parties):
    own = train(parameters={"hetero_lr_0": {"max_iter": 5000, "tol": 1e-30}})
    running = run_parties(own, wait=False)
    wait_for_status(uploaded, "guest-9999", "hetero_lr_0")
    assert named("job guest-9999")
    own_files = uploaded / "storage" / "jobs" / "job" / "guest-9999"
    halves = [own_files, *own_files.glob("checkpoints/*/intersection_0")]
    assert len(halves) == 2
    for directory in halves:
        (directory / "planted.json.writing").write_text("{")
    began = time.monotonic()
    own["guest-9999"].on_kill()
    assert time.monotonic() - began < 5  # then Airflow kills the task
    running.wait(30)  # they are told: it is not the two minutes that they would wait
    for party in ("host-10000", "arbiter-10000"):
        assert "the task of guest-9999 was stopped in Airflow" in str(running.errors[party])
    wait_for_none(lambda: [one for party in PARTIES for one in named(f"job {party}")], 5)
    assert list((uploaded / "messages").iterdir()) == []
    assert list((uploaded / "storage").rglob("*.writing")) == []


def test_a_killed_party_is_tried_again_and_all_go_on(uploaded, run_parties, capsys):
    """Every party is tried again with the same job id, as Airflow does; what was done before is not done again."""
    parameters = {"hetero_lr_0": {"max_iter": 30, "tol": 1e-30}}
    undisturbed = run_parties(train(parameters=parameters, job_id="undisturbed"))
    assert not undisturbed.errors, undisturbed.errors
    own = train(parameters=parameters)
    running = run_parties(own, wait=False)
    for party in PARTIES:
        wait_for_status(uploaded, party, "hetero_lr_0")
    for process in named("job host-10000"):
        os.kill(process.pid, signal.SIGKILL)
    running.wait(60)
    assert set(running.errors) == set(PARTIES)
    assert "host-10000" in str(running.errors["guest-9999"])
    capsys.readouterr()
    again = run_parties(train(parameters=parameters))
    assert not again.errors, again.errors
    assert "intersection_0 (Intersection): done before, going on from its checkpoint" in capsys.readouterr().out

    def weights(job_id: str, party: str) -> dict[str, float]:
        stored = models("fate_storage", Party.parse(party)).load("breast_hetero_lr", job_id)
        return stored["hetero_lr_0"].meta["weights"]

    for party in ("guest-9999", "host-10000"):
        # keys, masks and noise differ from run to run, and what is decrypted is exact
        assert weights("job", party) == weights("undisturbed", party)
