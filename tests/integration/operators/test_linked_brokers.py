"""Tasks of two parties with a broker each, linked by federation for the time of the job."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators.train import FateTrainOperator
from tests.integration.federation.linked import NOTHING, hooks, sides
from tests.integration.hooks.conftest import connect
from tests.integration.operators.test_run import EXAMPLES, TABLES, uploaded, wait_for_status
from tests.servers.processes import named, wait_for_none
from tests.unit.federation.playing import until

__all__ = ["connect", "uploaded"]

PARTIES = ("guest-9999", "host-10000")
ADD = {
    "conf": {
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000]},
        "role_parameters": {
            "guest": {"secure_add_example_0": {"seed": [123]}},
            "host": {"secure_add_example_0": {"seed": [321]}},
        },
        "algorithm_parameters": {"secure_add_example_0": {"partition": 4, "data_num": 1000}},
    },
    "dsl": {"components": {"secure_add_example_0": {"module": "SecureAddExample"}}},
}


@pytest.fixture
def pair(two_rabbitmq_nodes):
    return sides(two_rabbitmq_nodes)


@pytest.fixture
def transports(pair, connect) -> dict[str, str]:
    """The id of each party's connection for messages."""
    return dict(zip(PARTIES, (hook.conn_id for hook in hooks(pair, connect)), strict=True))


def tasks(transports: dict[str, str], **arguments: Any) -> dict[str, Any]:
    made = {}
    for name in PARTIES:
        party = Party.parse(name)
        own = {"task_id": f"t_{party.role}", "role": party.role, "party_id": party.party_id, "job_id": "job"}
        made[name] = FateTrainOperator(
            **{**own, "transport_conn_id": transports[name], "job": ADD, "wait_timeout": 120, **arguments}
        )
    return made


def test_a_job_sets_its_links_up_and_takes_them_down(connections, pair, transports, run_parties):
    running = run_parties(tasks(transports), wait=False)
    until(lambda: pair[0].objects()["policies"] == ["fate-10000-to-9999"], 60)
    until(lambda: pair[1].objects()["policies"] == ["fate-9999-to-10000"], 60)
    running.wait()
    assert not running.errors, running.errors
    assert running.results["guest-9999"]["metrics"]
    assert [side.objects() for side in pair] == [NOTHING] * 2


def test_a_party_that_does_not_come_is_explained_by_the_link(connections, pair, transports, run_parties):
    guest = {"guest-9999": tasks(transports, wait_timeout=3)["guest-9999"]}
    done = run_parties(guest)
    error = done.errors["guest-9999"]
    assert isinstance(error, AirflowException)
    expected = (
        "host-10000 has not come to job job within [3-5] s.* Here the link of our broker to party 10000's is up, but "
        r"party 10000's broker has no queue of this job yet; has its task begun\?"
    )
    assert re.search(expected, str(error)), str(error)
    left = pair[0].objects()
    assert left == {**NOTHING, "queues": ["fate.job.guest-9999.host-10000"]}  # its last words; it expires


def test_stopping_one_party_ends_the_other_and_leaves_nothing(uploaded: Path, pair, transports, run_parties):
    job = json.loads((EXAMPLES / "fate_jobs" / "hetero_secureboost.json").read_text())
    (component,) = [name for name, one in job["dsl"]["components"].items() if one["module"] == "HeteroSecureBoost"]
    own = tasks(transports, job=job, data=TABLES, parameters={component: {"num_trees": 500}})
    running = run_parties(own, wait=False)
    wait_for_status(uploaded, "host-10000", component)
    own["host-10000"].on_kill()
    running.wait(60)
    assert "the task of host-10000 was stopped in Airflow" in str(running.errors["guest-9999"])
    wait_for_none(lambda: [one for party in PARTIES for one in named(f"job {party}")], 5)
    assert [side.objects() for side in pair] == [NOTHING] * 2
