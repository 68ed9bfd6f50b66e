"""How far an application is that runs elsewhere."""

from __future__ import annotations

import threading
from typing import Any


class StatusWatch(threading.Thread):
    """Logs how far an application is that runs on a cluster, from the status it keeps in the storage.

    :param read: gives the status, ``None`` where there is none yet
    :param log: told about each new component
    :param on_progress: told about the Spark UI
    :param seconds: between two looks
    """

    def __init__(self, read: Any, log: Any, on_progress: Any, seconds: float = 5.0) -> None:
        super().__init__(name="fate-status", daemon=True)
        self._read, self._log, self._on_progress, self._seconds = read, log, on_progress, seconds
        self._ended = threading.Event()
        self._component: str | None = None
        self._spark_ui: str | None = None

    def run(self) -> None:
        while not self._ended.wait(self._seconds):
            self.look()

    def look(self) -> None:
        try:
            status = self._read() or {}
        except Exception:  # noqa: BLE001 - the next look may see more
            return
        if (url := status.get("spark_ui")) and url != self._spark_ui:
            self._spark_ui = url
            self._log("Spark's UI of this application: %s", url)
            self._on_progress({"spark_ui": url})
        if (component := status.get("component")) and component != self._component:
            self._component = component
            self._log("%s: started", component)

    def stop(self) -> None:
        self._ended.set()
        self.join(10)
        self.look()
