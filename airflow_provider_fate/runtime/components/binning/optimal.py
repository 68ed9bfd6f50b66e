"""Optimal binning: few bins out of many, by the labels in them. The ways are FATE's.

With iv, gini and chi_square, neighbours are merged, always the two that lose least by it (the leftmost of equals):

1. with ``mixture``, while there are bins with one class only: two such neighbours, then one such and another;
2. while there are bins of fewer rows than ``least``: two such neighbours, then one such and another;
3. while there are more than ``bins``: any two.

No merge makes a bin of more than ``most`` rows. What a merge loses is, with iv, the information value; with gini, what
the impurity of the merged bin exceeds the sum of both by; with chi_square, the statistic of the two bins
(R. Kerber, ChiMerge, AAAI 1992).

With ks, the whole range is split where the shares of both classes up to there differ most (Kolmogorov-Smirnov), and
the parts again, the larger part first, until there are ``bins``.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: events and others of a bin
Pair = tuple[int, int]


@dataclass(frozen=True)
class Optimal:
    """How to bin.

    :param metric: iv, gini, chi_square or ks
    :param bins: bins at most, where ``most`` allows it
    :param least: rows of a bin at least
    :param most: rows of a bin at most (not with ks)
    :param mixture: whether each bin has both classes
    :param adjustment: added to the counts of a bin that has one class only, with iv
    """

    metric: str
    bins: int
    least: int
    most: int
    mixture: bool
    adjustment: float

    def ends(self, counts: np.ndarray, totals: np.ndarray) -> list[int]:
        """The last ones of the initial bins that each new bin is made of, ascending.

        :param counts: whole numbers, shape (initial bins, 2): events and others
        :param totals: shape (2,): events and others of all rows
        """
        if len(counts) < 2:
            return list(range(len(counts)))
        return self._split(counts) if self.metric == "ks" else self._merge(counts, totals)

    # -- merging -------------------------------------------------------------------------------------------------

    def _merge(self, counts: np.ndarray, totals: np.ndarray) -> list[int]:
        loss = {"iv": self._iv_loss, "gini": _gini_loss, "chi_square": _chi_square}[self.metric]
        events, others = (max(int(total), 1) for total in totals)
        merging = _Merging([(e, n) for e, n in counts.tolist()], lambda a, b: loss(a, b, events, others), self.most)
        if self.mixture:
            merging.merge(_pure, both=True)
            merging.merge(_pure, both=False)
        merging.merge(self._small, both=True)
        merging.merge(self._small, both=False)
        merging.merge(None, both=False, down_to=self.bins)
        return merging.ends()

    def _small(self, one: Pair) -> bool:
        return one[0] + one[1] < self.least

    def _iv_loss(self, one: Pair, other: Pair, events: int, others: int) -> float:
        def iv(event: float, rest: float) -> float:
            if not event or not rest:
                event, rest = event + self.adjustment, rest + self.adjustment
            event, rest = event / events, rest / others
            return (event - rest) * math.log(event / rest)

        return iv(*one) + iv(*other) - iv(one[0] + other[0], one[1] + other[1])

    # -- splitting -----------------------------------------------------------------------------------------------

    def _split(self, counts: np.ndarray) -> list[int]:
        cuts: list[int] = []
        parts = deque([(0, len(counts))])
        least = max(self.least, 1)
        while parts and len(cuts) < self.bins - 1:
            start, end = parts.popleft()
            below = np.cumsum(counts[start:end], axis=0)
            if not below[-1].all():
                continue
            apart = np.abs(below[:, 0] / below[-1, 0] - below[:, 1] / below[-1, 1])
            middle = (end - start) // 2
            at = int(apart.argmax()) if apart.max() > 0 else middle
            if min(below[at].sum(), (below[-1] - below[at]).sum()) < least:
                at = middle
            left, right = below[at], below[-1] - below[at]
            if self.mixture and not (left.all() and right.all()):
                continue
            if min(left.sum(), right.sum()) < least:
                continue
            cut = start + at + 1
            cuts.append(cut)
            both = [(start, cut), (cut, end)]
            parts.extend(reversed(both) if right.sum() > left.sum() else both)
        # as FATE: at least two bins
        return sorted([*((cut - 1 for cut in cuts) if cuts else [len(counts) // 2 - 1]), len(counts) - 1])


def _pure(one: Pair) -> bool:
    return not one[0] or not one[1]


def _gini_loss(one: Pair, other: Pair, events: int, others: int) -> float:
    def gini(event: int, rest: int) -> float:
        total = event + rest
        return 1 - (event / total) ** 2 - (rest / total) ** 2 if total else 0.0

    return gini(one[0] + other[0], one[1] + other[1]) - gini(*one) - gini(*other)


def _chi_square(one: Pair, other: Pair, events: int, others: int) -> float:
    both = (one[0] + other[0], one[1] + other[1])
    if not both[0] or not both[1]:
        return -1.0  # less than any
    found = 0.0
    for pair in (one, other):
        for count, total in zip(pair, both, strict=True):
            if expected := sum(pair) / sum(both) * total:
                found += (count - expected) ** 2 / expected
    return found


class _Merging:
    """Bins that get fewer. A bin goes by the number of the first initial bin in it.

    :param counts: events and others of each initial bin
    :param loss: what merging two bins loses
    :param most: rows of a bin at most
    """

    def __init__(self, counts: list[Pair], loss: Callable[[Pair, Pair], float], most: int) -> None:
        self._counts: dict[int, Pair] = dict(enumerate(counts))
        self._loss = loss
        self._most = most
        self._initial = len(counts)

    def ends(self) -> list[int]:
        """The last initial bin of each bin."""
        return [*(first - 1 for first in self._counts if first), self._initial - 1]

    def merge(self, bad: Callable[[Pair], bool] | None, *, both: bool, down_to: int = 1) -> None:
        """Merge while there is a bad bin, and more than ``down_to``.

        :param bad: which bins are; ``None`` where any two may be merged
        :param both: merge only two bad ones
        """
        counts, bins = self._counts, list(self._counts)
        right = dict(zip(bins, [*bins[1:], None], strict=True))
        left = dict(zip(bins, [None, *bins[:-1]], strict=True))
        many = sum(map(bad, counts.values())) if bad else 0
        heap: list[tuple[float, int, Pair, Pair]] = []

        def offer(first: int | None) -> None:
            """The pair of this bin and the next one, where it may be merged."""
            if first is None or (second := right[first]) is None:
                return
            one, other = counts[first], counts[second]
            if sum(one) + sum(other) > self._most:
                return
            if bad is None or (bad(one) and bad(other) if both else bad(one) or bad(other)):
                # rounded, so that what loses the same is equal
                loss = round(self._loss(one, other), 12) if sum(one) + sum(other) else -math.inf
                heapq.heappush(heap, (loss, first, one, other))

        for first in bins:
            offer(first)
        while heap and len(counts) > down_to and (many or bad is None):
            _, first, one, other = heapq.heappop(heap)
            second = right.get(first)
            if counts.get(first) is not one or second is None or counts[second] is not other:
                continue  # one of them was merged before
            merged = (one[0] + other[0], one[1] + other[1])
            counts[first] = merged
            del counts[second]
            right[first] = right.pop(second)
            if right[first] is not None:
                left[right[first]] = first
            if bad is not None:
                many += bad(merged) - bad(one) - bad(other)
            offer(left[first])
            offer(first)
