"""What an initiator sends to one party to have it take part in a job. What arrives is hostile until checked."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.job_parameters import SHARED, JobParameters
from airflow_provider_fate.job.names import check_job_id, check_name, did_you_mean, short
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.job.plain import as_dict, join, merged, only_keys, plain

FORMAT = 1
MAX_BYTES = 256 * 1024
#: what takes more than linear time to check, or names to compare
MAX_COMPONENTS = 200
MAX_PARTIES = 256
MAX_ITEMS = 10_000
#: XCom key of the answer that the invited party's tasks leave for the initiator
ANSWER = "fate_answer"
#: the version of a model that a prediction takes where none is named
DEPLOYED = "deployed"
KINDS = ("train", "predict")

#: a job id is the id of a DAG run as well, in which Airflow allows no # and no @
_RUN_ID = re.compile(r"[A-Za-z0-9_.~+-]+")
_INDEX = re.compile(r"[0-9]{1,3}")
_TEMPLATES = ("{{", "{%", "{#")
_KEYS = ("format", "job_id", "initiator", "party", "kind", "job", "model")
_CONF = ("dsl_version", "initiator", "role", "job_parameters", "component_parameters")
_V1 = "it is of version 1; in an invitation a conf is of version 2"


@dataclass(frozen=True)
class Invitation:
    """One party's part of one job. Made by :meth:`for_party` or :meth:`parse`.

    :param job_id: the same at every party, and the id of the DAG run at each
    :param initiator: who asks
    :param party: who is asked
    :param job: the job as far as it concerns the party
    """

    job_id: str
    initiator: Party
    party: Party
    job: Job

    @property
    def kind(self) -> str:
        """``train`` or ``predict``."""
        return self.job.job_type

    @property
    def model_id(self) -> str:
        """The model that is made or applied."""
        return self.job.model_id

    @property
    def model_version(self) -> str:
        """The version that a prediction applies, or ``deployed``."""
        return self.job.model_version or DEPLOYED

    @property
    def digest(self) -> str:
        """Of all that the parties must have the same: equal for all parties of one job, and for no other job."""
        content = [self.job_id, str(self.initiator), self.job.common()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    # -- the initiator's side

    @classmethod
    def for_party(cls, job: Job, job_id: str, initiator: Party, party: Party) -> Invitation:
        """What one party is told of a job: all that concerns all, and of what concerns single parties only its own.

        How Spark runs is left out as well, as that is for each party to say.

        :param job: as the initiator has it; a predict job as FatePredictOperator takes it, or with its components
        :param job_id: the same at every party
        :param initiator: the sender
        :param party: the receiver
        :raises ConfigError: one of them is not in the job or the job is not the initiator's, the id cannot be that of
            a run, or the whole is too large
        """
        job.check_party(party)
        alone = Job.parse(*_of_one(job, party))
        for name, component in job.components.items():
            takes_part = party.role in component.roles
            if takes_part and alone.parameters(name, party) != job.parameters(name, party):
                raise ConfigError(f"dsl.components.{name}", f"the parameters of {party} depend on other parties' own")
        if alone.common() != job.common():
            raise ConfigError("component_parameters.role", f"{party} would have another job without the others' own")
        invitation = cls(_job_id(job_id), initiator, party, alone)
        _check_initiator(initiator, party, alone)
        return cls.parse(invitation.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The conf of the DAG run at the party, as JSON."""
        conf, dsl = _of_one(self.job, self.party)
        model = {"model_id": self.model_id, "model_version": self.model_version}
        return {
            "format": FORMAT,
            "job_id": self.job_id,
            "initiator": str(self.initiator),
            "party": str(self.party),
            "kind": self.kind,
            "job": {"conf": conf, **({} if dsl is None else {"dsl": dsl})},
            **({"model": model} if self.kind == "predict" else {}),
        }

    # -- the invited side

    @classmethod
    def parse(cls, value: Any) -> Invitation:
        """Check what arrived.

        :param value: a dict, or JSON text
        :raises ConfigError: with the path of the first thing that is wrong: an unknown key, a name that could be a
            path, a number out of range, a template, settings or parameters that are not the initiator's to give, a
            job that is none, or more than 256 KiB
        """
        given = as_dict(plain(_read(value), "invitation"), "invitation")
        if len(json.dumps(given).encode()) > MAX_BYTES:
            raise ConfigError("invitation", f"is larger than {MAX_BYTES} bytes")
        _check_texts(given, "invitation")
        only_keys(given, _KEYS, "")
        for key in _KEYS[:-1]:
            if key not in given:
                raise ConfigError(key, "is missing")
        if given["format"] != FORMAT or isinstance(given["format"], bool):
            raise ConfigError("format", f"{short(given['format'])}: expected {FORMAT}")
        job_id = _job_id(given["job_id"])
        initiator, party = (_party(given[key], key) for key in ("initiator", "party"))
        if given["kind"] not in KINDS:
            raise ConfigError("kind", f"{short(given['kind'])}: expected train or predict")
        job = _job(given["job"], party)
        if job.job_type != given["kind"]:
            raise ConfigError("kind", f"is {given['kind']}; the job's own job_type is {job.job_type}")
        _check_initiator(initiator, party, job)
        _check_model(given, job)
        return cls(job_id, initiator, party, job)


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > MAX_BYTES:
        raise ConfigError("invitation", f"is larger than {MAX_BYTES} bytes")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice")
        return found

    try:
        return json.loads(value, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        hint = "; in a template, {{ dag_run.conf | tojson }} gives JSON" if value.startswith("{'") else ""
        raise ConfigError("invitation", f"is not JSON: {str(error)[:200]}{hint}") from error


def _check_texts(value: Any, path: str) -> None:
    """Refuse what Airflow would render, wherever it stands: nothing of it must ever become code here."""
    if isinstance(value, str):
        for mark in _TEMPLATES:
            if mark in value:
                raise ConfigError(path, f"{short(value)} holds {mark}, which begins a template; templates are refused")
    elif isinstance(value, dict | list):
        if len(value) > MAX_ITEMS:
            raise ConfigError(path, f"{len(value)} items; at most {MAX_ITEMS} are allowed")
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_texts(key, f"a key of {path}")
            _check_texts(inner, join(path, key) if isinstance(key, str) else f"{path}[{key}]")


def _job_id(value: Any) -> str:
    text = check_job_id(value)
    if not isinstance(value, str) or not _RUN_ID.fullmatch(text):
        raise ConfigError(
            "job_id", f"{short(value)} cannot be the id of a DAG run; expected ASCII letters, digits and _ . ~ + -"
        )
    return text


def _party(value: Any, path: str) -> Party:
    if isinstance(value, str) and len(value) <= 64:
        try:
            party = Party.parse(value)
        except ConfigError as error:
            raise ConfigError(path, error.problem) from None
        if str(party) == value:
            return party
    raise ConfigError(path, f"{short(value)} is not a party; expected such as host-10000")


def _check_initiator(initiator: Party, party: Party, job: Job) -> None:
    if job.initiator != initiator:
        raise ConfigError("initiator", f"is {initiator}; the job's own initiator is {job.initiator}")
    if party not in job.parties:
        raise ConfigError("party", f"{party} is not in the job; its parties are {', '.join(map(str, job.parties))}")
    if party == initiator:
        raise ConfigError("party", f"{party} is the initiator itself")


def _check_model(given: dict[str, Any], job: Job) -> None:
    if given["kind"] == "train":
        if given.get("model") is not None:
            raise ConfigError("model", "is for predictions; a training's model is named by its job")
        return
    model = as_dict(given.get("model"), "model")
    only_keys(model, ("model_id", "model_version"), "model")
    for key, own in (("model_id", job.model_id), ("model_version", job.model_version or DEPLOYED)):
        if key not in model:
            raise ConfigError(f"model.{key}", "is missing")
        if not isinstance(model[key], str) or check_name(model[key], f"model.{key}") != own:
            raise ConfigError(f"model.{key}", f"is {short(model[key])}; the job's own is {short(own)}")


def _job(value: Any, party: Party) -> Job:
    given = as_dict(value, "job")
    only_keys(given, ("conf", "dsl"), "job")
    conf = as_dict(given.get("conf"), "job.conf")
    only_keys(conf, _CONF, "job.conf", {"role_parameters": _V1, "algorithm_parameters": _V1})
    version = conf.get("dsl_version")
    if isinstance(version, bool) or version not in (2, "2"):
        raise ConfigError("job.conf.dsl_version", f"{short(conf.get('dsl_version'))}: expected 2")
    _check_settings(as_dict(conf.get("job_parameters"), "job.conf.job_parameters"))
    _check_sizes(conf, as_dict(given.get("dsl"), "job.dsl"))
    _check_only_ours(conf, party)
    job = Job.parse(conf, given.get("dsl"))
    own = as_dict(as_dict(conf.get("component_parameters"), "").get("role"), "").get(party.role) or {}
    if own and (party not in job.parties or list(own) != [str(_index(job, party))]):
        raise ConfigError(f"component_parameters.role.{party.role}", f"expected the index of {party}, and no other")
    return job


def _check_sizes(conf: dict[str, Any], dsl: dict[str, Any]) -> None:
    for role, ids in as_dict(conf.get("role"), "role").items():
        if isinstance(ids, list) and len(ids) > MAX_PARTIES:
            raise ConfigError(join("role", role), f"{len(ids)} parties; at most {MAX_PARTIES} are allowed")
    section = as_dict(conf.get("component_parameters"), "component_parameters")
    named = {"dsl.components": dsl.get("components"), "component_parameters.common": section.get("common")}
    for role, groups in as_dict(section.get("role"), "component_parameters.role").items():
        for key, own in groups.items() if isinstance(groups, dict) else ():
            named[join(join("component_parameters.role", role), key)] = own
    for path, components in named.items():
        if isinstance(components, dict) and len(components) > MAX_COMPONENTS:
            raise ConfigError(path, f"{len(components)} components; at most {MAX_COMPONENTS} are allowed")


def _check_settings(section: dict[str, Any]) -> None:
    path = "job.conf.job_parameters"
    if section.get("role", {}) != {}:
        raise ConfigError(f"{path}.role", "how a party runs its part is for the party to say")
    only_keys(section, ("common", "role"), path)
    for key in as_dict(section.get("common"), f"{path}.common"):
        if key in JobParameters.model_fields and key not in SHARED:
            raise ConfigError(f"{path}.common.{key}", "how a party runs its part is for the party to say")
        if key not in SHARED:
            raise ConfigError(join(f"{path}.common", key), f"unknown key; {did_you_mean(key, SHARED)}")


def _check_only_ours(conf: dict[str, Any], party: Party) -> None:
    """Of what concerns single parties, only this one's may be there."""
    section = as_dict(conf.get("component_parameters"), "component_parameters")
    for role, groups in as_dict(section.get("role"), "component_parameters.role").items():
        for key in as_dict(groups, join("component_parameters.role", role)):
            if role != party.role or not _INDEX.fullmatch(key):
                raise ConfigError(
                    join(join("component_parameters.role", role), key),
                    f"is not {party}'s alone; the others' own are not for it to see",
                )


def _index(job: Job, party: Party) -> int:
    return [one for one in job.parties if one.role == party.role].index(party)


def _of_one(job: Job, party: Party) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Conf and DSL with what single parties have of their own left out, but for one."""
    whole = job.to_dict()
    conf, dsl = whole["conf"], whole["dsl"]
    layers = conf["component_parameters"]
    first = job.parties[0]
    common = dict(layers["common"])
    for name, given in _own(layers, job, first).items():
        if name not in job.components:
            continue
        own = getattr(job.components[name].spec.parameters, "own", frozenset())
        if own is None:
            continue
        # FATE's confs say under role too what all parties must have the same
        both = merged(common.get(name, {}), given)
        if shared := {key: both[key] for key in given if key not in own}:
            common[name] = {**common.get(name, {}), **shared}
    mine = _own(layers, job, party)
    settings = conf["job_parameters"]["common"]
    return {
        "dsl_version": 2,
        "initiator": conf["initiator"],
        "role": conf["role"],
        "job_parameters": {"common": {key: settings[key] for key in SHARED if key in settings}},
        "component_parameters": {
            "common": common,
            "role": {party.role: {str(_index(job, party)): mine}} if mine else {},
        },
    }, dsl


def _own(layers: dict[str, Any], job: Job, party: Party) -> dict[str, Any]:
    return layers["role"].get(party.role, {}).get(str(_index(job, party)), {})
