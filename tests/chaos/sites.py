"""Two organisations, each with an Airflow, a broker and a storage, in networks of their own where the machine can."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from tests.chaos.jobs import ALL, EXAMPLES, Run, settings
from tests.servers.airflow import Airflow
from tests.servers.hdfs import HDFS
from tests.servers.network import Network, missing
from tests.servers.nginx import Nginx
from tests.servers.organisations import key_pairs, route
from tests.servers.process import HERE, Place, Server, ServerError
from tests.servers.processes import Running, running
from tests.servers.rabbitmq import RabbitMQNode
from tests.servers.spark import SparkStandalone

DAGS = Path(__file__).with_name("dags")
#: soon enough for a test, and late enough for a busy machine
_IMPATIENT = {
    "scheduler.scheduler_health_check_threshold": 15,
    "scheduler.orphaned_tasks_check_interval": 10,
    "scheduler.task_instance_heartbeat_timeout": 25,
    "scheduler.task_instance_heartbeat_timeout_detection_interval": 5,
}
_DISK_MIB = 160


class Site:
    """What one organisation has.

    :param name: for people
    :param parties: that it plays
    :param directory: of its files
    :param place: where its servers run
    """

    def __init__(self, name: str, parties: Iterable[str], directory: Path, place: Place) -> None:
        self.name, self.parties, self.directory, self.place = name, tuple(parties), directory, place
        self.temporary = directory / "tmp"
        self.temporary.mkdir(parents=True)
        self.airflow: Airflow
        self.broker: RabbitMQNode
        self.vhost = ""
        self.hdfs: HDFS | None = None
        self.spark: SparkStandalone | None = None

    # -- files in the storage

    def files(self, path: str = "") -> dict[str, bytes]:
        """The files below a path of the storage, by their paths below it."""
        if self.hdfs is None:
            root = self.directory / "storage" / path
            return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        client, root = self.hdfs.client(), f"/fate/{path}".rstrip("/")
        if client.status(root, strict=False) is None:
            return {}
        found: dict[str, bytes] = {}
        for directory, _, names in client.walk(root):
            for name in names:
                with client.read(f"{directory}/{name}") as stream:
                    found[f"{directory}/{name}".removeprefix(f"{root}/")] = stream.read()
        return found

    def paths(self, path: str = "") -> list[str]:
        """All files and directories below a path of the storage."""
        if self.hdfs is None:
            root = self.directory / "storage" / path
            return sorted(str(one.relative_to(root)) for one in root.rglob("*"))
        client, root = self.hdfs.client(), f"/fate/{path}".rstrip("/")
        if client.status(root, strict=False) is None:
            return []
        walked = client.walk(root)
        return sorted(f"{at}/{name}".removeprefix(f"{root}/") for at, dirs, names in walked for name in (*dirs, *names))

    def model(self, run: Run, party: str) -> dict[str, bytes]:
        """A party's part of a run's model, but for the description that has dates in it."""
        found = self.files(f"models/{run.job.model_id}/{run.job_id}/{party}")
        return {name: content for name, content in found.items() if name != "_model.json"}

    # -- tasks

    def dag_of(self, run: Run, party: str) -> tuple[str, str]:
        """The ids of the DAG and of the run in which a party takes part."""
        if party.startswith("guest"):
            return run.job.dag_id, run.run_id
        return run.job.invited[party], run.job_id

    def tries(self, run: Run, party: str, task_id: str = "train") -> list[Path]:
        """The log files of a task, one for each try."""
        dag_id, run_id = self.dag_of(run, party)
        directory = self.airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return sorted(directory.glob("attempt=*.log"))

    def log(self, run: Run, party: str, task_id: str = "train") -> str:
        """All that the tries of a party's task have logged, one event a line."""
        lines: list[str] = []
        for path in self.tries(run, party, task_id):
            for line in path.read_text(errors="replace").splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    lines.append(line)
                    continue
                if isinstance(event, dict):
                    causes = [
                        f"{one.get('exc_type')}: {one.get('exc_value')}" for one in event.get("error_detail") or ()
                    ]
                    lines += [str(event.get("event", "")), *causes]
        return "\n".join(lines)

    def state(self, run: Run, party: str) -> str | None:
        """Of a party's run."""
        dag_id, run_id = self.dag_of(run, party)
        found = self.airflow.api("GET", f"dags/{dag_id}/dagRuns/{run_id}", missing_ok=True)
        return None if found is None else found["state"]

    # -- processes

    def processes(self) -> list[Running]:
        """All that this site's tasks have started: spark-submit, its JVM and its Python."""
        home = f"AIRFLOW_HOME={self.airflow.home}"
        return [
            one for one in running()
            if ("spark" in one.line or "airflow_provider_fate/runtime" in one.line) and home in one.environment
        ]  # fmt: skip

    def all_processes(self) -> dict[int, Running]:
        """All that runs on this machine, by process id."""
        return {one.pid: one for one in running()}

    def drivers(self, run: Run, party: str) -> list[Running]:
        """The Python processes that play a party in a run; the parent of each is its JVM."""
        jvms = {one.pid for one in self.processes() if f"{run.job_id} {party}" in one.words}
        return [one for one in running() if one.parent in jvms and one.words[-1].endswith(f"{party}.json")]


