"""Every value that a component receives, changed: an error that names the sender, or one that nobody could tell.

Each job is run by honest parties first. Then, of each kind of message in it, some are changed: most so that the
receiver's own check of the form lets them pass.
"""

from __future__ import annotations

import secrets
import zlib
from collections import Counter
from functools import lru_cache, partial, reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from airflow_provider_fate.job.parameters import (
    HeteroFeatureBinningParam,
    HeteroFeatureSelectionParam,
    HomoLRParam,
)
from airflow_provider_fate.job.parameters.hetero_linr import HeteroLinRParam
from airflow_provider_fate.job.parameters.hetero_lr import HeteroLRParam
from airflow_provider_fate.job.parameters.hetero_poisson import HeteroPoissonParam
from airflow_provider_fate.job.parameters.intersect import IntersectParam
from airflow_provider_fate.job.parameters.secure_add_example import SecureAddExampleParam
from airflow_provider_fate.job.parameters.secureboost import HeteroSecureBoostParam
from airflow_provider_fate.runtime.components.hetero_feature_binning import HeteroFeatureBinning
from airflow_provider_fate.runtime.components.hetero_feature_selection import HeteroFeatureSelection
from airflow_provider_fate.runtime.components.hetero_linr import HeteroLinR
from airflow_provider_fate.runtime.components.hetero_lr import HeteroLR
from airflow_provider_fate.runtime.components.hetero_poisson import HeteroPoisson
from airflow_provider_fate.runtime.components.hetero_secureboost import HeteroSecureBoost
from airflow_provider_fate.runtime.components.homo_lr import HomoLR
from airflow_provider_fate.runtime.components.intersection import Intersection
from airflow_provider_fate.runtime.components.linear import component as linear_component
from airflow_provider_fate.runtime.components.secure_add_example import SecureAddExample
from airflow_provider_fate.runtime.federation import wire
from tests.fuzzing import cases, changed, recipes, times
from tests.unit.components.hostile import TIME, Kind, Part, Seen, Table, attack, play, record
from tests.unit.components.lr_parties import ARBITER, GUEST, HOST
from tests.unit.components.running import component, table
from tests.watching import printed, watched

PAIR = (GUEST, HOST)
#: cases of each kind of message, for its check alone and in a job
CHECKS, CASES = 60, 3
ROWS = 40
WEAK = {"method": "OU", "key_length": 1024, "allow_weak_key": True}
PAILLIER = {"method": "Paillier", "key_length": 1024}


def data(y: Any = None, partitions: int = 1, homo: bool = False, label: bool = True) -> dict[Any, Any]:
    """Some rows: two columns at the guest and three at the host."""
    random = np.random.default_rng(5)
    x = random.normal(size=(ROWS, 5))
    labels = (x[:, 0] + x[:, 3] > 0).astype(float) if y is None else y(x)
    ids = [f"u{number}" for number in range(ROWS)]
    if homo:
        return {
            party: table(ids, x[some], labels[some], partitions)
            for party, some in zip(PAIR, (slice(None), slice(None, None, -1)), strict=True)
        }
    return {
        GUEST: table(ids, x[:, :2], labels if label else None, partitions),
        HOST: table(ids, x[:, 2:], None, partitions, ["z0", "z1", "z2"]),
    }


def fits(
    kind: Any,
    parameters: Any,
    rows: dict[Any, Any],
    name: str = "train_data",
    models: Any = None,
    parties: tuple[Any, ...] = PAIR,
) -> dict[Any, Part]:
    """A component's ``fit`` at every party."""

    def part(party: Any, federation: Any) -> Any:
        inputs = {name: rows[party]} if party in rows else {}
        return component(kind, parameters, party, None, federation).fit(inputs, (models or {}).get(party, {}))

    return {party: partial(part, party) for party in parties}


def predicts(kind: Any, parameters: Any, learning: dict[Any, Part]) -> dict[Any, Part]:
    """A component's ``predict`` at guest and host, of what was learnt before."""
    learnt, rows = play(learning), data()

    def part(party: Any, federation: Any) -> Any:
        return component(kind, parameters, party, None, federation).predict({"data": rows[party]}, learnt[party].model)

    return {party: partial(part, party) for party in PAIR}


