"""The parts of a v2 conf, each checked and brought into one form."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from difflib import get_close_matches
from functools import partial
from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.dsl import ComponentSpec
from airflow_provider_fate.job.job_parameters import SHARED, JobParameters
from airflow_provider_fate.job.names import MAX_LENGTH, check_component, did_you_mean, short, text_of
from airflow_provider_fate.job.parameters.base import Locate, validate
from airflow_provider_fate.job.party import ROLES, Party
from airflow_provider_fate.job.plain import as_dict, flatten, join, merged, only_keys
from airflow_provider_fate.job.sources import ALL, Source, render
from airflow_provider_fate.job.spark_run import SparkRun

Parameters = dict[str, dict[str, Any]]
#: how alike two names are that differ by a slip; hetero_linr_0 and hetero_lr_0 are less so (difflib's ratio)
_SLIP = 0.92


def parties(value: Any) -> tuple[Party, ...]:
    """The parties under ``role``: guest, hosts, arbiter."""
    role = as_dict(value, "role")
    only_keys(role, ROLES, "role", {"local": "uploads are tasks of their own here, so a job has no local role"})
    found: list[Party] = []
    for name in ROLES:
        ids = role.get(name)
        if ids is None:
            continue
        path = f"role.{name}"
        if not isinstance(ids, list):
            raise ConfigError(path, f"expected a list of party ids, got {short(ids)}")
        if name != "host" and len(ids) > 1:
            raise ConfigError(path, f"expected one {name}, got {len(ids)}")
        for i, item in enumerate(ids):
            party = _party(name, item, f"{path}[{i}]")
            if party in found:
                raise ConfigError(f"{path}[{i}]", f"{party.party_id} is given twice")
            found.append(party)
    if not any(party.role == "guest" for party in found):
        raise ConfigError("role.guest", "is missing; a job needs a guest")
    return tuple(found)


def _party(role: str, party_id: Any, path: str) -> Party:
    text = text_of(party_id, path)
    try:
        return Party(role, text)
    except ConfigError as error:
        raise ConfigError(path, error.problem) from None


def initiator(value: Any, known: Collection[Party]) -> Party:
    """The party under ``initiator``, one of those under ``role``."""
    given = as_dict(value, "initiator")
    only_keys(given, ("role", "party_id"), "initiator")
    for key in ("role", "party_id"):
        if key not in given:
            raise ConfigError(f"initiator.{key}", "is missing")
    if given["role"] not in ROLES:
        raise ConfigError(
            "initiator.role", f"{short(given['role'])} is not a role; {did_you_mean(given['role'], ROLES)}"
        )
    party = _party(given["role"], given["party_id"], "initiator.party_id")
    if party not in known:
        raise ConfigError("initiator", f"{party} is not among the parties under role: {', '.join(map(str, known))}")
    return party


def by_role(known: Collection[Party], value: Callable[[Party], Any]) -> dict[str, list[Any]]:
    """A value of each party, in lists by role."""
    found: dict[str, list[Any]] = {}
    for party in known:
        found.setdefault(party.role, []).append(value(party))
    return found


def indexed(known: Collection[Party], values: dict[Party, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Dicts of parties as a v2 conf has them, by role and index; empty ones are left out."""
    found: dict[str, dict[str, Any]] = {}
    for role, blocks in by_role(known, lambda party: values.get(party)).items():
        kept = {str(i): block for i, block in enumerate(blocks) if block}
        if kept:
            found[role] = kept
    return found


def model_id(known: Collection[Party]) -> str:
    """FATE's id of a model: ``arbiter-10000#guest-9999#host-10000_10001#model``."""
    ids = by_role(known, lambda party: party.party_id)
    text = "#".join([*(f"{role}-{'_'.join(ids[role])}" for role in sorted(ids)), "model"])
    if len(text) <= MAX_LENGTH:
        return text
    hosts = f"{len(ids['host'])}.{sha256(text.encode()).hexdigest()[:16]}"
    return "#".join(
        [f"{role}-{'_'.join(ids[role])}" for role in sorted(ids) if role != "host"] + [f"host-{hosts}", "model"]
    )


