"""The directory of a try: gone with it, and where its task was killed, gone with the next one's start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from airflow_provider_fate.operators._work import WorkDirectory, remove_abandoned
from airflow_provider_fate.runtime.main import TRY_DIRECTORY, _Stop

TASK = "import sys, time; from airflow_provider_fate.operators._work import WorkDirectory; "


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed_task(temporary: Path) -> Path:
    """A directory whose task was ended by kill -9."""
    code = f"{TASK} work = WorkDirectory(); print(work.path, flush=True); time.sleep(60)"
    env = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as task:
        path = Path(task.stdout.readline().strip())
        remove_abandoned()
        assert path.is_dir(), "its task lives"
        task.send_signal(signal.SIGKILL)
    return path


def test_it_is_its_owners_alone_and_goes_with_the_try(temporary):
    work = WorkDirectory()
    assert work.path.parent == temporary and work.path.stat().st_mode & 0o777 == 0o700
    (work.path / "guest-9999.json").write_text("{}")
    work.remove()
    work.remove()
    assert not list(temporary.iterdir())


def test_the_next_task_removes_what_a_killed_one_left(temporary):
    path = killed_task(temporary)
    (path / "guest-9999.json").write_text("a password")
    other = WorkDirectory()
    assert not path.exists()
    other.remove()


def test_what_may_be_somebodys_stays(temporary):
    foreign = temporary / "fate-job-foreign"
    foreign.mkdir()  # and it has no lock
    work = WorkDirectory()
    remove_abandoned()
    assert foreign.is_dir() and work.path.is_dir()


def test_an_application_removes_it_when_its_task_is_gone_and_only_then(temporary, monkeypatch):
    work = WorkDirectory()
    assert work.path.name.startswith(TRY_DIRECTORY)
    before = signal.getsignal(signal.SIGTERM)
    try:
        stop = _Stop(str(work.path / "guest-9999.json"))
    finally:
        signal.signal(signal.SIGTERM, before)
    stop.clean_up()
    assert work.path.is_dir()
    monkeypatch.setattr(os, "getppid", lambda: 1_000_000)
    stop.clean_up()
    assert not work.path.exists()
