"""Upload rows into a table: from files, a database or HDFS."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook, BaseOperator

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.names import check_name
from airflow_provider_fate.operators._template_files import TemplateFiles
from airflow_provider_fate.operators.assets import TABLES, emit, outlet, table_asset
from airflow_provider_fate.operators.upload_conf import INPUT_FORMATS, boolean, count, from_upload_conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fate.operators.sources import Source


class FateUploadOperator(TemplateFiles, BaseOperator):
    """Put rows into table (namespace, name) of a party's storage.

    The rows are streamed: memory stays the same whatever their number. The id column is kept as text, exactly as it
    stands; every other column is a number, and may be missing (empty, ``NA``, ``NaN``, ``null``). What is wrong is an
    error that names file, line and column, and then nothing is written.

    Give one of ``source``, ``sql`` and ``upload_conf``.

    :param source: CSV, TSV or Parquet: a file, a directory, a glob, or a list of them; text may be packed
        (``.gz``, ``.zst``, ``.bz2``) (templated)
    :param source_conn_id: a storage connection, such as one to HDFS, that ``source`` is read from; without it
        ``source`` is on the worker (templated)
    :param sql: a query, or a ``.sql`` file with one (templated)
    :param sql_conn_id: the connection to the database, of any type of Airflow's with SQL (templated)
    :param parameters: values for the query's placeholders, as the database's driver takes them (templated)
    :param namespace: the table's namespace (templated)
    :param name: the table's name (templated)
    :param upload_conf: FATE's upload conf: a dict, or a ``.json`` file with one, beside the DAG or by an absolute
        name; arguments given here go before what it says (templated)
    :param storage_conn_id: where the table is written (templated)
    :param id_column: name or position (from 0) of the id column; the first one by default (templated)
    :param label_column: name or position of the label. Without it, a label is a column like the others, and
        DataIO's or DataTransform's ``label_name`` finds it in the job (templated)
    :param head: whether the first line of each text file names the columns
    :param columns: the columns' names where ``head`` is false; by default ``id``, ``x0``, ``x1``, ... (templated)
    :param id_delimiter: what parts the columns of text; a comma by default, a tab for ``.tsv`` (templated)
    :param input_format: what text holds: ``dense``, a column for each feature, or lines of tags (``tag``) or svmlight
        (``sparse``). Lines are kept as they stand, beside their id, and DataIO or DataTransform reads them in the job,
        by its ``input_format`` and what goes with it. With an upload conf that does not say it, the first lines
        show it; otherwise ``dense`` (templated)
    :param partition: into how many files each 500,000 rows go; more files can be read by more executors at once
    :param drop: replace a table that exists
    """

    template_fields: Sequence[str] = (
        "source", "source_conn_id", "sql", "sql_conn_id", "parameters", "namespace", "name", "upload_conf",
        "storage_conn_id", "id_column", "label_column", "columns", "id_delimiter", "input_format", "head",
        "partition", "drop",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "upload_conf": "json", "parameters": "json"}
    template_files: ClassVar[dict[str, str]] = {"sql": ".sql", "upload_conf": ".json"}
    ui_color = "#dceefb"

    def __init__(
        self,
        *,
        source: str | list[str] | None = None,
        source_conn_id: str | None = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Any = None,
        namespace: str | None = None,
        name: str | None = None,
        upload_conf: dict[str, Any] | str | None = None,
        storage_conn_id: str = "fate_storage",
        id_column: str | int | None = None,
        label_column: str | int | None = None,
        head: bool | None = None,
        columns: list[str] | None = None,
        id_delimiter: str | None = None,
        input_format: str | None = None,
        partition: int | None = None,
        drop: bool | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.source = source
        self.source_conn_id = source_conn_id
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.namespace = namespace
        self.name = name
        self.upload_conf = upload_conf
        self.storage_conn_id = storage_conn_id
        self.id_column = id_column
        self.label_column = label_column
        self.head = head
        self.columns = columns
        self.id_delimiter = id_delimiter
        self.input_format = input_format
        self.partition = partition
        self.drop = drop
        known = upload_conf if isinstance(upload_conf, dict) else {}
        self.outlets.extend(
            outlet(TABLES, table_asset, namespace or known.get("namespace"), name or known.get("table_name"))
        )

    def execute(self, context: Context) -> dict[str, Any]:
        try:
            return self._upload(context)
        except (ConfigError, DataError) as error:
            # the same file gives the same error: no retry
            raise AirflowFailException(str(error)) from error

    def _upload(self, context: Context) -> dict[str, Any]:
        # imported here, as they bring Arrow along, which parsing a DAG need not wait for
        from airflow_provider_fate.hooks.stores import tables as tables_of
        from airflow_provider_fate.operators.sources.load import load

        options = self._options()
        namespace, name = options["namespace"], options["name"]
        tables = tables_of(self.storage_conn_id)
        if not options["drop"] and tables.exists(namespace, name):
            raise ConfigError(
                "name",
                f"table {namespace}/{name} exists already below {tables.storage.url}; "
                "set drop=True to replace it, or choose another name",
            )
        began = time.monotonic()
        source = self._source(options)
        if source.columns().lines is not None:
            self.log.info("The rows are lines of tags or svmlight; DataIO or DataTransform reads them by input_format")
        meta = load(
            source, tables, namespace, name,
            drop=options["drop"], partition=options["partition"], log=self.log.info,
        )  # fmt: skip
        self.log.info(
            "Table %s/%s: %d rows, %d columns, %d files, %.1f s, below %s",
            namespace, name, meta.count, len(meta.columns), meta.partitions, time.monotonic() - began,
            tables.storage.url,
        )  # fmt: skip
        result = {
            "namespace": namespace,
            "name": name,
            "count": meta.count,
            "digest": meta.digest,
            "columns": [column for column, _ in meta.columns],
        }
        extra = {
            **result,
            "schema": {column: kind for column, kind in meta.columns},
            "id": meta.id_name,
            "label": meta.label_name,
            "storage_conn_id": self.storage_conn_id,
        }
        emit(context, self, TABLES, table_asset(namespace, name), extra)
        return result

    def _options(self) -> dict[str, Any]:
        """The arguments, with what the upload conf says in the gaps."""
        given = {
            "source": self.source, "namespace": self.namespace, "name": self.name, "head": self.head,
            "id_delimiter": self.id_delimiter, "input_format": self.input_format, "partition": self.partition,
            "drop": self.drop, "id_column": self.id_column, "label_column": self.label_column,
        }  # fmt: skip
        from_conf, notices = from_upload_conf(self.upload_conf)
        for notice in notices:
            self.log.info(notice)
        options = {"head": True, "drop": False, "partition": 1, **from_conf}
        options.update({key: value for key, value in given.items() if value is not None})
        if (options.get("source") is None) == (self.sql is None):
            raise ConfigError("source", "give either source (files) or sql (a query), and not both")
        if (self.sql is None) != (self.sql_conn_id is None):
            raise ConfigError("sql_conn_id", "sql and sql_conn_id go together")
        for key in ("namespace", "name"):
            options[key] = check_name(options.get(key), key)
        for key in ("head", "drop"):
            options[key] = boolean(key, options[key])
        options["lines"] = self._lines(options)
        options["partition"] = count("partition", options["partition"])
        return options

    def _lines(self, options: dict[str, Any]) -> bool | None:
        """Whether text is lines; ``None`` where it has to be looked at."""
        given = options.get("input_format")
        if given is None:
            return None if self.upload_conf and self.sql is None and not self.columns else False
        if given not in INPUT_FORMATS:
            raise ConfigError("input_format", f"{given!r} is not one of {', '.join(INPUT_FORMATS)}")
        if given != "dense" and self.sql is not None:
            raise ConfigError("input_format", f"{given!r} is for text; the rows of a query have columns")
        return given != "dense"

    @staticmethod
    def _statement(sql: str) -> str:
        """The query; templating has replaced the name of a file below the DAG's folder by its text already."""
        if not sql.endswith(".sql"):
            return sql
        try:
            return Path(sql).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError("sql", f"{sql!r} is not a file that can be read, here or beside the DAG") from error

    def _source(self, options: dict[str, Any]) -> Source:
        from airflow_provider_fate.hooks.storage import storage_hook
        from airflow_provider_fate.operators.sources import SqlSource, file_source, query

        chosen = {"id_column": options.get("id_column"), "label_column": options.get("label_column")}
        if self.sql is not None:
            hook = BaseHook.get_connection(str(self.sql_conn_id)).get_hook()
            run = query(hook, self._statement(self.sql), self.parameters, str(self.sql_conn_id))
            return SqlSource(run, f"the query on {self.sql_conn_id}", **chosen)
        return file_source(
            options["source"],
            storage=storage_hook(self.source_conn_id).storage if self.source_conn_id else None,
            head=options["head"],
            delimiter=options.get("id_delimiter"),
            names=self.columns,
            lines=options["lines"],
            **chosen,
        )
