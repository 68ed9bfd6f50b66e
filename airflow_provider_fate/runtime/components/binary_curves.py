"""Curves over the scores of a binary classifier, with a bounded number of points, as plain lists for JSON."""

from __future__ import annotations

import numpy as np

from airflow_provider_fate.runtime.components import sk_metrics as sk

#: points of a curve
CURVE_POINTS = 100
#: bins of the population stability index, as FATE's
PSI_BINS = 20
#: a share that stands for an empty bin, so that the logarithm is finite
PSI_EMPTY = 1e-6

Table = dict[str, list[float]]


class Curves:
    """What happens to the rows above a threshold as it falls from the highest score to the lowest.

    :param y: bool, shape (n,)
    :param score: float64, shape (n,)
    """

    def __init__(self, y: np.ndarray, score: np.ndarray) -> None:
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        # a cut lies where the score changes: rows with the same score are on the same side
        last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        self._thresholds = ordered[last]
        self._chosen = last + 1
        self._true = np.cumsum(y[order])[last]
        self._positives = int(y.sum())
        self._rows = len(y)

    def _points(self, depth: bool = False) -> np.ndarray:
        """At most :data:`CURVE_POINTS` cuts: evenly over the distinct scores, or over the share of rows chosen."""
        if len(self._chosen) <= CURVE_POINTS:
            return np.arange(len(self._chosen))
        if not depth:
            return np.unique(np.linspace(0, len(self._chosen) - 1, CURVE_POINTS).round().astype(int))
        wanted = np.arange(1, CURVE_POINTS + 1) / CURVE_POINTS * self._rows
        return np.unique(np.minimum(np.searchsorted(self._chosen, wanted), len(self._chosen) - 1))

    def over_thresholds(self, metric: str) -> Table:
        """``precision``, ``recall``, ``accuracy`` or ``f1_score``; scores of at least the threshold are positive."""
        at = self._points()
        true, chosen = self._true[at], self._chosen[at]
        values = {
            "precision": true / chosen,
            "recall": _share(true, self._positives),
            "accuracy": (true + (self._rows - chosen) - (self._positives - true)) / self._rows,
            "f1_score": 2 * true / (chosen + self._positives),
        }[metric]
        return {"threshold": self._thresholds[at].tolist(), metric: values.tolist()}

    def roc(self) -> Table:
        """False positive rate, true positive rate and threshold, from (0, 0) on."""
        at = self._points()
        false = _share(self._chosen[at] - self._true[at], self._rows - self._positives)
        return {
            "fpr": [0.0, *false.tolist()],
            "tpr": [0.0, *_share(self._true[at], self._positives).tolist()],
            "threshold": [1.0, *self._thresholds[at].tolist()],
        }

    def gain(self) -> Table:
        """Share of the positives that are in the share of rows with the highest scores."""
        at = self._points(depth=True)
        return {
            "share": (self._chosen[at] / self._rows).tolist(),
            "gain": _share(self._true[at], self._positives).tolist(),
        }

    def lift(self) -> Table:
        """How many times more positives are in the share of rows with the highest scores than in any such share."""
        table = self.gain()
        lift = [gain / share for gain, share in zip(table["gain"], table["share"], strict=True)]
        return {"share": table["share"], "lift": lift}

    def quantile_pr(self) -> Table:
        """Precision and recall of the share of rows with the highest scores."""
        at = self._points(depth=True)
        return {
            "share": (self._chosen[at] / self._rows).tolist(),
            "threshold": self._thresholds[at].tolist(),
            "precision": (self._true[at] / self._chosen[at]).tolist(),
            "recall": _share(self._true[at], self._positives).tolist(),
        }


def _share(part: np.ndarray, whole: int) -> np.ndarray:
    return part / whole if whole else np.zeros(len(part))


def ks(y: np.ndarray, score: np.ndarray) -> tuple[float, dict[str, float]]:
    """Kolmogorov-Smirnov: the largest difference of true and false positive rate, and where it is."""
    false, true, thresholds = sk.roc_curve(y, score, drop_intermediate=False)
    at = int(np.argmax(true - false))
    best = float(true[at] - false[at])
    # the first threshold of sklearn's curve is infinite, above every score
    return best, {"threshold": float(min(thresholds[at], score.max())), "tpr": float(true[at]), "fpr": float(false[at])}


def psi(expected: np.ndarray, actual: np.ndarray) -> tuple[float, dict[str, list[float]]]:
    """Population stability index of two sets of scores, over quantile bins of the first."""
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))

    def shares(scores: np.ndarray) -> np.ndarray:
        # a score on an edge belongs to the bin below it
        found = np.bincount(np.searchsorted(edges, scores, side="left"), minlength=len(edges) + 1) / len(scores)
        return np.maximum(found, PSI_EMPTY)

    first, second = shares(expected), shares(actual)
    each = (second - first) * np.log(second / first)
    return float(each.sum()), {
        "edges": edges.tolist(),
        "expected": first.tolist(),
        "actual": second.tolist(),
        "psi": each.tolist(),
    }
