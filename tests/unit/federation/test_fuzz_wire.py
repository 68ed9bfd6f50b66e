"""Encoded values that nobody encoded: a ValueError, or a value that can be encoded; and what checks refuse."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from airflow_provider_fate.runtime.federation import wire
from airflow_provider_fate.runtime.federation.checks import (
    Array,
    Bytes,
    DictOf,
    Integer,
    ListOf,
    Number,
    Optional_,
    Text,
    boolean,
)
from tests.fuzzing import INTEGERS, PLAIN, byte_recipes, cases, changed, recipes
from tests.watching import printed, watched

SECONDS, MEBIBYTES = 5.0, 64.0
DTYPES = ["|b1", "|i1", "|u1", *(f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)), "<f2", "<f4", "<f8"]


def arrays(dtypes: list[str] = DTYPES) -> st.SearchStrategy[np.ndarray]:
    def made(dtype: str, shape: list[int], seed: int) -> np.ndarray:
        size = math.prod(shape)
        raw = np.random.default_rng(seed).bytes(size * np.dtype(dtype).itemsize)
        return (np.frombuffer(raw, np.uint8) > 99 if dtype == "|b1" else np.frombuffer(raw, dtype)).reshape(shape)

    return st.builds(made, st.sampled_from(dtypes), st.lists(st.integers(0, 4), max_size=4), st.integers(0, 99))


#: of every type that is sent
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 300), 1 << 300)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.sampled_from([bytes(4095), bytes(4096), bytes(5000)])
    | arrays(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.lists(st.integers(-(1 << 200), 1 << 200), min_size=1, max_size=5)
    ),
    max_leaves=8,
)


def encoded(value: Any) -> bytes:
    return b"".join(wire.encode(value))


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types, NaN as NaN."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and (one.dtype, one.shape, one.tobytes()) == (
            other.dtype, other.shape, other.tobytes(),
        )  # fmt: skip
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return one == other or one != one


@cases(300)
@given(VALUES)
def test_what_is_encoded_is_decoded(value: Any) -> None:
    with watched(SECONDS, MEBIBYTES):
        assert same(wire.decode(encoded(value)), value)


def decoded(body: bytes) -> None:
    """A body is refused in words that can be logged, or holds a value of the allowed types."""
    with watched(SECONDS, MEBIBYTES):
        try:
            value = wire.decode(body)
        except ValueError as error:
            printed(error)
            return
        again = wire.decode(encoded(value))
    assert same(value, again)


@cases(300)
@given(st.binary(max_size=60), st.booleans(), st.binary(max_size=40))
def test_any_bytes(structure: bytes, with_length: bool, rest: bytes) -> None:
    decoded((len(structure).to_bytes(4, "little") if with_length else b"") + structure + rest)


@cases(400)
@given(VALUES, st.data())
def test_encoded_values_with_other_bytes(value: Any, data: st.DataObject) -> None:
    body = encoded(value)
    for _ in range(data.draw(st.integers(1, 3))):
        body = changed(data.draw(byte_recipes()), body)
    decoded(body)


_lengths = st.sampled_from([0, 1, 2, 7, 1 << 20, 1 << 31, 1 << 40, (1 << 48) - 1, 1 << 48, (1 << 63) - 1]) | INTEGERS
_dtypes = st.sampled_from(
    [*DTYPES, "|O", "O", "<U4", "|S3", "<M8[s]", ">f8", "<c16", "<f16", "|V8", "f8", "float64", "<f8,<f8", "", "\n",
     "[('a', '<f8')]", "<f8" * 100]
)  # fmt: skip
_heads = st.one_of(
    st.builds(
        lambda dtype, shape: Ext(1, msgspec.msgpack.encode([dtype, shape])), _dtypes, st.lists(_lengths, max_size=34)
    ),
    st.builds(lambda length: Ext(2, (length % (1 << 64)).to_bytes(8, "little")), _lengths),
    st.builds(lambda number: Ext(3, number), st.binary(max_size=40) | st.just(bytes(100_000))),
    st.builds(lambda width, count: Ext(4, msgspec.msgpack.encode([width, count])), _lengths, _lengths),
    st.builds(Ext, st.sampled_from([0, 5, 127, -1, -128, 1, 2, 4]), st.binary(max_size=20)),
)  # fmt: skip


@cases(400)
@given(st.lists(_heads | PLAIN, min_size=1, max_size=4), st.integers(0, 200), st.booleans())
def test_extensions_that_promise_too_much(values: list[Any], buffers: int, in_dict: bool) -> None:
    """Arrays of any type and shape, bytes and integers of any length, before few bytes or none."""
    structure = msgspec.msgpack.encode({str(at): one for at, one in enumerate(values)} if in_dict else values)
    decoded(len(structure).to_bytes(4, "little") + structure + bytes(buffers))


# -- checks

CHECKS: dict[str, tuple[Any, Any]] = {
    "floats": (Array("float64", (None, 3)), np.ones((4, 3))),
    "few integers": (Array("int64", (None,), max_items=5), np.arange(5)),
    "exact": (Array("uint8", (2, 32)), np.zeros((2, 32), np.uint8)),
    "bytes": (Bytes(length=32), bytes(32)),
    "short bytes": (Bytes(max_length=9), b"123456789"),
    "integer": (Integer(-5, 1 << 70), 1 << 70),
    "number": (Number(-1.0, 1.0), 1),
    "any number": (Number(), 0.5),
    "text": (Text(9), "x" * 9),
    "boolean": (boolean, True),
    "optional": (Optional_(Integer(0, 3)), 3),
    "list": (ListOf(Integer(0, 3), length=3), [0, 1, 2]),
    "short list": (ListOf(Optional_(Bytes(length=2)), max_length=3), [None, b"ab"]),
    "dict": (DictOf({"a": Number(0, 1), "b": ListOf(boolean)}), {"a": 0.5, "b": [True]}),
    "nested": (ListOf(DictOf({"x": Array("float64", (2,))}), max_length=4), [{"x": np.ones(2)}] * 3),
}


@pytest.mark.parametrize("name", CHECKS)
def test_checks(name: str) -> None:
    """What a check refuses, it says why; what it lets pass is as it says."""
    check, good = CHECKS[name]
    check(good)

    @cases(80)
    @given(st.data())
    def played(data: st.DataObject) -> None:
        value = changed(data.draw(recipes(good)), good)
        with watched(SECONDS, MEBIBYTES):
            try:
                check(value)
            except ValueError as error:
                assert len(printed(error)) < 1500
            else:
                assert allowed(name, value), value

    played()


def allowed(name: str, value: Any) -> bool:
    """What the checks above are to let pass, in other words."""

    def number(one: Any, low: float, high: float) -> bool:
        return type(one) in (int, float) and math.isfinite(float(one)) and low <= one <= high

    match name:
        case "floats":
            return value.dtype == float and value.shape[1:] == (3,) and bool(np.isfinite(value).all())
        case "few integers":
            return value.dtype == np.int64 and value.ndim == 1 and len(value) <= 5
        case "exact":
            return value.dtype == np.uint8 and value.shape == (2, 32)
        case "bytes":
            return type(value) is bytes and len(value) == 32
        case "short bytes":
            return type(value) is bytes and len(value) <= 9
        case "integer":
            return type(value) is int and -5 <= value <= 1 << 70
        case "number":
            return number(value, -1, 1)
        case "any number":
            return number(value, -math.inf, math.inf)
        case "text":
            return type(value) is str and len(value) <= 9
        case "boolean":
            return value is True or value is False
        case "optional":
            return value is None or (type(value) is int and 0 <= value <= 3)
        case "list":
            return len(value) == 3 and all(type(one) is int and 0 <= one <= 3 for one in value)
        case "short list":
            return len(value) <= 3 and all(one is None or (type(one) is bytes and len(one) == 2) for one in value)
        case "dict":
            return set(value) == {"a", "b"} and number(value["a"], 0, 1) and set(map(type, value["b"])) <= {bool}
        case _:
            return len(value) <= 4 and all(
                set(one) == {"x"} and one["x"].shape == (2,) and bool(np.isfinite(one["x"]).all()) for one in value
            )


@pytest.mark.parametrize(("depth", "fits"), [(32, True), (33, False), (5000, False)])
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1x"])
def test_nesting(depth: int, fits: bool, opening: bytes) -> None:
    structure = opening * depth + b"\xc0"
    body = len(structure).to_bytes(4, "little") + structure
    if fits:
        wire.decode(body)
    else:
        with pytest.raises(ValueError, match="nested|malformed"):
            wire.decode(body)


@pytest.mark.parametrize("item", [b"\xc0", b"\x80"])
def test_the_largest_structure_takes_a_bounded_multiple_in_memory(item: bytes) -> None:
    """Some 80 bytes a byte, as its limit says."""
    count = (wire.MAX_STRUCTURE - 9) // len(item)
    structure = b"\xdd" + count.to_bytes(4, "big") + item * count
    with watched(60, 90 * wire.MAX_STRUCTURE / (1 << 20)):
        assert len(wire.decode(len(structure).to_bytes(4, "little") + structure)) == count

