"""A federated job: FATE's runtime conf and DSL, checked as a whole and resolved for each party."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job import conf_v1, prediction, resolve
from airflow_provider_fate.job import dsl as dsl_
from airflow_provider_fate.job.dsl import ComponentSpec
from airflow_provider_fate.job.job_parameters import SHARED, JobParameters
from airflow_provider_fate.job.names import TableName, did_you_mean, short
from airflow_provider_fate.job.parameters import ReaderParam
from airflow_provider_fate.job.parameters.base import Loc
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.job.plain import flatten, join, merged, only_keys, plain, without
from airflow_provider_fate.job.sources import Source, SourceOver, SourceV1
from airflow_provider_fate.job.spark_run import SparkRun
from airflow_provider_fate.job.tables import place

KEYS = ("dsl_version", "initiator", "job_parameters", "role", "component_parameters", "provider")
_V1 = "it is of version 1; version 2 has component_parameters with common and role"
_HINTS = {"role_parameters": _V1, "algorithm_parameters": _V1}


@dataclass(frozen=True, eq=False)
class Job:
    """A checked job. Made by :meth:`parse` or :meth:`from_dict`.

    :param parties: guest, hosts, arbiter, in this order; hosts as the conf lists them
    :param initiator: the party that FATE would submit from
    :param components: in the order in which they run; empty for a predict job without a DSL of its own, which
        :meth:`for_prediction` completes
    :param job_parameters: what concerns the whole job
    :param notices: what the log must say: values that were replaced or have no effect here
    """

    parties: tuple[Party, ...]
    initiator: Party
    components: dict[str, ComponentSpec]
    job_parameters: JobParameters
    notices: list[str]
    _conf: dict[str, Any] = field(repr=False)
    _source: Source = field(repr=False)
    _said: list[str] = field(repr=False)
    _spark: dict[Party, SparkRun] = field(repr=False)
    _parameters: dict[str, dict[Party, BaseModel]] = field(repr=False)

    # -- making one

    @classmethod
    def parse(cls, conf: Any, dsl: Any = None) -> Job:
        """Read a conf of FATE's version 1 or 2, and its DSL.

        :param conf: the runtime conf
        :param dsl: ``{"components": {...}}``; a predict job may go without, see :meth:`for_prediction`
        :raises ConfigError: with the full path of the first thing that is wrong, and the nearest known name
        """
        conf = plain(conf, "conf")
        dsl = plain(dsl, "dsl")
        if not isinstance(conf, dict):
            raise ConfigError("conf", f"expected a dict, the runtime conf, got {short(conf)}")
        if "schema_version" in conf or "dag" in conf:
            raise ConfigError(
                "conf", "a DAG of FATE 2 is known and not there yet; expected a runtime conf of FATE 1.5-1.11"
            )
        version = conf.get("dsl_version", 1)
        inner = conf["job_parameters"].get("dsl_version") if isinstance(conf.get("job_parameters"), dict) else None
        if inner is not None and str(inner) != str(version):
            raise ConfigError(
                "job_parameters.dsl_version", f"is {short(inner)}, but the conf is of version {short(version)}; "
                "the version is set by dsl_version beside job_parameters"
            )  # fmt: skip
        notices: list[str] = []
        if str(version) == "1":
            only_keys(conf, conf_v1.KEYS, "", conf_v1.HINTS)
            resolve.parties(conf.get("role"))
            source: Source = SourceV1(conf)
            conf, dsl = conf_v1.convert(conf, dsl, notices)
        elif str(version) == "2":
            source = Source(conf)
        else:
            raise ConfigError("dsl_version", f"{short(version)}: expected 1 or 2")
        return cls._build(conf, dsl, source, notices)

    @classmethod
    def from_dict(cls, value: Any) -> Job:
        """Read what :meth:`to_dict` gave.

        :raises ConfigError: as :meth:`parse`
        """
        value = plain(value, "job")
        if not isinstance(value, dict) or "conf" not in value:
            raise ConfigError("job", "expected a dict with conf and dsl")
        only_keys(value, ("conf", "dsl"), "job")
        return cls.parse(value["conf"], value.get("dsl"))

    @classmethod
    def _build(
        cls,
        conf: dict[str, Any],
        dsl: dict[str, Any] | None,
        source: Source,
        notices: list[str],
        said: list[str] | None = None,
    ) -> Job:
        """Check everything.

        :param notices: so far
        :param said: notices that are not about parameters, where they are known already
        """
        only_keys(conf, KEYS, "", _HINTS)
        if "provider" in conf:
            notices.append("provider has no effect here: there is one implementation of every module")
        parties = resolve.parties(conf.get("role"))
        initiator = resolve.initiator(conf.get("initiator"), parties)
        job_parameters, spark, jobs_conf = resolve.job_parameters(conf.get("job_parameters"), parties, source, notices)
        if dsl is None and job_parameters.job_type != "predict":
            hint = "; to predict with a model, set job_type to predict" if job_parameters.model_id else ""
            raise ConfigError("dsl", f'is missing; expected {{"components": {{...}}}}{hint}')
        components = {} if dsl is None else dsl_.parse(dsl, job_parameters.job_type, notices)
        without_effect: list[str] = []
        common, own = resolve.layers(
            conf.get("component_parameters"), parties, None if dsl is None else components, source, without_effect
        )
        resolve.check_roles(components, parties)
        said = [*(notices if said is None else said), *without_effect]
        about_parameters: list[str] = []
        parameters = resolve.parameters(components, parties, common, own, source, about_parameters)
        normalised = {
            "dsl_version": 2,
            "initiator": {"role": initiator.role, "party_id": initiator.party_id},
            "role": resolve.by_role(parties, lambda party: party.party_id),
            "job_parameters": jobs_conf,
            "component_parameters": {"common": common, "role": resolve.indexed(parties, own)},
        }
        all_notices = list(dict.fromkeys([*said, *about_parameters]))
        return cls(
            parties, initiator, components, job_parameters, all_notices, normalised, source, said, spark, parameters
        )

    def to_dict(self) -> dict[str, Any]:
        """The job as JSON, in version 2: ``{"conf": ..., "dsl": ...}``.

        ``spark_run`` and what has no effect are left out: they are the submitting party's own, may hold secrets, and
        this is kept with the model.
        """
        section = self._conf["job_parameters"]
        conf = {**self._conf, "job_parameters": {"common": resolve.kept(section["common"]), "role": {}}}
        return plain({"conf": conf, "dsl": self._dsl()}, "job")

    def _dsl(self) -> dict[str, Any] | None:
        return {"components": {name: c.to_dict() for name, c in self.components.items()}} if self.components else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    # -- what it says

    @property
    def job_type(self) -> str:
        """``train`` or ``predict``."""
        return self.job_parameters.job_type

    @property
    def model_id(self) -> str:
        """Id of the model; FATE's form where the conf gives none."""
        return self.job_parameters.model_id or resolve.model_id(self.parties)

    @property
    def model_version(self) -> str | None:
        """Version of the model, ``None`` for the job's id (train) or the deployed one (predict)."""
        return self.job_parameters.model_version

    @property
    def partitions(self) -> int | None:
        """Partitions that the job asks for (``computing_partitions``)."""
        return self.job_parameters.computing_partitions

    @property
    def seed(self) -> int:
        """Seed of what is random and public, 0 where the conf gives none."""
        return self.job_parameters.seed

    @property
    def spark_run(self) -> SparkRun:
        """What all parties share of ``spark_run``."""
        return SparkRun.parse(self.job_parameters.spark_run)

    def spark_run_for(self, party: Party) -> SparkRun:
        """``spark_run`` of one party."""
        return self._spark[self.check_party(party)]

    def check_party(self, party: Party) -> Party:
        """``party``, where it takes part in this job.

        :raises ConfigError: otherwise
        """
        if party not in self.parties:
            raise ConfigError(
                "role", f"{party} is not in this job; its parties are {', '.join(map(str, self.parties))}"
            )
        return party

    def parameters(self, component: str, party: Party) -> Any:
        """Parameters of a component as a party has them: an instance of its module's model.

        :raises ConfigError: for an unknown component or party
        """
        self.check_party(party)
        if component not in self._parameters:
            raise ConfigError(
                join(dsl_.ROOT, component), f"there is no such component; {did_you_mean(component, self._parameters)}"
            )
        return self._parameters[component][party]

    def where(self, component: str, party: Party, loc: Loc) -> str:
        """The path in the conf of one of a component's parameters as a party has it.

        :param loc: its keys below the component
        """
        index = [p for p in self.parties if p.role == party.role].index(party)
        return self._source.parameter(party.role, index, component, loc)

    @property
    def readers(self) -> list[str]:
        """The Reader components."""
        return [name for name, c in self.components.items() if c.module == "Reader"]

    def reader_table(self, component: str, party: Party) -> TableName | None:
        """The table that a Reader reads at a party, ``None`` where this conf does not say."""
        parameters = self.parameters(component, party)
        if not isinstance(parameters, ReaderParam) or parameters.table is None:
            return None
        return TableName(parameters.table.namespace, parameters.table.name)

    def require_table(self, component: str, party: Party) -> TableName:
        """As :meth:`reader_table`, where the party needs one.

        :raises ConfigError: when the conf gives none
        """
        table = self.reader_table(component, party)
        if table is None:
            index = [p for p in self.parties if p.role == party.role].index(party)
            raise ConfigError(
                f"component_parameters.role.{party.role}.{index}.{component}.table",
                f"{party} has no table to read; expected namespace and name",
            )
        return table

    def check_tables(self, party: Party) -> None:
        """See that the conf says what the party's Readers read.

        :raises ConfigError: when a table is missing
        """
        for name in self.readers:
            if party.role in self.components[name].roles:
                self.require_table(name, party)

    def common(self) -> dict[str, Any]:
        """By path, every value that the parties must have the same for the job to work: roles, DSL, model, seed, and
        parameters but for those of single parties. JSON-able."""
        job = {key: getattr(self.job_parameters, key) for key in SHARED if key != "model_id"}
        agreed: dict[str, Any] = {
            "initiator": str(self.initiator),
            **flatten(self._conf["role"], "role"),
            **flatten({**job, "model_id": self.model_id}, "job_parameters"),
        }
        for name, component in self.components.items():
            agreed.update(flatten(component.to_dict(), join(dsl_.ROOT, name)))
            path = f"component_parameters.common.{name}"
            given = self._conf["component_parameters"]["common"].get(name, {})
            model = component.spec.parameters
            own = getattr(model, "own", frozenset())
            shared = next(iter(self._parameters[name].values())).model_dump(mode="json")
            for key in model.model_fields:
                if own is not None and key not in own:
                    agreed.update(flatten(shared[key], join(path, key)))
                elif key in given:
                    agreed.update(flatten(given[key], join(path, key)))
        return dict(sorted(agreed.items()))

    # -- others made from it

    def with_parameters(self, parameters: Any) -> Job:
        """The same job with some parameters changed, at every party.

        :param parameters: by component; laid over common and role parameters
        :raises ConfigError: with a path that starts at ``parameters``
        """
        over = plain(parameters, "parameters")
        over = resolve.components_dict(over, "parameters", self.components or None)
        conf = plain(self._conf, "conf")
        layers = conf["component_parameters"]
        layers["common"] = merged(layers["common"], over)
        layers["role"] = {
            role: {index: without(blocks, over) for index, blocks in groups.items()}
            for role, groups in layers["role"].items()
        }
        return self._again(conf, SourceOver(self._source, "parameters", over))

    def with_data(self, data: Any) -> Job:
        """The same job on other tables.

        :param data: by role, a table ``{"namespace", "name"}``, or a list with one for each party of the role. Where
            the job has several Readers: a dict from Reader to table instead of a table
        :raises ConfigError: with a path that starts at ``data``
        """
        conf = plain(self._conf, "conf")
        own = conf["component_parameters"]["role"]
        for role, index, component, parameters in place(plain(data, "data"), self.parties, self.readers):
            blocks = own.setdefault(role, {}).setdefault(str(index), {})
            blocks[component] = merged(blocks.get(component, {}), parameters)
        return self._again(conf, self._source)

    def for_prediction(self, stored: Any) -> Job:
        """The whole predict job: this conf with the components of the train job that made the model.

        Components keep their names and parameters, unless this conf changes them. Those that fitted apply the stored
        model of their name; what only served validation during training is left out; Evaluation stays. Readers read
        the tables that this conf gives, and none of the training.

        :param stored: the train job's :meth:`to_dict`, as it is kept with the model
        :raises ConfigError: when this is not a predict job, or the model is of other parties
        """
        trained = Job.from_dict(stored)
        conf, dsl = prediction.complete(self, trained)
        return Job._build(conf, dsl, Source(conf), [], self._said)

    def _again(self, conf: dict[str, Any], source: Source) -> Job:
        return Job._build(conf, self._dsl(), source, [], self._said)
