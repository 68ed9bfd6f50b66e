"""Fields of connections, as forms and JSON hand them over."""

from __future__ import annotations

import json

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.hooks.connections import Extras, get_connection, split_hosts, with_port


@pytest.fixture
def extras(connect):
    def make(extra, known=("a", "b", "routes")):
        return Extras(get_connection(connect("fate_x", extra=extra), ["fate_x"], "a test", ""), known)

    return make


def test_numbers_and_flags_come_as_text_too(extras):
    given = extras({"a": "15", "b": " False "})
    assert given.integer("a", 1, 0, 20) == 15 and given.flag("b", True) is False
    assert extras({"a": 2.0}).integer("a", 1, 0, 20) == 2


def test_an_empty_field_is_not_set(extras):
    given = extras({"a": "", "b": None})
    assert given.text("a", "default") == "default" and given.flag("b", True) is True and given.mapping("routes") == {}


@pytest.mark.parametrize("value", ["x", True, [1], "nan", "1e400", 21, -1, 1.5])
def test_what_is_no_whole_number_in_range_is_refused(extras, value):
    with pytest.raises(ConfigError, match=r"extra\.a"):
        extras({"a": value}).integer("a", 1, 0, 20)


def test_errors_name_the_field_and_show_no_value(extras):
    with pytest.raises(ConfigError, match=r"extra.routs: .*did you mean routes\?"):
        extras({"routs": 1})
    for wrong in ('{"password": "hunter2"', '["hunter2"]'):
        with pytest.raises(ConfigError, match=r"extra\.routes") as caught:
            extras({"routes": wrong}).mapping("routes")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("extra", ['{"password": "hunter2"', '["hunter2"]', '"hunter2"'])
def test_an_extra_that_is_no_object_is_refused_without_being_shown(monkeypatch, extra):
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps({"conn_type": "fate_x"}))
    connection = get_connection("broken", ["fate_x"], "a test", "")
    connection.extra = extra
    with pytest.raises(ConfigError, match="broken") as caught:
        Extras(connection, ())
    assert "hunter2" not in str(caught.value)


def test_hosts_and_ports(connect):
    def hosts(text):
        return split_hosts(get_connection(connect("fate_x", host=text), ["fate_x"], "a test", ""))

    assert hosts("a, b:1,,c") == ["a", "b:1", "c"]
    assert [with_port(h, 9) for h in ("a", "b:1", "[::1]", "[::1]:2")] == ["a:9", "b:1", "[::1]:9", "[::1]:2"]
    for wrong in ("", "http://a", "user@a", "a/b"):
        with pytest.raises(ConfigError, match="host"):
            hosts(wrong)
