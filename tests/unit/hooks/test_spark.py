"""How the Spark hook reads connections and builds commands."""

from __future__ import annotations

import base64
import json
import stat
import sys
from pathlib import Path

import pytest
from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.hooks import spark_environment
from airflow_provider_fate.hooks.spark import FateSparkHook
from airflow_provider_fate.hooks.spark_private import property_line


@pytest.fixture
def hook(connect):
    """``hook(host, conn_type=..., port=..., extra=..., **arguments)``."""

    def make(host="local[*]", conn_type="fate_spark", port=None, extra=None, **arguments):
        return FateSparkHook(conn_id=connect(conn_type, host=host, port=port, extra=extra or {}), **arguments)

    return make


@pytest.fixture
def logged(monkeypatch):
    """What the hook logs at INFO."""
    messages: list[str] = []
    real = SparkSubmitHook.log.fget

    class Log:
        def __init__(self, hook):
            self._log = real(hook)

        def info(self, message, *args):
            messages.append(message % args if args else message)
            self._log.info(message, *args)

        def __getattr__(self, name):
            return getattr(self._log, name)

    monkeypatch.setattr(SparkSubmitHook, "log", property(Log), raising=False)
    return messages


@pytest.mark.parametrize("conn_type", ["fate_spark", "spark"])
@pytest.mark.parametrize(
    ("host", "port", "master", "kind"),
    [
        ("local[*]", None, "local[*]", "local"),
        ("local[2,3]", None, "local[2,3]", "local"),
        ("local", None, "local", "local"),
        ("spark://m1:7077,m2:7077", None, "spark://m1:7077,m2:7077", "standalone"),
        ("spark://m1", 7077, "spark://m1:7077", "standalone"),
        ("m1", 7077, "spark://m1:7077", "standalone"),
        ("spark://yarn-k8s-1:7077", None, "spark://yarn-k8s-1:7077", "standalone"),
        ("yarn", None, "yarn", "yarn"),
    ],
)
def test_the_master(hook, conn_type, host, port, master, kind):
    made = hook(host, conn_type, port)
    assert (made.master, made.kind) == (master, kind)
    assert (made._is_yarn, made._is_kubernetes) == (kind == "yarn", kind == "k8s")
    assert ["--master", master] == made._build_spark_submit_command("app.py")[1:3]


@pytest.mark.parametrize("host", ["", "m1", "local[0]", "local[", "spark://m1", "http://m1:8080", "mesos://m:5050"])
def test_an_address_that_spark_does_not_know_is_refused(hook, host):
    with pytest.raises(ConfigError, match="host.*expected"):
        hook(host)


def test_a_missing_connection_is_no_yarn():
    with pytest.raises(ConfigError, match="no such connection.*fate_spark or spark.*airflow connections add nowhere"):
        FateSparkHook(conn_id="nowhere")


def test_another_type_is_refused(hook):
    with pytest.raises(ConfigError, match="'http'"):
        hook("x", "http")


def test_kubernetes_without_its_provider_says_what_to_install(hook):
    with pytest.raises(ConfigError, match="apache-airflow-providers-cncf-kubernetes"):
        hook("k8s://https://api:6443")


def test_the_master_of_the_job_comes_before_the_connection(hook):
    assert hook("yarn", master="local[1]").kind == "local"
    with pytest.raises(ConfigError, match="'nonsense'"):
        hook("yarn", master="nonsense")


def test_the_fields_of_the_form(hook):
    extra = {"queue": "fate", "deploy-mode": "cluster", "namespace": "ns", "spark-binary": "spark-submit"}
    made = hook("yarn", extra=extra)
    assert made._connection["queue"] == "fate" and made._is_yarn_cluster_mode and not made.client_mode
    assert hook("yarn", extra=extra, deploy_mode="client", yarn_queue="q").client_mode
    standalone = hook("spark://m1:7077", extra={"deploy-mode": "cluster", "rest-port": "6067"})
    assert standalone._connection["rest_endpoint"] == "http://m1:6067"
    for wrong in ({"deploy-mode": "Cluster"}, {"spark-binary": "/tmp/mine"}, {"quue": "x"}):
        with pytest.raises(ConfigError, match=f"extra.{next(iter(wrong))}"):
            hook("yarn", extra=wrong)
    assert hook("yarn", "spark", extra={"something": "of a newer Airflow"}).kind == "yarn"


