"""What HeteroSecureBoost refuses: parameters, data, models, and what a peer sends."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pytest

from airflow_provider_fate.errors import ConfigError, CryptoError, DataError, FateError, ProtocolError
from airflow_provider_fate.job.parameters.base import validate
from airflow_provider_fate.job.parameters.secureboost import HeteroFastSecureBoostParam, HeteroSecureBoostParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.job.sources import render
from airflow_provider_fate.runtime.components.boosting import growth
from airflow_provider_fate.runtime.components.boosting.fixed import Derivatives, Packing
from airflow_provider_fate.runtime.components.boosting.guest import _unpack
from airflow_provider_fate.runtime.components.boosting.histograms import Adding, Carried, attach, encrypted_sums
from airflow_provider_fate.runtime.components.boosting.sampling import private_seed
from airflow_provider_fate.runtime.components.boosting.tree import Tree
from airflow_provider_fate.runtime.crypto.additive import additive, generate
from airflow_provider_fate.runtime.data import Model, Rows
from airflow_provider_fate.runtime.local_engine import LocalEngine
from tests.unit.components.boost_parties import GUEST, HOST, HOST2, Run, hetero, parameters, rows

FEW: dict[str, Any] = {"bin_num": 6, "num_trees": 1, "tree_param": {"max_depth": 2}}


def data(count: int = 60, hosts: int = 1) -> dict[Party, dict[str, Rows]]:
    random = np.random.default_rng(1)
    x = random.normal(size=(count, 4))
    y = (x[:, 0] + 2 * x[:, 3] > 0).astype(float)
    found = {GUEST: {"train_data": rows(x[:, :2], y)}, HOST: {"train_data": rows(x[:, 2:], None, 2, "z")}}
    return found if hosts == 1 else {**found, HOST2: {"train_data": rows(x[:, 2:], None, 2, "w")}}


def refused(run: Run, kind: type[FateError], match: str, at: Party = GUEST) -> None:
    """The run ends with this error at that party."""
    with pytest.raises(FateError) as caught:
        run.fit()
    assert isinstance(caught.value, kind), caught.value
    assert match in str(caught.value)
    assert f"at {at}" in caught.value.__notes__


# --- parameters -----------------------------------------------------------------------------------------------------


def read(given: dict[str, Any], model: Any = HeteroSecureBoostParam) -> tuple[Any, list[str]]:
    return validate(model, given, lambda loc: render("P", loc))


@pytest.mark.parametrize(
    ("given", "path", "says"),
    [
        ({"num_trees": 0}, "P.num_trees", "greater than or equal to 1"),
        ({"learning_rate": 0}, "P.learning_rate", "greater than 0"),
        ({"bin_num": 1}, "P.bin_num", "greater than or equal to 2"),
        ({"tree_param": {"max_depht": 3}}, "P.tree_param.max_depht", "did you mean max_depth?"),
        ({"tree_param": {"max_depth": 21}}, "P.tree_param.max_depth", "less than or equal to 20"),
        ({"tree_param": {"criterion_params": [-1, 0]}}, "P.tree_param.criterion_params[0]", "greater than"),
        ({"tree_param": {"criterion_params": {"l2": 1}}}, "P.tree_param.criterion_params", "the keys l1 and l2"),
        ({"tree_param": {"criterion_params": []}}, "P.tree_param.criterion_params", "at least 1"),
        ({"objective_param": {"objective": "mse"}}, "P.objective_param.objective", "expected 'cross_entropy'"),
        ({"objective_param": {"objective": "lse"}}, "P", "expected cross_entropy for a classification"),
        ({"task_type": "regression"}, "P", "expected lse, lae, huber"),
        (
            {"task_type": "regression", "objective_param": {"objective": "huber"}},
            "P.objective_param",
            "huber needs its number",
        ),
        (
            {"task_type": "regression", "objective_param": {"objective": "tweedie", "params": [2.0]}},
            "P.objective_param",
            "in [1, 2)",
        ),
        ({"top_rate": 0.6, "other_rate": 0.4}, "P", "a sum below 1"),
        ({"early_stopping_rounds": 2}, "P", "needs validation_freqs"),
        ({"metrics": ["auc", "aucc"], "validation_freqs": 1}, "P.metrics", "is not a metric"),
        ({"encrypt_param": {"method": None}}, "P.encrypt_param.method", "would show the labels"),
        ({"multi_mode": "multi_output"}, "P.multi_mode", "known and not there yet"),
        ({"EINI_inference": True}, "P.EINI_inference", "known and not there yet"),
        ({"boosting_strategy": "layerd"}, "P.boosting_strategy", "did you mean layered?"),
    ],
    ids=str,
)
def test_parameters(given: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(given)
    assert caught.value.path == path and says in str(caught.value)


def test_what_fate_s_examples_set() -> None:
    found, notices = read(
        {
            "task_type": "classification",
            "objective_param": {"objective": "cross_entropy"},
            "num_trees": 3,
            "validation_freqs": 1,
            "encrypt_param": {"method": "iterativeAffine"},
            "tree_param": {"max_depth": 3, "criterion_params": [0.5, 0]},
            "complete_secure": True,
            "cipher_compress_error": 8,
            "use_missing": True,
        }
    )
    assert found.complete_secure == 1 and found.encrypt_param.method == "OU" and found.tree_param.l2 == 0.5
    assert any("replaced by OU" in notice for notice in notices)
    assert any(notice.startswith("P.cipher_compress_error has no effect") for notice in notices)
    fast, _ = read({"work_mode": "layered", "guest_depth": 1, "host_depth": 2}, HeteroFastSecureBoostParam)
    assert fast.boosting_strategy == "layered"
    assert read({}, HeteroFastSecureBoostParam)[0].boosting_strategy == "mix"
    assert read({"work_mode": "mix"})[0].boosting_strategy == "mix"
    assert read({"tree_param": {"use_missing": True}})[0].use_missing
    early = {"callbacks": ["EarlyStopping"], "validation_freqs": 1, "early_stopping_rounds": 2, "metrics": ["ks"]}
    found, _ = read({"callback_param": early})
    assert (found.validation_freqs, found.early_stopping_rounds, found.metrics) == (1, 2, ["ks"])


# --- data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "match"),
    [(None, "has no label"), (np.zeros(60), "1 distinct values"), (np.full(60, np.nan), "missing or infinite")],
)
def test_labels_that_are_none(label: np.ndarray | None, match: str) -> None:
    given = data()
    given[GUEST] = {"train_data": rows(np.ones((60, 2)), label)}
    refused(Run(parameters(**FEW), given), DataError, match)


def test_tweedie_needs_labels_above_zero() -> None:
    given = data()
    given[GUEST] = {"train_data": rows(np.ones((60, 2)), np.linspace(-1, 1, 60))}
    loss = {"objective": "tweedie", "params": [1.5]}
    refused(Run(parameters(**FEW, task_type="regression", objective_param=loss), given), DataError, "not negative")


@pytest.mark.parametrize("party", [GUEST, HOST])
@pytest.mark.parametrize(("value", "used", "match"), [(np.nan, False, "set use_missing"), (np.inf, True, "infinite")])
def test_values_that_are_none(party: Party, value: float, used: bool, match: str) -> None:
    given = data()
    block = given[party]["train_data"].blocks()[0]
    block.x[7, 1] = value
    refused(Run(parameters(**FEW, use_missing=used), given), DataError, match, party)


def test_other_rows() -> None:
    given = data()
    given[HOST] = {"train_data": rows(np.ones((59, 2)), None, 2, "z")}
    refused(Run(parameters(**FEW), given), DataError, "let it come from an Intersection")


def test_validation_data_at_one_party_only() -> None:
    given = data()
    given[GUEST]["validate_data"] = given[GUEST]["train_data"]
    refused(Run(parameters(**FEW), given), ConfigError, "validate_data")


def test_labels_that_training_does_not_have() -> None:
    given = data()
    given[GUEST]["validate_data"] = rows(np.ones((4, 2)), np.array([0.0, 1.0, 2.0, 1.0]))
    given[HOST]["validate_data"] = rows(np.ones((4, 2)), None, 2, "z")
    refused(Run(parameters(**FEW, validation_freqs=1), given), DataError, "labels that train_data does not have")


def test_layered_takes_one_host() -> None:
    run = Run(parameters(**FEW, boosting_strategy="layered"), data(hosts=2))
    with pytest.raises(ConfigError, match="one host only"):
        run.fit()


def test_too_few_rows_to_sample() -> None:
    refused(Run(parameters(**FEW, run_goss=True, top_rate=0.01), data()), ConfigError, "raise them")


def test_divergence_is_named() -> None:
    with pytest.raises(DataError, match="diverged"):
        Derivatives.of(np.array([1.0, np.inf]), np.ones(2), 20)


# --- models ---------------------------------------------------------------------------------------------------------


def test_models_that_do_not_fit() -> None:
    run = Run(parameters(**FEW), data()).fit()
    model = run.fitted[GUEST].model
    assert model is not None
    json.dumps(model.meta, allow_nan=False)
    given = {GUEST: {"data": rows(np.ones((5, 1)))}, HOST: {"data": rows(np.ones((5, 2)), None, 2, "z")}}
    with pytest.raises(DataError, match="lacks 1 of the model's features: x1"):
        run.predict(given)
    given[GUEST] = {"data": rows(np.ones((5, 2)))}
    run.fitted[GUEST].model = Model({**model.meta, "module": "HeteroFastSecureBoost"})
    with pytest.raises(DataError, match="expected a model of HeteroSecureBoost"):
        run.predict(given)
    broken = json.loads(json.dumps(model.meta))
    broken["trees"][0]["nodes"][0]["left"] = 0
    run.fitted[GUEST].model = Model(broken)
    with pytest.raises(DataError, match="damaged"):
        run.predict(given)
    strange = json.loads(json.dumps(model.meta).replace("host-10000", "host-1"))
    run.fitted[GUEST].model = Model(strange)
    with pytest.raises(DataError, match="nodes of host-1"):
        run.predict(given)
    run.fitted[GUEST].model = Model({**model.meta, "trees": model.meta["trees"] * 2})
    with pytest.raises(ProtocolError, match="expected an array of shape"):
        run.predict(given)


def test_models_to_go_on_from() -> None:
    first = Run(parameters(**FEW), data()).fit()
    models = {party: {"model": first.fitted[party].model} for party in (GUEST, HOST)}
    other = Run(parameters(**FEW, learning_rate=0.1), data(), models=models)
    refused(other, DataError, "another objective, learning_rate or other classes")
    with pytest.raises(DataError, match="another use_missing"):
        Run(parameters(**FEW, use_missing=True), data(), models=models).fit()
    refused(Run(parameters(**FEW), data(), models={GUEST: models[GUEST]}), DataError, "1 rounds at the guest and 0")


def test_a_tree_without_nodes() -> None:
    with pytest.raises(ValueError, match="no nodes"):
        Tree.of([])


# --- what peers send ------------------------------------------------------------------------------------------------


class Spoiled:
    """A party's federation that sends something else under some tags."""

    def __init__(self, federation: Any, ends: str, change: Callable[[Any], Any]) -> None:
        self._federation, self._ends, self._change = federation, ends, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._federation, name)

    def send(self, to: Any, tag: str, value: Any) -> None:
        self._federation.send(to, tag, self._change(value) if tag.endswith(self._ends) else value)


