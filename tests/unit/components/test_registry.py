from __future__ import annotations

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.runtime.components.registry import COMPONENTS, component_class


@pytest.mark.parametrize("module", COMPONENTS)
def test_every_module_has_its_class(module) -> None:
    assert component_class(module).module == module


def test_an_unknown_module() -> None:
    with pytest.raises(ConfigError, match="'HeteroFoo' is not there; expected one of DataIO, "):
        component_class("HeteroFoo")