def test_the_deploy_mode_as_a_property(hook, tmp_path):
    """As Spark has it: the flag, --conf, and the file of properties; the connection's field comes before that file."""
    cluster = {"spark.submit.deployMode": "cluster"}
    made = hook("yarn", conf=cluster)
    assert not made.client_mode and made._is_yarn_cluster_mode
    assert not hook("yarn", conf=cluster, extra={"deploy-mode": "client"}).client_mode
    assert hook("yarn", conf=cluster, deploy_mode="client").client_mode
    with pytest.raises(ConfigError, match="conf.spark.submit.deployMode: 'Cluster' is not known"):
        hook("yarn", conf={"spark.submit.deployMode": "Cluster"})
    env = {"SPARK_CONF_DIR": str(tmp_path)}
    assert hook("yarn", env_vars=env).client_mode
    for line in ("spark.submit.deployMode cluster", "a b\n spark.submit.deployMode = cluster \n#c"):
        (tmp_path / "spark-defaults.conf").write_text(f"spark.submit.deployMode client\n{line}\n")
        assert not hook("yarn", env_vars=env).client_mode
        assert hook("yarn", env_vars=env, extra={"deploy-mode": "client"}).client_mode
        # a file given by name is read instead
        assert hook("yarn", env_vars=env, properties_file=str(tmp_path / "none")).client_mode
    others = "#spark.submit.deployMode cluster\nspark.submit.deployModes cluster\n"
    (tmp_path / "spark-defaults.conf").write_text(others)
    assert hook("yarn", env_vars=env).client_mode


def test_python_cannot_run_in_cluster_mode_on_a_standalone_master(hook):
    with pytest.raises(ConfigError, match="client mode only"):
        hook("spark://m1:7077", deploy_mode="cluster")._build_spark_submit_command("app.py")