def _blocks(
    value: Any, path: str, known: Collection[Party], components: Collection[str], notices: list[str]
) -> list[tuple[Party, str, Any]]:
    """What stands under ``role`` of a section: party, key and content; an index group gives one for each party.

    :param components: names that may stand in place of an index, as in FATE's own toy example; FATE passes over them
    """
    found: list[tuple[Party, str, Any]] = []
    ids = by_role(known, lambda party: party)
    for role, groups in as_dict(value, path).items():
        at = join(path, role)
        if role not in ROLES:
            raise ConfigError(at, f"unknown role; {did_you_mean(role, ROLES)}")
        if role not in ids:
            raise ConfigError(at, f"there is no {role} under role")
        for key, content in as_dict(groups, at).items():
            where = join(at, key)
            if key in components:
                notices.append(
                    f"{where} has no effect, as in FATE: a {role}'s own stand under its index, such as 0, or all"
                )
                continue
            for index in map(str, range(len(ids[role]))) if key == ALL else key.split("|"):
                if not (index.isascii() and index.isdigit() and len(index) <= 6) or int(index) >= len(ids[role]):
                    raise ConfigError(
                        where,
                        f"{short(index)} is not the index of a {role}; expected 0"
                        + (f" to {len(ids[role]) - 1}, several such as 0|1" if len(ids[role]) > 1 else "")
                        + f", or {ALL}",
                    )
                found.append((ids[role][int(index)], key, content))
    return found


def job_parameters(
    value: Any, known: Collection[Party], source: Source, notices: list[str]
) -> tuple[JobParameters, dict[Party, SparkRun], dict[str, Any]]:
    """What concerns the whole job, each party's ``spark_run``, and the section normalised."""
    section = as_dict(value, "job_parameters")
    only_keys(
        section,
        ("common", "role"),
        "job_parameters",
        dict.fromkeys(JobParameters.model_fields, "it belongs under common"),
    )
    common = as_dict(section.get("common"), "job_parameters.common")
    shared, said = validate(JobParameters, common, source.job_parameter)
    notices += said
    base = SparkRun.parse(common.get("spark_run"), source.job_parameter(("spark_run",)))
    runs = dict.fromkeys(known, base)
    own: dict[Party, dict[str, Any]] = {}
    for party, group, content in _blocks(section.get("role"), "job_parameters.role", known, (), notices):
        path = f"job_parameters.role.{party.role}.{group}"
        given = as_dict(content, path)
        for key in SHARED:
            if key in given:
                raise ConfigError(
                    join(path, key), "must be the same for all parties; it belongs under job_parameters.common"
                )
        # The id only fills what a predict job needs; the rest of the common parameters was checked above.
        filled = {"job_type": shared.job_type, "model_id": shared.model_id}
        _, said = validate(JobParameters, {**filled, **given}, partial(render, path))
        notices += said
        own[party] = {**own.get(party, {}), **given}
        if "spark_run" in given:
            runs[party] = SparkRun.parse(given["spark_run"], join(path, "spark_run")).over(runs[party])
            own[party]["spark_run"] = runs[party].to_dict()
    normalised = {**common, **({"spark_run": base.to_dict()} if "spark_run" in common else {})}
    return shared, runs, {"common": normalised, "role": indexed(known, own)}


def kept(common: dict[str, Any]) -> dict[str, Any]:
    """The job parameters that concern the job itself."""
    return {key: value for key, value in common.items() if key in (*SHARED, "work_mode", "backend")}


def components_dict(value: Any, path: str, known: Collection[str] | None) -> Parameters:
    """Parameters by component.

    :param known: the DSL's components, ``None`` where the DSL comes later
    """
    found = as_dict(value, path)
    for name, given in found.items():
        at = join(path, name)
        if known is not None and name not in known:
            raise ConfigError(at, f"the DSL has no such component; {did_you_mean(name, known)}")
        check_component(name, at)
        if not isinstance(given, dict):
            raise ConfigError(at, f"expected a dict of parameters, got {short(given)}")
    return found


