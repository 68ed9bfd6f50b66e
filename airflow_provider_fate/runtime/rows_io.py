"""Rows to and from tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.runtime.data import LINES, Block, Rows, Schema, even_counts
from airflow_provider_fate.runtime.local_engine import LocalRows
from airflow_provider_fate.runtime.storage.tables import TableMeta, TableStore

if TYPE_CHECKING:
    from airflow_provider_fate.runtime.spark_engine import SparkEngine

#: cells up to which a table is computed in the driver, unless the job asks for partitions: a Spark job costs
#: some 50 ms, in which NumPy passes over all of them many times
DRIVER_CELLS = 1_000_000
#: as how many cells a line counts, of which nobody knows how many values it has
LINE_CELLS = 100


def read_rows(tables: TableStore, meta: TableMeta, engine: SparkEngine, partitions: int | None) -> Rows:
    """A stored table as rows: in the driver when it is small and no partitions are asked for, else on Spark.

    :raises DataError: a column is neither text (the id) nor numeric
    """
    kinds = dict(meta.columns)
    lined = meta.kind == LINES
    for name in [] if lined else [*meta.features, *([meta.label_name] if meta.label_name else [])]:
        if kinds[name] not in ("double", "float", "int64", "int32", "int16", "int8", "bool", "uint8"):
            raise DataError(
                f"column {name!r} of table {meta.namespace}/{meta.name} is {kinds[name]}; expected numbers"
            )
    if lined:
        schema = Schema(meta.id_name, (), kind=LINES)
        to_block = _line_reader(meta)
    else:
        schema = Schema(meta.id_name, tuple(meta.features), meta.label_name)
        to_block = _block_reader(schema)
    files = tables.files(meta.namespace, meta.name)
    width = LINE_CELLS if lined else max(len(meta.columns), 1)
    if partitions is None and meta.count * width <= DRIVER_CELLS:
        blocks = []
        for path in files:
            with tables.storage.open_read(path) as stream:
                blocks.append(to_block(pq.read_table(pa.BufferReader(stream.read()))))
        return LocalRows([Block.concat(blocks)], schema)
    rows = engine.read_parquet([tables.storage.spark_path(path) for path in files], schema, to_block)
    if partitions is None:
        partitions = max(rows.partitions, min(engine.parallelism, -(-meta.count // 10_000)))
    if partitions == rows.partitions:
        return rows
    counts = even_counts(rows.count, partitions)
    bounds = np.concatenate([[0], np.cumsum(rows.counts)]).astype(np.int64)
    spread = rows.rearrange([np.arange(a, b) for a, b in zip(bounds, bounds[1:], strict=False)], counts).cache()
    return spread


def _block_reader(schema: Schema) -> Callable[[pa.Table], Block]:
    def to_block(table: pa.Table) -> Block:
        x = np.empty((table.num_rows, len(schema.features)))
        for place, name in enumerate(schema.features):
            x[:, place] = _floats(table.column(name))
        y = None if schema.label_name is None else _floats(table.column(schema.label_name))
        return Block(_text(table.column(schema.id_name)), x, y)

    return to_block


def _line_reader(meta: TableMeta) -> Callable[[pa.Table], Block]:
    id_name, (line_name, *_) = meta.id_name, meta.features

    def to_block(table: pa.Table) -> Block:
        ids, lines = _text(table.column(id_name)), _text(table.column(line_name))
        return Block(ids, np.empty((len(ids), 0)), lines=lines)

    return to_block


def _text(column: pa.ChunkedArray) -> pa.Array:
    text = column.cast(pa.string()).combine_chunks()
    if isinstance(text, pa.ChunkedArray):
        text = pa.concat_arrays(text.chunks) if text.num_chunks else pa.array([], pa.string())
    return text


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    return pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()


def write_rows(tables: TableStore, rows: Rows, meta: TableMeta, engine: SparkEngine) -> TableMeta:
    """Store rows as a table, replacing one of this name; small ones from the driver, large ones by Spark."""
    to_batch, columns = _batch_maker(rows.schema, meta)
    meta.columns = [(name, str(kind)) for name, kind in columns]
    meta.kind = rows.schema.kind
    if isinstance(rows, LocalRows):
        with tables.writer(meta, drop=True) as writer:
            for batch in rows.map(lambda block, _: to_batch(block)):
                writer.write(batch)
        return meta
    temporary = tables.temporary(meta.namespace, meta.name)
    spark_kinds = {pa.string(): "string", pa.float64(): "double"}
    try:
        rows.frame(engine.session, [(name, spark_kinds[kind]) for name, kind in columns], to_batch).write.parquet(  # type: ignore[attr-defined]
            tables.storage.spark_path(temporary), compression="zstd"
        )
        tables.storage.delete(f"{temporary}/_SUCCESS")
        meta.count = rows.count
        meta.partitions = rows.partitions
        hashes = rows.map(lambda block, _: _block_hash(block))
        meta.digest = hashlib.sha256(b"".join(hashes)).hexdigest()
        tables.commit(meta, temporary, drop=True)
    except BaseException:
        tables.storage.delete(temporary)
        raise
    return meta


def _block_hash(block: Block) -> bytes:
    digest = hashlib.sha256("\0".join(block.ids.to_pylist()).encode())
    digest.update(np.ascontiguousarray(block.x).tobytes())
    if block.y is not None:
        digest.update(block.y.tobytes())
    return digest.digest()


def _batch_maker(
    schema: Schema, meta: TableMeta
) -> tuple[Callable[[Block], pa.RecordBatch], list[tuple[str, pa.DataType]]]:
    if schema.kind == "prediction":
        kind = str(meta.extra.get("type", "predict"))
        label = [("label", pa.float64())] if schema.label_name else []
        columns = [
            (schema.id_name, pa.string()), *label, ("predict_result", pa.float64()), ("predict_score", pa.float64()),
            ("predict_detail", pa.string()), ("type", pa.string()),
        ]
        return lambda block: prediction_batch(block, schema, kind), columns
    label = [(schema.label_name, pa.float64())] if schema.label_name else []
    columns = [(schema.id_name, pa.string()), *label, *((name, pa.float64()) for name in schema.features)]
    names = [name for name, _ in columns]

    def to_batch(block: Block) -> pa.RecordBatch:
        labels = [] if block.y is None else [pa.array(block.y)]
        features = [pa.array(np.ascontiguousarray(block.x[:, place])) for place in range(block.x.shape[1])]
        return pa.record_batch([block.ids, *labels, *features], names)

    return to_batch, columns


def prediction_batch(block: Block, schema: Schema, kind: str) -> pa.RecordBatch:
    """Predictions with FATE's columns: id, label, predict_result, predict_score, predict_detail, type.

    ``predict_detail`` is JSON text of the score of every class, as FATE has it; for a binary model
    ``predict_score`` is the score of the second class, else the score of the predicted one.
    """
    result, score = predicted(block.x, schema)
    classes = [_plain(value) for value in schema.classes]
    scores = np.column_stack([1.0 - block.x[:, 0], block.x[:, 0]]) if len(classes) == 2 else block.x
    names = [str(value) for value in classes] or ["label"]
    pieces: list[pa.Array | str] = []
    for place, name in enumerate(names):
        pieces.append(("{" if place == 0 else ", ") + f'"{name}": ')
        pieces.append(pa.array(np.ascontiguousarray(scores[:, place])).cast(pa.string()))
    detail = pc.binary_join_element_wise(*pieces, "}", "")
    label = [] if block.y is None else [pa.array(block.y)]
    names = ["label"] if label else []
    return pa.record_batch(
        [block.ids, *label, pa.array(result), pa.array(score), detail, pa.array([kind] * len(block), pa.string())],
        [schema.id_name, *names, "predict_result", "predict_score", "predict_detail", "type"],
    )


def _plain(value: float | int | str) -> float | int | str:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def predicted(x: np.ndarray, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """The predicted label and its score of each row of a prediction's columns, both float64 of shape (rows,)."""
    if not schema.classes:
        return x[:, 0], x[:, 0]
    classes = np.asarray(schema.classes, np.float64)
    if len(classes) == 2:
        return classes[(x[:, 0] > schema.threshold).astype(np.int64)], x[:, 0]
    best = np.argmax(x, axis=1)
    return classes[best], x[np.arange(len(x)), best]
