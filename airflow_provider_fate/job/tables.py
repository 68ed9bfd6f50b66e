"""Tables given by role, put where the Readers look for them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf_v1 import DATA, reader_of
from airflow_provider_fate.job.names import check_component, check_name, did_you_mean, short
from airflow_provider_fate.job.party import ROLES, Party
from airflow_provider_fate.job.plain import as_dict, join

_TABLE = {"namespace", "name"}


def place(data: Any, parties: Collection[Party], readers: list[str]) -> Iterator[tuple[str, int, str, dict[str, Any]]]:
    """What ``Job.with_data`` was given, as role, index, component and parameters.

    :param readers: the job's Readers; empty where the DSL comes later
    """
    for role, value in as_dict(data, "data").items():
        path = join("data", role)
        if role not in ROLES or role == "arbiter":
            raise ConfigError(path, f"is not a role that brings data; {did_you_mean(role, ROLES[:2])}")
        count = sum(party.role == role for party in parties)
        if not count:
            raise ConfigError(path, f"the job has no {role}")
        if isinstance(value, dict) and not set(value) & _TABLE:
            for reader, tables in value.items():
                for index, table in enumerate(_one_each(tables, count, role, join(path, reader))):
                    yield (role, index, *placed(table, reader, join(path, reader), readers))
        else:
            for index, item in enumerate(_one_each(value, count, role, path)):
                at = f"{path}[{index}]" if isinstance(value, list) else path
                if isinstance(item, dict) and item and not set(item) & _TABLE:
                    for reader, table in item.items():
                        yield (role, index, *placed(table, reader, join(at, reader), readers))
                else:
                    yield (role, index, *placed(item, None, at, readers))


def _one_each(value: Any, count: int, role: str, path: str) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    if len(items) != count:
        raise ConfigError(path, f"expected a table for each {role}, that is a list of {count}, got {len(items)}")
    return items


def placed(table: Any, reader: str | None, path: str, readers: list[str]) -> tuple[str, dict[str, Any]]:
    """The component that reads ``table``, and its parameters.

    :param reader: what the table was given for, ``None`` for the only Reader
    """
    if not isinstance(table, dict) or set(table) != _TABLE:
        raise ConfigError(path, f"expected a table with namespace and name, got {short(table)}")
    named = {"table": {key: check_name(table[key], join(path, key)) for key in sorted(_TABLE)}}
    if not readers:
        # A predict job that does not know its components yet: as args.data in FATE's version 1.
        if reader is None or reader in DATA:
            return "args", {"data": {reader or "data": named["table"]}}
        return check_component(reader, path), named
    if reader is None:
        if len(readers) > 1:
            raise ConfigError(path, f"the job has several Readers; give a table for each: {', '.join(readers)}")
        return readers[0], named
    name = reader if reader in readers else reader_of(reader)
    if name not in readers:
        raise ConfigError(path, f"the job has no Reader of this name; {did_you_mean(reader, readers)}")
    return name, named