def _those_of(value: Any, path: str, components: Collection[str] | None, notices: list[str]) -> Parameters:
    """The parameters whose components are there, ``None`` for all.

    :raises ConfigError: a name that must be a slip: it is nearly that of a component that has no parameters here
    """
    given = as_dict(value, path)
    if components is None:
        return components_dict(given, path, None)
    for name in given:
        if name in components:
            continue
        number = name.rpartition("_")[2]  # evaluation_1 is no slip for evaluation_0
        meant = [one for one in components if one not in given and one.rpartition("_")[2] == number]
        if get_close_matches(name, meant, n=1, cutoff=_SLIP):
            components_dict({name: given[name]}, path, components)
        notice = f"{join(path, name)} has no effect: the DSL has no such component; {did_you_mean(name, components)}"
        if notice not in notices:
            notices.append(notice)
    return components_dict({name: one for name, one in given.items() if name in components}, path, components)


def layers(
    value: Any, known: Collection[Party], components: Collection[str] | None, source: Source, notices: list[str]
) -> tuple[Parameters, dict[Party, Parameters]]:
    """``component_parameters``: what is common, and what single parties lay over it.

    One conf often serves several DSLs, so parameters of a component that this one lacks have no effect, as in FATE.

    :param notices: names them
    """
    root = "component_parameters"
    section = as_dict(value, root)
    only_keys(section, ("common", "role"), root, dict.fromkeys(components or (), "it belongs under common or role"))
    common = _those_of(section.get("common"), source.common(), components, notices)
    own: dict[Party, Parameters] = {}
    single: dict[Party, Parameters] = {}
    for party, key, content in _blocks(section.get("role"), f"{root}.role", known, components or (), notices):
        path = source.block(party.role, key)
        given = _those_of(content, path, components, notices)
        # what stands under an index lies over what all have
        before = flatten(single.get(party, {}), "")
        for at, leaf in flatten(given, "").items():
            if at in before and before[at] != leaf:
                raise ConfigError(join(path, at), f"{party} has another value already, {short(before[at])}")
        own[party] = merged(own.get(party, {}), given)
        if key != ALL:
            single[party] = merged(single.get(party, {}), given)
    return common, own


def check_roles(components: dict[str, ComponentSpec], known: Collection[Party]) -> None:
    """See that the job has the parties that its modules need."""
    hosts = sum(party.role == "host" for party in known)
    present = {party.role for party in known}
    for name, component in components.items():
        spec = component.spec
        needs = spec.needs & component.roles
        for role in ROLES:
            if role in needs and role not in present:
                raise ConfigError(f"role.{role}", f"is missing; {name} ({spec.name}) needs one")
        if spec.most_hosts is not None and hosts > spec.most_hosts:
            raise ConfigError("role.host", f"{name} ({spec.name}) takes at most {spec.most_hosts} host, got {hosts}")


def parameters(
    components: dict[str, ComponentSpec],
    known: tuple[Party, ...],
    common: Parameters,
    own: dict[Party, Parameters],
    source: Source,
    notices: list[str],
) -> dict[str, dict[Party, BaseModel]]:
    """Every component's parameters as each party has them."""
    found: dict[str, dict[Party, BaseModel]] = {}
    for name, component in components.items():
        checked: dict[str, BaseModel] = {}
        found[name] = {}
        for role, members in by_role(known, lambda party: party).items():
            for index, party in enumerate(members):
                given = merged(common.get(name, {}), own.get(party, {}).get(name, {}))
                locate = partial(source.parameter, role, index, name)
                key = json.dumps(given, sort_keys=True)
                if key not in checked:
                    checked[key], said = validate(component.spec.parameters, given, locate)
                    notices += said
                found[name][party] = checked[key]
                if role in component.spec.roles:  # what others are given has no effect
                    _check_shared(component, found[name], party, locate)
    return found


def _check_shared(component: ComponentSpec, found: dict[Party, BaseModel], party: Party, locate: Locate) -> None:
    own = getattr(component.spec.parameters, "own", frozenset())
    first = next(iter(found))
    if own is None or found[first] is found[party]:
        return
    for key in component.spec.parameters.model_fields:
        mine, others = getattr(found[party], key), getattr(found[first], key)
        if key not in own and mine != others:
            raise ConfigError(
                locate((key,)),
                f"must be the same for all parties; {party} has {short(mine)}, {first} has {short(others)}",
            )
