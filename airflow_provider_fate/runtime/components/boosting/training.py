"""The rounds of a training at guest and hosts: trees, loss, validation, the guest's verdict, a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ProtocolError
from airflow_provider_fate.job.parameters.secureboost import HeteroSecureBoostParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.boosting.guest import GuestGrower
from airflow_provider_fate.runtime.components.boosting.host import HostGrower
from airflow_provider_fate.runtime.components.boosting.objectives import Objective
from airflow_provider_fate.runtime.components.boosting.plan import Plan
from airflow_provider_fate.runtime.components.boosting.sampling import columns_of_tree, one_side, private_seed
from airflow_provider_fate.runtime.components.boosting.tree import HostTree, Tree
from airflow_provider_fate.runtime.components.linear.training import due
from airflow_provider_fate.runtime.components.linear.validation import best_of, stale
from airflow_provider_fate.runtime.data import Rows
from airflow_provider_fate.runtime.federation.checks import DictOf, Integer, boolean

#: what the guest says after a round: whether it was the last, and how many rounds the model has
VERDICT = DictOf({"stop": boolean, "rounds": Integer(1, 1 << 40)})


@dataclass
class Boosted:
    """One party's part of a model, while and after it is trained.

    :param rounds: of each round its trees, one a class
    :param losses: mean loss after each round, at the guest
    :param metrics: of each validation, at the guest: round (from 1) and values by name
    :param kept: how many rounds the model has, once training has ended
    """

    rounds: list[list[Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    converged: bool = False
    stopped: bool = False
    kept: int = 0

    def json(self) -> dict[str, Any]:
        return {
            "rounds": [[tree.json() for tree in trees] for trees in self.rounds],
            "losses": self.losses,
            "metrics": [[number, values] for number, values in self.metrics],
            "converged": self.converged,
            "stopped": self.stopped,
            "kept": self.kept,
        }

    @classmethod
    def of(cls, kind: type[Tree] | type[HostTree], content: dict[str, Any]) -> Boosted:
        return cls(
            [[kind.of(tree) for tree in trees] for trees in content["rounds"]],
            list(content["losses"]),
            [(number, values) for number, values in content["metrics"]],
            content["converged"],
            content["stopped"],
            content["kept"],
        )

    @property
    def best(self) -> list[list[Any]]:
        """The rounds that the model has."""
        return self.rounds[: self.kept]


def plan_of(settings: HeteroSecureBoostParam, ctx: Context) -> Plan:
    return Plan(
        settings.boosting_strategy,
        ctx.federation.guest,
        ctx.federation.hosts,
        settings.tree_param.max_depth,
        settings.complete_secure,
        settings.tree_num_per_party,
        settings.guest_depth,
        settings.host_depth,
    )


class Training:
    """What guest and hosts have in common.

    :param width: how many columns this party has
    :param classes: trees of a round
    :param boosted: the rounds of an earlier model to go on from
    """

    def __init__(
        self, ctx: Context, settings: HeteroSecureBoostParam, width: int, classes: int, boosted: Boosted
    ) -> None:
        self.ctx = ctx
        self.settings = settings
        self.width = width
        self.classes = classes
        self.boosted = boosted
        self.plan = plan_of(settings, ctx)
        self.first = len(boosted.rounds)
        self.last = self.first + settings.num_trees
        self.seed = ctx.seed if settings.random_seed is None else settings.random_seed

    def columns(self, round_: int, class_: int) -> list[int]:
        return columns_of_tree(
            self.width, self.settings.subsample_feature_rate, self.seed, self.ctx.party, round_, class_
        )

    def levels(self, round_: int) -> list[frozenset[Party]]:
        return self.plan.levels(round_)

    def needs_hosts(self) -> bool:
        """Whether any tree uses hosts' columns."""
        hosts = set(self.ctx.federation.hosts)
        return any(hosts & level for round_ in range(self.first, self.last) for level in self.levels(round_))

    def validates(self, round_: int) -> bool:
        """Whether there is a validation after a round, counted from 0."""
        return due(self.settings.validation_freqs, round_ + 1)


