"""Data of FATE's examples split over parties, and linear models run by all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_fate.job.parameters.hetero_linear import HeteroLinearParam
from airflow_provider_fate.job.parameters.hetero_lr import HeteroLRParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Checkpoint, Context, Outputs
from airflow_provider_fate.runtime.components.hetero_lr import HeteroLR
from airflow_provider_fate.runtime.components.linear.batches import Batches
from airflow_provider_fate.runtime.components.linear.component import HeteroLinear
from airflow_provider_fate.runtime.data import Block, Engine, Model, Rows, Schema, even_counts
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.local_engine import LocalEngine
from tests.parties import run_parties
from tests.unit.components import plain_lr

GUEST, HOST, HOST2, ARBITER = (
    Party("guest", "9999"),
    Party("host", "10000"),
    Party("host", "10001"),
    Party("arbiter", "10000"),
)
DATA = Path(__file__).parents[2] / "data"


@lru_cache(maxsize=4)
def example(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, the guest's columns and the host's, row by row of the same id, in the guest's order."""
    guest = np.genfromtxt(DATA / f"{name}_guest.csv", delimiter=",", skip_header=1)
    host = np.genfromtxt(DATA / f"{name}_host.csv", delimiter=",", skip_header=1)
    guest, host = guest[np.argsort(guest[:, 0])], host[np.argsort(host[:, 0])]
    assert (guest[:, 0] == host[:, 0]).all()
    return guest[:, 1], guest[:, 2:], host[:, 1:]


def rows(x: np.ndarray, y: np.ndarray | None = None, partitions: int = 2, name: str = "x") -> Rows:
    """A party's rows with ids r0, r1, ..."""
    schema = Schema("id", tuple(f"{name}{place}" for place in range(x.shape[1])), None if y is None else "y")
    bounds = np.cumsum([0, *even_counts(len(x), partitions)])
    blocks = [
        Block(
            pa.array([f"r{number}" for number in range(start, end)], pa.string()),
            np.ascontiguousarray(x[start:end], float),
            None if y is None else y[start:end].astype(float),
        )
        for start, end in zip(bounds, bounds[1:], strict=False)
    ]
    return LocalEngine().rows(blocks, schema)


class MemoryCheckpoint(Checkpoint):
    """Keeps every state, or goes on from one."""

    def __init__(self, step: int | None = None, kept: dict[int, Any] | None = None) -> None:
        self.step = step
        self.kept = {} if kept is None else kept

    def save(self, step: int, arrays: dict[str, np.ndarray], meta: dict[str, Any] | None = None) -> None:
        self.kept[step] = ({name: array.copy() for name, array in arrays.items()}, json.dumps(meta or {}))

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, meta = self.kept[self.step]
        return arrays, json.loads(meta)


def parameters(**given: Any) -> HeteroLRParam:
    return HeteroLRParam(**given)


class Run:
    """One job's linear model at all its parties.

    :param kind: HeteroLR or another
    :param data: per party with data, its rows by input name
    :param engine: of all parties
    """

    def __init__(
        self,
        settings: HeteroLinearParam,
        data: Mapping[Party, Mapping[str, Rows]],
        *,
        seed: int = 7,
        checkpoints: Mapping[Party, Checkpoint] | None = None,
        models: Mapping[Party, dict[str, Model]] | None = None,
        kind: type[HeteroLinear] = HeteroLR,
        engine: Engine | None = None,
    ) -> None:
        self.kind = kind
        self.engine = engine or LocalEngine()
        self.settings = settings
        self.data = data
        self.seed = seed
        self.parties = [*data, ARBITER]
        self.checkpoints = checkpoints or {party: MemoryCheckpoint() for party in self.parties}
        self.models = models or {}
        self.log: list[str] = []
        self.records: list[tuple[str, float, int]] = []
        self.fitted: dict[Party, Outputs] = {}

    def _component(self, party: Party, federation: Federation) -> HeteroLinear:
        guest = party == GUEST

        def record(name: str, value: float, step: int) -> None:
            if guest:
                self.records.append((name, value, step))

        context = Context(
            name="hetero_lr_0",
            party=party,
            federation=federation,
            engine=self.engine,
            log=self.log.append if guest else lambda _: None,
            record=record,
            checkpoint=self.checkpoints[party],
            seed=self.seed,
        )
        return self.kind(context, self.settings)

    def fit(self, timeout: float = 60) -> Run:
        def play(party: Party) -> Any:
            return lambda federation: self._component(party, federation).fit(
                dict(self.data.get(party, {})), self.models.get(party, {})
            )

        self.fitted = run_parties({party: play(party) for party in self.parties}, timeout)
        return self

    def predict(self, data: Mapping[Party, Mapping[str, Rows]], models: Mapping[Party, Model]) -> dict[Party, Outputs]:
        def play(party: Party) -> Any:
            return lambda federation: self._component(party, federation).predict(dict(data[party]), models[party])

        return run_parties({party: play(party) for party in data}, 60)

    def weights(self, number: int | None = None) -> np.ndarray:
        """The guest's weights, its intercept, then those of the hosts."""
        parts = []
        for party in self.parties[:-1]:
            meta = self.meta(party)
            meta = meta if number is None else meta["models"][number]
            parts.append(np.array(list(meta["weights"].values())))
            if meta["intercept"] is not None:
                parts.append(np.array([meta["intercept"]]))
        return np.concatenate(parts)

    def meta(self, party: Party) -> dict[str, Any]:
        model = self.fitted[party].model
        assert model is not None
        return model.meta


def hetero(name: str, partitions: int = 2) -> dict[Party, dict[str, Rows]]:
    """An example's guest and host."""
    y, guest, host = example(name)
    return {
        GUEST: {"train_data": rows(guest, y, partitions)},
        HOST: {"train_data": rows(host, None, partitions, "z")},
    }


def joined(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the guest's columns, ones, the host's columns."""
    y, guest, host = example(name)
    return y, np.hstack([guest, np.ones((len(y), 1)), host])


def in_the_clear(
    x: np.ndarray,
    y: np.ndarray,
    intercept: int,
    settings: Any,
    seed: int = 7,
    partitions: int = 2,
    objective: plain_lr.Objective = plain_lr.LOGISTIC,
) -> tuple[np.ndarray, list[float]]:
    """The reference on all columns, started at the constant, with the same rows in each batch."""
    counts = [len(part) for part in np.array_split(np.arange(len(y)), partitions)]
    starts = np.cumsum([0, *counts])
    batches = Batches(
        counts, settings.batch_size, shuffle=settings.shuffle, strategy=settings.batch_strategy, seed=seed
    )

    def chosen(iteration: int) -> list[np.ndarray]:
        return [
            np.concatenate(
                [
                    np.arange(count) + start if places is None else places + start
                    for places, start, count in zip(batch.rows, starts, counts, strict=False)
                ]
            )
            for batch in batches.of(iteration)
        ]

    penalised = np.ones(x.shape[1])
    if intercept >= 0:
        penalised[intercept] = 0
    start = np.full(x.shape[1], settings.init_param.init_const)
    return plain_lr.fit(x, y, start, chosen, settings, penalised, objective)
