"""How a party's part of the trees is stored: JSON that a person can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_fate.errors import DataError
from airflow_provider_fate.runtime.components.base import check_model
from airflow_provider_fate.runtime.components.boosting.binned import Missing
from airflow_provider_fate.runtime.components.boosting.objectives import Objective, objective
from airflow_provider_fate.runtime.components.boosting.training import Boosted
from airflow_provider_fate.runtime.components.boosting.tree import HostTree, Split, Tree
from airflow_provider_fate.runtime.data import Model, Schema

FORMAT = 1


@dataclass
class TreeModel:
    """A fitted model, as either side has it.

    :param features: names of the party's own columns
    :param classes: labels of a classifier, ascending; empty for a regression, and at a host
    :param objective: name and parameters
    :param start: the score of every row before the first tree
    :param per_round: trees of a round
    """

    module: str
    features: tuple[str, ...]
    boosted: Boosted
    missing: Missing
    per_round: int
    classes: tuple[int | float, ...] = ()
    objective_name: str = ""
    objective_params: list[float] | None = None
    start: float = 0.0
    learning_rate: float = 1.0
    importance_by: str = "split"

    @property
    def objective(self) -> Objective:
        return objective(self.objective_name, self.objective_params, len(self.classes))

    def flat(self) -> list[tuple[int, Any]]:
        """All trees that count, each with its class."""
        return flat(self.boosted.best)

    def stored(self, guest: bool) -> Model:
        boosted = self.boosted
        meta: dict[str, Any] = {
            "format": FORMAT,
            "module": self.module,
            "features": list(self.features),
            "use_missing": self.missing.used,
            "zero_as_missing": self.missing.zero,
            "trees_per_round": self.per_round,
            "rounds": boosted.kept,
        }
        if guest:
            meta |= {
                "objective": {"name": self.objective_name, "params": self.objective_params},
                "classes": list(self.classes),
                "start": self.start,
                "learning_rate": self.learning_rate,
                "loss_history": boosted.losses,
                "validation": [{"round": number, **values} for number, values in boosted.metrics],
                "is_converged": boosted.converged,
            }
        meta["feature_importance_type"] = self.importance_by
        meta["feature_importance"] = self.importance()
        meta["trees"] = [
            {"round": round_, "class": self.classes[class_] if len(self.classes) > 2 else None, "nodes": tree.json()}
            for round_, trees in enumerate(boosted.best)
            for class_, tree in enumerate(trees)
        ]
        return Model(meta)

    def importance(self) -> list[dict[str, Any]]:
        """How often the party's own columns split a node and, at the guest, the sum of the gains; most first."""
        found: dict[str, list[float]] = {}
        for split, gain in self._splits():
            entry = found.setdefault(split.feature, [0, 0.0])
            entry[0] += 1
            entry[1] += gain or 0.0
        guest = any(isinstance(tree, Tree) for _, tree in self.flat())
        by = 1 if self.importance_by == "gain" and guest else 0
        order = sorted(found.items(), key=lambda item: (-item[1][by], self.features.index(item[0])))
        return [{"feature": name, "split": split, **({"gain": gain} if guest else {})} for name, (split, gain) in order]

    def _splits(self) -> Iterable[tuple[Split, float | None]]:
        for _, tree in self.flat():
            if isinstance(tree, HostTree):
                yield from ((split, None) for split in tree.splits.values())
            else:
                yield from ((node.split, node.gain) for node in tree.nodes if node.split is not None)

    @classmethod
    def load(cls, name: str, module: str, model: Model, schema: Schema, guest: bool) -> TreeModel:
        """A stored model, for rows of ``schema``.

        :param name: of the component
        :raises DataError: it is another module's, or the rows lack a column of it
        """
        meta = check_model(name, module, model, FORMAT)
        missing = [feature for feature in meta["features"] if feature not in schema.features]
        if missing:
            raise DataError(
                f"{name}: the data lacks {len(missing)} of the model's features: {', '.join(missing[:5])}; it has "
                f"{', '.join(schema.features[:10])}"
            )
        kind = Tree if guest else HostTree
        per_round = int(meta["trees_per_round"])
        try:
            trees = [kind.of(tree["nodes"]) for tree in meta["trees"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{name}: the stored model is damaged: {error}") from None
        rounds = [trees[start : start + per_round] for start in range(0, len(trees), per_round)]
        loaded = cls(
            module,
            tuple(meta["features"]),
            Boosted(rounds, kept=len(rounds)),
            Missing(meta["use_missing"], meta["zero_as_missing"]),
            per_round,
            importance_by=meta.get("feature_importance_type", "split"),
        )
        if guest:
            loaded.classes = tuple(meta["classes"])
            loaded.objective_name, loaded.objective_params = meta["objective"]["name"], meta["objective"]["params"]
            loaded.start, loaded.learning_rate = float(meta["start"]), float(meta["learning_rate"])
        return loaded


def flat(rounds: Sequence[list[Any]]) -> list[tuple[int, Any]]:
    """The trees of some rounds, each with its class."""
    return [(class_, tree) for trees in rounds for class_, tree in enumerate(trees)]
