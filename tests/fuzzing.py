"""What tests of hostile input draw: values that no honest party sends, and changes of those that one does."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: how many times as many cases the profile ``long`` draws
LONG = 20


def times() -> int:
    """How many times as many cases as usual are drawn."""
    return 1 if settings.default.derandomize else LONG


def cases(count: int) -> settings:
    """Settings of a test that draws ``count`` cases, the same in every run; see conftest.py for the other profile."""
    return settings(max_examples=count * times(), suppress_health_check=list(HealthCheck))


# -- values that no honest party sends

INTEGERS = st.sampled_from(
    [0, 1, -1, 2, 7, 255, 1 << 16, 1 << 31, -(1 << 31), (1 << 53) + 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
) | st.integers(-(1 << 63), (1 << 64) - 1)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan")])
TEXTS = st.sampled_from(
    [
        "", " ", ".", "..", "../../etc/passwd", "a/b", "\0", "\n", "a\nhost-10000 ended: all well", "\x1b[2J\x1b[31m",
        "\r", "\u2028", "\u202eevil", "\ufeff", "ü" * 300, "x" * 10_000, "guest-9999", "host-666", "arbiter-10000",
        "{{ 7*7 }}", "{% for i in range(9**9) %}", "%s%n", "job-2", "nan",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS | st.binary(max_size=40)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


#: any place among ``length``, by a share of it: what is drawn does not depend on what is random
def place(share: Any, length: int) -> int:
    return min(int(share * length), length - 1)


# -- a value that somebody sends, changed
#
# What is drawn is a recipe, not a value: it is made for a value that was recorded, and applied to one that is sent in
# another run, under other keys. So a case can be drawn again and made smaller.

Recipe = tuple[Any, ...]

_NUMBERS = st.sampled_from(
    [0, 1, -1, 2, 3, 1 << 24, 1 << 31, 1 << 40, (1 << 53) - 1, 1 << 62, (1 << 63) - 1, -(1 << 63), 1 << 64, 10**400]
)
_STEPS = st.sampled_from([1, -1, 2, -2, 8, 1000, 1 << 31, -(1 << 31)])
_DTYPES = st.sampled_from(["|b1", "|i1", "|u1", "<i4", "<i8", "<u8", "<f2", "<f4", "<f8"])
_SHAPES = st.sampled_from([(0,), (1,), (2,), (7,), (0, 3), (3, 0), (1, 1), (2, 3), (1, 1, 1), (1000,)])
_OTHERS = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=4),
    st.dictionaries(TEXTS, SCALARS, max_size=3),
    _NUMBERS,
    st.builds(lambda dtype, shape: ("array", dtype, shape), _DTYPES, _SHAPES),
    st.sampled_from([[], {}, [[]], [None], b"", bytes(1 << 16), [0] * 100_000, {"a": {"a": {"a": None}}}]),
)
_ARRAY_WAYS = ["set", "set", "set", "fill", "cut", "grown", "dtype", "axes", "bits", "scale", "order"]
_SHARES = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)


@st.composite
def recipes(draw: st.DrawFn, value: Any, depth: int = 0) -> Recipe:
    """Something to change in a value like this one."""
    if depth == 0 and draw(st.integers(0, 11)) == 0:
        return "replace", draw(_OTHERS)
    if isinstance(value, bool) or value is None:
        return "replace", draw(st.booleans() if draw(st.booleans()) else _OTHERS)
    if isinstance(value, int):
        return ("add", draw(_STEPS)) if draw(st.booleans()) else ("replace", draw(_NUMBERS | INTEGERS))
    if isinstance(value, float):
        return "replace", draw(FLOATS | st.floats(-2, 2))
    if isinstance(value, str):
        return "replace", draw(TEXTS)
    if isinstance(value, bytes):
        return _bytes_recipe(draw)
    if isinstance(value, np.ndarray):
        return _array_recipe(draw)
    if not value or draw(st.integers(0, 3)) == 0:
        how = draw(st.sampled_from(["drop", "again", "reverse", "empty", "extra", "swap"]))
        return how, draw(_SHARES), draw(_OTHERS) if how == "extra" else None
    share = draw(_SHARES)
    inside = list(value.values()) if isinstance(value, dict) else list(value)
    return "inside", share, draw(recipes(inside[place(share, len(inside))], depth + 1))


@st.composite
def byte_recipes(draw: st.DrawFn) -> Recipe:
    """Something to change in bytes, which stay bytes."""
    return _bytes_recipe(draw)


def _bytes_recipe(draw: st.DrawFn) -> Recipe:
    how = draw(st.sampled_from(["cut", "grown", "flip", "flip", "zeros", "ones", "one", "random", "part", "repeated"]))
    return "bytes", how, draw(_SHARES), draw(st.integers(1, 255))


def _array_recipe(draw: st.DrawFn) -> Recipe:
    how = draw(st.sampled_from(_ARRAY_WAYS))
    with_ = {
        "set": _NUMBERS | FLOATS,
        "fill": _NUMBERS | FLOATS,
        "dtype": _DTYPES,
        "scale": st.sampled_from([-1, 2, 1e6, 1e150, 1e300, 1 << 30]),
    }.get(how, st.integers(0, 255))
    return "array", how, draw(_SHARES), draw(with_)


def changed(recipe: Recipe, value: Any) -> Any:
    """The value with the recipe applied, as far as it is one that can be sent."""
    match recipe:
        case ("replace", other):
            return _made(other)
        case ("add", step):
            return value + step if isinstance(value, int) else step
        case ("inside", share, inner) if isinstance(value, (list, tuple, dict)) and value:
            if isinstance(value, dict):
                key = list(value)[place(share, len(value))]
                return {**value, key: changed(inner, value[key])}
            at = place(share, len(value))
            return [*value[:at], changed(inner, value[at]), *value[at + 1 :]]
        case ("bytes", how, share, number) if isinstance(value, (bytes, bytearray, memoryview)):
            return _changed_bytes(bytes(value), how, share, number)
        case ("array", how, share, number) if isinstance(value, np.ndarray):
            return _changed_array(value, how, share, number)
        case (how, share, other) if isinstance(value, (list, tuple, dict)):
            return _changed_items(value, how, share, other)
    return None


def _made(other: Any) -> Any:
    match other:
        case ("array", dtype, shape):
            return np.ones(shape, dtype)
    return other


def _changed_items(value: Any, how: str, share: float, other: Any) -> Any:
    items: list[Any] = list(value.items()) if isinstance(value, dict) else list(value)
    if how == "extra":
        items.append(("other", _made(other)) if isinstance(value, dict) else _made(other))
    elif how == "empty":
        items = []
    elif how == "reverse":
        items.reverse()
    elif items:
        at = place(share, len(items))
        if how == "drop":
            del items[at]
        elif how == "again":
            items.append(items[at])
        else:
            items[at], items[0] = items[0], items[at]
    return dict(items) if isinstance(value, dict) else items


def _changed_bytes(value: bytes, how: str, share: float, number: int) -> bytes:
    at = place(share, len(value)) if value else 0
    match how:
        case "cut":
            return value[:at]
        case "grown":
            return value[:at] + bytes([number]) * number + value[at:]
        case "flip" if value:
            return value[:at] + bytes([value[at] ^ number]) + value[at + 1 :]
        case "zeros":
            return bytes(len(value))
        case "ones":
            return b"\xff" * len(value)
        case "one":
            return b"\1" + bytes(max(0, len(value) - 1))
        case "random":
            return np.random.default_rng(number).bytes(len(value))
        case "part":
            end = min(len(value), at + 8 * number)
            return value[:at] + bytes([number]) * (end - at) + value[end:]
    return value + value


def _changed_array(value: np.ndarray, how: str, share: float, number: Any) -> np.ndarray:
    value = value.copy()
    flat = value.reshape(-1)
    with np.errstate(all="ignore"):
        match how:
            case "set" | "fill":
                number = _fitting(number, value.dtype)
                if how == "fill":
                    flat[:] = number
                elif len(flat):
                    flat[place(share, len(flat))] = number
                return value
            case "cut":
                return value[: place(share, max(1, len(value)))] if value.ndim else value
            case "grown":
                return np.concatenate([value, value[: 1 + number % 3]]) if value.ndim and len(value) else np.ones(1)
            case "dtype":
                return value.astype(number)
            case "axes":
                return value.reshape(-1, 1) if number % 2 else value[None]
            case "bits":
                raw = np.random.default_rng(number).bytes(value.nbytes)
                return np.frombuffer(raw, value.dtype).reshape(value.shape) if value.dtype != bool else ~value
            case "scale":
                return (value.astype(float) * number).astype(value.dtype)
    return value[::-1].copy()


def _fitting(number: Any, dtype: np.dtype) -> Any:
    if dtype.kind == "f":
        return float(number) if abs(number) < 1e308 else np.inf if number == number else np.nan
    if dtype.kind == "b":
        return bool(number)
    if number != number or abs(number) == float("inf"):
        number = -1
    limits = np.iinfo(dtype)
    return min(max(int(number), limits.min), limits.max)
