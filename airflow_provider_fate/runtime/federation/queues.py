"""The queues of a job: their names, and what the broker is told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_fate.job.party import Party

#: milliseconds after which the broker removes a queue that nobody uses, should no party do it
EXPIRES = 24 * 3600 * 1000
#: bytes that the broker takes for one queue; who sends as we do stops long before, see :mod:`.publisher`
LARGEST = 512 << 20
ARGUMENTS = {"x-expires": EXPIRES, "x-max-length-bytes": LARGEST, "x-overflow": "reject-publish"}


def queue_name(job_id: str, sender: Party, receiver: Party) -> str:
    """The queue that carries what ``sender`` sends to ``receiver``."""
    return f"fate.{job_id}.{sender}.{receiver}"


def declare(channel: Any, queue: str, callback: Callable[[Any], None] | None = None) -> None:
    """Make a queue unless it is there; both of its parties do."""
    arguments = {"callback": callback} if callback is not None else {}
    channel.queue_declare(queue, durable=True, arguments=ARGUMENTS, **arguments)
