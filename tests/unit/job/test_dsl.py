"""The DSL: references, order, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job import dsl as dsl_
from airflow_provider_fate.job import modules

from .jobs import changed, load


def parse(dsl: Any, job_type: str = "train") -> dict[str, dsl_.ComponentSpec]:
    return dsl_.parse(dsl, job_type, [])


def test_the_order_follows_the_graph_and_then_the_names() -> None:
    order = list(parse(load("hetero_lr_v2")[1]))
    assert order == [
        "reader_0", "dataio_0", "intersection_0", "reader_1", "dataio_1", "intersection_1", "hetero_lr_0",
        "evaluation_0",
    ]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=12), st.randoms(use_true_random=False), st.data())
def test_any_graph_without_circles_has_one_order(numbers: list[int], random: Any, data: st.DataObject) -> None:
    components: dict[str, Any] = {}
    for place, number in enumerate(numbers):
        source = data.draw(st.integers(-1, place - 1))
        components[f"c_{number}"] = (
            {"module": "Reader", "output": {"data": ["data"]}}
            if source < 0
            else {
                "module": "DataIO",
                "input": {"data": {"data": [f"c_{numbers[source]}.data"]}},
                "output": {"data": ["data"], "model": ["model"]},
            }
        )
    order = parse({"components": components})
    seen: set[str] = set()
    for name, component in order.items():
        assert all(ref.partition(".")[0] in seen for refs in component.inputs.values() for ref in refs)
        seen.add(name)
    assert seen == set(components)
    items = list(components.items())
    random.shuffle(items)
    assert list(parse({"components": dict(items)})) == list(order)


def test_tens_come_after_ones() -> None:
    components = {f"reader_{i}": {"module": "Reader", "output": {"data": ["data"]}} for i in (10, 9, 1, 2)}
    assert list(parse({"components": components})) == ["reader_1", "reader_2", "reader_9", "reader_10"]


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("hetero_lr_0/module", "HeteroLRR", "hetero_lr_0.module", "did you mean HeteroLR?"),
        ("hetero_lr_0/module", "HeteroNN", "hetero_lr_0.module", "known and not there yet"),
        ("hetero_lr_0/module", ["HeteroLR"], "hetero_lr_0.module", "is not a module"),
        ("hetero_lr_0/modul", "HeteroLR", "hetero_lr_0.modul", "did you mean module?"),
        ("hetero_lr_0", "HeteroLR", "hetero_lr_0", "expected a dict"),
        ("hetero-lr", {"module": "Reader"}, "hetero-lr", "not a component name"),
        ("x_0", {}, "x_0.module", "is missing"),
        ("hetero_lr_0/input/data/train_data", ["intersection_O.data"], "hetero_lr_0.input.data.train_data[0]",
         "did you mean intersection_0?"),
        ("hetero_lr_0/input/data/train_data", ["intersection_0.date"], "hetero_lr_0.input.data.train_data[0]",
         "did you mean data?"),
        ("hetero_lr_0/input/data/train_data", ["intersection_0"], "hetero_lr_0.input.data.train_data[0]",
         "expected component.output"),
        ("hetero_lr_0/input/data/train_data", ["dataio_0.model"], "hetero_lr_0.input.data.train_data[0]",
         "no data output 'model'"),
        ("hetero_lr_0/input/data/train_data", ["args.train_data"], "hetero_lr_0.input.data.train_data[0]",
         "a Reader component"),
        ("hetero_lr_0/input/data/train_data", "intersection_0.data", "hetero_lr_0.input.data.train_data",
         "expected a list"),
        ("hetero_lr_0/input/data/train_data", [], "hetero_lr_0.input.data.train_data", "expected a list"),
        ("hetero_lr_0/input/data/train_data", [5], "hetero_lr_0.input.data.train_data[0]", "expected text"),
        ("hetero_lr_0/input/data/train_data", ["intersection_0.data", "intersection_1.data"],
         "hetero_lr_0.input.data.train_data", "takes one data here, got 2"),
        ("hetero_lr_0/input/data/data", ["intersection_0.data"], "hetero_lr_0.input.data.data",
         "HeteroLR takes train_data, validate_data, test_data"),
        ("hetero_lr_0/input/data/test_data", ["intersection_0.data"], "hetero_lr_0.input.data.test_data",
         "cannot stand beside train_data"),
        ("hetero_lr_0/input/data/eval_data", ["intersection_0.data"], "hetero_lr_0.input.data.eval_data",
         "says the same as validate_data"),
        ("hetero_lr_0/input/train_data", ["intersection_0.data"], "hetero_lr_0.input.train_data", "under input.data"),
        ("hetero_lr_0/input/data", {}, "hetero_lr_0.input.data", "is missing; HeteroLR needs"),
        ("hetero_lr_0/input/data", {"validate_data": ["intersection_0.data"]}, "hetero_lr_0.input.data",
         "needs train_data"),
        ("hetero_lr_0/input/isometric_model", ["dataio_0.model"], "hetero_lr_0.input.isometric_model", "takes no"),
        ("hetero_lr_0/input/model", ["dataio_0.model"], "hetero_lr_0.input.model[0]", "cannot go into a HeteroLR"),
        ("hetero_lr_0/input/model", ["pipeline.hetero_lr_0.model"], "hetero_lr_0.input.model[0]", "predict jobs only"),
        ("hetero_lr_0/input/cache", ["x.cache"], "hetero_lr_0.input.cache", "not there yet"),
        ("hetero_lr_0/output/data", ["data", "more"], "hetero_lr_0.output.data[1]", "has 1 data output"),
        ("hetero_lr_0/output/data", ["a b"], "hetero_lr_0.output.data[0]", "is not a name"),
        ("hetero_lr_0/output/data", "data", "hetero_lr_0.output.data", "expected a list"),
        ("hetero_lr_0/output/model", ["m", "m"], "hetero_lr_0.output.model[1]", "given twice"),
        ("reader_0/input", {"data": {"data": ["dataio_0.data"]}}, "reader_0.input.data.data", "takes no data"),
        ("reader_0/output/model", ["model"], "reader_0.output.model[0]", "has no model output"),
        ("dataio_0/input/data/data", ["intersection_0.data"], "dataio_0.input",
         "dataio_0 needs intersection_0 needs dataio_0"),
        ("dataio_0/input/data/data", ["dataio_0.data"], "dataio_0.input", "goes in a circle"),
        ("dataio_0/need_deploy", "yes", "dataio_0.need_deploy", "expected true or false"),
        ("evaluation_0/input", None, "evaluation_0.input.data", "is missing; Evaluation needs data"),
        ("x_0", {"module": "HeteroLR", "input": {"data": {"test_data": ["intersection_0.data"]}}},
         "x_0.input.data", "test_data together with a model"),
        ("x_0", {"module": "HeteroLR", "input": {"data": {"validate_data": ["intersection_0.data"]},
         "model": ["hetero_lr_0.model"]}}, "x_0.input.data", "needs test_data"),
        ("x_0", {"module": "Evaluation", "input": {"data": {"data": ["evaluation_0.data"]}}}, "x_0.input.data.data[0]",
         "has no data output"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_path(path: str, value: object, where: str, says: str) -> None:
    dsl = load("hetero_lr_v2")[1]
    with pytest.raises(ConfigError) as caught:
        parse(changed(dsl, f"components/{path}", value))
    assert caught.value.path == f"dsl.components.{where}"
    assert says in caught.value.problem


@pytest.mark.parametrize(
    "dsl", [{}, {"components": {}}, {"components": []}, {"hetero_lr_0": {}}, 5, {"components": None}]
)
def test_something_else_is_no_dsl(dsl: object) -> None:
    with pytest.raises(ConfigError):
        parse(dsl)


def test_idle_outputs_of_fates_own_files_are_accepted() -> None:
    dsl = changed(load("hetero_lr_v2")[1], "components/intersection_0/output/cache", ["cache"])
    notices: list[str] = []
    assert dsl_.parse(dsl, "train", notices)["intersection_0"].outputs == {"data": ["data"]}
    assert notices == [
        "dsl.components.intersection_0.output.cache has no effect: Intersection gives no cache",
        "dsl.components.evaluation_0.output.data has no effect: Evaluation gives no data",
    ]


def test_evaluation_takes_several_data() -> None:
    dsl = load("hetero_lr_v2")[1]
    dsl["components"]["hetero_lr_1"] = {
        "module": "HeteroLR",
        "input": {"data": {"test_data": ["intersection_1.data"]}, "model": ["hetero_lr_0.model"]},
        "output": {"data": ["data"]},
    }
    dsl["components"]["evaluation_0"]["input"]["data"]["data"].append("hetero_lr_1.data")
    assert parse(dsl)["evaluation_0"].inputs == {"data": ["hetero_lr_0.data", "hetero_lr_1.data"]}


def test_outputs_have_the_dsls_names() -> None:
    component = parse(load("hetero_lr_v2")[1])["hetero_lr_0"]
    assert component.output("data") == "data"


def test_a_module_can_be_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MODULES", dict(modules.MODULES))
    spec = modules.MODULES["Reader"]
    modules.register(spec)
    with pytest.raises(ConfigError, match="registered twice"):
        modules.register(modules.ModuleSpec("Reader", spec.parameters, spec.roles, spec.roles, most_hosts=3))


def test_no_module_is_both_there_and_not() -> None:
    assert not modules.KNOWN_LATER & set(modules.MODULES)


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("eval_data", {}, "the last one, 'dataio_0.data', and say nothing of the others: keep one, and predict the"),
        ("validate_data", {}, "with this one's model as its input.model"),
        ("train_data", {}, "and say nothing of the others: keep one"),
        ("data", {"module": "FeatureScale"}, "the module Union, which makes one of several, is not there yet"),
    ],
)
def test_several_data_where_fate_takes_the_last_one(name: str, more: dict[str, Any], says: str) -> None:
    dsl = load("hetero_lr_v2")[1]
    component = dsl["components"]["hetero_lr_0"]
    component.update(more)
    train = component["input"]["data"]["train_data"]
    component["input"]["data"] = {"train_data": train, name: [*train, "dataio_0.data"]} if name != "data" else {
        "data": [*train, "dataio_0.data"]
    }
    with pytest.raises(ConfigError) as caught:
        parse(dsl)
    assert caught.value.path == f"dsl.components.hetero_lr_0.input.data.{name}"
    assert says in caught.value.problem
    assert "takes one data here, got 2; " in caught.value.problem
    assert ("Union" in caught.value.problem) == (name == "data")
