"""Tables: Parquet files and a description of them, written so that a table is whole or not there.

Layout below the storage's root::

    tables/{namespace}/{name}/part-00000.parquet ...
    tables/{namespace}/{name}/_meta.json            written last
    tables/{namespace}/.{name}.{random}/            while it is being written
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.runtime.storage.base import Storage

FORMAT = 1
META = "_meta.json"


@dataclass
class TableMeta:
    """What is known of a table without reading it.

    :param namespace: FATE's namespace
    :param name: FATE's table name
    :param id_name: name of the id column, a string
    :param label_name: name of the label column, ``None`` without one
    :param columns: name and Arrow type of every column, in order
    :param count: rows
    :param digest: SHA-256 over the Parquet files, hex
    :param partitions: number of Parquet files
    :param source: where the rows came from, for people
    :param kind: ``features``, ``prediction``, or ``lines``: an id, and the rest of each line as text
    :param created: UTC time in ISO 8601
    """

    namespace: str
    name: str
    id_name: str
    label_name: str | None
    columns: list[tuple[str, str]]
    count: int = 0
    digest: str = ""
    partitions: int = 0
    source: str = ""
    kind: str = "features"
    created: str = ""
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> list[str]:
        """Columns that are neither id nor label, in order."""
        return [name for name, _ in self.columns if name not in (self.id_name, self.label_name)]


class TableWriter:
    """Writes Arrow batches to Parquet files of about the same size. Made by :meth:`TableStore.writer`."""

    def __init__(self, storage: Storage, directory: str, meta: TableMeta, rows_per_file: int) -> None:
        self._storage = storage
        self.directory = directory
        self.meta = meta
        self._rows_per_file = rows_per_file
        self._parquet: pq.ParquetWriter | None = None
        self._stream: Any = None
        self._rows_in_file = 0
        self._digest = hashlib.sha256()

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Append rows; a new file begins when the current one is full."""
        if self._parquet is None:
            path = f"{self.directory}/part-{self.meta.partitions:05d}.parquet"
            self._stream = self._storage.open_write(path)
            sink = _Hashing(self._stream.__enter__(), self._digest)
            # dictionaries help neither ids nor features, and a stronger compression gains a tenth for thrice the time
            self._parquet = pq.ParquetWriter(
                pa.PythonFile(sink, mode="w"), batch.schema, compression="snappy", use_dictionary=False,
                write_statistics=False,
            )
            self.meta.partitions += 1
        if isinstance(batch, pa.RecordBatch):
            self._parquet.write_batch(batch)
        else:
            self._parquet.write_table(batch)
        self._rows_in_file += batch.num_rows
        self.meta.count += batch.num_rows
        if self._rows_in_file >= self._rows_per_file:
            self.close()

    def close(self) -> None:
        """End the current file."""
        if self._parquet is not None:
            self._parquet.close()
            self._stream.__exit__(None, None, None)
            self._parquet = self._stream = None
            self._rows_in_file = 0

    def abandon(self) -> None:
        """Drop an open file after an error; never raises."""
        if self._parquet is None:
            return
        error = StorageError("the table is abandoned")
        for close in (self._parquet.close, lambda: self._stream.__exit__(StorageError, error, None)):
            with contextlib.suppress(Exception):  # the error that led here is the one to show
                close()
        self._parquet = self._stream = None

    def finish(self) -> None:
        self.close()
        self.meta.digest = self._digest.hexdigest()


