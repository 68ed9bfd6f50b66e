"""CSV and TSV: Arrow's reader for speed, and Python's to say which line is wrong."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.operators.sources.base import MISSING, Columns, Place, Rows, Source, wrong_rows
from airflow_provider_fate.operators.sources.files import Files, suffix
from airflow_provider_fate.operators.sources.pieces import gathered, in_order, whole_lines

_NUMBER = re.compile(r"\s*-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*\Z", re.ASCII)
_INTEGER = re.compile(r"\d{1,9}\Z", re.ASCII)
_LONGEST_FIELD = 1 << 24


class TextSource(Source):
    """Delimited text.

    :param files: what to read; every file has the same columns
    :param delimiter: one character; by default a tab for ``.tsv`` files and a comma for others
    :param head: whether the first line of each file names the columns
    :param names: the columns' names where ``head`` is false; by default ``id``, ``x0``, ``x1``, ...
    """

    def __init__(
        self,
        files: Files,
        *,
        delimiter: str | None = None,
        head: bool = True,
        names: Sequence[str] | None = None,
        id_column: str | int | None = None,
        label_column: str | int | None = None,
    ) -> None:
        if delimiter is not None and (len(delimiter) != 1 or delimiter in "\r\n\""):
            raise ConfigError("id_delimiter", f"{delimiter!r} is not one character that can part columns")
        if head and names:
            raise ConfigError("columns", "are named by the files' first lines; give names only with head=False")
        self._files = files
        self._delimiter = delimiter
        self._head = head
        self._names = names
        self._id_column = id_column
        self._label_column = label_column
        self._columns: Columns | None = None
        self.description = ", ".join(files.paths[:5]) + (", ..." if len(files.paths) > 5 else "")

    def columns(self) -> Columns:
        if self._columns is None:
            self._columns = self._read_columns()
        return self._columns

    def _read_columns(self) -> Columns:
        first = self._files.paths[0]
        _, row = self._first_row(first)
        if not row:
            raise DataError(f"{first} is empty; expected " + ("a header and rows" if self._head else "rows"))
        if self._head:
            self._not_data(first, row)
            names: Sequence[str] = row
        elif self._names:
            if len(self._names) != len(row):
                raise DataError(f"{first} line 1: has {len(row)} columns, but columns names {len(self._names)}")
            names = self._names
        else:
            names = ["id", *(f"x{i}" for i in range(len(row) - 1))]
        return Columns.choose(names, first, self._id_column, self._label_column)

    @staticmethod
    def _not_data(path: str, row: list[str]) -> None:
        """Refuse a first line of numbers as a header; names such as 0, 1, 2, ... are names."""
        values = row[1:]
        if not values or not all(_NUMBER.match(value) for value in values):
            return
        if all(_INTEGER.match(value) for value in values):
            numbers = [int(value) for value in values]
            if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
                return
        raise DataError(
            f"{path} line 1: expected the columns' names, found numbers ({', '.join(row[:4])}, ...); "
            "if the file has no header, set head=False"
        )

    def _first_row(self, path: str) -> tuple[int, list[str]]:
        """The last line of the first row, and its fields; none in an empty file."""
        return next(self._rows(path), (0, []))

    def _delimiter_of(self, path: str) -> str:
        return self._delimiter or ("\t" if suffix(path) in (".tsv", ".tab") else ",")

    def _rows(self, path: str) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of every row of a file, the header included; empty lines are passed over."""
        with self._files.text(path) as stream:
            csv.field_size_limit(_LONGEST_FIELD)
            reader = csv.reader(stream, delimiter=self._delimiter_of(path), strict=True)
            try:
                for row in reader:
                    if row:
                        yield reader.line_num, row
            except csv.Error as error:
                raise DataError(f"{path} line {reader.line_num}: {error}") from error
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path} after line {reader.line_num}: cannot be read: {error}") from error

    def batches(self) -> Iterator[Rows]:
        for path in self._files.paths:
            yield from self._file_batches(path)

    def _file_batches(self, path: str) -> Iterator[pa.Table]:
        columns = self.columns()
        skip = self._same_header(path) if self._head else 0
        parse_options = pa_csv.ParseOptions(delimiter=self._delimiter_of(path))
        convert_options = pa_csv.ConvertOptions(
            column_types=columns.schema,
            include_columns=list(columns.order),
            null_values=MISSING,
            strings_can_be_null=False,
            quoted_strings_can_be_null=True,
        )

        def parse(piece: bytes, first: bool) -> pa.Table:
            """The rows of some lines. A line is a row: line breaks in quotes are refused anyway."""
            options = pa_csv.ReadOptions(
                block_size=len(piece) + 1, column_names=columns.names, skip_rows=skip if first else 0, use_threads=False
            )
            try:
                return pa_csv.read_csv(pa.BufferReader(piece), options, parse_options, convert_options)
            except pa.ArrowInvalid as error:
                if "Empty CSV file" in str(error):
                    return columns.schema.empty_table()  # blank lines only; the caller counts rows
                raise

        try:
            with self._files.open(path) as stream:
                for table in gathered(in_order(whole_lines(stream), parse)):
                    if wrong_rows(table, columns):
                        self._explain(path, "a row is wrong")
                    yield table
        except pa.ArrowInvalid as error:
            self._explain(path, str(error))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read: {error}") from error

    def _same_header(self, path: str) -> int:
        """Refuse a file with other columns than the first one's; returns how many lines its header takes."""
        expected = self.columns().names
        line, found = self._first_row(path)
        if not found:
            raise DataError(f"{path} is empty; expected a header and rows")
        if tuple(found) == expected:
            return line
        for position, (one, other) in enumerate(zip(found, expected, strict=False), start=1):
            if one != other:
                raise DataError(
                    f"{path} line 1: column {position} is named {one!r}, expected {other!r} as in "
                    f"{self._files.paths[0]}"
                )
        raise DataError(
            f"{path} line 1: has {len(found)} columns, expected {len(expected)} as in {self._files.paths[0]}"
        )

    def _explain(self, path: str, problem: str) -> None:
        """Read the file again, row by row, and say where it is wrong. Always raises."""
        names = self.columns().names
        rows = self._rows(path)
        if self._head:
            next(rows, None)
        for number, (line, row) in enumerate(rows):
            where = f"{path} line {line}"
            if len(row) != len(names):
                raise DataError(
                    f"{where}: has {len(row)} columns, expected {len(names)}"
                    + (" as in the header" if self._head else "")
                )
            for name, value in zip(names, row, strict=True):
                if wrong := self._wrong(name, value):
                    hint = ""
                    if number == 0 and not self._head and name != self.columns().id:
                        hint = "; if the first line is a header, set head=True"
                    raise DataError(f"{where}, column {name!r}: {wrong}{hint}")
        raise DataError(f"{path}: {problem}")

    def _wrong(self, name: str, value: str) -> str | None:
        """What is wrong with one field."""
        columns = self.columns()
        if any("\udc80" <= c <= "\udcff" for c in value):
            shown = value.encode("utf-8", "surrogateescape")[:40]
            return f"{shown!r} is not UTF-8 text"
        if "\n" in value or "\r" in value:
            return "has a line break inside quotes; expected one line a row"
        if name == columns.id:
            return None if value.strip() else "the id is empty"
        if value in MISSING:
            return "the label is missing; expected a number" if name == columns.label else None
        if not _NUMBER.match(value):
            if value.strip().lstrip("+-").lower() in ("inf", "infinity"):
                return f"{value!r} is infinite; expected a finite number or a missing one"
            return f"{value!r} is not a number"
        if abs(float(value)) == float("inf"):
            return f"{value!r} is infinite as a 64-bit number; expected a finite one"
        return None

    def places(self, rows: Sequence[int]) -> list[Place]:
        wanted, found = set(rows), {}
        number = 0
        position = self.columns().names.index(self.columns().id)
        for path in self._files.paths:
            read = self._rows(path)
            if self._head:
                next(read, None)
            for line, row in read:
                if number in wanted:
                    found[number] = Place(f"{path} line {line}", row[position])
                    if len(found) == len(wanted):
                        return [found[n] for n in rows]
                number += 1
        return [found[n] for n in rows]
