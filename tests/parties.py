"""Run the parties of a job in threads, with real sessions over the in-memory transport."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.memory import Hub, MemoryTransport
from airflow_provider_fate.runtime.federation.messages import new_nonce
from airflow_provider_fate.runtime.federation.session import Session


def run_parties(
    parties: Mapping[Party, Callable[[Federation], Any]],
    timeout: float = 60,
    *,
    hub: Hub | None = None,
    max_body: int = 1 << 20,
) -> dict[Party, Any]:
    """Run each party's function in a thread of its own.

    :param parties: in the order of the job conf: guest, hosts, arbiter
    :param timeout: seconds for all together
    :param hub: one that misbehaves
    :param max_body: bytes in one message; a small one cuts values into many pieces
    :returns: what each function returned
    :raises BaseException: the first error of any party, with a note that names the party
    :raises TimeoutError: who has not ended
    """
    hub = hub or Hub()
    results: dict[Party, Any] = {}
    errors: list[tuple[Party, BaseException]] = []
    lock = threading.Lock()

    def run(party: Party, function: Callable[[Federation], Any]) -> None:
        session = Session(MemoryTransport(hub, max_body), "job", party, tuple(parties), new_nonce(), timeout, {})
        try:
            session.meet()
            result = function(session.federation())
            session.finish()
        except BaseException as error:
            with lock:
                errors.append((party, error))
            session.abort(f"{type(error).__name__}: {error}")
        else:
            with lock:
                results[party] = result

    threads = {
        party: threading.Thread(target=run, args=(party, function), name=str(party), daemon=True)
        for party, function in parties.items()
    }
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + timeout
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    if errors:
        party, error = errors[0]
        error.add_note(f"at {party}")
        raise error
    if late := [str(party) for party, thread in threads.items() if thread.is_alive()]:
        raise TimeoutError(f"after {timeout} s, these parties have not ended: {', '.join(late)}")
    return results
