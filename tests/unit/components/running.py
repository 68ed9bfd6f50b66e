"""The parties of most tests of components, and what runs them."""

from __future__ import annotations

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.testing import Alone, Ran, component, ids_of, run_component, table

GUEST, HOST, HOST2, HOST3 = (
    Party("guest", "9999"),
    Party("host", "10000"),
    Party("host", "10001"),
    Party("host", "10002"),
)

__all__ = [
    "Alone", "GUEST", "HOST", "HOST2", "HOST3", "Ran", "component", "ids_of", "run_component", "table",
]  # fmt: skip
