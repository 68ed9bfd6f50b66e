"""Two organisations, each with an Airflow, a broker and a storage of its own: one invites the other through nginx, or
both run on the same schedule."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_fate.job.names import job_id_of
from tests.integration.federation.test_rabbitmq import key_pairs, route
from tests.servers.airflow import Airflow
from tests.servers.nginx import Nginx
from tests.servers.processes import named, wait_for_none
from tests.servers.rabbitmq import RabbitMQNode
from tests.unit.federation.playing import until

EXAMPLES = Path(__file__).parents[3] / "dags" / "examples"
INVITING, INVITED = "fate_invite", "fate_invited"
#: the DAG that runs on the same schedule at both, by the name that each gives it
SCHEDULED = {"guest": "fate_scheduled", "host": "nights_with_the_bank"}
#: as each organisation uploads its table; the inviting one has more DAGs that invite
UPLOAD = """
from pathlib import Path
from airflow.sdk import DAG
from airflow_provider_fate.operators.upload import FateUploadOperator

with DAG("upload", schedule=None):
    FateUploadOperator(
        task_id="upload", source=str(Path(__file__).parent / "data" / "breast_hetero_{role}.csv"), drop=True,
        namespace="fate_examples", name="breast_hetero_{role}",
    )
"""
MORE = """
from airflow.sdk import DAG
from airflow_provider_fate.operators.invite import FateDismissOperator, FateInviteOperator
from airflow_provider_fate.operators.train import FateTrainOperator

for name, trees in (("too_many_trees", 51), ("long_training", 50)):
    how = {
        "job": "fate_jobs/hetero_secureboost.json", "role": "guest", "party_id": 9999,
        "parameters": {"hetero_secureboost_0": {"num_trees": trees, "tree_param": {"max_depth": 5}}},
    }
    with DAG(name, schedule=None):
        invite = FateInviteOperator(task_id="invite", sites={"host-10000": "fate_site_10000"}, **how)
        train = FateTrainOperator(task_id="train", job_id=invite.output["job_id"], **how)
        dismiss = FateDismissOperator(task_id="dismiss", peers=invite.output["peers"], succeeded=train.output)
        invite >> train >> dismiss.as_teardown(setups=invite)
"""


@dataclass
class Organisation:
    """One side: its Airflow, where its tables and models are, and its broker."""

    airflow: Airflow
    storage: Path
    node: RabbitMQNode
    vhost: str

    def queues(self) -> list[str]:
        """At its broker, of all jobs."""
        return [one["name"] for one in self.node.api("GET", f"queues/{quote(self.vhost, safe='')}")]

    def models(self, model_id: str) -> dict[str, Any]:
        """What is stored of a model's trees, by version and party."""
        found = (self.storage / "models" / model_id).glob("*/*/hetero_secureboost_0.json")
        return {"/".join(path.parts[-3:-1]): json.loads(path.read_text()) for path in found}


def organisation(
    airflow: Airflow, place: Path, node: RabbitMQNode, vhost: str, routes: dict[str, Any], keys: dict[str, Any]
) -> Organisation:
    airflow.set_connection("fate_storage", "fs", extra={"path": str(place / "storage")})
    airflow.set_connection(
        "fate_transport", "fate_rabbitmq", host=node.host, port=node.port, schema=vhost, login=node.login,
        password=node.password, extra={"management_port": node.management_port, "routes": routes, **keys},
    )  # fmt: skip
    airflow.set_connection("fate_spark", "fate_spark", host="local[1]")
    return Organisation(airflow, place / "storage", node, vhost)


