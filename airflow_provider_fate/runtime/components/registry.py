"""Which class plays which FATE module. A new algorithm is one new file beside this one, and one line here.

A user's own module says itself where its class is (``job/extensions.py``)."""

from __future__ import annotations

from importlib import import_module

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.modules import MODULES
from airflow_provider_fate.runtime.components.base import Component

#: module name: file and class. Files are imported when a job uses them. Reader is the pipeline's own.
COMPONENTS = {
    "DataIO": ("data_transform", "DataIO"),
    "DataStatistics": ("data_statistics", "DataStatistics"),
    "DataTransform": ("data_transform", "DataTransform"),
    "Evaluation": ("evaluation", "Evaluation"),
    "FeatureScale": ("feature_scale", "FeatureScale"),
    "HeteroFeatureBinning": ("hetero_feature_binning", "HeteroFeatureBinning"),
    "HeteroFeatureSelection": ("hetero_feature_selection", "HeteroFeatureSelection"),
    "HeteroLinR": ("hetero_linr", "HeteroLinR"),
    "HeteroFastSecureBoost": ("hetero_secureboost", "HeteroFastSecureBoost"),
    "HeteroPoisson": ("hetero_poisson", "HeteroPoisson"),
    "HeteroLR": ("hetero_lr", "HeteroLR"),
    "HeteroSecureBoost": ("hetero_secureboost", "HeteroSecureBoost"),
    "HomoLR": ("homo_lr", "HomoLR"),
    "Intersection": ("intersection", "Intersection"),
    "SecureAddExample": ("secure_add_example", "SecureAddExample"),
}


def component_class(module: str) -> type[Component]:
    """The class of a module.

    :raises ConfigError: no such module
    """
    users_own = MODULES[module].component if module in MODULES else None
    if users_own is not None:
        return _users_own(module, users_own)
    if module not in COMPONENTS:
        raise ConfigError("module", f"{module!r} is not there; expected one of {', '.join(COMPONENTS)}")
    file, name = COMPONENTS[module]
    return getattr(import_module(f"airflow_provider_fate.runtime.components.{file}"), name)


def _users_own(module: str, reference: str) -> type[Component]:
    file, _, name = reference.partition(":")
    try:
        found = getattr(import_module(file), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"module {module}", f"its class {reference!r} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Component)) or found.module != module:
        raise ConfigError(
            f"module {module}", f"{reference!r} is not its class; expected a Component with module = {module!r}"
        )
    return found
