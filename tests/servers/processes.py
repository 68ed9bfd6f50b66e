"""What runs on this machine, from /proc: for tests that look for what was started, or was left behind."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Running:
    """A process.

    :param words: program and arguments
    :param session: the process that leads its session
    :param parent: the process that started it, or took it over
    """

    pid: int
    words: tuple[str, ...]
    session: int
    parent: int = 0

    @property
    def line(self) -> str:
        """The command line, for people."""
        return " ".join(self.words)

    @property
    def environment(self) -> frozenset[str]:
        """``NAME=value`` of each variable that it was started with; empty where that cannot be read."""
        with contextlib.suppress(OSError):
            return frozenset(_text(Path(f"/proc/{self.pid}/environ")).split("\0"))
        return frozenset()


def running() -> Iterator[Running]:
    """All processes but this one and those that have ended and are not waited for yet."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, _group, session, *_ = _text(place / "stat").rpartition(")")[2].split()
            if state != "Z" and int(place.name) != os.getpid():
                words = _text(place / "cmdline").rstrip("\0").split("\0")
                yield Running(int(place.name), tuple(words), int(session), int(parent))


def named(text: str) -> list[Running]:
    """Processes with ``text`` in their command line."""
    return [one for one in running() if text in one.line]


def of_session(pid: int) -> list[Running]:
    """Processes in the session that ``pid`` leads."""
    return [one for one in running() if one.session == pid]


def is_running(pid: int) -> bool:
    return any(one.pid == pid for one in running())


def wait_for_none(find: Callable[[], list[Running]], seconds: float) -> None:
    """Wait until ``find`` gives nothing. :raises AssertionError: it still does, and what"""
    deadline = time.monotonic() + seconds
    while left := find():
        assert time.monotonic() < deadline, [(one.pid, one.line) for one in left]
        time.sleep(0.1)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")
