"""A table as a CSV file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.hooks.stores import TableStore


def export_csv(tables: TableStore, namespace: str, name: str, path: str | os.PathLike[str]) -> str:
    """Write a table to a file that is whole or not there, readable for its owner alone; rows are streamed.

    :returns: the file's absolute path
    :raises StorageError: the table cannot be read, or the file cannot be written
    """
    target = Path(path).expanduser().absolute()
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "wb") as stream:
            writer = None
            for batch in tables.batches(namespace, name):
                writer = writer or pa_csv.CSVWriter(stream, batch.schema)
                writer.write_batch(batch)
            if writer is None:
                columns = tables.meta(namespace, name).columns
                empty = pa.table({column: pa.array([], pa.string()) for column, _ in columns})
                writer = pa_csv.CSVWriter(stream, empty.schema)
            writer.close()
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            os.unlink(temporary)
    return str(target)
