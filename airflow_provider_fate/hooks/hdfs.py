"""HDFS, as an Airflow connection of type ``fate_hdfs``."""

from __future__ import annotations

import getpass
import secrets
import socket
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests
from airflow.providers.common.compat.sdk import BaseHook
from requests.adapters import HTTPAdapter

from airflow_provider_fate.errors import FateError, StorageError
from airflow_provider_fate.hooks.connections import (
    Extras,
    get_connection,
    split_hosts,
    with_port,
)
from airflow_provider_fate.hooks.forms import field_behaviour, form_widgets
from airflow_provider_fate.hooks.network import reason
from airflow_provider_fate.hooks.webhdfs import FailoverMixin, SimpleClient, WebHdfsStorage

_EXTRAS = (
    "hdfs_url", "root_path", "use_ssl", "verify", "ca_file", "client_cert", "client_key", "auth", "timeout",
)  # fmt: skip


class FateHdfsHook(BaseHook):
    """Tables, models and jobs below one directory of an HDFS.

    The worker speaks WebHDFS with the namenodes in ``host`` (several, separated by commas: the active one is found);
    Spark reads and writes the same files under ``hdfs_url``.

    :param conn_id: a connection of type ``fate_hdfs``
    """

    conn_name_attr = "conn_id"
    default_conn_name = "fate_hdfs_default"
    conn_type = "fate_hdfs"
    hook_name = "FATE HDFS"

    # Airflow 3.1 looks for these two in the class itself

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        return field_behaviour(cls.conn_type)

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    # -- what the connection says

    @cached_property
    def _connection(self) -> Any:
        return get_connection(
            self.conn_id,
            [self.conn_type],
            "HDFS",
            "--conn-type fate_hdfs --conn-host NAMENODE --conn-port 9870 --conn-login USER "
            """--conn-extra '{"hdfs_url": "hdfs://NAMENODE:8020"}'""",
        )

    @cached_property
    def _extras(self) -> Extras:
        return Extras(self._connection, _EXTRAS)

    @property
    def user(self) -> str:
        """The HDFS user: the login, else the account that Airflow runs under."""
        return self._connection.login or getpass.getuser()

    @property
    def kerberos(self) -> bool:
        return self._extras.text("auth", "simple", ("simple", "kerberos")) == "kerberos"

    @property
    def root_path(self) -> str:
        """Absolute path in HDFS below which everything lies."""
        path = self._extras.text("root_path", "/fate") or "/fate"
        parts = path.strip("/").split("/")
        if not path.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise self._extras.error("root_path", f"{path!r} is not an absolute path below /, such as /fate")
        return "/" + "/".join(parts)

    @property
    def hdfs_url(self) -> str:
        """The file system as Spark names it, without a path."""
        url = self._extras.text("hdfs_url")
        example = "such as hdfs://namenode:8020 (fs.defaultFS in core-site.xml) is expected; Spark uses it"
        if not url:
            raise self._extras.error("hdfs_url", f"it is not set; an address {example}")
        parts = urlsplit(url)
        try:
            parts.port  # noqa: B018 - it is parsed when asked for
        except ValueError:
            raise self._extras.error("hdfs_url", f"{url!r} has no valid port; an address {example}") from None
        if parts.scheme not in ("hdfs", "viewfs") or not parts.hostname or "@" in parts.netloc:
            raise self._extras.error("hdfs_url", f"{url!r} is not understood; an address {example}")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise self._extras.error("hdfs_url", f"{url!r} has a path: put the path into root_path")
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def url(self) -> str:
        """The root as Spark names it."""
        return self.hdfs_url + self.root_path

    @property
    def namenodes(self) -> list[str]:
        """Base addresses of the namenodes' HTTP servers, in the connection's order."""
        use_ssl = self._extras.flag("use_ssl", False)
        port = self._connection.port or (9871 if use_ssl else 9870)
        scheme = "https" if use_ssl else "http"
        return [f"{scheme}://{with_port(host, port)}" for host in split_hosts(self._connection)]

    # -- use

    @cached_property
    def client(self) -> FailoverMixin:
        """The WebHDFS client (a subclass of ``hdfs.Client``)."""
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=20))
        certificate, key = self._extras.text("client_cert"), self._extras.text("client_key")
        if key and not certificate:
            raise self._extras.error("client_key", "it is set without client_cert")
        if certificate:
            session.cert = (certificate, key) if key else certificate
        verify: bool | str = self._extras.flag("verify", True)
        if verify and (ca_file := self._extras.text("ca_file")):
            verify = ca_file
        settings = {
            "session": session,
            "seconds": self._extras.number("timeout", 60, 1, 3600),
            "verify": verify,
        }
        for name in ("ca_file", "client_cert", "client_key"):
            self._extras.file(name)
        url = ";".join(self.namenodes)
        if self.kerberos:
            return _kerberos_client(self._extras)(url, **settings)
        return SimpleClient(url, user=self.user, **settings)

    def get_conn(self) -> Any:
        return self.client

    @cached_property
    def storage(self) -> WebHdfsStorage:
        """The files below the root."""
        return WebHdfsStorage(self.client, self.root_path, self.url, self.user)

    def spark_settings(self) -> dict[str, Any]:
        """What a Spark application needs to reach the same files.

        :returns: ``env_vars`` and ``conf`` for spark-submit, and ``job_file_part`` for the job file; no secrets
        """
        if self.kerberos:
            # the ticket is Spark's (principal and keytab of its connection); this makes it fetch a token for it
            return {
                "env_vars": {},
                "conf": {"spark.kerberos.access.hadoopFileSystems": self.hdfs_url},
                "job_file_part": {"url": self.url},
            }
        return {
            "env_vars": {"HADOOP_USER_NAME": self.user},
            "conf": {"spark.executorEnv.HADOOP_USER_NAME": self.user},
            "job_file_part": {"url": self.url},
        }

    # -- test

    def test_connection(self) -> tuple[bool, str]:
        """Write, read and delete a probe file below the root, and look at Spark's address."""
        try:
            storage = self.storage
            self._probe(storage)
            self._reach_spark_address()
        except (FateError, OSError) as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - the form shows no traceback
            return False, f"the test of connection {self.conn_id!r} failed: {type(error).__name__}: {reason(error)}"
        notes = [f"{server}: {why}" for server, why in self._silent_namenodes().items()]
        free = self._free_bytes()
        text = f"Wrote, read and deleted a file below {self.url} as {self.user}"
        text += f"; {free / 1e9:.1f} GB free" if free is not None else ""
        return True, text + (f". Not usable: {'; '.join(notes)}" if notes else "")

    def _probe(self, storage: WebHdfsStorage) -> None:
        name, content = f".probe-{secrets.token_hex(8)}", secrets.token_bytes(1024)
        with storage.open_write(name) as stream:
            stream.write(content)
        try:
            read = storage.read_bytes(name)
        finally:
            storage.delete(name)
        if read != content:
            raise StorageError(f"a probe file below {storage.url} came back with other bytes than were written")

    def _reach_spark_address(self) -> None:
        parts = urlsplit(self.hdfs_url)
        if parts.scheme != "hdfs" or parts.port is None:  # a name that Hadoop's configuration resolves
            return
        try:
            socket.create_connection((parts.hostname, parts.port), 10).close()
        except OSError as error:
            raise StorageError(
                f"WebHDFS works, but not the address that Spark uses: hdfs_url {self.hdfs_url}: {reason(error)}"
            ) from error

    def _silent_namenodes(self) -> dict[str, str]:
        """Namenodes that cannot be used now, and why."""
        found = {}
        for url in self.namenodes:
            server = urlsplit(url).netloc
            try:
                answer = self.client._request("GET", f"{url}/webhdfs/v1/", params={"op": "GETFILESTATUS"})
            except requests.RequestException as error:
                found[server] = reason(error)
                continue
            if answer.status_code == 403 and "StandbyException" in answer.text:
                found[server] = "is a standby (takes over when the active one fails)"
        return found

    def _free_bytes(self) -> int | None:
        query = {"qry": "Hadoop:service=NameNode,name=FSNamesystemState"}
        for url in self.namenodes:
            try:
                beans = self.client._request("GET", f"{url}/jmx", params=query).json()["beans"]
                return int(beans[0]["CapacityRemaining"])
            except (requests.RequestException, ValueError, KeyError, IndexError, TypeError):
                continue
        return None


def _kerberos_client(extras: Extras) -> type:
    try:
        from hdfs.ext.kerberos import KerberosClient
    except ImportError:
        raise extras.error(
            "auth", "kerberos needs the package requests-kerberos: pip install 'airflow-provider-fate[kerberos]'"
        ) from None

    class TicketClient(FailoverMixin, KerberosClient):
        """Authenticates with the ticket of the account that Airflow runs under."""

    return TicketClient
