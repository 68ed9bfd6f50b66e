"""A query on a database, read with a server-side cursor so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_fate.errors import ConfigError, DataError, StorageError
from airflow_provider_fate.operators.sources.base import Columns, Place, Source, first_wrong, wrong_rows

_ROWS = 20_000

#: column names and an iterator over lists of rows
Result = tuple[Sequence[str], Iterator[Sequence[Sequence[Any]]]]


class SqlSource(Source):
    """The rows of a query.

    :param run: starts the query; a context manager that gives its column names and its rows in lists
    :param description: what the table's description and messages say about it
    """

    def __init__(
        self,
        run: Callable[[], AbstractContextManager[Result]],
        description: str,
        *,
        id_column: str | int | None = None,
        label_column: str | int | None = None,
    ) -> None:
        self._run = run
        self._id_column = id_column
        self._label_column = label_column
        self._columns: Columns | None = None
        self._query: AbstractContextManager[Result] | None = None
        self._running: Result | None = None
        self.description = description

    def columns(self) -> Columns:
        if self._columns is None:
            names, _ = self._start()
            self._columns = Columns.choose(list(names), self.description, self._id_column, self._label_column)
        return self._columns

    def _start(self) -> Result:
        """The query's result; it is kept for :meth:`batches`, as some queries take long to begin."""
        if self._running is None:
            self._query = self._run()
            self._running = self._query.__enter__()
        return self._running

    def close(self) -> None:
        if self._query is not None:
            self._query.__exit__(None, None, None)
        self._query = self._running = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        columns = self.columns()
        names, chunks = self._start()
        try:
            if tuple(names) != columns.names:
                raise DataError(f"{self.description}: the columns changed while it was read")
            start = 0
            for rows in chunks:
                batch = self._typed(columns, rows, start)
                if wrong_rows(batch, columns) and (found := first_wrong(batch, columns)):
                    row, name, problem = found
                    raise DataError(f"{self.description} row {start + row + 1}, column {name!r}: {problem}")
                yield batch
                start += batch.num_rows
        finally:
            self.close()

    def _typed(self, columns: Columns, rows: Sequence[Sequence[Any]], start: int) -> pa.RecordBatch:
        values = dict(zip(columns.names, zip(*rows, strict=True), strict=True))
        arrays = []
        for name in columns.order:
            if name == columns.id:
                arrays.append(pa.array([_id_text(v) for v in values[name]], pa.string()))
            else:
                arrays.append(self._numbers(name, values[name], start))
        return pa.RecordBatch.from_arrays(arrays, schema=columns.schema)

    def _numbers(self, name: str, values: Sequence[Any], start: int) -> pa.Array:
        try:
            if any(isinstance(value, (str, bytes)) for value in values):
                raise TypeError
            return pa.array(np.array(values, dtype=np.float64), from_pandas=True)
        except (TypeError, ValueError):
            for row, value in enumerate(values):
                if value is not None and not _is_number(value):
                    raise DataError(
                        f"{self.description} row {start + row + 1}, column {name!r}: {value!r:.80} "
                        f"({type(value).__name__}) is not a number"
                    ) from None
            raise

    def places(self, rows: Sequence[int]) -> list[Place]:
        wanted, found, number = set(rows), {}, 0
        position = self.columns().names.index(self.columns().id)
        with self._run() as (_, chunks):
            for chunk in chunks:
                for at in [r for r in wanted if number <= r < number + len(chunk)]:
                    found[at] = Place(f"{self.description} row {at + 1}", _id_text(chunk[at - number][position]) or "")
                number += len(chunk)
                if len(found) == len(wanted):
                    break
        # a query without ORDER BY may give its rows in another order the second time
        return [found.get(row, Place(f"{self.description} row {row + 1}", "")) for row in rows]


def _id_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def query(hook: Any, sql: str, parameters: Any, conn_id: str) -> Callable[[], AbstractContextManager[Result]]:
    """Run a query through an Airflow SQL hook, by SQLAlchemy's streaming where the hook has an engine.

    :param hook: a ``DbApiHook``
    :raises ConfigError: the connection is not one to a SQL database
    """
    if not hasattr(hook, "get_conn") or not hasattr(hook, "run"):
        raise ConfigError("sql_conn_id", f"connection {conn_id!r} is not one to a SQL database")
    return lambda: _Query(hook, sql, parameters, conn_id)


class _Query(AbstractContextManager):
    def __init__(self, hook: Any, sql: str, parameters: Any, conn_id: str) -> None:
        self._hook, self._sql, self._parameters, self._conn_id = hook, sql, parameters, conn_id
        self._close: list[Callable[[], Any]] = []

    def __enter__(self) -> Result:
        try:
            return self._by_engine() or self._by_cursor()
        except Exception as error:
            self.__exit__()
            raise StorageError(f"connection {self._conn_id!r}: the query failed: {error}") from error

    def _by_engine(self) -> Result | None:
        try:
            engine = self._hook.get_sqlalchemy_engine()
        except Exception:  # noqa: BLE001 - a driver without SQLAlchemy's dialect: the plain cursor it is
            return None
        self._close.append(engine.dispose)
        # without parameters a % in the query is only a %
        connection = engine.connect().execution_options(
            stream_results=True, max_row_buffer=_ROWS, no_parameters=not self._parameters
        )
        self._close.append(connection.close)
        result = connection.exec_driver_sql(self._sql, self._parameters or ())
        if not result.returns_rows:
            raise DataError("it returns no rows; expected a SELECT")
        return list(result.keys()), iter(lambda: result.fetchmany(_ROWS), [])

    def _by_cursor(self) -> Result:
        connection = self._hook.get_conn()
        self._close.append(connection.close)
        cursor = connection.cursor()
        self._close.append(cursor.close)
        cursor.arraysize = _ROWS
        cursor.execute(self._sql, *([self._parameters] if self._parameters else []))
        if cursor.description is None:
            raise DataError("it returns no rows; expected a SELECT")
        return [item[0] for item in cursor.description], iter(lambda: list(cursor.fetchmany(_ROWS)), [])

    def __exit__(self, *_: object) -> None:
        while self._close:
            self._close.pop()()
