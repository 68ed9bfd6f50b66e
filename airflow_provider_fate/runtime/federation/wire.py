"""Values as bytes, and bytes as values, without anything that can run code.

A value is a MessagePack structure followed by raw buffers. NumPy arrays, long bytes and lists of big integers stand in
the structure as extension types of a few bytes; their content follows it untouched, each on a boundary of 16 bytes, so
that an array of any size is written and read without a copy::

    4 bytes     length of the structure, little-endian
    structure   MessagePack
    buffers     in the order of their extension types, each padded in front to a multiple of 16 bytes

What is decoded is hostile: every length is checked against what is there before anything is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.msgpack import Decoder, Encoder, Ext

from airflow_provider_fate.runtime.federation.messages import printable

#: how deeply lists and dicts may be nested
MAX_DEPTH = 32
#: the largest MessagePack structure, without the buffers, in bytes; its objects may take some 80 times that in memory
MAX_STRUCTURE = 8 << 20
#: bytes of at least this length are kept out of the structure
LARGE_BYTES = 4096

#: how many big integers a value has in lists; each takes some 40 bytes more in memory than on its way. More are sent as
#: arrays or bytes
MAX_BIG_INTS = 1 << 20

_ALIGN = 16
_PADDING = bytes(_ALIGN)
_ARRAY, _BYTES, _BIG_INT, _BIG_INTS = 1, 2, 3, 4
_SCALARS = frozenset({type(None), bool, float, str})
_DTYPES = frozenset(
    {"|b1", "|i1", "|u1", *(f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)), "<f2", "<f4", "<f8"}
)
_MAX_AXES = 32

Buffer = bytes | bytearray | memoryview


class _ArrayHead(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]


class _ListHead(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    width: int
    count: int


def encode(value: Any) -> list[Buffer]:
    """Turn a value into buffers whose concatenation :func:`decode` reads; arrays are not copied.

    :raises TypeError: the value, or one within it, is of a type that is not sent
    :raises ValueError: nested deeper than :data:`MAX_DEPTH`, or the structure is larger than :data:`MAX_STRUCTURE`
    """
    buffers: list[Buffer] = []
    structure = _ENCODER.encode(_prepare(value, buffers, 0))
    if len(structure) > MAX_STRUCTURE:
        raise ValueError(
            f"the value has {len(structure)} bytes outside of arrays, at most {MAX_STRUCTURE} are sent; use arrays"
        )
    out: list[Buffer] = [len(structure).to_bytes(4, "little"), structure]
    position = 4 + len(structure)
    for buffer in buffers:
        padding = -position % _ALIGN
        if padding:
            out.append(_PADDING[:padding])
        out.append(buffer)
        position += padding + len(buffer)
    return out


def size(buffers: Sequence[Buffer]) -> int:
    """The number of bytes in all the buffers together."""
    return sum(len(buffer) for buffer in buffers)


def pieces(buffers: list[Buffer], length: int) -> Iterable[list[memoryview]]:
    """Cut the concatenation of buffers into pieces of ``length`` bytes, the last may be shorter; nothing is copied."""
    piece: list[memoryview] = []
    room = length
    for buffer in buffers:
        view = memoryview(buffer)
        while len(view):
            part, view = view[:room], view[room:]
            piece.append(part)
            room -= len(part)
            if not room:
                yield piece
                piece, room = [], length
    if piece:
        yield piece


def decode(data: Buffer | np.ndarray) -> Any:
    """Read a value. Arrays are views of ``data``: writable where it is, and it lives as long as they do.

    :raises ValueError: anything that :func:`encode` does not write
    """
    view = memoryview(data).cast("B")
    if len(view) < 4:
        raise ValueError("the value is cut off")
    length = int.from_bytes(view[:4], "little")
    if length > MAX_STRUCTURE or 4 + length > len(view):
        raise ValueError(f"the value says that its structure has {length} bytes, of {len(view)} in all")
    reader = _Reader(view, 4 + length)
    try:
        value = Decoder(ext_hook=reader.extension).decode(view[4 : 4 + length])
    except msgspec.MsgspecError as error:
        raise ValueError(f"the value is malformed: {printable(str(error), 300)}") from None
    except (RecursionError, MemoryError, OverflowError, TypeError) as error:
        raise ValueError(f"the value is malformed: {type(error).__name__}") from None
    if reader.position != len(view):
        raise ValueError(f"the value ends after {reader.position} bytes, and {len(view)} arrived")
    _check(value, 0)
    return value


_ENCODER = Encoder()


def _prepare(value: Any, buffers: list[Buffer], depth: int) -> Any:
    """The value with extension types in the place of what MessagePack lacks."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is int:
        return value if -(1 << 63) <= value < (1 << 64) else Ext(_BIG_INT, _int_bytes(value))
    if kind is bytes:
        if len(value) < LARGE_BYTES:
            return value
        buffers.append(value)
        return Ext(_BYTES, len(value).to_bytes(8, "little"))
    if isinstance(value, np.ndarray):
        return _prepare_array(value, buffers)
    if depth >= MAX_DEPTH:
        raise ValueError(f"the value is nested more than {MAX_DEPTH} deep")
    if kind is list or kind is tuple:
        return _prepare_list(value, buffers, depth)
    if kind is dict:
        if not all(type(key) is str for key in value):
            raise TypeError("only dicts with text as keys are sent")
        return {key: _prepare(entry, buffers, depth + 1) for key, entry in value.items()}
    if isinstance(value, np.generic):
        return _prepare(value.item(), buffers, depth)
    if kind in (bytearray, memoryview):
        return _prepare(bytes(value), buffers, depth)
    raise TypeError(
        f"{kind.__module__}.{kind.__qualname__} is not sent; expected None, bool, int, float, str, bytes, "
        "NumPy arrays of numbers, lists and dicts of these"
    )


