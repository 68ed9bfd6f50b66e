"""The management API of a RabbitMQ broker."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

import requests

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.hooks.network import reason
from airflow_provider_fate.runtime.federation.amqp import Broker


class Answer(NamedTuple):
    """What the API said.

    :param status: HTTP's
    :param content: the JSON, ``None`` where there is none
    """

    status: int
    content: Any

    @property
    def reason(self) -> str:
        """Why it refuses."""
        given = self.content.get("reason") if isinstance(self.content, dict) else None
        return " ".join(str(given or f"HTTP status {self.status}").split())[:300]


class Management:
    """The management API of the first of a broker's hosts that answers.

    :param broker: whose login, password and TLS are used
    :param urls: one for each host
    :param timeout: seconds to wait for an answer
    """

    def __init__(self, broker: Broker, urls: list[str], timeout: float) -> None:
        self.broker = broker
        self._urls = urls
        self._timeout = timeout

    @property
    def url(self) -> str:
        """The one that answered, or is tried next."""
        return self._urls[0]

    def request(self, method: str, *path: str, query: str = "", body: Any = None) -> Answer:
        """Ask it.

        :param path: parts below ``/api/``, not quoted
        :raises TransportError: no host's API can be reached
        """
        below = "/".join(quote(part, safe="") for part in path) + query
        problem = ""
        for _ in self._urls:
            try:
                return self._ask(method, f"{self.url}/api/{below}", body)
            except requests.RequestException as error:
                problem = problem or f"the management API at {self.url}: {reason(error)}"
                self._urls = [*self._urls[1:], self._urls[0]]
        raise TransportError(f"{problem}; set management_port and management_scheme")

    def _ask(self, method: str, url: str, body: Any) -> Answer:
        tls = self.broker.tls
        # not session.verify, which REQUESTS_CA_BUNDLE in the environment would override
        verify: bool | str = True if tls is None else (tls.ca_file or True) if tls.verify else False
        cert = None
        if tls and tls.client_cert:
            cert = (tls.client_cert, tls.client_key) if tls.client_key else tls.client_cert
        login = (self.broker.login, self.broker.password)
        with requests.Session() as session:  # several threads ask
            answer = session.request(
                method, url, json=body, timeout=self._timeout, verify=verify, cert=cert, auth=login
            )
        try:
            content = answer.json() if answer.content else None
        except ValueError:
            content = None
        return Answer(answer.status_code, content)
