"""A real PostgreSQL server of the tests' own."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from tests.servers.process import HOST, Process, Server, ServerError, free_ports, require


class PostgreSQL(Server):
    """One server with an empty cluster; its data is gone after :meth:`stop`.

    PostgreSQL refuses to run as root: there it runs as the account postgres or nobody, with its files outside the
    tests' own temporary directory, which that account cannot enter.

    :param directory: where its log goes
    """

    host = HOST
    login = "fate"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_ports(1)[0]
        self.password = secrets.token_hex(8)
        self._data: Path | None = None
        self._process: Process | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def _program(name: str) -> str:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: float(place.parent.name))
        return require(name, "postgresql", *map(str, reversed(versions)))

    @staticmethod
    def _account() -> str:
        if os.getuid() != 0:
            return ""
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name).pw_name
        raise ServerError("PostgreSQL cannot run as root, and there is neither an account postgres nor nobody")

    def start(self) -> PostgreSQL:
        """Make a cluster, start the server and wait until it answers."""
        account = self._account()
        self._data = Path(tempfile.mkdtemp(prefix="postgres-"))
        secret = self._data / "password"
        secret.write_text(self.password)
        group = None
        if account:
            group = pwd.getpwnam(account).pw_gid
            for path in (self._data, secret):
                os.chown(path, pwd.getpwnam(account).pw_uid, group)
        cluster = self._data / "cluster"
        command = [self._program("initdb"), "-D", str(cluster), "-U", self.login, "-A", "scram-sha-256"]
        command += ["--pwfile", str(secret), "--no-sync", "--encoding=UTF8", "--locale=C"]
        as_account = {"user": account, "group": group, "extra_groups": []} if account else {}
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **as_account)
        if done.returncode:
            raise ServerError(f"initdb: code {done.returncode}\n{done.stdout}{done.stderr}")
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 100,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self._process = Process(
            "PostgreSQL",
            [self._program("postgres"), "-D", str(cluster), *options],
            self.directory / "postgres.log",
            cwd=Path("/"),
            user=account,
        )
        self._process.wait_until(lambda: self.connection().close() or True, "ready", 60)
        return self

    def stop(self) -> None:
        """End the server and remove its data."""
        if self._process is not None:
            self._process.kill()
        if self._data is not None:
            shutil.rmtree(self._data, ignore_errors=True)

    @property
    def log(self) -> str:
        """The last lines of its log."""
        return self._process.tail() if self._process is not None else "(never started)"

    # -- use

    def connection(self, database: str = "postgres") -> psycopg2.extensions.connection:
        """A connection as the superuser."""
        return psycopg2.connect(
            host=self.host, port=self.port, user=self.login, password=self.password, dbname=database
        )

    def new_database(self) -> str:
        """An empty database with a name of its own."""
        name = f"test_{secrets.token_hex(4)}"
        connection = self.connection()
        try:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()
        return name

    def url(self, database: str = "postgres", driver: str = "postgresql+psycopg2") -> str:
        """An SQLAlchemy URL."""
        return f"{driver}://{self.login}:{self.password}@{self.host}:{self.port}/{database}"
