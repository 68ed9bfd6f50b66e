"""A RabbitMQ broker as the fields of a connection, or an object within one, name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from airflow.sdk.log import mask_secret

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.hooks.connections import Extras, get_connection, split_hosts
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, Tls

CONN_TYPE = "fate_rabbitmq"
EXAMPLE = "--conn-type fate_rabbitmq --conn-host BROKER --conn-login USER --conn-password ... --conn-schema VHOST"
_TLS = ("use_ssl", "verify", "ca_file", "client_cert", "client_key")
EXTRAS = (
    *_TLS,
    "management_port",
    "management_scheme",
    "routes",
    "upstreams",
    "max_message_size",
    "connection_timeout",
    "reconnect_timeout",
    "private_key",
    "peer_keys",
)
_INLINE = ("host", "port", "vhost", "login", "password", *_TLS)


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


def peers_brokers(extras: Extras, field: str, purpose: str) -> dict[str, Broker]:
    """Party id -> broker, from a field that names each by the id of a connection or describes it in an object.

    :param field: ``routes`` or ``upstreams``
    :param purpose: what each is for, e.g. ``the route to party``
    :raises ConnectionConfigError: what is wrong with which field
    """
    found = {}
    for party_id, target in extras.mapping(field).items():
        place = f"{field}.{party_id}"
        try:
            Party("host", party_id)
        except ConfigError as error:
            raise extras.error(place, error.problem) from None
        if isinstance(target, str):
            peer = get_connection(target, [CONN_TYPE], f"{purpose} {party_id}", EXAMPLE)
            found[party_id] = broker_of(peer, Extras(peer, EXTRAS))
        elif isinstance(target, Mapping):
            found[party_id] = _inline(extras, place, dict(target))
        else:
            raise extras.error(place, "the id of a fate_rabbitmq connection is expected, or an object")
    return found


def _inline(extras: Extras, place: str, target: dict[str, Any]) -> Broker:
    """A broker that stands in the field itself."""
    if unknown := sorted(set(target) - set(_INLINE)):
        raise extras.error(f"{place}.{unknown[0]}", f"this field is not known; known are {', '.join(_INLINE)}")
    if target.get("password"):
        mask_secret(str(target["password"]))
    fields = {name: target.pop(name, None) for name in ("host", "port", "vhost", "login", "password")}
    if not isinstance(fields["host"], str) or not fields["host"]:
        raise extras.error(f"{place}.host", "a host name is expected")
    port = fields["port"]
    if port is not None and (not str(port).isdigit() or not 0 < int(port) < 65536):
        raise extras.error(f"{place}.port", f"{port!r} is not a port; expected 1 to 65535")
    tls = tls_settings(extras.nested(place, target))
    return Broker(
        host=",".join(host.strip() for host in fields["host"].split(",")),
        port=int(port) if port else 5671 if tls else 5672,
        vhost=str(fields["vhost"] or "/"),
        login=str(fields["login"] or "guest"),
        password=str(fields["password"] or ""),
        tls=tls,
    )