def _prepare_list(value: list | tuple, buffers: list[Buffer], depth: int) -> Any:
    kinds = set(map(type, value))
    if kinds <= _SCALARS:
        return value
    if kinds == {int}:
        low, high = min(value), max(value)
        if low >= -(1 << 63) and high < (1 << 64):
            return value
        if len(value) > MAX_BIG_INTS:
            raise ValueError(f"{len(value)} big integers, at most {MAX_BIG_INTS} are sent; use arrays or bytes")
        width = max(_int_width(low), _int_width(high))
        buffers.append(b"".join(entry.to_bytes(width, "little", signed=True) for entry in value))
        return Ext(_BIG_INTS, _ENCODER.encode(_ListHead(width, len(value))))
    return [_prepare(entry, buffers, depth + 1) for entry in value]


def _prepare_array(array: np.ndarray, buffers: list[Buffer]) -> Ext:
    if array.dtype.str.startswith(">"):
        array = array.astype(array.dtype.newbyteorder("<"))
    if array.dtype.str not in _DTYPES:
        raise TypeError(f"arrays of {array.dtype} are not sent; expected booleans, integers or floats of up to 64 bits")
    if not array.flags.c_contiguous:
        array = array.copy(order="C")
    if array.size:
        buffers.append(memoryview(array.reshape(-1).view(np.uint8)))
    else:
        buffers.append(b"")
    return Ext(_ARRAY, _ENCODER.encode(_ArrayHead(array.dtype.str, array.shape)))


def _int_width(value: int) -> int:
    return value.bit_length() // 8 + 1


def _int_bytes(value: int) -> bytes:
    return value.to_bytes(_int_width(value), "little", signed=True)


class _Reader:
    """Hands the buffers after the structure to the extension types, in their order."""

    def __init__(self, view: memoryview, position: int) -> None:
        self.view = view
        self.position = position
        self.big_ints = 0  # in the lists so far

    def extension(self, code: int, data: memoryview) -> Any:
        if code == _ARRAY:
            return self._array(_ARRAY_HEAD.decode(data))
        if code == _BYTES:
            if len(data) != 8:
                raise msgspec.ValidationError("the length of bytes is malformed")
            return bytes(self._take(int.from_bytes(data, "little")))
        if code == _BIG_INT:
            return int.from_bytes(data, "little", signed=True)
        if code == _BIG_INTS:
            return self._big_ints(_LIST_HEAD.decode(data))
        raise msgspec.ValidationError(f"extension type {code} is unknown")

    def _take(self, length: int) -> memoryview:
        start = self.position + -self.position % _ALIGN
        if not 0 <= length <= len(self.view) - start:
            raise msgspec.ValidationError(f"a buffer of {length} bytes is cut off")
        self.position = start + length
        return self.view[start : start + length]

    def _array(self, head: _ArrayHead) -> np.ndarray:
        if head.dtype not in _DTYPES:
            raise msgspec.ValidationError(f"arrays of {head.dtype[:20]!r} are not allowed")
        if len(head.shape) > _MAX_AXES or any(not 0 <= axis < 1 << 48 for axis in head.shape):
            raise msgspec.ValidationError("the shape of an array is malformed")
        dtype = np.dtype(head.dtype)
        count = math.prod(head.shape)
        if count == 0 and any(axis > 1 << 31 for axis in head.shape):
            raise msgspec.ValidationError("the shape of an array is malformed")
        raw = self._take(count * dtype.itemsize)
        if dtype.kind == "b" and count and np.frombuffer(raw, np.uint8).max() > 1:
            raise msgspec.ValidationError("an array of booleans has other values")
        try:
            return np.frombuffer(raw, dtype, count).reshape(head.shape) if count else np.empty(head.shape, dtype)
        except ValueError as error:
            raise msgspec.ValidationError(f"the shape of an array is malformed: {error}") from None

    def _big_ints(self, head: _ListHead) -> list[int]:
        width, count = head.width, head.count
        self.big_ints += max(count, 0)
        if not 8 <= width < 1 << 32 or count < 1 or self.big_ints > MAX_BIG_INTS:
            raise msgspec.ValidationError("a list of integers is malformed")
        raw = self._take(width * count)
        return [
            int.from_bytes(raw[start : start + width], "little", signed=True) for start in range(0, len(raw), width)
        ]


_ARRAY_HEAD = Decoder(_ArrayHead)
_LIST_HEAD = Decoder(_ListHead)
_LEAVES = frozenset({type(None), bool, int, float, str, bytes, np.ndarray})


def _check(value: Any, depth: int) -> None:
    """Refuse what MessagePack has and a value does not: other keys, timestamps, deep nesting."""
    kind = type(value)
    if kind in _LEAVES:
        return
    if depth >= MAX_DEPTH:
        raise ValueError(f"the value is nested more than {MAX_DEPTH} deep")
    if kind is list:
        if not set(map(type, value)) <= _LEAVES:
            for entry in value:
                _check(entry, depth + 1)
    elif kind is dict:
        if not all(type(key) is str for key in value):
            raise ValueError("a dict has a key that is not text")
        for entry in value.values():
            _check(entry, depth + 1)
    else:
        raise ValueError(f"a {kind.__name__} is not allowed")
