"""Who may split at which level of which tree: FATE's ``boosting_strategy`` and ``complete_secure``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_fate.job.party import Party


@dataclass(frozen=True)
class Plan:
    """The levels of every round's trees. All parties make the same one from common parameters.

    * ``std``: everybody at each level;
    * ``mix``: whole trees of one party's columns: ``per_party`` rounds of the guest's, as many of each host's, ...;
    * ``layered``: the host at the first ``host_depth`` levels, the guest at the ``guest_depth`` that follow.

    :param secure: so many first rounds (of ``std`` and ``layered``) use the guest's columns only
    """

    strategy: str
    guest: Party
    hosts: Sequence[Party]
    depth: int
    secure: int = 0
    per_party: int = 1
    guest_depth: int = 2
    host_depth: int = 3

    def levels(self, round_: int) -> list[frozenset[Party]]:
        """Of each level of a tree, whose columns may split its nodes.

        :param round_: counted from 0
        """
        if self.strategy == "mix":
            turns = [self.guest, *self.hosts]
            return [frozenset({turns[round_ // self.per_party % len(turns)]})] * self.depth
        if round_ < self.secure:
            return [frozenset({self.guest})] * self.depth
        if self.strategy == "layered":
            return [frozenset(self.hosts)] * self.host_depth + [frozenset({self.guest})] * self.guest_depth
        return [frozenset({self.guest, *self.hosts})] * self.depth
