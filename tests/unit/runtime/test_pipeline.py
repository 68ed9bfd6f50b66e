"""Whole jobs: what they give, how they fail, and how they go on."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from airflow_provider_fate.errors import FateError, PeerFailed, StorageError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.intersection import Intersection
from airflow_provider_fate.runtime.pipeline import Pipeline
from airflow_provider_fate.runtime.progress import Progress
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableStore
from tests.unit.runtime.whole_jobs import (
    DATA,
    GUEST,
    HOST,
    TABLES,
    Killed,
    Parties,
    job_file,
    lr_job,
    quick_job,
    upload,
)


def test_the_toy_example_runs_as_it_stands(parties: Parties) -> None:
    job = Job.parse(job_file("toy_conf"), job_file("toy_dsl"))
    parties.run(job)
    guest = next(party for party in job.parties if party.role == "guest")
    assert parties.lines[guest][-1] == "success to calculate secure_sum, it is 2000.0"


@pytest.mark.parametrize("version", [1, 2])
def test_train_deploy_and_predict(breast: Parties, version: int) -> None:
    job = lr_job() if version == 2 else Job.parse(job_file("hetero_lr_v1_conf"), job_file("hetero_lr_v1_dsl"))
    status = breast.run(job)
    metrics = status[GUEST]["metrics"]["evaluation_0"]
    assert metrics["auc"] > 0.97, metrics
    assert status[GUEST]["model_version"] == "job1"
    for party in (GUEST, HOST):
        ModelStore(breast.storage(party), party).deploy(job.model_id, "job1")
    assert not list((breast.folder / "guest-9999" / "jobs" / "job1" / "guest-9999").glob("checkpoints*"))

    conf = {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000], "arbiter": [10000]},
        "job_parameters": {"common": {"job_type": "predict", "model_id": job.model_id, "model_version": "job1"}},
    }
    stored = ModelStore(breast.storage(GUEST), GUEST).describe(job.model_id, "job1")["job"]
    predict = Job.parse(conf).with_data(TABLES).for_prediction(stored)
    status = breast.run(predict, "job2")
    result = status[GUEST]["result"]
    assert result["count"] == 569
    rows = TableStore(breast.storage(GUEST)).preview(result["namespace"], result["name"], 569).to_pylist()
    assert set(rows[0]) == {"id", "label", "predict_result", "predict_score", "predict_detail", "type"}
    right = np.mean([row["label"] == row["predict_result"] for row in rows])
    assert right > 0.9
    assert "result" not in status[HOST]


def test_a_missing_table_ends_every_party_with_its_name(parties: Parties) -> None:
    upload(parties.storage(GUEST), DATA / "breast_hetero_guest.csv", "breast_hetero_guest", "y")
    job = lr_job()
    with pytest.raises(StorageError, match="no table 'breast_hetero_host' in namespace 'experiment'"):
        parties.run(job)


def test_a_failing_party_ends_the_others_with_its_reason(breast: Parties) -> None:
    job = lr_job()
    table = breast.folder / "host-10000" / "tables" / "experiment" / "breast_hetero_host"
    (table / "part-00000.parquet").write_bytes(b"x")
    with pytest.raises(Exception) as caught:
        breast.run(job)
    assert not isinstance(caught.value, PeerFailed)
    assert not (breast.folder / "guest-9999" / "models").exists()


def test_same_job_same_model(breast: Parties) -> None:
    job = lr_job()
    weights = []
    for job_id in ("first", "second"):
        breast.run(job, job_id)
        stored = ModelStore(breast.storage(HOST), HOST).load(job.model_id, job_id)
        weights.append(stored["hetero_lr_0"].meta["weights"])
    assert weights[0] == weights[1]


def numbers(parties: Parties, party: Party, job_id: str) -> list[dict[str, Any]]:
    text = parties.storage(party).read_bytes(f"jobs/{job_id}/{party}/metrics.jsonl").decode()
    return [json.loads(line) for line in text.splitlines()]


def test_a_party_that_keeps_coming_back_gets_no_intersection_without_end(
    breast: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each could ask for other ids."""
    fitted, begun = Intersection.fit, []

    def ending(self: Intersection, *arguments: Any) -> Any:
        if self.ctx.party != HOST:
            begun.append(1)
            return fitted(self, *arguments)
        raise Killed

    monkeypatch.setattr(Intersection, "fit", ending)
    job = quick_job()
    guest, *_ = breast.start(job, only=[party for party in job.parties if party != HOST])
    for _ in range(20):
        (host,) = breast.start(job, only=[HOST])
        host.join(30)
        if isinstance(host.error, PeerFailed) or not guest.is_alive():
            break
    guest.join(30)
    assert "intersection_0 was begun 6 times, as other parties kept coming back" in str(guest.error)
    assert len(begun) == 6


def test_goes_on_from_the_last_common_checkpoint(breast: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_fate.runtime.components.hetero_lr import HeteroLR

    job = lr_job()
    breast.run(job, "undisturbed")
    fitted = HeteroLR.fit

    def failing(self: HeteroLR, *arguments: Any) -> Any:
        saved = self.ctx.checkpoint.save

        def save(step: int, *more: Any) -> None:
            saved(step, *more)
            if self.ctx.party == HOST and step == 6:
                raise FateError("the lights went out")

        self.ctx.checkpoint.save = save  # type: ignore[method-assign]
        return fitted(self, *arguments)

    monkeypatch.setattr(HeteroLR, "fit", failing)
    with pytest.raises(FateError, match="the lights went out"):
        breast.run(job, "disturbed")
    monkeypatch.undo()
    before = numbers(breast, GUEST, "disturbed")
    breast.lines.clear()
    breast.run(job, "disturbed")
    assert any("intersection_0" in line and "checkpoint" in line for line in breast.lines[HOST])
    iterations = [line for line in breast.lines[GUEST] if "loss" in line]
    assert "iteration 6 of 10" in iterations[0], iterations
    after = numbers(breast, GUEST, "disturbed")
    five = [line for line in before if line["step"] <= 5]
    assert after[: len(five)] == five  # with the times of the first try
    assert [(line["name"], line["step"], line["value"]) for line in after] == [
        (line["name"], line["step"], line["value"]) for line in numbers(breast, GUEST, "undisturbed")
    ]
    for party in (GUEST, HOST):
        store = ModelStore(breast.storage(party), party)
        one = store.load(job.model_id, "undisturbed")["hetero_lr_0"].meta
        two = store.load(job.model_id, "disturbed")["hetero_lr_0"].meta
        assert one["weights"] == two["weights"]


def test_there_is_one_link_for_each_role(capsys: pytest.CaptureFixture[str]) -> None:
    me, *peers = (Party.parse(party) for party in ("guest-9", "host-1", "host-2", "host-3", "arbiter-4"))
    urls = dict(zip(peers, ("", "http://two", "http://three", "http://four"), strict=True))
    federation = SimpleNamespace(
        parties=(me, *peers), send=lambda *_: None, receive=lambda peer, tag, check: urls[peer]
    )
    pipeline = SimpleNamespace(party=me, run_url="http://me", progress=Progress("j", me))
    Pipeline._show_runs(pipeline, federation)  # type: ignore[arg-type]
    said = [json.loads(line.partition(" ")[2]) for line in capsys.readouterr().out.splitlines()]
    assert said == [
        {"text": "host-2 shows its part at 'http://two'", "host_run": "http://two"},
        {"text": "host-3 shows its part at 'http://three'"},
        {"text": "arbiter-4 shows its part at 'http://four'", "arbiter_run": "http://four"},
    ]
