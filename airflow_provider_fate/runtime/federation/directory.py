"""Messages between processes of one machine: files that are renamed into a directory and polled.

``{path}/{job_id}/{receiver}/{sender}/{stream}-{number}.msg``: a sender writes beside and renames, so that a file that
is there is whole; its names sort in the order of sending. The receiver deletes a file once it has taken it.
Directories are 0700 and files 0600: the parties run as one user. A restart of the machine ends all of them, so that
nothing is forced to disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from airflow_provider_fate.errors import ConfigError, TransportError
from airflow_provider_fate.job.names import check_job_id
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Deliver, Transport

_log = logging.getLogger(__name__)

_SHORTEST, _LONGEST = 0.001, 0.02  # seconds between two looks
_BUSY = 0.3  # seconds after a message for which it looks often
_FORGOTTEN = 24 * 3600.0  # seconds after which the directory of a job that nobody touches is removed
_ENDING = 10.0  # seconds for an earlier run of the same party to end
_LARGEST = 256 << 20  # bytes; a larger file is none of ours
_LOOK = 16  # messages between two looks at how many bytes wait
_REMOVALS = 5  # times that a directory is removed into which peers may write
_SMALL = 4096  # bytes; signs of life and last words have room of their own
_SUFFIX = ".msg"
_LOCK = ".lock"


class DirectoryTransport(Transport):
    """Messages through a directory that all the parties see.

    :param path: made where it is not there
    :param max_body: bytes in one file
    :param backlog: bytes of files that may wait for one peer before :meth:`send` waits
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_body: int = 1 << 20,
        backlog: int = 1 << 28,
    ) -> None:
        self.path = Path(path)
        self.max_body = max_body
        self.backlog = backlog
        self._job = self.path
        self._me: Party | None = None
        self._stream = ""
        self._numbers: dict[Party, int] = {}
        self._known: set[Party] = set()  # peers whose directories have been there
        self._locks: dict[Party, threading.Lock] = {}  # one for each receiver: who waits for one keeps no other waiting
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._active_at = 0.0
        self._thread: threading.Thread | None = None
        self._error: TransportError | None = None
        self._held: int | None = None
        self._resumed = 0  # counts the calls of resume()
        self._left_alone: dict[Path, int] = {}  # inboxes that no more is wanted from, and the count at that time

    @property
    def description(self) -> str:
        return f"the directory {self.path}"

    # -- life

    def open(self, job_id: str, me: Party, peers: Iterable[Party], deliver: Deliver) -> None:
        self.attach(job_id, me)
        inboxes = [self._job / str(me) / str(peer) for peer in peers]
        try:
            self._hold(self._job / str(me))
            for inbox in inboxes:
                self._make(inbox)
            self._sweep()
        except OSError as error:
            raise self._failed("use", error) from error
        self._thread = threading.Thread(target=self._poll, args=(inboxes, deliver), name=f"directory-{me}", daemon=True)
        self._thread.start()

    def attach(self, job_id: str, me: Party) -> None:
        """Make :meth:`send` work, without taking what arrives."""
        self._job = self.path / check_job_id(job_id)
        self._me = me
        self._stream = f"{time.time_ns():020d}.{secrets.token_hex(4)}"

    def _make(self, directory: Path) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = self.path
        for part in directory.relative_to(self.path).parts:
            place /= part
            with contextlib.suppress(FileExistsError):
                place.mkdir(mode=0o700)

    def _hold(self, directory: Path) -> None:
        """Keep a lock as long as this process lives: two runs of one party would take each other's messages."""
        place = directory / _LOCK
        end = time.monotonic() + _ENDING
        while True:
            self._make(directory)
            try:
                held = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # somebody removes what an earlier run has left, just now
                continue
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(held).st_ino == os.stat(place).st_ino:  # else the one who held it has removed it
                    self._held = held
                    return
            except (BlockingIOError, FileNotFoundError):
                pass
            os.close(held)
            if time.monotonic() > end:
                raise TransportError(
                    f"another process plays {directory.name} in job {self._job.name} (it holds {place}); an earlier "
                    "run of the task may not have ended yet"
                )
            time.sleep(0.1)

    def _sweep(self) -> None:
        """Remove the directories of jobs that nobody has touched for a day."""
        before = time.time() - _FORGOTTEN
        for job in self.path.iterdir():
            if job == self._job or job.is_symlink() or not job.is_dir() or job.stat().st_mtime > before:
                continue
            with contextlib.suppress(OSError, ConfigError):
                for place in job.iterdir():
                    Party.parse(place.name)  # else it is none of ours
                if all(place.stat().st_mtime < before for place in [*job.glob("*"), *job.glob("*/*")]):
                    _log.info("removing %s, which nobody has touched for a day", job)
                    shutil.rmtree(job, ignore_errors=True)

    def close(self, *, remove: bool, unfinished: bool = False) -> None:
        self._stopped.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        if remove and self._me is not None:
            _remove(self._job / str(self._me))
            with contextlib.suppress(OSError):
                self._job.rmdir()  # the last one out
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def remove_left(self, job_id: str, me: Party, absent: Iterable[Party], seconds: float) -> None:
        """Remove what a run of ``me`` that was killed has left, from another process.

        :param absent: peers for which the same is done to what ``me`` has sent, unless they are there
        :param seconds: to wait at most until that run has ended
        :raises TransportError: it has not ended, or something cannot be removed
        """
        self._job = self.path / check_job_id(job_id)
        try:
            for peer in absent:
                with self._held_by_nobody(self._job / str(peer)) as free:
                    if free:
                        _remove(self._job / str(peer) / str(me))
                        with contextlib.suppress(OSError):
                            (self._job / str(peer)).rmdir()
            end = time.monotonic() + seconds
            while not self._removed(self._job / str(me)):
                if time.monotonic() > end:
                    raise TransportError(f"the application still uses {self._job / str(me)}")
                time.sleep(0.05)
        except OSError as error:
            raise self._failed("remove from", error) from error
        with contextlib.suppress(OSError):
            self._job.rmdir()

    def _removed(self, directory: Path) -> bool:
        with self._held_by_nobody(directory) as free:
            if free:
                _remove(directory)
            return free

    @staticmethod
    @contextlib.contextmanager
    def _held_by_nobody(directory: Path) -> Iterator[bool]:
        """Whether no process takes what arrives in ``directory``; none begins to meanwhile, see :meth:`_hold`."""
        try:
            held = os.open(directory / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            yield True  # nobody has begun; who does so now makes again what is missing
            return
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        try:
            yield free
        finally:
            os.close(held)

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def _failed(self, what: str, error: OSError) -> TransportError:
        return TransportError(
            f"cannot {what} the directory {self.path} for messages: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}"
        )

    # -- sending

    def send(self, to: Party, body: bytes) -> None:
        if self._me is None or self._stopped.is_set():
            raise TransportError("the transport is not open")
        if len(body) > self.max_body:
            raise TransportError(f"a message of {len(body)} bytes is larger than the largest, {self.max_body} bytes")
        directory = self._job / str(to) / str(self._me)
        with self._locks.setdefault(to, threading.Lock()):
            number = self._numbers.get(to, 0)
            if number % _LOOK == 0 and number:
                own_room = 0 if len(body) > _SMALL else self.backlog + 2 * _LOOK * self.max_body
                self._wait_for_room(directory, to, self.backlog + own_room)
            name = f"{self._stream}-{number:012d}"
            try:
                try:
                    self._write(directory, name, body)
                except FileNotFoundError:
                    # made once: one that was there and is not any more had its receiver leave, which makes it itself
                    # should it come back
                    if self.last_words or to in self._known:
                        return
                    self._make(directory)
                    self._write(directory, name, body)
                self._known.add(to)
            except OSError as error:
                raise self._failed("write to", error) from error
            self._numbers[to] = number + 1
        self._active_at = time.monotonic()  # an answer may come soon
        self._wake.set()

    def _write(self, directory: Path, name: str, body: bytes) -> None:
        draft = directory / f".{name}"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(body)
            while view:
                view = view[os.write(file, view) :]
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        finally:
            os.close(file)
        draft.rename(directory / f"{name}{_SUFFIX}")

    def _wait_for_room(self, directory: Path, to: Party, backlog: int) -> None:
        looks = 0
        while self._waiting(directory) > backlog:
            if self._stopped.wait(0.05):
                raise TransportError("the transport is closed")
            if looks % 20 == 0:
                self.on_wait(to)
            looks += 1

    def _waiting(self, directory: Path) -> int:
        total = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat().st_size
        return total

    def flush(self, timeout: float) -> None:
        pass  # a file that is there has been accepted

    # -- receiving

    def resume(self) -> None:
        self._resumed += 1
        self._wake.set()

    def _poll(self, inboxes: list[Path], deliver: Deliver) -> None:
        pause = _SHORTEST
        while not self._stopped.is_set():
            try:
                found = [self._take(inbox, deliver) for inbox in inboxes]
            except OSError as error:
                self._error = self._failed("read", error)
                return
            now = time.monotonic()
            if any(found):
                self._active_at = now
                continue
            pause = _SHORTEST if now - self._active_at < _BUSY else min(_LONGEST, pause * 1.5)
            self._wake.wait(pause)
            self._wake.clear()

    def _take(self, inbox: Path, deliver: Deliver) -> bool:
        if self._left_alone.get(inbox) == self._resumed:
            return False
        seen = self._names(inbox)
        if not seen:
            return False
        # While the first look went on, files may have come before and behind it. A second look finds every file
        # that is older than one that the first has seen.
        last = seen[-1]
        names = [name for name in self._names(inbox) if name <= last]
        for name in names:
            if self._stopped.is_set():
                break
            place = inbox / name
            body = self._read(place)
            resumed = self._resumed  # before it says so, as it may be called for at once
            wanted = deliver(body)
            place.unlink(missing_ok=True)
            if wanted is False:
                self._left_alone[inbox] = resumed
                break
        return True

    def _names(self, inbox: Path) -> list[str]:
        try:
            return sorted(name for name in os.listdir(inbox) if name.endswith(_SUFFIX) and not name.startswith("."))
        except FileNotFoundError:
            if not self._stopped.is_set():
                self._make(inbox)  # it was removed as one of an earlier run of ours, and senders make none again
            return []

    @staticmethod
    def _read(place: Path) -> bytes:
        file = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(file, "rb", buffering=0) as stream:
            return stream.read() if os.fstat(file).st_size <= _LARGEST else b""


def _remove(directory: Path) -> None:
    """Remove a directory, as far as that goes. A peer that writes into it just now finds none the next time."""
    for _ in range(_REMOVALS):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
