"""Word to the other parties of a job, from outside of its Spark application."""

from __future__ import annotations

from airflow_provider_fate.runtime.federation.abort import tell_peers

__all__ = ["tell_peers"]
