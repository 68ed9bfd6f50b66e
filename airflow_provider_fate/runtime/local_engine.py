"""Computing in the driver: for few rows, where a Spark job costs more than the work, and for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from airflow_provider_fate.runtime.data import Block, Constant, Engine, Rows, Schema


class LocalEngine(Engine):
    """Runs everything in the calling thread."""

    parallelism = 1

    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        return [function(argument) for argument in arguments]

    def rows(self, blocks: Sequence[Block], schema: Schema) -> Rows:
        return LocalRows(blocks, schema)

    def constant(self, value: Any) -> Constant:
        return LocalConstant(value)


class LocalConstant(Constant):
    """The value itself."""

    def __init__(self, value: Any) -> None:
        self._value = value

    @property
    def value(self) -> Any:
        return self._value

    def close(self) -> None:
        pass


class LocalRows(Rows):
    """Rows in the driver's memory."""

    def __init__(self, blocks: Sequence[Block], schema: Schema) -> None:
        self._blocks = list(blocks)
        self.schema = schema
        self.counts = [len(block) for block in self._blocks]

    def map(self, function: Callable[[Block, Any], Any], arguments: Sequence[Any] | None = None) -> list[Any]:
        arguments = [None] * self.partitions if arguments is None else arguments
        return [function(block, argument) for block, argument in zip(self._blocks, arguments, strict=True)]

    def transform(
        self,
        function: Callable[[Block, Any], Block],
        schema: Schema,
        arguments: Sequence[Any] | None = None,
        counts: list[int] | None = None,
    ) -> Rows:
        return LocalRows(self.map(function, arguments), schema)

    def rearrange(self, targets: Sequence[np.ndarray], counts: Sequence[int]) -> Rows:
        places = np.concatenate(targets) if targets else np.empty(0, np.int64)
        kept = np.flatnonzero(places >= 0)
        order = np.empty(len(kept), np.int64)
        order[places[kept]] = kept
        everything = Block.concat(self._blocks)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        return LocalRows(
            [everything.take(order[start:end]) for start, end in zip(bounds, bounds[1:], strict=False)], self.schema
        )

    def cache(self) -> Rows:
        return self

    def release(self) -> None:
        pass
