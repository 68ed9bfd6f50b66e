"""What HeteroLR refuses, what it says, and what travels between its parties."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle
import numpy as np
import pytest

from airflow_provider_fate.errors import ConfigError, CryptoError, DataError, FateError, PeerError, ProtocolError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components.linear import exchange, tasks
from airflow_provider_fate.runtime.crypto import bfv
from airflow_provider_fate.runtime.crypto.bfv import Bfv
from airflow_provider_fate.runtime.crypto.scheme import scheme
from airflow_provider_fate.runtime.data import Block, Model, Rows
from airflow_provider_fate.runtime.federation.checks import Array, Integer, ListOf
from airflow_provider_fate.runtime.local_engine import LocalRows
from tests.unit.components.lr_parties import ARBITER, GUEST, HOST, HOST2, Run, example, hetero, parameters, rows

QUICK: dict[str, Any] = {"max_iter": 2, "learning_rate": 0.1}


def refused(run: Run, kind: type[FateError], match: str, at: Party = GUEST) -> None:
    """The run ends with this error at that party."""
    with pytest.raises(FateError) as caught:
        run.fit()
    assert isinstance(caught.value, kind), caught.value
    assert match in str(caught.value)
    assert f"at {at}" in caught.value.__notes__


def test_rows_in_another_order() -> None:
    data = hetero("breast_hetero")
    _, _, host = example("breast_hetero")
    turned = rows(host)
    turned._blocks[0].ids = turned._blocks[0].ids[::-1]  # type: ignore[attr-defined]
    data[HOST] = {"train_data": turned}
    refused(Run(parameters(**QUICK), data), DataError, "not the same ids in the same order")


def test_other_partitions() -> None:
    data = {**hetero("breast_hetero", 2), HOST: hetero("breast_hetero", 3)[HOST]}
    refused(Run(parameters(**QUICK), data), DataError, "Intersection")


def test_missing_values_name_the_column() -> None:
    y, guest, host = example("breast_hetero")
    guest = guest.copy()
    guest[17, 3] = np.nan
    data = {GUEST: {"train_data": rows(guest, y)}, HOST: {"train_data": rows(host)}}
    refused(Run(parameters(**QUICK), data), DataError, "column 'x3' has missing or infinite values")


@pytest.mark.parametrize(("label", "match"), [(None, "has no label"), (1.0, "1 distinct values"), (np.nan, "missing")])
def test_labels_that_are_none(label: float | None, match: str) -> None:
    y, guest, host = example("breast_hetero")
    if label is not None:
        y = np.full(len(y), label) if label == 1 else np.where(np.arange(len(y)) == 5, label, y)
    data = {GUEST: {"train_data": rows(guest, None if label is None else y)}, HOST: {"train_data": rows(host)}}
    refused(Run(parameters(**QUICK), data), DataError, match)


def test_batches_that_would_show_labels_to_the_host() -> None:
    run = Run(parameters(**QUICK, batch_size=20), hetero("breast_hetero"))
    refused(run, ConfigError, "its gradients would tell it each row's label")


def test_validation_data_at_one_party_only() -> None:
    data = hetero("breast_hetero")
    data[GUEST]["validate_data"] = data[GUEST]["train_data"]
    refused(Run(parameters(**QUICK), data), ConfigError, "validate_data")


def test_features_that_are_too_large_are_to_be_scaled() -> None:
    y, guest, host = example("breast_hetero")
    data = {GUEST: {"train_data": rows(guest * 1e6, y)}, HOST: {"train_data": rows(host)}}
    refused(Run(parameters(**QUICK), data), CryptoError, "scale the features to about -1 to 1")


@pytest.mark.parametrize("name", ["MOST_PARTITIONS", "MOST_PARTIES"])
def test_more_than_noise_hides(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfv, name, 1)
    with pytest.raises(CryptoError, match="not 2; take fewer, or Paillier"):
        Run(parameters(**QUICK), hetero("breast_hetero")).fit()
    paillier = {"method": "Paillier", "key_length": 1024}
    Run(parameters(learning_rate=0.1, max_iter=1, encrypt_param=paillier), hetero("breast_hetero")).fit()


def test_divergence_is_named() -> None:
    settings = parameters(optimizer="sgd", max_iter=50, learning_rate=30, decay=0, tol=0)
    with pytest.raises(CryptoError, match="diverged: .* lower the learning rate"):
        Run(settings, hetero("breast_hetero")).fit()


def test_a_model_that_does_not_fit() -> None:
    run = Run(parameters(**QUICK), hetero("breast_hetero")).fit()
    model = run.fitted[GUEST].model
    host = run.fitted[HOST].model
    assert model is not None and host is not None
    _, guest, other = example("breast_hetero")
    data = {GUEST: {"data": rows(guest[:, :4])}, HOST: {"data": rows(other, None, 2, "z")}}
    with pytest.raises(DataError, match="lacks 6 of the model's features: x4, x5"):
        run.predict(data, {GUEST: model, HOST: host})
    wrong = Model({**model.meta, "module": "HeteroLinR"})
    with pytest.raises(DataError, match="expected a model of HeteroLR"):
        run.predict(data, {GUEST: wrong, HOST: host})


class Spoiled:
    """A party's federation that sends something else under some tags."""

    def __init__(self, federation: Any, ends: str, change: Callable[[Any], Any]) -> None:
        self._federation, self._ends, self._change = federation, ends, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._federation, name)

    def send(self, to: Any, tag: str, value: Any) -> None:
        self._federation.send(to, tag, self._change(value) if tag.endswith(self._ends) else value)


