"""The DAG that is being written, for helpers that a user calls in its file."""

from __future__ import annotations

from typing import Any


def open_dag() -> Any:
    """The DAG of the ``with DAG(...)`` block around the call, ``None`` outside of one."""
    # private in Airflow, which has no public way to ask; the only place here that names it
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    return DagContext.get_current()
