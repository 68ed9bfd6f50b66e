"""Tell the other parties of a job that this one has been stopped, from outside of its Spark application."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pika

from airflow_provider_fate.errors import ConfigError, TransportError
from airflow_provider_fate.job.names import check_job_id
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.amqp import Broker, connect
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from airflow_provider_fate.runtime.federation.messages import MAX_REASON, Abort, pack, printable
from airflow_provider_fate.runtime.federation.queues import declare, queue_name
from airflow_provider_fate.runtime.federation.rabbitmq import RabbitMQTransport
from airflow_provider_fate.runtime.federation.sealed import SealedTransport

_log = logging.getLogger(__name__)

_SECONDS = 2.5  # in all


def tell_peers(
    transport_config: Mapping[str, Any],
    job_id: str,
    me: Party,
    parties: Iterable[Party],
    nonce: str,
    reason: str,
    *,
    make: bool = True,
) -> None:
    """Tell all the other parties that ``me`` has ended, so that they end within seconds. Takes less than 3 s.

    :param transport_config: as in :func:`.config.transport_from_config`
    :param nonce: of the try that ends; who has met a newer one takes no notice
    :param reason: what the others report; no secrets
    :param make: whether a peer that has no queue gets one, in which it finds this when it comes. Not where this party's
        application has run, which made them: a queue that is not there any more had its receiver leave
    :raises TransportError: some could not be told, and why
    """
    try:
        transport = transport_from_config(transport_config)
        check_job_id(job_id)
    except ConfigError as error:
        raise TransportError(f"the other parties cannot be told: {error}") from error
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
        transport.attach(job_id, me)
        for peer, body in bodies.items():
            transport.send(peer, body)
    elif isinstance(transport, RabbitMQTransport):
        _publish(transport, job_id, me, bodies, make)


def _publish(
    transport: RabbitMQTransport, job_id: str, me: Party, bodies: Mapping[Party, bytes], make: bool
) -> None:
    """To all brokers at once, so that one which does not answer costs the others no time."""
    by_broker: dict[Broker, list[tuple[str, bytes]]] = {}
    for peer, body in bodies.items():
        by_broker.setdefault(transport.route(peer), []).append((queue_name(job_id, me, peer), body))
    outcomes: dict[Broker, Exception | None] = {}

    def publish(broker: Broker) -> None:
        try:
            _publish_to(broker, f"fate {job_id} {me} ends", by_broker[broker], make)
            outcomes[broker] = None
        except Exception as error:
            outcomes[broker] = error

    threads = [threading.Thread(target=publish, args=(broker,), daemon=True) for broker in by_broker]
    end = time.monotonic() + _SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    problems = []
    for broker in by_broker:
        error = outcomes.get(broker, TimeoutError())
        if error is not None:
            problems.append(str(error if isinstance(error, TransportError) else broker.problem(error)[0]))
    if problems:
        raise TransportError(f"the other parties could not all be told: {'; '.join(problems)}")


def _publish_to(broker: Broker, name: str, messages: list[tuple[str, bytes]], make: bool) -> None:
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
