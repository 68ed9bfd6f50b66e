"""A transport from the JSON that the job file carries."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Transport
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport

_SSL = ("ca_file", "client_cert", "client_key", "verify")
_BROKER = ("host", "port", "vhost", "login", "password", "ssl")
_KEYS = ("private_key", "peer_keys")
_KINDS = {
    "directory": ("path", "max_message_size", *_KEYS),
    "rabbitmq": (
        *_BROKER, "routes", "federated", "max_message_size", "connection_timeout", "reconnect_timeout", *_KEYS,
    ),  # fmt: skip
}
_SMALLEST, _LARGEST = 1 << 12, 1 << 27  # bytes of a message


def transport_from_config(config: Mapping[str, Any]) -> Transport:
    """The transport that ``config`` describes, not yet connected.

    ``{"kind": "directory", "path": ..., "max_message_size": ...}``, or ``{"kind": "rabbitmq", "host": ..., "port": ...,
    "vhost": ..., "login": ..., "password": ..., "ssl": {"ca_file", "client_cert", "client_key", "verify"}, "routes":
    {party_id: the same six}, "federated": [party_id], "max_message_size": bytes, "connection_timeout": seconds,
    "reconnect_timeout": seconds}``. ``host`` may name several nodes of a cluster, separated by commas. With
    ``"private_key": ..., "peer_keys": {party_id: ...}`` messages are encrypted from party to party, see :mod:`.sealed`.

    :raises ConfigError: an unknown or missing key, or a value that it cannot have
    """
    place = "transport"
    if not isinstance(config, Mapping):
        raise ConfigError(place, f"expected an object, got {type(config).__name__}")
    kind = config.get("kind")
    if kind not in _KINDS:
        raise ConfigError(f"{place}.kind", f"{kind!r} is not a transport; expected one of {', '.join(_KINDS)}")
    values = {key: value for key, value in config.items() if key != "kind"}
    _only(values, _KINDS[kind], place)
    keys = _keys(values, place)
    transport = _plain(kind, values, place)
    if keys is None:
        return transport

    from airflow_provider_fate.runtime.federation.sealed import SealedTransport

    return SealedTransport(transport, keys)


def _keys(values: Mapping[str, Any], place: str) -> Any:
    if not values.get("private_key"):
        if values.get("peer_keys"):
            raise ConfigError(f"{place}.private_key", "peer_keys are given without it")
        return None
    from airflow_provider_fate.runtime.federation.keys import Keys

    return Keys.parse(values["private_key"], values.get("peer_keys"), f"{place}.")


def _plain(kind: str, values: Mapping[str, Any], place: str) -> Transport:
    size = _number(values, "max_message_size", place, 1 << 20, _SMALLEST, _LARGEST, int)
    if kind == "directory":
        path = values.get("path")
        if not isinstance(path, str) or not os.path.isabs(path):
            raise ConfigError(f"{place}.path", f"expected an absolute path, got {path!r}")
        return DirectoryTransport(path, max_body=size)

    from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport

    routes = values.get("routes") or {}
    if not isinstance(routes, Mapping):
        raise ConfigError(f"{place}.routes", "expected an object of brokers by party id")
    brokers = {}
    for party_id, route in routes.items():
        Party("host", party_id)
        brokers[str(party_id)] = _broker(route, f"{place}.routes.{party_id}")
    federated = _federated(values.get("federated") or [], brokers, place)
    return RabbitMQTransport(
        _broker({key: value for key, value in values.items() if key in _BROKER}, place),
        brokers,
        federated=federated,
        max_body=size,
        connect_seconds=_number(values, "connection_timeout", place, 10.0, 0, 3600, float),
        reconnect_seconds=_number(values, "reconnect_timeout", place, 300.0, 0, 86400, float),
    )


def _federated(party_ids: Any, routes: Mapping[str, Any], place: str) -> list[str]:
    if not isinstance(party_ids, list):
        raise ConfigError(f"{place}.federated", "expected a list of party ids")
    found = [Party("host", party_id).party_id for party_id in party_ids]
    if both := sorted(set(found) & set(routes)):
        raise ConfigError(f"{place}.federated", f"party {both[0]} is in routes as well")
    return found


def _broker(values: Any, place: str) -> Any:
    from airflow_provider_fate.runtime.federation.amqp import Broker, Tls

    if not isinstance(values, Mapping):
        raise ConfigError(place, f"expected an object with {', '.join(_BROKER)}")
    _only(values, _BROKER, place)
    tls = values.get("ssl")
    if tls is not None:
        if not isinstance(tls, Mapping):
            raise ConfigError(f"{place}.ssl", f"expected an object with {', '.join(_SSL)}, or null for no TLS")
        _only(tls, _SSL, f"{place}.ssl")
        if not isinstance(tls.get("verify", True), bool):
            raise ConfigError(f"{place}.ssl.verify", "expected true or false")
        files = {name: _text(tls, name, f"{place}.ssl", None) for name in ("ca_file", "client_cert", "client_key")}
        tls = Tls(**files, verify=tls.get("verify", True))
    host = _text(values, "host", place, None)
    if not host or not all(name.strip() for name in host.split(",")):
        raise ConfigError(f"{place}.host", "expected a host name, or several separated by commas")
    return Broker(
        host=host,
        port=_number(values, "port", place, 5671 if tls else 5672, 1, 65535, int),
        vhost=_text(values, "vhost", place, "/"),
        login=_text(values, "login", place, "guest"),
        password=_text(values, "password", place, "guest"),
        tls=tls,
    )


def _only(values: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(known)}"
            raise ConfigError(f"{place}.{key}", f"this is not known; {hint}")


def _text(values: Mapping[str, Any], key: str, place: str, default: str | None) -> Any:
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ConfigError(f"{place}.{key}", f"expected text, got {type(value).__name__}")  # the value may be a secret
    return value


def _number(
    values: Mapping[str, Any],
    key: str,
    place: str,
    default: float,
    minimum: float,
    maximum: float,
    kind: Callable[[Any], Any],
) -> Any:
    value = values.get(key)
    if value is None:
        return default
    good = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if not good or not minimum <= value <= maximum:
        what = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{place}.{key}", f"expected {what} from {minimum} to {maximum}, got {value!r}")
    return kind(value)