class GuestTraining(Training):
    """The guest's rounds.

    :param y: labels, those of classes as 0, 1, ..., shape (rows,)
    :param scores: of all rows before the first round, shape (rows, columns)
    :param validate: metrics after so many rounds, given the scores of the training rows
    :param rows: the training rows
    """

    def __init__(
        self,
        ctx: Context,
        settings: HeteroSecureBoostParam,
        width: int,
        objective: Objective,
        boosted: Boosted,
        grower: Callable[[bool], GuestGrower],
        y: np.ndarray,
        scores: np.ndarray,
        validate: Callable[[str, Sequence[list[Tree]], np.ndarray], dict[str, float]],
        rows: Rows,
    ) -> None:
        super().__init__(ctx, settings, width, objective.columns, boosted)
        self.objective = objective
        self.y = y
        self.scores = scores
        self.validate = validate
        self.goss_seed = private_seed(self.seed, y, rows) if settings.run_goss else []
        self._grower = grower

    def run(self) -> np.ndarray:
        """Train, and give the scores of the training rows by the rounds that the model has."""
        boosted, kept = self.boosted, self.scores
        if self.ctx.checkpoint.step is not None:
            arrays, meta = self.ctx.checkpoint.load()
            self.boosted = boosted = Boosted.of(Tree, meta)
            self.scores, kept = arrays["scores"], arrays["best"]
            self.ctx.log(f"going on after round {len(boosted.rounds)}")
        grower = self._grower(self.needs_hosts())
        while not boosted.stopped:
            round_ = len(boosted.rounds)
            boosted.rounds.append(self._trees(grower, round_))
            boosted.losses.append(float(np.mean(self.objective.losses(self.y, self.scores))))
            if self.validates(round_):
                metrics = self.validate(f"{round_}/validation", boosted.rounds, self.scores)
                boosted.metrics.append((round_ + 1, metrics))
            if self._decide(round_):
                kept = self.scores.copy()
            verdict = {"stop": boosted.stopped, "rounds": boosted.kept}
            self.ctx.federation.send(self.ctx.federation.hosts, f"{round_}/verdict", verdict)
            self._report(round_)
            self.ctx.checkpoint.save(round_ + 1, {"scores": self.scores, "best": kept}, boosted.json())
        return kept

    def _trees(self, grower: GuestGrower, round_: int) -> list[Tree]:
        settings = self.settings
        g, h = self.objective.gradients(self.y, self.scores)
        sampled = None
        if settings.run_goss:
            sampled, factor = one_side(g, settings.top_rate, settings.other_rate, self.goss_seed, round_)
            g, h = g * factor[:, None], h * factor[:, None]
        trees, levels = [], self.levels(round_)
        for class_ in range(self.classes):
            columns = self.columns(round_, class_)
            tag = f"{round_}/{class_}"
            tree, leaf = grower.grow(tag, levels, columns, g[:, class_], h[:, class_], sampled)
            weights = np.array([node.weight for node in tree.nodes]) * settings.learning_rate
            self.scores[:, class_] += weights[leaf]
            trees.append(tree)
        return trees

    def _decide(self, round_: int) -> bool:
        """Whether training ends here; and whether this is the best round so far."""
        boosted, settings = self.boosted, self.settings
        losses = boosted.losses
        boosted.converged = (
            settings.n_iter_no_change and len(losses) > 1 and abs(losses[-2] - losses[-1]) < settings.tol
        )
        boosted.stopped = boosted.converged or round_ + 1 >= self.last
        boosted.kept = round_ + 1
        if settings.early_stopping_rounds is not None and boosted.metrics:
            enough = stale(boosted.metrics, settings.early_stopping_rounds, settings.use_first_metric_only)
            boosted.stopped = boosted.stopped or enough
            boosted.kept = best_of(boosted.metrics)
        return boosted.kept == round_ + 1

    def _report(self, round_: int) -> None:
        boosted = self.boosted
        text = f"round {round_ + 1} of {self.last}, loss {boosted.losses[-1]:.6g}"
        self.ctx.record("loss", boosted.losses[-1], step=round_ + 1)
        if boosted.metrics and boosted.metrics[-1][0] == round_ + 1:
            for metric, value in boosted.metrics[-1][1].items():
                text += f", {metric} {value:.4f}"
                self.ctx.record(metric, value, step=round_ + 1)
        if boosted.stopped:
            text += ", converged" if boosted.converged else ", stopped"
        self.ctx.log(text)


class HostTraining(Training):
    """A host's rounds.

    :param validate: sends what the guest needs for a validation after so many rounds
    """

    def __init__(
        self,
        ctx: Context,
        settings: HeteroSecureBoostParam,
        width: int,
        classes: int,
        boosted: Boosted,
        grower: Callable[[bool], HostGrower],
        validate: Callable[[str, Sequence[list[HostTree]]], None],
    ) -> None:
        super().__init__(ctx, settings, width, classes, boosted)
        self.validate = validate
        self._grower = grower

    def run(self) -> None:
        boosted = self.boosted
        if self.ctx.checkpoint.step is not None:
            self.boosted = boosted = Boosted.of(HostTree, self.ctx.checkpoint.load()[1])
            self.ctx.log(f"going on after round {len(boosted.rounds)}")
        grower, federation = self._grower(self.needs_hosts()), self.ctx.federation
        while not boosted.stopped:
            round_ = len(boosted.rounds)
            levels = self.levels(round_)
            trees = [
                grower.grow(f"{round_}/{class_}", levels, self.columns(round_, class_))
                for class_ in range(self.classes)
            ]
            boosted.rounds.append(trees)
            if self.validates(round_):
                self.validate(f"{round_}/validation", boosted.rounds)
            verdict = federation.receive(federation.guest, f"{round_}/verdict", VERDICT)
            boosted.stopped, boosted.kept = verdict["stop"], min(verdict["rounds"], len(boosted.rounds))
            if not boosted.stopped and round_ + 1 >= self.last:
                rounds = self.settings.num_trees
                guest = federation.guest
                raise ProtocolError(str(guest), f"{guest} goes on after {rounds} rounds of num_trees")
            own = sum(len(tree.splits) for tree in trees)
            self.ctx.log(f"round {round_ + 1} of {self.last}, {own} splits by own columns")
            self.ctx.checkpoint.save(round_ + 1, {}, boosted.json())
