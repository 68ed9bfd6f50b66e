"""A real RabbitMQ node of the tests' own, with the management and federation plugins."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika
import requests

from tests.servers.certificates import Authority, Certificate
from tests.servers.process import HERE, HOST, Place, Process, ServerError, free_ports, require

_PLUGINS = "[rabbitmq_management,rabbitmq_federation,rabbitmq_federation_management]."


class RabbitMQNode:
    """One broker: its own Erlang node, data directory, ports and epmd.

    :param directory: where its data, configuration and log go; a node started again there keeps its data
    :param name: name of the Erlang node, for messages and logs
    :param tls: also listen for TLS, with certificates of an authority of its own
    :param settings: lines of ``rabbitmq.conf`` by their names, over the defaults below
    :param place: where it runs
    """

    vhost = "/"

    def __init__(
        self,
        directory: Path,
        name: str = "rabbit",
        *,
        tls: bool = False,
        settings: Mapping[str, str] | None = None,
        place: Place = HERE,
    ) -> None:
        self.place = place
        self.host = place.host
        self.directory = directory
        self.name = name
        self.login = "fate"
        self.password = secrets.token_hex(8)
        self.port, self.management_port, self.tls_port, self._dist_port, self._epmd_port = free_ports(5)
        self.authority: Authority | None = None
        self.client_certificate: Certificate | None = None
        self._process: Process | None = None
        self._session = requests.Session()
        self._session.auth = (self.login, self.password)
        self._session.trust_env = False
        directory.mkdir(parents=True, exist_ok=True)
        self._write_configuration(tls, settings or {})

    def _write_configuration(self, tls: bool, settings: Mapping[str, str]) -> None:
        lines = [
            f"listeners.tcp.1 = {self.place.listen}:{self.port}",
            f"management.tcp.ip = {self.place.listen}",
            f"management.tcp.port = {self.management_port}",
            f"default_user = {self.login}",
            f"default_pass = {self.password}",
            "collect_statistics_interval = 1000",  # milliseconds: tests look at queue lengths
            "disk_free_limit.absolute = 50MB",
            "log.console = true",
            "log.console.level = info",
            "log.file = false",
        ]
        if tls:
            self.authority = Authority(self.directory / "tls")
            server = self.authority.issue("server", self.place.public, "localhost")
            self.client_certificate = self.authority.issue("client")
            lines += [
                f"listeners.ssl.1 = {self.place.listen}:{self.tls_port}",
                f"ssl_options.cacertfile = {self.authority.certificate}",
                f"ssl_options.certfile = {server.certificate}",
                f"ssl_options.keyfile = {server.key}",
                "ssl_options.verify = verify_peer",
                "ssl_options.fail_if_no_peer_cert = false",
            ]
        lines += [f"{name} = {value}" for name, value in settings.items()]  # the last of a name counts
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.directory / "enabled_plugins").write_text(_PLUGINS + "\n")
        (self.directory / "rabbitmq-env.conf").write_text("")  # Debian's own is not read

    # -- life

    def launch(self) -> None:
        """Start the process without waiting: several nodes come up side by side."""
        if self._process is not None and self._process.running:
            return
        # Not the wrapper in /usr/sbin, which insists on the account rabbitmq.
        server = require("rabbitmq-server", "rabbitmq-server", "/usr/lib/rabbitmq/bin")
        place = self.directory
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        env |= {
            "HOME": str(place),  # where the Erlang cookie goes
            "RABBITMQ_NODENAME": f"{self.name}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(place / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(place / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(place / "mnesia"),
            "RABBITMQ_LOG_BASE": str(place / "log"),
            "RABBITMQ_PID_FILE": str(place / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
        }
        self._process = Process(
            f"RabbitMQ ({self.name})", [server], place / "node.log", env=env, cwd=place, place=self.place
        )

    def wait_ready(self, seconds: float = 120) -> None:
        """Wait until AMQP and the management API answer."""
        assert self._process is not None, "launch() comes first"
        self._process.wait_until(self._ready, "ready", seconds)

    def _ready(self) -> bool:
        if self.api("GET", "overview")["object_totals"] is None:
            return False
        self.connection(attempts=1).close()
        return True

    def start(self) -> RabbitMQNode:
        """Start and wait until it serves; data of an earlier start is there again."""
        self.launch()
        self.wait_ready()
        return self

    def stop(self) -> None:
        """Shut down in order (some seconds); data stays."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """kill -9; data stays as a crash leaves it."""
        if self._process is not None:
            self._process.kill()

    def restart(self, *, crash: bool = False) -> None:
        """Stop and start again on the same ports with the same data.

        :param crash: kill -9 instead of an orderly stop
        """
        (self.kill if crash else self.stop)()
        self.start()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """Of the process that all others of the node descend from."""
        assert self._process is not None, "launch() comes first"
        return self._process.pid

    @property
    def log(self) -> str:
        """The last lines of its log."""
        return self._process.tail() if self._process is not None else "(never started)"

    def __enter__(self) -> RabbitMQNode:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *exc: object) -> None:
        self.kill()  # an orderly stop takes six seconds, and nobody reads the data again

    # -- use

    def connection(self, vhost: str | None = None, *, attempts: int = 3) -> pika.BlockingConnection:
        """An AMQP connection as the node's administrator."""
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                self.host,
                self.port,
                self.vhost if vhost is None else vhost,
                pika.PlainCredentials(self.login, self.password),
                connection_attempts=attempts,
                socket_timeout=10,
                blocked_connection_timeout=60,
            )
        )

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the management API; every refusal is an error.

        :param path: below ``/api/``, its parts already quoted
        :returns: the answer's JSON, None where there is none
        """
        url = f"http://{self.host}:{self.management_port}/api/{path}"
        answer = self._session.request(method, url, json=body, timeout=20)
        if not answer.ok:
            raise ServerError(f"RabbitMQ ({self.name}): {method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def new_vhost(self, name: str | None = None) -> str:
        """A virtual host with a name of its own, in which the administrator may do everything."""
        name = name or f"test-{secrets.token_hex(4)}"
        self.api("PUT", f"vhosts/{quote(name, safe='')}")
        self.allow(self.login, name)
        return name

    def add_user(self, login: str, password: str, tags: str = "") -> None:
        """An account, which may do nothing yet."""
        self.api("PUT", f"users/{quote(login, safe='')}", {"password": password, "tags": tags})

    def allow(self, login: str, vhost: str, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        """Give an account permissions in a virtual host (regular expressions over names)."""
        self.api(
            "PUT",
            f"permissions/{quote(vhost, safe='')}/{quote(login, safe='')}",
            {"configure": configure, "write": write, "read": read},
        )

    def queues(self, vhost: str | None = None) -> dict[str, int]:
        """Names of the queues and how many messages each holds, as the broker itself counts now."""
        vhost = self.vhost if vhost is None else vhost
        names = [q["name"] for q in self.api("GET", f"queues/{quote(vhost, safe='')}?columns=name")]
        found: dict[str, int] = {}
        connection = self.connection(vhost)
        try:
            for name in names:
                found[name] = connection.channel().queue_declare(name, passive=True).method.message_count
        finally:
            connection.close()
        return found
