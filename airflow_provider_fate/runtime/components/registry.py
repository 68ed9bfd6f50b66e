"""Which class plays which FATE module. A new algorithm is one new file beside this one, and one line here."""

from __future__ import annotations

from importlib import import_module

from airflow_provider_fate.errors import ConfigError
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
    if module not in COMPONENTS:
        raise ConfigError("module", f"{module!r} is not there; expected one of {', '.join(COMPONENTS)}")
    file, name = COMPONENTS[module]
    return getattr(import_module(f"airflow_provider_fate.runtime.components.{file}"), name)
