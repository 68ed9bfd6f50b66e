"""A real nginx of the tests' own, with the configuration that a site exposes to its partners."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.servers.certificates import Authority, Certificate
from tests.servers.process import HERE, Place, Process, Server, ServerError, free_ports, is_open, require

DEPLOYED = Path(__file__).parents[2] / "deploy" / "nginx"

_MAIN = """\
daemon off;
worker_processes 1;
pid {place}/nginx.pid;
error_log stderr notice;
{user}
events {{
    worker_connections 1024;
}}
http {{
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    access_log off;
    include {place}/fate-site.conf;
}}
"""


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """What ``envsubst`` makes of the deployed configuration.

    :raises ServerError: a name has no value, or a value has no place
    """
    names = set(re.findall(r"\$\{(\w+)\}", template))
    if names != set(values):
        raise ServerError(f"the configuration has {sorted(names)}, and values are there for {sorted(values)}")
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], template)


class Nginx(Server):
    """One nginx on a free port, before one API server, with certificates of authorities of its own.

    :param directory: where its configuration, certificates and logs go
    :param upstream: port of the API server
    :param dag_id: the DAG that the partner with :attr:`client` may start
    :param show_tasks: let partners see the tasks of a run
    :param place: where it and the API server run
    """

    def __init__(
        self,
        directory: Path,
        upstream: int,
        *,
        dag_id: str = "fate_invited",
        prefix: str = "/airflow",
        answer_keys: str = "fate_answer",
        show_tasks: bool = True,
        place: Place = HERE,
    ) -> None:
        self.place = place
        self.host = place.public
        self.directory = directory
        self.port = free_ports(1)[0]
        self.authority = Authority(directory / "site")
        self.partners = Authority(directory / "partners", f"authority of the partners at {self.port}")
        #: what a partner shows
        self.client: Certificate = self.partners.issue("partner")
        self.url = f"https://{self.host}:{self.port}{prefix}"
        self.access_log = directory / "access.log"
        self._process: Process | None = None
        server = self.authority.issue("server", self.host, "localhost")
        values = {
            "FATE_LISTEN": f"{place.listen}:{self.port}",
            "FATE_SERVER_NAME": "localhost",
            "FATE_PREFIX": prefix,
            "FATE_PARTNERS": str(directory / "partners.list"),
            "FATE_UPSTREAM": f"{place.host}:{upstream}",
            "FATE_CERTIFICATE": str(server.certificate),
            "FATE_CERTIFICATE_KEY": str(server.key),
            "FATE_PARTNERS_CA": str(self.partners.certificate),
            "FATE_ANSWER_KEYS": answer_keys,
            "FATE_SHOW_TASKS": "on" if show_tasks else "off",
            "FATE_LOG": str(self.access_log),
        }
        self.let_in([("CN=partner", dag_id)])
        template = (DEPLOYED / "fate-site.conf.template").read_text()
        (directory / "fate-site.conf").write_text(fill_in(template, values))
        user = "user root;" if os.geteuid() == 0 else ""  # its workers must read the certificates' directory
        (directory / "nginx.conf").write_text(_MAIN.format(place=directory, user=user))

    def let_in(self, partners: Iterable[tuple[str, str]]) -> None:
        """Write which certificate reaches which DAG; one that runs reads it at :meth:`reload`.

        :param partners: subject of a certificate, as RFC 2253 writes it, and id of a DAG
        """
        lines = [f'"{subject} {dag_id}" yes;\n' for subject, dag_id in partners]
        (self.directory / "partners.list").write_text("".join(lines))

    def start(self) -> Nginx:
        """Start and wait until it listens, on the same port each time."""
        if self._process is None or not self._process.running:
            program = require("nginx", "nginx", "/usr/sbin")
            command = [program, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf"), "-e", "stderr"]
            self._process = Process(
                "nginx", command, self.directory / "nginx.log", cwd=self.directory, place=self.place
            )
        self._process.wait_until(lambda: is_open(self.port, self.place.host), "listening", 20)
        return self

    def stop(self) -> None:
        """End it at once, requests included."""
        if self._process is not None:
            self._process.stop(10)

    def kill(self) -> None:
        """kill -9 of the master and its workers."""
        if self._process is not None:
            self._process.kill()

    def reload(self) -> None:
        """Read configuration and certificates again, and wait until no worker has the old ones: while both are there,
        either may take the next request. Requests that are under way are finished."""
        if self._process is None:
            return
        old = self._workers()
        self._process.signal(signal.SIGHUP)
        self._process.wait_until(
            lambda: (now := self._workers()) and not now & old, "done with its old configuration", 30
        )

    def _workers(self) -> set[int]:
        assert self._process is not None
        pid = self._process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def log(self) -> str:
        """The last lines of its log."""
        return self._process.tail() if self._process is not None else "(never started)"
