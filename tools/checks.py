"""What is checked before something is started: disk space, ports, and that nobody else uses the directory."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from pathlib import Path
from typing import IO

from tools.trouble import Trouble

HOST = "127.0.0.1"
GIB = 1 << 30


def disk(directory: Path, needed: int, purpose: str) -> None:
    """See that there is room.

    :param directory: where; it need not exist yet
    :param needed: bytes
    :param purpose: what the room is for
    :raises Trouble: there is less
    """
    place = directory
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise Trouble(
            f"{purpose} needs {needed / GIB:.1f} GiB on the disk of {place}, and {free / GIB:.1f} GiB are free. "
            "Make room there and try again"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def port(asked: str = "", usual: int = 8080) -> tuple[int, str]:
    """A free port for Airflow on the loopback interface.

    :param asked: what the user asked for; empty for the usual one, or another where that is taken
    :returns: the port, and what to say about it where it is not the expected one
    :raises Trouble: the port that was asked for is taken, or is none
    """
    if asked:
        if not asked.isdecimal() or not 1 <= int(asked) <= 65535:
            raise Trouble(f"PORT={asked} is no port: a number from 1 to 65535 is expected")
        if not _is_free(int(asked)):
            raise Trouble(
                f"port {asked} of {HOST} cannot be had: another program listens on it, or it needs other rights. "
                "Choose another one with PORT=, or leave PORT out and a free one is taken"
            )
        return int(asked), ""
    for candidate in range(usual, usual + 200):
        if _is_free(candidate):
            return candidate, "" if candidate == usual else f"Port {usual} is taken, so Airflow gets {candidate}."
    raise Trouble(f"none of the ports {usual} to {usual + 199} of {HOST} is free")


def lock(directory: Path) -> IO[str]:
    """Keep others from using the directory until the answer is closed or this process ends.

    :raises Trouble: another process has it
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = (directory / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise Trouble(
            f"another `make demo` or `make ui` (process {holder}) uses {directory}. Let it end, or stop it"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
