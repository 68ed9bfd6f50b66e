"""Lines of tags or of svmlight, which have no columns: the id, and the rest of each line as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.operators.sources.base import MISSING, NUMBER, Columns, Place, Rows, Source, one_character
from airflow_provider_fate.operators.sources.files import Files
from airflow_provider_fate.operators.sources.pieces import gathered, in_order, whole_lines

#: a character that stands in no text, so a line is one field
_NONE = "\x01"
#: lines that are looked at to see what a file holds
LOOKED_AT = 100
#: what parts tags, or a tag and its value; no name of a column, and no number, has it
_PARTED = re.compile(r"[:;|]")


def holds_lines(files: Files, delimiter: str, head: bool) -> bool:
    """Whether text is lines of tags or svmlight rather than columns of numbers, as far as its beginning shows.

    Without a header: fields beside the id that are no numbers, or lines of different lengths. FATE's suites say of
    some of these files that they have a header. Then the lines below the first one show it: in most of them
    all fields are of the kind ``a;b`` or ``a:1``.
    """
    with files.text(files.paths[0]) as stream:
        lines = [line.strip("\r\n").split(delimiter) for line, _ in zip(stream, range(LOOKED_AT), strict=False)]
    lines = [line for line in lines if line != [""]]
    if head:
        body = lines[1:] or lines
        # more than one name beside the id are names of columns
        named = bool(lines) and len(lines[0]) > 2 and not _is_parted(lines[0])
        return not named and 2 * sum(map(_is_parted, body)) > len(body)
    return len({len(line) for line in lines}) > 1 or any(
        field not in MISSING and not NUMBER.match(field) for line in lines for field in line[1:]
    )


def _is_parted(fields: list[str]) -> bool:
    """Whether all fields of a line, but the id and a label, hold several things."""
    rest = [field for field in fields[1:] if field.strip()]
    if len(rest) > 1 and NUMBER.match(rest[0]):
        rest = rest[1:]
    return bool(rest) and all(map(_PARTED.search, rest))


class LineSource(Source):
    """Text with an id at the beginning of each line.

    :param files: what to read
    :param delimiter: what follows the id
    :param head: whether the first line of each file is a header; it is taken for a row where it looks like one
    """

    def __init__(self, files: Files, *, delimiter: str | None = None, head: bool = False) -> None:
        self._files = files
        self._delimiter = one_character(delimiter) or ","
        self._head = head
        self.description = ", ".join(files.paths[:5]) + (", ..." if len(files.paths) > 5 else "")

    def columns(self) -> Columns:
        return Columns(("id", "line"), "id", lines="line")

    def batches(self) -> Iterator[Rows]:
        for path in self._files.paths:
            yield from self._file_batches(path)

    def _file_batches(self, path: str) -> Iterator[pa.Table]:
        skip = self._header_lines(path)
        schema = self.columns().schema

        def parse(piece: bytes, first: bool) -> pa.Table:
            read = pa_csv.ReadOptions(
                block_size=len(piece) + 1, column_names=["line"], skip_rows=skip if first else 0, use_threads=False
            )
            whole = pa_csv.ParseOptions(delimiter=_NONE, quote_char=False)
            text = pa_csv.ConvertOptions(column_types={"line": pa.string()}, strings_can_be_null=False)
            try:
                table = pa_csv.read_csv(pa.BufferReader(piece), read, whole, text)
            except pa.ArrowInvalid as error:
                if "Empty CSV file" in str(error):
                    return schema.empty_table()
                raise
            return pa.Table.from_batches([self._parted(batch, schema) for batch in table.to_batches()], schema)

        try:
            with self._files.open(path) as stream:
                for table in gathered(in_order(whole_lines(stream), parse)):
                    if pc.any(pc.equal(pc.utf8_trim_whitespace(table.column("id")), "")).as_py():
                        self._explain(path)
                    yield table
        except pa.ArrowInvalid as error:
            self._explain(path, str(error))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read: {error}") from error

    def _parted(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        parts = pc.split_pattern(batch.column(0), self._delimiter, max_splits=1)
        # a row may have no tag at all
        rest = pc.list_flatten(pc.list_slice(parts, 1, 2, return_fixed_size_list=True))
        return pa.record_batch([pc.list_element(parts, 0), pc.fill_null(rest, "")], schema)

    def _header_lines(self, path: str) -> int:
        if not self._head:
            return 0
        with self._files.text(path) as stream:
            first = stream.readline().strip("\r\n")
        return 0 if _is_parted(first.split(self._delimiter)) else 1

    def _rows(self, path: str) -> Iterator[tuple[int, str]]:
        """Line number and text of every row of a file; empty lines are passed over."""
        skip = self._header_lines(path)
        with self._files.text(path) as stream:
            for number, line in enumerate(stream, start=1):
                if number > skip and line.strip("\r\n"):
                    yield number, line.strip("\r\n")

    def _explain(self, path: str, problem: str = "a row is wrong") -> None:
        """Say which line is wrong. Always raises."""
        for number, line in self._rows(path):
            for column, field in enumerate(line.split(self._delimiter), start=1):
                if any("\udc80" <= c <= "\udcff" for c in field):
                    shown = field.encode("utf-8", "surrogateescape")[:40]
                    raise DataError(f"{path} line {number}, column {column}: {shown!r} is not UTF-8 text")
            if not line.split(self._delimiter, 1)[0].strip():
                raise DataError(f"{path} line {number}, column 'id': the id is empty")
        raise DataError(f"{path}: {problem}")

    def places(self, rows: Sequence[int]) -> list[Place]:
        wanted, found = set(rows), {}
        number = 0
        for path in self._files.paths:
            for line, text in self._rows(path):
                if number in wanted:
                    found[number] = Place(f"{path} line {line}", text.split(self._delimiter, 1)[0])
                number += 1
        return [found[n] for n in rows]
