"""The jobs of a FATE test suite, checked, with the parties that play in them and the tables that they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.common import common_of, with_common
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.names import TableName
from airflow_provider_fate.job.party import ROLES, Party
from airflow_provider_fate.operators._suite_file import Entry, SuiteFile

#: party ids by role
Ids = Mapping[str, list[str]]


@dataclass
class SuiteJob:
    """One job of a suite.

    :param job: what the operators take: conf and DSL
    :param data: what they take as ``data``; texts in it are templates where an earlier job makes the table
    :param parsed: the whole job, ``None`` where it is refused or predicts with a model of which nothing is known
    :param reason: why it cannot be run
    """

    entry: Entry
    predicts: bool
    parties: tuple[Party, ...] = ()
    job: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] | None = None
    parsed: Job | None = None
    model_id: str = ""
    model_version: str | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        return self.entry.name

    def components(self, module: str) -> list[str]:
        """Its components of a module."""
        return [one.name for one in self.parsed.components.values() if one.module == module] if self.parsed else []

    def tables(self) -> set[tuple[Party, TableName]]:
        """What it reads, as far as its conf says."""
        job = self.parsed
        if job is None:
            return set()
        found = set()
        for reader in job.readers:
            for party in job.parties:
                table = job.reader_table(reader, party)
                if table is not None and party.role in job.components[reader].roles:
                    found.add((party, table))
        return found


class SuiteJobs:
    """All jobs of a suite.

    :param suite: as it was read
    :param ids: which parties play, as in ``fate_test``'s settings; by default those that the confs name
    :param task_id: of a job and a party, the task that plays it
    """

    def __init__(self, suite: SuiteFile, ids: Ids | None, task_id: Callable[[str, Party], str]) -> None:
        self._ids, self._task_id = ids, task_id
        self.jobs: dict[str, SuiteJob] = {}
        for entry in suite.entries.values():
            self.jobs[entry.name] = self._job(entry)

    def _job(self, entry: Entry) -> SuiteJob:
        job = SuiteJob(entry, entry.model_of is not None)
        refused = [need for need in entry.needs if self.jobs[need].reason]
        try:
            common = common_of(entry.conf)
            job_type = str(common.get("job_type", "")).lower()
            job.predicts = job_type == "predict" or (job.predicts and job_type != "train")
            if entry.reason:
                job.reason = entry.reason
            elif refused:
                job.reason = f"needs {', '.join(refused)}"
            elif job.predicts:
                self._predict(job, common)
            else:
                self._train(job, common)
        except ConfigError as error:
            job.reason = f"{entry.files}: {error}" if entry.files else str(error)
        return job

    def _train(self, job: SuiteJob, common: dict[str, Any]) -> None:
        # FATE gives a model the version of its job, whatever stands there
        kept = {key: value for key, value in common.items() if key != "model_version"}
        conf = self._with_parties(with_common(job.entry.conf, kept), None)
        parsed = Job.parse(conf, job.entry.dsl)
        self._settle(job, conf, parsed)
        job.model_id = parsed.model_id

    def _predict(self, job: SuiteJob, common: dict[str, Any]) -> None:
        model = self.jobs[job.entry.model_of] if job.entry.model_of else None
        kept = {**common, "job_type": "predict"}
        if model is not None and model.predicts:
            raise ConfigError(f"{job.entry.at}.deps", f"names {model.name}, which is no training")
        if model is not None:
            # placeholders, which fate_test replaces as well
            kept.update(model_id=model.model_id)
            kept.pop("model_version", None)
        conf = self._with_parties(with_common(job.entry.conf, kept), model)
        parsed = Job.parse(conf, job.entry.dsl)
        if model is not None and model.parsed is not None:
            parsed = parsed.for_prediction(model.parsed.to_dict())
        self._settle(job, conf, parsed)
        job.parties = tuple(party for party in parsed.parties if party.role != "arbiter")
        job.model_id, job.model_version = parsed.model_id, parsed.model_version

    def _settle(self, job: SuiteJob, conf: dict[str, Any], parsed: Job) -> None:
        job.parsed, job.parties = parsed, parsed.parties
        job.job = {"conf": conf, **({"dsl": job.entry.dsl} if job.entry.dsl is not None else {})}
        made = self._made_by_others(job)
        for party in parsed.parties:
            for reader in parsed.readers:
                if (party, reader) not in made and party.role in parsed.components[reader].roles:
                    parsed.require_table(reader, party)
        if made:
            job.data = self._data(parsed, made)

    # -- tables that other jobs make

    def _made_by_others(self, job: SuiteJob) -> dict[tuple[Party, str], dict[str, str]]:
        """By party and Reader, the table of ``data_deps``."""
        found = {}
        for other, by_role in job.entry.data_of.items():
            source = self.jobs[other]
            for (role, index), readers in by_role.items():
                for reader, component in readers.items():
                    at = f"{job.entry.at}.data_deps.{other}.{role}_{index}.{reader}"
                    party = self._party(job.parsed, role, index, at)
                    name = reader if reader in job.parsed.readers else f"reader_{reader}_0"
                    if name not in job.parsed.readers:
                        raise ConfigError(at, f"the job has no such Reader; there are {', '.join(job.parsed.readers)}")
                    found[party, name] = self._output(source, role, index, component, at)
        return found

    def _output(self, source: SuiteJob, role: str, index: int, component: str, at: str) -> dict[str, str]:
        party = self._party(source.parsed, role, index, at)
        spec = source.parsed.components.get(component)
        if spec is None:
            raise ConfigError(at, f"{source.name} has no component {component}")
        if spec.module == "Reader":
            table = source.parsed.require_table(component, party)
            return {"namespace": table.namespace, "name": table.name}
        if "train_data" not in spec.spec.inputs:
            raise ConfigError(
                at, f"the rows that {component} ({spec.module}) gives are not kept as a table; predictions and what "
                "Readers read can be used by another task"
            )  # fmt: skip
        output = f"ti.xcom_pull(task_ids='{self._task_id(source.name, party)}', key='output')['{component}']"
        return {key: f"{{{{ ({output}.values() | first)['{key}'] }}}}" for key in ("namespace", "name")}

    def _party(self, job: Job, role: str, index: int, at: str) -> Party:
        of_role = [party for party in job.parties if party.role == role]
        if index >= len(of_role):
            raise ConfigError(at, f"there is no {role}_{index}")
        return of_role[index]

    def _data(self, parsed: Job, made: dict[tuple[Party, str], dict[str, str]]) -> dict[str, Any]:
        """``data`` of the operators: all tables of the roles of which one party reads what another job made."""
        found: dict[str, list[dict[str, Any]]] = {}
        for party in parsed.parties:
            if any(other.role == party.role for other, _ in made):
                tables = {}
                for reader in parsed.readers:
                    table = parsed.reader_table(reader, party)
                    own = None if table is None else {"namespace": table.namespace, "name": table.name}
                    tables[reader] = made.get((party, reader), own)
                found.setdefault(party.role, []).append(tables)
        return found

    # -- the conf, changed

    def _with_parties(self, conf: dict[str, Any], model: SuiteJob | None) -> dict[str, Any]:
        """The conf with the parties that are there; a prediction's are those of its model, as in ``fate_test``."""
        given = conf.get("role")
        if not isinstance(given, dict):
            return conf
        ids = self._ids
        if ids is None and model is not None:
            ids = {role: [p.party_id for p in model.parties if p.role == role] for role in ROLES}
        role = {}
        for name, members in given.items():
            count = len(members) if isinstance(members, list) else 1
            if ids is None or name not in ROLES:
                role[name] = members
            elif name == "arbiter" and model is not None and not ids.get(name):
                continue  # has no part in a prediction
            else:
                if len(ids.get(name, [])) < count:
                    raise ConfigError(f"role.{name}", f"has {count}, but the suite's parties have "
                                      f"{', '.join(ids.get(name, [])) or 'none'}")  # fmt: skip
                role[name] = list(ids[name][:count])
        return {**conf, "role": role, "initiator": self._initiator(conf.get("initiator"), role, model is not None)}

    @staticmethod
    def _initiator(given: Any, role: dict[str, Any], predicts: bool) -> Any:
        """The initiator among the parties of ``role``. What is wrong stays as it is: the job's own check names it."""
        if not isinstance(given, dict) or not isinstance(given.get("role"), str | None):
            return given
        if predicts and given.get("role") not in role:
            given = {"role": "guest"}
        members = role.get(given.get("role"))
        if not isinstance(members, list) or not members or str(given.get("party_id")) in map(str, members):
            return given
        return {**given, "party_id": members[0]}
