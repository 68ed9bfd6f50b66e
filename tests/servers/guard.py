"""Starts one server and sees to it that nothing of it outlives the test run.

Started as ``python guard.py PARENT_PID USER COMMAND...``; prints the server's process id and ends with its exit code.
The guard adopts every descendant that loses its parent (daemons such as epmd, task processes in sessions of their
own), so that all of them can be found and ended: when the server ends, when the guard is told to stop, and when the
test run is gone, however it went.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _in_child() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _end_all() -> None:
    """Kill the children until there are none; what they leave behind is adopted and is next."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in _children(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def main() -> int:
    parent, user, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    as_user = {"user": user, "group": user, "extra_groups": []} if user else {}
    server = subprocess.Popen(  # the server's output goes where the guard's error output goes: the log
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, preexec_fn=_in_child, **as_user
    )
    print(server.pid, flush=True)
    os.close(1)
    code = None
    while code is None and os.getppid() == parent:
        seen = signal.sigtimedwait(_SIGNALS, 0.5)
        if seen is not None and seen.si_signo != signal.SIGCHLD:
            break
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == server.pid:
                    code = os.waitstatus_to_exitcode(status)
                elif pid == 0:
                    break
    _end_all()
    return 128 - code if code is not None and code < 0 else code or 0


if __name__ == "__main__":
    sys.exit(main())
