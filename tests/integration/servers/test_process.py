"""What every test server relies on: nothing of it outlives the test run, and errors say what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.process import Process, ServerError, require
from tests.servers.processes import is_running

# A server that starts a daemon in a session of its own, whose parent then ends: the hardest thing to find again.
DAEMON = "setsid sh -c 'sleep 987 & echo $! > daemon.pid' ; echo ready; sleep 987"


def _wait_for(path: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def test_kill_ends_daemons_too(tmp_path):
    process = Process("sleeper", ["sh", "-c", DAEMON], tmp_path / "log", cwd=tmp_path)
    daemon = _wait_for(tmp_path / "daemon.pid")
    assert is_running(daemon)
    process.kill()
    assert process.exit_code == 128 + signal.SIGKILL
    assert not is_running(daemon)
    assert not is_running(process.pid)


def test_nothing_outlives_a_killed_test_run(tmp_path):
    script = (
        "import pathlib, time\n"
        "from tests.servers.process import Process\n"
        f"p = Process('sleeper', ['sh', '-c', {DAEMON!r}], pathlib.Path('log'))\n"
        "pathlib.Path('server.pid').write_text(str(p.pid))\n"
        "time.sleep(600)\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    run = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=env)
    server, daemon = _wait_for(tmp_path / "server.pid"), _wait_for(tmp_path / "daemon.pid")
    run.kill()
    run.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (is_running(server) or is_running(daemon)):
        time.sleep(0.05)
    assert not is_running(server)
    assert not is_running(daemon)


def test_server_that_ends_shows_its_log(tmp_path):
    process = Process("broken", ["sh", "-c", "echo no such thing; exit 3"], tmp_path / "log")
    with pytest.raises(ServerError, match=r"(?s)broken ended with code 3 before ready.*no such thing"):
        process.wait_until(lambda: False, "ready", 10)


def test_missing_program_names_the_package():
    with pytest.raises(ServerError, match="apt-get install some-package"):
        require("no-such-program-here", "some-package")
