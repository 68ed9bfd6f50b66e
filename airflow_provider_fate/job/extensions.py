"""Modules of the users' own packages, found through an entry point.

A package names each of its modules in its ``pyproject.toml``, by the name that a DSL gives it and the
:class:`~airflow_provider_fate.job.modules.ModuleSpec` that describes it::

    [project.entry-points."airflow_provider_fate.components"]
    SecureMean = "secure_mean.module:MODULE"

Nothing of a package is imported before a job names one of its modules.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from airflow_provider_fate.errors import ConfigError

GROUP = "airflow_provider_fate.components"


def names() -> list[str]:
    """The modules of all packages that are installed."""
    return sorted({found.name for found in entry_points(group=GROUP)})


def entry(name: str) -> EntryPoint | None:
    """The entry point of a module, in upper or lower case, or ``None``.

    :raises ConfigError: several packages have the module
    """
    found = {(one.value, one.dist.name if one.dist else ""): one for one in entry_points(group=GROUP)
             if one.name.lower() == name.lower()}  # fmt: skip
    if len(found) > 1:
        packages = ", ".join(sorted(package for _, package in found))
        raise ConfigError(f"module {name}", f"several packages have it: {packages}; keep one of them installed")
    return next(iter(found.values()), None)
