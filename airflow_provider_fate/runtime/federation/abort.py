"""What is done for a party from outside of its Spark application, which ended without a word or was killed."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pika

from airflow_provider_fate.errors import ConfigError, TransportError
from airflow_provider_fate.job.names import check_job_id
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, connect
from airflow_provider_fate.runtime.federation.base import Transport
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from airflow_provider_fate.runtime.federation.messages import MAX_REASON, Abort, pack, printable
from airflow_provider_fate.runtime.federation.queues import declare, queue_name, remove_drained, remove_unused
from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport
from airflow_provider_fate.runtime.federation.sealed import SealedTransport

_log = logging.getLogger(__name__)

_SECONDS = 2.5  # in all, for telling the peers


def tell_peers(
    transport_config: Mapping[str, Any],
    job_id: str,
    me: Party,
    parties: Iterable[Party],
    nonce: str,
    reason: str,
    *,
    last_words: bool = False,
) -> None:
    """Tell all the other parties that ``me`` has ended, so that they end within seconds. Takes less than 3 s.

    :param transport_config: as in :func:`.config.transport_from_config`
    :param nonce: of the try that ends; who has met a newer one takes no notice
    :param reason: what the others report; no secrets
    :param last_words: nothing is made for a peer that has left, see :attr:`.base.Transport.last_words`; by default a
        peer that is not there yet finds this when it comes
    :raises TransportError: some could not be told, and why
    """
    transport = _transport(transport_config, job_id, "the other parties cannot be told")
    bodies = {
        peer: pack(
            Abort(
                job=job_id,
                sender=str(me),
                receiver=str(peer),
                nonce=nonce,
                reason=printable(reason, MAX_REASON),
                sent_at=time.time(),
            )
        )
        for peer in parties
        if peer != me
    }
    if isinstance(transport, SealedTransport):
        try:
            bodies = transport.notes(job_id, me, bodies)
        except ConfigError as error:
            raise TransportError(f"the other parties cannot be told: {error}") from error
        transport = transport.inner
    if isinstance(transport, DirectoryTransport):
        transport.last_words = last_words
        transport.attach(job_id, me)
        for peer, body in bodies.items():
            transport.send(peer, body)
    elif isinstance(transport, RabbitMQTransport):
        name = f"fate {job_id} {me} ends"
        by_broker: dict[Broker, list[tuple[str, bytes]]] = {}
        for peer, body in bodies.items():
            by_broker.setdefault(transport.route(peer), []).append((queue_name(job_id, me, peer), body))
        _at_each(
            by_broker,
            lambda broker: _publish_to(broker, name, by_broker[broker], make=not last_words),
            _SECONDS,
            "the other parties could not all be told",
        )


def remove_left(
    transport_config: Mapping[str, Any],
    job_id: str,
    me: Party,
    parties: Iterable[Party],
    seconds: float,
    *,
    for_absent: bool = False,
) -> None:
    """Remove what an application of ``me`` that was killed could not: its queues, or its directory.

    :param seconds: to wait at most until nobody takes from them any more
    :param for_absent: also what it has made for peers that are not there, who then find no last words
    :raises TransportError: something could not be removed, and why
    """
    what = "what the application has left at the broker could not all be removed; it expires in a day"
    transport = _transport(transport_config, job_id, what)
    if isinstance(transport, SealedTransport):
        transport = transport.inner
    peers = [party for party in parties if party != me]
    if isinstance(transport, DirectoryTransport):
        transport.remove_left(job_id, me, peers if for_absent else (), seconds)
    elif isinstance(transport, RabbitMQTransport):
        incoming = [queue_name(job_id, peer, me) for peer in peers]
        outgoing: dict[Broker, list[str]] = {transport.broker: []}
        drained: dict[str, float] = {}  # by the peers' brokers
        for peer in peers if for_absent else ():
            if peer.party_id in transport.federated:
                drained[queue_name(job_id, me, peer)] = math.inf
            else:
                outgoing.setdefault(transport.route(peer), []).append(queue_name(job_id, me, peer))
        end = time.monotonic() + seconds - min(1.0, seconds / 2)  # a last look and the way back take some time

        def remove(broker: Broker) -> None:
            name = f"fate {job_id} {me} is over"
            if outgoing[broker]:
                remove_unused(broker, outgoing[broker], name, 0)  # a peer that takes from one removes it
            if broker != transport.broker:
                return
            if drained:
                remove_drained(broker, drained, name, 0)  # likewise
            if left := remove_unused(broker, incoming, name, max(0.0, end - time.monotonic())):
                raise TransportError(f"the application still takes from {', '.join(left)}")

        _at_each(outgoing, remove, seconds, what)


def _transport(transport_config: Mapping[str, Any], job_id: str, problem: str) -> Transport:
    try:
        check_job_id(job_id)
        return transport_from_config(transport_config)
    except ConfigError as error:
        raise TransportError(f"{problem}: {error}") from error


def _at_each(brokers: Iterable[Broker], work: Callable[[Broker], None], seconds: float, problem: str) -> None:
    """Do ``work`` at all brokers at once, so that one which does not answer costs the others no time.

    :raises TransportError: ``problem``, and what went wrong where
    """
    outcomes: dict[Broker, Exception | None] = {broker: TimeoutError() for broker in brokers}

    def one(broker: Broker) -> None:
        try:
            work(broker)
            outcomes[broker] = None
        except Exception as error:
            outcomes[broker] = error

    threads = [threading.Thread(target=one, args=(broker,), daemon=True) for broker in outcomes]
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    problems = [
        str(error if isinstance(error, TransportError) else broker.problem(error)[0])
        for broker, error in list(outcomes.items())
        if error is not None
    ]
    if problems:
        raise TransportError(f"{problem}: {'; '.join(problems)}")


def _publish_to(broker: Broker, name: str, messages: list[tuple[str, bytes]], *, make: bool) -> None:
    connection = connect(broker, name, _SECONDS / 2)
    try:
        for queue, body in messages:
            channel = connection.channel()
            if make:
                try:
                    declare(channel, queue)
                except pika.exceptions.ChannelClosedByBroker:  # the receiver's to declare; it may be there
                    channel = connection.channel()
            channel.confirm_delivery()
            properties = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent.value)
            try:
                channel.basic_publish("", queue, body, properties, mandatory=True)
            except pika.exceptions.UnroutableError:
                _log.info("%s: nobody is there to be told", broker)
            channel.close()
    finally:
        connection.close()
