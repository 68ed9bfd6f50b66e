"""RabbitMQ, as an Airflow connection of type ``fate_rabbitmq``."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import quote

import pika
from airflow.providers.common.compat.sdk import BaseHook
from airflow.sdk.log import mask_secret
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    ConnectionClosedByBroker,
)

from airflow_provider_fate.errors import ConfigError, FateError, TransportError
from airflow_provider_fate.hooks.broker_fields import CONN_TYPE, EXAMPLE, EXTRAS, as_config, broker_of, peers_brokers
from airflow_provider_fate.hooks.broker_links import BrokerLinks
from airflow_provider_fate.hooks.connections import Extras, get_connection
from airflow_provider_fate.hooks.forms import field_behaviour, form_widgets
from airflow_provider_fate.hooks.job_links import JobLinks
from airflow_provider_fate.hooks.management import Management
from airflow_provider_fate.hooks.network import reason
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker
from airflow_provider_fate.runtime.federation.keys import Keys, Pair, fingerprint


def connect(broker: Broker, timeout: float) -> pika.BlockingConnection:
    """An AMQP connection to the one host of ``broker``. :raises TransportError: where, who and why."""
    try:
        parameters = broker.parameters("airflow-provider-fate", timeout)
        parameters.blocked_connection_timeout = timeout
        return pika.BlockingConnection(parameters)
    except FateError:
        raise
    except Exception as error:  # pika lets errors of sockets, TLS and its own through
        raise broker.problem(error)[0] from error


class FateRabbitMQHook(BaseHook):
    """A party's own broker, and the ways to its peers' brokers.

    ``routes`` says for a party id which broker takes messages for it: the id of another ``fate_rabbitmq`` connection
    (``{"10000": "broker_of_10000"}``), or an object with host, port, vhost, login, password and TLS fields. A party
    without a route is reached through the own broker.

    ``upstreams`` says for a party id, in the same way, from which broker the own one fetches what that party sends:
    the two brokers are linked by RabbitMQ federation, and the application speaks to its own only. The brokers find each
    other, so that paths of PEM files in an upstream are paths at the own broker.

    :param conn_id: a connection of type ``fate_rabbitmq``
    """

    conn_name_attr = "conn_id"
    default_conn_name = "fate_rabbitmq_default"
    conn_type = CONN_TYPE
    hook_name = "FATE RabbitMQ"

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
        return get_connection(self.conn_id, [self.conn_type], "messages over RabbitMQ", EXAMPLE)

    @cached_property
    def _extras(self) -> Extras:
        return Extras(self._connection, EXTRAS)

    @cached_property
    def broker(self) -> Broker:
        """The party's own broker."""
        return broker_of(self._connection, self._extras)

    @cached_property
    def routes(self) -> dict[str, Broker]:
        """Party id -> the broker that takes messages for it."""
        return peers_brokers(self._extras, "routes", "the route to party")

    @cached_property
    def upstreams(self) -> dict[str, Broker]:
        """Party id -> the broker from which the own broker fetches what that party sends.

        :raises ConnectionConfigError: one is wrong, or such a party has a route as well
        """
        found = peers_brokers(self._extras, "upstreams", "the upstream of party")
        for party_id, broker in found.items():
            if party_id in self.routes:
                raise self._extras.error(
                    f"upstreams.{party_id}", "the party is in routes as well; our messages go either to its broker or "
                    "to our own, from which its broker fetches them: leave one out",
                )  # fmt: skip
            if broker.tls and broker.tls.verify and not broker.tls.ca_file:
                raise self._extras.error(
                    f"upstreams.{party_id}", "ca_file is empty; our broker needs a PEM file, on its own machine, of "
                    "the authorities to trust",
                )  # fmt: skip
            mask_secret(quote(broker.password, safe=""))
        if found and not self.management_urls:
            raise self._extras.error("management_port", "it is 0, and upstreams are set up through the management API")
        return found

    @cached_property
    def keys(self) -> Keys | None:
        """The long-term keys by which messages are encrypted from party to party; None where they are not.

        :raises ConnectionConfigError: a key is none, or there are ``peer_keys`` without a ``private_key``
        """
        private, peers = self._extras.text("private_key"), self._extras.mapping("peer_keys")
        if not private:
            if peers:
                raise self._extras.error("private_key", "it is empty, and peer_keys are given")
            return None
        try:
            return Keys.parse(private, peers)
        except ConfigError as error:
            raise self._extras.error(error.path, error.problem) from None

    @property
    def max_message_size(self) -> int:
        """The largest message body, in bytes."""
        return self._extras.integer("max_message_size", 1 << 20, 1 << 12, 1 << 27)

    @property
    def timeout(self) -> float:
        """Seconds to wait for a broker when connecting."""
        return self._extras.number("connection_timeout", 10, 1, 600)

    @property
    def management_urls(self) -> list[str]:
        """The management API of each of the own broker's hosts; none where ``management_port`` is 0."""
        tls = self.broker.tls is not None
        scheme = self._extras.text("management_scheme", "https" if tls else "http", ("http", "https"))
        port = self._extras.integer("management_port", 15671 if scheme == "https" else 15672, 0, 65535)
        return [f"{scheme}://{one.host}:{port}" for one in self.broker.each] if port else []

    # -- use

    def get_conn(self) -> pika.BlockingConnection:
        """An AMQP connection to the first of the broker's hosts that answers."""
        problem: TransportError | None = None
        for node in self.broker.each:
            try:
                return connect(node, self.timeout)
            except TransportError as error:
                problem = problem or error
        assert problem is not None, "a connection has at least one host"
        raise problem

    def transport_config(self) -> dict[str, Any]:
        """What the application needs to exchange messages. Holds passwords: only for the job file."""
        return {
            "kind": "rabbitmq",
            **as_config(self.broker),
            "routes": {party_id: as_config(broker) for party_id, broker in self.routes.items()},
            "federated": sorted(self.upstreams),
            "max_message_size": self.max_message_size,
            "connection_timeout": self.timeout,
            "reconnect_timeout": self._extras.number("reconnect_timeout", 300, 1, 86400),
            **(self.keys.as_config() if self.keys else {}),
        }

    def describe(self) -> dict[str, Any]:
        """The same for logs: no secrets."""
        routes = {party_id: str(broker) for party_id, broker in self.routes.items()}
        upstreams = {party_id: str(broker) for party_id, broker in self.upstreams.items()}
        own = fingerprint(self.keys.public) if self.keys else None
        return {
            "kind": "rabbitmq", "broker": str(self.broker), "login": self.broker.login, "routes": routes,
            "upstreams": upstreams, "key": own,
        }  # fmt: skip

    @property
    def links(self) -> BrokerLinks | None:
        """The own broker's links to the peers'; None where there are no ``upstreams``."""
        if not self.upstreams:
            return None
        management = Management(self.broker, self.management_urls, self.timeout)
        return BrokerLinks(self.broker, management, self.upstreams, self.timeout)

    def check_keys(self, job_id: str, me: Party, parties: Iterable[Party]) -> None:
        """See before a job begins that messages can be encrypted for all its parties.

        :raises ConnectionConfigError: for one of them no key is pinned, or none that can be used
        """
        if self.keys is None:
            return
        try:
            for peer in parties:
                if peer != me:
                    Pair.of(self.keys, job_id, me, peer)
        except ConfigError as error:
            raise self._extras.error(error.path, error.problem) from None

    def job_links(self, job_id: str, me: Party, parties: Iterable[Party]) -> JobLinks | None:
        """Those of one job; None where it needs none."""
        links = self.links
        job = JobLinks(links, job_id, me, parties) if links is not None else None
        return job if job is not None and job.peers else None

    # -- test

    def test_connection(self) -> tuple[bool, str]:
        """Send a probe message through each of the brokers, read the permissions, reach the peers', try links."""
        try:
            notes = [*self._test_keys(), *self._test_own(), *self._test_management(), *self._test_routes()]
            notes += self._test_links()
        except FateError as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - the form shows no traceback
            return False, f"the test of connection {self.conn_id!r} failed: {type(error).__name__}: {reason(error)}"
        return True, "; ".join(notes)

    def _test_keys(self) -> list[str]:
        if self.keys is None:
            return ["Messages are not encrypted from party to party (private_key is empty)"]
        pinned = [f"{party_id} {fingerprint(public)}" for party_id, public in self.keys.peers.items()]
        return [
            f"Messages are encrypted; the fingerprint of the own public key is {fingerprint(self.keys.public)}, pinned "
            f"are {', '.join(pinned) or 'none, so that nobody can be met'}"
        ]

    def _test_own(self) -> list[str]:
        broker, dead, alive = self.broker, [], []
        size = self.max_message_size
        for node in broker.each:
            try:
                connection = connect(node, self.timeout)
            except TransportError as error:
                dead.append(error)
                continue
            try:
                self._probe(connection, size)
            finally:
                if connection.is_open:
                    connection.close()
            alive.append(f"{node.host}:{node.port}")
        if not alive:
            raise dead[0]
        note = f"A message of {size} bytes went through {', '.join(alive)} (vhost {broker.vhost!r}) as {broker.login!r}"
        return [note, *(f"not usable: {error}" for error in dead)]

    def _probe(self, connection: pika.BlockingConnection, size: int) -> None:
        """Make a queue, publish with confirmation, read the message back."""
        queue, body = f"fate.probe.{secrets.token_hex(8)}", secrets.token_bytes(size)
        with self._step("make a queue", "configure"):
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare(queue, exclusive=True, auto_delete=True)
        with self._step(f"publish a message of {size} bytes", "write"):
            channel.basic_publish("", queue, body, mandatory=True)
        with self._step("read a message", "read"):
            deadline, came = time.monotonic() + self.timeout, None
            while came is None and time.monotonic() < deadline:
                _, _, came = channel.basic_get(queue, auto_ack=True)
        if came != body:
            raise TransportError(f"{self.broker}: the probe message did not come back as it was sent")

    @contextmanager
    def _step(self, action: str, right: str) -> Iterator[None]:
        start = f"connected to {self.broker}, but {self.broker.login!r} cannot {action}"
        try:
            yield
        except ConnectionBlockedTimeout as error:
            raise TransportError(
                f"{start}: the broker takes no messages for now (its memory or disk alarm is on)"
            ) from error
        except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
            if error.reply_code == 403:
                text = f"{start}: permission refused; give the account the {right} right for names fate.*"
                text += " (and for amq.default)" if right == "write" else ""
                raise TransportError(text) from error
            if error.reply_code in (406, 501) and "size" in error.reply_text:
                raise TransportError(f"{start}: {error.reply_text}; lower max_message_size") from error
            raise TransportError(f"{start}: {error.reply_code} {error.reply_text}") from error
        except (AMQPError, OSError) as error:
            raise TransportError(f"{start}: {reason(error)}") from error

    def _test_management(self) -> list[str]:
        if not self.management_urls:
            return ["management API not used"]
        broker, management = self.broker, Management(self.broker, self.management_urls, self.timeout)
        try:
            answer = management.request("GET", "whoami")
        except TransportError as error:
            raise TransportError(f"messages work, but not {error}, or management_port 0 to do without") from error
        place = f"the management API at {management.url}"
        if answer.status in (401, 403):
            raise TransportError(
                f"messages work, but {place} refuses {broker.login!r}; give the account the tag management, "
                "or set management_port 0 to do without"
            )
        name = answer.content.get("name") if isinstance(answer.content, dict) else None
        if not isinstance(name, str):
            raise TransportError(
                f"messages work, but {place} does not answer as RabbitMQ's does ({answer.status}); "
                "check management_port"
            )
        answer = management.request("GET", "permissions", broker.vhost, name)
        if answer.status in (401, 403):
            return [f"management API: {name!r}, who may not read permissions (the probe needed none that are missing)"]
        if answer.status != 200 or not isinstance(answer.content, dict):
            raise TransportError(f"messages work, but {place} does not know {name!r}'s permissions")
        rights = answer.content
        missing = [right for right in ("configure", "write", "read") if not rights.get(right)]
        if missing:
            raise TransportError(f"{name!r} lacks permissions in vhost {broker.vhost!r}: {', '.join(missing)}")
        told = ", ".join(f"{right} {rights[right]!r}" for right in ("configure", "write", "read"))
        return [f"management API: {name!r} has {told}"]

    def _test_links(self) -> list[str]:
        links = self.links
        return [links.test(party_id) for party_id in self.upstreams] if links is not None else []

    def _test_routes(self) -> list[str]:
        notes = []
        for party_id, broker in self.routes.items():
            for node in broker.each:
                try:
                    connect(node, self.timeout).close()
                    break
                except TransportError as error:
                    problem = error
            else:
                raise TransportError(f"the own broker works, but not the route to party {party_id}: {problem}")
            notes.append(f"party {party_id} is reached at {node.host}:{node.port}")
        return notes
