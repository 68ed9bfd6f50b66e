"""From a source into a table: checked as it streams, written by another thread, whole or not at all."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.hooks.stores import TableMeta, TableStore
from airflow_provider_fate.operators.sources.base import Rows, Source
from airflow_provider_fate.operators.sources.ids import IdCheck

_ROWS_PER_FILE = 500_000
#: between two lines of the log about how many rows there are so far
_TOLD_SECONDS = 10.0


def load(
    source: Source,
    tables: TableStore,
    namespace: str,
    name: str,
    *,
    drop: bool = False,
    partition: int = 1,
    log: Callable[..., None],
) -> TableMeta:
    """Write the rows of ``source`` into a table.

    :param drop: replace a table that exists
    :param partition: into how many files each 500,000 rows go
    :param log: told about rows every ten seconds
    :raises DataError: a row is wrong, an id stands twice, there are no rows
    :raises StorageError: the table cannot be written, or exists
    """
    try:
        return _load(source, tables, namespace, name, drop, partition, log)
    finally:
        source.close()


def _load(
    source: Source,
    tables: TableStore,
    namespace: str,
    name: str,
    drop: bool,
    partition: int,
    log: Callable[..., None],
) -> TableMeta:
    columns = source.columns()
    meta = TableMeta(
        namespace=namespace,
        name=name,
        id_name=columns.id,
        label_name=columns.label,
        columns=[(field.name, str(field.type)) for field in columns.schema],
        source=source.description,
        kind="features" if columns.lines is None else "lines",
    )
    rows_per_file = max(_ROWS_PER_FILE // partition, 1000)
    with IdCheck() as ids, tables.writer(meta, drop=drop, rows_per_file=rows_per_file) as writer:

        def write(rows: Rows) -> None:
            for start in range(0, rows.num_rows, rows_per_file):
                writer.write(rows.slice(start, rows_per_file))

        with written_behind(write) as put:
            for rows in _told(source.batches(), log):
                put(rows)
                ids.add(rows.column(columns.id))
            if ids.rows == 0:
                raise DataError(f"{source.description}: has no rows")
            _refuse_repeated(ids, source)
    return meta


def _refuse_repeated(ids: IdCheck, source: Source) -> None:
    # the earliest first; more than one is looked at in case that two ids have the same hash
    for pair in heapq.nsmallest(10, ids.repeated(), key=lambda rows: rows[1]):
        first, second = source.places(pair)
        if first.id == second.id:
            raise DataError(
                f"{second.text}, column {source.columns().id!r}: the id {second.id!r} stands at {first.text} already; "
                "each id may occur once in a table"
            )


@contextmanager
def written_behind(write: Callable[[Rows], None]) -> Iterator[Callable[[Rows], None]]:
    """Gives a function that has another thread write rows, and waits only when that is some rows behind.

    An error of the writing thread is raised by the next call, or at the end of the block; the thread has ended then.
    After an error in the block, what still waits is not written.
    """
    waiting: queue.Queue[Rows | None] = queue.Queue(maxsize=2)
    failed: list[BaseException] = []

    def work() -> None:
        while (rows := waiting.get()) is not None:
            if failed:
                continue
            try:
                write(rows)
            except BaseException as error:  # noqa: BLE001 - raised in the other thread
                failed.append(error)

    def put(rows: Rows) -> None:
        if failed:
            raise failed[0]
        waiting.put(rows)

    thread = threading.Thread(target=work, name="fate-upload-writer", daemon=True)
    thread.start()
    try:
        yield put
    except BaseException as error:
        failed.append(error)
        raise
    finally:
        waiting.put(None)
        thread.join()
    if failed:
        raise failed[0]


def _told(batches: Iterator[Rows], log: Callable[..., None]) -> Iterator[Rows]:
    count, last = 0, time.monotonic()
    for rows in batches:
        count += rows.num_rows
        if time.monotonic() - last >= _TOLD_SECONDS:
            log("%d rows so far", count)
            last = time.monotonic()
        yield rows
