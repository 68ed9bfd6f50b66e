"""Which columns a component works on: FATE's places and names, and names again in prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.runtime.data import Schema

#: names in an error message or a summary
NAMES_SHOWN = 10


def shown(names: Sequence[str]) -> str:
    """Some names for a message, such as ``columns a, b``."""
    more = len(names) - NAMES_SHOWN
    text = ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"column{'s' if len(names) != 1 else ''} {text}" if names else "no columns"


def chosen(
    schema: Schema, places: Sequence[int], names: Sequence[str], path: str, log: Callable[[str], None]
) -> list[int]:
    """Places of the features that are listed by place or name, ascending, each once.

    Names that are not there are passed over, as in FATE, where the same names are often given to all parties; the log
    says so.

    :param path: the parameter of the places, for the error
    :raises ConfigError: there is no feature at a place
    """
    count = len(schema.features)
    for place in places:
        if not 0 <= place < count:
            raise ConfigError(path, f"names place {place}; the input has {count} features, at 0 to {count - 1}")
    at = {name: place for place, name in enumerate(schema.features)}
    if unknown := [name for name in names if name not in at]:
        log(f"the input has no {shown(unknown)}: passed over")
    return sorted({*places, *(at[name] for name in names if name in at)})


def found(schema: Schema, names: Sequence[str], path: str, party: object) -> list[int]:
    """Places of the features that a model was fitted with.

    :param path: the component's name, for the error
    :raises DataError: one is not there
    """
    at = {name: place for place, name in enumerate(schema.features)}
    if missing := [name for name in names if name not in at]:
        raise DataError(
            f"{path}: {party}'s input lacks {shown(missing)}, which the model was fitted with; it has "
            f"{shown(schema.features)}"
        )
    return [at[name] for name in names]
