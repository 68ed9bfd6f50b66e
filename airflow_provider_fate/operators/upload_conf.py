"""FATE's upload conf as the upload operator's arguments."""

from __future__ import annotations

from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import did_you_mean
from airflow_provider_fate.operators._job import as_object

#: FATE's key -> the operator's argument
_SAME = {
    "file": "source",
    "head": "head",
    "have_head": "head",
    "partition": "partition",
    "partitions": "partition",
    "id_delimiter": "id_delimiter",
    "delimiter": "id_delimiter",
    "namespace": "namespace",
    "table_name": "name",
    "name": "name",
    "drop": "drop",
    "destroy": "drop",
}
#: keys that mean nothing here, and why
_WITHOUT_MEANING = {
    "storage_engine": "the storage connection says where tables are",
    "storage_address": "the storage connection says where tables are",
    "engine": "the storage connection says where tables are",
    "work_mode": "Airflow runs the upload",
    "backend": "Airflow runs the upload",
    "use_local_data": "the file is read where the task runs",
    "block_size": "the file is streamed",
    "module": "Airflow runs the upload",
    "role": "the storage connection says whose the table is",
    "party_id": "the storage connection says whose the table is",
    "schema": "the columns are read from the file",
    "with_meta": "meta is used where it is given",
    "description": "Airflow's task has one",
}
_REFUSED = {
    "extend_sid": "ids are kept as they are; make them unique before the upload",
    "auto_increasing_sid": "ids are kept as they are; add an id column before the upload",
}
_META = {"delimiter", "delimitor", "with_label", "label_name", "label_type", "data_type", "input_format", "dtype",
         "id_name", "sample_id_name", "with_match_id", "tag_with_value", "tag_value_delimiter",
         "exclusive_data_type", "missing_fill", "header", "na_values"}  # fmt: skip
#: of files for each 500,000 rows
_MOST = 1024
#: what text holds, by FATE's names
INPUT_FORMATS = ("dense", "tag", "sparse", "svmlight")
_KNOWN = {*_SAME, *_WITHOUT_MEANING, *_REFUSED, "meta"}


def from_upload_conf(conf: dict[str, Any] | str | None) -> tuple[dict[str, Any], list[str]]:
    """Arguments by name, and lines for the log about keys that mean nothing here.

    :param conf: FATE's conf, its JSON text, or the name of a file with it
    :raises ConfigError: not JSON, an unknown key, or one that asks for what is not done here
    """
    conf = as_object(conf, "upload_conf")
    if conf is None:
        return {}, []
    arguments: dict[str, Any] = {}
    notices = []
    for key, value in conf.items():
        path = f"upload_conf.{key}"
        if key in _SAME:
            arguments[_SAME[key]] = value
        elif key in _WITHOUT_MEANING:
            notices.append(f"{path} = {value!r} means nothing here: {_WITHOUT_MEANING[key]}")
        elif key in _REFUSED:
            if value:
                raise ConfigError(path, _REFUSED[key])
        elif key == "meta":
            arguments.update(_from_meta(value))
        else:
            raise ConfigError(path, f"is not a key of an upload conf; {did_you_mean(key, sorted(_KNOWN))}")
    return arguments, notices


def _from_meta(meta: Any) -> dict[str, Any]:
    if not isinstance(meta, dict):
        raise ConfigError("upload_conf.meta", f"is a {type(meta).__name__}; expected an object")
    arguments: dict[str, Any] = {}
    for key in meta:
        if key not in _META:
            hint = did_you_mean(key, sorted(_META))
            raise ConfigError(f"upload_conf.meta.{key}", f"is not a key of FATE's table meta; {hint}")
    lined = False
    if (given := meta.get("input_format")) is not None:
        if given not in INPUT_FORMATS:
            path = "upload_conf.meta.input_format"
            raise ConfigError(path, f"{given!r} is not one of {', '.join(INPUT_FORMATS)}")
        arguments["input_format"] = given
        lined = given != "dense"
    if meta.get("with_match_id"):
        raise ConfigError("upload_conf.meta.with_match_id", "a second id is not read here; expected false")
    if not lined and (delimiter := meta.get("delimiter", meta.get("delimitor"))):
        arguments["id_delimiter"] = delimiter
    if name := meta.get("id_name", meta.get("sample_id_name")):
        arguments["id_column"] = name
    if not lined and meta.get("with_label", "label_name" in meta):
        arguments["label_column"] = meta.get("label_name", "y")
    return arguments


def boolean(path: str, value: Any) -> bool:
    """FATE's 0 and 1, and what a template gives as text."""
    if isinstance(value, str) and value.strip().lower() in ("true", "1", "yes", "false", "0", "no", ""):
        return value.strip().lower() in ("true", "1", "yes")
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    raise ConfigError(path, f"{value!r} is not a yes or no; expected true or false")


def count(path: str, value: Any) -> int:
    """A whole number from 1 to 1024."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, float) and value != number or not 1 <= number <= _MOST:
        raise ConfigError(path, f"{value!r} is not a whole number from 1 to {_MOST}")
    return number
