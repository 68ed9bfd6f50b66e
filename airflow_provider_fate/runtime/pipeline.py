"""Runs one party's part of a job: its components in order, with what each takes from the ones before."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from airflow_provider_fate.errors import ConfigError, DataError, FateError, PeerFinished, PeerRestarted
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.dsl import MODEL_INPUTS, ComponentSpec
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.checkpoints import CheckpointStore
from airflow_provider_fate.runtime.components.base import Checkpoint, Component, Context, NoCheckpoint, Outputs
from airflow_provider_fate.runtime.components.registry import component_class
from airflow_provider_fate.runtime.data import LINES, Engine, Model, Rows
from airflow_provider_fate.runtime.ending import Ending
from airflow_provider_fate.runtime.federation import checks
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.progress import Progress, checkpoints_directory, end_directory
from airflow_provider_fate.runtime.rows_io import read_rows, write_rows
from airflow_provider_fate.runtime.storage.base import Storage
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore

READER = "Reader"
MAX_URL = 2000
#: a peer that comes back more often keeps the others from their work
MOST_MEETINGS = 100


@dataclass
class Run:
    """What is collected while the components of a job run.

    :param outputs: of each component that is done
    :param models: what was learnt, to be stored
    """

    outputs: dict[str, Outputs] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)


class Pipeline:
    """One party's part of a job.

    :param job: the validated job
    :param job_id: the same at every party
    :param model_version: the version that is made, or applied
    :param party: whom this process plays
    :param storage: tables, models and the state of jobs
    :param engine: where rows are computed
    :param progress: what the user sees
    :param run_url: where Airflow shows this party's task, for the other parties
    """

    def __init__(
        self,
        job: Job,
        job_id: str,
        model_version: str,
        party: Party,
        storage: Storage,
        engine: Engine,
        progress: Progress,
        run_url: str = "",
    ) -> None:
        self.job = job
        self.job_id = job_id
        self.party = party
        self.storage = storage
        self.engine = engine
        self.progress = progress
        self.run_url = run_url
        self.tables = TableStore(storage)
        self.model_store = ModelStore(storage, party)
        self.model_version = model_version
        self._ending: Ending | None = None
        self._begun: Counter[str] = Counter()  # how often each component was, as peers came back
        self._stored_models: dict[str, Model] = {}
        self._replaces: str | None = None  # the job that had made the version before this one
        self._inputs: dict[str, TableMeta] = {}

    def prepare(self) -> None:
        """Find what the job needs before the parties meet: tables and, to predict, the model.

        :raises ConfigError: the job names no table for this party, or a user's component cannot be loaded
        :raises StorageError: a table or model is missing
        """
        for spec in self.job.components.values():
            if self.party.role not in spec.roles:
                continue
            if spec.module != READER:
                component_class(spec.module).load_early(self.party.role)
            else:
                table = self.job.require_table(spec.name, self.party)
                self._inputs[spec.name] = self.tables.meta(table.namespace, table.name)
        if self.job.job_type == "predict":
            self._stored_models = self.model_store.load(self.job.model_id, self.model_version)
        else:
            self._replaces = self._made_by()
        self._ending = Ending(self.storage, end_directory(self.job_id, self.party), self._state_key())

    def ended_before(self, session: Session) -> bool:
        """Whether an earlier try came to the end and knew that all had; then the rest is done, and nobody is met."""
        if not self._ending.agreed:
            return False
        self._end_alone(session, "an earlier try")
        return True

    def run(self, session: Session) -> None:
        """Meet the other parties and run the job, again from the last common checkpoint when one comes back."""
        ending = self._ending
        kept = checkpoints_directory(self.job_id, self.party)
        checkpoints = CheckpointStore(self.storage, f"{kept}/{self._state_key()}")
        for _ in range(MOST_MEETINGS):
            try:
                common = session.meet(self._held(checkpoints), ending.session)
                if ending.label in common:
                    self._end_alone(session, "every party")
                    return
                self.progress.go_on(self._recorded(checkpoints, common, session.id))
                self._show_runs(session.federation().scoped("job"))
                result = self._run_components(session, checkpoints, common)
                self._keep(result, session.id)
                session.agree()
                ending.agree()
                self._store()
                session.finish()
                if session.over:
                    ending.finish()
                break
            except PeerRestarted:  # the session has said who
                continue
            except PeerFinished as finished:
                self._end_alone(session, finished.party)
                return
        else:
            raise FateError(f"the parties met {MOST_MEETINGS} times and never came to the end")
        self._tell_results()

    def _end_alone(self, session: Session, who: str) -> None:
        """Store what was kept, as all had come to the end.

        :param who: knows it
        """
        self.progress.say(f"going on from the end, to which {who} had come before: only storing is left")
        self._ending.agree()
        self._store()
        if not self._ending.over:  # else it would be a message that nobody is there to take
            session.leave(self._ending.session)
        self._tell_results()

    def _store(self) -> None:
        try:
            self._check_version(self._ending.results.get("replaces"))
        except ConfigError:
            self._ending.forget()
            raise
        self._ending.store()

    def _check_version(self, before: str | None) -> None:
        """What another job has made since this one began is not replaced by what has not seen it.

        :param before: the job that had made the version then
        :raises ConfigError: another has made it since
        """
        now = self._made_by() if self.job.job_type == "train" else None
        if now not in (None, before, self.job_id):
            raise ConfigError(
                "job_parameters.model_version",
                f"{self.model_version} of model {self.job.model_id} was made by job {now} while this job ran; let jobs "
                "that run at the same time name versions of their own, or none",
            )

    def _made_by(self) -> str | None:
        return self.model_store.made_by(self.job.model_id, self.model_version)

    def _tell_results(self) -> None:
        self.storage.delete(checkpoints_directory(self.job_id, self.party))
        results = self._ending.results
        self.progress.status.update(results["status"])
        for verdict in results["verdicts"]:
            self.progress.say(verdict)

    def _held(self, checkpoints: CheckpointStore) -> list[str]:
        """What this party can go on from."""
        held = [label for label in (self._ending.label, *checkpoints.labels()) if label]
        # a checkpoint counts when all who take part hold it, so the others say that they hold any
        return held + [spec.name for spec in self.job.components.values() if self.party.role not in spec.roles]

    def _recorded(self, checkpoints: CheckpointStore, common: list[str], session: str) -> dict[str, int | None]:
        """Of each component that is not begun anew, how many of its numbers count; ``None`` for all."""
        counts: dict[str, int | None] = {}
        for spec in self.job.components.values():
            if self.party.role in spec.roles and spec.module != READER and component_class(spec.module).keeps_outputs:
                checkpoint = checkpoints.of(spec.name, common, session)
                if checkpoints.done(spec.name, common):
                    counts[spec.name] = None
                elif checkpoint.step is not None:
                    counts[spec.name] = checkpoint.recorded
        return counts

    def _state_key(self) -> str:
        """Changes with all that a checkpoint depends on."""
        content = [
            self.job.to_dict(), self.model_version, str(self.party), [meta.digest for meta in self._inputs.values()],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def _run_components(self, session: Session, checkpoints: CheckpointStore, common: list[str]) -> Run:
        run, federation = Run(), session.federation()
        for spec in self.job.components.values():
            if self.party.role not in spec.roles:
                continue
            self.progress.write_status(component=spec.name)
            started = time.monotonic()
            if spec.module == READER:
                run.outputs[spec.name] = self._read(spec.name)
                continue
            kind = component_class(spec.module)
            if kind.keeps_outputs and checkpoints.done(spec.name, common):
                outputs = checkpoints.load(spec.name, self.engine)
                self.progress.say(f"{spec.name} ({spec.module}): done before, going on from its checkpoint")
            else:
                self._begun[spec.name] += 1
                if kind.most_runs is not None and self._begun[spec.name] > kind.most_runs:
                    raise FateError(
                        f"{spec.name} was begun {kind.most_runs} times, as other parties kept coming back, and tells "
                        "them something new each time; look at why they end, and at the rows that they bring"
                    )
                self.progress.say(f"{spec.name} ({spec.module}): started")
                checkpoint: Checkpoint = NoCheckpoint()
                if kind.keeps_outputs:
                    checkpoint = checkpoints.of(
                        spec.name, common, session.id, partial(self.progress.recorded, spec.name)
                    )
                context = self._context(spec.name, federation.scoped(spec.name), checkpoint)
                component = kind(context, self.job.parameters(spec.name, self.party))
                outputs = self._run_component(component, spec, run)
                if kind.keeps_outputs:
                    for rows in outputs.data.values():
                        rows.cache()
                    self.progress.flush()
                    checkpoints.save(spec.name, outputs, self.engine, session.id)
                self.progress.say(
                    f"{spec.name} ({spec.module}): done in {time.monotonic() - started:.1f} s{_shown(outputs.metrics)}"
                )
            run.outputs[spec.name] = outputs
            if outputs.model is not None:
                run.models[spec.name] = outputs.model
            if outputs.metrics or outputs.summary:
                self.progress.status["metrics"][spec.name] = outputs.metrics
                self.progress.status.setdefault("summary", {})[spec.name] = outputs.summary
        return run

    def _context(self, name: str, federation: Federation, checkpoint: Checkpoint) -> Context:
        seed = hashlib.sha256(f"{self.job.seed}/{name}".encode()).digest()
        return Context(
            name=name,
            party=self.party,
            federation=federation,
            engine=self.engine,
            log=lambda text: self.progress.say(f"{name}: {text}"),
            record=lambda key, value, step=None: self.progress.record(name, key, value, step),
            checkpoint=checkpoint,
            seed=int.from_bytes(seed[:4], "big"),
            partitions=self.job.partitions,
        )

    def _read(self, name: str) -> Outputs:
        meta = self._inputs[name]
        rows = read_rows(self.tables, meta, self.engine, self.job.partitions)
        label = f", label {meta.label_name}" if meta.label_name else ""
        content = "lines of text" if rows.schema.kind == LINES else f"{len(meta.features)} features{label}"
        self.progress.say(f"{name}: table {meta.namespace}/{meta.name}, {meta.count} rows, {content}")
        return Outputs(data={"data": rows})

    def _run_component(self, component: Component, spec: ComponentSpec, run: Run) -> Outputs:
        data: dict[str, Rows] = {}
        for kind, references in spec.data_inputs.items():
            for place, reference in enumerate(references):
                name, _, output = reference.partition(".")
                source = run.outputs.get(name)
                rows = source.data.get(self.job.components[name].output(output)) if source else None
                if rows is not None:
                    if rows.schema.kind == LINES and not component.reads_lines:
                        raise DataError(
                            f"{spec.name}: {name} gives lines of tags or svmlight, which DataIO or DataTransform has "
                            "to read first, with its input_format"
                        )
                    data[_input(kind, place)] = rows
        if spec.mode == "fit":
            models = {
                _input(kind, place): self._model(reference, run)
                for kind in MODEL_INPUTS
                for place, reference in enumerate(spec.inputs.get(kind, []))
            }
            return component.fit(data, models)
        model = self._model(spec.model_of or spec.name, run)
        if not data:
            raise DataError(f"{spec.name} has no input rows to apply its model to")
        outputs = component.predict({"data": next(iter(data.values()))}, model)
        outputs.model = outputs.model or model
        return outputs

    def _model(self, reference: str, run: Run) -> Model:
        """What a component learnt: in this job, or in the one whose model is applied."""
        name = reference.removeprefix("pipeline.").partition(".")[0]
        model = run.models.get(name) or self._stored_models.get(name)
        if model is None:
            raise DataError(f"{self.party} has no model of {name}; did it take part when {name} was fitted?")
        return model

    def _show_runs(self, federation: Federation) -> None:
        """Tell the others where this party's task is shown, for the people who look for the reason of something."""
        peers = [party for party in federation.parties if party != self.party]
        federation.send(peers, "run_url", self.run_url[:MAX_URL])
        linked: dict[str, str] = {}
        for peer in peers:
            url = federation.receive(peer, "run_url", checks.Text(MAX_URL))
            if url:
                # there is one link for each role: of several hosts, to the first
                link = {} if peer.role in linked else {f"{peer.role}_run": url}
                linked[peer.role] = url
                self.progress.say(f"{peer} shows its part at {url!r}", **link)

    def _keep(self, run: Run, session: str) -> None:
        """Keep the results of ``session`` where nobody looks for them, but a later try of this party."""
        self._check_version(self._replaces)
        directory = self._ending.begin(session)
        tables = TableStore(self.storage, f"{directory}/tables")
        moves: list[tuple[str, str]] = []
        status: dict[str, Any] = {
            "model_id": self.job.model_id, "model_version": self.model_version, "output": {},
            "metrics": self.progress.status["metrics"], "summary": self.progress.status.get("summary", {}),
        }  # fmt: skip
        for name, outputs in run.outputs.items():
            for output, rows in outputs.data.items():
                if rows.schema.kind == "prediction":
                    kind = "predict" if self.job.job_type == "predict" else {"data": "train"}.get(output, output)
                    meta = TableMeta(
                        self.job_id, f"{name}.{output}.{self.party}", rows.schema.id_name,
                        "label" if rows.schema.label_name else None, [], source=f"job {self.job_id}, {name}",
                        extra={"type": kind},
                    )
                    write_rows(tables, rows, meta, self.engine)
                    place = (meta.namespace, meta.name)
                    moves.append((tables.directory(*place), self.tables.directory(*place)))
                    entry = {"namespace": meta.namespace, "name": meta.name, "count": meta.count}
                    status["output"].setdefault(name, {})[output] = entry
                    if self.job.job_type == "predict":
                        status["result"] = entry
        if self.job.job_type == "train":
            model = (self.job.model_id, self.model_version)
            self.model_store.write(f"{directory}/model", *model, run.models, self.job.to_dict(), self.job_id)
            moves.append((f"{directory}/model", self.model_store.directory(*model)))
        verdicts = [outputs.verdict for outputs in run.outputs.values() if outputs.verdict]
        self._ending.keep(session, moves, {"status": status, "verdicts": verdicts, "replaces": self._replaces})


def _input(kind: str, place: int) -> str:
    """The name of one of several inputs of a kind."""
    return kind if place == 0 else f"{kind}_{place}"


def _shown(metrics: dict[str, Any]) -> str:
    numbers = {k: v for k, v in metrics.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return "".join(f", {name} {value:.6g}" for name, value in list(numbers.items())[:8])
