"""Values as bytes and back; bytes that are no value."""

from __future__ import annotations

import contextlib
import datetime
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_provider_fate.runtime.federation import wire

_DTYPES = ["bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64"]
_arrays = st.sampled_from(_DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 3000), 1 << 3000)
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.binary(max_size=6000)
    | _arrays
)
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
)


def joined(value: object) -> bytes:
    return b"".join(wire.encode(value))


def same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return isinstance(right, dict) and list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    return type(left) is type(right) and left == right


@given(_values)
@settings(max_examples=100, deadline=None)
def test_what_is_sent_arrives(value):
    assert same(value, wire.decode(joined(value)))


@given(st.lists(st.integers(-(1 << 200), 1 << 200), min_size=1))
@settings(deadline=None)
def test_lists_of_integers_of_any_size(value):
    assert wire.decode(joined(value)) == value


@pytest.mark.parametrize("value", [-(1 << 63), (1 << 64) - 1, 1 << 64, -(1 << 63) - 1, 127, 128, -128, -129, 0])
def test_integers_at_the_edges(value):
    assert wire.decode(joined(value)) == value
    assert wire.decode(joined([value, 1 << 100])) == [value, 1 << 100]


def test_a_list_of_big_integers_does_not_grow_without_bound():
    """Eight bytes become a Python object before any check sees the value."""
    many = wire.MAX_BIG_INTS + 1
    with pytest.raises(ValueError, match="at most 1048576 are sent"):
        wire.encode([1 << 70] * many)
    for counts in ([many], [many // 2 + 1] * 2):
        lists = [wire.Ext(wire._BIG_INTS, wire._ENCODER.encode(wire._ListHead(16, count))) for count in counts]
        head = wire._ENCODER.encode(lists)
        body = len(head).to_bytes(4, "little") + head
        body += bytes(-len(body) % 16) + bytes(16 * sum(counts))
        with pytest.raises(ValueError, match="a list of integers is malformed"):
            wire.decode(body)


def test_nan_and_infinity_are_values():
    got = wire.decode(joined([math.nan, math.inf, np.array([np.nan, -np.inf])]))
    assert math.isnan(got[0]) and got[1] == math.inf and np.isnan(got[2][0]) and got[2][1] == -np.inf


@pytest.mark.parametrize("array", [np.arange(12.0).reshape(3, 4)[:, ::2], np.arange(6).reshape(2, 3).T])
def test_arrays_that_are_not_contiguous(array):
    assert same(array.copy(), wire.decode(joined(array)))


def test_big_endian_arrays_arrive_as_little_endian_ones():
    got = wire.decode(joined(np.arange(3, dtype=">i4")))
    assert got.dtype.str == "<i4" and got.tolist() == [0, 1, 2]


def test_numpy_scalars_and_tuples_become_plain():
    assert wire.decode(joined([np.float64(0.5), np.int32(3), np.bool_(True), (1, "a")])) == [0.5, 3, True, [1, "a"]]


def test_large_arrays_are_not_copied():
    array = np.arange(1_000_000.0)
    buffers = wire.encode(array)
    assert np.shares_memory(np.frombuffer(buffers[-1], np.float64), array)
    data = np.frombuffer(b"".join(buffers), np.uint8).copy()
    got = wire.decode(data)
    assert np.shares_memory(got, data) and got.flags.writeable and got.flags.aligned


def test_arrays_lie_on_boundaries_of_16_bytes():
    data = np.frombuffer(joined([np.arange(3, dtype=np.int8), np.arange(4.0), b"x" * 5001, np.arange(2)]), np.uint8)
    start = data.__array_interface__["data"][0]
    for array in (wire.decode(data)[1], wire.decode(data)[3]):
        assert (array.__array_interface__["data"][0] - start) % 16 == 0


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        datetime.datetime.now(datetime.UTC),
        object(),
        {1: 2},
        np.array(["a"]),
        np.array([object()]),
        np.array([1j]),
        np.array([1.0], np.longdouble),
        [1, {"a": [lambda: 0]}],
        msgspec.msgpack.Ext(1, b""),
    ],
)
def test_other_types_are_not_sent(value):
    with pytest.raises(TypeError):
        wire.encode(value)


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


