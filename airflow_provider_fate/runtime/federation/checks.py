"""Checks of values that arrive from a peer, which are hostile until checked."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from airflow_provider_fate.runtime.federation.messages import printable

#: the largest float
MOST = sys.float_info.max

#: raises ValueError with a sentence that says what is wrong
Check = Callable[[Any], None]


@dataclass(frozen=True)
class Array:
    """A NumPy array of an exact dtype and shape.

    :param dtype: e.g. ``"float64"``
    :param shape: one entry per axis; ``None`` leaves the axis free
    :param finite: refuse NaN and infinities
    :param max_items: the largest number of items, where an axis is free
    """

    dtype: str
    shape: tuple[int | None, ...]
    finite: bool = True
    max_items: int | None = None

    def __call__(self, value: Any) -> None:
        if not isinstance(value, np.ndarray):
            raise ValueError(f"expected an array, got {type(value).__name__}")
        if value.dtype != np.dtype(self.dtype):
            raise ValueError(f"expected an array of {self.dtype}, got {value.dtype}")
        if value.ndim != len(self.shape) or any(
            want is not None and got != want for got, want in zip(value.shape, self.shape, strict=True)
        ):
            raise ValueError(f"expected an array of shape {self.shape}, got {value.shape}")
        if self.max_items is not None and value.size > self.max_items:
            raise ValueError(f"expected at most {self.max_items} items, got {value.size}")
        if self.finite and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError("expected finite numbers, got NaN or infinity")


@dataclass(frozen=True)
class Bytes:
    """Bytes of an exact or a largest length."""

    length: int | None = None
    max_length: int | None = None

    def __call__(self, value: Any) -> None:
        if not isinstance(value, bytes):
            raise ValueError(f"expected bytes, got {type(value).__name__}")
        if self.length is not None and len(value) != self.length:
            raise ValueError(f"expected {self.length} bytes, got {len(value)}")
        if self.max_length is not None and len(value) > self.max_length:
            raise ValueError(f"expected at most {self.max_length} bytes, got {len(value)}")


@dataclass(frozen=True)
class Integer:
    """An int within bounds, both inclusive."""

    minimum: int
    maximum: int

    def __call__(self, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"expected an integer, got {type(value).__name__}")
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"expected an integer in [{self.minimum}, {self.maximum}]")


@dataclass(frozen=True)
class Number:
    """A finite float (or int) within bounds, both inclusive."""

    minimum: float = -math.inf
    maximum: float = math.inf

    def __call__(self, value: Any) -> None:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ValueError(f"expected a number, got {type(value).__name__}")
        # a huge int is finite, but no float
        if abs(value) > MOST or not math.isfinite(value) or not self.minimum <= value <= self.maximum:
            raise ValueError(f"expected a finite number in [{self.minimum}, {self.maximum}]")


@dataclass(frozen=True)
class Text:
    """A str of at most ``max_length`` characters."""

    max_length: int = 10_000

    def __call__(self, value: Any) -> None:
        if not isinstance(value, str):
            raise ValueError(f"expected text, got {type(value).__name__}")
        if len(value) > self.max_length:
            raise ValueError(f"expected at most {self.max_length} characters, got {len(value)}")


def boolean(value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {type(value).__name__}")


@dataclass(frozen=True)
class Optional_:
    """None, or what ``check`` allows."""

    check: Check

    def __call__(self, value: Any) -> None:
        if value is not None:
            self.check(value)


@dataclass(frozen=True)
class ListOf:
    """A list whose items all pass ``item``."""

    item: Check
    length: int | None = None
    max_length: int | None = None

    def __call__(self, value: Any) -> None:
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {type(value).__name__}")
        if self.length is not None and len(value) != self.length:
            raise ValueError(f"expected {self.length} items, got {len(value)}")
        if self.max_length is not None and len(value) > self.max_length:
            raise ValueError(f"expected at most {self.max_length} items, got {len(value)}")
        for number, entry in enumerate(value):
            try:
                self.item(entry)
            except ValueError as error:
                raise ValueError(f"item {number}: {error}") from None


@dataclass(frozen=True)
class DictOf:
    """A dict with exactly these keys."""

    items: Mapping[str, Check] = field(default_factory=dict)

    def __call__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"expected a dict, got {type(value).__name__}")
        if value.keys() != self.items.keys():
            got = [printable(str(key), 40) for key in list(value)[:20]]
            raise ValueError(f"expected the keys {sorted(self.items)}, got {sorted(got)}")
        for key, check in self.items.items():
            try:
                check(value[key])
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
