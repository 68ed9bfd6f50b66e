"""How far an application is that runs elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class ProgressWatch(threading.Thread):
    """Logs what an application says that runs on a cluster, from the file in the storage that it keeps for this.

    :param read: gives the file's content, see ``Progress.tell_in_storage``; raises where there is none yet
    :param log: told each line
    :param on_progress: told each message
    :param seconds: between two looks
    """

    def __init__(
        self,
        read: Callable[[], dict[str, Any]],
        log: Callable[..., None],
        on_progress: Callable[[dict[str, Any]], None],
        seconds: float = 5.0,
    ) -> None:
        super().__init__(name="fate-progress", daemon=True)
        self._read, self._log, self._on_progress, self._seconds = read, log, on_progress, seconds
        self._ended = threading.Event()
        self._seen = 0

    def run(self) -> None:
        while not self._ended.wait(self._seconds):
            self.look()

    def look(self) -> None:
        """Log what is new."""
        try:
            content = self._read()
            said, messages = int(content["said"]), list(content["messages"])
        except Exception:  # noqa: BLE001 - the next look may see more
            return
        if said < self._seen:  # the cluster manager started the application again
            self._seen = 0
        new = said - self._seen
        self._seen = said
        if new > len(messages):
            self._log("(%d lines are left out here)", new - len(messages))
        for message in messages[max(0, len(messages) - new) :]:
            self._log("%s", message.get("text", ""))
            self._on_progress(message)

    def stop(self) -> None:
        """End, and log the rest."""
        self._ended.set()
        self.join(10)
        self.look()
