"""Whatever stands in a conf, the answer is a job or a ConfigError."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.plain import join

from .jobs import load

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "..", "0|1", "args.train_data", "reader_0.data", "\ud800", "a" * 300, b"x", object(), {1}])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in ``value``."""
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [p for key, inner in value.items() for p in places(inner, (*path, key))]
    if isinstance(value, list):
        return found + [p for i, inner in enumerate(value) for p in places(inner, (*path, i))]
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    result = copy.deepcopy(value)
    inner = result
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return result


@pytest.mark.parametrize("name", ["toy", "hetero_lr_v1", "hetero_lr_v2"])
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_one_value_replaced(name: str, data: st.DataObject) -> None:
    both = dict(zip(("conf", "dsl"), load(name), strict=True))
    path = data.draw(st.sampled_from(places(both)))
    both = put(both, path, data.draw(VALUES))
    try:
        job = Job.parse(both["conf"], both["dsl"])
    except ConfigError as error:
        assert len(str(error)) < 3000
    else:
        assert Job.from_dict(job.to_dict()).common() == job.common()


@pytest.mark.parametrize("name", ["toy", "hetero_lr_v1", "hetero_lr_v2"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_one_key_added(name: str, data: st.DataObject) -> None:
    both = dict(zip(("conf", "dsl"), load(name), strict=True))
    dicts = [p for p in places(both) if isinstance(_at(both, p), dict)]
    path = (*data.draw(st.sampled_from(dicts)), data.draw(st.text(min_size=1, max_size=8)))
    try:
        _at(both, path)
    except KeyError:
        try:
            job = Job.parse(**put(both, path, data.draw(VALUES)))
        except ConfigError:
            return
        # The only free names are those of Spark's properties, of components that the DSL lacks, which it says, and
        # the indexes of parties; parameters of the DSL's outputs are lists.
        said = any(f"{join('', path[-1])} has no effect: " in notice for notice in job.notices)
        assert path[1:3] == ("job_parameters", "spark_run") or path[-3] == "role" or said, job


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@settings(max_examples=100, deadline=None)
@given(VALUES, VALUES)
def test_anything_at_all(conf: Any, dsl: Any) -> None:
    with pytest.raises(ConfigError):
        Job.parse(conf, dsl)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_anything_as_parameters_or_data(value: Any) -> None:
    job = Job.parse(*load("toy"))
    for change in (job.with_parameters, job.with_data):
        try:
            change(value)
        except ConfigError:
            continue
        assert value is None or value == {}, "only nothing changes nothing"


def test_deep_circular_and_large_values() -> None:
    conf, dsl = load("toy")
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    circle: dict[str, Any] = {}
    circle["again"] = circle
    for value, says in (
        (deep, "nested deeper"),
        (circle, "nested deeper"),
        ([[0] * 1000] * 300, "more than 200000 values"),
        ("x" * 200_000, "characters"),
        (10**30, "63 bits"),
        (float("inf"), "finite"),
    ):
        conf["job_parameters"]["rabbitmq_run"] = value
        with pytest.raises(ConfigError, match=says):
            Job.parse(conf, dsl)


def test_numbers_of_other_libraries() -> None:
    import numpy as np

    job = Job.parse(*load("hetero_lr_v2")).with_parameters(
        {"hetero_lr_0": {"learning_rate": np.float32(0.5), "max_iter": np.int64(7), "alpha": np.float64(0.25)}}
    )
    parameters = job.parameters("hetero_lr_0", job.parties[0])
    assert (parameters.learning_rate, parameters.max_iter, parameters.alpha) == (0.5, 7, 0.25)
