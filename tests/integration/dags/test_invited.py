"""The example DAG that takes invitations, on a real Airflow: a host is invited by a guest whose tasks run beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.invitation import ANSWER, Invitation
from airflow_provider_fate.job.party import Party
from tests.servers.airflow import Airflow

DAG = "fate_invited"
GUEST, HOST = Party("guest", "9999"), Party("host", "10000")
MODEL = "invited_boost"
TABLES = {role: {"namespace": "fate_examples", "name": f"breast_hetero_{role}"} for role in ("guest", "host")}
STEPS: dict[str, Any] = {
    "reader_0": {"module": "Reader", "output": {"data": ["data"]}},
    "dataio_0": {
        "module": "DataIO", "input": {"data": {"data": ["reader_0.data"]}},
        "output": {"data": ["data"], "model": ["model"]},
    },
    "intersection_0": {
        "module": "Intersection", "input": {"data": {"data": ["dataio_0.data"]}}, "output": {"data": ["data"]},
    },
    "boost_0": {
        "module": "HeteroSecureBoost", "input": {"data": {"train_data": ["intersection_0.data"]}},
        "output": {"data": ["data"], "model": ["model"]},
    },
    "evaluation_0": {"module": "Evaluation", "input": {"data": {"data": ["boost_0.data"]}}},
}  # fmt: skip
CONF: dict[str, Any] = {
    "dsl_version": 2,
    "initiator": {"role": "guest", "party_id": 9999},
    "role": {"guest": [9999], "host": [10000]},
    "job_parameters": {"common": {"model_id": MODEL}},
    "component_parameters": {
        "common": {"boost_0": {"num_trees": 2, "tree_param": {"max_depth": 2}}},
        "role": {
            "guest": {"0": {"reader_0": {"table": TABLES["guest"]}, "dataio_0": {"with_label": True}}},
            "host": {"0": {"reader_0": {"table": TABLES["host"]}, "dataio_0": {"with_label": False}}},
        },
    },
}
JOB = {"conf": CONF, "dsl": {"components": STEPS}}

#: the guest's own DAGs; their runs have the ids of the jobs
GUESTS = f"""
import json
from pathlib import Path
from airflow.sdk import DAG
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.operators.upload import FateUploadOperator

DATA = Path(__file__).parent / "data"
with DAG("invited_uploads", schedule=None):
    for name in ("guest", "host", "host_new"):
        FateUploadOperator(
            task_id=name, source=str(DATA / f"breast_hetero_{{name}}.csv"), drop=True,
            namespace="fate_examples", name=f"breast_hetero_{{name}}",
        )
guest = {{"role": "guest", "party_id": 9999, "job_id": "{{{{ run_id }}}}"}}
with DAG("guest_trains", schedule=None):
    FateTrainOperator(task_id="guest", job=json.loads({json.dumps(JOB)!r}), **guest)
with DAG("guest_predicts", schedule=None):
    FatePredictOperator(
        task_id="guest", model_id="{MODEL}", model_version="boost-1", data=json.loads({json.dumps(TABLES)!r}), **guest
    )
