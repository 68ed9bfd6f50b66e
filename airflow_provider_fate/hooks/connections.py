"""Airflow connections, read strictly: what is missing, of another type or unknown is named."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseHook

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import did_you_mean

if TYPE_CHECKING:
    from airflow.sdk import Connection

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


class ConnectionConfigError(ConfigError, AirflowException):
    """A connection is missing or wrong. Also an AirflowException, so that Airflow's Test button shows its text."""


def get_connection(conn_id: str, types: Iterable[str], purpose: str, example: str) -> Connection:
    """The connection ``conn_id``, which must be of one of ``types``.

    :param purpose: what it is wanted for, e.g. ``storage``
    :param example: arguments for ``airflow connections add ID`` that make such a connection
    :raises ConnectionConfigError: there is none, or it is of another type
    """
    types = tuple(types)
    expected = " or ".join(types)
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConnectionConfigError(
            f"connection {conn_id!r}",
            f"there is no such connection; a connection of type {expected} is expected for {purpose}. "
            f"Make it in Airflow's admin, or with: airflow connections add {conn_id} {example}",
        ) from None
    if connection.conn_type not in types:
        raise ConnectionConfigError(
            f"connection {conn_id!r}",
            f"it is of type {connection.conn_type!r}; for {purpose} a connection of type {expected} is expected",
        )
    return connection


class Extras:
    """The extra fields of a connection. An empty field counts as not set.

    :param connection: the connection
    :param known: the fields that there are; another one is refused with the nearest known name
    """

    def __init__(self, connection: Connection, known: Iterable[str]) -> None:
        place = f"connection {connection.conn_id!r}: extra"
        try:
            values = json.loads(connection.extra) if connection.extra else {}
        except ValueError:
            # the text may hold a secret: it is not quoted
            raise ConnectionConfigError(place, "it is not JSON") from None
        if not isinstance(values, dict):
            raise ConnectionConfigError(place, "a JSON object is expected")
        self._read(place, values, known)

    def _read(self, place: str, values: dict[str, Any], known: Iterable[str]) -> None:
        self._place = place
        known = sorted(known)
        for name in values:
            if name not in known:
                raise self.error(name, f"this field is not known; {did_you_mean(name, known)}")
        self._values = {name: value for name, value in values.items() if value is not None and value != ""}

    def error(self, name: str, problem: str) -> ConnectionConfigError:
        """An error about the field ``name``; ``problem`` must not quote a secret."""
        return ConnectionConfigError(f"{self._place}.{name}", problem)

    def nested(self, name: str, values: dict[str, Any]) -> Extras:
        """The fields of an object that stands in the field ``name``."""
        inner = object.__new__(Extras)
        inner._read(f"{self._place}.{name}", values, values)
        return inner

    def text(self, name: str, default: str | None = None, choices: Iterable[str] = ()) -> str | None:
        value = self._values.get(name, default)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.error(name, f"text is expected, not {type(value).__name__}")
        value = value.strip()
        choices = tuple(choices)
        if choices and value not in choices:
            raise self.error(name, f"{value!r} is not known; expected {' or '.join(choices)}")
        return value

    def file(self, name: str) -> str | None:
        """The path of a file that this process can read."""
        path = self.text(name)
        if path:
            try:
                open(path, "rb").close()
            except OSError as error:
                raise self.error(name, f"{path} cannot be read: {error.strerror}") from None
        return path or None

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A number from ``low`` to ``high``, also where the form hands it over as text."""
        value = self._values.get(name, default)
        try:
            if isinstance(value, bool):
                raise TypeError
            number = float(value)
        except (TypeError, ValueError):
            raise self.error(name, f"a number from {low:g} to {high:g} is expected") from None
        if not low <= number <= high:
            raise self.error(name, f"{number:g} is out of range; expected {low:g} to {high:g}")
        return number

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        number = self.number(name, default, low, high)
        if number != int(number):
            raise self.error(name, f"{number:g} is not a whole number")
        return int(number)

    def flag(self, name: str, default: bool) -> bool:
        value = self._values.get(name, default)
        if isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise self.error(name, "true or false is expected")

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON object, also where the form hands it over as text."""
        value = self._values.get(name, {})
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise self.error(name, "it is not JSON") from None
        if not isinstance(value, dict):
            raise self.error(name, "a JSON object is expected")
        return value


def split_hosts(connection: Connection) -> list[str]:
    """The connection's host field, which may list several, separated by commas."""
    hosts = [host.strip() for host in (connection.host or "").split(",") if host.strip()]
    if not hosts:
        raise ConnectionConfigError(f"connection {connection.conn_id!r}: host", "it is empty; a host name is expected")
    for host in hosts:
        if "/" in host or "@" in host:
            raise ConnectionConfigError(
                f"connection {connection.conn_id!r}: host",
                "only names are expected here (several separated by commas), without a scheme, user or path",
            )
    return hosts


def with_port(host: str, port: int) -> str:
    """``host:port`` unless ``host`` names its port itself."""
    bare = host.rsplit("]", 1)[-1]  # what follows an IPv6 address in brackets
    return host if ":" in bare else f"{host}:{port}"
