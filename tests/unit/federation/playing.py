"""Parties of a job for tests of the session itself: each step in a thread, errors as results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Transport
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import Hello, new_nonce, pack
from airflow_provider_fate.runtime.federation.session import Session

GUEST, HOST, ARBITER = Party("guest", "9999"), Party("host", "10000"), Party("arbiter", "10000")
PAIR = (GUEST, HOST)
ALL = (GUEST, HOST, ARBITER)
JOB = "job-1"
COMMON = {"role": {"guest": ["9999"]}, "component_parameters.common.hetero_lr_0.max_iter": 5}


def anything(value: Any) -> None:
    """A check that passes."""


class Player:
    """One try of one party."""

    def __init__(
        self,
        hub: Hub | None,
        me: Party,
        parties: tuple[Party, ...] = PAIR,
        *,
        transport: Transport | None = None,
        nonce: str | None = None,
        wait: float = 10.0,
        common: Mapping[str, Any] = COMMON,
        max_body: int = 1 << 20,
        **options: Any,
    ) -> None:
        self.lines: list[str] = []
        self.nonce = nonce or new_nonce()
        self.session = Session(
            transport or MemoryTransport(hub, max_body),
            JOB,
            me,
            parties,
            self.nonce,
            wait,
            common,
            self.lines.append,
            **options,
        )


def together(*steps: Callable[[], Any], timeout: float = 30.0) -> list[Any]:
    """Run the steps at the same time; what each returned or raised."""
    results: list[Any] = [TimeoutError("it hangs")] * len(steps)

    def run(number: int) -> None:
        try:
            results[number] = steps[number]()
        except Exception as error:  # noqa: BLE001 - it is the result
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(steps))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return results


@contextmanager
def met(hub: Hub, parties: tuple[Party, ...] = PAIR, **options: Any) -> Iterator[list[Player]]:
    """Players who have met; their sessions are ended afterwards."""
    players = [Player(hub, party, parties, **options) for party in parties]
    try:
        for outcome in together(*(player.session.meet for player in players)):
            assert outcome == [], outcome
        yield players
    finally:
        for player in players:
            player.session.abort("the test is over")


def say(hub: Hub, sender: Party, to: Party, message: Any, payload: list[bytes] | None = None) -> None:
    """Put a crafted message into the way from ``sender`` to ``to``."""
    hub.put(JOB, sender, to, pack(message, payload))


def hello(sender: Party, to: Party, nonce: str, view: Mapping[str, str] | None = None, **fields: Any) -> Hello:
    """A crafted hello; a protocol and parties as they should be."""
    run = fields.pop("run", f"{nonce}.0")
    return Hello(
        **{
            "job": JOB,
            "sender": str(sender),
            "receiver": str(to),
            "protocol": 1,
            "nonce": nonce,
            "run": run,
            "view": {str(sender): run, **(view or {})},
            "parties": [str(party) for party in PAIR],
            **fields,
        }
    )


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
