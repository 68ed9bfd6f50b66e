"""Weight of evidence and information value of bins, as FATE defines them.

With the shares e of a bin among all events and n among all others: WOE = ln(e / n), and IV = sum of (e - n) WOE over
the bins (N. Siddiqi, Credit Risk Scorecards, 2006, chapter 6, with the sign of FATE). Where a bin has no event, or
nothing else, ``adjustment`` is added to both of its counts. A bin of missing values counts as any other.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def described(counts: np.ndarray, adjustment: float) -> dict[str, Any]:
    """The numbers of one column, ready for a model.

    :param counts: whole numbers, shape (bins, 2): events and others of each bin
    """
    totals = np.maximum(counts.sum(axis=0), 1)
    adjusted = counts + adjustment * (counts == 0).any(axis=1, keepdims=True)
    rates = adjusted / totals
    woe = np.log(rates[:, 0] / rates[:, 1])
    values = (rates[:, 0] - rates[:, 1]) * woe
    steps = np.diff(woe)
    return {
        "iv": float(values.sum()),
        "iv_array": values.tolist(),
        "woe": woe.tolist(),
        "event_count": counts[:, 0].tolist(),
        "non_event_count": counts[:, 1].tolist(),
        "event_rate": rates[:, 0].tolist(),
        "non_event_rate": rates[:, 1].tolist(),
        "is_woe_monotonic": bool((steps >= 0).all() or (steps <= 0).all()),
    }


def of_classes(counts: np.ndarray, classes: list[int | float], adjustment: float) -> dict[str, Any]:
    """Two classes: the numbers of the first one as the event. More: under ``classes``, those of each as the event.

    :param counts: whole numbers, shape (bins, classes)
    :param classes: the labels, descending, so that of 0 and 1 the event is 1
    """
    if len(classes) == 2:
        return described(counts, adjustment)
    others = counts.sum(axis=1, keepdims=True) - counts
    return {
        "classes": [
            {"label": label, **described(np.column_stack([counts[:, at], others[:, at]]), adjustment)}
            for at, label in enumerate(classes)
        ]
    }


def information_values(column: dict[str, Any]) -> list[float] | None:
    """The IVs that a model has of a column: one, or one a class; ``None`` where it has none."""
    if "classes" in column:
        return [one["iv"] for one in column["classes"]]
    return [column["iv"]] if "iv" in column else None
