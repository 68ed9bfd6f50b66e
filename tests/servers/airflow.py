"""A real Airflow of the tests' own: API server, scheduler with LocalExecutor, DAG processor; triggerer if asked."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from tests.servers.hadoop_jars import cache
from tests.servers.process import HERE, Place, Process, Server, ServerError, free_ports
from tests.servers.processes import running
from tests.servers.spark import spark_environment

_REPOSITORY = Path(__file__).parents[2]
_ENDED = ("success", "failed")


class Airflow(Server):
    """One Airflow with a home directory, a metadata database and a port of its own.

    :param directory: its home: database, logs, DAGs
    :param dags: files or directories with DAGs, copied into its DAG folder; more can be added while it runs
    :param settings: ``{"section.option": value}``, over the defaults below
    :param env: environment variables for all its processes, tasks included
    :param database: SQLAlchemy URL of an empty database; SQLite in the home directory where not given
    :param triggerer: start a triggerer too, for deferred tasks and watched assets
    :param proxy_headers: believe what a proxy before it says of its clients
    :param place: where it runs
    :param lasting_tasks: tasks outlive a scheduler that :meth:`kill_scheduler_alone` ends
    """

    login = "admin"

    def __init__(
        self,
        directory: Path,
        dags: Iterable[Path] = (),
        *,
        settings: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        database: str | None = None,
        triggerer: bool = False,
        proxy_headers: bool = False,
        place: Place = HERE,
        lasting_tasks: bool = False,
    ) -> None:
        self.place = place
        self.home = directory
        self.dags = directory / "dags"
        self.password = secrets.token_hex(8)
        self.port = free_ports(1)[0]
        self._components = ["api-server", "scheduler", "dag-processor", *(["triggerer"] if triggerer else [])]
        self._options = {"api-server": ["--proxy-headers"] if proxy_headers else []}
        self._options |= {component: ["--skip-serve-logs"] for component in ("scheduler", "triggerer")}
        self._processes: dict[str, Process] = {}
        self._orphanages: list[Process] = []  # with the tasks of schedulers that were killed
        self._lasting_tasks = lasting_tasks
        self._session = requests.Session()
        self._session.trust_env = False
        self._shared_database = database
        self._prefix = urlsplit(str((settings or {}).get("api.base_url", ""))).path.rstrip("/")
        self.dags.mkdir(parents=True, exist_ok=True)
        self.add_dags(*dags)
        self._env = self._environment(dict(settings or {}), dict(env or {}))

    @property
    def url(self) -> str:
        """Where the UI is: under the path of ``api.base_url``, where that is set."""
        return f"http://{self.place.host}:{self.port}{self._prefix}"

    def _environment(self, settings: dict[str, object], env: dict[str, str]) -> dict[str, str]:
        secret = lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()  # noqa: E731
        defaults: dict[str, object] = {
            "core.dags_folder": self.dags,
            "core.executor": "LocalExecutor",
            "core.parallelism": 8,
            "core.load_examples": False,
            "core.test_connection": "Enabled",
            "core.fernet_key": secret(),
            "core.execution_api_server_url": f"{self.url}/execution/",
            "core.simple_auth_manager_users": f"{self.login}:admin",
            "core.simple_auth_manager_passwords_file": self.home / "passwords.json",
            "core.min_serialized_dag_update_interval": 1,
            "core.min_serialized_dag_fetch_interval": 1,
            "api.host": self.place.host,
            "api.port": self.port,
            "api.base_url": self.url,
            "api.workers": 1,
            "api.secret_key": secret(),
            "api_auth.jwt_secret": secret() * 2,
            "database.sql_alchemy_conn": self._shared_database or f"sqlite:///{self.home}/airflow.db",
            "database.load_default_connections": False,
            "dag_processor.refresh_interval": 2,
            "dag_processor.min_file_process_interval": 60,
            "dag_processor.parsing_processes": 1,
            "logging.base_log_folder": self.home / "logs",
            "scheduler.scheduler_idle_sleep_time": 0.5,
            # a task whose first call is answered too late fails for good; a busy machine needs more than 5 s
            "workers.execution_api_timeout": 60,
            "usage_data_collection.enabled": False,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SPARK_"))}
        chosen = {
            f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
            for (section, _, option), value in ((name.partition("."), value) for name, value in settings.items())
        }
        standard = {
            f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
            for (section, _, option), value in ((name.partition("."), value) for name, value in defaults.items())
        }
        python_path = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")]))
        own = {"AIRFLOW_HOME": str(self.home), "PYTHONPATH": python_path, "no_proxy": "*", "NO_COLOR": "1"}
        return kept | spark_environment(self.place) | own | standard | chosen | env

    # -- life

    def _make_database(self) -> None:
        """An empty metadata database; for SQLite the first one on this machine is kept and copied from then on."""
        place = self.home / "airflow.db"
        template = cache() / f"airflow-{version('apache-airflow')}.db"
        if self._shared_database is None:
            if place.exists():
                return
            if template.exists():
                shutil.copyfile(template, place)
                return
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True)
        if done.returncode:
            raise ServerError(f"airflow db migrate: code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
        if self._shared_database is None:
            cache().mkdir(parents=True, exist_ok=True)
            fresh = template.with_suffix(f".{os.getpid()}")
            shutil.copyfile(place, fresh)
            os.replace(fresh, template)

    def launch(self) -> None:
        """Start all components without waiting."""
        (self.home / "passwords.json").write_text(json.dumps({self.login: self.password}))
        self._make_database()
        for component in self._components:
            self.start_component(component)

    def start_component(self, component: str) -> None:
        """Start ``api-server``, ``scheduler``, ``dag-processor`` or ``triggerer`` if it does not run."""
        process = self._processes.get(component)
        if process is not None and process.running:
            return
        command = [sys.executable, "-m", "airflow", component, *self._options.get(component, [])]
        if component == "scheduler" and self._lasting_tasks:
            # what takes in its children when it is killed
            command = ["sh", "-c", '"$@"; exec sleep 1000000', "scheduler", *command]
        log = self.home / f"{component}.log"
        self._processes[component] = Process(
            f"Airflow {component}", command, log, env=self._env, cwd=self.home, place=self.place
        )

    def wait_ready(self, seconds: float = 180) -> None:
        """Wait until every component says that it is healthy."""
        self._processes["api-server"].wait_until(self._ready, "ready", seconds)

    def _ready(self) -> bool:
        for process in self._processes.values():
            if not process.running:
                raise ServerError(f"{process.name} ended with code {process.exit_code}\n{process.tail()}")
        health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
        parts = [name for name in self._components if name != "api-server"]
        return all(health[name.replace("-", "_")]["status"] == "healthy" for name in parts)

    def start(self) -> Airflow:
        """Start all components and wait until they are healthy."""
        self.launch()
        self.wait_ready()
        return self

    def kill_component(self, component: str) -> None:
        """kill -9 a component with all that it started (the scheduler's tasks included)."""
        self._processes[component].kill()

    def kill_scheduler_alone(self) -> None:
        """kill -9 the scheduler's own process; its executor's processes and the tasks go on."""
        process = self._processes.pop("scheduler")
        self._orphanages.append(process)
        os.kill(next(one.pid for one in running() if one.parent == process.pid), signal.SIGKILL)

    def stop(self) -> None:
        """End all components, tasks included."""
        for process in self._orphanages:
            process.kill()
        for process in self._processes.values():
            process.stop(10) if process.name.endswith("scheduler") else process.kill()

    @property
    def log(self) -> str:
        """The last lines of every component's log."""
        return "\n".join(process.tail(25) for process in self._processes.values())

    # -- REST API

    def token(self) -> str:
        """A bearer token of the administrator."""
        login = {"username": self.login, "password": self.password}
        answer = self._session.post(f"{self.url}/auth/token", json=login, timeout=30)
        answer.raise_for_status()
        return answer.json()["access_token"]

    def api(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False, **query: Any) -> Any:
        """Call the REST API (below ``/api/v2/``) as administrator; every refusal is an error.

        :param missing_ok: answer None instead of raising for 404
        :returns: the answer's JSON, None where there is none
        """
        url = f"{self.url}/api/v2/{path}"
        for _ in range(2):
            if "Authorization" not in self._session.headers:
                self._session.headers["Authorization"] = f"Bearer {self.token()}"
            answer = self._session.request(method, url, json=body, params=query, timeout=60)
            if answer.status_code != 401:  # else the token has expired
                break
            del self._session.headers["Authorization"]
        if answer.status_code == 404 and missing_ok:
            return None
        if not answer.ok:
            raise ServerError(f"Airflow: {method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def set_connection(self, conn_id: str, conn_type: str, *, extra: Mapping[str, Any] | None = None, **fields: Any):
        """Create a connection or replace it.

        :param fields: ``host``, ``port``, ``login``, ``password``, ``schema``, ``description``
        """
        self.api("DELETE", f"connections/{quote(conn_id)}", missing_ok=True)
        body = {"connection_id": conn_id, "conn_type": conn_type, **fields}
        self.api("POST", "connections", body | ({"extra": json.dumps(extra)} if extra else {}))

    def test_connection(self, conn_id: str, conn_type: str, *, extra: Mapping[str, Any] | None = None, **fields: Any):
        """What the Test button does.

        :returns: (whether it worked, what it says)
        """
        body = {"connection_id": conn_id, "conn_type": conn_type, **fields}
        answer = self.api("POST", "connections/test", body | ({"extra": json.dumps(extra)} if extra else {}))
        return answer["status"], answer["message"]

    # -- DAGs

    def add_dags(self, *sources: Path) -> None:
        """Copy files or whole directories into the DAG folder."""
        for source in sources:
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.dags, dirs_exist_ok=True, ignore=ignore)
            else:
                shutil.copy(source, self.dags / source.name)

    def wait_for_dag(self, dag_id: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until the DAG processor has it.

        :raises ServerError: a file in the DAG folder cannot be imported, or the DAG does not come
        """
        deadline = time.monotonic() + seconds
        while True:
            found = self.api("GET", f"dags/{quote(dag_id)}", missing_ok=True)
            if found is not None:
                return found
            broken = self.api("GET", "importErrors")["import_errors"]
            if broken:
                raise ServerError("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in broken))
            if time.monotonic() > deadline:
                raise ServerError(f"no DAG {dag_id} in {self.dags} after {seconds:.0f} s\n{self.log}")
            time.sleep(0.5)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Unpause a DAG and start a run.

        :returns: the run's id
        """
        self.wait_for_dag(dag_id)
        self.api("PATCH", f"dags/{quote(dag_id)}", {"is_paused": False})
        body = {"logical_date": None, "conf": dict(conf or {})} | ({"dag_run_id": run_id} if run_id else {})
        return self.api("POST", f"dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"]

    def wait(self, dag_id: str, run_id: str, seconds: float = 240, *, expect: str = "success") -> dict[str, Any]:
        """Wait for the end of a run.

        :param expect: the state that it must end in, or "" for any
        :raises ServerError: another state, with the logs of the failed tasks; or the time is up
        """
        deadline = time.monotonic() + seconds
        path = f"dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"
        while (run := self.api("GET", path))["state"] not in _ENDED:
            if time.monotonic() > deadline:
                logs = self._logs(dag_id, run_id, ("running", "up_for_retry", "failed", "upstream_failed"))
                raise ServerError(f"{dag_id} {run_id} is {run['state']} after {seconds:.0f} s\n{logs}\n{self.log}")
            time.sleep(0.5)
        if expect and run["state"] != expect:
            raise ServerError(f"{dag_id} {run_id}: {run['state']}\n{self._logs(dag_id, run_id, ('failed',))}")
        return run

    def run(self, dag_id: str, conf: Mapping[str, Any] | None = None, seconds: float = 240) -> str:
        """Start a run, wait until it has succeeded, and return its id."""
        run_id = self.trigger(dag_id, conf)
        self.wait(dag_id, run_id, seconds)
        return run_id

    def latest_run(self, dag_id: str, seconds: float = 60) -> str:
        """The id of the newest run, waiting for one: for runs that something other than the test starts."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.api("GET", f"dags/{quote(dag_id)}/dagRuns", order_by="-run_after", limit=1)["dag_runs"]
            if found:
                return found[0]["dag_run_id"]
            time.sleep(0.5)
        raise ServerError(f"nothing started {dag_id} in {seconds:.0f} s\n{self.log}")

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, mapped ones too."""
        return self.api("GET", f"dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances", limit=500)[
            "task_instances"
        ]

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, state: str = "running", seconds: float = 120):
        """Wait until a task is in a state."""
        deadline = time.monotonic() + seconds
        while True:
            found = {task["task_id"]: task["state"] for task in self.task_instances(dag_id, run_id)}
            if found.get(task_id) == state:
                return
            if time.monotonic() > deadline or found.get(task_id) in {"success", "failed"}:
                logs = self._logs(dag_id, run_id, ("running", "failed", "success"))
                raise ServerError(f"{task_id} is {found.get(task_id)}, not {state}\n{logs}\n{self.log}")
            time.sleep(0.3)

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """What "Mark as failed" (or success) in the UI does."""
        path = f"dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}"
        self.api("PATCH", path, {"new_state": state})

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """What a person does in the UI who is asked for an approval; waits until the task asks."""
        self.wait_for_task(dag_id, run_id, task_id, "awaiting_input")
        # the scheduler fails a task that is answered before it has heard that the task's process has ended
        event = "Received executor event with state success for task instance TaskInstanceKey"
        heard = f"{event}(dag_id={dag_id!r}, task_id={task_id!r}, run_id={run_id!r}"
        deadline = time.monotonic() + 60
        while heard not in (self.home / "scheduler.log").read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise ServerError(f"the scheduler has not heard that {task_id} waits\n{self.log}")
            time.sleep(0.2)
        time.sleep(0.5)
        path = f"dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}/-1/hitlDetails"
        self.api("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, try_number: int = 1) -> str:
        """A task's log as the UI shows it, one event a line."""
        path = f"dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        answer = self.api("GET", path, missing_ok=True, map_index=map_index, full_content=True)
        if answer is None:
            return ""
        content = answer["content"]
        if isinstance(content, str):
            return content
        return "\n".join(self._line(event) for event in content)

    @staticmethod
    def _line(event: Any) -> str:
        if not isinstance(event, dict):
            return str(event)
        trouble = event.get("error_detail") or []
        causes = [f"{part.get('exc_type')}: {part.get('exc_value')}" for part in trouble]
        return "\n".join([str(event.get("event", "")), *causes])

    def _logs(self, dag_id: str, run_id: str, states: tuple[str, ...], lines: int = 60) -> str:
        found: list[str] = []
        for task in self.task_instances(dag_id, run_id):
            found.append(f"{task['task_id']}[{task['map_index']}] is {task['state']}, try {task['try_number']}")
            if task["state"] in states and task["try_number"]:
                log = self.task_log(
                    dag_id, run_id, task["task_id"], map_index=task["map_index"], try_number=task["try_number"]
                )
                found += log.splitlines()[-lines:]
        return "\n".join(found)

    def xcoms(self, dag_id: str, run_id: str) -> list[Any]:
        """The values of all XComs of a run."""
        path = f"dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances"
        entries = self.api("GET", f"{path}/~/xcomEntries", limit=500)["xcom_entries"]
        return [
            self.api(
                "GET", f"{path}/{quote(one['task_id'])}/xcomEntries/{quote(one['key'], safe='')}",
                map_index=one["map_index"], deserialize=False, stringify=False,
            )["value"]
            for one in entries
        ]  # fmt: skip

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """A value that a task returned or pushed."""
        path = f"dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        return self.api("GET", path, map_index=map_index, deserialize=False)["value"]
