"""A FATE test suite file, read: what is to be uploaded, and the order of its jobs.

The form is that of FATE's ``fate_test suite`` (FATE 1.4 to 1.11, ``doc/api/fate_test.md``): ``data`` lists uploads,
``tasks`` names jobs with their conf, DSL and what they need of other jobs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import check_name, did_you_mean, short
from airflow_provider_fate.job.plain import as_dict, merged, only_keys, plain
from airflow_provider_fate.operators.upload_conf import boolean, count, from_upload_conf

_TOP = ("data", "tasks", "pipeline_tasks")
_TASK = ("conf", "dsl", "deps", "model_deps", "data_deps", "cache_deps", "model_loader_deps", "type", "substitutes")
#: of FATE 1.4 and 1.5; accepted wherever they stand
_IDLE = {"work_mode": "the connections decide", "backend": "jobs run on Spark"}
#: keys of ``data`` that say where a table goes, and not how it is read
_PLACE = ("role", "count", "file", "name", "address")
_ROLE = re.compile(r"(guest|host)(?:_([0-9]{1,4}))?")
_LATER_DEPS = {"cache_deps": "the cache of an intersection", "model_loader_deps": "the module ModelLoader"}


@dataclass(frozen=True)
class Upload:
    """One table of ``data``.

    :param at: where it stands, for errors
    :param roles: whose it is, as (role, index); every guest's and host's where the suite does not say
    :param source: the file
    :param conf: FATE's upload conf, without ``file``
    :param reason: why it cannot be uploaded, ``None`` otherwise
    """

    at: str
    roles: tuple[tuple[str, int], ...]
    namespace: str
    name: str
    source: str
    conf: dict[str, Any] = field(hash=False)
    reason: str | None = None


@dataclass
class Entry:
    """One job of ``tasks``.

    :param at: where it stands, for errors
    :param files: conf and DSL, as texts for messages
    :param model_of: the job whose model it applies
    :param data_of: by job, then ``(role, index)``, then Reader: the component whose output is read
    :param reason: why it cannot be run, ``None`` otherwise
    """

    name: str
    at: str
    conf: dict[str, Any]
    dsl: dict[str, Any] | None
    files: str
    model_of: str | None = None
    data_of: dict[str, dict[tuple[str, int], dict[str, str]]] = field(default_factory=dict)
    reason: str | None = None

    @property
    def needs(self) -> list[str]:
        """The jobs that come before it."""
        return list(dict.fromkeys([*([self.model_of] if self.model_of else []), *self.data_of]))


@dataclass
class SuiteFile:
    """A suite as it stands in its file.

    :param entries: in an order in which each comes after those that it needs
    :param scripts: ``pipeline_tasks``: Python scripts of FATE's client, which are not run here
    """

    path: Path
    uploads: list[Upload]
    entries: dict[str, Entry]
    scripts: list[str]
    notices: list[str]


def read_suite(path: Path, data_root: Path | None) -> SuiteFile:
    """Read a suite and the confs and DSLs that it names.

    :param data_root: below which FATE's data files are looked for; by default the folders above the suite
    :raises ConfigError: a file is missing or no JSON, or a key is wrong; names the file and the key
    """
    suite = _json(path, str(path))
    try:
        return _Reader(path, data_root).read(suite)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.path}", error.problem) from error


class _Reader:
    def __init__(self, path: Path, data_root: Path | None) -> None:
        self.path, self.data_root = path, data_root
        self.notices: list[str] = []

    def read(self, suite: dict[str, Any]) -> SuiteFile:
        others = [key for key in suite if key not in (*_TOP, *_IDLE)]
        if others and self.path.stem.endswith("benchmark"):
            raise ConfigError(
                others[0],
                "benchmark suites name Python scripts of FATE's client, which are not run here; test suites "
                "(*_testsuite.json) name confs and DSLs under tasks",
            )
        self._check_keys(suite, _TOP, "")
        data = [] if suite.get("data") is None else suite["data"]
        if not isinstance(data, list):
            raise ConfigError("data", f"expected a list of uploads, got {short(data)}")
        uploads = self._uploads(data)
        tasks = as_dict(suite.get("tasks"), "tasks")
        scripts = as_dict(suite.get("pipeline_tasks"), "pipeline_tasks")
        entries: dict[str, Entry] = {}
        for name, given in tasks.items():
            for made in self._entries(name, given, f"tasks.{name}").values():
                if made.name in entries:
                    raise ConfigError(made.at, f"has the name of {entries[made.name].at}, {made.name}; rename one")
                entries[made.name] = made
        if not entries and not uploads:
            hint = "; pipeline_tasks are Python scripts of FATE's client, which are not run here" if scripts else ""
            raise ConfigError("tasks", f"is missing or empty{hint}")
        for entry in entries.values():
            for need in entry.needs:
                if need not in entries:
                    raise ConfigError(entry.at, f"needs {short(need)}, which is no task; {did_you_mean(need, entries)}")
        return SuiteFile(self.path, uploads, self._ordered(entries), list(scripts), self.notices)

    # -- data

    def _uploads(self, data: list[Any]) -> list[Upload]:
        """What is to be uploaded. A file that is not found is the upload's reason; where none is, the suite's error."""
        uploads = [self._upload(entry, f"data[{place}]") for place, entry in enumerate(data)]
        there = {upload.at: exists(Path(upload.source)) for upload in uploads if upload.source}
        if self.data_root is not None and not any(there.values()):
            return uploads  # they may be where the workers are
        where = "below a folder above it; say with data_root where it is"
        if self.data_root is not None:
            where = f"below data_root, {self.data_root}"
        for place, upload in enumerate(uploads):
            if there.get(upload.at, True):
                continue
            problem = f"{short(data[place]['file'])} is neither beside the suite nor {where}"
            if not any(there.values()):
                raise ConfigError(f"{upload.at}.file", problem)
            reason = upload.reason or f"{self.path.name}: {upload.at}.file: {problem}"
            uploads[place] = replace(upload, reason=reason)
        return uploads

    def _upload(self, entry: Any, at: str) -> Upload:
        given = as_dict(entry, at)
        self._idle(given, at)
        conf = {key: value for key, value in given.items() if key not in (*_PLACE, *_IDLE)}
        name = given.get("table_name", given.get("name"))
        for key, value in (("table_name", name), ("namespace", given.get("namespace"))):
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{at}.{key}", f"expected text, got {short(value)}")
        reason, source = None, ""
        if str(given.get("engine", given.get("storage_engine", ""))).upper() == "PATH":
            reason = "a table of FATE's engine PATH, a directory of images, is known and not there yet"
        else:
            file = given.get("file")
            if not isinstance(file, str) or not file:
                raise ConfigError(f"{at}.file", f"expected the name of a file, got {short(file)}")
            source = self._source(file)
            try:
                _check_upload({**conf, "table_name": name})
            except ConfigError as error:
                reason = f"{self.path.name}: {error.path.replace('upload_conf', at, 1)}: {error.problem}"
        roles = self._roles(given.get("role"), f"{at}.role")
        return Upload(at, roles, given["namespace"], str(name), source, conf, reason)

    def _roles(self, value: Any, at: str) -> tuple[tuple[str, int], ...]:
        if value is None:
            return ()
        match = _ROLE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ConfigError(at, f"{short(value)}: expected guest_0, host_0, host_1, ...")
        return ((match[1], int(match[2] or 0)),)

    def _source(self, file: str) -> str:
        """As FATE: beside the suite, or below FATE's own folder. It may be in none of them."""
        beside = self.path.parent / file
        if exists(beside):
            return str(beside.resolve())
        if self.data_root is not None:
            return str(self.data_root / file)
        return next((str(folder / file) for folder in self.path.parents if exists(folder / file)), str(beside))

    # -- tasks

    def _entries(self, name: str, value: Any, at: str) -> dict[str, Entry]:
        given = as_dict(value, at)
        self._check_keys(given, _TASK, at)
        conf, conf_file = self._part(given.get("conf"), f"{at}.conf")
        if conf is None:
            raise ConfigError(f"{at}.conf", "is missing; expected the name of a .json file")
        dsl, dsl_file = self._part(given.get("dsl"), f"{at}.dsl")
        entry = Entry(name, at, conf, dsl, ", ".join(filter(None, [conf_file, dsl_file])))
        entry.model_of = self._name(given.get("model_deps") or given.get("deps"), at)
        entry.data_of = self._data_deps(given.get("data_deps"), f"{at}.data_deps")
        for key, what in _LATER_DEPS.items():
            if given.get(key):
                entry.reason = f"{self.path.name}: {at}.{key}: {what} is known and not there yet"
        made = {name: entry}
        # FATE 1.4: the same job with other values
        for more, over in as_dict(given.get("substitutes"), f"{at}.substitutes").items():
            changed = merged(conf, as_dict(over, f"{at}.substitutes.{more}"))
            made[f"{name}.{more}"] = Entry(
                f"{name}.{more}", f"{at}.substitutes.{more}", changed, dsl, entry.files, entry.model_of, entry.data_of,
                entry.reason,
            )  # fmt: skip
        return made

    def _part(self, value: Any, at: str) -> tuple[dict[str, Any] | None, str]:
        """A conf or DSL: the name of a file beside the suite, or as it is."""
        if value is None or isinstance(value, dict):
            return value, ""
        if not isinstance(value, str):
            raise ConfigError(at, f"expected the name of a .json file, got {short(value)}")
        file = self.path.parent / value
        return _json(file, f"{at} ({file})"), Path(value).name

    def _name(self, value: Any, at: str) -> str | None:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None or value in ("", []):
            return None
        if isinstance(value, str):
            return value
        raise ConfigError(f"{at}.deps", f"expected the name of a task, got {short(value)}")

    def _data_deps(self, value: Any, at: str) -> dict[str, dict[tuple[str, int], dict[str, str]]]:
        found: dict[str, dict[tuple[str, int], dict[str, str]]] = {}
        for task, by_role in as_dict(value, at).items():
            found[task] = {}
            for role, readers in as_dict(by_role, f"{at}.{task}").items():
                (party,) = self._roles(role, f"{at}.{task}.{role}")
                for reader, component in as_dict(readers, f"{at}.{task}.{role}").items():
                    if not isinstance(component, str):
                        raise ConfigError(f"{at}.{task}.{role}.{reader}", "expected the name of a component")
                    found[task].setdefault(party, {})[reader] = component
        return found

    def _ordered(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        """As the file has them, but each after those that it needs."""
        order: dict[str, Entry] = {}
        while left := [entry for name, entry in entries.items() if name not in order]:
            ready = next((entry for entry in left if all(need in order for need in entry.needs)), None)
            if ready is None:
                raise ConfigError(left[0].at, f"waits in a circle: {', '.join(entry.name for entry in left)}")
            order[ready.name] = ready
        return order

    # -- what is common

    def _check_keys(self, given: dict[str, Any], known: tuple[str, ...], at: str) -> None:
        self._idle(given, at)
        only_keys({key: value for key, value in given.items() if key not in _IDLE}, known, at)

    def _idle(self, given: dict[str, Any], at: str) -> None:
        for key, why in _IDLE.items():
            notice = f"{self.path.name}: {at.partition('[')[0]}: {key} has no effect here: {why}"
            if key in given and notice not in self.notices:
                self.notices.append(notice)


def exists(path: Path) -> bool:
    """Whether a file or folder is there; no path that cannot be one is."""
    try:
        return path.exists()
    except (OSError, ValueError):  # longer than a path may be, or with a null byte
        return False


def _check_upload(conf: dict[str, Any]) -> None:
    """See that an upload conf is right as far as can be said before its file is read.

    :raises ConfigError: as the upload would
    """
    arguments, _ = from_upload_conf(conf)
    for key in ("namespace", "table_name"):
        check_name(conf[key], f"upload_conf.{key}")
    for key in ("head", "drop"):
        boolean(f"upload_conf.{key}", arguments.get(key, True))
    count("upload_conf.partition", arguments.get("partition", 1))


def _json(path: Path, where: str) -> dict[str, Any]:
    """An object from a JSON file.

    :param where: for the error
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(where, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(where, f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(where, f"holds a JSON {type(value).__name__}; expected an object")
    return plain(value, where)
