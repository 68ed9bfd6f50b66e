"""Scores from the weighted sums of all parties. Hosts send theirs in the clear, as FATE's do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.exact import inner_products
from airflow_provider_fate.runtime.data import Block, Rows, Schema
from airflow_provider_fate.runtime.federation.checks import Array, Check

#: from sums w x to scores, entry by entry
Response = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Linear:
    """One party's weights of one or several models.

    :param weights: shape (features, models)
    :param intercepts: shape (models,)
    :param columns: places of the features in the rows' schema, ``None`` where they are all of it in order
    """

    weights: np.ndarray
    intercepts: np.ndarray
    columns: np.ndarray | None = None

    def sums(self, x: np.ndarray) -> np.ndarray:
        """w x of each row and model; shape (rows, models)."""
        chosen = x if self.columns is None else np.ascontiguousarray(x[:, self.columns])
        return np.stack([inner_products(chosen, one) for one in self.weights.T], axis=1) + self.intercepts


@dataclass(frozen=True)
class Scoring:
    """What the guest needs for one partition.

    :param others: the hosts' sums, shape (rows, models)
    :param response: makes scores of sums
    """

    linear: Linear
    others: np.ndarray
    response: Response | None = None


def send_sums(ctx: Context, tag: str, rows: Rows, linear: Linear) -> None:
    """A host's weighted sums, to the guest."""
    ctx.federation.send(ctx.federation.guest, tag, rows.map(_sums, [linear] * rows.partitions))


def receive_sums(ctx: Context, tag: str, rows: Rows, models: int) -> list[np.ndarray]:
    """The hosts' weighted sums, added up, of each partition; each of shape (rows, models)."""
    check = _Partitions(tuple(Array("float64", (count, models)) for count in rows.counts))
    received = [ctx.federation.receive(host, tag, check) for host in ctx.federation.hosts]
    return [sum(parts[1:], start=parts[0]) for parts in zip(*received, strict=True)]


def scored(rows: Rows, linear: Linear, others: Sequence[np.ndarray], schema: Schema, response: Response) -> Rows:
    """Rows of predictions: the score of each model's sum, as columns.

    :param response: a function of this package, as it travels to executors by name
    """
    return rows.transform(_score, schema, [Scoring(linear, part, response) for part in others])


def labels_and_sums(rows: Rows, linear: Linear, others: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Labels, shape (rows,), and sums, shape (rows, models), of all rows, in the driver."""
    found = rows.map(_label_and_sum, [Scoring(linear, part) for part in others])
    return np.concatenate([y for y, _ in found]), np.concatenate([sums for _, sums in found])


def logistic(sums: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-sums)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -sums))


def identity(sums: np.ndarray) -> np.ndarray:
    """The sums themselves, for a linear regression."""
    return sums


def exponential(sums: np.ndarray) -> np.ndarray:
    """exp(sums), for a model of the logarithm of the mean; infinite where it overflows."""
    with np.errstate(over="ignore"):
        return np.exp(sums)


@dataclass(frozen=True)
class _Partitions:
    """A list with a value for each partition, each with a check of its own."""

    checks: tuple[Check, ...]

    def __call__(self, value: object) -> None:
        if not isinstance(value, list) or len(value) != len(self.checks):
            raise ValueError(f"expected a list of {len(self.checks)} partitions")
        for number, (entry, check) in enumerate(zip(value, self.checks, strict=True)):
            try:
                check(entry)
            except ValueError as error:
                raise ValueError(f"partition {number}: {error}") from None


def _sums(block: Block, linear: Linear) -> np.ndarray:
    return linear.sums(block.x)


def _label_and_sum(block: Block, scoring: Scoring) -> tuple[np.ndarray, np.ndarray]:
    return block.y, scoring.linear.sums(block.x) + scoring.others


def _score(block: Block, scoring: Scoring) -> Block:
    return Block(block.ids, scoring.response(scoring.linear.sums(block.x) + scoring.others), block.y)
