"""Labels that are classes."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_fate.errors import DataError

#: more labels than this are no classes
MOST_CLASSES = 1000

Classes = tuple[int | float, ...]


def classes_of(component: str, label_name: str | None, labels: Sequence[float], otherwise: str = "") -> Classes:
    """The classes, in the order of the labels; whole numbers as such.

    :param component: its name in the DSL, for the error
    :param labels: distinct ones; of too many, some
    :param otherwise: what to do where labels are no classes, for the error
    :raises DataError: there are fewer than two, or too many
    """
    if not 2 <= len(labels) <= MOST_CLASSES:
        many = f"more than {MOST_CLASSES}" if len(labels) > MOST_CLASSES else f"{len(labels)}"
        shown = ", ".join(f"{label:g}" for label in labels[:5])
        raise DataError(
            f"{component}: the label column {label_name!r} has {many} distinct values ({shown}); expected from 2 to "
            f"{MOST_CLASSES} classes{otherwise}"
        )
    return tuple(int(label) if label == int(label) else float(label) for label in labels)
