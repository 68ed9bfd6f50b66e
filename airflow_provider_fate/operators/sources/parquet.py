"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.operators.sources.base import Columns, Place, Source, first_wrong, wrong_rows
from airflow_provider_fate.operators.sources.files import Files

_BATCH = 65_536


class ParquetSource(Source):
    """Parquet files with the same columns; ids are text or whole numbers, all others are numbers.

    :param files: what to read
    """

    def __init__(
        self, files: Files, *, id_column: str | int | None = None, label_column: str | int | None = None
    ) -> None:
        self._files = files
        self._id_column = id_column
        self._label_column = label_column
        self._columns: Columns | None = None
        self.description = ", ".join(files.paths[:5]) + (", ..." if len(files.paths) > 5 else "")

    def columns(self) -> Columns:
        if self._columns is None:
            first = self._files.paths[0]
            for parquet in self._open(first):
                self._columns = Columns.choose(
                    parquet.schema_arrow.names, first, self._id_column, self._label_column
                )
        assert self._columns is not None
        return self._columns

    def _open(self, path: str) -> Iterator[pq.ParquetFile]:
        try:
            with self._files.seekable(path) as stream:
                yield pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read as Parquet: {error}") from error

    def batches(self) -> Iterator[pa.RecordBatch]:
        for _, _, batch in self._numbered():
            yield batch

    def _numbered(self) -> Iterator[tuple[str, int, pa.RecordBatch]]:
        """File, number of the first row in it, and rows."""
        columns = self.columns()
        for path in self._files.paths:
            for parquet in self._open(path):
                self._same_columns(path, parquet.schema_arrow)
                start = 0
                for batch in parquet.iter_batches(_BATCH, columns=list(columns.order)):
                    batch = self._typed(path, start, batch)
                    if wrong_rows(batch, columns) and (found := first_wrong(batch, columns)):
                        row, name, problem = found
                        raise DataError(f"{path} row {start + row + 1}, column {name!r}: {problem}")
                    yield path, start, batch
                    start += batch.num_rows

    def _same_columns(self, path: str, schema: pa.Schema) -> None:
        columns = self.columns()
        if sorted(schema.names) != sorted(columns.names):
            missing = sorted(set(columns.names) - set(schema.names))
            more = sorted(set(schema.names) - set(columns.names))
            raise DataError(
                f"{path}: expected the columns of {self._files.paths[0]}"
                + (f"; missing: {', '.join(missing)}" if missing else "")
                + (f"; not expected: {', '.join(more)}" if more else "")
            )
        for name in columns.order:
            kind = schema.field(name).type
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
            text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
            if name == columns.id:
                if not (text or pa.types.is_integer(kind)):
                    raise DataError(f"{path}, column {name!r}: ids are of type {kind}; expected text or whole numbers")
            elif not (
                pa.types.is_integer(kind)
                or pa.types.is_floating(kind)
                or pa.types.is_boolean(kind)
                or pa.types.is_decimal(kind)
                or pa.types.is_null(kind)
            ):
                raise DataError(f"{path}, column {name!r}: is of type {kind}; expected numbers")

    def _typed(self, path: str, start: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        schema = self.columns().schema
        arrays = []
        for field in schema:
            values = batch.column(field.name)
            try:
                # whole numbers above 2**53 are rounded, as any float column would have them
                arrays.append(values.cast(field.type, safe=pa.types.is_string(field.type)))
            except pa.ArrowInvalid as error:
                raise DataError(f"{path} from row {start + 1}, column {field.name!r}: {error}") from error
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def places(self, rows: Sequence[int]) -> list[Place]:
        found: dict[int, Place] = {}
        number = 0
        for path, start, batch in self._numbered():
            for row in rows:
                if number <= row < number + batch.num_rows:
                    at = row - number
                    found[row] = Place(f"{path} row {start + at + 1}", batch.column(0)[at].as_py())
            number += batch.num_rows
            if len(found) == len(set(rows)):
                break
        return [found[row] for row in rows]
