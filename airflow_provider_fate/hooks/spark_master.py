"""Spark's cluster managers: what an address means, and whether there is one."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import requests

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.hooks.connections import ConnectionConfigError
from airflow_provider_fate.hooks.network import reason

_LOCAL = re.compile(r"local(\[(\*|[1-9]\d*)(\s*,\s*[1-9]\d*)?\])?|local-cluster\[\s*\d+\s*,\s*\d+\s*,\s*\d+\s*\]")
_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[1-9]\d{0,4}"
_STANDALONE = re.compile(rf"spark://{_HOST}(,{_HOST})*")
_EXPECTED = (
    "expected local[*] or local[4], spark://host:7077 (several separated by commas), yarn, or k8s://https://host:port"
)
#: seconds to wait for a master
SECONDS = 10.0


class MasterError(FateError):
    """A cluster manager cannot be reached, or is something else."""


def kind_of(master: str) -> str:
    """``local``, ``standalone``, ``yarn`` or ``k8s``.

    :raises ConnectionConfigError: it is no address that Spark knows
    """
    if _LOCAL.fullmatch(master):
        return "local"
    if _STANDALONE.fullmatch(master):
        return "standalone"
    if master == "yarn":
        return "yarn"
    if master.startswith("k8s://") and len(master) > len("k8s://"):
        return "k8s"
    raise ConnectionConfigError("Spark master", f"{master!r} is not an address of a cluster manager; {_EXPECTED}")


def reach(master: str, resource_manager: str | None, env: Mapping[str, str]) -> str:
    """Try to reach the cluster manager; gives what was found.

    :param resource_manager: address of YARN's web interface, where known
    :raises MasterError: it cannot be reached
    """
    kind = kind_of(master)
    if kind == "local":
        return f"{master}: Spark runs on this machine"
    if kind == "standalone":
        return _reach_standalone(master)
    if kind == "yarn":
        return _reach_yarn(resource_manager, env)
    return _reach_kubernetes(master)


def _connect(host: str, port: int, what: str) -> socket.socket:
    try:
        return socket.create_connection((host, port), SECONDS)
    except OSError as error:
        raise MasterError(f"{what} at {host}:{port} cannot be reached: {reason(error)}") from error


def _reach_standalone(master: str) -> str:
    alive, dead = [], []
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            _ask_standalone(host.strip("[]"), int(port))
            alive.append(address)
        except MasterError as error:
            dead.append(str(error))
    if not alive:
        raise MasterError("; ".join(dead))
    found = f"Spark master answers at {', '.join(alive)}"
    return "; not usable: ".join([found, *dead])


def _ask_standalone(host: str, port: int) -> None:
    """Ask in Spark's own protocol for a file that there is not: any Spark server says so.

    A frame is its length (8 bytes, itself included), the type (1 byte; 6 asks for a stream, 8 says that there is
    none) and a text with its length (4 bytes); see Spark's ``network-common``, ``protocol/Message.java``.
    """
    name = b"/files/is-this-spark"
    frame = struct.pack(">qbi", 8 + 1 + 4 + len(name), 6, len(name)) + name
    with _connect(host, port, "the Spark master") as link:
        link.settimeout(SECONDS)
        try:
            link.sendall(frame)
            answer = b""
            while len(answer) < 9 and (more := link.recv(9 - len(answer))):
                answer += more
        except OSError as error:
            raise MasterError(
                f"something listens at {host}:{port}, but does not answer as a Spark master: {reason(error)}"
            ) from error
    if len(answer) < 9 or answer[8] not in (7, 8):
        raise MasterError(
            f"something listens at {host}:{port}, but it is no Spark master; is it the port of its web page? "
            "(Or Spark's RPC is encrypted; then this test cannot tell.)"
        )


def _reach_yarn(resource_manager: str | None, env: Mapping[str, str]) -> str:
    directory = env.get("HADOOP_CONF_DIR") or env.get("YARN_CONF_DIR")
    if not directory:
        raise MasterError("YARN needs Hadoop's configuration: set HADOOP_CONF_DIR on the worker")
    if not any((Path(directory) / name).is_file() for name in ("yarn-site.xml", "core-site.xml")):
        raise MasterError(f"HADOOP_CONF_DIR is {directory}, where there is neither yarn-site.xml nor core-site.xml")
    if not resource_manager:
        return f"YARN as {directory} describes it (its address was not tried: yarn_resourcemanager_webapp_address)"
    url = resource_manager if "://" in resource_manager else f"http://{resource_manager}"
    try:
        answer = requests.get(f"{url.rstrip('/')}/ws/v1/cluster/info", timeout=SECONDS)
    except requests.RequestException as error:
        raise MasterError(f"YARN's resource manager at {url} cannot be reached: {reason(error)}") from error
    if answer.status_code in (401, 403):
        return f"YARN's resource manager answers at {url} (and wants a Kerberos ticket)"
    try:
        state = answer.json()["clusterInfo"]["state"]
    except (ValueError, KeyError, TypeError):
        raise MasterError(f"{url} does not answer as YARN's resource manager does ({answer.status_code})") from None
    return f"YARN's resource manager at {url} is {state}"


def _reach_kubernetes(master: str) -> str:
    address = master.removeprefix("k8s://")
    parts = urlsplit(address if "://" in address else f"https://{address}")
    try:
        host, port = parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        host, port = None, 0
    if not host:
        raise MasterError(f"{master!r} names no API server; expected k8s://https://host:port")
    _connect(host, port, "Kubernetes' API server").close()
    return f"Kubernetes' API server listens at {host}:{port}"


def environment_of(env_vars: Mapping[str, str] | None) -> dict[str, str]:
    """The worker's environment with what a job adds."""
    return {**os.environ, **{name: str(value) for name, value in (env_vars or {}).items()}}
