"""What a component is: one FATE module, played by the parties of a job."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.data import Engine, Model, Rows
from airflow_provider_fate.runtime.federation.base import Federation


class Checkpoint(ABC):
    """State of a component in the middle of its work, kept over a restart of the job."""

    #: the step that all parties agreed to go on from, ``None`` to start from the beginning
    step: int | None

    def save(self, step: int, arrays: dict[str, np.ndarray], meta: dict[str, Any] | None = None) -> None:
        """Keep ``arrays`` (and JSON-able ``meta``) as the state after ``step``; called after each one, and written
        after every fifth, so after the same ones at every party."""
        raise NotImplementedError

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The state after :attr:`step`."""
        raise NotImplementedError


class NoCheckpoint(Checkpoint):
    """Keeps nothing: for work that is quicker to do again."""

    step = None

    def save(self, step: int, arrays: dict[str, np.ndarray], meta: dict[str, Any] | None = None) -> None:
        pass

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        raise ValueError("there is no step to go on from")


@dataclass
class Context:
    """What a component is given to work with.

    :param name: the component's name in the DSL, e.g. ``hetero_lr_0``
    :param party: the party that this process plays
    :param federation: messages to and from the other parties, with tags of this component's own
    :param engine: where computing happens
    :param log: one line of progress in the task's log, e.g. ``log("iteration 3, loss 0.512")``
    :param record: numbers for the metrics file, e.g. ``record("loss", 0.512, step=3)``
    :param seed: the job's seed for this component; the same at every party, and public
    :param partitions: partitions that the job conf asks for (``computing_partitions``), ``None`` to choose
    """

    name: str
    party: Party
    federation: Federation
    engine: Engine
    log: Callable[[str], None]
    record: Callable[..., None]
    checkpoint: Checkpoint
    seed: int = 0
    partitions: int | None = None


@dataclass
class Outputs:
    """What a component gives back.

    :param data: by output name (``train``, ``validate``, ``test``, ``data``); what the DSL does not name is dropped.
        A component with one data output puts it under ``data``.
    :param model: what it learnt, stored under the party's model
    :param metrics: numbers by name, e.g. ``{"auc": 0.99}``; JSON-able; shown in Airflow and returned by the task
    :param summary: what a person reads about the result, JSON-able
    :param verdict: the sentence that the job's log ends with, where there is one
    """

    data: dict[str, Rows] = field(default_factory=dict)
    model: Model | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    verdict: str | None = None


class Component(ABC):
    """One FATE module. Subclasses implement :meth:`fit` and, where a fitted one is used again, :meth:`predict`.

    A method that differs by role dispatches on ``self.ctx.party.role``.

    :param parameters: the validated parameters, an instance of the module's pydantic model in ``job/parameters``
    """

    #: FATE's module name
    module: ClassVar[str]
    #: whether outputs and steps are kept as checkpoints: for what takes longer to do again than to write
    keeps_outputs: ClassVar[bool] = False
    #: how often it is begun at most in one try of a party's task, where each time tells the peers something new
    most_runs: ClassVar[int | None] = None
    #: whether it can read rows that are text still (``Schema.kind`` is ``lines``)
    reads_lines: ClassVar[bool] = False

    def __init__(self, ctx: Context, parameters: BaseModel) -> None:
        self.ctx = ctx
        self.parameters = parameters

    @classmethod  # noqa: B027 - most have nothing to load
    def load_early(cls, role: str) -> None:
        """Begin to load, in the background, what takes seconds and a party in this role needs later on.

        Called before the parties meet, for each component of the job.
        """

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Learn from, or simply process, the input.

        :param data: input rows by the DSL's input name: ``data``, ``train_data``, ``validate_data``, ``test_data``.
            Where the DSL names several for one input, the second and later are ``data_1``, ``data_2``, ...
        :param models: models by input name: ``model`` (warm start), ``isometric_model``, ``isometric_model_1``, ...;
            ``meta["module"]`` says whose each is
        """
        raise NotImplementedError

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """Apply what an earlier :meth:`fit` learnt to new rows (input name ``data`` or ``test_data``)."""
        raise NotImplementedError


def check_model(component: str, module: str, model: Model, version: int = 1) -> dict[str, Any]:
    """What a stored model says, where it is this module's.

    :param component: its name in the DSL, for the error
    :param version: of the format that the module writes
    :raises DataError: it is another module's, or of another format
    """
    meta = model.meta
    if meta.get("module") != module or meta.get("format") != version:
        raise DataError(
            f"{component}: expected a model of {module} in format {version}, found {meta.get('module')!r} in format "
            f"{meta.get('format')!r}"
        )
    return meta


def rows_to_train(component: str, data: dict[str, Rows]) -> Rows:
    """The input ``train_data``, or ``data``.

    :raises ConfigError: there is none
    """
    rows = data.get("train_data", data.get("data"))
    if rows is None:
        raise ConfigError(f"{component}.input.data", "train_data is missing")
    return rows


def rows_to_predict(component: str, data: dict[str, Rows]) -> Rows:
    """The input to predict, under any of its names.

    :raises ConfigError: there is none
    """
    for name in ("data", "test_data", "train_data", "validate_data"):
        if name in data:
            return data[name]
    raise ConfigError(f"{component}.input.data", "there is no data to predict")


def arbiter_of(ctx: Context) -> Party:
    """:raises ConfigError: the job has none"""
    arbiter = ctx.federation.arbiter
    if arbiter is None:
        raise ConfigError("role.arbiter", f"{ctx.name} needs an arbiter, and the job's role has none")
    return arbiter
