"""Task groups: all parties of a job on this Airflow, and a training over a list of parameter sets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import TaskGroup, task, task_group

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.party import ROLES, Party
from airflow_provider_fate.operators._job import as_object
from airflow_provider_fate.operators._open_dag import open_dag
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator

_NAME_THEM = "give it, or name the parties: parties=['guest-9999', ...]"
#: parties by ``role-party_id``, with arguments of their own
Parties = str | Sequence[str] | Mapping[str, Mapping[str, Any] | None]


class PartyGroup(TaskGroup):
    """The tasks of one job's parties.

    :param operators: the tasks, by party
    """

    operators: dict[Party, Any]

    @property
    def guest(self) -> Any:
        """The guest's task, or the first one where the guest is on another Airflow."""
        first = next(iter(self.operators.values()))
        return next((one for party, one in self.operators.items() if party.role == "guest"), first)

    @property
    def result(self) -> Any:
        """What the guest's task returns, for the tasks that follow."""
        return self.guest.output


def parties_of(job: Any) -> list[str]:
    """The parties that a job's conf names: guest, hosts, arbiter.

    :param job: as :class:`FateTrainOperator` takes it; files are looked for beside the DAG's file
    :raises ConfigError: the roles cannot be read while the DAG is parsed
    """
    conf = job
    if isinstance(conf, (str, os.PathLike)):
        conf = _read(conf)
    if isinstance(conf, Mapping):
        conf = next((conf[k] for k in ("conf", "runtime_conf", "job_runtime_conf") if k in conf), None)
    if isinstance(conf, (str, os.PathLike)):
        conf = _read(conf)
    roles = conf.get("role") if isinstance(conf, Mapping) else None
    if not isinstance(roles, Mapping) or not roles:
        raise ConfigError("parties", f"cannot be read from the job's conf while the DAG is parsed; {_NAME_THEM}")
    named = []
    for role in ROLES:
        ids = roles.get(role, [])
        named += [str(Party(role, str(one))) for one in (ids if isinstance(ids, (list, tuple)) else [ids])]
    return named


def _read(name: str | os.PathLike[str]) -> Any:
    dag = open_dag()
    folders = []
    if dag is not None:
        more = dag.template_searchpath or []
        folders = [Path(dag.fileloc).parent, *([more] if isinstance(more, str) else more)]
    for path in (Path(name), *(Path(folder) / name for folder in folders)):
        if path.is_file():
            try:
                return as_object(path, "job")
            except ConfigError as error:
                hint = f"a template is only filled in when the task runs; {_NAME_THEM}"
                raise ConfigError(error.path, f"{error.problem}; {hint}") from error
    raise ConfigError("job", f"there is no file {os.fspath(name)!r} beside the DAG's file; {_NAME_THEM}")


def by_party(parties: Parties) -> Mapping[str, Mapping[str, Any] | None]:
    """The parties with arguments of their own; a single one may be given as text."""
    if isinstance(parties, Mapping):
        return parties
    return dict.fromkeys([parties] if isinstance(parties, str) else parties)


def _group(
    group_id: str, operator: Callable[..., Any], parties: Parties, arguments: dict[str, Any], tooltip: str
) -> PartyGroup:
    own = by_party(parties)
    if not own:
        raise ConfigError("parties", "names no party; expected such as ['guest-9999', 'host-10000']")
    group = PartyGroup(group_id=group_id, tooltip=tooltip)
    group.operators = {}
    with group:
        for text, overrides in own.items():
            party = Party.parse(text)
            group.operators[party] = operator(
                task_id=f"{party.role}_{party.party_id}",
                role=party.role,
                party_id=party.party_id,
                **{**arguments, **(overrides or {})},
            )
    return group