def with_(name: str, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {**value, name: change(value[name])}


def added(array: np.ndarray, number: int = 1) -> np.ndarray:
    return array + number


NONE = np.empty(0, np.int64)


def all_left(value: dict[str, Any]) -> dict[str, Any]:
    """All rows go left, and both children are open."""
    both = np.concatenate([value["left"], value["left"] + 1])
    return {**value, "bits": b"\xff" * len(value["bits"]), "open": both}


@pytest.mark.parametrize(
    ("sender", "ends", "change", "match"),
    [
        (GUEST, "public_key", lambda key: key[:-1], "the public key of guest-9999 is refused"),
        (GUEST, "public_key", lambda key: bytes(len(key)), "the public key of guest-9999 is refused"),
        (GUEST, "/start", with_("sampled", lambda _: b"\xff"), "sampled"),
        (GUEST, "/rows/0", lambda body: body[:-1], "bytes"),
        (GUEST, "/rows/0", lambda body: bytes(len(body)), "ciphertexts of guest-9999 cannot be used"),
        (GUEST, "/rows/0", lambda body: b"\xff" * len(body), "ciphertexts of guest-9999 cannot be used"),
        (GUEST, "/chosen", with_("nodes", added), "not open"),
        (GUEST, "/chosen", with_("ties", lambda ties: [added(tie, 1 << 40) for tie in ties]), "not offered"),
        (GUEST, "/0/next", with_("bits", lambda bits: bits + b"\0"), "another number of rows"),
        (GUEST, "/0/next", with_("left", lambda left: left - 1), "no tree"),
        (GUEST, "/0/next", with_("open", lambda nodes: nodes + 5), "no tree"),
        (GUEST, "/0/next", with_("left", lambda left: left + 500), "no tree"),
        (GUEST, "/0/next", lambda value: {**value, "nodes": NONE, "left": NONE}, "no tree"),
        (GUEST, "/0/next", all_left, "without rows"),
        (GUEST, "/verdict", lambda _: {"stop": 1, "rounds": 1}, "expected true or false"),
        (GUEST, "/verdict", with_("stop", lambda _: False), "goes on after 1 rounds of num_trees"),
        (HOST, "/offer", with_("splits", added), "not as many as it said"),
        (HOST, "/offer", with_("left", lambda left: left * 0), "cannot be used"),
        (HOST, "/offer", with_("left", lambda left: np.maximum(left - 7, 1)), "cannot be used"),
        (HOST, "/offer", with_("left", lambda left: np.full_like(left, 59)), "cannot be used"),
        (HOST, "/offer", with_("left", lambda left: left.astype(float)), "expected an array of int64"),
        (HOST, "/offer", with_("left", lambda left: np.ones(10**6, np.int64)), "at most"),
        (HOST, "/offer", with_("sums", lambda sums: sums + sums), "cannot be used"),
        (HOST, "/offer", with_("sums", lambda sums: sums[:-5]), "cannot be used"),
        (HOST, "/offer", with_("sums", lambda sums: b"\x07" * len(sums)), "cannot be used"),
        (HOST, "/taken", with_("taken", added), "not chosen"),
        (HOST, "/taken", with_("left", lambda bits: bytes(len(bits))), "rows of a node to the left"),
        (HOST, "/taken", with_("left", lambda bits: bits[:-1]), "bytes"),
        (HOST, "data", with_("features", lambda _: -1), "features"),
    ],
)
def test_what_a_peer_must_not_send(sender: Party, ends: str, change: Callable[[Any], Any], match: str) -> None:
    def wrap(party: Party, federation: Any) -> Any:
        return Spoiled(federation, ends, change) if party == sender else federation

    run = Run(parameters(**FEW), data(), wrap=wrap)
    with pytest.raises(ProtocolError, match=match) as caught:
        run.fit()
    assert str(sender) in str(caught.value)


@pytest.mark.parametrize(("compress", "bit"), [(True, -1), (False, -1), (False, 200)])
def test_sums_that_wrap_around_are_refused(compress: bool, bit: int) -> None:
    """A host that adds more than there is gets no decision on what it added, nor hears why."""

    def wrap(party: Party, federation: Any) -> Any:
        return Spoiled(federation, "/offer", spoil) if party == HOST else Peeking(federation)

    keys: list[bytes] = []

    class Peeking:
        def __init__(self, federation: Any) -> None:
            self._federation = federation

        def __getattr__(self, name: str) -> Any:
            return getattr(self._federation, name)

        def send(self, to: Any, tag: str, value: Any) -> None:
            if tag == "public_key":
                keys.append(value)
            self._federation.send(to, tag, value)

    def spoil(value: dict[str, Any]) -> dict[str, Any]:
        scheme = additive("OU", keys[0])
        bits = Packing(60, "classification").bits if compress else scheme.plain_bits
        number = scheme.packs(len(value["left"]), bits)
        large = scheme.encrypt([(1 << scheme.plain_bits) - 1 if bit < 0 else 1 << bit] * number)
        return {**value, "sums": large}

    with pytest.raises(ProtocolError) as caught:
        Run(parameters(**FEW, cipher_compress=compress), data(), wrap=wrap).fit()
    assert str(caught.value) == (
        "the sums of host-10000 cannot be used: they are not those of rows in the nodes that they are for"
    )


# --- what travels, and where ----------------------------------------------------------------------------------------


def test_messages_carry_no_thresholds_columns_labels_or_scores() -> None:
    sent: dict[str, list[Any]] = {}

    def wrap(party: Party, federation: Any) -> Any:
        class Watching:
            def __getattr__(self, name: str) -> Any:
                return getattr(federation, name)

            def send(self, to: Any, tag: str, value: Any) -> None:
                sent.setdefault(tag.rsplit("/", 1)[-1] if "/rows/" not in tag else "rows", []).append((party, value))
                federation.send(to, tag, value)

        return Watching()

    run = Run(parameters(**{**FEW, "num_trees": 3}), data(), wrap=wrap).fit()
    setup, tree = {"data", "classes", "public_key"}, {"start", "rows", "offer", "chosen", "taken", "next", "verdict"}
    assert set(sent) == setup | tree
    for _, offer in sent["offer"]:
        assert set(offer) == {"splits", "left", "sums"}
    # a node's splits come in another order than the columns': left sides that only grow would tell a column
    orders = [offer["left"][: offer["splits"][0]] for _, offer in sent["offer"]]
    assert any((np.diff(left) < 0).sum() > 1 for left in orders)
    # the same rows, and yet other ciphertexts in each round
    first, second, third = (body for _, body in sent["rows"])
    assert len({first, second, third}) == 3
    nodes = [node for tree in run.meta()["trees"] for node in tree["nodes"] if node.get("party") == "host-10000"]
    assert nodes and not any({"feature", "threshold", "missing"} & set(node) for node in nodes)


def test_the_seed_of_sampling_follows_from_all_that_the_guest_alone_has() -> None:
    """A host that knows all labels but a few could otherwise try these until the rows in a tree fit."""
    random = np.random.default_rng(2)
    x, y = random.normal(size=(50, 3)), (random.random(50) < 0.5).astype(float)
    seed = private_seed(7, y, rows(x, y))
    assert private_seed(7, y, rows(x, y, 3)) == seed == private_seed(7, y.copy(), rows(x.copy(), y))
    other = x.copy()
    other[49, 2] += 1e-9
    for given in ((8, y, rows(x, y)), (7, 1 - y, rows(x, y)), (7, y, rows(other, y))):
        assert private_seed(*given) != seed


@pytest.mark.parametrize("partitions", [1, 3])
def test_hosts_are_told_of_no_node_with_leaves_only(partitions: int) -> None:
    given = hetero("breast_hetero", partitions)
    told: list[dict[str, Any]] = []

    def wrap(party: Party, federation: Any) -> Any:
        def seen(value: dict[str, Any]) -> dict[str, Any]:
            told.append(value)
            return value

        return Spoiled(federation, "/next", seen) if party == GUEST else federation

    settings = parameters(bin_num=8, num_trees=2, tree_param={"max_depth": 4, "min_leaf_node": 20})
    run = Run(settings, given, wrap=wrap).fit()
    for value in told:
        after, left = set(value["open"].tolist()), value["left"].tolist()
        assert len(left) == len(value["nodes"]) and all(after & {child, child + 1} for child in left)
    split = sum("left" in node for tree in run.meta()["trees"] for node in tree["nodes"])
    below_last = sum(len(value["nodes"]) for value in told)
    assert 0 < below_last < split


def test_what_runs_on_executors_travels() -> None:
    """Functions and arguments are taken by name or value; results come back."""
    key = generate("OU", 1024)
    body = key.encrypt([1, 2, 3])
    block = rows(np.array([[0.0], [1.0], [0.0]]), None, 1).blocks()[0]
    block.x = block.x.astype(np.uint8)
    carrying = attach(block, Carried(body, np.arange(3), key.public.size))
    adding = Adding(key.public.name, key.public.public, [np.array([0, 2]), np.array([1])], [0], [2])
    function, block, adding = pickle.loads(cloudpickle.dumps((encrypted_sums, carrying, adding)))
    sums = pickle.loads(pickle.dumps(function(block, adding)))
    packed = [key.unpack(key.public.pack(node, 8), 2, 8) for node in sums]
    assert packed == [[4, 0], [0, 2]]


def test_secrets_are_no_arguments_of_tasks() -> None:
    """Spark may write these into files; and an error of a task comes back as what it is."""
    arguments: list[bytes] = []

    class Watched(LocalEngine):
        def run(self, function: Callable[[Any], Any], given: Any) -> list[Any]:
            arguments.append(cloudpickle.dumps(given))
            return super().run(pickle.loads(cloudpickle.dumps(function)), given)

    engine = Watched()
    Run(parameters(**FEW), hetero("breast_hetero", 2), engine=engine).fit()
    assert arguments and not any(b"okamoto_uchiyama" in one or b"SecretKey" in one for one in arguments)
    key = generate("OU", 1024)
    body = key.public.pack([key.public.load(key.encrypt([1 << 200]))[0]], key.public.plain_bits)
    context = SimpleNamespace(engine=engine)
    two = rows(np.ones((4, 1)), None, 2)
    with pytest.raises(CryptoError):
        growth.spread(context, two, partial(_unpack, key, 41), [(body, 1)] * 2)
    tried = engine.run(partial(growth._attempt, partial(_unpack, key, 41)), [(body, 1)])
    assert isinstance(tried[0], growth.Failed)


def test_packed_sums() -> None:
    packing = Packing(1000, "regression")
    random = np.random.default_rng(0)
    g = random.integers(-packing.offset, packing.offset, 1000, endpoint=True)
    h = random.integers(0, packing.offset, 1000, endpoint=True)
    total = sum(packing.pack(g, h))
    assert total < 1 << packing.bits
    own_g, own_h = packing.unpack([total], np.array([1000]))
    assert (own_g, own_h) == (g.sum(), h.sum())
    extreme = packing.pack(np.full(1000, packing.offset), np.full(1000, packing.offset))
    assert sum(extreme) < 1 << packing.bits
    for large in (sum(extreme), 1 << packing.bits, 1 << 200):
        with pytest.raises(CryptoError, match="larger than its rows allow"):
            packing.unpack([large], np.array([999]))


def test_portions_have_rows_of_every_partition() -> None:
    sampled = [np.arange(30_000), np.arange(0, 20_000, 2), np.empty(0, int)]
    cut = growth.portions(sampled)
    assert len(cut) == 3
    assert all(abs(len(portion[0]) - 10_000) <= 1 and abs(len(portion[1]) - 3_333) <= 1 for portion in cut)
    for place, rows_ in enumerate(sampled):
        assert np.array_equal(np.concatenate([portion[place] for portion in cut]), rows_)
    assert len(growth.portions([np.arange(10**6)])) == growth.MOST_PORTIONS
