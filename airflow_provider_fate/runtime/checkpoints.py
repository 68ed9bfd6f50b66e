"""What is kept of a job in progress, so that it goes on from there after a restart.

Two kinds, each with a label that the parties compare when they meet:

* ``hetero_lr_0#6e0c...``: the component is done; its output rows, model and metrics are kept;
* ``hetero_lr_0@15#6e0c...``: its state after step 15.

What follows ``#`` names the session that it comes from. A component may draw keys, or names of what only one party
knows, anew in each session, so what one party holds of one session does not go with what another holds of another.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_fate.runtime.components.base import Checkpoint, Outputs
from airflow_provider_fate.runtime.data import Block, Rows, Schema
from airflow_provider_fate.runtime.rows_io import read_rows, write_rows
from airflow_provider_fate.runtime.storage.base import Storage
from airflow_provider_fate.runtime.storage.models import load_component, save_component
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore

#: states of a component that are kept: parties may be one apart
KEPT_STEPS = 2
#: the column that tells a row's place when rows come back
PLACE = "_place"
_STEP = re.compile(r"step-([0-9]+)\.([0-9a-f]+)\.npz")
_OUTPUTS = re.compile(r"outputs\.([0-9a-f]+)\.json")


class CheckpointStore:
    """The checkpoints of one party's part of a job.

    :param directory: below the storage's root; one per job, party, conf and input
    """

    def __init__(self, storage: Storage, directory: str) -> None:
        self.storage = storage
        self.directory = directory
        self._tables = TableStore(storage, directory)

    def labels(self) -> list[str]:
        """All that this party could go on from."""
        found = []
        for component in self.storage.list(self.directory):
            names = self.storage.list(f"{self.directory}/{component}")
            found += [f"{component}#{session}" for session in _done(names)]
            found += [f"{component}@{step}#{session}" for step, session in _steps(names)]
        return found

    def done(self, component: str, common: list[str]) -> bool:
        """Whether a component is done, given the labels that all parties hold."""
        return any(label.startswith(f"{component}#") for label in common)

    def save(self, component: str, outputs: Outputs, engine: Any, session: str) -> None:
        """Keep what a finished component gave in a session."""
        directory = f"{self.directory}/{component}"
        for earlier in _done(self.storage.list(directory)):
            # first: it does not describe what is written now
            self.storage.delete(f"{directory}/{_outputs_file(earlier)}")
        described: dict[str, Any] = {"metrics": outputs.metrics, "summary": outputs.summary, "data": {}}
        for name, rows in outputs.data.items():
            meta = TableMeta(component, f"data.{name}", rows.schema.id_name, None, [])
            write_rows(self._tables, _with_places(rows), meta, engine)
            described["data"][name] = {"counts": rows.counts, "schema": _schema_json(rows.schema)}
        described["model"] = outputs.model is not None
        if outputs.model is not None:
            save_component(self.storage, directory, "model", outputs.model)
        # the steps stay: a peer may not be as far, and then all go on from one of them
        self.storage.write_json(f"{directory}/{_outputs_file(_tag(session))}", described)

    def load(self, component: str, engine: Any) -> Outputs:
        """What :meth:`save` kept, in the same partitions and order."""
        directory = f"{self.directory}/{component}"
        (session,) = _done(self.storage.list(directory))
        described = self.storage.read_json(f"{directory}/{_outputs_file(session)}")
        outputs = Outputs(metrics=described["metrics"], summary=described["summary"])
        for name, entry in described["data"].items():
            meta = self._tables.meta(component, f"data.{name}")
            # in as many partitions as before: inline rows come back inline, and distributed ones distributed
            wanted = None if len(entry["counts"]) == 1 else len(entry["counts"])
            stored = read_rows(self._tables, meta, engine, wanted)
            outputs.data[name] = _without_places(stored, _schema(entry["schema"]), entry["counts"])
        if described["model"]:
            outputs.model = load_component(self.storage, directory, "model")
        return outputs

    def of(
        self, component: str, common: list[str], session: str, record: Callable[[], int] = lambda: 0
    ) -> StoredCheckpoint:
        """The steps of a component that is about to run, given the labels that all parties hold. The other steps are
        deleted: no party goes on from them any more.

        :param session: in which it runs
        :param record: see :class:`StoredCheckpoint`
        """
        directory = f"{self.directory}/{component}"
        prefix = f"{component}@"
        shared = [label.removeprefix(prefix).split("#") for label in common if label.startswith(prefix)]
        start = max(((int(step), made) for step, made in shared), default=None)
        for step, made in _steps(self.storage.list(directory)):
            if (step, made) != start:
                self.storage.delete(f"{directory}/{_file(step, made)}")
        return StoredCheckpoint(self.storage, directory, start, _tag(session), record)


class StoredCheckpoint(Checkpoint):
    """Steps of one component as files.

    :param start: the step to go on from and the tag of its session, ``None`` to start from the beginning
    :param session: the tag of the one that runs now
    :param record: writes the numbers that the component has recorded to the metrics file, and says how many they are
    :param every: a state is written after steps that are multiples of it, so at the same ones at every party
    """

    def __init__(
        self,
        storage: Storage,
        directory: str,
        start: tuple[int, str] | None,
        session: str,
        record: Callable[[], int],
        every: int = 5,
    ) -> None:
        self.storage = storage
        self.directory = directory
        self.start = start
        self.step = None if start is None else start[0]
        self.session = session
        self.record = record
        self.every = every

    def save(self, step: int, arrays: dict[str, np.ndarray], meta: dict[str, Any] | None = None) -> None:
        if step % self.every:
            return
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(meta or {}).encode(), np.uint8)
        np.savez(buffer, allow_pickle=False, _meta=text, _recorded=np.int64(self.record()), **arrays)
        self.storage.write_bytes(f"{self.directory}/{_file(step, self.session)}", buffer.getvalue())
        for old in _steps(self.storage.list(self.directory))[:-KEPT_STEPS]:
            self.storage.delete(f"{self.directory}/{_file(*old)}")

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        with self._open() as stored:
            arrays = {name: stored[name] for name in stored.files if name != "_recorded"}
        return arrays, json.loads(arrays.pop("_meta").tobytes())

    @property
    def recorded(self) -> int:
        """How many numbers the component had recorded when the state of :attr:`step` was written."""
        with self._open() as stored:
            return int(stored["_recorded"])

    def _open(self) -> Any:
        if self.start is None:
            raise ValueError("there is no step to go on from")
        content = io.BytesIO(self.storage.read_bytes(f"{self.directory}/{_file(*self.start)}"))
        return np.load(content, allow_pickle=False)


def _tag(session: str) -> str:
    return session[:12]


def _file(step: int, session: str) -> str:
    return f"step-{step:09d}.{session}.npz"


def _steps(names: list[str]) -> list[tuple[int, str]]:
    """Step and session of each file of a step, in order."""
    return sorted((int(match[1]), match[2]) for name in names if (match := _STEP.fullmatch(name)))


def _outputs_file(session: str) -> str:
    return f"outputs.{session}.json"


def _done(names: list[str]) -> list[str]:
    """The session in which the component was done, if it was."""
    return [match[1] for name in names if (match := _OUTPUTS.fullmatch(name))]


def _with_places(rows: Rows) -> Rows:
    """The rows as plain features, the label among them, and each row's place in a last column."""
    schema = rows.schema
    label = () if schema.label_name is None else (f"_label.{schema.label_name}",)
    starts = np.concatenate([[0], np.cumsum(rows.counts)])[:-1]
    return rows.transform(
        _add_places, Schema(schema.id_name, (*schema.features, *label, PLACE)), [int(start) for start in starts]
    )


