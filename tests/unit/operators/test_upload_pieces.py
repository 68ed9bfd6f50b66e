"""What uploads do piece by piece: cheap checks that miss nothing, rows put together, and writing behind."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_fate.operators.sources import pieces
from airflow_provider_fate.operators.sources.base import Columns, first_wrong, wrong_rows
from airflow_provider_fate.operators.sources.load import written_behind

COLUMNS = Columns(("id", "y", "x"), "id", "y")
NAN, INF = float("nan"), float("inf")


def rows(ids=("a", "b", "c"), y=(1.0, 0.0, 1.0), x=(0.5, None, 2.0)) -> pa.RecordBatch:
    arrays = [pa.array(ids, pa.string()), pa.array(y, pa.float64()), pa.array(x, pa.float64())]
    return pa.record_batch(arrays, schema=COLUMNS.schema)


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"ids": ("a b", "ü", " c ")},
        {"x": (None, None, None)},
        {"x": (NAN, 1.0, 2.0)},
        {"x": (1.7e308, 1.7e308, 1.7e308)},  # the sum is infinite, the numbers are not
    ],
)
def test_rows_that_are_right(good):
    batch = rows(**good)
    assert not wrong_rows(batch, COLUMNS) and first_wrong(batch, COLUMNS) is None
    assert not wrong_rows(pa.Table.from_batches([batch, batch.slice(1), batch.slice(3)]), COLUMNS)


@pytest.mark.parametrize(
    ("bad", "at"),
    [
        ({"ids": ("a", "", "c")}, (1, "id")),
        ({"ids": ("a", "b", None)}, (2, "id")),
        ({"ids": ("a", "\u3000\u00a0", "c")}, (1, "id")),
        ({"ids": ("\t", "b", "c")}, (0, "id")),
        ({"ids": ("a", "b", "c\nd")}, (2, "id")),
        ({"ids": ("", "", "")}, (0, "id")),
        ({"y": (1.0, None, 0.0)}, (1, "y")),
        ({"y": (1.0, 0.0, NAN)}, (2, "y")),
        ({"x": (1.0, INF, 2.0)}, (1, "x")),
        ({"x": (1.0, INF, -INF)}, (1, "x")),
        ({"x": (NAN, None, -INF)}, (2, "x")),
    ],
)
def test_rows_that_are_wrong(bad, at):
    batch = rows(**bad)
    assert wrong_rows(batch, COLUMNS)
    assert first_wrong(batch, COLUMNS)[:2] == at
    table = pa.Table.from_batches([rows(), batch, rows()])
    assert wrong_rows(table, COLUMNS)


def test_rows_are_put_together_without_getting_many(monkeypatch):
    monkeypatch.setattr(pieces, "GATHERED", 1000)
    small = [pa.table({"x": np.arange(start, start + 50.0)}) for start in range(0, 1000, 50)]  # 400 bytes each
    found = list(pieces.gathered(iter(small)))
    assert all(table.nbytes < 1000 + 400 for table in found) and len(found) == 7
    assert pa.concat_tables(found).equals(pa.concat_tables(small))
    assert list(pieces.gathered(iter([]))) == []


def test_an_error_of_the_writing_thread_is_raised_in_the_block():
    written: list[int] = []

    def write(batch: pa.RecordBatch) -> None:
        written.append(batch.num_rows)
        if len(written) == 2:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"), written_behind(write) as put:
        for _ in range(100):
            put(rows())
    assert len(written) == 2
    with pytest.raises(OSError, match="disk is full"), written_behind(write) as put:
        written[:] = [0]
        put(rows())  # too late for another call to raise it
    assert not [thread for thread in threading.enumerate() if thread.name == "fate-upload-writer"]


def test_after_an_error_in_the_block_what_waits_is_not_written():
    may_go, written = threading.Event(), []

    def write(batch: pa.RecordBatch) -> None:
        may_go.wait(30)
        written.append(batch.num_rows)

    with pytest.raises(ValueError, match="wrong"), written_behind(write) as put:
        put(rows())
        put(rows())
        threading.Timer(0.2, may_go.set).start()
        raise ValueError("a row is wrong")
    assert len(written) <= 1
