"""Lines of tags and of svmlight as columns of numbers, as FATE's DataIO reads them.

* ``tag``: the fields of a line are tags. A row has 1 in the columns of its tags and 0 in the others. With values
  (``tag:value``) it has the value instead of the 1, and 0, or a missing value, without the tag.
* ``sparse`` (svmlight): the fields are ``place:value``, places from 0. A place that a line lacks is 0.

Tags become columns in the order of their text (by code points), as FATE sorts them, over all partitions. A label is the
first field. A tag that stands twice in a line has its last value. Empty fields, such as after a separator at the end,
are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.runtime.data import Block, Rows, Schema

#: features here are dense
MOST_FEATURES = 1 << 17


@dataclass(frozen=True)
class LineFormat:
    """How the fields of a line are read.

    :param sparse: ``place:value`` instead of tags
    :param delimiter: between fields
    :param with_value: whether tags have a value
    :param value_delimiter: between a tag and its value
    :param label_name: name of the label, which is the first field; ``None`` without one
    :param prefix: what the names of svmlight's columns begin with
    :param absent: what a row has in the columns of the tags it lacks: 0 or NaN
    """

    sparse: bool
    delimiter: str
    with_value: bool
    value_delimiter: str
    label_name: str | None
    prefix: str = ""
    absent: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "absent": "missing" if np.isnan(self.absent) else 0}

    @staticmethod
    def from_json(content: dict[str, Any]) -> LineFormat:
        return LineFormat(**{**content, "absent": np.nan if content["absent"] == "missing" else 0.0})

    @property
    def valued(self) -> bool:
        """Whether fields have a value."""
        return self.sparse or self.with_value


def features_of(rows: Rows, form: LineFormat) -> list[str]:
    """The columns that the lines of all partitions name, in order.

    :raises DataError: a line is not of this form, or there is no feature, or there are too many
    """
    found = rows.map(_Names(form))
    if form.sparse:
        # a place without a value in any line is a column too
        count = max((int(part[-1]) for part in found if len(part)), default=-1) + 1
        names = range(min(count, MOST_FEATURES + 1))
        features = [f"{form.prefix}{place}" for place in names]
    else:
        features = sorted(set().union(*found))
    if not features:
        raise DataError(f"the lines hold no {'values' if form.sparse else 'tags'} parted by {form.delimiter!r}")
    if len(features) > MOST_FEATURES:
        raise DataError(
            f"the lines name more than {MOST_FEATURES} {'places' if form.sparse else 'tags'}; features are dense here. "
            f"Are fields parted by {form.delimiter!r}?"
        )
    return features


def to_columns(rows: Rows, form: LineFormat, features: Sequence[str]) -> Rows:
    """Rows with ``features``; other tags are left out."""
    if form.label_name in features:
        raise DataError(f"{form.label_name!r} is the label's name and a tag; choose another label_name")
    schema = Schema(rows.schema.id_name, tuple(features), form.label_name)
    return rows.transform(_Columns(form, tuple(features)), schema).cache()


def begins_with_label(rows: Rows, form: LineFormat) -> bool:
    """Whether the first field of the first line has no value, so that it is a label; for fields with values only."""
    firsts = [first for first in rows.map(_first_field, [form.delimiter] * rows.partitions) if first is not None]
    return bool(firsts) and form.value_delimiter not in firsts[0]


@dataclass
class _Fields:
    """The fields of some lines, one after the other.

    :param row: of each field, the place of its line; int64
    :param name: string array: tags, or places as text
    :param value: float64
    """

    row: np.ndarray
    name: pa.Array
    value: np.ndarray
    label: np.ndarray | None


def _fields(form: LineFormat, block: Block) -> _Fields:
    assert block.lines is not None
    parts = pc.split_pattern(block.lines, form.delimiter)
    row = np.repeat(np.arange(len(parts)), pc.list_value_length(parts).to_numpy(zero_copy_only=False))
    text = pc.list_flatten(parts)
    label = None
    if form.label_name is not None:
        first = np.flatnonzero(np.diff(row, prepend=-1))
        label = _numbers(pc.take(text, pa.array(first)), block, np.arange(len(parts)), "the label")
        kept = np.ones(len(row), bool)
        kept[first] = False
        row, text = row[kept], text.filter(pa.array(kept))
    filled = pc.not_equal(pc.utf8_trim_whitespace(text), "").to_numpy(zero_copy_only=False)
    if not filled.all():
        row, text = row[filled], text.filter(pa.array(filled))
    if not form.valued:
        return _Fields(row, text, np.ones(len(row)), label)
    pair = pc.split_pattern(text, form.value_delimiter)
    wrong = np.flatnonzero(pc.list_value_length(pair).to_numpy(zero_copy_only=False) != 2)
    if len(wrong):
        at, what = int(wrong[0]), "place" if form.sparse else "tag"
        raise DataError(
            f"row {block.ids[int(row[at])].as_py()!r}: the field {text[at].as_py()[:60]!r} is not a {what} and a value "
            f"parted by {form.value_delimiter!r}; fields are parted by {form.delimiter!r}"
        )
    if not len(text):
        return _Fields(row, text, np.empty(0), label)
    name, value = pc.list_element(pair, 0), pc.list_element(pair, 1)
    return _Fields(row, name, _numbers(value, block, row, "the value"), label)


def _numbers(text: pa.Array, block: Block, row: np.ndarray, what: str) -> np.ndarray:
    """Text as float64; what is empty or says so is NaN."""
    text = pc.utf8_trim_whitespace(text)
    empty = pc.is_in(pc.utf8_lower(text), pa.array(["", "na", "nan", "none", "null"]))
    try:
        numbers = pc.cast(pc.if_else(empty, pa.scalar(None, pa.string()), text), pa.float64())
    except pa.ArrowInvalid:
        for at, one in enumerate(text.to_pylist()):
            try:
                float(one or "nan")
            except ValueError:
                raise DataError(
                    f"row {block.ids[int(row[at])].as_py()!r}: {what} {one[:60]!r} is not a number"
                ) from None
        raise
    return pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False)


def _places(name: pa.Array, block: Block, row: np.ndarray) -> np.ndarray:
    """svmlight's places as int64."""
    good = pc.match_substring_regex(pc.utf8_trim_whitespace(name), r"^[0-9]{1,9}$").to_numpy(zero_copy_only=False)
    if not good.all():
        at = int(np.flatnonzero(~good)[0])
        raise DataError(
            f"row {block.ids[int(row[at])].as_py()!r}: {name[at].as_py()[:60]!r} is not a place; expected a "
            "whole number from 0"
        )
    return pc.utf8_trim_whitespace(name).cast(pa.int64()).to_numpy(zero_copy_only=False)


