"""A real HDFS of the tests' own: one NameNode and one DataNode, with WebHDFS."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import hdfs
import requests

from tests.servers.hadoop_jars import cache, hadoop_jars
from tests.servers.process import HERE, Place, Process, Server, ServerError, free_ports, require

_JVM = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"]
_MAIN = {
    "namenode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "datanode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
}


class HDFS(Server):
    """NameNode and DataNode on free ports; who starts it is the superuser.

    :param directory: where its data and logs go; started again there, it has its data still
    :param place: where it runs
    """

    def __init__(self, directory: Path, *, place: Place = HERE) -> None:
        self.place = place
        self.host = place.host
        self.directory = directory
        self.superuser = getpass.getuser()
        self.rpc_port, self.http_port, *self._datanode_ports = free_ports(5)
        self._processes: dict[str, Process] = {}
        self._dumping: dict[Path, Path] = {}
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """What Spark and ``fs.defaultFS`` take."""
        return f"hdfs://{self.host}:{self.rpc_port}"

    @property
    def web_url(self) -> str:
        """What a WebHDFS client takes."""
        return f"http://{self.host}:{self.http_port}"

    def client(self, user: str | None = None) -> hdfs.InsecureClient:
        """A WebHDFS client, as the superuser where no user is given."""
        session = requests.Session()
        session.trust_env = False
        return hdfs.InsecureClient(self.web_url, user=user or self.superuser, session=session, timeout=30)

    def new_directory(self, path: str, owner: str, permission: str = "755") -> str:
        """Make a directory that belongs to a user, as an administrator would."""
        client = self.client()
        client.makedirs(path)
        client.set_owner(path, owner=owner)
        client.set_permission(path, permission)
        return path

    # -- life

    def _settings(self) -> dict[str, str]:
        data, http, ipc = self._datanode_ports
        return {
            "fs.defaultFS": self.url,
            "hadoop.tmp.dir": str(self.directory / "tmp"),
            "hadoop.caller.context.enabled": "false",
            "dfs.replication": "1",
            "dfs.namenode.name.dir": f"file://{self.directory}/name",
            "dfs.datanode.data.dir": f"file://{self.directory}/data",
            "dfs.namenode.rpc-address": f"{self.host}:{self.rpc_port}",
            "dfs.namenode.http-address": f"{self.host}:{self.http_port}",
            "dfs.datanode.address": f"{self.host}:{data}",
            "dfs.datanode.http.address": f"{self.host}:{http}",
            "dfs.datanode.ipc.address": f"{self.host}:{ipc}",
            "dfs.datanode.hostname": self.host,
            "dfs.namenode.safemode.extension": "0",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.namenode.fs-limits.min-block-size": "1024",
            "dfs.heartbeat.interval": "1",
            "dfs.namenode.edits.noeditlogchannelflush": "true",
        }

    def _command(self, daemon: str, *arguments: str) -> list[str]:
        jars = sorted(hadoop_jars().glob("*.jar"))
        settings = [word for key, value in self._settings().items() for word in ("-D", f"{key}={value}")]
        jvm = [*_JVM, *([] if arguments else self._class_data(daemon, jars))]
        java = require("java", "openjdk-17-jre-headless", f"{os.environ.get('JAVA_HOME', '')}/bin")
        (self.directory / "tmp").mkdir(exist_ok=True)
        jvm.append(f"-Djava.io.tmpdir={self.directory}/tmp")
        return [java, *jvm, "-cp", ":".join(map(str, jars)), _MAIN[daemon], *settings, *arguments]

    def _class_data(self, daemon: str, jars: list[Path]) -> list[str]:
        """Java flags that use an archive of loaded classes (halves the start), or write it at the end of this run."""
        java = require("java", "openjdk-17-jre-headless", f"{os.environ.get('JAVA_HOME', '')}/bin")
        version = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
        key = hashlib.sha256(f"{version}{jars}{_JVM}".encode()).hexdigest()[:10]
        archive = cache() / f"hdfs-{daemon}-{key}.jsa"
        if archive.exists():
            return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        fresh = archive.with_suffix(f".{os.getpid()}")
        self._dumping[fresh] = archive
        return [f"-XX:ArchiveClassesAtExit={fresh}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]

    def _format(self) -> None:
        """Lay an empty file system; the first one on this machine is kept and copied from then on."""
        name, template = self.directory / "name", cache() / f"{hadoop_jars().name}.formatted"
        if name.exists():
            return
        if not template.exists():
            done = subprocess.run(
                self._command("namenode", "-format", "-force", "-nonInteractive"), capture_output=True, text=True
            )
            if done.returncode:
                raise ServerError(f"HDFS cannot be formatted: code {done.returncode}\n{done.stderr[-4000:]}")
            fresh = template.with_suffix(f".{os.getpid()}")
            shutil.copytree(name, fresh)
            try:
                os.rename(fresh, template)
            except OSError:  # another test run was first
                shutil.rmtree(fresh)
            return
        shutil.copytree(template, name)

    def start(self) -> HDFS:
        """Start both daemons and wait until files can be written; data of an earlier start is there again."""
        self._format()
        for daemon in _MAIN:
            self.start_daemon(daemon)
        self.wait_ready()
        return self

    def start_daemon(self, daemon: str) -> None:
        """Start ``namenode`` or ``datanode`` if it does not run, without waiting."""
        running = self._processes.get(daemon)
        if running is not None and running.running:
            return
        log = self.directory / f"{daemon}.log"
        self._processes[daemon] = Process(
            f"HDFS {daemon}", self._command(daemon), log, cwd=self.directory, place=self.place
        )

    def wait_ready(self, seconds: float = 120) -> None:
        """Wait until the NameNode is out of safe mode and has its DataNode."""
        self._processes["namenode"].wait_until(self._ready, "ready", seconds)

    def _ready(self) -> bool:
        datanode = self._processes["datanode"]
        if not datanode.running:
            raise ServerError(f"{datanode.name} ended with code {datanode.exit_code}\n{datanode.tail()}")
        query = {"qry": "Hadoop:service=NameNode,name=FSNamesystemState"}
        with requests.Session() as session:
            session.trust_env = False
            state = session.get(f"{self.web_url}/jmx", params=query, timeout=5).json()["beans"][0]
        return state["NumLiveDataNodes"] >= 1 and state["FSState"] == "Operational"

    def stop(self) -> None:
        """Shut both daemons down in order; data stays."""
        for process in reversed(self._processes.values()):
            process.stop()
        for fresh, archive in self._dumping.items():
            if fresh.exists():
                os.replace(fresh, archive)
        self._dumping.clear()

    def kill(self, daemon: str) -> None:
        """kill -9 ``namenode`` or ``datanode``; data stays as a crash leaves it."""
        self._processes[daemon].kill()

    @property
    def log(self) -> str:
        """The last lines of both logs."""
        return "\n".join(process.tail() for process in self._processes.values())
