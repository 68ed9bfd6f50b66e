"""Rows of one party, in partitions; each partition is one block of columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

#: ``Schema.kind`` of rows that are text still
LINES = "lines"


@dataclass(frozen=True)
class Schema:
    """What the columns of every block of a :class:`Rows` are.

    :param id_name: name of the id column
    :param features: names of the columns of ``Block.x``, in order. For predictions: the classes as text, each
        column the score of its class (binary: one column, the score of ``classes[1]``; regression: one column
        and no classes)
    :param label_name: name of the label column, ``None`` without labels
    :param kind: ``"features"``, ``"prediction"``, or ``"lines"`` for text that DataIO has to read, in ``Block.lines``
    :param classes: for predictions of a classifier, the labels in order
    :param threshold: for binary predictions, the score above which ``classes[1]`` is predicted
    """

    id_name: str
    features: tuple[str, ...]
    label_name: str | None = None
    kind: str = "features"
    classes: tuple[float | int | str, ...] = ()
    threshold: float = 0.5

    def with_features(self, features: Sequence[str]) -> Schema:
        return replace(self, features=tuple(features))


@dataclass
class Block:
    """One partition's rows.

    :param ids: string array, shape (rows,)
    :param x: float64, shape (rows, features), C order; missing values are NaN
    :param y: float64, shape (rows,), or ``None`` without labels
    :param lines: string array, shape (rows,): all of a row but its id, where ``Schema.kind`` is ``"lines"``
    """

    ids: pa.Array
    x: np.ndarray
    y: np.ndarray | None = None
    lines: pa.Array | None = None

    def __post_init__(self) -> None:
        parts = (self.ids, self.x, self.y, self.lines)
        if len({len(part) for part in parts if part is not None}) > 1:
            raise ValueError("ids, features, labels and lines of a block differ in length")

    def __len__(self) -> int:
        return len(self.x)

    def take(self, order: np.ndarray) -> Block:
        """The rows at ``order`` (int64), in that order."""
        places = pa.array(order)
        return Block(
            self.ids.take(places),
            self.x[order],
            None if self.y is None else self.y[order],
            None if self.lines is None else self.lines.take(places),
        )

    @staticmethod
    def concat(blocks: Sequence[Block]) -> Block:
        ids = pa.concat_arrays([b.ids for b in blocks])
        y = None if blocks[0].y is None else np.concatenate([b.y for b in blocks])
        lines = None if blocks[0].lines is None else pa.concat_arrays([b.lines for b in blocks])
        return Block(ids, np.concatenate([b.x for b in blocks]), y, lines)


class Rows(ABC):
    """Rows of one party in a fixed number of partitions.

    Functions given to :meth:`map` and :meth:`transform` run where the rows are (Spark's executors, or the driver
    for few rows), may run again after a failure, and must give the same result when they do.
    """

    schema: Schema
    #: rows of each partition
    counts: list[int]
    #: whether :meth:`map` is a round trip to other processes, and so costs some 50 ms whatever it does
    distributed = False

    @property
    def partitions(self) -> int:
        return len(self.counts)

    @property
    def count(self) -> int:
        return sum(self.counts)

    @abstractmethod
    def map(self, function: Callable[[Block, Any], Any], arguments: Sequence[Any] | None = None) -> list[Any]:
        """``function(block, argument)`` of every partition, results in the order of partitions.

        :param arguments: one per partition; ``None`` gives ``None`` to each
        """

    @abstractmethod
    def transform(
        self,
        function: Callable[[Block, Any], Block],
        schema: Schema,
        arguments: Sequence[Any] | None = None,
        counts: list[int] | None = None,
    ) -> Rows:
        """New rows, each partition made from one of these; lazy, so ``function`` may run when they are used.

        :param counts: rows of each new partition where they differ from this one's
        """

    @abstractmethod
    def rearrange(self, targets: Sequence[np.ndarray], counts: Sequence[int]) -> Rows:
        """Select and reorder rows over partitions.

        :param targets: per partition of these rows, int64 of shape (rows,): the row's place in the new order
            counted over all new partitions, or -1 to leave it out; the places are 0..sum(counts)-1, each once
        :param counts: rows of each new partition
        """

    @abstractmethod
    def cache(self) -> Rows:
        """Keep the rows where they are computed, for repeated use; :meth:`release` frees them."""

    @abstractmethod
    def release(self) -> None:
        """Free what :meth:`cache` keeps."""

    def blocks(self) -> list[Block]:
        """All rows, in the driver. For few rows only."""
        return self.map(_itself)


def _itself(block: Block, _: Any) -> Block:
    return block


class Constant(ABC):
    """A value that many tasks need, such as a key: it travels once to each process where they run.

    Give it to tasks within their function, as ``functools.partial(function, constant)``, never within an argument.
    Tasks of rows that :meth:`Rows.transform` made may run later than :meth:`close`: let them not use one.
    """

    @property
    @abstractmethod
    def value(self) -> Any:
        """The value, in the driver and in tasks."""

    @abstractmethod
    def close(self) -> None:
        """Free it everywhere; no task may use it any more."""


class Engine(ABC):
    """Where a party's computing happens."""

    #: how many tasks run at the same time
    parallelism: int
    #: how many of them at most share the memory of one executor, each in a process with caches of its own
    neighbours: int = 1

    @abstractmethod
    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """``function(argument)`` of each argument in parallel, results in order. Few, heavy tasks."""

    @abstractmethod
    def rows(self, blocks: Sequence[Block], schema: Schema) -> Rows:
        """Rows from blocks that the driver holds, one per partition."""

    @abstractmethod
    def constant(self, value: Any) -> Constant:
        """``value`` for the functions of :meth:`run` and :meth:`Rows.map`; picklable. To be closed."""


def even_counts(total: int, partitions: int) -> list[int]:
    """Rows of each of ``partitions`` when ``total`` rows are spread evenly, the first ones one more."""
    base, more = divmod(total, partitions)
    return [base + (i < more) for i in range(partitions)]


@dataclass
class Model:
    """What a component learnt, as it is stored: readable without this project.

    :param meta: JSON: names, shapes, numbers, a ``format`` version that the component checks when it loads
    :param tables: what is large, by name, stored as Parquet
    """

    meta: dict[str, Any]
    tables: dict[str, pa.Table] = field(default_factory=dict)
