"""What a source of rows is: Arrow batches with an id, an optional label and numbers, and the place of each row."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.names import did_you_mean

#: texts that stand for a missing number
MISSING = (
    "", "NA", "N/A", "na", "n/a", "#N/A", "NaN", "nan", "NAN", "-nan", "-NaN", "NULL", "Null", "null", "None", "none",
)  # fmt: skip
#: numbers as Arrow's reader takes them: what is wrong with a line, and whether it is a header, is asked of these
NUMBER = re.compile(r"[ \t]*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?[ \t]*\Z", re.ASCII)
INFINITE = re.compile(r"[ \t]*[-+]?inf(inity)?[ \t]*\Z", re.ASCII | re.IGNORECASE)
#: beside those of ``MISSING``
NOT_A_NUMBER = re.compile(r"[ \t]*[-+]?nan(\(\w*\))?[ \t]*\Z", re.ASCII | re.IGNORECASE)

#: some rows, in one piece or in several
Rows: TypeAlias = pa.RecordBatch | pa.Table


def one_character(delimiter: str | None) -> str | None:
    """What parts the fields of text, checked.

    :raises ConfigError: it cannot do so
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise ConfigError(
            "id_delimiter",
            f"{delimiter!r} cannot part columns; expected one character, such as ',' or ';' or a tab, "
            "that is neither a quotation mark nor a line break",
        )
    return delimiter


@dataclass(frozen=True)
class Columns:
    """Which column is what.

    :param names: every column of the source, in its order
    :param id: name of the id column
    :param label: name of the label column, ``None`` without one
    :param lines: name of the column that has all of a line but its id, as text; ``None`` where there are columns
    """

    names: tuple[str, ...]
    id: str
    label: str | None = None
    lines: str | None = None

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in (self.id, self.label))

    @property
    def order(self) -> tuple[str, ...]:
        """The columns as tables have them: id, label, features."""
        return (self.id, *((self.label,) if self.label else ()), *self.features)

    @property
    def schema(self) -> pa.Schema:
        text = (self.id, self.lines)
        return pa.schema([(name, pa.string() if name in text else pa.float64()) for name in self.order])

    @classmethod
    def choose(
        cls, names: Sequence[str], where: str, id_column: str | int | None, label_column: str | int | None
    ) -> Columns:
        """Check a header and find the id and the label in it.

        :param where: the line of a file, or the query, for messages
        :param id_column: name or position; the first column by default
        :param label_column: name or position; no label by default
        :raises DataError: empty or repeated names
        :raises ConfigError: a column that is not there
        """
        for position, name in enumerate(names, start=1):
            if not name.strip():
                raise DataError(f"{where}, column {position}: has no name")
        first: dict[str, int] = {}
        for position, name in enumerate(names, start=1):
            if (before := first.setdefault(name, position)) != position:
                raise DataError(
                    f"{where}, column {position}: is named {name!r}, as column {before} is; each name may occur once"
                )
        found = _find(names, where, "id_column", 0 if id_column is None else id_column)
        label = None if label_column is None else _find(names, where, "label_column", label_column)
        if label == found:
            raise ConfigError("label_column", f"{label!r} is the id column as well; the label is a column of its own")
        return cls(tuple(names), found, label)


def _find(names: Sequence[str], where: str, argument: str, wanted: str | int) -> str:
    if isinstance(wanted, int):
        if not 0 <= wanted < len(names):
            raise ConfigError(argument, f"{where} has columns 0 to {len(names) - 1}, not {wanted}")
        return names[wanted]
    if wanted in names:
        return wanted
    raise ConfigError(argument, f"{where} has no column {wanted!r}; {did_you_mean(wanted, names)}")


@dataclass(frozen=True)
class Place:
    """Where one row stands, for messages.

    :param text: e.g. ``guest.csv line 17``
    :param id: its id, as the source has it
    """

    text: str
    id: str


class Source(ABC):
    """Rows from somewhere, streamed: memory does not grow with their number."""

    #: for messages and the table's description
    description: str

    @abstractmethod
    def columns(self) -> Columns:
        """Read as little as needed to know the columns."""

    @abstractmethod
    def batches(self) -> Iterator[Rows]:
        """The rows, with the schema of :meth:`columns`, some megabytes at a time.

        :raises DataError: naming file, line and column of the first row that is wrong
        """

    @abstractmethod
    def places(self, rows: Sequence[int]) -> list[Place]:
        """Where the rows with these numbers (counted from 0 over all batches) stand. May read all again."""

    def close(self) -> None:  # noqa: B027 - most have nothing open between batches
        """Let go of what is open."""


def wrong_rows(rows: Rows, columns: Columns) -> bool:
    """Whether some have an empty or broken id, an infinite number or a missing label."""
    if _wrong_ids(rows.column(columns.id)):
        return True
    for name in columns.order[1:]:
        values = rows.column(name)
        if name == columns.label and (values.null_count or pc.any(pc.is_nan(values)).as_py()):
            return True
        # one number that is not finite makes the sum so; the sum of finite ones rarely is
        total = pc.sum(values).as_py()
        if total is not None and not math.isfinite(total) and pc.any(pc.is_inf(values)).as_py():
            return True
    return False


def _wrong_ids(ids: pa.Array | pa.ChunkedArray) -> bool:
    if ids.null_count:
        return True
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    if all(_plain(chunk) for chunk in chunks):
        return False
    blank = pc.equal(pc.utf8_trim_whitespace(ids), "")
    return bool(pc.any(blank).as_py() or pc.any(pc.match_substring(ids, "\n")).as_py())


def _plain(ids: pa.StringArray) -> bool:
    """Whether ids are not empty and have visible ASCII characters only; ``False`` where that is not known."""
    content = ids.buffers()[2]
    if content is None or not content.size or not pc.min(pc.binary_length(ids)).as_py():
        return False
    # of all that the buffer holds, which may be more than these rows
    octets = np.frombuffer(content, np.uint8)
    return bool(octets.min() > 0x20 and octets.max() < 0x7F)


def first_wrong(batch: Rows, columns: Columns) -> tuple[int, str, str] | None:
    """Row number in the batch, column and problem of the first row that :func:`wrong_rows` objects to."""
    found: list[tuple[int, str, str]] = []

    def look(name: str, mask: pa.Array, problem: str) -> None:
        at = pc.index(mask, True).as_py()
        if at >= 0:
            found.append((at, name, problem))

    ids = batch.column(columns.id)
    look(columns.id, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(ids), ""), True), "the id is empty")
    look(columns.id, pc.fill_null(pc.match_substring(ids, "\n"), False), "the id has a line break in it")
    for name in columns.order[1:]:
        values = batch.column(name)
        look(name, pc.fill_null(pc.is_inf(values), False), "is infinite; expected a finite number or a missing one")
        if name == columns.label:
            look(name, pc.fill_null(pc.is_nan(values), True), "the label is missing; expected a number")
    return min(found, default=None)
