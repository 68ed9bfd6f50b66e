"""Makes the real servers' fixtures known to every test."""

from __future__ import annotations

pytest_plugins = ["tests.servers.fixtures"]