def test_no_secret_stands_on_the_command_line(hook, tmp_path, logged):
    (tmp_path / "spark-defaults.conf").write_text("spark.ui.port 4999")
    conf = {"spark.authenticate.secret": "geheim 1\\", "spark.hadoop.fs.s3a.secret.key": "geheim-2", "spark.x": "1"}
    env = {"SPARK_CONF_DIR": str(tmp_path), "MY_TOKEN": "geheim-3"}
    made = hook("yarn", conf=conf, env_vars=env)
    command = made._build_spark_submit_command("app.py")
    assert "geheim" not in " ".join(command) and logged and "geheim" not in str(logged)
    assert "spark.x=1" in command
    path = Path(command[command.index("--properties-file") + 1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    lines = path.read_text().splitlines()
    assert lines[0] == "spark.ui.port 4999", "Spark no longer reads its defaults by itself"
    assert "spark.authenticate.secret=geheim 1\\\\" in lines and "spark.yarn.appMasterEnv.MY_TOKEN=geheim-3" in lines
    made._private.delete()
    assert not path.exists()


def test_a_properties_file_of_the_job_is_kept_beside_secrets(hook, tmp_path):
    own = tmp_path / "own.conf"
    own.write_text("spark.a=1\n")
    made = hook(conf={"spark.ssl.keyPassword": "x"}, properties_file=str(own))
    command = made._build_spark_submit_command("app.py")
    assert command.count("--properties-file") == 1
    assert Path(command[command.index("--properties-file") + 1]).read_text().split() == [
        "spark.a=1", "spark.ssl.keyPassword=x",
    ]  # fmt: skip
    plain = hook(properties_file=str(own))._build_spark_submit_command("app.py")
    assert plain[plain.index("--properties-file") + 1] == str(own)


def test_property_lines_mean_what_was_given():
    assert property_line("spark.a=b c", " x\n") == "spark.a\\=b\\ c=\\ x\\n"


def test_a_keytab_is_for_its_owner_alone(hook):
    extra = {"principal": "fate@REALM", "keytab": base64.b64encode(b"key").decode()}
    made = hook("yarn", extra=extra)
    path = Path(made._connection["keytab"])
    assert path.read_bytes() == b"key" and stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="keytab.*base64") as caught:
        hook("yarn", extra={"keytab": "not base64 geheim"})
    assert "geheim" not in str(caught.value)


def test_the_environment_of_pips_spark(hook, monkeypatch, tmp_path):
    for name in ("SPARK_HOME", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # as where the virtual environment is not activated
    made = hook("local[1]")
    command = made._build_spark_submit_command("app.py")
    home = spark_environment.pip_spark()
    assert Path(command[0]) == Path(sys.executable).parent / "spark-submit"
    expected = {"SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    assert made._env == expected
    remote = hook("spark://m:7077")
    remote._build_spark_submit_command("app.py")
    assert "PYSPARK_PYTHON" not in remote._env, "the nodes of a cluster have Pythons of their own"
    own = hook("local[1]", env_vars={"PYSPARK_PYTHON": "/p"})
    own._build_spark_submit_command("app.py")
    assert own._env["PYSPARK_PYTHON"] == "/p"


def test_a_packed_environment_is_for_the_executors(hook):
    command = hook("yarn", conf={"spark.pyspark.python": "./env/bin/python"})._build_spark_submit_command("app.py")
    assert f"spark.pyspark.driver.python={sys.executable}" in command
    command = hook("yarn", conf={"spark.pyspark.python": "/opt/p"})._build_spark_submit_command("app.py")
    assert not any("driver.python" in word for word in command)


def test_a_binary_that_is_nowhere_is_named(hook, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SPARK_HOME", raising=False)
    ok, message = hook(spark_binary="spark9-submit").test_connection()
    assert not ok and "spark9-submit is neither on PATH" in message and "pip install" in message


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('openjdk version "11.0.20" 2023-07-18', "Java 11; Spark needs Java 17"),
        ('java version "1.8.0_402"', "Java 8; Spark needs Java 17"),
        ("no idea", "does not say its version"),
    ],
)
def test_an_old_java_is_named(monkeypatch, tmp_path, hook, output, expected):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{output}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    ok, message = hook().test_connection()
    assert not ok and expected in message and str(java) in message
    with pytest.raises(ConfigError, match="Java"):
        hook().submit("app.py")


def test_a_missing_java_is_named(monkeypatch, tmp_path, hook):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    ok, message = hook().test_connection()
    assert not ok and "JAVA_HOME is" in message and "gone" in message


def test_yarn_without_its_configuration_is_refused_in_the_test(monkeypatch, tmp_path, hook):
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(FateSparkHook, "_version", lambda *_: "4")  # its own test runs it
    assert "HADOOP_CONF_DIR" in hook("yarn").test_connection()[1]
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    ok, message = hook("yarn").test_connection()
    assert not ok and "yarn-site.xml" in message
    (tmp_path / "yarn-site.xml").write_text("<configuration/>")
    assert hook("yarn").test_connection()[0]
    extra = {"yarn_resourcemanager_webapp_address": "no-such-host.invalid:8088"}
    ok, message = hook("yarn", extra=extra).test_connection()
    assert not ok and "no-such-host.invalid:8088" in message


def test_progress_is_logged_and_the_rest_goes_to_a_file(hook, tmp_path, logged):
    seen = []
    log = tmp_path / "a" / "driver.log"
    made = hook(driver_log_path=log, on_progress=seen.append)
    lines = ["WARN noise %s\n", '@fate {"text": "epoch 1", "n": 1}\n', "@fate {broken\n", '@fate ["x"]\n', "more\n"]
    made._process_spark_submit_log(iter(lines))
    assert logged == [f"Spark's own output goes to {log}", "epoch 1"]
    assert log.read_text().splitlines() == ["WARN noise %s", "@fate {broken", '@fate ["x"]', "more"]
    assert seen == [{"text": "epoch 1", "n": 1}]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_only_lines_with_the_run_s_word_are_progress(hook, tmp_path, logged):
    """A peer may have brought any other line about; a traceback holds its words."""
    seen = []
    made = hook("yarn", deploy_mode="cluster", driver_log_path=tmp_path / "log", on_progress=seen.append,
                progress_word="w0rd")  # fmt: skip
    forged = '@fate {"text": "all is well", "spark_ui": "https://evil.example/"}'
    lines = [forged, '@fate w0rd {"text": "epoch 1"}', forged.replace("@fate", "@fate other"), f"| {forged}",
             "| Application report for application_6_6 (state: ACCEPTED)", "| Traceback (most recent call last):",
             f"| PeerFailed: host-1 ended: {forged}"]  # fmt: skip
    made._process_spark_submit_log(iter(f"{line}\n" for line in lines))
    assert seen == [{"text": "epoch 1"}]
    assert made._yarn_application_id is None
    assert list(made._tail)[0] == "Traceback (most recent call last):" and len(made._tail) == 2
    assert (tmp_path / "log").read_text().splitlines() == [line for line in lines if "w0rd" not in line]


def test_ids_of_the_cluster_are_found_in_the_output(hook, tmp_path, logged):
    made = hook("yarn", deploy_mode="cluster", driver_log_path=tmp_path / "log")
    made._process_spark_submit_log(iter(["Application report for application_1_2 (state: ACCEPTED)\n"] * 3))
    assert made._yarn_application_id == "application_1_2"
    assert logged[1:] == ["Spark calls it application_1_2"]


def test_json_is_all_that_a_connection_needs(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_HERE", json.dumps({"conn_type": "spark", "host": "local[2]"}))
    assert FateSparkHook(conn_id="here").master == "local[2]"
