"""Long work is done by several processes: the same results, the same errors, and none of them is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto import processes, residues
from airflow_provider_fate.runtime.crypto.additive import METHODS, generate


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(processes, "cores", lambda: 2)
    yield
    pool, processes._pool = processes._pool, None
    if pool is not None:
        pool.shutdown()


def test_who_has_which_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for limit, found in {"1": 1, "": len(os.sched_getaffinity(0)), "many": len(os.sched_getaffinity(0))}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        assert processes.cores() == min(found, processes.MOST)
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    assert processes.cores() == 1


def test_pieces() -> None:
    for count in (0, 1, 7, 199):
        assert processes.pieces(count, 100) == [slice(0, count)]
    for count in (200, 1001, 50_000):
        cut = processes.pieces(count, 100)
        assert [number for part in cut for number in range(count)[part]] == list(range(count))
        assert len(cut) >= 2 * processes.PIECES
        assert max(part.stop - part.start for part in cut) <= 100 * processes.LONGEST


def _slow(number: int) -> tuple[int, int]:
    time.sleep(0.2)
    return number, os.getpid()


def test_work_is_shared_and_stays_in_order() -> None:
    processes.spread(_slow, [(0,)] * 20)  # until the other process is there
    found = processes.spread(_slow, [(number,) for number in range(10)])
    assert [number for number, _ in found] == list(range(10))
    by = [process for _, process in found]
    assert len(set(by)) == 2 and os.getpid() in by
    assert processes.spread(_slow, [(5,)]) == [(5, os.getpid())]
    assert processes.spread(_slow, []) == []


def _failing(number: int) -> int:
    time.sleep(0.05)
    if number:
        raise CryptoError(f"number {number}")
    return number


def _dying(number: int, here: int) -> int:
    if os.getpid() != here:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


def test_errors_come_back_and_a_killed_process_is_replaced() -> None:
    with pytest.raises(CryptoError, match="number"):
        processes.spread(_failing, [(number,) for number in range(30)])
    assert processes.spread(_dying, [(number, os.getpid()) for number in range(60)]) == list(range(60))
    assert [number for number, _ in processes.spread(_slow, [(number,) for number in range(6)])] == list(range(6))


@pytest.mark.parametrize("method", METHODS)
def test_encrypted_sums_by_several_processes(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENCRYPTED", "PRODUCTS", "PACKED", "DECRYPTED"):
        monkeypatch.setattr(residues, f"LEAST_{name}", 3)
    spread: list[int] = []
    true = processes.spread
    monkeypatch.setattr(residues, "spread", lambda function, parts: spread.append(len(parts)) or true(function, parts))
    key = generate(method, 1024)
    cipher, random = key.public, np.random.default_rng(0)
    rows, bins = 101, [3, 9, 1]
    places = np.stack([random.integers(0, size, rows) for size in bins], axis=1).astype(np.uint8)
    values = random.integers(0, 1 << 20, rows).tolist()
    chosen = np.arange(5, 90)
    for body in (key.encrypt(values), cipher.encrypt(values)):
        assert key.decrypt(body) == values
        sums = cipher.histogram(cipher.load(body), places, bins, chosen)
        packed = cipher.pack(sums, cipher.plain_bits // 2)
        assert key.unpack(packed, len(sums), cipher.plain_bits // 2) == [
            int(total)
            for column, size in enumerate(bins)
            for total in np.bincount(places[chosen, column], np.array(values, float)[chosen], size)
        ]
    assert len(spread) >= 8 and max(spread) >= 2 * processes.PIECES
    for bad in (body[:-1], body + b"\0", b"\xff" * len(body)):
        with pytest.raises(CryptoError):
            key.decrypt(bad)
        with pytest.raises(CryptoError):
            cipher.histogram(bad, places, bins)


def _spread_in_a_child() -> None:
    processes.cores = lambda: 2  # type: ignore[assignment]
    processes.spread(time.sleep, [(0.05,)] * 20)


def test_a_process_of_multiprocessing_that_spread_work_ends() -> None:
    child = multiprocessing.get_context("spawn").Process(target=_spread_in_a_child)
    child.start()
    child.join(60)
    try:
        assert child.exitcode == 0
    finally:
        child.kill()


def test_no_process_outlives_the_one_that_started_it(tmp_path: Path) -> None:
    script = tmp_path / "party.py"
    script.write_text(
        textwrap.dedent("""
        import os, time
        from airflow_provider_fate.runtime.crypto import processes
        if __name__ == "__main__":
            processes.cores = lambda: 2
            list(processes.spread(time.sleep, [(0.1,)] * 30))
            print(*(p.pid for p in processes._pool._processes.values()), flush=True)
            os.kill(os.getpid(), 9)
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    others = [int(number) for number in done.stdout.split()]
    assert len(others) == 1
    end = time.monotonic() + 20
    while any(Path(f"/proc/{number}/cmdline").exists() and _runs(number) for number in others):
        assert time.monotonic() < end
        time.sleep(0.1)


def _runs(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
