"""Whole jobs of several parties in one process: in-memory messages, tables in a directory."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_fate.errors import FateError, PeerFailed, StorageError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.local_engine import LocalEngine
from airflow_provider_fate.runtime.pipeline import Pipeline
from airflow_provider_fate.runtime.progress import Progress
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore

DATA = Path(__file__).parents[2] / "data"
GUEST, HOST, ARBITER = Party("guest", "9999"), Party("host", "10000"), Party("arbiter", "10000")


def upload(storage: LocalStorage, path: Path, name: str, label: str | None = None) -> None:
    with path.open() as stream:
        header, *lines = csv.reader(stream)
    columns = list(zip(*lines, strict=True))
    arrays = [pa.array(columns[0]), *(pa.array(np.array(column, float)) for column in columns[1:])]
    kinds = [(column, str(array.type)) for column, array in zip(header, arrays, strict=True)]
    meta = TableMeta("experiment", name, header[0], label, kinds)
    with TableStore(storage).writer(meta) as writer:
        writer.write(pa.record_batch(arrays, header))


def job_file(name: str) -> Any:
    return json.loads((DATA / "jobs" / f"{name}.json").read_text())


class Parties:
    """Every party of a job with a storage of its own, in threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: dict[Party, list[str]] = {}

    def storage(self, party: Party) -> LocalStorage:
        return LocalStorage(self.folder / str(party))

    def run(self, job: Job, job_id: str = "job1", wait: float = 20) -> dict[Party, dict[str, Any]]:
        """Status of every party; raises the first party's error."""
        hub = Hub()
        status: dict[Party, dict[str, Any]] = {}
        errors: dict[Party, BaseException] = {}

        def play(party: Party) -> None:
            progress = Progress(job_id, party)
            lines = self.lines.setdefault(party, [])
            progress.say = lambda text, **more: lines.append(text)  # type: ignore[method-assign]
            progress.attach(self.storage(party))
            version = job.model_version or job_id
            pipeline = Pipeline(job, job_id, version, party, self.storage(party), LocalEngine(), progress)
            common = {**job.common(), "model_version": version}
            session = Session(MemoryTransport(hub), job_id, party, job.parties, new_nonce(), wait, common)
            try:
                pipeline.prepare()
                pipeline.run(session)
                status[party] = progress.status
            except BaseException as error:
                errors[party] = error
                session.abort(str(error))

        threads = [threading.Thread(target=play, args=(party,), daemon=True) for party in job.parties]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        own = [error for error in errors.values() if not isinstance(error, PeerFailed)]
        for error in [*own, *errors.values()]:
            raise error
        return status


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    return Parties(tmp_path)


@pytest.fixture
def breast(parties: Parties) -> Parties:
    upload(parties.storage(GUEST), DATA / "breast_hetero_guest.csv", "breast_hetero_guest", "y")
    upload(parties.storage(HOST), DATA / "breast_hetero_host.csv", "breast_hetero_host")
    return parties


def lr_job() -> Job:
    """Ten iterations of mini-batches, in version 2, with the training rows to validate on."""
    lr = {
        "optimizer": "nesterov_momentum_sgd", "batch_size": 200, "learning_rate": 0.15, "max_iter": 10,
        "early_stop": "weight_diff", "validation_freqs": 5, "init_param": {"init_method": "zeros"},
    }
    conf = {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000], "arbiter": [10000]},
        "component_parameters": {
            "common": {"hetero_lr_0": lr, "evaluation_0": {"eval_type": "binary"}},
            "role": {
                "guest": {"0": {"reader_0": {"table": TABLES["guest"]}, "dataio_0": {"with_label": True}}},
                "host": {"0": {"reader_0": {"table": TABLES["host"]}}},
            },
        },
    }
    dsl = {
        "reader_0": {"module": "Reader", "output": {"data": ["data"]}},
        "dataio_0": {
            "module": "DataIO",
            "input": {"data": {"data": ["reader_0.data"]}},
            "output": {"data": ["data"], "model": ["model"]},
        },
        "intersection_0": {
            "module": "Intersection",
            "input": {"data": {"data": ["dataio_0.data"]}},
            "output": {"data": ["data"]},
        },
        "hetero_lr_0": {
            "module": "HeteroLR",
            "input": {"data": {"train_data": ["intersection_0.data"], "validate_data": ["intersection_0.data"]}},
            "output": {"data": ["data"], "model": ["model"]},
        },
        "evaluation_0": {"module": "Evaluation", "input": {"data": {"data": ["hetero_lr_0.data"]}}},
    }
    return Job.parse(conf, {"components": dsl})


TABLES = {
    "guest": {"namespace": "experiment", "name": "breast_hetero_guest"},
    "host": {"namespace": "experiment", "name": "breast_hetero_host"},
}


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
        parties.run(job, wait=3)


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
    breast.lines.clear()
    breast.run(job, "disturbed")
    assert any("intersection_0" in line and "checkpoint" in line for line in breast.lines[HOST])
    iterations = [line for line in breast.lines[GUEST] if "loss" in line]
    assert "iteration 6 of 10" in iterations[0], iterations
    for party in (GUEST, HOST):
        store = ModelStore(breast.storage(party), party)
        one = store.load(job.model_id, "undisturbed")["hetero_lr_0"].meta
        two = store.load(job.model_id, "disturbed")["hetero_lr_0"].meta
        assert one["weights"] == two["weights"]
