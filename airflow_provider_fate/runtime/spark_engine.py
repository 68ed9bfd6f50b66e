"""Computing on Spark's executors: one block of columns per partition, never an object per row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import RDD, Broadcast, StorageLevel
from pyspark.serializers import BatchedSerializer, CloudPickleSerializer, CPickleSerializer
from pyspark.sql import DataFrame, SparkSession

from airflow_provider_fate.runtime.data import LINES, Block, Constant, Engine, Rows, Schema
from airflow_provider_fate.runtime.local_engine import LocalEngine

#: arguments of all partitions together that travel with the function; larger ones become a partitioned
#: collection of their own, so that a task receives its own argument only
SMALL_ARGUMENTS = 256 * 1024
#: bytes of a block, some more or less, that pass through a column of Spark's at once; its JVM needs several times as
#: much for each, and has 1 GiB where nobody says more
_PIECE = 4 << 20


class SparkEngine(Engine):
    """Tasks on the executors of one Spark application.

    :param session: the application's session, or a function that starts it when it is first needed
    """

    def __init__(self, session: Callable[[], SparkSession]) -> None:
        self._session = session

    @property
    def session(self) -> SparkSession:
        return self._session()

    @property
    def parallelism(self) -> int:  # type: ignore[override]
        return int(self.session.sparkContext.defaultParallelism)

    @property
    def neighbours(self) -> int:  # type: ignore[override]
        cores = self.session.sparkContext.getConf().get("spark.executor.cores")
        return int(cores) if cores else self.parallelism

    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        if len(arguments) <= 1:
            return LocalEngine().run(function, arguments)
        context = self.session.sparkContext
        return context.parallelize(arguments, len(arguments)).map(function).collect()

    def rows(self, blocks: Sequence[Block], schema: Schema) -> Rows:
        context = self.session.sparkContext
        return SparkRows(
            context.parallelize(list(blocks), len(blocks)), schema, [len(block) for block in blocks]
        )

    def constant(self, value: Any) -> Constant:
        return SparkConstant(self._session, value)

    def read_parquet(self, paths: Sequence[str], schema: Schema, to_block: Callable[[pa.Table], Block]) -> Rows:
        """Rows of Parquet files, a block per partition of Spark's own reading.

        :param paths: as Spark reads them
        :param to_block: makes a partition's block of its columns
        """
        frame = self.session.read.parquet(*paths)
        names = frame.columns
        # mapInArrow looks columns up by name and takes a dot in one for a nested field
        frame = frame.toDF(*_plain_names(names))

        def pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            # as large as Spark reads them: 10,000 rows, where nobody says otherwise
            for batch in batches:
                for piece in _pieces(to_block(pa.Table.from_batches([batch]).rename_columns(names))):
                    yield pa.record_batch([pa.array([CloudPickleSerializer().dumps(piece)], pa.binary())], ["block"])

        packed = _one_by_one(frame.mapInArrow(pack, "block binary").rdd.map(_unpack).mapPartitions(_filled(schema)))
        packed.persist(StorageLevel.MEMORY_AND_DISK)
        return SparkRows(packed, schema, packed.map(len).collect())


class SparkConstant(Constant):
    """A broadcast variable, made when a function that holds the constant first leaves the driver: each executor
    fetches it once, and each Python worker unpickles it once."""

    def __init__(self, session: Callable[[], SparkSession], value: Any) -> None:
        self._session = session
        self._value = value
        self._broadcast: Broadcast[Any] | None = None

    @property
    def value(self) -> Any:
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        if self._broadcast is None:
            self._broadcast = self._session().sparkContext.broadcast(self._value)
        return _Arrived, (self._broadcast,)

    def close(self) -> None:
        if self._broadcast is not None:
            self._broadcast.destroy()
            self._broadcast = None


@dataclasses.dataclass(frozen=True)
class _Arrived:
    """A constant in a task."""

    broadcast: Broadcast[Any]

    @property
    def value(self) -> Any:
        return self.broadcast.value


def _one_by_one(rdd: RDD) -> RDD:
    """The same, written an object at a time. ``RDD.zip`` passes both sides through Python workers of their own, two
    more a task, unless both are written in batches of one size, as those of ``parallelize`` with an object a slice."""
    return rdd._reserialize(BatchedSerializer(CPickleSerializer(), 1))


def _unpack(row: Any) -> Block:
    # written by our own executors a moment ago, in the same application
    return CloudPickleSerializer().loads(bytes(row[0]))


def _pieces(block: Block) -> Iterator[Block]:
    """A block cut into some of at most :data:`_PIECE` bytes, text not counted; none where it is empty."""
    rows = max(1, _PIECE // (8 * block.x.shape[1] + 64))
    if len(block) <= rows:
        return iter([block] if len(block) else [])
    return (block.take(np.arange(start, min(start + rows, len(block)))) for start in range(0, len(block), rows))


def _empty(schema: Schema) -> Block:
    return Block(
        pa.array([], pa.string()),
        np.empty((0, len(schema.features))),
        None if schema.label_name is None else np.empty(0),
        pa.array([], pa.string()) if schema.kind == LINES else None,
    )


def _filled(schema: Schema) -> Callable[[Iterator[Block]], list[Block]]:
    """Exactly one block in a partition, empty where Spark read no rows into it."""

    def fill(blocks: Iterator[Block]) -> list[Block]:
        found = list(blocks)
        return [Block.concat(found) if found else _empty(schema)]

    return fill


class SparkRows(Rows):
    """An RDD with exactly one :class:`Block` in every partition."""

    distributed = True

    def __init__(self, rdd: RDD, schema: Schema, counts: Sequence[int]) -> None:
        self._rdd = _one_by_one(rdd)
        self.schema = schema
        self.counts = list(counts)

    def _with(self, arguments: Sequence[Any] | None, function: Callable[[Block, Any], Any]) -> RDD:
        if arguments is None:
            return self._rdd.map(lambda block: function(block, None))
        arguments = list(arguments)
        if len(arguments) != self.partitions:
            raise ValueError(f"{len(arguments)} arguments for {self.partitions} partitions")
        if _size(arguments) <= SMALL_ARGUMENTS:
            return self._rdd.mapPartitionsWithIndex(
                lambda index, blocks: (function(block, arguments[index]) for block in blocks)
            )
        shipped = self._rdd.context.parallelize(arguments, self.partitions)
        return self._rdd.zip(shipped).map(lambda pair: function(*pair))

    def map(self, function: Callable[[Block, Any], Any], arguments: Sequence[Any] | None = None) -> list[Any]:
        return self._with(arguments, function).collect()

    def transform(
        self,
        function: Callable[[Block, Any], Block],
        schema: Schema,
        arguments: Sequence[Any] | None = None,
        counts: list[int] | None = None,
    ) -> Rows:
        return SparkRows(self._with(arguments, function), schema, self.counts if counts is None else counts)

    def rearrange(self, targets: Sequence[np.ndarray], counts: Sequence[int]) -> Rows:
        bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

        def scatter(block: Block, places: np.ndarray) -> list[tuple[int, tuple[np.ndarray, Block]]]:
            kept = np.flatnonzero(places >= 0)
            goal = np.searchsorted(bounds, places[kept], side="right") - 1
            return [
                (int(part), (places[chosen] - bounds[part], block.take(chosen)))
                for part in np.unique(goal)
                for chosen in [kept[goal == part]]
            ]

        schema = self.schema

        def gather(pieces: Iterator[tuple[int, tuple[np.ndarray, Block]]]) -> Iterator[Block]:
            found = [piece for _, piece in pieces]
            if not found:
                yield _empty(schema)
                return
            places = np.concatenate([place for place, _ in found])
            yield Block.concat([block for _, block in found]).take(np.argsort(places, kind="stable"))

        scattered = self._with(targets, scatter).flatMap(lambda pieces: pieces)
        arranged = scattered.partitionBy(len(counts), int).mapPartitions(gather)
        return SparkRows(arranged, self.schema, counts)

    def cache(self) -> Rows:
        self._rdd.persist(StorageLevel.MEMORY_AND_DISK)
        return self

    def release(self) -> None:
        self._rdd.unpersist()

    def frame(
        self, session: SparkSession, columns: Sequence[tuple[str, str]], to_batch: Callable[[Block], pa.RecordBatch]
    ) -> DataFrame:
        """The rows as a DataFrame, to be written by Spark.

        :param columns: name and Spark's type of each
        :param to_batch: makes a record batch of a block
        """
        plain = _plain_names(columns)
        packed = session.createDataFrame(
            self._rdd.flatMap(_pieces).map(lambda block: (bytearray(CloudPickleSerializer().dumps(block)),)),
            "block binary",
        )

        def unpack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for content in batch.column(0):
                    yield to_batch(CloudPickleSerializer().loads(content.as_py())).rename_columns(plain)

        kinds = ", ".join(f"{name} {kind}" for name, (_, kind) in zip(plain, columns, strict=True))
        return packed.mapInArrow(unpack, kinds).toDF(*(name for name, _ in columns))


def _plain_names(columns: Sequence[Any]) -> list[str]:
    return [f"c{place}" for place in range(len(columns))]


def _size(value: Any) -> int:
    """Bytes that a value takes at least, quickly."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, (bytes, bytearray, str)):
        return len(value)
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value))
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if dataclasses.is_dataclass(value):
        return sum(_size(getattr(value, field.name)) for field in dataclasses.fields(value))
    return 8
