"""Long work on all cores of this machine: gmpy2's ``*`` and ``%`` keep the interpreter to themselves, so that threads
do not help.

A few processes are started when they are first of use, and end with this one. Spark's tasks have a core each and start
none: what says so is ``OMP_NUM_THREADS``, which Spark sets for them, and anybody may set.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import Any

#: pieces that each core gets at least, so that all end at about the same time
PIECES = 4
#: a piece is at most so many times what is worth spreading: what runs elsewhere cannot be stopped before it is done
LONGEST = 8
#: a party's histograms gain little from more
MOST = 16

_lock = threading.Lock()
_pool: ProcessPoolExecutor | None = None


def cores() -> int:
    """How many processes may compute at the same time, this one among them."""
    if multiprocessing.current_process().daemon:
        return 1  # it may have no processes of its own
    limit = os.environ.get("OMP_NUM_THREADS", "")
    found = len(os.sched_getaffinity(0))
    return max(1, min(found, MOST, int(limit) if limit.isdigit() else found))


def pieces(count: int, least: int) -> list[slice]:
    """``count`` things cut for :func:`spread`: in one piece, where a core would get fewer than ``least``."""
    least = max(1, least)
    number = min(cores(), count // least)
    number = 1 if number < 2 else min(count, max(PIECES * number, -(-count // (LONGEST * least))))
    return [slice(count * place // number, count * (place + 1) // number) for place in range(number)]


def spread(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """``function(*argument)`` of each argument, in order; this process takes its share.

    :param function: of a module, picklable, as are the arguments and results; may run twice
    """
    results: list[Any] = [None] * len(arguments)
    # this process begins at the front, the others at the back
    waiting = deque(range(len(arguments)))
    futures: dict[int, Future[Any]] = {}
    pool = _workers() if len(arguments) > 1 and cores() > 1 else None
    while waiting:
        # two for each process: one to do, and the next one
        busy = sum(not future.done() for future in futures.values())
        while pool is not None and len(waiting) > 1 and busy < 2 * (cores() - 1):
            place = waiting.pop()
            try:
                futures[place] = pool.submit(function, *arguments[place])
                busy += 1
            except BrokenProcessPool:
                _forget()
                waiting.append(place)
                pool = None
        place = waiting.popleft()
        results[place] = function(*arguments[place])
    for place, future in futures.items():
        try:
            results[place] = future.result()
        except BrokenProcessPool:
            # killed, e.g. for want of memory: go on alone, and start anew next time
            _forget()
            results[place] = function(*arguments[place])
    return results


def _workers() -> ProcessPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ProcessPoolExecutor(cores() - 1, multiprocessing.get_context("spawn"), initializer=_start)
            # a process that multiprocessing started waits for its children; so they end first, and before the pool's
            # queues do (priority 10)
            Finalize(None, _pool.shutdown, exitpriority=100)
        return _pool


def _forget() -> None:
    global _pool
    with _lock:
        _pool = None


def _start() -> None:
    """In a new process: end when the one that started it is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
