"""FATE's names of metrics, and the further names that it takes for some of them."""

from __future__ import annotations

from airflow_provider_fate.job.names import did_you_mean, short

BINARY = (
    "auc", "ks", "lift", "gain", "accuracy", "precision", "recall", "roc", "confusion_mat", "psi", "f1_score",
    "quantile_pr",
)  # fmt: skip
MULTI = ("accuracy", "precision", "recall")
REGRESSION = (
    "explained_variance", "mean_absolute_error", "mean_squared_error", "median_absolute_error", "r2_score",
    "root_mean_squared_error",
)  # fmt: skip
CLUSTERING = (
    "jaccard_similarity_score", "fowlkes_mallows_score", "adjusted_rand_score", "davies_bouldin_index",
    "distance_measure", "contingency_matrix",
)  # fmt: skip
#: Not among the defaults, as it is only defined for values above -1.
MSLE = "mean_squared_log_error"

#: Metrics that are allowed for each type of evaluation.
ALLOWED: dict[str, tuple[str, ...]] = {"binary": BINARY, "multi": MULTI, "regression": (*REGRESSION, MSLE)}
#: Metrics that are computed where none is named.
DEFAULT: dict[str, tuple[str, ...]] = {"binary": BINARY, "multi": MULTI, "regression": REGRESSION}
#: Metrics of one number, that a validation during training can watch.
SINGLE = ("auc", "ks", "accuracy", "precision", "recall", "f1_score", *REGRESSION, MSLE)
#: Metrics of more than one number.
CURVES = tuple(name for name in BINARY if name not in SINGLE)

ALIASES: dict[str, str] = {
    "l1": "mean_absolute_error",
    "mae": "mean_absolute_error",
    "regression_l1": "mean_absolute_error",
    "l2": "mean_squared_error",
    "mse": "mean_squared_error",
    "regression": "mean_squared_error",
    "regression_l2": "mean_squared_error",
    "l2_root": "root_mean_squared_error",
    "rmse": "root_mean_squared_error",
    "msle": MSLE,
    "median_ae": "median_absolute_error",
    "r2": "r2_score",
    "acc": "accuracy",
    "f1": "f1_score",
    "dbi": "davies_bouldin_index",
    "fmi": "fowlkes_mallows_score",
    "ri": "adjusted_rand_score",
    "jaccard": "jaccard_similarity_score",
}
_ALL = tuple(dict.fromkeys((*BINARY, *MULTI, *REGRESSION, MSLE, *CLUSTERING)))


def full_names(value: list[str], allowed: tuple[str, ...], task: str) -> list[str]:
    """FATE's full names of metrics given by any of their names, each once, in the order given.

    :param allowed: full names that make sense for the task
    :param task: the task, for the error
    :raises ValueError: for an unknown metric, and one that is not for this task
    """
    names: list[str] = []
    for item in value:
        name = ALIASES.get(item.lower(), item.lower())
        if name not in _ALL:
            raise ValueError(f"{short(item)} is not a metric; {did_you_mean(item, allowed)}")
        if name not in allowed:
            raise ValueError(f"{name} is not a metric for {task}; expected among {', '.join(allowed)}")
        if name not in names:
            names.append(name)
    return names
