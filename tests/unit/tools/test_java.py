"""Java is found where it is, judged by what it says, and wrapped where it lacks a module."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools import java


def program(home: Path, script: str) -> Path:
    """A program named java that is no Java."""
    path = home / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "11.0.2" 2019', 11),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_version(tmp_path, said, version):
    assert java.version_of(program(tmp_path, f"cat >&2 <<'END'\n{said}\nEND")) == version


def test_version_of_what_does_not_run(tmp_path):
    assert java.version_of(tmp_path / "java") is None
    assert java.version_of(program(tmp_path / "broken", "echo 'version \"17.0.1\"'; exit 1")) is None


def test_this_machines_java_is_found():
    home, _ = java.find()
    assert home is not None, "the tests need a Java of 17 or newer: tools/install-test-servers"
    assert java.version_of(home / "bin" / "java") >= java.OLDEST


def test_java_home_goes_before_path(tmp_path):
    real, _ = java.find()
    program(tmp_path / "path", "echo 'version \"17.0.1\"' >&2")
    found, _ = java.find({"JAVA_HOME": str(real), "PATH": str(tmp_path / "path" / "bin")})
    assert found == real


def test_none_and_why(tmp_path):
    old = program(tmp_path / "old", "echo 'openjdk version \"11.0.2\"' >&2")
    assert java.find({"PATH": str(old.parent)}) == (None, [f"{old} is Java 11"])
    assert java.find({"PATH": str(tmp_path)}) == (None, [])
    gone = tmp_path / "gone" / "bin" / "java"
    assert java.find({"JAVA_HOME": str(tmp_path / "gone"), "PATH": ""}) == (None, [f"{gone} does not run"])


def test_a_java_without_the_module_is_not_taken_as_it_is(tmp_path):
    lacking = program(
        tmp_path / "small",
        'case "$*" in *incubator*) exit 1;; esac; echo \'openjdk version "21.0.8"\' >&2',
    )
    found, unfit = java.find({"JAVA_HOME": str(tmp_path / "small"), "PATH": ""})
    assert found is None
    assert unfit == [f"{lacking} is Java 21 without the module jdk.incubator.vector"]


def test_wrapper_drops_one_argument_and_keeps_the_others_as_they_are(tmp_path):
    shows = program(tmp_path / "it's here", 'for word do printf "<%s>" "$word"; done')
    home = java.wrap(shows, tmp_path / "wrapped")
    command = [str(home / "bin" / "java"), "-Da=b c", "--add-modules=jdk.incubator.vector", "", "-cp", "a*:'b'", "$x"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "<-Da=b c><><-cp><a*:'b'><$x>"


def test_wrapped_java_runs(tmp_path):
    real = shutil.which("java")
    assert real is not None
    home = java.wrap(Path(real), tmp_path / "wrapped")
    assert java.version_of(home / "bin" / "java") == java.version_of(real)