@pytest.fixture(scope="module")
def sides(
    two_rabbitmq_nodes: tuple[RabbitMQNode, RabbitMQNode], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Organisation, Organisation]]:
    """The bank, which invites, and the telco."""
    nodes, place = two_rabbitmq_nodes, tmp_path_factory.mktemp("sides")
    vhosts = [node.new_vhost() for node in nodes]
    routes = [
        {party_id: route(node, vhost)} for party_id, node, vhost in zip(("9999", "10000"), nodes, vhosts, strict=True)
    ]
    bank_keys, telco_keys = key_pairs("9999", "10000")
    settings = {
        "api.base_url": "https://localhost/airflow", "core.simple_auth_manager_users": "admin:admin,bank:user",
        "core.default_task_retry_delay": 2,
    }  # fmt: skip
    bank, telco = place / "bank", place / "telco"
    with (
        Airflow(bank / "airflow", triggerer=True) as ours,
        Airflow(telco / "airflow", settings=settings, proxy_headers=True, triggerer=True) as theirs,
        Nginx(telco / "nginx", theirs.port) as nginx,
    ):
        one = organisation(ours, bank, nodes[0], vhosts[0], routes[1], bank_keys)
        other = organisation(theirs, telco, nodes[1], vhosts[1], routes[0], telco_keys)
        ours.set_connection(
            "fate_site_10000", "fate_site", host=nginx.url, login="bank",
            password=json.loads((theirs.home / "passwords.json").read_text())["bank"],
            extra={
                "ca_file": str(nginx.authority.certificate), "client_cert": str(nginx.client.certificate),
                "client_key": str(nginx.client.key), "timeout": 60,
            },
        )  # fmt: skip
        own = {"more.py": MORE, **upload("guest"), **scheduled("guest"), **toy("guest-9999")}
        copy(ours, ["fate_invite.py", "fate_jobs", "data"], place, own)
        own = {**upload("host"), **scheduled("host"), **toy("host-10000")}
        copy(theirs, ["fate_invited.py", "fate_invited_policy.yaml", "fate_jobs", "data"], place, own)
        for side in (ours, theirs):
            side.run("upload", seconds=180)
        theirs.wait_for_dag(INVITED)
        theirs.api("PATCH", f"dags/{INVITED}", {"is_paused": False})
        yield one, other


def copy(airflow: Airflow, names: list[str], place: Path, more: dict[str, str]) -> None:
    """Give an Airflow some of the examples, as a user copies them, and DAGs of the test."""
    folder = place / f"dags-{airflow.port}"
    folder.mkdir()
    for name in names:
        source = EXAMPLES / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    for name, text in more.items():
        (folder / name).write_text(text)
    airflow.add_dags(folder)


def upload(role: str) -> dict[str, str]:
    return {"upload.py": UPLOAD.replace("{role}", role)}


def scheduled(role: str) -> dict[str, str]:
    """The example for a common schedule as one party copies it; once a year, so that no test runs over the hour."""
    text = (EXAMPLES / "fate_scheduled.py").read_text()
    own = {"guest": {}, "host": {'"role": "guest", "party_id": 9999': '"role": "host", "party_id": 10000'}}[role]
    for old, new in {'"fate_scheduled"': repr(SCHEDULED[role]), "0 3 * * *": "0 0 1 1 *", **own}.items():
        assert old in text, old
        text = text.replace(old, new)
    return {f"{SCHEDULED[role]}.py": text}


def toy(party: str) -> dict[str, str]:
    """FATE's toy example as docs/two-organisations.md has one party of two organisations copy it."""
    conf = json.loads((EXAMPLES / "fate_jobs" / "toy_example_conf.json").read_text())
    conf["role"]["host"] = [10000]
    text = (EXAMPLES / "fate_toy_example.py").read_text()
    assert (call := '"secure_add",\n') in text
    text = text.replace(call, f'"secure_add", parties=["{party}"], job_id="toy_1",\n')
    return {"fate_toy_example.py": text, "fate_jobs/toy_example_conf.json": json.dumps(conf)}


def state(airflow: Airflow, dag_id: str, run_id: str, task_id: str) -> str | None:
    return {task["task_id"]: task["state"] for task in airflow.task_instances(dag_id, run_id)}[task_id]


def admit(telco: Airflow, run_id: str, seconds: float = 120) -> None:
    """Wait until the invited party takes part; approve where it asks, as it does for a table's first use."""
    deadline = time.monotonic() + seconds
    while (now := state(telco, INVITED, run_id, "train")) not in ("running", "success"):
        assert time.monotonic() < deadline and now != "failed", f"train is {now}"
        if state(telco, INVITED, run_id, "approve") == "awaiting_input":
            telco.answer(INVITED, run_id, "approve", "Approve")
        time.sleep(0.5)


def job_of(bank: Airflow, telco: Airflow, dag_id: str, run_id: str, seconds: float = 120) -> str:
    """The id of the run at the invited party, which follows from the ids of DAG and run here."""
    job_id = job_id_of(f"{dag_id}_{run_id}")
    deadline = time.monotonic() + seconds
    while job_id not in [run["dag_run_id"] for run in telco.api("GET", f"dags/{INVITED}/dagRuns")["dag_runs"]]:
        assert time.monotonic() < deadline, bank.task_log(dag_id, run_id, "invite")[-3000:]
        time.sleep(0.5)
    return job_id


