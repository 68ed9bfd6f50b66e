"""RabbitMQ, as an Airflow connection of type ``fate_rabbitmq``."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from typing import Any
from urllib.parse import quote

import pika
import requests
from airflow.providers.common.compat.sdk import BaseHook
from airflow.sdk.log import mask_secret
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    ConnectionClosedByBroker,
)

from airflow_provider_fate.errors import ConfigError, FateError, TransportError
from airflow_provider_fate.hooks.connections import Extras, get_connection, split_hosts
from airflow_provider_fate.hooks.forms import field_behaviour, form_widgets
from airflow_provider_fate.hooks.network import reason
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, Tls
from airflow_provider_fate.runtime.federation.keys import Keys, fingerprint

_TLS = ("use_ssl", "verify", "ca_file", "client_cert", "client_key")
_EXTRAS = (
    *_TLS,
    "management_port",
    "management_scheme",
    "routes",
    "max_message_size",
    "connection_timeout",
    "reconnect_timeout",
    "private_key",
    "peer_keys",
)
_ROUTE = ("host", "port", "vhost", "login", "password", *_TLS)
_EXAMPLE = "--conn-type fate_rabbitmq --conn-host BROKER --conn-login USER --conn-password ... --conn-schema VHOST"


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


def broker_of(connection: Any, extras: Extras) -> Broker:
    """The broker that a connection names."""
    tls = tls_settings(extras)
    return Broker(
        host=",".join(split_hosts(connection)),
        port=connection.port or (5671 if tls else 5672),
        vhost=connection.schema or "/",
        login=connection.login or "guest",
        password=connection.password or "",
        tls=tls,
    )


def as_config(broker: Broker) -> dict[str, Any]:
    """A broker as the job file has it, with its password."""
    fields = asdict(broker)
    return {**{name: fields[name] for name in ("host", "port", "vhost", "login", "password")}, "ssl": fields["tls"]}


def tls_settings(extras: Extras) -> Tls | None:
    """What the fields of a connection say of TLS; None where it is off."""
    files = {name: extras.text(name) for name in ("ca_file", "client_cert", "client_key")}
    if not extras.flag("use_ssl", False):
        for name, path in files.items():
            if path:
                raise extras.error(name, "it is set, but use_ssl is off")
        return None
    if files["client_key"] and not files["client_cert"]:
        raise extras.error("client_key", "it is set without client_cert")
    return Tls(**files, verify=extras.flag("verify", True))


class FateRabbitMQHook(BaseHook):
    """A party's own broker, and the ways to its peers' brokers.

    ``routes`` says for a party id which broker takes messages for it: the id of another ``fate_rabbitmq`` connection
    (``{"10000": "broker_of_10000"}``), or an object with host, port, vhost, login, password and TLS fields. A party
    without a route is reached through the own broker.

    :param conn_id: a connection of type ``fate_rabbitmq``
    """

    conn_name_attr = "conn_id"
    default_conn_name = "fate_rabbitmq_default"
    conn_type = "fate_rabbitmq"
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
        return get_connection(self.conn_id, [self.conn_type], "messages over RabbitMQ", _EXAMPLE)

    @cached_property
    def _extras(self) -> Extras:
        return Extras(self._connection, _EXTRAS)

    @cached_property
    def broker(self) -> Broker:
        """The party's own broker."""
        return broker_of(self._connection, self._extras)

    @cached_property
    def routes(self) -> dict[str, Broker]:
        """Party id -> the broker that takes messages for it."""
        found = {}
        for party_id, target in self._extras.mapping("routes").items():
            place = f"routes.{party_id}"
            try:
                Party("host", party_id)
            except ConfigError as error:
                raise self._extras.error(place, error.problem) from None
            if isinstance(target, str):
                peer = get_connection(target, [self.conn_type], f"the route to party {party_id}", _EXAMPLE)
                found[party_id] = broker_of(peer, Extras(peer, _EXTRAS))
            elif isinstance(target, Mapping):
                found[party_id] = self._inline(place, dict(target))
            else:
                raise self._extras.error(place, "the id of a fate_rabbitmq connection is expected, or an object")
        return found

    def _inline(self, place: str, target: dict[str, Any]) -> Broker:
        """A broker that stands in the routes themselves."""
        if unknown := sorted(set(target) - set(_ROUTE)):
            raise self._extras.error(f"{place}.{unknown[0]}", f"this field is not known; known are {', '.join(_ROUTE)}")
        if target.get("password"):
            mask_secret(str(target["password"]))
        fields = {name: target.pop(name, None) for name in ("host", "port", "vhost", "login", "password")}
        if not isinstance(fields["host"], str) or not fields["host"]:
            raise self._extras.error(f"{place}.host", "a host name is expected")
        port = fields["port"]
        if port is not None and (not str(port).isdigit() or not 0 < int(port) < 65536):
            raise self._extras.error(f"{place}.port", f"{port!r} is not a port; expected 1 to 65535")
        tls = tls_settings(self._extras.nested(place, target))
        return Broker(
            host=",".join(host.strip() for host in fields["host"].split(",")),
            port=int(port) if port else 5671 if tls else 5672,
            vhost=str(fields["vhost"] or "/"),
            login=str(fields["login"] or "guest"),
            password=str(fields["password"] or ""),
            tls=tls,
        )

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
            "max_message_size": self.max_message_size,
            "connection_timeout": self.timeout,
            "reconnect_timeout": self._extras.number("reconnect_timeout", 300, 1, 86400),
            **(self.keys.as_config() if self.keys else {}),
        }

    def describe(self) -> dict[str, Any]:
        """The same for logs: no secrets."""
        routes = {party_id: str(broker) for party_id, broker in self.routes.items()}
        own = fingerprint(self.keys.public) if self.keys else None
        return {
            "kind": "rabbitmq", "broker": str(self.broker), "login": self.broker.login, "routes": routes, "key": own,
        }  # fmt: skip

    # -- test

    def test_connection(self) -> tuple[bool, str]:
        """Send a probe message through each of the brokers, read the permissions, and reach the peers' brokers."""
        try:
            notes = [*self._test_keys(), *self._test_own(), *self._test_management(), *self._test_routes()]
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

    def _get(self, session: requests.Session, url: str) -> requests.Response:
        tls = self.broker.tls
        verify: bool | str = True if tls is None else (tls.ca_file or True) if tls.verify else False
        # not session.verify, which REQUESTS_CA_BUNDLE in the environment would override
        return session.get(url, timeout=self.timeout, verify=verify)

    def _whoami(self, session: requests.Session) -> tuple[str, requests.Response]:
        """The first management API that answers, and what it says of the account."""
        problem = ""
        for url in self.management_urls:
            try:
                return url, self._get(session, f"{url}/api/whoami")
            except requests.RequestException as error:
                problem = problem or f"messages work, but not the management API at {url}: {reason(error)}"
        raise TransportError(
            f"{problem}; set management_port and management_scheme, or management_port 0 to do without"
        )

    def _test_management(self) -> list[str]:
        if not self.management_urls:
            return ["management API not used"]
        broker = self.broker
        with requests.Session() as session:
            session.auth = (broker.login, broker.password)
            if broker.tls and broker.tls.client_cert:
                key = broker.tls.client_key
                session.cert = (broker.tls.client_cert, key) if key else broker.tls.client_cert
            url, answer = self._whoami(session)
            place = f"the management API at {url}"
            if answer.status_code in (401, 403):
                raise TransportError(
                    f"messages work, but {place} refuses {broker.login!r}; give the account the tag management, "
                    "or set management_port 0 to do without"
                )
            try:
                name = answer.json()["name"]
            except (ValueError, KeyError, TypeError):
                raise TransportError(
                    f"messages work, but {place} does not answer as RabbitMQ's does ({answer.status_code}); "
                    "check management_port"
                ) from None
            rights_path = f"permissions/{quote(broker.vhost, safe='')}/{quote(name, safe='')}"
            answer = self._get(session, f"{url}/api/{rights_path}")
        if answer.status_code in (401, 403):
            return [f"management API: {name!r}, who may not read permissions (the probe needed none that are missing)"]
        if answer.status_code != 200:
            raise TransportError(f"messages work, but {place} does not know {name!r}'s permissions")
        rights = answer.json()
        missing = [right for right in ("configure", "write", "read") if not rights.get(right)]
        if missing:
            raise TransportError(f"{name!r} lacks permissions in vhost {broker.vhost!r}: {', '.join(missing)}")
        told = ", ".join(f"{right} {rights[right]!r}" for right in ("configure", "write", "read"))
        return [f"management API: {name!r} has {told}"]

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
