"""A job over rows of several parties: scaled by each for itself, trained together, evaluated and predicted by each."""

from __future__ import annotations

import numpy as np
import pytest

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.homo import training
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableStore
from tests.unit.runtime.whole_jobs import ARBITER, DATA, GUEST, HOST, Kills, Parties, finish, upload

HOST2 = Party("host", "10001")
PARTS = {GUEST: "guest", HOST: "host", HOST2: "host"}


def table(name: str) -> dict[str, dict[str, str]]:
    return {"table": {"namespace": "experiment", "name": f"breast_homo_{name}"}}


def role(*parties: Party) -> dict[str, list[int]]:
    hosts = [int(party.party_id) for party in parties if party.role == "host"]
    return {"guest": [9999], "host": hosts, "arbiter": [10000]}


def homo_job(*parties: Party, **lr: object) -> Job:
    """As FATE's example ``homo_lr_train_eval``."""
    given = {
        "penalty": "L2", "tol": 1e-05, "alpha": 0.01, "optimizer": "rmsprop", "batch_size": 320,
        "learning_rate": 0.15, "init_param": {"init_method": "zeros"}, "encrypt_param": {"method": None}, "max_iter": 3,
        "early_stop": "diff", "validation_freqs": 1,
        "cv_param": {"n_splits": 4, "shuffle": True, "random_seed": 33, "need_cv": False}, **lr,
    }  # fmt: skip
    readers = {
        str(number): {reader: table(PARTS[party]) for reader in ("reader_0", "reader_1")}
        for number, party in enumerate(party for party in parties if party.role == "host")
    }
    conf = {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": role(*parties),
        "job_parameters": {"common": {"job_type": "train", "backend": 0, "work_mode": 0}},
        "component_parameters": {
            "common": {
                "dataio_0": {"with_label": True, "output_format": "dense"},
                "homo_lr_0": given,
                "evaluation_0": {"eval_type": "binary"},
            },
            "role": {"guest": {"0": {"reader_0": table("guest"), "reader_1": table("guest")}}, "host": readers},
        },
    }

    def step(module: str, source: str, model: str | None = None) -> dict[str, object]:
        return {
            "module": module,
            "input": {"data": {"data": [source]}, **({"model": [model]} if model else {})},
            "output": {"data": ["data"], "model": ["model"]},
        }

    dsl = {
        "reader_0": {"module": "Reader", "output": {"data": ["data"]}},
        "reader_1": {"module": "Reader", "output": {"data": ["data"]}},
        "dataio_0": step("DataIO", "reader_0.data"),
        "dataio_1": step("DataIO", "reader_1.data", "dataio_0.model"),
        "scale_0": step("FeatureScale", "dataio_0.data"),
        "scale_1": step("FeatureScale", "dataio_1.data", "scale_0.model"),
        "homo_lr_0": {
            "module": "HomoLR",
            "input": {"data": {"train_data": ["scale_0.data"], "validate_data": ["scale_1.data"]}},
            "output": {"data": ["data"], "model": ["model"]},
        },
        "evaluation_0": {
            "module": "Evaluation",
            "input": {"data": {"data": ["homo_lr_0.data"]}},
            "output": {"data": ["data"]},
        },
    }
    return Job.parse(conf, {"components": dsl})


@pytest.fixture
def homo(tmp_path) -> Parties:
    parties = Parties(tmp_path)
    for party, name in PARTS.items():
        for file in {name, "test"}:
            upload(parties.storage(party), DATA / f"breast_homo_{file}.csv", f"breast_homo_{file}")
    return parties


@pytest.mark.parametrize("parts", [(GUEST, HOST), (GUEST, HOST, HOST2)])
def test_train_evaluate_and_predict_at_each_party(homo: Parties, parts: tuple[Party, ...]) -> None:
    job = homo_job(*parts)
    status = homo.run(job)
    for party in parts:
        metrics = status[party]["metrics"]
        assert metrics["evaluation_0"]["auc"] > 0.97, metrics
        assert metrics["homo_lr_0"]["iterations"] == 3
        assert metrics["homo_lr_0"]["validation_auc"] == pytest.approx(metrics["evaluation_0"]["auc"])
        assert status[party]["output"]["homo_lr_0"]["data"]["count"] > 200
    models = [ModelStore(homo.storage(party), party).load(job.model_id, "job1")["homo_lr_0"] for party in parts]
    assert all(model.meta["weights"] == models[0].meta["weights"] for model in models)
    for party in parts:
        ModelStore(homo.storage(party), party).deploy(job.model_id, "job1")

    conf = {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": role(*parts),
        "job_parameters": {"common": {"job_type": "predict", "model_id": job.model_id, "model_version": "job1"}},
    }
    stored = ModelStore(homo.storage(GUEST), GUEST).describe(job.model_id, "job1")["job"]
    test = table("test")["table"]
    hosts = [test] * (len(parts) - 1)
    predict = Job.parse(conf).with_data({"guest": test, "host": hosts}).for_prediction(stored)
    status = homo.run(predict, "job2")
    for party in parts:
        result = status[party]["result"]
        assert result["count"] == 114
        rows = TableStore(homo.storage(party)).preview(result["namespace"], result["name"], 114).to_pylist()
        assert np.mean([row["label"] == row["predict_result"] for row in rows]) > 0.9


def weights(homo: Parties, party: Party, job: Job, version: str) -> dict[str, float]:
    return ModelStore(homo.storage(party), party).load(job.model_id, version)["homo_lr_0"].meta["weights"]


@pytest.mark.parametrize("party", [GUEST, HOST, ARBITER])
def test_a_party_that_is_killed_and_comes_back(homo: Parties, kills: Kills, party: Party) -> None:
    job = homo_job(GUEST, HOST, max_iter=12, tol=0, validation_freqs=None)
    homo.run(job, "whole")
    # in the eighth average: all go on after the fifth, and agree on masks anew
    if party == ARBITER:
        kills.at(party, training, "add_up", 16)
    else:
        kills.at(party, training.Summand, "sum", 16)
    finish(homo, job, homo.start(job, "killed"), late=False)
    assert len(kills.done) == 1
    assert any("going on after iteration 5" in line for line in homo.lines[GUEST])
    for one in (GUEST, HOST):
        assert weights(homo, one, job, "killed") == weights(homo, one, job, "whole")
