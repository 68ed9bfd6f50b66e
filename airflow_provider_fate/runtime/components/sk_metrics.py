"""``sklearn.metrics``, imported when the first metric is computed.

The import takes several seconds of processor time. Every party of a job imports the components, and so do Spark's
Python workers, but one party computes metrics.
"""

from __future__ import annotations

import threading
from typing import Any


def load_early() -> None:
    """Import it in the background."""
    threading.Thread(target=__getattr__, args=("roc_auc_score",), name="load-metrics", daemon=True).start()


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    from sklearn import metrics

    return getattr(metrics, name)