@pytest.mark.parametrize(
    ("sender", "ends", "change", "at", "match"),
    [
        (ARBITER, "public_key", lambda key: key[:-1], (GUEST, HOST), "public key of arbiter-10000 is refused"),
        (HOST, "/share", lambda bodies: bodies[:1], (GUEST,), "expected a list of 2"),
        (HOST, "/share", lambda bodies: [bodies[0], bodies[1][:-9]], (GUEST,), "share from host-10000 cannot be used"),
        (GUEST, "/residuals", lambda bodies: [b"\xff" * len(body) for body in bodies], (HOST,), "residuals from guest"),
        (HOST, "/products", lambda value: {**value, "parts": value["parts"] * 2}, (ARBITER,), "expected a list of 1"),
        (HOST, "/products", lambda value: {**value, "parts": [b"\0" * 99]}, (ARBITER,), "products from host-10000"),
        (HOST, "/products", lambda value: {**value, "columns": 5000}, (ARBITER,), "columns: expected an integer"),
        (HOST, "/products", lambda value: {**value, "columns": 19}, (ARBITER,), "columns: expected an integer"),
        (HOST, "/products", lambda value: {**value, "stride": 1}, (ARBITER,), "stride: expected an integer"),
        (GUEST, "/products", lambda value: {**value, "columns": 13}, (ARBITER,), "columns: expected an integer"),
        (ARBITER, "/decrypted", lambda numbers: [-1, *numbers[1:]], (GUEST, HOST), "expected an integer"),
        (GUEST, "/verdict", lambda _: {"stop": 1}, (HOST, ARBITER), "verdict"),
    ],
)
def test_what_a_peer_sends_is_checked(
    monkeypatch: pytest.MonkeyPatch, sender: Party, ends: str, change: Any, at: tuple[Party, ...], match: str
) -> None:
    run = Run(parameters(**QUICK), hetero("breast_hetero"))
    component = run._component

    def spoiled(party: Party, federation: Any) -> Any:
        return component(party, Spoiled(federation, ends, change) if party == sender else federation)

    monkeypatch.setattr(run, "_component", spoiled)
    with pytest.raises(ProtocolError) as caught:
        run.fit()
    assert match in str(caught.value)
    assert caught.value.party == str(sender)
    assert any(f"at {party}" in caught.value.__notes__ for party in at)


