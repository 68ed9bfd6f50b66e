"""What a case of hostile input must not do: take long, take memory, end a thread, spoil the log."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

_NOT_SHOWN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


class Watch:
    """What was logged and which threads died, while :func:`watched`."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tracebacks: list[str] = []
        self.died: list[str] = []


def shown(line: str) -> bool:
    """Whether a line is one line, and holds nothing that a terminal acts upon."""
    return not any(unicodedata.category(one) in _NOT_SHOWN for one in line)


@contextlib.contextmanager
def watched(seconds: float, mebibytes: float) -> Iterator[Watch]:
    """A case takes at most so long and so much more memory at its peak; its log is of single printable lines, without
    a traceback; no thread dies, and NumPy warns of nothing."""
    watch = Watch()
    handler = _Lines(watch)
    logger = logging.getLogger("airflow_provider_fate")
    level, hook = logger.level, threading.excepthook
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    threading.excepthook = lambda args: watch.died.append(f"{args.thread}: {args.exc_value!r}")
    before = peak_from_now()
    began = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("error", DeprecationWarning)
            yield watch
    finally:
        threading.excepthook = hook
        logger.removeHandler(handler)
        logger.setLevel(level)
    took, more = time.monotonic() - began, (peak_memory() - before) / 1024
    assert took < seconds, f"it took {took:.1f} s"
    assert more < mebibytes, f"it took {more:.0f} MiB more memory"
    assert not watch.died, watch.died
    assert not watch.tracebacks, watch.tracebacks
    assert all(map(shown, watch.lines)), [line for line in watch.lines if not shown(line)]


class _Lines(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.lines.append(record.getMessage())
        if record.exc_info:
            self._watch.tracebacks.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def _memory(what: str) -> int:
    """Of this process, in KiB."""
    found = re.search(rf"{what}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, f"/proc/self/status has no {what}"
    return int(found[1])


def peak_from_now() -> int:
    """Let the kernel measure the peak anew; what is in use now, in KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def peak_memory() -> int:
    """The most that was in use since :func:`peak_from_now`, in KiB."""
    return _memory("VmHWM")


def printed(error: BaseException) -> str:
    """An error's text, which is fit for a log."""
    text = str(error)
    assert text.strip(), f"a {type(error).__name__} without a text"
    assert shown(text), text
    assert len(text) < 6000, len(text)
    return text
