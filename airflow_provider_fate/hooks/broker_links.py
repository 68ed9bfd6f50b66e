"""Links between brokers (RabbitMQ federation): a party's own broker fetches what its peers send from their brokers.

At the own broker there are two objects for each peer, whatever the number of jobs: an upstream, which says where the
peer's broker is, and a policy, which applies it to every queue from that peer to this party. See
https://www.rabbitmq.com/docs/federated-queues and https://www.rabbitmq.com/docs/federation-reference.

Jobs share them without locks. Who begins declares its queue first and then looks whether the two are there. Who ends
deletes its queues first, removes the two where no queue of that peer is left, and looks again: where one has come
meanwhile, it puts them back.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from airflow_provider_fate.errors import TransportError
from airflow_provider_fate.hooks.management import Answer, Management
from airflow_provider_fate.runtime.federation.amqp import Broker, connect

_HEARTBEAT = 20  # seconds; a dead link is noticed after two of them
_PREFETCH = 32  # messages on their way from broker to broker
_RECONNECT = 3  # seconds between two looks for a queue that is not there, each of which fills both brokers' logs
_PRIORITY = 100  # of the policy: it must win over those that an administrator gives all queues
_PROBE_EXPIRES = 60_000  # milliseconds
_POLL = 0.1  # seconds

#: words in a link's error -> what it means
_MEANINGS = (
    ("auth_failure", "the login is refused there"),
    ("ACCESS_REFUSED - access to queue", "the account there may not read the queue"),
    ("not_allowed", "the vhost does not exist there, or the account may not use it"),
    ("econnrefused", "econnrefused; is the broker running there, and is the port open to ours?"),
    ("unknown_host", "our broker does not know the host name"),
    ("nxdomain", "our broker does not know the host name"),
    ("timeout", "no answer in time; does a firewall let our broker through?"),
    ("unreach", "the network is not reachable"),
    ("unknown_ca", "its certificate is not trusted by the upstream's ca_file"),
    ("hostname_check_failed", "its certificate is for another host name"),
    ("{options,", "our broker cannot read ca_file, client_cert or client_key of the upstream, which are paths there"),
    ("malformed_header", "it does not speak AMQP there; check the port and use_ssl"),
    ("tls_alert", "TLS fails"),
)
_SHOW = ("tls_alert", "{options,")  # the broker's own words say more


class State(NamedTuple):
    """How a link is.

    :param up: it is connected
    :param words: what to tell a person
    """

    up: bool
    words: str


class _Object(NamedTuple):
    """Something at the own broker: its path in the management API, and what it says."""

    path: tuple[str, ...]
    body: dict[str, Any]

    def is_in(self, answer: Answer) -> bool:
        found = answer.content
        return answer.status == 200 and isinstance(found, dict) and all(found.get(k) == v for k, v in self.body.items())


class BrokerLinks:
    """The links of one broker to those of the peers.

    The account needs RabbitMQ's tag ``policymaker``, and ``monitoring`` for the links' states.

    :param broker: the party's own
    :param management: its management API
    :param upstreams: party id -> the broker of that party, as the own broker reaches it; paths of PEM files are paths
        at the own broker
    :param timeout: seconds to connect
    """

    def __init__(self, broker: Broker, management: Management, upstreams: Mapping[str, Broker], timeout: float) -> None:
        self.broker = broker
        self.upstreams = dict(upstreams)
        self.timeout = timeout
        self._management = management

    # -- making and removing

    def ensure(self, own: str, peer: str, *, change: bool = True) -> None:
        """Have everything that party ``peer`` sends to party ``own`` fetched; asks only where all is as it should be.

        :param change: also what is there and says something else
        :raises TransportError: the management API refuses or cannot be reached
        """
        for one in self._objects(own, peer):
            if one.is_in(found := self._request("GET", *one.path)):
                continue
            if found.status not in (200, 404):
                raise self._refused(found)
            if found.status == 200 and not change:
                continue
            made = self._request("PUT", *one.path, body=one.body)
            if made.status not in (200, 201, 204):
                raise self._refused(made)

    def remove(self, own: str, peer: str) -> None:
        """Take the link away unless there is a queue for it, also where one comes meanwhile.

        :raises TransportError: as :meth:`ensure`
        """
        while not self.queues(own, peer):
            self._delete(own, peer)
            if not self.queues(own, peer):
                return
            self.ensure(own, peer, change=False)  # and look again: it may have gone before it was made

    def queues(self, own: str, peer: str) -> list[str]:
        """Names of the queues at the own broker that carry what ``peer`` sends to ``own``, in any job."""
        found = self._request("GET", "queues", self.broker.vhost, query="?columns=name")
        if found.status != 200 or not isinstance(found.content, list):
            raise self._refused(found)
        pattern = re.compile(_pattern(own, peer))
        return [queue["name"] for queue in found.content if pattern.search(queue["name"])]

    def _delete(self, own: str, peer: str) -> None:
        problem: TransportError | None = None
        for one in reversed(self._objects(own, peer)):  # the upstream, which holds a password, whatever the policy does
            try:
                gone = self._request("DELETE", *one.path)
                if gone.status not in (200, 204, 404):
                    raise self._refused(gone)
            except TransportError as error:
                problem = problem or error
        if problem is not None:
            raise problem

    def _objects(self, own: str, peer: str) -> list[_Object]:
        name, vhost = f"fate-{peer}-to-{own}", self.broker.vhost
        upstream = {
            "uri": upstream_uri(self.upstreams[peer], self.timeout),
            "ack-mode": "on-confirm",
            "prefetch-count": _PREFETCH,
            "reconnect-delay": _RECONNECT,
            "trust-user-id": False,
        }
        policy = {
            "pattern": _pattern(own, peer),
            "apply-to": "queues",
            "definition": {"federation-upstream": name},
            "priority": _PRIORITY,
        }
        return [
            _Object(("parameters", "federation-upstream", vhost, name), {"value": upstream}),
            _Object(("policies", vhost, name), policy),
        ]

    def _request(self, method: str, *path: str, query: str = "", body: Any = None) -> Answer:
        return self._management.request(method, *path, query=query, body=body)

    def _refused(self, answer: Answer) -> TransportError:
        place = f"the management API at {self._management.url}"
        login = self.broker.login
        if answer.status in (401, 403):
            return TransportError(
                f"{place} does not let {login!r} link brokers ({answer.reason}); give the account RabbitMQ's tags: "
                f"rabbitmqctl set_user_tags {login} policymaker monitoring"
            )
        if "federation" in answer.reason and re.search("not found|not recogni", answer.reason):
            return TransportError(
                f"the plugin rabbitmq_federation is not enabled at {self.broker}; on its machine: rabbitmq-plugins "
                "enable rabbitmq_federation rabbitmq_federation_management"
            )
        return TransportError(f"{place} refuses to link brokers: {self._without_secrets(answer.reason)}")

    # -- how they are

    def state(self, queue: str, peer: str, seconds: float) -> State | None:
        """The state of the link that fills ``queue``, once it has one.

        :param seconds: to wait at most for one that is neither absent nor just starting
        :returns: None where the account may not read it
        :raises TransportError: the management API cannot be reached
        """
        end = time.monotonic() + seconds
        alone = len(self.upstreams[peer].each) == 1  # of several hosts the broker tries one at random each time
        link_seen, state = False, State(False, "")
        while True:
            found = self._request("GET", "federation-links", self.broker.vhost)
            if found.status in (401, 403, 404):
                return None
            if found.status != 200 or not isinstance(found.content, list):
                # the broker has been seen to fail at this while a link goes away
                if time.monotonic() >= end:
                    return State(False, f"its state cannot be read: {self._without_secrets(found.reason)}")
                time.sleep(_POLL)
                continue
            link = next((one for one in found.content if one.get("queue") == queue), None)
            if link is None:
                state = State(False, "there is none; does another policy win over ours?")
            elif link.get("status") == "starting":
                state = state if link_seen else State(False, "it is still being made")
            else:
                link_seen = True
                state = self._meaning(str(link.get("status")), " ".join(str(link.get("error", "")).split()), peer)
                if state.up or alone:
                    return state
            if time.monotonic() >= end:
                return state
            time.sleep(_POLL)

    def _meaning(self, status: str, error: str, peer: str) -> State:
        if status == "running":
            return State(True, "up")
        if status == "noproc" or "basic.qos" in error:
            # the broker logged in, did not find the queue, and may not make it
            return State(True, f"up, but party {peer}'s broker has no queue of this job yet; has its task begun?")
        words = self._without_secrets(error)[:300] or status
        for needle, meaning in _MEANINGS:
            if needle in words:
                return State(False, f"{meaning} ({words})" if needle in _SHOW else meaning)
        return State(False, words)

    def _without_secrets(self, text: str) -> str:
        for broker in self.upstreams.values():
            for secret in {broker.password, quote(broker.password, safe="")} - {""}:
                text = text.replace(secret, "***")
        return text

    # -- trying

    def test(self, peer: str) -> str:
        """Make a link to each of the peer's hosts, see whether it comes up, and remove it.

        One by one: of several hosts the broker picks one at random whenever it tries.

        :returns: what to tell a person; one host that works is enough
        :raises TransportError: none does, and why
        """
        reached, problems = [], []
        for there in self.upstreams[peer].each:
            state = BrokerLinks(self.broker, self._management, {peer: there}, self.timeout)._probe(peer)
            if state is None:
                return (
                    f"whether our broker reaches party {peer}'s cannot be read: give {self.broker.login!r} the tag "
                    "monitoring, and enable the plugin rabbitmq_federation_management"
                )
            if state.up:
                reached.append(f"{there.host}:{there.port}")
            else:
                problems.append((there, state.words))
        if not reached:
            words = "; ".join(f"{place}: {words}" for place, words in problems)
            raise TransportError(f"the own broker works, but not its link to party {peer}'s {words}")
        but = "".join(f", but not at {there.host}:{there.port}: {words}" for there, words in problems)
        return f"our broker reaches party {peer}'s at {', '.join(reached)}{but}"

    def _probe(self, peer: str) -> State | None:
        """The state of a link that is made for a queue of its own, and removed; None where it may not be read."""
        own = f"test{secrets.token_hex(6)}"
        queue = f"fate.test.host-{peer}.guest-{own}"
        with connect(self.broker, "fate tests a link", self.timeout) as connection:
            channel = connection.channel()
            channel.queue_declare(queue, arguments={"x-expires": _PROBE_EXPIRES})
            try:
                self.ensure(own, peer)
                return self.state(queue, peer, self.timeout + 2)
            finally:
                self._delete(own, peer)
                channel.queue_delete(queue)  # it would expire


def _pattern(own: str, peer: str) -> str:
    """Party ids are letters and digits; a job's id may hold dots, so that the end of a name is what counts."""
    return rf"^fate\..+\.[a-z]+-{peer}\.[a-z]+-{own}$"