class Sites(Server):
    """The bank, which invites, with HDFS; and the telco, with nginx and a Spark cluster.

    :param directory: for all files
    :param linked: each broker fetches what is for it from the other (RabbitMQ federation); otherwise parties send to
        each other's broker
    """

    def __init__(self, directory: Path, *, linked: bool = False) -> None:
        self.directory = directory
        self.linked = linked
        self.lacking = missing()
        self._stack = ExitStack()
        self.network: Network | None = None
        self.bank: Site
        self.telco: Site
        self.nginx: Nginx
        self.disk: Path | None = None

    def __iter__(self):
        return iter((self.bank, self.telco))

    def site_of(self, party: str) -> Site:
        return self.bank if party in self.bank.parties else self.telco

    # -- life

    def start(self) -> Sites:
        if not self.lacking:
            self.network = self._stack.enter_context(Network("bank", "telco"))
        places = self.network.places if self.network else {"bank": HERE, "telco": HERE}
        self.bank = Site("bank", ["guest-9999"], self.directory / "bank", places["bank"])
        self.telco = Site("telco", ["host-10000", "arbiter-10000"], self.directory / "telco", places["telco"])
        self._start_servers()
        self._connect()
        self._copy_dags()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda site: site.airflow.run("upload", seconds=240), self))
        for job in ALL:
            self.bank.airflow.wait_for_dag(job.dag_id)
            for dag_id in job.invited.values():
                self.telco.airflow.wait_for_dag(dag_id)
        return self

    def _start_servers(self) -> None:
        settings = {
            "api.base_url": "https://localhost/airflow",
            "core.simple_auth_manager_users": "admin:admin,bank:user",
        }
        bank, telco = self.bank, self.telco
        for site in self:
            more = {} if site is bank else settings
            env = {"TMPDIR": str(site.temporary)}
            site.airflow = Airflow(
                site.directory / "airflow", settings=_IMPATIENT | more, env=env, triggerer=True,
                proxy_headers=site is telco, place=site.place, lasting_tasks=True,
            )  # fmt: skip
            place = self._small_disk() if site is telco and not self.lacking else site.directory / "broker"
            site.broker = RabbitMQNode(place, f"fate-{site.name}", place=site.place)
        bank.hdfs = HDFS(bank.directory / "hdfs", place=bank.place)
        telco.spark = SparkStandalone(telco.directory / "spark", place=telco.place)
        self.nginx = Nginx(telco.directory / "nginx", telco.airflow.port, place=telco.place)
        self.nginx.let_in([("CN=partner", dag_id) for dag_id in ("fate_invited", "fate_invited_arbiter")])
        servers = [bank.broker, telco.broker, bank.hdfs, telco.spark, self.nginx, bank.airflow, telco.airflow]
        with ThreadPoolExecutor(len(servers)) as pool:
            begun = [pool.submit(self._stack.enter_context, server) for server in servers]
        for one in begun:
            one.result()

    def _small_disk(self) -> Path:
        """A disk of the telco's broker's own, so that it can be filled; a directory where none can be mounted."""
        place = self.telco.directory / "broker"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(place)]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            self.disk = place
            self._stack.callback(subprocess.run, ["umount", "-l", str(place)], check=False)
        return place

    def _connect(self) -> None:
        bank, telco = self.bank, self.telco
        for site in self:
            site.vhost = site.broker.new_vhost("fate")
        peers = {
            bank: {"10000": route(telco.broker, telco.vhost, host=telco.place.public, **self._account(telco, "9999"))},
            telco: {"9999": route(bank.broker, bank.vhost, host=bank.place.public, **self._account(bank, "10000"))},
        }
        mode = "upstreams" if self.linked else "routes"
        for site, keys in zip(self, key_pairs("9999", "10000"), strict=True):
            broker = site.broker
            site.airflow.set_connection(
                "fate_transport", "fate_rabbitmq", host=broker.host, port=broker.port, schema=site.vhost,
                login=broker.login, password=broker.password,
                extra={"management_port": broker.management_port, mode: peers[site], **keys},
            )  # fmt: skip
        hdfs = bank.hdfs
        root = hdfs.new_directory("/fate", hdfs.superuser)
        bank.airflow.set_connection(
            "fate_storage", "fate_hdfs", host=hdfs.host, port=hdfs.http_port, login=hdfs.superuser,
            extra={"hdfs_url": hdfs.url, "root_path": root},
        )  # fmt: skip
        telco.airflow.set_connection("fate_storage", "fs", extra={"path": str(telco.directory / "storage")})
        bank.airflow.set_connection("fate_spark", "fate_spark", host="local[1]")
        telco.airflow.set_connection("fate_spark", "fate_spark", host=telco.spark.url)
        passwords = json.loads((telco.airflow.home / "passwords.json").read_text())
        tls = {
            "ca_file": str(self.nginx.authority.certificate), "client_cert": str(self.nginx.client.certificate),
            "client_key": str(self.nginx.client.key), "timeout": 20,
        }  # fmt: skip
        for conn_id, dag_id in (
            ("fate_site_10000", "fate_invited"),
            ("fate_site_10000_arbiter", "fate_invited_arbiter"),
        ):
            bank.airflow.set_connection(
                conn_id, "fate_site", host=self.nginx.url, login="bank", password=passwords["bank"],
                extra={**tls, "dag_id": dag_id},
            )  # fmt: skip

    def _account(self, site: Site, party_id: str) -> dict[str, str]:
        """Of another party at a site's broker, with no more rights than the documentation gives it."""
        login, password = f"party-{party_id}", secrets.token_hex(16)
        site.broker.add_user(login, password)
        read = rf"^fate\..*-{party_id}$" if self.linked else "^$"
        write = "^$" if self.linked else r"^amq\.default$"
        site.broker.allow(login, site.vhost, configure="^$", write=write, read=read)
        return {"login": login, "password": password}

    def _copy_dags(self) -> None:
        for site, file in ((self.bank, "chaos_invite.py"), (self.telco, "chaos_invited.py")):
            folder = site.directory / "dags"
            folder.mkdir()
            (folder / "chaos.json").write_text(json.dumps(settings()))
            shutil.copy(DAGS / "chaos_policy.yaml", folder)
            shutil.copytree(EXAMPLES / "data", folder / "data")
            shutil.copy(DAGS / file, folder)  # last: Airflow reads it as soon as it is there
            site.airflow.add_dags(folder)

    def stop(self) -> None:
        self._stack.close()

    # -- state

    def has_ended(self, run: Run) -> bool:
        """Whether the runs of all parties have; an Airflow that does not answer has not."""
        try:
            return all(self.site_of(party).state(run, party) in ("success", "failed") for party in run.job.parties)
        except (requests.RequestException, ServerError):
            return False

    def at_brokers(self) -> dict[str, Any]:
        """All that a job may make at a broker, by site."""
        found = {}
        for site in self:
            parts = ("vhosts", "users", "queues", "exchanges", "policies", "parameters", "permissions")
            names = {
                part: sorted(
                    "/".join(str(one.get(key, "")) for key in ("vhost", "user", "name"))
                    for one in site.broker.api("GET", part)
                )
                for part in parts
            }
            found[site.name] = names
        return found
