"""What all test servers share: processes that end with the test run, free ports, waiting, and errors that help."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
_GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class Place:
    """Where servers run, and by which addresses they are reached.

    :param host: the tests', and that of servers and processes in the same place
    :param listen: what a server binds to that other places may reach
    :param public: how other places reach it
    :param enter: what stands before a command to run it there
    """

    host: str = HOST
    listen: str = HOST
    public: str = HOST
    enter: tuple[str, ...] = ()


#: this machine as the tests see it, on loopback
HERE = Place()


class ServerError(RuntimeError):
    """A test server cannot be started, or ended by itself; the message holds the end of its log."""


def require(program: str, package: str, *places: str) -> str:
    """Find a program, or say which package has it.

    :param program: its name, looked up in *places* (directories, first) and on PATH
    :param package: the Debian package to install
    """
    found = shutil.which(program, path=os.pathsep.join((*places, os.environ.get("PATH", os.defpath))))
    if found is None:
        raise ServerError(
            f"{program} is not installed, and the tests run against the real one: "
            f"apt-get install {package} (tools/install-test-servers installs all that the tests need)"
        )
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, below the range from which the kernel takes ports for outgoing connections.

    A server that is killed and started again finds its port free, which one of the kernel's range need not be.
    """
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            listener = socket.socket()
            try:
                listener.bind((HOST, random.SystemRandom().randrange(12000, 32000)))
            except OSError:
                listener.close()
                continue
            held.append(listener)
        return [listener.getsockname()[1] for listener in held]
    finally:
        for listener in held:
            listener.close()


def is_open(port: int, host: str = HOST) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex((host, port)) == 0


class Server(ABC):
    """What can be started and stopped: a context manager that stops what did not start well, too."""

    @abstractmethod
    def start(self) -> Self:
        """Start, and wait until it serves."""

    @abstractmethod
    def stop(self) -> None:
        """End it, also where it has only begun to start."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Process:
    """One server process, with everything that it starts; its output goes to a log file.

    :param name: what errors call it
    :param command: program and arguments
    :param log: file that output is appended to
    :param env: whole environment; that of the tests where not given
    :param user: account to run it as (only when the tests run as root)
    :param place: where to run it
    """

    def __init__(
        self,
        name: str,
        command: Iterable[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str = "",
        place: Place = HERE,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), user, *place.enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(os.environ if env is None else env),
                cwd=cwd,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        with self._guard.stdout as answer:
            first = answer.readline()
        if not first:
            self._guard.wait()
            raise ServerError(f"{name} cannot be started\n{self.tail()}")
        self.pid = int(first)

    @property
    def running(self) -> bool:
        return self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The server's exit code, 128 + signal when it was killed; None while it runs."""
        return self._guard.poll()

    def tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        if not self.log.exists():
            return f"({self.log} is not there)"
        last = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"--- the last lines of {self.log}", *last, "---"])

    def wait_until(self, ready: Callable[[], object], what: str, seconds: float) -> None:
        """Wait until *ready* answers with something true; exceptions of it count as "not yet".

        :raises ServerError: the process ended, or the time is up
        """
        deadline = time.monotonic() + seconds
        trouble: object = "it said no"
        while True:
            if not self.running:
                raise ServerError(f"{self.name} ended with code {self.exit_code} before {what}\n{self.tail()}")
            try:
                if ready():
                    return
            except Exception as error:
                trouble = repr(error)
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name}: not {what} after {seconds:.0f} s ({trouble})\n{self.tail()}")
            time.sleep(0.1)

    def signal(self, number: int) -> None:
        """Send a signal to the server itself."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, seconds: float = 30) -> None:
        """Ask the server to end (SIGTERM), then end it with all that it started."""
        self.signal(signal.SIGTERM)
        try:
            self._guard.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server and all that it started at once (SIGKILL)."""
        self.signal(signal.SIGKILL)
        try:
            self._guard.wait(10)
        except subprocess.TimeoutExpired:
            self._guard.terminate()
            self._guard.wait(30)