def _add_places(block: Block, start: int) -> Block:
    label = [] if block.y is None else [block.y[:, None]]
    places = np.arange(start, start + len(block), dtype=np.float64)[:, None]
    return Block(block.ids, np.hstack([block.x, *label, places]))


def _without_places(rows: Rows, schema: Schema, counts: list[int]) -> Rows:
    places = rows.map(_places)
    labelled = schema.label_name is not None
    plain = rows.transform(_drop_places, schema, [labelled] * rows.partitions)
    return plain.rearrange(places, counts).cache()


def _places(block: Block, _: Any) -> np.ndarray:
    return block.x[:, -1].astype(np.int64)


def _drop_places(block: Block, labelled: bool) -> Block:
    features = block.x.shape[1] - 1 - labelled
    ids = block.ids if isinstance(block.ids, pa.Array) else pa.array(block.ids)
    return Block(ids, np.ascontiguousarray(block.x[:, :features]), block.x[:, features].copy() if labelled else None)


def _schema_json(schema: Schema) -> dict[str, Any]:
    return {
        "id_name": schema.id_name, "features": list(schema.features), "label_name": schema.label_name,
        "kind": schema.kind, "classes": list(schema.classes), "threshold": schema.threshold,
    }


def _schema(content: dict[str, Any]) -> Schema:
    return Schema(**{**content, "features": tuple(content["features"]), "classes": tuple(content["classes"])})
