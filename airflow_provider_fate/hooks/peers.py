"""What a task does for its party where the Spark application cannot: word to the other parties, and removing."""

from __future__ import annotations

from airflow_provider_fate.runtime.federation.abort import remove_left, tell_peers

__all__ = ["remove_left", "tell_peers"]
