"""Invitations with anything changed in them: an invitation, or a ConfigError, in bounded time and memory; no template
of them is ever rendered."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.invitation import Invitation
from airflow_provider_fate.job.party import Party
from tests.fuzzing import cases, changed, recipes
from tests.watching import printed, watched

from .jobs import changed as with_value
from .test_invitation import CONF, HOST, JOBS, sent

SECONDS, MEBIBYTES = 5.0, 300.0
#: as in dags/examples/fate_invited.py
IN_THE_DAG = "{{ dag_run.conf | tojson }}"


def rendered(text: str, **context: Any) -> str:
    """As Airflow renders a field of an operator."""
    return jinja2.Environment(undefined=jinja2.StrictUndefined, cache_size=0).from_string(text).render(**context)


def arrives(value: Any) -> Invitation | None:
    """What comes of a conf: as a dict, and as the text that the DAG makes of it; both the same."""
    found: list[Any] = []
    try:
        text = rendered(IN_THE_DAG, dag_run={"conf": value})
    except (TypeError, ValueError, RecursionError):
        text = None  # it did not come over REST, whose confs are JSON
    with watched(SECONDS, MEBIBYTES):
        for one in (value, text):
            if one is None:
                continue
            try:
                found.append(Invitation.parse(one))
            except ConfigError as error:
                assert len(printed(error)) < 4000
                found.append(None)
    assert all(one == found[0] for one in found)
    if found and found[0] is not None and text is not None:
        # were it rendered again, nothing would come of it
        assert rendered(text) == text
    return found[0] if found else None


@pytest.mark.parametrize("name", JOBS)
def test_invitations_with_values_changed(name: str) -> None:
    good = sent(name, Party("host", "9999") if name == "toy" else HOST)
    assert arrives(good) is not None

    @cases(150)
    @given(st.lists(recipes(good), min_size=1, max_size=3))
    def played(steps: list[Any]) -> None:
        arrives(reduce(lambda value, step: changed(step, value), steps, good))

    played()


def deep(depth: int, of: str) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if of == "list" else {"a": value}
    return value


LARGE: dict[str, Any] = {
    "deep lists": deep(100_000, "list"),
    "deep dicts": deep(100_000, "dict"),
    "less deep": deep(900, "dict"),
    "10 MB of text": "x" * (10 << 20),
    "10 MB of keys": {f"key_{number}": "x" * 1000 for number in range(10_000)},
    "many items": [0] * 300_000,
    "10^400": 10**400,
    "-10^5000": -(10**5000),
    "NaN": float("nan"),
    "infinity": float("-inf"),
    "a lone surrogate": "\ud800",
    "a path": "../../../../etc/passwd",
    "a path with a NUL": "a\0/../b",
}  # fmt: skip
NO_COMPONENT = f"{CONF}/component_parameters/common/other"
PLACES = [
    "format", "job_id", "initiator", "party", "kind", "model", "job", "other", "job/dsl", "job/dsl/components", CONF,
    f"{CONF}/role", f"{CONF}/role/host", f"{CONF}/job_parameters/common/model_id", f"{CONF}/initiator",
    f"{CONF}/component_parameters/common/hetero_lr_0/alpha", NO_COMPONENT,
    f"{CONF}/component_parameters/role/host/0/reader_train_data_0/table",
    f"{CONF}/component_parameters/role/host/0/reader_train_data_0/table/name", "job/dsl/components/hetero_lr_0/module",
]  # fmt: skip


@pytest.mark.parametrize("what", LARGE)
def test_large_values_anywhere(what: str) -> None:
    """As dicts, which have passed no parser of JSON."""
    for place in PLACES[:: 4 if what in ("10 MB of keys", "many items") else 1]:
        with watched(SECONDS, MEBIBYTES):
            try:
                found = Invitation.parse(with_value(sent(), place, LARGE[what]))
            except ConfigError as error:
                assert len(printed(error)) < 4000
                continue
        # FATE's confs may name components that a job has not; what they say has no effect, and the task's log says so
        assert place == NO_COMPONENT and "other" not in found.job.components


@cases(150)
@given(
    st.sampled_from(["{{", "{%", "{#", "{{-", "{%+"]),
    st.sampled_from(["7*7", "dag_run.conf", "''.__class__.__mro__", "import os", "var.value.x", "conn.x.password"]),
    st.sampled_from(PLACES),
    st.booleans(),
    st.text(max_size=3),
)
def test_templates_in_any_spelling(mark: str, inside: str, where: str, escaped: bool, before: str) -> None:
    """Also where JSON spells the braces another way."""
    end = {"{{": "}}", "{%": "%}", "{#": "#}"}[mark[:2]]
    template = f"{before}{mark} {inside} {end}"
    told = json.dumps(with_value(sent(), where, template))
    if escaped:
        told = told.replace(mark[:2], "".join(f"\\u{ord(one):04x}" for one in mark[:2]))
    for value in (told, json.loads(told)):
        with pytest.raises(ConfigError):
            Invitation.parse(value)
    assert arrives(json.loads(told)) is None
