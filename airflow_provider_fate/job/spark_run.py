"""``spark_run``: what a job wants of spark-submit, by spark-submit's own names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import did_you_mean, short
from airflow_provider_fate.job.plain import join, plain

_MEMORY = re.compile(r"[0-9]+([kKmMgGtTpP][bB]?|[bB])?")
#: between properties in text, as on a command line
_CONF_FLAG = re.compile(r"(?:^|\s)--conf(?:\s+|=)")
#: another property within a value; ``-Dspark.a=1`` among options of Java is none
_SWALLOWED = re.compile(r"[\s,;]spark\.[\w.-]+\s*=")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class _Flag:
    """One flag of spark-submit.

    :param meaning: for the reference
    :param kind: ``text``, ``memory``, ``count`` or ``yes``
    :param argument: argument of SparkSubmitOperator that stands for it, ``None`` where there is none
    :param conf: the Spark property that says the same
    """

    meaning: str
    kind: str = "text"
    argument: str | None = None
    conf: str | None = None


FLAGS: dict[str, _Flag] = {
    "master": _Flag("Address of the cluster manager, over that of the connection.", conf="spark.master"),
    "deploy-mode": _Flag("client or cluster.", argument="deploy_mode", conf="spark.submit.deployMode"),
    "name": _Flag("Name of the application.", argument="name", conf="spark.app.name"),
    "driver-memory": _Flag("Memory of the driver.", "memory", "driver_memory", "spark.driver.memory"),
    "driver-cores": _Flag("Cores of the driver, in cluster mode.", "count", None, "spark.driver.cores"),
    "driver-java-options": _Flag("Options of the driver's JVM.", conf="spark.driver.extraJavaOptions"),
    "driver-library-path": _Flag("Library path of the driver.", conf="spark.driver.extraLibraryPath"),
    "driver-class-path": _Flag("Class path of the driver.", "text", "driver_class_path", "spark.driver.extraClassPath"),
    "executor-memory": _Flag("Memory of an executor.", "memory", "executor_memory", "spark.executor.memory"),
    "executor-cores": _Flag("Cores of an executor.", "count", "executor_cores", "spark.executor.cores"),
    "total-executor-cores": _Flag(
        "Cores of all executors together (standalone).", "count", "total_executor_cores", "spark.cores.max"
    ),
    "num-executors": _Flag("Executors (YARN, Kubernetes).", "count", "num_executors", "spark.executor.instances"),
    "queue": _Flag("Queue of YARN.", "text", "yarn_queue", "spark.yarn.queue"),
    "principal": _Flag("Kerberos principal.", "text", "principal", "spark.kerberos.principal"),
    "keytab": _Flag("File of the Kerberos key.", "text", "keytab", "spark.kerberos.keytab"),
    "proxy-user": _Flag("User to act as.", "text", "proxy_user"),
    "jars": _Flag("Java archives to ship.", "text", "jars", "spark.jars"),
    "packages": _Flag("Maven packages to ship.", "text", "packages", "spark.jars.packages"),
    "exclude-packages": _Flag("Maven packages to leave out.", "text", "exclude_packages", "spark.jars.excludes"),
    "repositories": _Flag("Maven repositories.", "text", "repositories", "spark.jars.repositories"),
    "py-files": _Flag("Python files to ship, beside this package.", "text", "py_files", "spark.submit.pyFiles"),
    "files": _Flag("Files to ship.", "text", "files", "spark.files"),
    "archives": _Flag("Archives to ship, such as a packed environment.", "text", "archives", "spark.archives"),
    "properties-file": _Flag("File to read instead of spark-defaults.conf.", "text", "properties_file"),
    "supervise": _Flag(
        "Restart the driver when it fails (standalone, cluster mode).", "yes", None, "spark.driver.supervise"
    ),
    "verbose": _Flag("Print more.", "yes", "verbose"),
}
_OF_CONF = {flag.conf: name for name, flag in FLAGS.items() if flag.conf}
_REFUSED = {
    "class": "the application is this package's own, in Python",
    "kill": "it ends another application; stop the task in Airflow instead",
    "status": "it asks for another application's state",
    "conf-file": "use properties-file",
}


@dataclass(frozen=True)
class SparkRun:
    """What was set, normalised.

    :param flags: by spark-submit's names without dashes in front; counts are integers, yes-or-no flags booleans
    :param conf: Spark properties as text. A property that a flag stands for is in ``flags``
    """

    flags: dict[str, Any] = field(default_factory=dict)
    conf: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Any, path: str = "spark_run") -> SparkRun:
        """Read ``spark_run``.

        :param value: a dict of flags (``executor-memory``, also written ``executor_memory`` or
            ``--executor-memory``), in which ``conf`` is a dict, a list of ``k=v``, or ``k=v`` text with one a line or
            ``--conf`` before each
        :raises ConfigError: for an unknown flag, a value that does not fit, and what is set twice with two values
        """
        value = plain(value, path)
        if value is None:
            return cls()
        if not isinstance(value, dict):
            raise ConfigError(path, f"expected a dict of spark-submit's flags, got {short(value)}")
        run = cls()
        given: dict[str, str] = {}
        for key, item in value.items():
            at = join(path, key)
            name = key.removeprefix("--").replace("_", "-")
            if name == "conf":
                for prop, text, where in _properties(item, at):
                    run._set(_OF_CONF.get(prop), prop, text, where, given)
            elif name in FLAGS:
                if item is not None:
                    run._set(name, name, item, at, given)
            else:
                why = _REFUSED.get(name)
                raise ConfigError(at, f"is not allowed: {why}" if why else f"unknown flag; {_nearest_flag(name)}")
        return run

    def _set(self, flag: str | None, key: str, value: Any, path: str, given: dict[str, str]) -> None:
        target: dict[str, Any] = self.flags if flag else self.conf
        name = flag or key
        ready = _flag_value(FLAGS[flag], value, path) if flag else value
        if name in given and target[name] != ready:
            raise ConfigError(path, f"says something else than {given[name]}; keep one of them")
        target[name] = ready
        given[name] = path

    def over(self, base: SparkRun) -> SparkRun:
        """This one, and from ``base`` what it does not set."""
        return SparkRun({**base.flags, **self.flags}, {**base.conf, **self.conf})

    @property
    def master(self) -> str | None:
        """Address of the cluster manager, ``None`` for the connection's."""
        return self.flags.get("master")

    def operator_kwargs(self, without: Collection[str] = ()) -> dict[str, Any]:
        """Arguments of SparkSubmitOperator; the master is not one of them, see :attr:`master`.

        :param without: Spark properties that something else says; flags that say the same are left out
        """
        kwargs: dict[str, Any] = {}
        conf: dict[str, str] = dict(self.conf)
        for name, value in self.flags.items():
            flag = FLAGS[name]
            if flag.conf in without:
                continue
            if flag.argument:
                kwargs[flag.argument] = value
            elif name != "master" and flag.conf:
                conf[flag.conf] = _conf_text(value)
        if conf:
            kwargs["conf"] = conf
        return kwargs

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`parse` reads back."""
        return {**self.flags, **({"conf": dict(self.conf)} if self.conf else {})}


def _nearest_flag(name: str) -> str:
    if name.startswith("spark.") or "." in name:
        return "a Spark property belongs in conf"
    return did_you_mean(name, [*FLAGS, "conf"])


def _flag_value(flag: _Flag, value: Any, path: str) -> Any:
    if flag.kind == "yes":
        if isinstance(value, str) and value.lower() in ("true", "false"):
            value = value.lower() == "true"
        if not isinstance(value, bool):
            raise ConfigError(path, f"expected true or false, got {short(value)}")
        return value
    if flag.kind == "count":
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(path, f"expected a whole number of at least 1, got {short(value)}")
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or _CONTROL.search(value):
        raise ConfigError(path, f"expected one line of text, got {short(value)}")
    value = value.strip()
    if flag.kind == "memory" and not _MEMORY.fullmatch(value):
        raise ConfigError(path, f"{short(value)} is not an amount of memory; expected such as 512m or 4g")
    if flag.argument == "deploy_mode" and value not in ("client", "cluster"):
        raise ConfigError(path, f"{short(value)}: expected client or cluster")
    return value


def _properties(value: Any, path: str) -> list[tuple[str, str, str]]:
    """Name, text and path of each property of ``conf``. Values are not shown in errors: some are secrets."""
    found: list[tuple[str, str, str]] = []
    if value is None:
        return found
    if isinstance(value, dict):
        items = [(key, item, join(path, key)) for key, item in value.items()]
    elif isinstance(value, list | str):
        lines = value if isinstance(value, list) else [line for line in value.splitlines() if line.strip()]
        items = []
        for i, line in enumerate(lines):
            at = f"{path}[{i}]" if isinstance(value, list) else path
            items += [(*pair, at) for pair in _pairs(line, at)]
    else:
        raise ConfigError(path, "expected a dict, a list of k=v, or k=v text with one property a line")
    for key, item, at in items:
        name = key.strip()
        if not re.fullmatch(r"spark\.[^\s=\x00-\x1f]+", name):
            raise ConfigError(at, f"{short(name)} is not a Spark property; spark-submit ignores what is not spark.*")
        if item is None or isinstance(item, dict | list):
            raise ConfigError(at, "expected text, a number or a boolean")
        text = _conf_text(item).strip()
        if _CONTROL.search(text):
            raise ConfigError(at, "expected one line of text")
        found.append((name, text, at))
    return found


def _pairs(line: Any, path: str) -> list[tuple[str, str]]:
    """The properties in a line: one, or several with ``--conf`` before each."""
    parts = [part for part in _CONF_FLAG.split(line) if part.strip()] if isinstance(line, str) else [""]
    found = []
    for part in parts or [""]:
        key, sign, text = part.partition("=")
        if not sign:
            raise ConfigError(path, "expected text such as spark.executor.memoryOverhead=1g")
        if _SWALLOWED.search(text):
            raise ConfigError(
                path,
                f"the value of {short(key.strip())} has another property in it; write one property a line, or a dict "
                "where that is meant",
            )
        found.append((key, text))
    return found


def _conf_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