def upstream_uri(broker: Broker, timeout: float) -> str | list[str]:
    """Where a broker finds another, as RabbitMQ's own AMQP URIs; holds the password.

    See https://www.rabbitmq.com/docs/uri-query-parameters. Erlang needs the server's name to be told for its check,
    and takes none that is an address.

    :returns: one for each host, where there are several
    """
    uris = []
    for one in broker.each:
        tls, address = one.tls, _is_address(one.host)
        query: dict[str, Any] = {"heartbeat": _HEARTBEAT, "connection_timeout": int(timeout * 1000)}
        if tls:
            files = {
                "cacertfile": tls.ca_file,
                "certfile": tls.client_cert,
                "keyfile": tls.client_key or tls.client_cert,
            }
            query |= {name: path for name, path in files.items() if path}
            query["verify"] = "verify_peer" if tls.verify else "verify_none"
            if tls.verify and not address:
                query["server_name_indication"] = one.host
        login = f"{quote(one.login, safe='')}:{quote(one.password, safe='')}"
        host = f"[{one.host}]" if ":" in one.host else one.host
        place = f"{login}@{host}:{one.port}/{quote(one.vhost, safe='')}"
        uris.append(f"amqp{'s' if tls else ''}://{place}?{urlencode(query, safe='/', quote_via=quote)}")
    return uris if len(uris) > 1 else uris[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
