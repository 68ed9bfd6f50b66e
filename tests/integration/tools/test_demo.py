"""`make demo` and `make ui` as a user runs them: real processes, real Airflow, in this test run's own environment."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.servers.processes import Running, running, wait_for_none

REPOSITORY = Path(__file__).parents[3]

DAGS = """
import time
from airflow.sdk import dag, task

@dag(schedule=None)
def demo_fails():
    @task
    def fine():
        pass

    @task
    def broken():
        print("the file is looked for")
        raise FileNotFoundError("there is no file /data/customers.csv")

    @task
    def after():
        pass

    fine() >> broken() >> after()

@dag(schedule=None)
def demo_sleeps():
    @task
    def sleep():
        time.sleep(600)

    sleep()

demo_fails(); demo_sleeps()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One Airflow home for all, as a user has it."""
    return tmp_path_factory.mktemp("demo") / "home with space"


@pytest.fixture(scope="module")
def other_dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dags")
    (directory / "demo_dags.py").write_text(DAGS)
    return directory


def environment(home: Path, **more: str) -> dict[str, str]:
    # an AIRFLOW_HOME of the user's is somebody else's Airflow: it must stay as it is
    own = {"VENV": sys.prefix, "PYTHON": sys.executable, "DEMO_HOME": str(home), "AIRFLOW_HOME": "/nowhere"}
    return dict(os.environ) | own | more


def make(target: str, home: Path, seconds: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", target], cwd=REPOSITORY, env=environment(home, **more), capture_output=True, text=True, timeout=seconds
    )


def listen_to_ctrl_c() -> None:
    """What a shell starts in the background inherits that SIGINT is ignored; these tests may be run there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def started(target: str, home: Path, until: str, seconds: float = 180, **more: str) -> Iterator[tuple]:
    """`make TARGET` in a process group of its own, as a terminal has it, when it has printed a line with *until*."""
    log = home.parent / f"{target}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["make", target], cwd=REPOSITORY, env=environment(home, **more), stdout=output, stderr=output,
            start_new_session=True, preexec_fn=listen_to_ctrl_c,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + seconds
        while until not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield process, log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def processes_of(home: Path) -> list[Running]:
    """The processes whose AIRFLOW_HOME this is."""
    return [one for one in running() if f"AIRFLOW_HOME={home}" in one.environment]


def wait_for_no_process(home: Path, seconds: float = 20) -> None:
    wait_for_none(lambda: processes_of(home), seconds)


@pytest.fixture(scope="module")
def demo(home: Path) -> subprocess.CompletedProcess[str]:
    """One `make demo`, from nothing."""
    return make("demo", home, seconds=540)


def test_demo_runs_the_five_steps(home, demo):
    done = demo
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "Made the connections fate_spark, fate_storage, fate_transport" in said
    assert re.search(r"^\[ *\d+ s\] train\.guest_9999 +running$", said, re.M)
    assert re.search(r"hetero_lr_0", said)
    assert re.search(r"^predict\.guest_9999 +success +1 ", said, re.M)
    rows = re.findall(r"^\S*train\.guest_9999\S* +(0\.\d+) +(0\.\d+)( +yes)?$", said, re.M)
    assert len(rows) == 3
    (auc, ks, _) = next(row for row in rows if row[2])
    assert (auc, ks) == max((auc, ks) for auc, ks, _ in rows[1:])
    assert float(auc) > 0.98 and float(ks) > 0.85
    csv = Path(re.search(r"predictions, all of them in (.*):$", said, re.M)[1])
    assert csv.is_file() and home in csv.parents
    assert re.search(r"^id +label +predict_result +predict_score$", said, re.M)
    assert "Where to look next" in said
    assert "Traceback" not in said + done.stderr
    assert processes_of(home) == []


def test_files_that_hold_secrets_are_private(home, demo):
    for name in ("airflow.cfg", "passwords.json"):
        assert (home / name).stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


def test_ui_stays_up_until_ctrl_c(home, demo):
    with started("ui", home, "Ctrl-C ends Airflow") as (process, log):
        said = log.read_text()
        assert "Making Airflow's metadata database" not in said
        url, login, password = re.search(r"address +(\S+)\n +login +(\S+)\n +password +(\S+)\n", said).groups()
        answer = requests.post(f"{url}/auth/token", json={"username": login, "password": password}, timeout=30)
        assert answer.status_code == 201
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        runs = requests.get(f"{url}/api/v2/dags/fate_five_steps/dagRuns", headers=headers, timeout=30).json()
        assert [run["state"] for run in runs["dag_runs"]] == ["success"]
        connection = requests.get(f"{url}/api/v2/connections/fate_spark", headers=headers, timeout=30).json()
        assert (connection["conn_type"], connection["host"]) == ("fate_spark", "local[*]")
        second = make("demo", home, seconds=60)
        assert second.returncode and "another `make demo` or `make ui`" in second.stderr
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    assert "Traceback" not in log.read_text()
    wait_for_no_process(home)


def test_a_failed_task_is_explained(home, other_dags):
    done = make("demo", home, DEMO_DAG="demo_fails", DEMO_DAGS=str(other_dags))
    assert done.returncode
    assert re.search(r"^broken +failed +1 ", done.stdout, re.M)
    assert re.search(r"^after +upstream_failed *$", done.stdout, re.M)
    place = re.search(r"^broken failed\. The last lines of (.*):$", done.stderr, re.M)[1]
    assert "there is no file /data/customers.csv" in Path(place).read_text()
    assert "\n  the file is looked for\n" in done.stderr
    assert "\n  FileNotFoundError: there is no file /data/customers.csv\n" in done.stderr
    assert "error: the run of demo_fails failed: broken" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert processes_of(home) == []


def test_ctrl_c_ends_the_run_and_all_processes(home, other_dags):
    until = f"{'sleep':42} running"
    with started("demo", home, until, DEMO_DAG="demo_sleeps", DEMO_DAGS=str(other_dags)) as (process, log):
        assert len(processes_of(home)) > 3
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60)
    assert "Stopping the run" in log.read_text() and "stopped" in log.read_text()
    assert "Traceback" not in log.read_text()
    wait_for_no_process(home)


def test_kill_leaves_no_process(home, other_dags):
    until = f"{'sleep':42} running"
    with started("demo", home, until, DEMO_DAG="demo_sleeps", DEMO_DAGS=str(other_dags)) as (process, _):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    wait_for_no_process(home, 40)


def test_a_taken_port_that_was_asked_for(home):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = make("ui", home, seconds=60, PORT=str(port))
    assert done.returncode
    assert f"error: port {port} of 127.0.0.1 cannot be had" in done.stderr
    assert "Traceback" not in done.stderr
