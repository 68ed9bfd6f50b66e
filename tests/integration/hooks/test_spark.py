"""The Spark hook with real spark-submit processes and a real standalone master."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from airflow_provider_fate.hooks.spark import FateSparkHook, SparkSubmitFailed
from tests.servers.processes import of_session, wait_for_none


@pytest.fixture
def hook(connect, tmp_path):
    def make(host="local[1]", **arguments):
        arguments.setdefault("driver_log_path", tmp_path / "driver.log")
        return FateSparkHook(conn_id=connect("fate_spark", host=host), name="hook-test", **arguments)

    return make


@pytest.fixture
def application(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "application.py"
        path.write_text(text)
        return str(path)

    return write


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_an_application_runs_and_its_progress_is_told(hook, application, tmp_path, monkeypatch):
    """With no virtual environment on PATH, as in a service; it must use this Python all the same."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    monkeypatch.delenv("SPARK_HOME", raising=False)
    seen = []
    app = application(
        "import json, sys, numpy\n"
        "print('@fate ' + json.dumps({'text': 'here', 'python': sys.executable, 'args': sys.argv[1:]}), flush=True)\n"
        "sys.stdout.buffer.write(b'not UTF-8: \\xff\\n')\n"
    )
    hook(on_progress=seen.append, application_args=["/job.json"]).submit(app)
    assert seen == [{"text": "here", "python": sys.executable, "args": ["/job.json"]}]
    assert "not UTF-8" in (tmp_path / "driver.log").read_text()


def test_a_failure_quotes_the_traceback_and_names_the_log(hook, application, tmp_path):
    app = application("print('@fate {\"text\": \"begun\"}')\nraise RuntimeError('the reason')\n")
    with pytest.raises(SparkSubmitFailed, match="code 1.*driver.log") as caught:
        hook().submit(app)
    assert caught.value.code == 1 and caught.value.log == str(tmp_path / "driver.log")
    assert caught.value.tail[0].startswith("Traceback") and "RuntimeError: the reason" in caught.value.tail
    assert "RuntimeError: the reason" in str(caught.value) and "begun" not in str(caught.value)


def test_a_secret_reaches_spark_and_no_list_of_processes(hook, application, monkeypatch):
    seen = []
    app = application(
        "import json, pathlib\n"
        "from pyspark import SparkConf\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "lines = [p.read_bytes().decode(errors='replace') for p in pathlib.Path('/proc').glob('[0-9]*/cmdline')]\n"
        "print('@fate ' + json.dumps({'text': '', 'value': spark.conf.get('spark.fate.password'),\n"
        "      'shown': sum('geheim-4711' in line for line in lines)}))\n"
    )
    conf = {"spark.fate.password": "geheim-4711", "spark.ui.enabled": "false"}
    hook(on_progress=seen.append, conf=conf).submit(app)
    assert [(m["value"], m["shown"]) for m in seen] == [("geheim-4711", 0)]


def test_a_kill_leaves_no_process(hook, application):
    started = threading.Event()
    made = hook(on_progress=lambda message: started.set())
    app = application(
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '600'])\n"
        'print(\'@fate {"text": "up"}\', flush=True)\n'
        "time.sleep(600)\n"
    )
    failures = []

    def run() -> None:
        try:
            made.submit(app)
        except SparkSubmitFailed as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)
    session = made._submit_sp.pid
    assert len(of_session(session)) >= 3
    begin = time.monotonic()
    made.on_kill()
    took = time.monotonic() - begin
    thread.join(10)
    assert took < 4 and not thread.is_alive()
    wait_for_none(lambda: of_session(session), 5)  # who is killed is gone a moment later
    assert len(failures) == 1 and (failures[0].code < 0 or failures[0].code > 128)


def test_spark_ends_when_the_worker_is_killed(application, tmp_path):
    """kill -9 of the task's process: nobody is left to call on_kill."""
    app = application('import time\nprint(\'@fate {"text": "up"}\', flush=True)\ntime.sleep(600)\n')
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import sys\nfrom airflow_provider_fate.hooks.spark import FateSparkHook\n"
        f"hook = FateSparkHook(conn_id='here', driver_log_path={str(tmp_path / 'log')!r},\n"
        "    on_progress=lambda message: print(hook._submit_sp.pid, flush=True))\n"
        f"hook.submit({app!r})\n"
    )
    env = os.environ | {"AIRFLOW_CONN_HERE": '{"conn_type": "spark", "host": "local[1]"}', "PYTHONPATH": os.getcwd()}
    task = subprocess.Popen([sys.executable, str(worker)], env=env, stdout=subprocess.PIPE, text=True)
    session = next(int(line) for line in task.stdout if line.strip().isdigit())
    assert of_session(session)
    task.send_signal(signal.SIGKILL)
    task.wait()
    deadline = time.monotonic() + 20
    while any("java" in one.line for one in of_session(session)) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = of_session(session)
    assert not any("java" in one.words[0] for one in left), left
    for one in left:  # Python's own driver ends at its next word to Spark; this one only sleeps
        assert "application.py" in one.line
        os.kill(one.pid, signal.SIGKILL)


# -- the Test button


def test_local_spark_passes_the_test(hook):
    ok, message = hook("local[*]").test_connection()
    assert ok, message
    assert "local[*]: Spark runs on this machine" in message and "is Spark 4." in message and "Java " in message


def test_a_real_master_answers_and_others_do_not(spark_standalone, hook, monkeypatch):
    monkeypatch.setattr(FateSparkHook, "_version", lambda *_: "4")  # three seconds each; tested above
    ok, message = hook(spark_standalone.url).test_connection()
    assert ok and f"Spark master answers at 127.0.0.1:{spark_standalone.port}" in message, message
    dead = closed_port()
    ok, message = hook(f"spark://127.0.0.1:{dead}").test_connection()
    assert not ok and f"127.0.0.1:{dead} cannot be reached: connection refused" in message
    ok, message = hook(f"spark://127.0.0.1:{dead},127.0.0.1:{spark_standalone.port}").test_connection()
    assert ok and "not usable" in message and str(dead) in message, message
    ok, message = hook(f"spark://127.0.0.1:{spark_standalone.web_port}").test_connection()
    assert not ok and "no Spark master" in message, message
    ok, message = hook("spark://no-such-host.invalid:7077").test_connection()
    assert not ok and "no-such-host.invalid" in message


def test_an_application_runs_on_the_master(spark_standalone, hook, application):
    seen = []
    app = application(
        "import json\nfrom pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "total = spark.sparkContext.parallelize(range(10), 2).map(lambda x: x * x).sum()\n"
        "print('@fate ' + json.dumps({'text': 'sum', 'sum': total, 'master': spark.sparkContext.master}))\n"
    )
    env = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    conf = {"spark.ui.enabled": "false"}
    hook(spark_standalone.url, on_progress=seen.append, env_vars=env, conf=conf, executor_memory="512m").submit(app)
    assert [(m["sum"], m["master"]) for m in seen] == [(285, spark_standalone.url)]