def fate_train(group_id: str, job: Any, *, parties: Parties | None = None, **arguments: Any) -> PartyGroup:
    """One :class:`FateTrainOperator` for each party of a job that is on this Airflow.

    :param job: conf and DSL, as the operator takes them
    :param parties: which parties are here: ``["guest-9999", ...]``, or ``{"guest-9999": {"storage_conn_id": ...}}``
        with arguments of their own; by default all that the job's conf names
    :param arguments: for the operators of all parties
    """
    named = parties if parties is not None else parties_of(job)
    return _group(group_id, FateTrainOperator, named, {"job": job, **arguments}, "the parties of one federated job")


def fate_predict(group_id: str, model_id: str, parties: Parties, **arguments: Any) -> PartyGroup:
    """One :class:`FatePredictOperator` for each party of a model that is on this Airflow.

    :param parties: as :func:`fate_train` takes them
    """
    return _group(
        group_id, FatePredictOperator, parties, {"model_id": model_id, **arguments},
        "the parties of one federated prediction",
    )  # fmt: skip


@task(multiple_outputs=True)
def choose_best(
    results: Any, metric: str, greater_is_better: bool = True, component: str | None = None
) -> dict[str, Any]:
    """The result with the best value of a metric.

    :param results: what the trainings returned
    :param metric: e.g. ``auc``
    :param component: whose metric, e.g. ``evaluation_0``; by default that of the last component that has it
    :raises ConfigError: no result has the metric
    """
    return best_of(list(results), metric, greater_is_better, component)


def best_of(
    results: Sequence[Mapping[str, Any]], metric: str, greater_is_better: bool = True, component: str | None = None
) -> dict[str, Any]:
    """What :func:`choose_best` does, as a plain function."""
    seen: set[str] = set()
    valued = []
    for position, result in enumerate(results):
        value = metric_of((result or {}).get("metrics", {}), metric, component, seen)
        if value is not None and math.isfinite(value):
            valued.append((value if greater_is_better else -value, -position, result))
    if not valued:
        where = f" of {component}" if component else ""
        raise ConfigError("metric", f"no result has {metric!r}{where}; there are: {', '.join(sorted(seen)) or 'none'}")
    value, position, best = max(valued, key=lambda one: one[:2])
    return {**best, "position": -position, "metric": metric, "value": value if greater_is_better else -value}


def metric_of(metrics: Mapping[str, Any], metric: str, component: str | None, seen: set[str]) -> float | None:
    """A number by its name, wherever it stands in a component's metrics; the last component that has it counts.

    :param seen: takes the names that are there
    """
    found = None
    for name, values in metrics.items():
        if component is not None and name != component:
            continue
        for path, value in _numbers(values):
            seen.add(path[-1])
            if metric in (path[-1], ".".join(path)):
                found = value
    return found


def _numbers(values: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], float]]:
    if isinstance(values, bool):
        return []
    if isinstance(values, (int, float)):
        return [(path, float(values))] if path else []
    if isinstance(values, Mapping):
        return [one for key, value in values.items() for one in _numbers(value, (*path, str(key)))]
    return []


class TuneGroup(TaskGroup):
    """A training over parameter sets, and the task that chooses.

    :param best: what the best training returned, for the tasks that follow
    """

    best: Any


def fate_tune(
    group_id: str,
    job: Any,
    parameter_sets: Any,
    metric: str,
    *,
    greater_is_better: bool = True,
    at_once: int = 1,
    parties: Parties | None = None,
    **arguments: Any,
) -> TuneGroup:
    """The same training once for each parameter set, and the best of them by a metric.

    :param parameter_sets: a list, or a task that returns one; each is what ``parameters`` of the operator takes
    :param metric: e.g. ``auc``
    :param at_once: how many trainings run at the same time
    :param arguments: for the operators of all parties
    """
    group = TuneGroup(group_id=group_id, tooltip="the same training over parameter sets, and the best one")
    made: list[PartyGroup] = []

    def parameter_set(parameters: Any) -> None:
        made.append(
            fate_train(
                "train", job, parties=parties, parameters=parameters, max_active_tis_per_dagrun=at_once, **arguments
            )
        )

    with group:
        task_group(group_id="parameter_set")(parameter_set).expand(parameters=parameter_sets)
        group.best = choose_best(made[0].result, metric, greater_is_better)
    return group
