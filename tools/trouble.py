"""How a tool ends that cannot go on: with a sentence, not with a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


class Trouble(Exception):
    """What is wrong and what to do about it."""


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def run(main: Callable[[], int | None]) -> int:
    """Run a tool; SIGTERM and a closed terminal end it as Ctrl-C does.

    :returns: the exit code: 0, 1 after trouble, 130 when it was interrupted
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        return main() or 0
    except Trouble as trouble:
        say(f"error: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def say(text: str = "", **options: Any) -> None:
    """Print at once: output that goes to a pipe or a file must not come late. A closed terminal is no trouble."""
    with contextlib.suppress(OSError) if options.get("file") is sys.stderr else contextlib.nullcontext():
        print(text, flush=True, **options)
