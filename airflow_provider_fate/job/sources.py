"""Where a value stands in the conf that a user wrote, for errors and notices."""

from __future__ import annotations

from typing import Any

from airflow_provider_fate.job.conf_v1 import data_of
from airflow_provider_fate.job.parameters.base import Loc
from airflow_provider_fate.job.plain import join, resolves

#: in place of an index: every party of the role
ALL = "all"


def render(path: str, loc: Loc) -> str:
    """``path`` and the keys below it as one text; places in lists in brackets."""
    for step in loc:
        path = f"{path}[{step}]" if isinstance(step, int) else join(path, step)
    return path


class Source:
    """The paths of a v2 conf.

    :param conf: the conf as it was written
    """

    def __init__(self, conf: dict[str, Any]) -> None:
        self.conf = conf

    def job_parameter(self, loc: Loc) -> str:
        """Path of a job parameter that all parties share."""
        return render("job_parameters.common", loc)

    def common(self) -> str:
        """Path of the parameters that all parties share."""
        return "component_parameters.common"

    def block(self, role: str, key: str) -> str:
        """Path of the parameters of single parties.

        :param key: as it stands in a v2 conf, such as ``0`` or ``0|2``
        """
        return f"component_parameters.role.{role}.{key}"

    def parameter(self, role: str, index: int, component: str, loc: Loc) -> str:
        """Path of a component's parameter as the party at ``index`` of ``role`` has it."""
        best, path = -1, ""
        for at, values in self._places(role, index, component):
            steps = resolves(values, loc)
            # Later places override earlier ones.
            if steps >= best and (steps > 0 or best < 0):
                best, path = steps, at
        return render(path or f"component_parameters.common.{component}", loc)

    def _places(self, role: str, index: int, component: str) -> list[tuple[str, Any]]:
        parameters = self.conf.get("component_parameters") or {}
        places = []
        common = parameters.get("common") or {}
        if component in common:
            places.append((f"component_parameters.common.{component}", common[component]))
        groups = (parameters.get("role") or {}).get(role) or {}
        for key, components in groups.items():
            if (key == ALL or str(index) in key.split("|")) and component in (components or {}):
                places.append((f"component_parameters.role.{role}.{key}.{component}", components[component]))
        return places


class SourceV1(Source):
    """The paths of a v1 conf."""

    def job_parameter(self, loc: Loc) -> str:
        return render("job_parameters", loc)

    def common(self) -> str:
        return "algorithm_parameters"

    def block(self, role: str, key: str) -> str:
        return f"role_parameters.{role}"

    def parameter(self, role: str, index: int, component: str, loc: Loc) -> str:
        common = (self.conf.get("algorithm_parameters") or {}).get(component)
        mine = (self.conf.get("role_parameters") or {}).get(role) or {}
        if (data := data_of(component)) is not None and loc[:1] == ("table",):
            return render(f"role_parameters.{role}.args.data.{data}[{index}]", loc[1:])
        own = mine.get(component)
        if own is not None and resolves(own, loc) >= max(1, resolves(common, loc)):
            steps = resolves(own, loc)
            return render(render(f"role_parameters.{role}.{component}", loc[:steps]) + f"[{index}]", loc[steps:])
        if common is None and own is not None:
            return render(f"role_parameters.{role}.{component}", loc)
        return render(f"algorithm_parameters.{component}", loc)


class SourceOver(Source):
    """The paths of what is laid over another conf.

    :param name: how the user knows it, such as ``parameters``
    :param over: by component, what is laid over
    """

    def __init__(self, base: Source, name: str, over: dict[str, Any]) -> None:
        super().__init__(base.conf)
        self.base, self.name, self.over = base, name, over

    def job_parameter(self, loc: Loc) -> str:
        return self.base.job_parameter(loc)

    def common(self) -> str:
        return self.base.common()

    def block(self, role: str, key: str) -> str:
        return self.base.block(role, key)

    def parameter(self, role: str, index: int, component: str, loc: Loc) -> str:
        if component in self.over and loc and resolves(self.over[component], loc) == len(loc):
            return render(f"{self.name}.{component}", loc)
        return self.base.parameter(role, index, component, loc)
