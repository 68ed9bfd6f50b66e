"""HeteroSecureBoost run by all its parties, and how it compares with the algorithm in the clear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from airflow_provider_fate.job.parameters.secureboost import HeteroSecureBoostParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Checkpoint, Context, Outputs
from airflow_provider_fate.runtime.components.hetero_secureboost import HeteroSecureBoost
from airflow_provider_fate.runtime.data import Engine, Model, Rows
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.local_engine import LocalEngine
from tests.parties import run_parties
from tests.unit.components.lr_parties import GUEST, HOST, HOST2, MemoryCheckpoint, example, rows

__all__ = ["GUEST", "HOST", "HOST2", "Run", "example", "hetero", "rows", "trees_of"]

#: a short key, which is as exact as a long one
WEAK = {"method": "OU", "key_length": 1024, "allow_weak_key": True}


class Run:
    """One job's HeteroSecureBoost at all its parties.

    :param data: per party, its rows by input name
    :param wrap: puts something between a party and its federation
    """

    kind: type[HeteroSecureBoost] = HeteroSecureBoost

    def __init__(
        self,
        settings: HeteroSecureBoostParam,
        data: Mapping[Party, Mapping[str, Rows]],
        *,
        seed: int = 7,
        checkpoints: Mapping[Party, Checkpoint] | None = None,
        models: Mapping[Party, dict[str, Model]] | None = None,
        engine: Engine | None = None,
        wrap: Callable[[Party, Federation], Any] = lambda _, federation: federation,
    ) -> None:
        self.settings, self.data, self.seed = settings, data, seed
        self.checkpoints = checkpoints or {party: MemoryCheckpoint() for party in data}
        self.models = models or {}
        self.engine = engine or LocalEngine()
        self.wrap = wrap
        self.log: list[str] = []
        self.records: list[tuple[str, float, int]] = []
        self.fitted: dict[Party, Outputs] = {}

    def _component(self, party: Party, federation: Federation) -> HeteroSecureBoost:
        guest = party == GUEST

        def record(name: str, value: float, step: int) -> None:
            if guest:
                self.records.append((name, value, step))

        context = Context(
            name="hetero_secure_boost_0",
            party=party,
            federation=self.wrap(party, federation),
            engine=self.engine,
            log=self.log.append if guest else lambda _: None,
            record=record,
            checkpoint=self.checkpoints[party],
            seed=self.seed,
        )
        return self.kind(context, self.settings)

    def fit(self, timeout: float = 120) -> Run:
        def play(party: Party) -> Any:
            return lambda federation: self._component(party, federation).fit(
                dict(self.data[party]), self.models.get(party, {})
            )

        self.fitted = run_parties({party: play(party) for party in self.data}, timeout)
        return self

    def predict(self, data: Mapping[Party, Mapping[str, Rows]]) -> np.ndarray:
        """Scores of new rows."""
        models = {party: self.fitted[party].model for party in data}

        def play(party: Party) -> Any:
            return lambda federation: self._component(party, federation).predict(dict(data[party]), models[party])

        done = run_parties({party: play(party) for party in data}, 60)
        return scores_of(done[GUEST].data["data"])

    def meta(self, party: Party = GUEST) -> dict[str, Any]:
        model = self.fitted[party].model
        assert model is not None
        return model.meta

    @property
    def scores(self) -> np.ndarray:
        """Of the training rows."""
        return scores_of(self.fitted[GUEST].data["data"])


def scores_of(rows: Rows) -> np.ndarray:
    return np.concatenate([block.x for block in rows.blocks()])


def parameters(**given: Any) -> HeteroSecureBoostParam:
    return HeteroSecureBoostParam(**{"encrypt_param": WEAK, "tol": 0, **given})


def hetero(name: str, partitions: int = 1, take: slice = slice(None)) -> dict[Party, dict[str, Rows]]:
    """An example's guest and host."""
    y, guest, host = example(name)
    return {
        GUEST: {"train_data": rows(guest[take], y[take], partitions)},
        HOST: {"train_data": rows(host[take], None, partitions, "z")},
    }


def trees_of(run: Run) -> list[list[dict[str, Any]]]:
    """The trees, with what each party keeps to itself put together."""
    hosts = {str(party): run.meta(party)["trees"] for party in run.data if party != GUEST}
    found = []
    for number, tree in enumerate(run.meta()["trees"]):
        nodes = []
        for node in tree["nodes"]:
            whole = dict(node)
            if node.get("party") in hosts:
                own = {one["id"]: one for one in hosts[node["party"]][number]["nodes"]}
                assert "feature" not in node
                whole |= own[node["id"]]
            nodes.append(whole)
        found.append(nodes)
    return found