def wait_for_log(airflow: Airflow, dag_id: str, run_id: str, task_id: str, text: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while text not in (log := airflow.task_log(dag_id, run_id, task_id)):
        assert time.monotonic() < deadline, log[-4000:]
        time.sleep(0.5)


def test_the_toy_example_needs_no_data_and_may_be_run_again(sides):
    for number in range(2):
        for side in sides:
            run_id = f"toy-{number}"
            side.airflow.wait_for_dag("fate_toy_example")
            side.airflow.trigger("fate_toy_example", {}, run_id=run_id)
        for side in sides:
            side.airflow.wait("fate_toy_example", run_id, 180)
        log = sides[0].airflow.task_log("fate_toy_example", run_id, "secure_add.guest_9999")
        assert "success to calculate secure_sum, it is 2000.0" in log


def test_invited_approved_trained(sides):
    bank, telco = sides
    run_id = "first"
    bank.airflow.trigger(INVITING, {}, run_id=run_id)
    job_id = job_of(bank.airflow, telco.airflow, INVITING, run_id)
    # waits for a person there, and holds no worker slot here
    telco.airflow.wait_for_task(INVITED, job_id, "approve", "awaiting_input")
    bank.airflow.wait_for_task(INVITING, run_id, "invite", "deferred")
    telco.airflow.answer(INVITED, job_id, "approve", "Approve")
    bank.airflow.wait(INVITING, run_id, 400)
    telco.airflow.wait(INVITED, job_id, 120)
    trained = bank.airflow.xcom(INVITING, run_id, "train")
    assert trained["job_id"] == job_id and trained["metrics"]["evaluation_0"]["auc"] > 0.98
    assert list(bank.models("joint_boost")) == [f"{trained['model_version']}/guest-9999"]
    assert list(telco.models("joint_boost")) == [f"{trained['model_version']}/host-10000"]
    # neither the other's table nor its parameters are known there
    conf = telco.airflow.api("GET", f"dags/{INVITED}/dagRuns/{job_id}")["conf"]
    assert "breast_hetero_guest" not in json.dumps(conf) and "with_label" in json.dumps(conf)
    peers = bank.airflow.xcom(INVITING, run_id, "invite")["peers"]
    assert peers["host-10000"]["run_id"] == job_id
    assert f"/dags/{INVITED}/runs/{job_id}" in peers["host-10000"]["url"]
    assert bank.airflow.xcom(INVITING, run_id, "dismiss") == {"host-10000": "success"}


def test_a_refusal_names_its_reason_before_anything_is_read(sides):
    bank, telco = sides
    run_id = "refused"
    bank.airflow.trigger("too_many_trees", {}, run_id=run_id)
    bank.airflow.wait("too_many_trees", run_id, 240, expect="failed")
    log = bank.airflow.task_log("too_many_trees", run_id, "invite")
    assert "host-10000 refuses job" in log and "51 trees are asked for; at most 50 are allowed" in log
    assert state(bank.airflow, "too_many_trees", run_id, "train") == "upstream_failed"
    job_id = job_of(bank.airflow, telco.airflow, "too_many_trees", run_id)
    assert telco.airflow.api("GET", f"dags/{INVITED}/dagRuns/{job_id}")["state"] == "failed"
    assert not (telco.storage / "jobs" / job_id).exists()


def test_a_run_that_is_stopped_ends_the_other_side_and_can_be_begun_again(sides):
    bank, telco = sides
    run_id = "stopped"
    bank.airflow.trigger("long_training", {}, run_id=run_id)
    job_id = job_of(bank.airflow, telco.airflow, "long_training", run_id)
    admit(telco.airflow, job_id)
    wait_for_log(bank.airflow, "long_training", run_id, "train", "round 1 of 50")
    bank.airflow.set_task_state("long_training", run_id, "train", "failed")
    began = time.monotonic()
    telco.airflow.wait(INVITED, job_id, 120, expect="failed")
    assert time.monotonic() - began < 60
    log = telco.airflow.task_log(INVITED, job_id, "train")
    assert "the task of guest-9999 was stopped in Airflow (long_training, run stopped, task train)" in log
    bank.airflow.wait("long_training", run_id, 120, expect="failed")
    wait_for_none(lambda: [one for role in ("guest-9999", "host-10000") for one in named(f"{job_id} {role}")], 20)
    until(lambda: [*bank.queues(), *telco.queues()] == [], 20)
    # Who clears the training clears the invitation with it, as its setup. Begun again, the job goes by another name,
    # and the run that has ended there is left as it is.
    what = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["train"], "only_failed": False}
    bank.airflow.api("POST", "dags/long_training/clearTaskInstances", what)
    again = f"{job_id}~2"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        runs = telco.airflow.api("GET", f"dags/{INVITED}/dagRuns")["dag_runs"]
        if again in [run["dag_run_id"] for run in runs]:
            break
        time.sleep(0.5)
    admit(telco.airflow, again)
    bank.airflow.api("PATCH", f"dags/long_training/dagRuns/{run_id}", {"state": "failed"})
    telco.airflow.wait(INVITED, again, 120, expect="failed")


