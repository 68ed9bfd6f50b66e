"""Connections as Airflow reads them, from the environment."""

from __future__ import annotations

from tests.integration.hooks.conftest import connect

__all__ = ["connect"]
