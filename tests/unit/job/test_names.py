"""Names that are safe in paths, and nearest names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import MAX_LENGTH, check_component, check_name, job_id_of, nearest


@pytest.mark.parametrize(
    "name",
    ["breast", "a", "9", 20261123, "arbiter-10000#guest-9999#host-10000_10001#model", "v1.2+x~y@z", "a" * MAX_LENGTH],
)
def test_safe_names_pass(name: object) -> None:
    assert check_name(name, "p") == str(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "a/..", "../a", "a..b", "/etc", "a/b", "a\\b", ".hidden", "_hidden", "-x", "~root", "a b", "a:b",
        "k=v", "a%2fb", "a\n", "a\x00", "a\x7f", "ä", "a" * (MAX_LENGTH + 1), None, True, 1.5, ["a"], {"a": 1},
    ],
)  # fmt: skip
def test_unsafe_names_are_refused(name: object) -> None:
    with pytest.raises(ConfigError) as caught:
        check_name(name, "data.guest.name")
    assert caught.value.path == "data.guest.name"


@given(st.text(max_size=300))
def test_any_text_becomes_a_job_id_of(text: str) -> None:
    name = job_id_of(text)
    assert check_name(name, "") == name
    assert job_id_of(name) == name


def test_different_texts_become_different_names() -> None:
    assert job_id_of("manual__2026-11-23T00:00:00+00:00") != job_id_of("manual__2026-11-23T00-00-00+00-00")
    assert re.fullmatch(
        r"manual__2026-11-23T00-00-00\+00-00-[0-9a-f]{8}", job_id_of("manual__2026-11-23T00:00:00+00:00")
    )


@pytest.mark.parametrize("name", ["hetero_lr_0", "A1", "x"])
def test_names_of_components_pass(name: str) -> None:
    assert check_component(name, "p") == name


@pytest.mark.parametrize("name", ["", "0x", "_x", "a-b", "a.b", "a/b", "é", "x" * 101, "a\n", None, 5])
def test_other_names_of_components_are_refused(name: object) -> None:
    with pytest.raises(ConfigError):
        check_component(name, "p")


def test_the_nearest_name() -> None:
    known = ["penalty", "alpha", "x_1", "x_0"]
    assert nearest("penality", known) == "penalty"
    assert nearest("PENALTY", known) == "penalty"
    assert nearest("x_2", known) == "x_0"
    assert nearest("something", known) is None
    assert nearest(5, known) is None