def linear(kind: Any, of: Any, y: Any = None, **given: Any) -> dict[Any, Part]:
    rows = data(y, given.pop("partitions", 1))
    own = of(**{"max_iter": 2, "learning_rate": 0.1, "tol": 0, "init_param": {"init_method": "zeros"}, **given})
    return fits(kind, own, rows, parties=(*PAIR, ARBITER))


def linear_prediction() -> dict[Any, Part]:
    own = HeteroLRParam(max_iter=1, encrypt_param=PAILLIER)
    return predicts(HeteroLR, own, linear(HeteroLR, HeteroLRParam, encrypt_param=PAILLIER))


def homo() -> dict[Any, Part]:
    own = HomoLRParam(max_iter=2, learning_rate=0.1, init_param={"init_method": "zeros"})
    return fits(HomoLR, own, data(homo=True), parties=(*PAIR, ARBITER))


def boosting(y: Any = None, partitions: int = 1, **given: Any) -> dict[Any, Part]:
    own = HeteroSecureBoostParam(
        **{"encrypt_param": WEAK, "tol": 0, "num_trees": 1, "tree_param": {"max_depth": 2}, "bin_num": 5, **given}
    )
    return fits(HeteroSecureBoost, own, data(y, partitions))


def sampled_boosting() -> dict[Any, Part]:
    """Some of the rows in each tree, and other rows to validate with."""
    rows = data()
    own = HeteroSecureBoostParam(
        encrypt_param=WEAK, tol=0, num_trees=1, tree_param={"max_depth": 2}, bin_num=5, run_goss=True, top_rate=0.4,
        other_rate=0.4, validation_freqs=1,
    )  # fmt: skip

    def part(party: Any, federation: Any) -> Any:
        inputs = {"train_data": rows[party], "validate_data": rows[party]}
        return component(HeteroSecureBoost, own, party, None, federation).fit(inputs, {})

    return {party: partial(part, party) for party in PAIR}


def boosting_prediction() -> dict[Any, Part]:
    own = HeteroSecureBoostParam(encrypt_param=WEAK, tol=0, num_trees=2, tree_param={"max_depth": 2}, bin_num=5)
    return predicts(HeteroSecureBoost, own, fits(HeteroSecureBoost, own, data()))


def binning(**given: Any) -> dict[Any, Part]:
    return fits(HeteroFeatureBinning, HeteroFeatureBinningParam(bin_num=5, **given), data(), "data")


def selection() -> dict[Any, Part]:
    learnt = play(binning())
    models = {party: {"isometric_model": learnt[party].model} for party in PAIR}
    own = HeteroFeatureSelectionParam(
        filter_methods=["iv_value_thres", "iv_top_k"],
        iv_value_param={"value_threshold": 0.01},
        iv_top_k_param={"k": 3, "local_only": False},
    )
    return fits(HeteroFeatureSelection, own, data(), "data", models)


def intersection(**given: Any) -> dict[Any, Part]:
    rows = {GUEST: table([f"u{n}" for n in range(20)]), HOST: table([f"u{n}" for n in range(10, 35)])}
    return fits(Intersection, IntersectParam(**given), rows, "data")


