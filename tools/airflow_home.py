"""The demo's Airflow: a home directory inside the clone that is kept, with its own settings, keys and connections."""

from __future__ import annotations

import configparser
import json
import os
import secrets
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.servers.airflow import Airflow
from tools.trouble import Trouble, say

_PREFIX = "AIRFLOW__"
# Settings whose value is kept from one start to the next: what is stored or handed out was made with them.
_KEYS = {
    "core.fernet_key": lambda: urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "api.secret_key": lambda: secrets.token_urlsafe(32),
    "api_auth.jwt_secret": lambda: secrets.token_urlsafe(64),
}


class DemoAirflow(Airflow):
    """Airflow's API server, scheduler with LocalExecutor and DAG processor, as the tests start them too.

    Unlike the tests' one it keeps its home, takes the DAGs from where they are, and has its settings in
    ``airflow.cfg``, so that ``AIRFLOW_HOME=... airflow ...`` works on it.

    :param home: AIRFLOW_HOME
    :param dags: directory of the DAGs
    :param port: of the UI and the API, on the loopback interface
    """

    def __init__(self, home: Path, dags: Path, port: int) -> None:
        url = f"http://127.0.0.1:{port}"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._kept = _read_config(home / "airflow.cfg")
        settings: dict[str, object] = {
            "api.port": port,
            "api.base_url": url,
            "core.dags_folder": dags,
            "core.execution_api_server_url": f"{url}/execution/",
            "dag_processor.refresh_interval": 10,
            "dag_processor.min_file_process_interval": 30,
            **{name: self._kept.get(name) or make() for name, make in _KEYS.items()},
        }
        super().__init__(home, settings=settings)
        self.port = port
        self.password = self._read_password() or self.password

    def _environment(self, settings: dict[str, object], env: dict[str, str]) -> dict[str, str]:
        everything = super()._environment(settings, env)
        self._settings = {name: value for name, value in everything.items() if name.startswith(_PREFIX)}
        # Connections may be edited to mean a cluster: nothing may bind Spark to this machine but a connection.
        local = {"SPARK_LOCAL_IP", "PYSPARK_PYTHON", "no_proxy"}
        kept = {name: value for name, value in everything.items() if name not in local | set(self._settings)}
        proxies = filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1,localhost"])
        loopback = ",".join(proxies)
        return kept | {"NO_PROXY": loopback, "no_proxy": loopback}

    # -- files

    @property
    def _password_file(self) -> Path:
        return self.home / "passwords.json"

    def _read_password(self) -> str | None:
        try:
            return json.loads(self._password_file.read_text())[self.login]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write_settings(self) -> None:
        config = configparser.RawConfigParser()
        for name, value in self._settings.items():
            section, _, option = name.removeprefix(_PREFIX).lower().partition("__")
            if not config.has_section(section):
                config.add_section(section)
            config.set(section, option, value.replace("%", "%%"))
        with _private(self.home / "airflow.cfg") as file:
            file.write("# Written at each start of `make demo` and `make ui`; changes are lost.\n")
            config.write(file)

    def _make_database(self) -> None:
        """Make the metadata database, or bring it to the version of Airflow that is installed."""
        database, stamp, release = self.home / "airflow.db", self.home / "airflow.version", version("apache-airflow")
        if database.exists() and stamp.exists() and stamp.read_text() == release:
            return
        say("Making Airflow's metadata database")
        fresh = self.home / "airflow.db.new"  # so that an interrupted attempt is not taken for a database
        fresh.unlink(missing_ok=True)
        env = dict(self._env)
        if not database.exists():
            env[f"{_PREFIX}DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{fresh}"
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            log = self.home / "db-migrate.log"
            log.write_text(done.stdout + done.stderr)
            last = "\n  ".join((done.stdout + done.stderr).splitlines()[-3:])
            raise Trouble(
                f"Airflow's metadata database {database} cannot be made:\n  {last}\nThe details are in {log}. "
                "With `make clean` you start anew"
            )
        if not database.exists():
            fresh.replace(database)
        stamp.write_text(release)

    # -- life

    def launch(self) -> None:
        """Start all components without waiting."""
        self._write_settings()
        with _private(self._password_file) as file:
            json.dump({self.login: self.password}, file)
        self._make_database()
        for component in self._components:
            (self.home / f"{component}.log").unlink(missing_ok=True)
            self.start_component(component)

    def check_running(self) -> None:
        """:raises Trouble: a component has ended"""
        for process in self._processes.values():
            if not process.running:
                raise Trouble(f"{process.name} ended by itself, with code {process.exit_code}.\n{process.tail(15)}")

    def end(self) -> None:
        """End all components and whatever they started, at once."""
        for process in self._processes.values():
            process.kill()

    # -- what the demo needs in it

    def make_connections(self) -> list[str]:
        """Create the connections of the example DAGs that are not there; those that are stay as they were edited.

        :returns: what was created
        """
        storage, messages = self.home / "fate_storage", self.home / "fate_messages"
        wanted: dict[str, dict[str, Any]] = {
            "fate_spark": {"conn_type": "fate_spark", "host": "local[*]"},
            "fate_storage": {"conn_type": "fs", "extra": json.dumps({"path": str(storage)})},
            "fate_transport": {"conn_type": "fs", "extra": json.dumps({"path": str(messages)})},
        }
        made = []
        for conn_id, fields in wanted.items():
            if self.api("GET", f"connections/{quote(conn_id)}", missing_ok=True) is None:
                self.api("POST", "connections", {"connection_id": conn_id, **fields})
                made.append(conn_id)
        for directory in (storage, messages):
            directory.mkdir(exist_ok=True, mode=0o700)
        return made

    def stop_runs(self, dag_id: str) -> int:
        """Mark runs that go on as failed, which ends their tasks.

        :returns: how many there were
        """
        path = f"dags/{quote(dag_id)}/dagRuns"
        runs = self.api("GET", path, state=["running", "queued"], limit=100, missing_ok=True) or {"dag_runs": []}
        for run in runs["dag_runs"]:
            self.api("PATCH", f"{path}/{quote(run['dag_run_id'])}", {"state": "failed"})
        return len(runs["dag_runs"])

    def task_log_file(self, task: Mapping[str, Any]) -> Path:
        """Where Airflow writes the log of a task instance's newest try."""
        parts = [f"dag_id={task['dag_id']}", f"run_id={task['dag_run_id']}", f"task_id={task['task_id']}"]
        if task["map_index"] >= 0:
            parts.append(f"map_index={task['map_index']}")
        return self.home.joinpath("logs", *parts, f"attempt={task['try_number']}.log")


def _read_config(path: Path) -> dict[str, str]:
    config = configparser.RawConfigParser()
    try:
        config.read(path)
    except configparser.Error:
        return {}
    return {f"{section}.{option}": value for section in config.sections() for option, value in config.items(section)}


def _private(path: Path) -> Any:
    """Open a file for writing that only its owner can read, whatever was there before."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
