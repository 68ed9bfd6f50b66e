from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_fate.errors import ConfigError, DataError, ProtocolError
from airflow_provider_fate.job.parameters.intersect import ECDHParam, IntersectParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components import intersection
from airflow_provider_fate.runtime.components.intersection import Intersection
from airflow_provider_fate.runtime.crypto import curve25519
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.inbox import Limits
from tests.parties import run_parties
from tests.unit.components.running import GUEST, HOST, HOST2, HOST3, Ran, component, ids_of, run_component, table

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
#: few enough that sets overlap, and close to each other
NEAR = st.sampled_from(["7", "07", " 7", "7 ", "8", "é", "e\u0301", "ｅ", "É", "数", "数据", "a\0", "a", "A", "\0"])


def intersect(
    tables: dict[Party, list[str]], parts: int = 1, partitions: int | None = None, **parameters
) -> dict[Party, Ran]:
    inputs = {party: {"data": table(ids, partitions=parts)} for party, ids in tables.items()}
    return run_component(Intersection, IntersectParam(**parameters), inputs, partitions=partitions)


def assert_same_rows(ran: dict[Party, Ran], expected: set[str]) -> None:
    errors = {party: each.error for party, each in ran.items() if each.error}
    assert not errors
    orders = [ids_of(each.rows) for each in ran.values()]
    assert len(orders[0]) == len(expected)
    assert set(orders[0]) == expected
    assert all(order == orders[0] for order in orders)
    counts = [[len(block) for block in each.rows.blocks()] for each in ran.values()]
    assert all(each == counts[0] for each in counts)
    assert all(each.rows.counts == counts[0] for each in ran.values())


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sets(TEXTS | NEAR, min_size=1, max_size=12), min_size=2, max_size=4),
    st.sets(NEAR, min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_equals_the_intersection_of_sets(sets, common, parts, partitions) -> None:
    sets = [sorted(each | common) for each in sets]
    ran = intersect(dict(zip((GUEST, HOST, HOST2, HOST3), sets, strict=False)), parts, partitions)
    expected = set.intersection(*map(set, sets))
    assert_same_rows(ran, expected)
    assert ran[GUEST].rows.partitions == min(partitions, len(expected))


def test_rows_keep_their_values() -> None:
    guest, host = [f"u{i}" for i in range(40)], [f"u{i}" for i in range(60, 20, -1)]
    features = np.arange(120, dtype=float).reshape(40, 3)
    ran = run_component(
        Intersection,
        IntersectParam(),
        {
            GUEST: {"data": table(guest, features, y=range(40), partitions=3)},
            HOST: {"data": table(host, partitions=2)},
        },
        partitions=4,
    )
    assert_same_rows(ran, {f"u{i}" for i in range(21, 40)})
    assert ran[GUEST].rows.counts == [5, 5, 5, 4]
    for block in ran[GUEST].rows.blocks():
        places = [guest.index(text) for text in block.ids.to_pylist()]
        assert (block.x == features[places]).all()
        assert block.y.tolist() == places
    for block in ran[HOST].rows.blocks():
        assert block.x[:, 0].tolist() == [host.index(text) for text in block.ids.to_pylist()]
    assert ran[GUEST].outputs.metrics == {"intersect_count": 19, "intersect_rate": 19 / 40}
    assert ran[HOST].outputs.metrics == {"intersect_count": 19, "intersect_rate": 19 / 40}
    assert "19 of 40 rows in common, in 4 partition(s)" in ran[HOST].log
    # who asks for ids that are not its own shows it by its rows
    assert "40 rows here, 40 at host-10000" in ran[GUEST].log
    assert "40 rows here, 40 at guest-9999" in ran[HOST].log


def test_a_peer_cannot_claim_more_rows_than_a_party_keeps_of_it() -> None:
    assert Limits().unread >= intersection.MAX_ROWS * 2 * 32


def test_the_order_is_the_same_in_every_run_and_depends_on_the_seed() -> None:
    ids = [f"{i}" for i in range(50)]

    def order(seed: int, guest: list[str]) -> list[str]:
        inputs = {GUEST: {"data": table(guest)}, HOST: {"data": table(ids[::-1])}}
        return ids_of(run_component(Intersection, IntersectParam(), inputs, seed=seed)[GUEST].rows)

    first = order(1, ids)
    assert first == order(1, ids[25:] + ids[:25])
    assert first != order(2, ids)
    assert first not in (ids, sorted(ids))


@pytest.mark.parametrize("method", ["rsa", "dh", "raw", "ecdh", "RAW"])
def test_fate_s_methods_give_the_same_rows(method) -> None:
    ran = intersect({GUEST: ["a", "b"], HOST: ["b", "c"]}, intersect_method=method)
    assert_same_rows(ran, {"b"})
    assert ran[GUEST].log[0].startswith(f"intersect_method {method.lower()}: ")
    assert "Curve25519" in ran[GUEST].log[0]


def test_one_row_at_each_party() -> None:
    assert_same_rows(intersect({GUEST: ["x"], HOST: ["x"]}, parts=1, partitions=8), {"x"})


@pytest.mark.parametrize("guest", [["a", "b"], []])
@pytest.mark.parametrize("hosts", [[["c"]], [[]], [["a"], ["b", "d"]]])
def test_nothing_in_common_is_an_error_at_every_party(guest, hosts) -> None:
    tables = {GUEST: guest} | dict(zip((HOST, HOST2), hosts, strict=False))
    ran = intersect(tables)
    for party, ids in tables.items():
        assert isinstance(ran[party].error, DataError)
        assert f"no common ids: {party} has {len(ids)} rows" in str(ran[party].error)


@pytest.mark.parametrize("wrong", [GUEST, HOST])
def test_an_id_twice_is_refused_with_its_rows(wrong) -> None:
    def run(federation: Federation) -> Ran:
        ran = Ran()
        rows = table(["a", "secret", "c", "d", "secret", "secret"], partitions=3)
        with pytest.raises(DataError, match=r"rows 1 and 4 \(counted from 0\).* 2 row\(s\) in all") as caught:
            component(Intersection, IntersectParam(), wrong, ran.log, federation).fit({"data": rows}, {})
        assert "secret" not in str(caught.value)
        return ran

    # refused before anything is sent: the other party only has to be there
    run_parties({wrong: run, HOST if wrong == GUEST else GUEST: lambda federation: None}, timeout=30)


@pytest.mark.parametrize("missing", [None, ""])
def test_a_row_without_an_id_is_refused(missing) -> None:
    rows = table(["a", "b", "c", missing], partitions=2)
    with pytest.raises(DataError, match=r"row 3 \(counted from 0\) of guest-9999's input has no id"):
        component(Intersection, IntersectParam(), GUEST).fit({"data": rows}, {})


def test_only_output_key_leaves_features_and_label() -> None:
    inputs = {GUEST: {"data": table(["a", "b"], y=[0, 1])}, HOST: {"data": table(["b", "a"])}}
    ran = run_component(Intersection, IntersectParam(only_output_key=True), inputs)
    assert_same_rows(ran, {"a", "b"})
    assert ran[GUEST].rows.schema.features == ()
    assert ran[GUEST].rows.schema.label_name is None
    assert all(block.x.shape == (len(block), 0) and block.y is None for block in ran[GUEST].rows.blocks())


def test_without_sync_the_host_gets_no_rows() -> None:
    ran = intersect({GUEST: ["a", "b"], HOST: ["b", "c"]}, sync_intersect_ids=False)
    assert ids_of(ran[GUEST].rows) == ["b"]
    assert ran[HOST].error is None
    assert ran[HOST].outputs.data == {}
    assert ran[HOST].outputs.metrics == {}


@pytest.mark.parametrize("sync", [False, True])
def test_cardinality_only_gives_numbers_and_no_rows(sync) -> None:
    tables = {GUEST: list("abcd"), HOST: list("bcx"), HOST2: list("dyz")}
    ran = intersect(tables, cardinality_only=True, sync_cardinality=sync)
    assert all(each.error is None and each.outputs.data == {} for each in ran.values())
    assert ran[GUEST].outputs.metrics == {
        "intersect_count.host-10000": 2, "intersect_rate.host-10000": 0.5,
        "intersect_count.host-10001": 1, "intersect_rate.host-10001": 0.25,
    }  # fmt: skip
    assert ran[HOST].outputs.metrics == ({"intersect_count": 2, "intersect_rate": 2 / 3} if sync else {})
    none = intersect({GUEST: ["a"], HOST: ["b"]}, cardinality_only=True)
    assert none[GUEST].outputs.metrics == {"intersect_count": 0, "intersect_rate": 0.0}


def test_different_salts_are_named() -> None:
    parameters = {GUEST: IntersectParam(), HOST: IntersectParam(ecdh_params=ECDHParam(salt="x"))}
    inputs = {GUEST: {"data": table(["a"])}, HOST: {"data": table(["a"])}}
    ran = run_component(Intersection, parameters, inputs)
    assert all(isinstance(each.error, ConfigError) and "salt" in str(each.error) for each in ran.values())


def test_many_messages_and_partitions(monkeypatch) -> None:
    monkeypatch.setattr(intersection, "POINTS_PER_MESSAGE", 7)
    monkeypatch.setattr(intersection, "POSITIONS_PER_MESSAGE", 5)
    monkeypatch.setattr(intersection, "POINTS_PER_TASK", 11)
    monkeypatch.setattr(intersection, "ROWS_PER_PARTITION", 10)
    ran = intersect({GUEST: [f"{i}" for i in range(100)], HOST: [f"{i}" for i in range(50, 121)]}, parts=6)
    assert_same_rows(ran, {f"{i}" for i in range(50, 100)})
    assert ran[HOST].rows.counts == [10] * 5


def test_nothing_that_is_sent_can_be_told_from_the_ids() -> None:
    """What a peer sees of an id is another value in each run, and no hash of the id by itself."""
    seen: list[set[bytes]] = []
    for _ in range(2):
        values: set[bytes] = set()

        def listen(federation: Federation, values: set[bytes] = values) -> None:
            federation.send(
                federation.guest, "settings", federation.receive(GUEST, "settings", lambda _: None) | {"rows": 1}
            )
            values.update(map(bytes, federation.receive(GUEST, "guest.points.0", lambda _: None)))

        def play(federation: Federation) -> None:
            guest = component(Intersection, IntersectParam(), GUEST, None, federation)
            with pytest.raises(ProtocolError):
                guest.fit({"data": table(["a", "b", "c"])}, {})

        def host(federation: Federation, listen=listen) -> None:
            listen(federation)
            federation.send(GUEST, "host.points.0", np.zeros((1, 32), np.uint8))

        run_parties({GUEST: play, HOST: host}, timeout=30)
        assert len(values) == 3
        seen.append(values)
    assert not seen[0] & seen[1]


def _hostile(change: str):
    """A guest that follows the protocol but for one step."""

    def guest(federation: Federation) -> None:
        own = component(Intersection, IntersectParam(), GUEST, None, federation)
        digests = own._digests(table(["a", "b"]))
        own._agree([HOST], 2)
        scalar = curve25519.random_scalar()
        points = curve25519.hash_and_multiply(digests, scalar)
        if change == "twice":
            points = points[[0, 0]]
        elif change == "low order":
            points = np.zeros((2, 32), np.uint8)
        elif change == "not canonical":
            points = np.full((2, 32), 0xFF, np.uint8)
        elif change == "short":
            points = points[:1]
        federation.send(HOST, "guest.points.0", points)
        result = {"count": 2, "counts": np.array([2]), "check": bytes(32)}
        if change == "counts":
            result["counts"] = np.array([3])
        elif change == "more partitions than rows need":
            result["counts"] = np.array([3, -1])
        elif change == "too many":
            result["count"] = 3
        federation.send(HOST, "result", result)
        positions = {"outside": [0, 3], "negative": [-1, 0], "repeated": [1, 1]}.get(change, [0, 1])
        federation.send(HOST, "positions.0", np.array(positions, np.int64))

    return guest


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("twice", "same encrypted id twice"),
        ("low order", "low order"),
        ("not canonical", "not a number below"),
        ("short", "shape"),
        ("counts", "do not add up"),
        ("more partitions than rows need", "at most 1 items"),
        ("too many", "integer in"),
        ("outside", "not ascending places"),
        ("negative", "not ascending places"),
        ("repeated", "not ascending places"),
        ("check", "differ from those of guest-9999"),
    ],
)
def test_what_a_peer_must_not_send_is_refused(change, match) -> None:
    def host(federation: Federation) -> None:
        own = component(Intersection, IntersectParam(), HOST, None, federation)
        with pytest.raises(ProtocolError, match=match):
            own.fit({"data": table(["b", "c", "d"])}, {})

    run_parties({GUEST: _hostile(change), HOST: host}, timeout=30)


def test_the_arbiter_has_nothing_to_do() -> None:
    assert component(Intersection, IntersectParam(), Party("arbiter", "1")).fit({}, {}).data == {}