# -- what runs on the executors ------------------------------------------------------------------------------------


def _first_field(block: Block, delimiter: str) -> str | None:
    assert block.lines is not None
    return block.lines[0].as_py().split(delimiter, 1)[0] if len(block) else None


@dataclass(frozen=True)
class _Names:
    """The names in a partition: tags, or the largest place."""

    form: LineFormat

    def __call__(self, block: Block, _: None) -> list[Any]:
        fields = _fields(self.form, block)
        if self.form.sparse:
            places = _places(fields.name, block, fields.row)
            return [int(places.max())] if len(places) else []
        return pc.unique(fields.name).to_pylist()


@dataclass(frozen=True)
class _Columns:
    """A block with the values in their columns."""

    form: LineFormat
    features: tuple[str, ...]

    def __call__(self, block: Block, _: None) -> Block:
        fields = _fields(self.form, block)
        if self.form.sparse:
            column = _places(fields.name, block, fields.row)
        else:
            at = pc.index_in(fields.name, pa.array(self.features, pa.string()))
            column = pc.fill_null(at, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        known = (column >= 0) & (column < len(self.features))
        x = np.full((len(block), len(self.features)), self.form.absent)
        # of several values in one place, NumPy keeps the last
        x[fields.row[known], column[known]] = fields.value[known]
        return Block(block.ids, x, fields.label)
