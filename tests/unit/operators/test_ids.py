"""Repeated ids are found, whether they are kept in memory or in files."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_fate.operators.sources.ids import IdCheck


def pairs(ids: list[str], batch: int, in_memory: int, directory: str | None = None) -> set[tuple[int, int]]:
    array = pa.array(ids, pa.string())
    with IdCheck(directory, in_memory=in_memory) as check:
        for start in range(0, len(ids), batch):
            check.add(array.slice(start, batch))
        return set(check.repeated())


def repeated(ids: list[str]) -> set[str]:
    return {one for one in ids if ids.count(one) > 1}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(alphabet="ab\0ü€", max_size=20), max_size=30),
    st.integers(1, 10),
    st.sampled_from([1, 5, 1000]),
)
def test_finds_what_a_set_finds(ids, batch, in_memory):
    found = pairs(ids, batch, in_memory)
    assert {ids[first] for first, _ in found} == repeated(ids)
    assert all(first < second and ids[first] == ids[second] for first, second in found)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 63])
def test_ids_that_differ_in_one_byte(length):
    base = "a" * length
    ids = [base] + [base[:at] + "b" + base[at + 1 :] for at in range(length)]
    assert pairs(ids, 3, 2) == set()
    assert pairs([*ids, base], 3, 2) == {(0, length + 1)}


def test_the_files_are_removed(tmp_path):
    ids = [str(i) for i in range(1000)]
    array = pa.array(ids)
    with IdCheck(tmp_path, in_memory=100) as check:
        for start in range(0, 1000, 100):
            check.add(array.slice(start, 100))
        assert os.listdir(tmp_path)
        assert list(check.repeated()) == []
    assert os.listdir(tmp_path) == []