def counted(x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(3).poisson(np.exp(0.3 * x[:, 0])).astype(float)


def three(x: np.ndarray) -> np.ndarray:
    return np.argmax(x[:, [0, 2, 3]], axis=1).astype(float)


JOBS: dict[str, Any] = {
    "Intersection": intersection,
    "Intersection, cardinality": partial(intersection, cardinality_only=True, sync_cardinality=True),
    "HeteroLR, BFV": partial(linear, HeteroLR, HeteroLRParam, early_stop="diff"),
    "HeteroLR, Paillier": partial(
        linear, HeteroLR, HeteroLRParam, encrypt_param=PAILLIER, validation_freqs=1, max_iter=1
    ),
    "HeteroLR, one against the rest": partial(linear, HeteroLR, HeteroLRParam, three, max_iter=1),
    "HeteroLR, prediction": linear_prediction,
    "HeteroLR, cross validation": partial(
        linear, HeteroLR, HeteroLRParam, max_iter=1, cv_param={"need_cv": True, "n_splits": 2}
    ),
    "HeteroLinR": partial(linear, HeteroLinR, HeteroLinRParam, lambda x: x[:, 0] + x[:, 3], early_stop="diff"),
    "HeteroPoisson": partial(linear, HeteroPoisson, HeteroPoissonParam, counted),
    "HomoLR": homo,
    "HeteroSecureBoost, OU": boosting,
    "HeteroSecureBoost, Paillier": partial(boosting, three, 2, encrypt_param={**WEAK, "method": "Paillier"}),
    "HeteroSecureBoost, GOSS and validation": sampled_boosting,
    "HeteroSecureBoost, prediction": boosting_prediction,
    "HeteroFeatureBinning": binning,
    "HeteroFeatureBinning, optimal": partial(
        binning, method="optimal", optimal_binning_param={"metric_method": "iv", "init_bin_nums": 20}
    ),
    "HeteroFeatureSelection": selection,
    "SecureAddExample": partial(fits, SecureAddExample, SecureAddExampleParam(data_num=20), {}),
}  # fmt: skip


#: whose messages are those of others
LONG_ONLY = ("HeteroLR, one against the rest",)


def passes(seen: Seen, value: Any) -> bool:
    """Whether the receiver's check lets a value pass; what it says of another is fit for a log."""
    try:
        seen.check(value)
    except ValueError as error:
        printed(error)
        return False
    return True


def apply(value: Any, recipe: Any) -> Any:
    return changed(recipe, value)


def alike(one: Any, other: Any) -> bool:
    try:
        return b"".join(wire.encode(one)) == b"".join(wire.encode(other))
    except (TypeError, ValueError):
        return False


def check_alone(some: list[Seen], number: int) -> None:
    """The receiver's check of a message passes, or raises a ValueError, whatever there is to check."""

    @seed(number)
    @cases(CHECKS)
    @given(st.data())
    def checked(draw: st.DataObject) -> None:
        one = draw.draw(st.sampled_from(some))
        with watched(5, 300):
            passes(one, changed(draw.draw(recipes(one.value)), one.value))

    checked()


def check_in_job(parts: dict[Any, Part], kind: Kind, some: list[Seen], ended: Table, number: int) -> None:
    """All parties end, those who are honest with an error of ours if with any."""

    @seed(number)
    @cases(CASES)
    @given(st.data())
    def played(draw: st.DataObject) -> None:
        one = draw.draw(st.sampled_from(some))
        for _ in range(12):
            steps = draw.draw(st.lists(recipes(one.value), min_size=1, max_size=3))
            other = reduce(apply, steps, one.value)
            if passes(one, other) and not alike(other, one.value):
                break
        with watched(TIME + 5, 500):
            ended.ends[kind][attack(parts, kind, one.tag, partial(reduce, apply, steps))] += 1

    played()


@pytest.mark.parametrize("name", [name for name in JOBS if name not in LONG_ONLY or times() > 1])
def test_values_that_a_peer_changes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # a key takes longer to make than the rest of a job
    monkeypatch.setattr(linear_component, "generate", lru_cache(maxsize=None)(linear_component.generate))
    parts = JOBS[name]()
    ended = Table()
    errors = []
    for kind, seen in record(parts).items():
        some = [seen[0], seen[-1]]  # which may differ in form
        # other cases for each kind, and the same in every run
        number = zlib.crc32(f"{name}, {kind}".encode()) if times() == 1 else secrets.randbits(32)
        try:
            check_alone(some, number)
            check_in_job(parts, kind, some, ended, number)
        except Exception as error:
            error.add_note(f"{name}: {kind}, seed {number}")
            errors.append(error)
    print(f"{name}, {sum(map(Counter.total, ended.ends.values()))} cases in a job:\n{ended}")
    if errors:
        raise ExceptionGroup(f"{name}: {len(errors)} kinds of messages", errors)
