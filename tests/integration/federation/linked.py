"""Two parties, each with a broker of its own, and the brokers linked by federation."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow_provider_fate.hooks.job_links import JobLinks
from airflow_provider_fate.hooks.rabbitmq import FateRabbitMQHook
from airflow_provider_fate.runtime.federation.config import transport_from_config
from tests.servers.rabbitmq import RabbitMQNode
from tests.unit.federation.playing import GUEST, HOST, JOB, Player

#: what a peer's broker may do at ours: read the queues that are addressed to it, as docs/connections.md has it
READ_ONLY = {"configure": "^$", "write": "^$"}


def rabbitmqctl(node: RabbitMQNode, *arguments: str) -> None:
    """Run RabbitMQ's own command line tool on a node's machine."""
    env = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | {
        "HOME": str(node.directory),
        "RABBITMQ_NODENAME": f"{node.name}@localhost",
        "RABBITMQ_CONF_ENV_FILE": str(node.directory / "rabbitmq-env.conf"),
        "ERL_EPMD_PORT": str(node._epmd_port),
    }
    tool = "/usr/lib/rabbitmq/bin/rabbitmqctl"
    subprocess.run([tool, *arguments], env=env, check=True, capture_output=True, timeout=60)


class Side:
    """One party: its broker with a vhost of its own, its account there, and the one that it made for the peer's broker.

    :param party: its role and party id
    :param peer: the party id of the other one
    """

    def __init__(self, node: RabbitMQNode, party: Any, peer: str) -> None:
        self.node = node
        self.party = party
        self.vhost = node.new_vhost()
        word = secrets.token_hex(3)
        self.login, self.password = f"own-{word}", secrets.token_hex(8)
        self.peers_login, self.peers_password = f"party-{peer}-{word}", f"p%:/@?&{secrets.token_hex(8)}"
        node.add_user(self.login, self.password, "policymaker,monitoring")
        own = r"^fate\..*"
        node.allow(self.login, self.vhost, configure=own, write=rf"{own}|^amq\.default$", read=own)
        node.add_user(self.peers_login, self.peers_password)
        node.allow(self.peers_login, self.vhost, **READ_ONLY, read=rf"^fate\..*-{peer}$")

    @property
    def logins(self) -> set[str]:
        """Of the application, and of the peer's broker."""
        return {self.login, self.peers_login}

    def upstream(self, tls: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the peer puts into ``upstreams`` for this party."""
        fields = {"host": self.node.host, "vhost": self.vhost, "login": self.peers_login}
        fields |= {"port": self.node.tls_port if tls else self.node.port, "password": self.peers_password}
        return {**fields, **(tls or {})}

    def hook(self, connect: Callable[..., str], upstreams: Mapping[str, Any], **extra: Any) -> FateRabbitMQHook:
        node = self.node
        fields = {"host": node.host, "port": node.port, "schema": self.vhost, "login": self.login}
        extra = {"management_port": node.management_port, "connection_timeout": 5, "upstreams": upstreams, **extra}
        return FateRabbitMQHook(connect("fate_rabbitmq", password=self.password, extra=extra, **fields))

    def objects(self) -> dict[str, list[str]]:
        """Names of what there is in the vhost."""
        vhost = quote(self.vhost, safe="")
        kinds = {"queues": "queues", "policies": "policies", "upstreams": "parameters/federation-upstream"}
        found = {kind: self.node.api("GET", f"{path}/{vhost}") for kind, path in kinds.items()}
        return {kind: sorted(one["name"] for one in objects) for kind, objects in found.items()}


#: what is left in a vhost where nothing is left
NOTHING: dict[str, list[str]] = {"queues": [], "policies": [], "upstreams": []}


def sides(nodes: tuple[RabbitMQNode, RabbitMQNode]) -> tuple[Side, Side]:
    return Side(nodes[0], GUEST, HOST.party_id), Side(nodes[1], HOST, GUEST.party_id)


def hooks(
    pair: tuple[Side, Side], connect: Callable[..., str], tls: Any = (None, None), extra: Any = ({}, {})
) -> tuple[FateRabbitMQHook, FateRabbitMQHook]:
    """Each with the other as its upstream.

    :param tls: how each is reached by the other
    """
    guest, host = pair
    return (
        guest.hook(connect, {host.party.party_id: host.upstream(tls[1])}, **extra[0]),
        host.hook(connect, {guest.party.party_id: guest.upstream(tls[0])}, **extra[1]),
    )


def tls_of(node: RabbitMQNode, client: bool = True) -> dict[str, Any]:
    """How another broker on the same machine reaches a node with TLS."""
    files: dict[str, Path] = {"ca_file": node.authority.certificate}
    if client:
        files |= {"client_cert": node.client_certificate.certificate, "client_key": node.client_certificate.key}
    return {"host": "localhost", "use_ssl": True, **{name: str(path) for name, path in files.items()}}


def links_of(hook: FateRabbitMQHook, party: Any, job: str = JOB) -> JobLinks:
    found = hook.job_links(job, party, (GUEST, HOST))
    assert found is not None
    return found


@contextmanager
def linked(both: tuple[FateRabbitMQHook, FateRabbitMQHook], wait: float = 30.0):
    """The two players of a job, with their links set up before and taken down afterwards, as the operators do."""
    links = [links_of(hook, party) for hook, party in zip(both, (GUEST, HOST), strict=True)]
    for one in links:
        one.set_up()
    players = tuple(
        Player(None, party, (GUEST, HOST), transport=transport_from_config(hook.transport_config()), wait=wait)
        for hook, party in zip(both, (GUEST, HOST), strict=True)
    )
    try:
        yield players
    except BaseException:
        for player in players:
            player.session.abort("the test fails")
        raise
    finally:
        for one in links:
            one.take_down(6)
