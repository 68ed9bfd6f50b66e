"""What tests of hostile input share: how many cases, values that no honest party sends, bounds on what they cost."""

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
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: how many times as many cases the profile ``long`` draws
LONG = 20

_NOT_SHOWN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def cases(count: int) -> settings:
    """Settings of a test that draws ``count`` cases, the same in every run; see conftest.py for the other profile."""
    times = LONG if not settings.default.derandomize else 1
    return settings(max_examples=count * times, suppress_health_check=list(HealthCheck))


# -- values that no honest party sends

INTEGERS = st.sampled_from(
    [0, 1, -1, 2, 7, 255, 1 << 16, 1 << 31, -(1 << 31), (1 << 53) + 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
) | st.integers(-(1 << 63), (1 << 64) - 1)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan")])
TEXTS = st.sampled_from(
    [
        "", " ", ".", "..", "../../etc/passwd", "a/b", "\0", "\n", "a\nhost-10000 ended: all well", "\x1b[2J\x1b[31m",
        "\r", "\u2028", "\u202eevil", "\ufeff", "ü" * 300, "x" * 10_000, "guest-9999", "host-666", "arbiter-10000",
        "{{ 7*7 }}", "{% for i in range(9**9) %}", "%s%n", "job-2", "nan",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS | st.binary(max_size=40)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


# -- what a case must not do


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
    before = _peak_from_now()
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
    took, more = time.monotonic() - began, (_memory("VmHWM") - before) / 1024
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


def _peak_from_now() -> int:
    """Let the kernel measure the peak anew; what is in use now, in KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def printed(error: BaseException) -> str:
    """An error's text, which is fit for a log."""
    text = str(error)
    assert text.strip(), f"a {type(error).__name__} without a text"
    assert shown(text), text
    assert len(text) < 6000, len(text)
    return text


#: any place among ``length``, by a share of it: what is drawn does not depend on what is random
def place(share: Any, length: int) -> int:
    return min(int(share * length), length - 1)