class _Hashing:
    """A sink that hashes what passes."""

    def __init__(self, stream: IO[bytes], digest: Any) -> None:
        self._stream = stream
        self._digest = digest
        self.closed = False

    def write(self, data: Any) -> int:
        self._digest.update(data)
        self._stream.write(data)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class TableStore:
    """The tables of one storage.

    :param storage: where they are
    :param base: the directory of all tables, below the storage's root
    """

    def __init__(self, storage: Storage, base: str = "tables") -> None:
        self.storage = storage
        self.base = base

    def directory(self, namespace: str, name: str) -> str:
        """Where the table stands, below the root."""
        return f"{self.base}/{namespace}/{name}"

    def temporary(self, namespace: str, name: str) -> str:
        """Where it stands while it is being written; another place each time."""
        return f"{self.base}/{namespace}/.{name}.{secrets.token_hex(6)}"

    def exists(self, namespace: str, name: str) -> bool:
        return self.storage.exists(f"{self.directory(namespace, name)}/{META}")

    def meta(self, namespace: str, name: str) -> TableMeta:
        """:raises StorageError: there is no such table, or its description is not readable."""
        path = f"{self.directory(namespace, name)}/{META}"
        if not self.storage.exists(path):
            others = [n for n in self.storage.list(f"{self.base}/{namespace}") if not n.startswith(".")]
            raise StorageError(
                f"there is no table {name!r} in namespace {namespace!r} below {self.storage.url}; "
                + (f"the namespace holds: {', '.join(others[:10])}" if others else "the namespace holds no table")
            )
        content = self.storage.read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise StorageError(f"{self.storage.spark_path(path)} is not a table description of format {FORMAT}")
        try:
            content["columns"] = [(str(column), str(kind)) for column, kind in content["columns"]]
            return TableMeta(**content)
        except (TypeError, ValueError, KeyError) as error:
            raise StorageError(f"{self.storage.spark_path(path)} is damaged: {error}") from error

    @contextmanager
    def writer(self, meta: TableMeta, *, drop: bool = False, rows_per_file: int = 500_000) -> Iterator[TableWriter]:
        """Write a table: batches go to a temporary directory, which becomes the table when the block ends well.

        :param meta: namespace, name, columns; count, digest and partitions are filled in
        :param drop: replace a table that exists
        :raises StorageError: the table exists and ``drop`` is not set
        """
        if not drop and self.exists(meta.namespace, meta.name):
            raise StorageError(
                f"table {meta.namespace}/{meta.name} exists already below {self.storage.url}; "
                "set drop=True to replace it, or choose another name"
            )
        temporary = self.temporary(meta.namespace, meta.name)
        writer = TableWriter(self.storage, temporary, meta, rows_per_file)
        try:
            yield writer
            writer.finish()
            self.commit(meta, temporary, drop=drop)
        except BaseException:
            writer.abandon()
            self.storage.delete(temporary)
            raise

    def commit(self, meta: TableMeta, directory: str, *, drop: bool) -> None:
        """Make the files in ``directory`` the table: described last, then moved in one step.

        :param drop: whether a table of this name is replaced; if not, moving fails where one has come meanwhile
        """
        meta.created = datetime.now(UTC).isoformat(timespec="seconds")
        final = self.directory(meta.namespace, meta.name)
        if not self.storage.exists(directory):
            raise StorageError(f"table {meta.namespace}/{meta.name} has no rows to write")
        self.storage.write_json(f"{directory}/{META}", asdict(meta))
        if drop:
            self.storage.replace_directory(directory, final)
        else:
            self.storage.rename(directory, final)

    def delete(self, namespace: str, name: str) -> None:
        self.storage.delete(self.directory(namespace, name))

    def files(self, namespace: str, name: str) -> list[str]:
        """Paths of the table's Parquet files, in order."""
        directory = self.directory(namespace, name)
        return [f"{directory}/{entry}" for entry in self.storage.list(directory) if entry.endswith(".parquet")]

    def batches(self, namespace: str, name: str, batch_size: int = 65_536) -> Iterator[pa.RecordBatch]:
        """The table's rows, streamed file by file."""
        for path in self.files(namespace, name):
            with self.storage.open_read(path) as stream:
                content = pa.py_buffer(stream.read())
            yield from pq.ParquetFile(pa.BufferReader(content)).iter_batches(batch_size)

    def preview(self, namespace: str, name: str, rows: int = 10) -> pa.Table:
        """The first rows."""
        found: list[pa.RecordBatch] = []
        for batch in self.batches(namespace, name, max(rows, 1)):
            found.append(batch)
            if sum(b.num_rows for b in found) >= rows:
                break
        if not found:
            return pa.table({})
        return pa.Table.from_batches(found).slice(0, rows)