"""


@pytest.fixture(scope="module")
def site(examples: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    path = tmp_path_factory.mktemp("guests") / "guests.py"
    path.write_text(GUESTS)
    examples.add_dags(path)
    examples.run("invited_uploads", seconds=120)
    return examples


def invite(site: Airflow, job: Job, job_id: str) -> None:
    conf = Invitation.for_party(job, job_id, GUEST, HOST).to_dict()
    assert TABLES["guest"]["name"] not in json.dumps(conf)
    site.trigger(DAG, conf, run_id=job_id)


def states(site: Airflow, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in site.task_instances(DAG, run_id)}


def answer(site: Airflow, run_id: str, task_id: str = "decide") -> dict[str, Any]:
    """What the initiator reads over REST."""
    return site.xcom(DAG, run_id, task_id, key=ANSWER)


def submitted(site: Airflow, job_id: str) -> bool:
    return Path(site.root / "storage" / "jobs" / job_id / str(HOST)).exists()


def test_refused_before_anything_is_read(site: Airflow) -> None:
    invite(site, Job.from_dict(JOB).with_parameters({"boost_0": {"num_trees": 51}}), "too-many")
    site.wait(DAG, "too-many", 120, expect="failed")
    assert answer(site, "too-many") == {
        "accepted": False,
        "reasons": [
            "component_parameters.common.boost_0.num_trees: 51 trees are asked for; at most 50 are allowed"
        ],
        "needs_approval": False,
    }  # fmt: skip
    found = states(site, "too-many")
    assert found.pop("decide") == "failed" and set(found.values()) == {"upstream_failed"}
    assert not submitted(site, "too-many")


def test_a_template_from_a_peer_is_never_rendered(site: Airflow) -> None:
    conf = Invitation.for_party(Job.from_dict(JOB), "evil", GUEST, HOST).to_dict()
    conf["job"]["conf"]["component_parameters"]["common"]["evaluation_0"] = {"eval_type": "{{ 7*7 }}"}
    site.trigger(DAG, conf, run_id="evil")
    site.wait(DAG, "evil", 120, expect="failed")
    (reason,) = answer(site, "evil")["reasons"]
    assert "'{{ 7*7 }}' holds {{, which begins a template; templates are refused" in reason
    assert "49" not in reason and not submitted(site, "evil")


def test_a_person_approves_the_first_use_of_a_table(site: Airflow) -> None:
    invite(site, Job.from_dict(JOB), "boost-1")
    site.wait_for_task(DAG, "boost-1", "approve", "awaiting_input")
    assert answer(site, "boost-1") == {"accepted": True, "reasons": [], "needs_approval": True}
    path = f"dags/{DAG}/dagRuns/boost-1/taskInstances/approve/-1/hitlDetails"
    asked = site.api("GET", path)
    assert asked["subject"] == "guest-9999 invites host-10000 to train"
    assert "* Our tables: `fate_examples/breast_hetero_host`" in asked["body"]
    assert not submitted(site, "boost-1")

    site.answer(DAG, "boost-1", "approve", "Approve")
    site.trigger("guest_trains", run_id="boost-1")
    site.wait(DAG, "boost-1", 300)
    site.wait("guest_trains", "boost-1", 60)

    assert states(site, "boost-1") == {
        "decide": "success", "approve": "success", "which": "success", "train": "success", "predict": "skipped",
    }  # fmt: skip
    trained = site.xcom("guest_trains", "boost-1", "guest")
    assert trained["metrics"]["evaluation_0"]["auc"] > 0.9
    assert site.xcom(DAG, "boost-1", "train")["model_version"] == trained["model_version"] == "boost-1"
    assert answer(site, "boost-1", "approve")["accepted"] is True
    (kept,) = (site.root / "storage" / "invitations" / "9999").glob("20*/boost-1.json")
    assert json.loads(kept.read_text())["approved_by"] == "admin"


def test_accepted_without_a_person_for_a_prediction(site: Airflow) -> None:
    """The table is known by now."""
    common = {"job_type": "predict", "model_id": MODEL, "model_version": "boost-1"}
    conf = {key: CONF[key] for key in ("dsl_version", "initiator", "role")} | {"job_parameters": {"common": common}}
    invite(site, Job.parse(conf).with_data(TABLES), "predict-1")
    site.trigger("guest_predicts", run_id="predict-1")
    site.wait(DAG, "predict-1", 300)
    site.wait("guest_predicts", "predict-1", 60)
    assert states(site, "predict-1") == {
        "decide": "success", "approve": "skipped", "which": "success", "train": "skipped", "predict": "success",
    }  # fmt: skip
    assert answer(site, "predict-1") == {"accepted": True, "reasons": [], "needs_approval": False}
    assert site.xcom("guest_predicts", "predict-1", "guest")["result"]["count"] == 569


def test_a_person_says_no(site: Airflow) -> None:
    new = {"host": {**TABLES["host"], "name": "breast_hetero_host_new"}}
    with_limits = Job.from_dict(JOB).with_data(new).with_parameters({"boost_0": {"num_trees": 1}})
    invite(site, with_limits, "unwanted")
    # fewer rows than a training needs: refused before a person is asked
    site.wait(DAG, "unwanted", 120, expect="failed")
    (reason,) = answer(site, "unwanted")["reasons"]
    assert "breast_hetero_host_new has too few rows; at least 200 are needed" in reason

    common = {"job_type": "predict", "model_id": MODEL, "model_version": "boost-1"}
    conf = {key: CONF[key] for key in ("dsl_version", "initiator", "role")} | {"job_parameters": {"common": common}}
    invite(site, Job.parse(conf).with_data(new), "unwanted-2")
    site.answer(DAG, "unwanted-2", "approve", "Reject")
    site.wait(DAG, "unwanted-2", 120, expect="failed")
    assert answer(site, "unwanted-2", "approve") == {
        "accepted": False, "reasons": ["approval: a person refused this job"], "needs_approval": True,
    }  # fmt: skip
    assert not submitted(site, "unwanted-2")