def test_on_the_same_schedule_one_that_is_tried_again_and_one_that_is_late_train_one_model(sides):
    bank, telco = sides
    [ours, theirs] = SCHEDULED.values()
    telco.airflow.wait_for_dag(theirs)
    telco.airflow.api("PATCH", f"dags/{theirs}", {"is_paused": False})
    run_id = telco.airflow.latest_run(theirs)
    assert run_id.startswith("scheduled__")
    wait_for_log(telco.airflow, theirs, run_id, "train", "waiting for guest-9999")
    job_id = telco.airflow.api("GET", f"dags/{theirs}/dagRuns/{quote(run_id)}")["logical_date"]
    job_id = f"nightly_{datetime.fromisoformat(job_id):%Y%m%dT%H%M%S}"
    drivers = named(f"{job_id} host-10000")
    assert drivers
    for process in drivers:
        os.kill(process.pid, signal.SIGKILL)

    def tried() -> dict[str, Any]:
        [train] = [one for one in telco.airflow.task_instances(theirs, run_id) if one["task_id"] == "train"]
        return train

    until(lambda: tried()["state"] == "up_for_retry" or tried()["try_number"] > 1, 120)
    # a night's run of the other side begins much later
    bank.airflow.wait_for_dag(ours)
    bank.airflow.api("PATCH", f"dags/{ours}", {"is_paused": False})
    own_run = bank.airflow.latest_run(ours)
    bank.airflow.wait(ours, own_run, 300)
    telco.airflow.wait(theirs, run_id, 120)
    results = [bank.airflow.xcom(ours, own_run, "train"), telco.airflow.xcom(theirs, run_id, "train")]
    assert [one["job_id"] for one in results] == [job_id, job_id]
    assert results[0]["metrics"]["evaluation_0"]["auc"] > 0.98
    assert results[0]["model_version"] == results[1]["model_version"]
    for side, party in ((bank, "guest-9999"), (telco, "host-10000")):
        assert f"{results[0]['model_version']}/{party}" in side.models("joint_boost")
    assert tried()["try_number"] == 2


def test_runs_that_are_started_by_hand_with_the_same_logical_date_are_one_job(sides):
    bank, telco = sides
    dates = {"guest": "2026-01-05T02:00:00Z", "host": "2026-01-05T03:00:00+01:00"}
    runs = {}
    for side, (role, dag_id) in zip(sides, SCHEDULED.items(), strict=True):
        side.airflow.wait_for_dag(dag_id)
        side.airflow.api("PATCH", f"dags/{dag_id}", {"is_paused": False})
        body = {"logical_date": dates[role], "dag_run_id": f"by-hand-at-the-{role}"}
        runs[dag_id] = side.airflow.api("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"]
    found = []
    for side, (dag_id, run_id) in zip(sides, runs.items(), strict=True):
        side.airflow.wait(dag_id, run_id, 300)
        found.append(side.airflow.xcom(dag_id, run_id, "train")["job_id"])
        assert side.airflow.xcom(dag_id, run_id, "deploy")["model_version"]
    assert found == ["nightly_20260105T020000"] * 2


def test_a_run_without_a_logical_date_says_what_it_lacks(sides):
    airflow, dag_id = sides[0].airflow, SCHEDULED["guest"]
    run_id = airflow.trigger(dag_id, run_id="no-date")
    airflow.wait(dag_id, run_id, 300, expect="failed")
    log = airflow.task_log(dag_id, run_id, "train")
    assert "job_id: 'nightly_{{ ts_nodash }}' is made of the run's logical date, and this run has none" in log
    [tried] = [one for one in airflow.task_instances(dag_id, run_id) if one["task_id"] == "train"]
    assert (tried["state"], tried["try_number"]) == ("failed", 1), "another try would fail the same way"
