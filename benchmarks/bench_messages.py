"""Messages of 1 MiB between two parties over RabbitMQ, against plain pika with publisher confirms.

Both in the same run, on the same broker, between two processes, from the first send until the last byte is there and
taken. Run it from the project's directory: ``python -m benchmarks.bench_messages``; it starts a broker of its own,
or uses that of ``--transport``, a file with the JSON of a transport.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pika

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.checks import Array, Integer
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.keys import Keys, encode_key
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session

GUEST, HOST = Party("guest", "9999"), Party("host", "10000")
MIB = 1 << 20
ROOM = 640  # bytes of a body that are not the value
BODY = MIB - ROOM

_processes = multiprocessing.get_context("spawn")


# -- plain pika


def _pika(config: dict[str, Any]) -> pika.BlockingConnection:
    credentials = pika.PlainCredentials(config["login"], config["password"])
    return pika.BlockingConnection(
        pika.ConnectionParameters(config["host"], config["port"], config["vhost"], credentials)
    )


def _pika_receiver(config: dict[str, Any], queue: str, count: int, pause: float) -> None:
    connection = _pika(config)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=32)
    for number, (method, _properties, _body) in enumerate(channel.consume(queue), 1):
        channel.basic_ack(method.delivery_tag)
        if number == count:
            break
        if pause:
            time.sleep(pause)
    channel.cancel()
    channel.basic_publish("", f"{queue}.done", b"done")
    connection.close()


def plain_pika(config: dict[str, Any], count: int, pause: float = 0.0) -> float:
    """Seconds for ``count`` persistent, confirmed bodies of 1 MiB.

    :param pause: seconds that the receiver takes for each
    """
    connection = _pika(config)
    channel = connection.channel()
    queue = f"bench.{new_nonce()}"
    for name in (queue, f"{queue}.done"):
        channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    receiver = _processes.Process(target=_pika_receiver, args=(config, queue, count, pause))
    receiver.start()
    properties = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish("", queue, b"warm", properties, mandatory=True)
    _drained(channel, queue)
    body = np.random.default_rng(0).bytes(MIB)
    began = time.perf_counter()
    for _ in range(count - 1):
        channel.basic_publish("", queue, body, properties, mandatory=True)
    for _ in channel.consume(f"{queue}.done", auto_ack=True):
        break
    seconds = time.perf_counter() - began
    channel.cancel()
    receiver.join()
    for name in (queue, f"{queue}.done"):
        channel.queue_delete(name)
    connection.close()
    return seconds * count / (count - 1)


def _drained(channel: Any, queue: str) -> None:
    """Wait until the receiver is there and has taken the first body."""
    while True:
        state = channel.queue_declare(queue, passive=True).method
        if state.consumer_count and not state.message_count:
            return
        time.sleep(0.05)


# -- two parties


def _party(
    config: dict[str, Any], job_id: str, me: Party, play: Callable[..., float | None], args: tuple[Any, ...], out: Any
) -> None:
    session = Session(transport_from_config(config), job_id, me, (GUEST, HOST), new_nonce(), 60, {})
    try:
        session.meet()
        out.put((str(me), play(session.federation(), *args)))
        session.finish()
    except BaseException as error:
        session.abort(str(error))
        out.put((str(me), error))
        raise


def _send_values(federation: Federation, count: int, length: int) -> float:
    value = np.frombuffer(np.random.default_rng(0).bytes(length), np.uint8)
    federation.receive(HOST, "ready", Integer(0, 0))
    began = time.perf_counter()
    for number in range(count):
        federation.send(HOST, f"value.{number}", value)
    federation.receive(HOST, "done", Integer(0, 0))
    return time.perf_counter() - began


def _receive_values(federation: Federation, count: int, length: int) -> None:
    federation.send(GUEST, "ready", 0)
    for number in range(count):
        federation.receive(GUEST, f"value.{number}", Array("uint8", (length,)))
    federation.send(GUEST, "done", 0)


def _ping(federation: Federation, count: int) -> float:
    federation.send(HOST, "ping.warm", 0)
    federation.receive(HOST, "pong.warm", Integer(0, 0))
    times = []
    for number in range(count):
        began = time.perf_counter()
        federation.send(HOST, f"ping.{number}", number)
        federation.receive(HOST, f"pong.{number}", Integer(0, count))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _pong(federation: Federation, count: int) -> None:
    for name in ("warm", *range(count)):
        federation.send(GUEST, f"pong.{name}", federation.receive(GUEST, f"ping.{name}", Integer(0, count)))


def two_parties(config: dict[str, Any], guest: Callable[..., float], host: Callable[..., None], *args: Any) -> float:
    """What the guest measured."""
    out = _processes.SimpleQueue()
    job_id = f"bench-{new_nonce()}"
    parties = [
        _processes.Process(target=_party, args=(config, job_id, me, play, args, out))
        for me, play in ((GUEST, guest), (HOST, host))
    ]
    for party in parties:
        party.start()
    results = dict(out.get() for _ in parties)
    for party in parties:
        party.join()
    for result in results.values():
        if isinstance(result, BaseException):
            raise result
    return results[str(GUEST)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transport", type=Path, help="JSON of a RabbitMQ transport; a broker is started without it")
    parser.add_argument("--count", type=int, default=256, help="messages of 1 MiB")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many")
    options = parser.parse_args()
    with ExitStack() as stack:
        if options.transport:
            config = json.loads(options.transport.read_text())
        else:
            from tests.servers.rabbitmq import RabbitMQNode

            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            node = stack.enter_context(RabbitMQNode(directory, "bench"))
            config = {
                "kind": "rabbitmq",
                "host": node.host,
                "port": node.port,
                "vhost": node.vhost,
                "login": node.login,
                "password": node.password,
            }
        report(config, options.count, options.rounds)


def report(config: dict[str, Any], count: int, rounds: int) -> None:
    """Measure in turns, so that whatever else the machine does meets all alike."""
    key = Keys(os.urandom(32))
    public = encode_key(key.public)
    sealed = {**config, "private_key": encode_key(key.private), "peer_keys": {"9999": public, "10000": public}}
    lines: dict[str, list[float]] = {"pika": [], "bodies": [], "array": [], "sealed": []}
    for _ in range(rounds):
        lines["pika"].append(plain_pika(config, count))
        lines["bodies"].append(two_parties(config, _send_values, _receive_values, count, BODY))
        lines["array"].append(two_parties(config, _send_values, _receive_values, 1, count * BODY))
        lines["sealed"].append(two_parties(sealed, _send_values, _receive_values, count, BODY))
    rate = {name: count / min(seconds) for name, seconds in lines.items()}
    ping = two_parties(config, _ping, _pong, 100)
    print(f"messages of 1 MiB over RabbitMQ, plain pika with confirms   {rate['pika']:8.1f} MiB/s  (the limit)")
    texts = {"bodies": f"{count} values", "array": "one array in pieces", "sealed": f"{count} values, encrypted"}
    for name, text in texts.items():
        ratio = rate[name] / rate["pika"]
        print(
            f"  two parties, {text:<43}   {rate[name]:8.1f} MiB/s  {ratio:5.2f} of the limit, aim 0.80"
            f"{'' if ratio >= 0.8 else '  MISSED'}"
        )
    print(f"  two parties, a small value there and back                   {1000 * ping:8.2f} ms")


if __name__ == "__main__":
    main()