def test_depth_has_a_limit():
    assert wire.decode(joined(nested(wire.MAX_DEPTH))) == nested(wire.MAX_DEPTH)
    with pytest.raises(ValueError, match="nested"):
        wire.encode(nested(wire.MAX_DEPTH + 1))
    with pytest.raises(ValueError, match="nested"):
        wire.decode(crafted(b"\x91" * (wire.MAX_DEPTH + 1) + b"\xc0"))
    with pytest.raises(ValueError, match="malformed"):
        wire.decode(crafted(b"\x91" * 100_000 + b"\xc0"))


def crafted(structure: bytes, rest: bytes = b"") -> bytes:
    return len(structure).to_bytes(4, "little") + structure + rest


def array(dtype: object, shape: object, rest: bytes = b"") -> bytes:
    ext = msgspec.msgpack.Ext(1, msgspec.msgpack.encode([dtype, shape]))
    structure = msgspec.msgpack.encode(ext)
    return crafted(structure, b"\0" * (-(4 + len(structure)) % 16) + rest)


def ints(width: int, count: int, rest: bytes) -> bytes:
    structure = msgspec.msgpack.encode(msgspec.msgpack.Ext(4, msgspec.msgpack.encode([width, count])))
    return crafted(structure, b"\0" * (-(4 + len(structure)) % 16) + rest)


def test_the_crafted_arrays_are_good_where_nothing_is_wrong_with_them():
    assert wire.decode(array("<f8", [2], bytes(16))).tolist() == [0.0, 0.0]
    assert wire.decode(ints(8, 2, bytes(16))) == [0, 0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff",
        crafted(b""),
        crafted(b"\xc1"),
        crafted(b"\xc0\xc0"),
        crafted(b"\xc0", b"more"),
        crafted(b"\x81\x01\x02"),
        crafted(b"\x81\x90\x02"),
        crafted(b"\xd6\xff\x00\x00\x00\x01"),
        crafted(b"\xdd\xff\xff\xff\xff"),
        crafted(b"\xd4\x63\x00"),
        crafted(b"\xa1\xff"),
        array("|O", [1], bytes(8)),
        array("|V8", [1], bytes(8)),
        array(">f8", [1], bytes(8)),
        array("<M8[s]", [1], bytes(8)),
        array("f8,f8", [1], bytes(16)),
        array("<f8", [3], bytes(16)),
        array("<f8", [1], bytes(16)),
        array("<f8", [-1], bytes(8)),
        array("<f8", [1 << 40, 1 << 40], bytes(8)),
        array("<f8", [1 << 40, 0], b""),
        array("<f8", [1] * 40, bytes(8)),
        array("<f8", "abc", bytes(8)),
        array("<f8", [1.5], bytes(8)),
        array("|b1", [2], b"\x01\x02"),
        ints(8, 3, bytes(16)),
        ints(0, 3, b""),
        ints(1 << 40, 1 << 40, bytes(16)),
        crafted(b"\xd7\x02" + (1 << 62).to_bytes(8, "little")),
        crafted(b"\xd4\x02\x00"),
    ],
)
def test_what_is_not_a_value_is_refused(data):
    with pytest.raises(ValueError):
        wire.decode(data)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_value_or_refused(data):
    for candidate in (data, crafted(data)):
        with contextlib.suppress(ValueError):
            wire.decode(candidate)


@given(_values, st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_values_are_values_or_refused(value, data):
    good = bytearray(joined(value))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(good)))
    with contextlib.suppress(ValueError):
        wire.decode(bytes(good[:end]))
