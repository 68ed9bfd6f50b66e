"""Where an upload takes its rows from: text, Parquet, a query; local, packed or in a storage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.operators.sources.base import Columns, Place, Source
from airflow_provider_fate.operators.sources.files import Files, LocalFiles, StorageFiles, is_parquet
from airflow_provider_fate.operators.sources.lines import LineSource, holds_lines
from airflow_provider_fate.operators.sources.parquet import ParquetSource
from airflow_provider_fate.operators.sources.sql import SqlSource, query
from airflow_provider_fate.operators.sources.text import TextSource

if TYPE_CHECKING:
    from airflow_provider_fate.runtime.storage.base import Storage

__all__ = ["Columns", "Place", "Source", "SqlSource", "file_source", "query"]


def file_source(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    storage: Storage | None = None,
    head: bool = True,
    delimiter: str | None = None,
    names: Sequence[str] | None = None,
    id_column: str | int | None = None,
    label_column: str | int | None = None,
    lines: bool | None = False,
) -> Source:
    """The source for files, chosen by their names.

    :param source: a file, a directory, a glob, or several of them
    :param storage: where they are; ``None`` for this machine
    :param lines: whether text is lines of tags or svmlight; ``None`` to look at it
    :raises ConfigError: no such file, or Parquet and text together
    """
    files: Files = LocalFiles(source) if storage is None else StorageFiles(storage, source)  # type: ignore[arg-type]
    parquet = [path for path in files.paths if is_parquet(path)]
    if parquet and len(parquet) < len(files.paths):
        other = next(path for path in files.paths if not is_parquet(path))
        raise ConfigError("source", f"holds Parquet and text files ({parquet[0]}, {other}); expected one kind")
    if parquet:
        return ParquetSource(files, id_column=id_column, label_column=label_column)
    if lines is None:
        lines = holds_lines(files, delimiter or ",", head)
    if lines:
        if label_column is not None:
            raise ConfigError("label_column", "lines of tags or svmlight have no columns; DataIO's with_label finds it")
        return LineSource(files, delimiter=delimiter, head=head)
    return TextSource(
        files, delimiter=delimiter, head=head, names=names, id_column=id_column, label_column=label_column
    )
