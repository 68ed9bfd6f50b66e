"""Makes the real servers' fixtures known to every test, and keeps tests that share servers together."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

#: drawn cases are the same in every run; ``HYPOTHESIS_PROFILE=long`` draws others, and many more of hostile input
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("long", derandomize=False, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

pytest_plugins = ["tests.servers.fixtures"]

#: parts of tests/integration that need clusters and brokers; the others need Airflow most of all, but for chaos: that
#: has servers of its own, and goes with those that take less time
_CLUSTERS = ("chaos", "cluster", "federation", "hooks", "runtime", "servers")


def _group(nodeid: str) -> str:
    """Which tests run one after the other in one process: those that share servers, else those of a file."""
    path = nodeid.split("::")[0]
    if not path.startswith("tests/integration/"):
        return path
    return "clusters" if path.split("/")[2] in _CLUSTERS else "airflow"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run in several processes (``-n 2``), those that share servers are in one, and begin first."""
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False

    class ByServers(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByServers(config, log)
