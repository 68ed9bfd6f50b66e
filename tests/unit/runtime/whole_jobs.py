"""Whole jobs of several parties in one process: in-memory messages, tables in a directory."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_fate.errors import PeerFailed, PeerTimeout
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.local_engine import LocalEngine
from airflow_provider_fate.runtime.pipeline import Pipeline
from airflow_provider_fate.runtime.progress import Progress
from airflow_provider_fate.runtime.storage.local import LocalStorage
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


class Killed(BaseException):
    """Ends a party without a word, as SIGKILL does."""


class Try(threading.Thread):
    """One try of one party."""

    def __init__(self, parties: Parties, job: Job, party: Party, job_id: str, wait: float) -> None:
        super().__init__(name=str(party), daemon=True)
        self.parties, self.job, self.party, self.job_id, self.wait = parties, job, party, job_id, wait
        self.error: BaseException | None = None
        self.status: dict[str, Any] | None = None
        self.start()

    def run(self) -> None:
        party, storage = self.party, self.parties.storage(self.party)
        progress = Progress(self.job_id, party)
        lines = self.parties.lines.setdefault(party, [])
        progress.say = lambda text, **more: lines.append(text)  # type: ignore[method-assign]
        progress.attach(storage)
        version = self.job.model_version or self.job_id
        pipeline = Pipeline(self.job, self.job_id, version, party, storage, LocalEngine(), progress)
        common = {**self.job.common(), "model_version": version}
        transport = MemoryTransport(self.parties.hub)
        session = Session(transport, self.job_id, party, self.job.parties, new_nonce(), self.wait, common, lines.append)
        try:
            pipeline.prepare()
            if not pipeline.ended_before(session):
                pipeline.run(session)
            progress.write_status(state="success", component=None)
            self.status = progress.status
        except Killed as error:
            self.error = error
            with session._lock:
                session._stopped = True  # its signs of life end with it
            transport.close(remove=False)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error
            session.abort(str(error))


class Parties:
    """Every party of a job with a storage of its own, in threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = Hub()
        self.lines: dict[Party, list[str]] = {}

    def storage(self, party: Party) -> LocalStorage:
        return LocalStorage(self.folder / str(party))

    def start(self, job: Job, job_id: str = "job1", wait: float = 20, only: list[Party] | None = None) -> list[Try]:
        return [Try(self, job, party, job_id, wait) for party in only or job.parties]

    def run(self, job: Job, job_id: str = "job1", wait: float = 20) -> dict[Party, dict[str, Any]]:
        """Status of every party; raises an error of a party's own rather than what it heard of others, or did not."""
        tries = self.start(job, job_id, wait)
        for one in tries:
            one.join(60)
        errors = [one.error for one in tries if one.error is not None]
        own = [error for error in errors if not isinstance(error, PeerFailed | PeerTimeout)]
        for error in [*own, *errors]:
            raise error
        return {one.party: one.status for one in tries if one.status is not None}


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


def quick_job() -> Job:
    """A table and a model at guest and host, and nothing that takes long."""
    whole = lr_job().to_dict()
    components = whole["dsl"]["components"]
    del components["hetero_lr_0"], components["evaluation_0"]
    common = whole["conf"]["component_parameters"]["common"]
    common.pop("hetero_lr_0"), common.pop("evaluation_0")
    return Job.from_dict(whole)


TABLES = {
    "guest": {"namespace": "experiment", "name": "breast_hetero_guest"},
    "host": {"namespace": "experiment", "name": "breast_hetero_host"},
}


class Kills:
    """Kills threads of parties at a point of the code, each once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.done: list[str] = []

    def at(
        self, who: Party, owner: type, name: str, call: int = 1, *, after: bool = False,
        only: Callable[..., bool] = lambda *a: True,
    ) -> None:  # fmt: skip
        """At the ``call``-th call of a method, before it does anything or after."""
        original = getattr(owner, name)
        calls = 0

        def killing(this: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal calls
            ours = threading.current_thread().name == str(who) and only(*arguments)
            calls += ours
            fatal = ours and calls == call
            if fatal and not after:
                self.done.append(name)
                raise Killed
            found = original(this, *arguments, **options)
            if fatal:
                self.done.append(name)
                raise Killed
            return found

        self._patch.setattr(owner, name, killing)


def finish(parties: Parties, job: Job, tries: list[Try], *, late: bool, most: int = 3) -> int:
    """Try again whoever did not end well, as Airflow does. :returns: how many tries were needed"""
    running = {one.party: one for one in tries}
    needed = len(tries)
    rounds = dict.fromkeys(running, 1)
    while True:
        for one in list(running.values()):
            one.join(0.02)
        if late and any(one.is_alive() for one in running.values()):
            continue
        failed = [one for one in running.values() if not one.is_alive() and one.error is not None]
        if not failed and not any(one.is_alive() for one in running.values()):
            return needed
        for one in failed:
            rounds[one.party] += 1
            assert rounds[one.party] <= most, (one.party, one.error, parties.lines)
            needed += 1
            running[one.party] = Try(parties, job, one.party, one.job_id, one.wait)
