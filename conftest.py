"""Makes the real servers' fixtures known to every test, and keeps tests that share servers together."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.servers.fixtures"]

_INTEGRATION = Path(__file__).parent / "tests" / "integration"
#: what needs clusters and brokers; the others need Airflow most of all
_CLUSTERS = ("cluster", "federation", "hooks", "runtime", "servers")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, those that share servers are in one, and the others are spread."""
    for item in items:
        if item.path.is_relative_to(_INTEGRATION):
            part = item.path.relative_to(_INTEGRATION).parts[0]
            item.add_marker(pytest.mark.xdist_group("clusters" if part in _CLUSTERS else "airflow"))
