"""Plain JSON values: checked once at the door, so that nothing behind it meets anything else."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import did_you_mean, short

MAX_DEPTH = 32
MAX_VALUES = 200_000
MAX_TEXT = 100_000
MAX_INTEGER = 2**63 - 1


def join(path: str, key: str) -> str:
    """The path of ``key`` below ``path``, fit for a log: a key of another party's may hold line ends."""
    if not key.isprintable():
        key = repr(key)[1:-1]
    key = key if len(key) <= 80 else key[:77] + "..."
    return f"{path}.{key}" if path else key


def plain(value: Any, path: str) -> Any:
    """A copy of ``value`` that holds only what JSON has: dicts with text keys, lists, text, numbers, true, false, null.

    Tuples become lists, and integer keys (as of a role's index) become text.

    :param path: where it stands, for the error
    :raises ConfigError: for any other type, numbers that are not finite or above 63 bits, and what is too deep or large
    """
    left = MAX_VALUES

    def copy(item: Any, at: str, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise ConfigError(path, f"more than {MAX_VALUES} values")
        if item is None or isinstance(item, bool):
            return item
        if isinstance(item, str):
            return _text(item, at)
        if isinstance(item, numbers.Integral):
            return _integer(int(item), at)
        if isinstance(item, numbers.Real):
            return _float(item, at)
        if depth >= MAX_DEPTH:
            raise ConfigError(at, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, dict):
            copied: dict[str, Any] = {}
            for key, inner in item.items():
                name = _key(key, at)
                if name in copied:
                    raise ConfigError(join(at, name), "is given twice")
                copied[name] = copy(inner, join(at, name), depth + 1)
            return copied
        if isinstance(item, list | tuple):
            return [copy(inner, f"{at}[{i}]", depth + 1) for i, inner in enumerate(item)]
        raise ConfigError(at, f"{type(item).__name__} is not a JSON type")

    return copy(value, path, 0)


def _text(value: str, path: str) -> str:
    if len(value) > MAX_TEXT:
        raise ConfigError(path, f"a text of {len(value)} characters; at most {MAX_TEXT} are allowed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(path, f"{short(value)} is not valid unicode text") from None
    return value


def _integer(value: int, path: str) -> int:
    if abs(value) > MAX_INTEGER:
        raise ConfigError(path, "a whole number of more than 63 bits")
    return value


def _float(value: Any, path: str) -> float:
    try:
        number = float(value)
    except (OverflowError, ValueError, TypeError):
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(path, "expected a finite number")
    return number


def _key(key: Any, path: str) -> str:
    if isinstance(key, int) and not isinstance(key, bool):
        return str(_integer(key, path))
    if not isinstance(key, str):
        raise ConfigError(path, f"a key must be text, not {type(key).__name__}")
    return _text(key, path)


def as_dict(value: Any, path: str) -> dict[str, Any]:
    """``value`` where it is a dict; ``None`` counts as an empty one.

    :raises ConfigError: for another type
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(path, f"expected a dict, got {short(value)}")
    return value


def only_keys(value: dict[str, Any], known: Iterable[str], path: str, hints: dict[str, str] | None = None) -> None:
    """Refuse the keys of ``value`` that are not ``known``.

    :param hints: what to say about certain keys instead of the nearest known one
    :raises ConfigError: with the path of the first unknown key
    """
    known = tuple(known)
    for key in value:
        if key not in known:
            hint = (hints or {}).get(key) or did_you_mean(key, known)
            raise ConfigError(join(path, key), f"unknown key; {hint}")


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``: dicts are merged at every level, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def without(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` without the values that ``over`` sets."""
    result: dict[str, Any] = {}
    for key, value in base.items():
        if key not in over:
            result[key] = value
        elif isinstance(value, dict) and isinstance(over[key], dict):
            rest = without(value, over[key])
            if rest:
                result[key] = rest
    return result


def flatten(value: Any, path: str) -> dict[str, Any]:
    """The leaves of nested dicts by their path; lists and empty dicts are leaves."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    leaves: dict[str, Any] = {}
    for key in sorted(value):
        leaves.update(flatten(value[key], join(path, key)))
    return leaves


def resolves(value: Any, loc: tuple[str | int, ...]) -> int:
    """How many steps of ``loc`` exist in ``value``."""
    for steps, step in enumerate(loc):
        if not has(value, step):
            return steps
        value = value[step]
    return len(loc)


def has(value: Any, step: str | int) -> bool:
    """Whether ``value`` is a dict with the key ``step``, or a list that long."""
    if isinstance(value, list):
        return isinstance(step, int) and 0 <= step < len(value)
    return isinstance(value, dict) and step in value
