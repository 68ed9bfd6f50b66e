"""What `make` does before there is an environment: choose a Python, install, and say what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import environment, java
from tools.trouble import Trouble

REPOSITORY = Path(__file__).parents[3]
RUN = REPOSITORY / "tools" / "run"


def fake_python(directory: Path, name: str, version: str, modules: bool = True) -> None:
    """A program that answers as tools/run asks a Python, and is none."""
    path = directory / name
    path.write_text(
        f"""#!/bin/sh
case "$2" in
*version_info*) echo {version};;
*ensurepip*) exit {0 if modules else 1};;
*) echo "$0 $*";;
esac
"""
    )
    path.chmod(0o755)


@pytest.fixture
def tools_only(tmp_path):
    """A directory for PATH with no Python in it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("sh", "dirname", "env"):
        (directory / name).symlink_to(shutil.which(name))
    return directory


def run(path: Path | str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(RUN), *arguments], env={"PATH": str(path), **env}, capture_output=True, text=True)


def test_too_old_python_is_named(tools_only):
    fake_python(tools_only, "old", "3.10")
    done = run(tools_only, "demo", PYTHON="old")
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed; found only old (3.10)" in done.stderr


def test_missing_python_is_told(tools_only):
    done = run(tools_only, "demo", PYTHON="no-such-python")
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed, and no-such-python is not there" in done.stderr


def test_a_python_without_venv_is_told(tools_only):
    fake_python(tools_only, "slim", "3.12", modules=False)
    done = run(tools_only, "demo", PYTHON="slim")
    assert done.returncode == 1
    assert "slim (3.12) lacks one of the modules venv, ensurepip" in done.stderr
    assert "apt-get install python3-venv" in done.stderr


def test_a_newer_one_on_path_is_taken_when_python3_is_too_old(tools_only):
    fake_python(tools_only, "python3", "3.9")
    fake_python(tools_only, "python3.12", "3.12")
    done = run(tools_only, "demo", "x")
    assert done.returncode == 0
    assert done.stdout == f"{tools_only}/python3.12 -m tools demo x\n"


def test_an_unknown_command_is_told():
    done = run(os.defpath, "dmeo", PYTHON=sys.executable)
    assert done.returncode == 1
    assert done.stderr == "error: 'dmeo' is none of demo, ui, test, bench, chaos, venv, clean\n"


def test_a_given_environment_is_taken_and_nothing_installed(monkeypatch):
    monkeypatch.setenv("VENV", sys.prefix)
    where = environment.prepare(["demo"])
    assert where.python == Path(sys.prefix) / "bin" / "python"
    variables = where.variables()
    assert variables["PATH"].split(os.pathsep)[0] == f"{sys.prefix}/bin"
    assert (Path(variables["JAVA_HOME"]) / "bin" / "java").exists()


def test_a_given_environment_that_is_none_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("VENV", str(tmp_path))
    with pytest.raises(Trouble, match=rf"VENV={tmp_path}: there is no Python that runs at"):
        environment.prepare(["demo"])


def test_a_given_environment_without_java_is_told(monkeypatch, tools_only):
    monkeypatch.setenv("VENV", sys.prefix)
    monkeypatch.setenv("PATH", str(tools_only))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java, "packaged", lambda site_packages: None)
    with pytest.raises(Trouble, match="Spark needs Java 17 to 25, and this machine has none"):
        environment.prepare(["demo"])


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A directory that counts as the clone, with a project that needs nothing."""
    package = tmp_path / "my clone"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
    )
    monkeypatch.setattr(environment, "REPOSITORY", package)
    monkeypatch.delenv("VENV", raising=False)
    return package


def test_no_network_is_told_not_traced(clone, monkeypatch):
    (clone / "pyproject.toml").write_text('[build-system]\nrequires = ["hatchling"]\n')
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(Trouble, match="pip cannot reach its package index"):
        environment.prepare(["demo"])
    assert (clone / ".venv" / "pip.log").read_text()


def test_no_disk_is_told_before_anything_is_made(clone, monkeypatch):
    monkeypatch.setattr(environment, "INSTALLED_BYTES", 1 << 60)
    with pytest.raises(Trouble, match="The installation needs .* GiB on the disk of"):
        environment.prepare(["demo"])
    assert not (clone / ".venv").exists()


def test_pips_own_words_where_it_is_something_else(tmp_path):
    log = tmp_path / "pip.log"
    log.write_text("Collecting x\nERROR: No matching distribution found for x==9\n")
    assert "No matching distribution found for x==9\nThe details are in" in environment._why_pip_failed(log)
    log.write_text("OSError: [Errno 28] No space left on device\n")
    assert "the disk became full" in environment._why_pip_failed(log)
