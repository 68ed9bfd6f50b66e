"""CSV and TSV: Arrow's reader for speed, and Python's to say which line is wrong."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.operators.sources.base import (
    INFINITE,
    MISSING,
    NOT_A_NUMBER,
    NUMBER,
    Columns,
    Place,
    Rows,
    Source,
    one_character,
    wrong_rows,
)
from airflow_provider_fate.operators.sources.files import Files, suffix
from airflow_provider_fate.operators.sources.pieces import gathered, in_order, whole_lines

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
        if head and names:
            raise ConfigError("columns", "are named by the files' first lines; give names only with head=False")
        self._files = files
        self._delimiter = one_character(delimiter)
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
        line, row = self._first_row(first)
        if not row:
            raise DataError(f"{first} is empty; expected " + ("a header and rows" if self._head else "rows"))
        if self._head:
            self._not_data(f"{first} line {line}", row)
            names: Sequence[str] = row
        elif self._names:
            if len(self._names) != len(row):
                raise _ragged(f"{first} line {line}", row, self._names, "as columns names them")
            names = self._names
        else:
            names = ["id", *(f"x{i}" for i in range(len(row) - 1))]
        where = f"{first} line {line}" if self._head else first
        return Columns.choose(names, where, self._id_column, self._label_column)

    @staticmethod
    def _not_data(where: str, row: list[str]) -> None:
        """Refuse a first line of numbers as a header; names such as 0, 1, 2, ... are names."""
        values = row[1:]
        if not values or not all(NUMBER.match(value) for value in values):
            return
        if all(_INTEGER.match(value) for value in values):
            numbers = [int(value) for value in values]
            if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
                return
        raise DataError(
            f"{where}, column 2: expected the columns' names, found numbers ({', '.join(row[:4])}, ...); "
            "if the file has no header, set head=False"
        )

    def _first_row(self, path: str) -> tuple[int, list[str]]:
        """The last line of the first row, and its fields; none in an empty file."""
        return next(self._rows(path), (0, []))

    def _delimiter_of(self, path: str) -> str:
        return self._delimiter or ("\t" if suffix(path) in (".tsv", ".tab") else ",")

    def _rows(self, path: str) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of every row of a file, the header included; empty lines are passed over."""
        delimiter = self._delimiter_of(path)
        began: list[str] = []  # the lines of the row that is being read

        def lines(stream: Iterable[str]) -> Iterator[str]:
            for line in stream:
                began.append(line)
                yield line

        with self._files.text(path) as stream:
            csv.field_size_limit(_LONGEST_FIELD)
            # not strict: Arrow is not either about what follows a closing quotation mark
            reader = csv.reader(lines(stream), delimiter=delimiter)
            try:
                for row in reader:
                    if sum(line.count('"') for line in began) % 2:
                        self._refuse_open_quote(path, reader.line_num - len(began) + 1, began)
                    if row:
                        yield reader.line_num, row
                    began.clear()
            except csv.Error as error:
                _, line, column = _end_of_row(began, delimiter)
                where = f"{path} line {reader.line_num - len(began) + 1 + line}, column {column}"
                raise DataError(f"{where}: {error}") from error
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path} after line {reader.line_num}: cannot be read: {error}") from error

    def _refuse_open_quote(self, path: str, first: int, lines: Sequence[str]) -> None:
        is_open, line, column = _end_of_row(lines, self._delimiter_of(path))
        if is_open:
            where = f"{path} line {first + line}, column {column}"
            raise DataError(f"{where}: a quotation mark opens here, and none closes it")

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
                    f"{path} line {line}, column {position}: is named {one!r}, expected {other!r} as in "
                    f"{self._files.paths[0]}"
                )
        raise _ragged(f"{path} line {line}", found, expected, f"as in {self._files.paths[0]}")

    def _explain(self, path: str, problem: str) -> None:
        """Read the file again, row by row, and say where it is wrong. Always raises."""
        names = self.columns().names
        rows = self._rows(path)
        if self._head:
            next(rows, None)
        for number, (line, row) in enumerate(rows):
            where = f"{path} line {line}"
            if len(row) != len(names):
                raise _ragged(where, row, names, "as in the header" if self._head else "as in the first line")
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
        if NOT_A_NUMBER.match(value):
            return "the label is missing; expected a number" if name == columns.label else None
        if INFINITE.match(value):
            return f"{value!r} is infinite; expected a finite number or a missing one"
        if not NUMBER.match(value):
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


def _ragged(where: str, row: Sequence[str], expected: Sequence[str], reference: str) -> DataError:
    """A row has other columns than ``expected``."""
    missing = len(row) < len(expected)
    column, problem = (repr(expected[len(row)]), "is missing") if missing else (len(expected) + 1, "is one too many")
    return DataError(
        f"{where}, column {column}: {problem}; the line has {len(row)} columns, expected {len(expected)} {reference}"
    )


def _end_of_row(lines: Sequence[str], delimiter: str) -> tuple[bool, int, int]:
    """Whether a row ends in an open quotation mark; and where its last field begins: place of the line, column.

    Python's reader does not say it. A quotation mark counts at the beginning of a field only.
    """
    state, line, column = "begin", 0, 1
    for number, text in enumerate(lines):
        for character in text:
            if state == "quoted":
                state = "closed" if character == '"' else state
            elif character == delimiter:
                state, column = "begin", column + 1
            elif character in "\r\n":
                continue  # the end, or an empty line before it
            elif state == "closed":
                state = "quoted" if character == '"' else "plain"  # two of them stand for one
            elif state == "begin":
                state, line = "quoted" if character == '"' else "plain", number
    return state == "quoted", line, column
