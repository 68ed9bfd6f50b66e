"""The demo's checks say in a sentence what is wrong, on real ports, disks and locks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tools import checks
from tools.trouble import Trouble

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind((checks.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_enough_disk_says_nothing(tmp_path):
    checks.disk(tmp_path / "not" / "there" / "yet", 1, "The test")


def test_no_disk_says_how_much_is_needed_and_where(tmp_path):
    with pytest.raises(Trouble, match=rf"The test needs 1073741824\.0 GiB on the disk of {tmp_path}, and .* are free"):
        checks.disk(tmp_path / "new", 1 << 60, "The test")


def test_a_taken_port_that_was_asked_for_is_refused(taken_port):
    with pytest.raises(Trouble, match=rf"port {taken_port} of 127\.0\.0\.1 cannot be had"):
        checks.port(str(taken_port))


def test_a_taken_usual_port_is_replaced_and_that_is_said(taken_port):
    port, remark = checks.port(usual=taken_port)
    assert port > taken_port
    assert f"Port {taken_port} is taken" in remark and str(port) in remark
    with socket.socket() as listener:
        listener.bind((checks.HOST, port))


@pytest.mark.parametrize("asked", ["http", "0", "65536", "-1", "80 80"])
def test_what_is_no_port_is_refused(asked):
    with pytest.raises(Trouble, match="is no port"):
        checks.port(asked)


def test_the_usual_port_is_taken_without_remark(taken_port):
    free = checks.port(usual=taken_port)[0]
    assert checks.port(usual=free) == (free, "")
    assert checks.port(str(free)) == (free, "")


def test_two_cannot_use_one_home(tmp_path):
    code = "import sys, pathlib; from tools import checks; checks.lock(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    with checks.lock(tmp_path / "home"):
        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert second.returncode == 1
        assert f"(process {os.getpid()}) uses {tmp_path / 'home'}" in second.stderr
    assert subprocess.run(command, cwd=REPOSITORY).returncode == 0
