"""The Airflow plugin."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_fate.links import LINKS


class FatePlugin(AirflowPlugin):
    """Makes the links known to Airflow's UI."""

    # Airflow drops all further plugins of a name that it has seen
    name = "airflow_provider_fate"
    operator_extra_links: list[Any] = list(LINKS.values())
