"""What Airflow reads of the package."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import airflow
import jsonschema
import pytest

import airflow_provider_fate
from airflow_provider_fate.get_provider_info import get_provider_info
from airflow_provider_fate.hooks import broker_fields, hdfs, site, spark
from airflow_provider_fate.links import LINKS, SparkUILink, is_web_address

TYPES = {entry["connection-type"]: entry for entry in get_provider_info()["connection-types"]}


def test_it_is_what_airflow_expects():
    directory = airflow.__path__[0]
    with open(f"{directory}/provider_info.schema.json") as stream:
        jsonschema.validate(get_provider_info(), json.load(stream))
    with open(f"{directory}/customized_form_field_behaviours.schema.json") as stream:
        schema = json.load(stream)
    for entry in TYPES.values():
        behaviour = {name.replace("-", "_"): value for name, value in entry["ui-field-behaviour"].items()}
        jsonschema.validate(behaviour, schema)
        for field in entry["conn-fields"].values():
            jsonschema.Draft7Validator.check_schema(field["schema"])
            assert field["label"] and field["description"].endswith(".")


@pytest.mark.parametrize("conn_type", sorted(TYPES))
def test_each_hook_is_there_and_knows_the_fields_of_its_form(conn_type):
    entry = TYPES[conn_type]
    module, _, name = entry["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert (hook.conn_type, hook.hook_name, hook.conn_name_attr) == (conn_type, entry["hook-name"], "conn_id")
    known = {
        "fate_hdfs": hdfs._EXTRAS,
        "fate_rabbitmq": broker_fields.EXTRAS,
        "fate_site": site._EXTRAS,
        "fate_spark": spark.EXTRAS,
    }[conn_type]
    assert set(entry["conn-fields"]) == set(known)
    assert "__" not in conn_type, "Airflow splits the names of form fields there"
    standard = {"description", "host", "port", "login", "password", "schema", "extra"}
    assert set(entry["ui-field-behaviour"]["hidden-fields"]) <= standard
    assert set(entry["ui-field-behaviour"]["placeholders"]) <= standard | set(entry["conn-fields"])


class Field:
    """What Airflow 3.1 puts in the place of a field of wtforms while it asks hooks for their forms."""

    kind, format = "", None

    def __init__(self, label=None, validators=None, description="", default=None, widget=None):
        allowed = [one for one in validators or () if isinstance(one, list)]
        self.schema = {"type": [self.kind, "null"]}
        self.schema |= {"format": self.format} if self.format else {}
        self.schema |= {"enum": allowed[0]} if allowed else {}
        self.schema |= {} if default is None else {"default": default}
        self.told = {"label": label, "description": description}


@pytest.fixture
def wtforms(monkeypatch):
    """The module as Airflow 3.1 leaves it while it asks, whether it is installed or not."""
    names = {"StringField": "string", "IntegerField": "integer", "BooleanField": "boolean", "PasswordField": "string"}
    fields = {name: type(name, (Field,), {"kind": kind}) for name, kind in names.items()}
    fields["PasswordField"].format = "password"
    module, validators = types.ModuleType("wtforms"), types.ModuleType("wtforms.validators")
    module.__dict__.update(fields, validators=validators)
    validators.__dict__.update(Optional=object, any_of=lambda values: values)
    monkeypatch.setitem(sys.modules, "wtforms", module)
    monkeypatch.setitem(sys.modules, "wtforms.validators", validators)


@pytest.mark.parametrize("conn_type", sorted(TYPES))
def test_airflow_3_1_finds_the_same_forms_in_the_hooks(conn_type, wtforms):
    entry = TYPES[conn_type]
    module, _, name = entry["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert {"get_connection_form_widgets", "get_ui_field_behaviour"} <= set(vars(hook)), "Airflow looks there only"
    directory = airflow.__path__[0]
    with open(f"{directory}/customized_form_field_behaviours.schema.json") as stream:
        jsonschema.validate(hook.get_ui_field_behaviour(), json.load(stream))
    widgets = hook.get_connection_form_widgets()
    assert list(widgets) == list(entry["conn-fields"])
    # a text field for what wtforms' fields in Airflow's forms cannot do
    without = {"minimum", "maximum"}
    for field, widget in widgets.items():
        expected = {key: value for key, value in entry["conn-fields"][field]["schema"].items() if key not in without}
        expected |= {"type": ["string", "null"]} if expected["type"][0] == "number" else {}
        if expected.get("format") == "multiline":
            del expected["format"]
        assert widget.schema == expected
        assert widget.told == {key: entry["conn-fields"][field][key] for key in ("label", "description")}


def test_every_module_and_link_that_it_names_is_there():
    info = get_provider_info()
    for group in ("operators", "hooks"):
        for module in info[group][0]["python-modules"]:
            importlib.import_module(module)
    for path in info["extra-links"]:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).name


_LIST = """
import json
from airflow import plugins_manager
from airflow.providers_manager import ProvidersManager
from airflow.sdk import Connection
manager = ProvidersManager()
fields = sorted(manager._connection_form_widgets_from_metadata)
hooks = {name: hook for name, hook in manager.hooks.items() if name.startswith("fate")}
nonsense = Connection(conn_id="x", conn_type="fate_spark", host="nonsense")
print(json.dumps({
    "test": nonsense.test_connection(),
    "providers": sorted(manager.providers),
    "names": {name: hook.hook_name for name, hook in hooks.items()},
    "testable": {name: hook.connection_testable for name, hook in hooks.items()},
    "fields": fields,
    "behaviours": sorted(manager._field_behaviours_from_metadata),
    "links": manager.extra_links_class_names,
    "plugin_links": sorted(type(link).__name__ for link in plugins_manager.get_operator_extra_links()),
}))
"""


def test_airflow_lists_the_provider(tmp_path):
    """With the entry points of pyproject.toml as an installation writes them down."""
    root = Path(airflow_provider_fate.__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    version = airflow_provider_fate.__version__
    metadata = tmp_path / f"airflow_provider_fate-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups))
    env = {"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    done = subprocess.run([sys.executable, "-c", _LIST], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert "airflow-provider-fate" in seen["providers"]
    assert seen["names"] == {conn_type: entry["hook-name"] for conn_type, entry in TYPES.items()}
    assert sorted(TYPES) == ["fate_hdfs", "fate_rabbitmq", "fate_site", "fate_spark"]
    assert seen["testable"] == dict.fromkeys(TYPES, True)
    ok, message = seen["test"]
    assert not ok and message.startswith("connection 'x': host: 'nonsense' is not an address")
    for conn_type, entry in TYPES.items():
        assert {f"extra__{conn_type}__{field}" for field in entry["conn-fields"]} <= set(seen["fields"])
        assert conn_type in seen["behaviours"]
    assert set(seen["links"]) >= set(get_provider_info()["extra-links"])
    assert {type(link).__name__ for link in LINKS.values()} <= set(seen["plugin_links"])
    assert "airflow_provider_fate" not in done.stderr, "Airflow warns of something"


class Task:
    """A running task instance as far as links use one."""

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


def test_each_link_has_a_place_of_its_own():
    for kind in ("name", "attribute", "xcom_key"):
        assert len({getattr(link, kind) for link in LINKS.values()}) == len(LINKS)
    assert [path.rpartition(".")[2] for path in get_provider_info()["extra-links"]] == [
        type(link).__name__ for link in LINKS.values()
    ]


@pytest.mark.parametrize("link", LINKS.values())
def test_a_link_is_shown_early_and_kept_to_the_end(link):
    operator, ti = Task(), Task()
    assert link.publish(operator, ti, "http://10.0.0.1:4040")
    assert ti.pushed == {link.xcom_key: "http://10.0.0.1:4040"}
    assert link.get_link(operator, ti_key=ti) == "http://10.0.0.1:4040"


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://peer.example:8443/dags/a/runs/b", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("http://", False),
        ("http://a b", False),
        ("http://a\nb", False),
        ("http://[::1", False),
        ("//host/x", False),
    ],
)
def test_only_web_addresses_become_links(url, good):
    assert is_web_address(url) is good
    assert SparkUILink().publish(Task(), Task(), url) is good