@pytest.mark.parametrize("settings", [QUICK, {**QUICK, "encrypt_param": {"method": "Paillier", "key_length": 1024}}])
def test_a_host_cannot_have_residuals_decrypted(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that sends the guest's residuals on to the arbiter, as products of so many columns, gets no answer."""
    run = Run(parameters(**settings), hetero("breast_hetero"))
    component, answers = run._component, []

    class Asking(Spoiled):
        def receive(self, sender: Party, tag: str, check: Any) -> Any:
            if tag.endswith("/decrypted"):
                check = ListOf(Integer(0, 1 << 4096))
            value = self._federation.receive(sender, tag, check)
            if tag.endswith("/residuals"):
                self.residuals = value
            if tag.endswith("/decrypted"):
                answers.append(value)
            return value

        def send(self, to: Any, tag: str, value: Any) -> None:
            if tag.endswith("/products"):
                value = {"columns": 284, "stride": 1, "parts": _as_products(run, self.residuals[0])}
            self._federation.send(to, tag, value)

    def asking(party: Party, federation: Any) -> Any:
        return component(party, Asking(federation, "", None) if party == HOST else federation)

    monkeypatch.setattr(run, "_component", asking)
    with pytest.raises(ProtocolError, match="columns: expected an integer") as caught:
        run.fit()
    assert caught.value.party == str(HOST) and not answers


def _as_products(run: Run, residuals: bytes) -> list[bytes]:
    if run.settings.encrypt_param.method == "Paillier":
        return [residuals[at : at + 256] for at in range(0, len(residuals), 256)]
    (piece,) = bfv._pieces(residuals)
    switched = bfv.seal.Ciphertext()
    bfv._seal().evaluator.mod_switch_to_next(bfv._ciphertext(piece, bfv._seal().top), switched)
    return [bfv._save(switched)]


@pytest.mark.parametrize("number", [0, 1])
def test_the_plan_is_the_guest_s_and_the_host_s_columns(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(parameters(**QUICK), hetero("breast_hetero"))
    component, plans = run._component, []

    class Planning(Spoiled):
        def send(self, to: Any, tag: str, value: Any) -> None:
            if tag == "plan" and "columns" in value:
                assert to == ARBITER
                plans.append(list(value["columns"]))
                value["columns"][number] -= 1
            self._federation.send(to, tag, value)

    def planning(party: Party, federation: Any) -> Any:
        return component(party, Planning(federation, "", None) if party == GUEST else federation)

    monkeypatch.setattr(run, "_component", planning)
    with pytest.raises(ProtocolError, match="columns: expected an integer") as caught:
        run.fit()
    assert caught.value.party == str((GUEST, HOST)[number])
    assert plans == [[10 + 1 + 1, 20]]  # with the intercept and the loss


def test_what_travels_is_encrypted_or_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message between the parties of a training, by kind: no float of the data is in the clear before the
    scores, and the arbiter's numbers are uniform."""
    run = Run(parameters(**QUICK, validation_freqs=None), hetero("breast_hetero"))
    component, sent = run._component, []

    class Heard(Spoiled):
        def send(self, to: Any, tag: str, value: Any) -> None:
            sent.append((tag, value))
            self._federation.send(to, tag, value)

    monkeypatch.setattr(run, "_component", lambda party, federation: component(party, Heard(federation, "", None)))
    run.fit()
    kinds = {tag.rpartition("/")[2] for tag, _ in sent}
    assert kinds == {
        "public_key", "data", "plan", "share", "residuals", "loss", "products", "decrypted", "verdict", "train",
    }  # fmt: skip
    assert {tag for tag, value in sent if _floats(value)} == {"scores/train"}
    numbers = [number for tag, value in sent if tag.endswith(("/decrypted", "/loss")) for number in _numbers(value)]
    assert min(numbers) < 1 << 50 < 1 << 52 < max(numbers) < 1 << 53


def _floats(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_floats, value.values()))
    if isinstance(value, list):
        return any(map(_floats, value))
    return isinstance(value, (float, np.ndarray))


def _numbers(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value]


class ShippedRows(LocalRows):
    """As on Spark: functions, arguments and results travel as bytes, and blocks are never the same object."""

    distributed = True

    def map(self, function: Callable[[Block, Any], Any], arguments: Sequence[Any] | None = None) -> list[Any]:
        arguments = [None] * self.partitions if arguments is None else arguments
        found = []
        for block, argument in zip(self._blocks, arguments, strict=True):
            body = cloudpickle.dumps((function, block, argument))
            assert len(body) < 4 << 20
            there, its_block, its_argument = pickle.loads(body)
            found.append(pickle.loads(cloudpickle.dumps(there(its_block, its_argument))))
        return found


def shipped(data: Rows) -> Rows:
    return ShippedRows(data.blocks(), data.schema)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_work_on_executors_gives_the_same(monkeypatch: pytest.MonkeyPatch, kept: bool, at_once: bool) -> None:
    settings = parameters(**QUICK, batch_size=200, shuffle=False)
    there = {
        party: {name: shipped(table) for name, table in tables.items()}
        for party, tables in hetero("breast_hetero").items()
    }
    here = Run(settings, hetero("breast_hetero")).fit()
    if not kept:
        monkeypatch.setattr(tasks, "CACHE_BYTES", 0)
    if not at_once:
        monkeypatch.setattr(Bfv, "quick_cells", 0)
    assert np.array_equal(Run(settings, there).fit().weights(), here.weights())


def test_encoded_columns_are_kept_between_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    original = tasks._integer_columns

    def counted(*arguments: Any) -> np.ndarray:
        encoded.append(1)
        return original(*arguments)

    monkeypatch.setattr(tasks, "_integer_columns", counted)
    Run(parameters(max_iter=4, learning_rate=0.1, tol=0), hetero("breast_hetero")).fit()
    assert len(encoded) == 2 * 2  # partitions, parties
    assert not tasks._cache._kept


def test_the_cache_forgets_the_oldest() -> None:
    cache = tasks._Cache()
    cache.put(("a", 1), "one", 4, 10)
    cache.put(("a", 2), "two", 4, 10)
    assert cache.get(("a", 1)) == "one"
    cache.put(("b", 1), "three", 4, 10)
    assert cache.get(("a", 2)) is None and cache.get(("a", 1)) == "one" and cache.get(("b", 1)) == "three"
    cache.put(("b", 2), "large", 11, 10)
    assert cache.get(("b", 2)) is None
    cache.drop("b")
    assert cache.get(("b", 1)) is None and cache.get(("a", 1)) == "one"


def test_one_party_without_features() -> None:
    y, guest, host = example("breast_hetero")
    data = {GUEST: {"train_data": rows(guest[:, :0], y)}, HOST: {"train_data": rows(host)}}
    run = Run(parameters(**QUICK), data).fit()
    assert run.meta(GUEST)["weights"] == {} and run.meta(GUEST)["intercept"] is not None


def test_host_sums_are_checked_before_they_count() -> None:
    check = exchange._Request(scheme("BFV", _bfv_key()), 2, None)
    for bad in (None, {"columns": -1, "stride": 1, "parts": []}, {"columns": 2, "stride": 8192, "parts": [b"x"]}):
        with pytest.raises(ValueError, match="expected"):
            check(bad)
    with pytest.raises(ValueError, match="expected"):
        Array("float64", (3, 1))(np.full((3, 1), np.nan))


def _bfv_key() -> bytes:
    from airflow_provider_fate.runtime.crypto.scheme import generate

    return generate("BFV").public.public


def test_a_second_host_that_fails_ends_all() -> None:
    y, guest, host = example("breast_hetero")
    data = {
        GUEST: {"train_data": rows(guest, y)},
        HOST: {"train_data": rows(host[:, :5])},
        HOST2: {"train_data": rows(host[:400, 5:])},
    }
    with pytest.raises((DataError, PeerError), match="host-10001"):
        Run(parameters(**QUICK), data).fit()
