"""The connection forms in Airflow's real UI: they open with their fields and save, and Test tells the truth."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from playwright.sync_api import expect

from airflow_provider_fate.get_provider_info import get_provider_info
from tests.servers.process import free_ports

TYPES = {found["connection-type"]: found for found in get_provider_info()["connection-types"]}
STANDARD = {"host": "Host", "port": "Port", "login": "Login", "password": "Password", "schema": "Schema"}


@pytest.mark.parametrize("conn_type", TYPES)
def test_form_opens_with_its_fields(ui, conn_type):
    declared = TYPES[conn_type]
    behaviour = declared["ui-field-behaviour"]
    form = ui.new_connection(f"opened_{conn_type}", conn_type, declared["hook-name"])
    text = form.section("Standard Fields")
    for name, label in STANDARD.items():
        if name in behaviour["hidden-fields"]:
            expect(form.standard(name)).to_have_count(0)
        else:
            assert behaviour["relabeling"].get(name, label) in text
            expect(form.standard(name)).to_be_visible()
            expect(form.standard(name)).to_have_attribute("placeholder", behaviour["placeholders"].get(name, ""))
    text = form.section("Extra Fields")
    for name, field in declared["conn-fields"].items():
        assert field["label"] in text
        assert field["description"] in text
        expect(form.field(name)).to_have_count(1)
        default = field["schema"].get("default")
        if isinstance(default, bool):
            assert form.field(name).is_checked() is default
        elif default is not None:
            assert form.field(name).input_value() == str(default)


def test_hdfs_saved_tested_and_edited(ui, hdfs):
    form = ui.new_connection("ui_hdfs", "fate_hdfs", "FATE HDFS")
    form.fill(host=hdfs.host, port=hdfs.http_port, login="alice")
    form.fill_extra(hdfs_url=hdfs.url, root_path="/ui-test", timeout=10)
    form.save()
    saved = ui.server.api("GET", "connections/ui_hdfs")
    extra = json.loads(saved["extra"])
    assert (saved["host"], saved["port"], saved["login"]) == (hdfs.host, hdfs.http_port, "alice")
    assert (extra["hdfs_url"], extra["root_path"], extra["timeout"]) == (hdfs.url, "/ui-test", 10)

    refused = ui.test_connection("ui_hdfs")  # the directory's parent belongs to the superuser
    assert refused.colour == "red"
    assert "alice" in refused.message
    assert "ermission" in refused.message
    assert refused.message in refused.notice

    hdfs.new_directory("/ui-test", owner="alice")
    good = ui.test_connection("ui_hdfs")
    assert good.colour == "green", good
    assert f"{hdfs.url}/ui-test as alice" in good.message
    assert hdfs.client().list("/ui-test") == [], "the probe file is still there"

    form = ui.edit_connection("ui_hdfs")
    expect(form.standard("host")).to_have_value(hdfs.host)
    form.section("Extra Fields")
    expect(form.field("root_path")).to_have_value("/ui-test")
    [closed] = free_ports(1)
    form.fill(port=closed)
    form.save()
    dead = ui.test_connection("ui_hdfs")
    assert dead.colour == "red"
    assert f"{hdfs.host}:{closed}" in dead.message
    assert "refused" in dead.message
    assert dead.message in dead.notice


def test_rabbitmq_saved_tested_and_edited(ui, rabbitmq_node):
    node = rabbitmq_node
    vhost = node.new_vhost()
    form = ui.new_connection("ui_rabbitmq", "fate_rabbitmq", "FATE RabbitMQ")
    form.fill(host=node.host, port=node.port, login=node.login, password=node.password, schema=vhost)
    form.fill_extra(management_port=node.management_port, max_message_size=65536)
    form.save()
    saved = ui.server.api("GET", "connections/ui_rabbitmq")
    extra = json.loads(saved["extra"])
    assert (saved["schema"], saved["port"]) == (vhost, node.port)
    assert (extra["management_port"], extra["max_message_size"]) == (node.management_port, 65536)
    assert saved["password"] != node.password

    good = ui.test_connection("ui_rabbitmq")
    assert good.colour == "green", good
    assert vhost in good.message
    assert "65536 bytes" in good.message
    assert node.queues(vhost) == {}, "the probe queue is still there"

    form = ui.edit_connection("ui_rabbitmq")
    form.fill(password="not-the-password")
    form.save()
    wrong = ui.test_connection("ui_rabbitmq")
    assert wrong.colour == "red"
    assert node.login in wrong.message
    assert "not-the-password" not in wrong.message + wrong.notice

    form = ui.edit_connection("ui_rabbitmq")
    [closed] = free_ports(1)
    form.fill(port=closed, password=node.password)
    form.save()
    dead = ui.test_connection("ui_rabbitmq")
    assert dead.colour == "red"
    assert f"{node.host}:{closed}" in dead.message
    assert node.password not in dead.message + dead.notice
    assert dead.message in dead.notice


def test_rabbitmq_over_tls(ui, rabbitmq_node):
    node = rabbitmq_node
    form = ui.new_connection("ui_rabbitmq_tls", "fate_rabbitmq", "FATE RabbitMQ")
    form.fill(host="localhost", port=node.tls_port, login=node.login, password=node.password, schema=node.new_vhost())
    form.fill_extra(use_ssl=True, management_port=node.management_port)
    form.choose("management_scheme", "http")
    form.save()
    untrusted = ui.test_connection("ui_rabbitmq_tls")
    assert untrusted.colour == "red"
    assert "ertificate" in untrusted.message

    form = ui.edit_connection("ui_rabbitmq_tls")
    form.fill_extra(
        ca_file=node.authority.certificate,
        client_cert=node.client_certificate.certificate,
        client_key=node.client_certificate.key,
    )
    form.save()
    trusted = ui.test_connection("ui_rabbitmq_tls")
    assert trusted.colour == "green", trusted


def test_spark_saved_tested_and_edited(ui, spark_standalone):
    form = ui.new_connection("ui_spark", "fate_spark", "FATE Spark")
    form.fill(host=spark_standalone.url, port=0)
    form.fill_extra(**{"rest-port": spark_standalone.rest_port})
    form.choose("deploy-mode", "client")
    form.save()
    saved = ui.server.api("GET", "connections/ui_spark")
    extra = json.loads(saved["extra"])
    assert saved["host"] == spark_standalone.url
    assert (extra["deploy-mode"], extra["rest-port"]) == ("client", spark_standalone.rest_port)

    good = ui.test_connection("ui_spark")
    assert good.colour == "green", good
    assert f"127.0.0.1:{spark_standalone.port}" in good.message
    assert version("pyspark") in good.message

    form = ui.edit_connection("ui_spark")
    [closed] = free_ports(1)
    form.fill(host="spark://127.0.0.1", port=closed)
    form.save()
    dead = ui.test_connection("ui_spark")
    assert dead.colour == "red"
    assert f"127.0.0.1:{closed}" in dead.message
    assert dead.message in dead.notice


def test_site_saved_tested_and_edited(ui, start_nginx):
    nginx = start_nginx(ui.server.port, prefix="")
    ui.server.add_dags(Path(__file__).parents[1] / "site" / "fate_invited.py")
    ui.server.wait_for_dag("fate_invited")
    form = ui.new_connection("ui_site", "fate_site", "FATE Site")
    form.fill(host=nginx.url, port=0, login=ui.server.login, password=ui.server.password)
    form.fill_extra(ca_file=nginx.authority.certificate, timeout=30)
    form.save()
    saved = ui.server.api("GET", "connections/ui_site")
    extra = json.loads(saved["extra"])
    assert (saved["host"], saved["login"], extra["timeout"]) == (nginx.url, ui.server.login, 30)
    assert saved["password"] != ui.server.password

    bare = ui.test_connection("ui_site")
    assert bare.colour == "red"
    assert "set client_cert and client_key" in bare.message
    assert bare.message in bare.notice

    form = ui.edit_connection("ui_site")
    expect(form.standard("host")).to_have_value(nginx.url)
    form.fill_extra(client_cert=nginx.client.certificate, client_key=nginx.client.key)
    form.save()
    good = ui.test_connection("ui_site")
    assert good.colour == "green", good
    assert f"Reached {nginx.url} over TLS" in good.message
    assert "DAG fate_invited is there" in good.message

    form = ui.edit_connection("ui_site")
    form.fill(password="not-the-password")
    form.save()
    wrong = ui.test_connection("ui_site")
    assert wrong.colour == "red"
    assert f"refuses the login '{ui.server.login}'" in wrong.message
    assert "not-the-password" not in wrong.message + wrong.notice

    nginx.stop()
    dead = ui.test_connection("ui_site")
    assert dead.colour == "red"
    assert f"{nginx.url} cannot be reached: connection refused" in dead.message
    assert ui.server.password not in dead.message + dead.notice
    assert dead.message in dead.notice
