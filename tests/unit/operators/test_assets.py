"""Names of assets, and how an event finds its way."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators.assets import MODELS, TABLES, deployed_asset, emit, model_asset, table_asset
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.operators.upload import FateUploadOperator


def test_names_cannot_run_into_each_other():
    assert table_asset("a", "b").uri == "fate://table/a/b"
    assert table_asset("a/b", "c").uri != table_asset("a", "b/c").uri
    assert model_asset("arbiter-10000#guest-9999#model").uri == "fate://model/arbiter-10000%23guest-9999%23model"
    assert model_asset("m", "host-1").uri == "fate://model/m/host-1"
    assert model_asset("m/host-1") != model_asset("m", "host-1")
    assert deployed_asset("m").uri == "fate://deployed/m"


@pytest.mark.parametrize(
    ("arguments", "outlets"),
    [
        ({"namespace": "a", "name": "b", "source": "x"}, [table_asset("a", "b")]),
        ({"namespace": "a", "name": "{{ ds }}", "source": "x"}, [TABLES]),
        ({"upload_conf": {"file": "x", "namespace": "a", "table_name": "b"}}, [table_asset("a", "b")]),
        ({"upload_conf": "conf.json"}, [TABLES]),
    ],
)
def test_what_an_upload_declares(arguments, outlets):
    assert FateUploadOperator(task_id="t", **arguments).outlets == outlets


def test_an_event_goes_by_the_declared_asset_or_by_the_alias():
    with DAG("d", schedule=None) as dag:
        known = FateUploadOperator(task_id="known", namespace="a", name="b", source="x")
        unknown = FateUploadOperator(task_id="unknown", namespace="a", name="{{ ds }}", source="x")
    for task, by_alias in ((known, False), (unknown, True)):
        events = OutletEventAccessors()
        emit({"outlet_events": events, "dag": dag}, task, TABLES, table_asset("a", "b"), {"count": 3})
        if by_alias:
            (event,) = events[TABLES].asset_alias_events
            assert (event.dest_asset_key.uri, event.extra) == ("fate://table/a/b", {"count": 3})
            assert task.outlets == [TABLES]
        else:
            assert events[table_asset("a", "b")].extra == {"count": 3}


@pytest.mark.parametrize(
    ("role", "uris"),
    [
        ("guest", ["fate://model/m/guest-1", "fate://model/m"]),
        ("host", ["fate://model/m/host-1"]),
        ("arbiter", ["fate://model/m/arbiter-1"]),
    ],
)
def test_each_party_tells_of_its_part_and_the_guest_of_the_whole_model(role, uris):
    with DAG("d", schedule=None) as dag:
        task = FateTrainOperator(task_id="t", job="j.json", role=role, party_id=1)
    assert task.outlets == [MODELS]
    task._party = Party(role, "1")
    events = OutletEventAccessors()
    result = {"job_id": "j", "party": f"{role}-1", "model_id": "m", "model_version": "j", "metrics": {}, "output": {}}
    assert task.finish({"outlet_events": events, "dag": dag}, dict(result)) == result
    told = events[MODELS].asset_alias_events
    assert [event.dest_asset_key.uri for event in told] == uris
    assert all(event.extra["party"] == f"{role}-1" for event in told)
    assert task.outlets == [MODELS]
