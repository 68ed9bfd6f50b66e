"""A real Spark standalone cluster of the tests' own: one master and one worker from pip's pyspark."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from tests.servers.process import HERE, Place, Process, Server, ServerError, free_ports, require
from tests.servers.processes import running

_EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


def spark_home() -> Path:
    """The Spark distribution inside pip's pyspark (not pyspark-client, which has no jars)."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise ServerError("pyspark is not installed: pip install -e '.[spark,test]' -c constraints.txt")
    home = Path(next(iter(spec.submodule_search_locations)))
    if not (home / "jars").is_dir():
        raise ServerError(f"{home} has no jars, so there is only pyspark-client: pip install -e '.[spark,test]'")
    return home


#: daemons, drivers and executors start in half the time
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def spark_environment(place: Place = HERE) -> dict[str, str]:
    """What a process needs in its environment to run spark-submit from this Python's pyspark, on one address only."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        "SPARK_HOME": str(spark_home()), "SPARK_LOCAL_IP": place.host, "PATH": path, "PYSPARK_PYTHON": sys.executable,
        "SPARK_SUBMIT_OPTS": QUICK_JVM, "SPARK_LAUNCHER_OPTS": QUICK_JVM,
    }  # fmt: skip


class SparkStandalone(Server):
    """A standalone master with one worker.

    It offers more cores than the machine may have, and gives an application few of them unless it asks for more:
    the parties of a job must all run at the same time.

    :param directory: where logs and the worker's files go
    :param cores: cores that the worker offers
    :param memory_mib: memory that the worker offers, MiB
    :param cores_per_application: what an application gets that does not ask
    :param place: where it runs
    """

    def __init__(
        self,
        directory: Path,
        *,
        cores: int = 8,
        memory_mib: int = 8192,
        cores_per_application: int = 2,
        place: Place = HERE,
    ) -> None:
        self.place = place
        self.directory = directory
        self.cores, self.memory_mib, self.cores_per_application = cores, memory_mib, cores_per_application
        self.port, self.web_port, self.rest_port, self._worker_port, self._worker_web_port = free_ports(5)
        self._master: Process | None = None
        self._worker: Process | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """What ``--master`` takes."""
        return f"spark://{self.place.host}:{self.port}"

    @property
    def web_url(self) -> str:
        """The master's page."""
        return f"http://{self.place.host}:{self.web_port}"

    # -- life

    def _environment(self) -> dict[str, str]:
        require("java", "openjdk-17-jre-headless", f"{os.environ.get('JAVA_HOME', '')}/bin")
        return (
            {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
            | spark_environment(self.place)
            | {
                "SPARK_DAEMON_MEMORY": "256m",
                "JAVA_TOOL_OPTIONS": QUICK_JVM,  # executors take it from the worker
                "SPARK_MASTER_OPTS": " ".join(
                    [
                        f"-Dspark.deploy.defaultCores={self.cores_per_application}",
                        "-Dspark.master.rest.enabled=true",
                        f"-Dspark.master.rest.port={self.rest_port}",
                        f"-Dspark.master.rest.host={self.place.host}",
                    ]
                ),
            }
        )

    def launch(self) -> None:
        """Start master and worker without waiting; the worker keeps asking until the master is there."""
        spark_class = [str(spark_home() / "bin" / "spark-class")]
        env = self._environment()
        master = ["org.apache.spark.deploy.master.Master", "--host", self.place.host, "--port", str(self.port)]
        master += ["--webui-port", str(self.web_port)]
        worker = ["org.apache.spark.deploy.worker.Worker", "--host", self.place.host, "--port", str(self._worker_port)]
        worker += ["--webui-port", str(self._worker_web_port), "--cores", str(self.cores)]
        worker += ["--memory", f"{self.memory_mib}m", "--work-dir", str(self.directory / "work"), self.url]
        where = self.directory
        how = {"env": env, "cwd": where, "place": self.place}
        self._master = Process("Spark master", spark_class + master, where / "master.log", **how)
        self._master.wait_until(lambda: "Starting Spark master" in self._master_log(), "starting", 60)
        self._worker = Process("Spark worker", spark_class + worker, where / "worker.log", **how)

    def _master_log(self) -> str:
        return (self.directory / "master.log").read_text(errors="replace")

    def wait_ready(self, seconds: float = 120) -> None:
        """Wait until the master has its worker."""
        assert self._worker is not None, "launch() comes first"
        self._worker.wait_until(lambda: self.state()["aliveworkers"] >= 1, "ready", seconds)

    def start(self) -> SparkStandalone:
        """Start master and worker and wait until applications can be submitted."""
        self.launch()
        self.wait_ready()
        return self

    def stop(self) -> None:
        """End worker, executors and master."""
        for process in (self._worker, self._master):
            if process is not None:
                process.stop()

    @property
    def log(self) -> str:
        """The last lines of both logs."""
        return "\n".join(process.tail() for process in (self._master, self._worker) if process is not None)

    # -- use

    def state(self) -> dict[str, Any]:
        """What the master says of itself: ``activeapps``, ``completedapps``, ``aliveworkers``, ..."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{self.web_url}/json/", timeout=10).json()

    def executors(self, application: str = "") -> list[int]:
        """Process ids of the executors that run now.

        :param application: only those of this application (its id or its name)
        """
        ids = {app["id"] for app in self.state()["activeapps"] if application in ("", app["id"], app["name"])}
        worker = f"spark://Worker@{self.place.host}:{self._worker_port}"
        return sorted(
            one.pid
            for one in running()
            if _EXECUTOR in one.words and ids & set(one.words) and any(word.startswith(worker) for word in one.words)
        )

    def kill_executor(self, application: str = "", seconds: float = 60) -> int:
        """kill -9 one executor, waiting for one to come; the master starts another.

        :returns: the process id that it had
        :raises ServerError: none came
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for pid in self.executors(application):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return pid
            time.sleep(0.1)
        raise ServerError(f"no executor of {application or 'any application'} after {seconds:.0f} s\n{self.log}")

    def submit(self, arguments: Sequence[str], seconds: float = 180) -> subprocess.CompletedProcess[str]:
        """Run spark-submit against this master.

        :param arguments: flags, application and its arguments
        :raises ServerError: it failed; the message has the end of its output
        """
        done = subprocess.run(
            [*self.place.enter, str(spark_home() / "bin" / "spark-submit"), "--master", self.url, *arguments],
            env=os.environ | spark_environment(self.place),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if done.returncode:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
            raise ServerError(f"spark-submit ended with code {done.returncode}\n{end}\n{self.log}")
        return done
