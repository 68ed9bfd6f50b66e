"""FATE's v1 conf and DSL, turned into version 2."""

from __future__ import annotations

from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job import dsl as dsl_
from airflow_provider_fate.job.names import check_component, did_you_mean, short
from airflow_provider_fate.job.party import ROLES
from airflow_provider_fate.job.plain import as_dict, join, only_keys

KEYS = ("dsl_version", "initiator", "job_parameters", "role", "role_parameters", "algorithm_parameters")
_V2 = "it is of version 2; set dsl_version to 2, or use role_parameters and algorithm_parameters"
HINTS = {"component_parameters": _V2, "provider": _V2}
#: what FATE's own files call the data; any other name will do
DATA = ("train_data", "eval_data", "validate_data", "test_data", "data")


def reader_of(data: str) -> str:
    """The Reader component that stands for ``args.<data>``."""
    return f"reader_{data}_0"


def data_of(reader: str) -> str | None:
    """The ``args.<data>`` that a Reader component may stand for."""
    name = reader.removeprefix("reader_").removesuffix("_0")
    return name if name and reader_of(name) == reader else None


def convert(
    conf: dict[str, Any], dsl: dict[str, Any] | None, notices: list[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A conf and DSL of version 1 as version 2.

    ``args.data`` becomes Reader components; lists with one value a party become parameters of each party.

    :param conf: plain JSON, whose keys and parties are known to be right
    :raises ConfigError: with the path in the v1 conf
    """
    job_parameters = as_dict(conf.get("job_parameters"), "job_parameters")
    for key in ("common", "role"):
        if key in job_parameters:
            raise ConfigError(join("job_parameters", key), "is of version 2; version 1 has the parameters here, flat")
    parties = _party_counts(conf.get("role"))
    tables, by_role = _role_parameters(conf.get("role_parameters"), parties)
    used = set()
    if dsl is not None:
        dsl, used = _with_readers(dsl, {data for _, _, data, _ in tables})
        _place_tables(tables, by_role, used, notices)
    else:
        for role, index, data, table in tables:
            args = by_role.setdefault(role, {}).setdefault(index, {}).setdefault("args", {"data": {}})
            args["data"][data] = table
    converted = {
        "dsl_version": 2,
        "initiator": conf.get("initiator"),
        "role": conf.get("role"),
        "job_parameters": {"common": job_parameters},
        "component_parameters": {
            "common": as_dict(conf.get("algorithm_parameters"), "algorithm_parameters"),
            "role": by_role,
        },
    }
    return converted, dsl


def _party_counts(role: Any) -> dict[str, int]:
    return {name: len(ids) for name, ids in as_dict(role, "role").items() if isinstance(ids, list)}


def _role_parameters(
    value: Any, parties: dict[str, int]
) -> tuple[list[tuple[str, str, str, Any]], dict[str, dict[str, Any]]]:
    """Tables as (role, index, data, table), and parameters by role, index and component."""
    tables: list[tuple[str, str, str, Any]] = []
    by_role: dict[str, dict[str, Any]] = {}
    for role, components in as_dict(value, "role_parameters").items():
        path = join("role_parameters", role)
        if role not in ROLES:
            raise ConfigError(path, f"unknown role; {did_you_mean(role, ROLES)}")
        if role not in parties:
            raise ConfigError(path, f"there is no {role} in role")
        for name, parameters in as_dict(components, path).items():
            at = join(path, name)
            if name == "args":
                tables += _tables(parameters, at, role, parties[role])
                continue
            for i in range(parties[role]):
                mine = _of_party(as_dict(parameters, at), i, parties[role], role, at)
                by_role.setdefault(role, {}).setdefault(str(i), {})[name] = mine
    return tables, by_role


def _of_party(parameters: dict[str, Any], index: int, count: int, role: str, path: str) -> dict[str, Any]:
    mine: dict[str, Any] = {}
    for key, value in parameters.items():
        at = join(path, key)
        mine[key] = _of_party(value, index, count, role, at) if isinstance(value, dict) else None
        if not isinstance(value, dict):
            mine[key] = _one_each(value, count, role, at)[index]
    return mine


def _one_each(value: Any, count: int, role: str, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(path, f"expected a list with one value for each {role}, got {short(value)}")
    if len(value) != count:
        raise ConfigError(path, f"expected one value for each {role}, that is {count}, got {len(value)}")
    return value


def _tables(value: Any, path: str, role: str, count: int) -> list[tuple[str, str, str, Any]]:
    args = as_dict(value, path)
    only_keys(args, ("data",), path)
    data = as_dict(args.get("data"), join(path, "data"))
    for name in data:
        check_component(name, join(path, f"data.{name}"))
    return [
        (role, str(i), name, table)
        for name, given in data.items()
        for i, table in enumerate(_one_each(given, count, role, join(path, f"data.{name}")))
    ]


def _place_tables(
    tables: list[tuple[str, str, str, Any]], by_role: dict[str, dict[str, Any]], used: set[str], notices: list[str]
) -> None:
    for role, index, data, table in tables:
        if data in used:
            by_role.setdefault(role, {}).setdefault(index, {})[reader_of(data)] = {"table": table}
        else:
            note = f"role_parameters.{role}.args.data.{data} has no effect: no component reads args.{data}"
            if note not in notices:
                notices.append(note)


def _with_readers(dsl: dict[str, Any], given: set[str]) -> tuple[dict[str, Any], set[str]]:
    """The DSL with a Reader for each ``args.<data>`` that it reads, and which those are.

    :param given: the names under ``args.data`` of the conf
    """
    known = {*DATA, *given}
    components = dsl_.components_of(dsl, [])
    used: set[str] = set()
    rewritten: dict[str, Any] = {}
    for name, entry in components.items():
        rewritten[name] = entry
        inputs = entry.get("input")
        data = inputs.get("data") if isinstance(inputs, dict) else None
        if not isinstance(data, dict):
            continue
        path = join(dsl_.ROOT, f"{name}.input.data")
        changed = {
            key: [_rewritten(ref, f"{join(path, key)}[{i}]", used, known) for i, ref in enumerate(refs)]
            if isinstance(refs, list)
            else refs
            for key, refs in data.items()
        }
        rewritten[name] = {**entry, "input": {**inputs, "data": changed}}
    readers: dict[str, Any] = {}
    for data in sorted(used):
        if reader_of(data) in components:
            raise ConfigError(join(dsl_.ROOT, reader_of(data)), f"has the name of the Reader that args.{data} becomes")
        readers[reader_of(data)] = {"module": "Reader", "output": {"data": ["data"]}}
    return {**dsl, "components": {**readers, **rewritten}}, used


def _rewritten(ref: Any, path: str, used: set[str], known: set[str]) -> Any:
    if not isinstance(ref, str) or not ref.startswith("args."):
        return ref
    data = ref.removeprefix("args.")
    if data not in known:
        raise ConfigError(path, f"the conf has no {short(ref)}; {did_you_mean(data, sorted(known))}")
    used.add(data)
    return f"{reader_of(data)}.data"
