"""Deployment: at every party or at none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.hooks.stores import models
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators.deploy import FateDeployOperator
from airflow_provider_fate.runtime.data import Model

GUEST, HOST = Party("guest", "9999"), Party("host", "10000")
JOB = {"conf": {"role": {"guest": ["9999"], "host": ["10000"]}}, "dsl": {}}


@pytest.fixture
def two_storages(connections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"path": str(connections / "telco")}
    monkeypatch.setenv("AIRFLOW_CONN_TELCO", json.dumps({"conn_type": "fs", "extra": extra}))


def save(conn_id: str, party: Party, *versions: str) -> None:
    for version in versions:
        models(conn_id, party).save("m", version, {"lr": Model({"format": 1})}, JOB)


def deploy(version: str, parties) -> dict:
    return FateDeployOperator(task_id="deploy", model_id="m", model_version=version, parties=parties).execute({})


def test_every_party_in_its_own_storage(two_storages):
    save("fate_storage", GUEST, "v1", "v2")
    save("telco", HOST, "v1", "v2")
    parties = {"guest-9999": None, "host-10000": "telco"}
    assert deploy("v1", parties)["parties"] == ["guest-9999", "host-10000"]
    assert deploy("v2", parties)["model_version"] == "v2"
    assert models("fate_storage", GUEST).deployed_version("m") == "v2"
    assert models("telco", HOST).deployed_version("m") == "v2"


def test_a_version_that_one_party_lacks_is_deployed_nowhere(two_storages):
    save("fate_storage", GUEST, "v1", "v2")
    save("telco", HOST, "v1")
    parties = {"guest-9999": None, "host-10000": "telco"}
    deploy("v1", parties)
    with pytest.raises(StorageError, match=r"host-10000 has no version 'v2' of model 'm' .* there are: v1"):
        deploy("v2", parties)
    assert models("fate_storage", GUEST).deployed_version("m") == "v1"


@pytest.mark.parametrize(
    ("parties", "words"),
    [
        ([], "names no party"),
        (["guest"], "is not a party id"),
        (["judge-1"], "'judge' is not a role"),
        (["guest-8888"], "guest-8888 has no version 'v1' of model 'm'"),
    ],
)
def test_refused(connections, parties, words):
    save("fate_storage", GUEST, "v1")
    with pytest.raises((StorageError, AirflowFailException), match=words):
        deploy("v1", parties)
