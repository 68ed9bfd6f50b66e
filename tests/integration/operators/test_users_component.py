"""The component of docs/components.md in real Spark applications, which get its package with the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_provider_fate.hooks.stores import models
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.operators.upload import FateUploadOperator
from tests.guide import Guide

TABLES = {"guest-9999": ("guest", 30), "host-10000": ("host_0", 20), "host-10001": ("host_1", 5)}


@pytest.fixture
def guide(connections: Path, monkeypatch: pytest.MonkeyPatch) -> Guide:
    made = Guide(connections / "secure-mean")
    made.install(monkeypatch)
    # on executors, as the rows of large tables are: the package's functions run in Spark's Python workers
    made.job["conf"]["job_parameters"]["common"]["computing_partitions"] = 2
    return made


def test_train_and_predict(guide: Guide, connections: Path, run_parties) -> None:
    random, rows = np.random.default_rng(3), []
    for name, count in TABLES.values():
        x = random.normal(0, 100, (count, 2))
        rows.append(x)
        source = connections / f"{name}.csv"
        lines = [f"{name}{row},{float(a)!r},{float(b)!r}" for row, (a, b) in enumerate(x)]
        source.write_text("\n".join(["id,a,b", *lines]))
        FateUploadOperator(task_id="u", source=str(source), namespace="secure_mean", name=name).execute({})
    means = np.concatenate(rows).mean(axis=0)

    def tasks(operator: Any, **arguments: Any) -> dict[str, Any]:
        made = {}
        for text in TABLES:
            party = Party.parse(text)
            made[text] = operator(
                task_id=f"{party.role}_{party.party_id}", role=party.role, party_id=party.party_id, **arguments
            )
        return made

    done = run_parties(tasks(FateTrainOperator, job=guide.job, job_id="train", wait_timeout=120))
    assert not done.errors, done.errors
    for text in TABLES:
        found = done.results[text]["metrics"]["secure_mean_0"]["mean"]
        assert np.abs(np.array([found["a"], found["b"]]) - means).max() < 2**-20
        stored = models("fate_storage", Party.parse(text)).describe("secure_mean", "train")
        assert stored["job"]["dsl"]["components"]["secure_mean_0"]["module"] == "SecureMean"
    data = {
        "guest": {"namespace": "secure_mean", "name": "host_1"},
        "host": [{"namespace": "secure_mean", "name": name} for name in ("guest", "host_0")],
    }
    arguments = {"model_id": "secure_mean", "model_version": "train", "job_id": "predict", "data": data}
    done = run_parties(tasks(FatePredictOperator, wait_timeout=120, **arguments))
    assert not done.errors, done.errors
