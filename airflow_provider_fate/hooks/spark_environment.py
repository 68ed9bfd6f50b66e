"""Where spark-submit, Java and Python are on this worker."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from airflow_provider_fate.hooks.connections import ConnectionConfigError

#: the property that says where the driver runs
DEPLOY_MODE = "spark.submit.deployMode"
#: a line of a properties file with it
_DEPLOY_MODE_LINE = re.compile(rf"^[ \t]*{re.escape(DEPLOY_MODE)}(?:[ \t]*[=:][ \t]*|[ \t]+)(\S+)[ \t]*$", re.MULTILINE)
#: what Spark 4 needs at least
JAVA = 17


def pip_spark() -> Path | None:
    """The Spark distribution inside pip's pyspark, found without importing it; None where there is none.

    pyspark-client has the same package name and no Spark in it.
    """
    spec = importlib.util.find_spec("pyspark")
    for place in spec.submodule_search_locations or () if spec else ():
        if (Path(place) / "bin" / "spark-submit").is_file() and (Path(place) / "jars").is_dir():
            return Path(place)
    return None


def find_binary(name: str) -> Path:
    """spark-submit on this machine: on PATH, in SPARK_HOME, or beside the running Python.

    :param name: ``spark-submit`` or a path
    :raises ConnectionConfigError: it is nowhere
    """
    beside = Path(sys.executable).parent
    places = [os.environ.get("PATH", os.defpath), str(beside)]
    if os.environ.get("SPARK_HOME"):
        places.insert(1, str(Path(os.environ["SPARK_HOME"]) / "bin"))
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise ConnectionConfigError(
            "Spark",
            f"{name} is neither on PATH nor in SPARK_HOME/bin nor in {beside}; install Spark on this worker, e.g. "
            "pip install 'airflow-provider-fate[spark]'",
        )
    return Path(found)


def environment(binary: Path, *, local: bool, client: bool, env: Mapping[str, str]) -> dict[str, str]:
    """What spark-submit needs in its environment and ``env`` does not have.

    :param local: the whole of Spark runs on this machine
    :param client: the driver runs on this machine
    """
    added: dict[str, str] = {}
    home = pip_spark()
    # pip's script would look for pyspark with whatever python3 is first on PATH
    if not env.get("SPARK_HOME") and home and binary.resolve().parent in (home / "bin", _scripts()):
        added["SPARK_HOME"] = str(home)
    # the driver imports what is installed with this package: run it with this Python, not with PATH's python3
    if client and not env.get("PYSPARK_DRIVER_PYTHON"):
        added["PYSPARK_DRIVER_PYTHON"] = sys.executable
    if local and not env.get("PYSPARK_PYTHON"):
        added["PYSPARK_PYTHON"] = sys.executable
    return added


def _scripts() -> Path:
    return Path(sys.executable).parent.resolve()


def default_deploy_mode(properties: Path) -> str | None:
    """Where the driver runs, as far as ``spark-defaults.conf`` or the file in its place says it."""
    try:
        lines = _DEPLOY_MODE_LINE.findall(properties.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return lines[-1] if lines else None


def is_set(properties: Path, name: str) -> bool:
    """Whether ``spark-defaults.conf``, or the file in its place, sets a property."""
    try:
        text = properties.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(rf"^[ \t]*{re.escape(name)}[ \t=:]", text, re.MULTILINE) is not None


def check_java(env: Mapping[str, str]) -> str:
    """The Java that spark-submit will take: its path and version, as text.

    :raises ConnectionConfigError: there is none, or it is too old
    """
    home = env.get("JAVA_HOME")
    path = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=env.get("PATH", os.defpath))
    advice = f"Spark needs Java {JAVA} or newer: install a JRE and set JAVA_HOME"
    if path is None:
        raise ConnectionConfigError("Java", f"there is no java on PATH and JAVA_HOME is not set; {advice}")
    if not os.access(path, os.X_OK):
        raise ConnectionConfigError("Java", f"JAVA_HOME is {home}, but {path} cannot be run; {advice}")
    version = _java_version(path)
    if version is None:
        raise ConnectionConfigError("Java", f"{path} -version does not say its version; {advice}")
    if version < JAVA:
        raise ConnectionConfigError("Java", f"{path} is Java {version}; {advice}")
    return f"Java {version} ({path})"


@functools.lru_cache(maxsize=8)
def _java_version(path: str) -> int | None:
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    # "17.0.15", "21-ea", and "1.8.0_402" as it was until 8
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(match.group(1)) if match else None
