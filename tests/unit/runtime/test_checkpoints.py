"""Checkpoints of parties that were killed at different points."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import pytest

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.runtime.checkpoints import CheckpointStore
from airflow_provider_fate.runtime.components.intersection import Intersection
from airflow_provider_fate.runtime.data import Model
from airflow_provider_fate.runtime.federation import checks
from airflow_provider_fate.runtime.storage.local import LocalStorage
from airflow_provider_fate.runtime.storage.models import ModelStore
from tests.unit.runtime.whole_jobs import GUEST, HOST, Kills, Parties, finish

ONE, TWO = "1" * 32, "2" * 32


def test_checkpoints_of_different_sessions_are_not_taken_together(
    breast: Parties, job: Job, kills: Kills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host holds what the first session gave, the guest what the second gave: all do it again."""
    fitted = Intersection.fit

    def with_secret(self: Intersection, *arguments: Any) -> Any:
        """Something random that guest and host have in common, as keys, or names of what only one of them knows."""
        outputs = fitted(self, *arguments)
        if self.ctx.party == GUEST:
            token = secrets.token_hex(8)
            self.ctx.federation.send(HOST, "token", token)
        else:
            token = self.ctx.federation.receive(GUEST, "token", checks.Text(20))
        outputs.model = Model({"format": 1, "token": token})
        return outputs

    monkeypatch.setattr(Intersection, "fit", with_secret)
    kills.at(GUEST, CheckpointStore, "save", 1)
    kills.at(HOST, CheckpointStore, "save", 2)
    finish(breast, job, breast.start(job, wait=2), late=False)
    assert kills.done == ["save", "save"]
    tokens = {
        ModelStore(breast.storage(party), party).load(job.model_id, "job1")["intersection_0"].meta["token"]
        for party in (GUEST, HOST)
    }
    assert len(tokens) == 1


def test_steps_of_an_earlier_session_that_nobody_shares_are_gone(tmp_path: Any) -> None:
    store = CheckpointStore(LocalStorage(tmp_path), "checkpoints")
    first = store.of("lr_0", [], ONE)
    for step in (5, 10, 15):
        first.save(step, {"w": np.full(2, step)}, {"from": "one"})
    held = store.labels()
    assert len(held) == 2 and all(label.startswith("lr_0@") for label in held)
    # the peer had come to step 10 only
    common = [label for label in held if label.startswith("lr_0@10#")]
    second = store.of("lr_0", common, TWO)
    assert second.step == 10
    second.save(15, {"w": np.full(2, 150)}, {"from": "two"})
    assert common[0] in store.labels() and len(store.labels()) == 2
    last = store.of("lr_0", [label for label in store.labels() if "@15#" in label], TWO)
    arrays, meta = last.load()
    assert (arrays["w"].tolist(), meta) == ([150, 150], {"from": "two"})
