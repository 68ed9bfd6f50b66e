"""spark_run: spark-submit's flags by their names."""

from __future__ import annotations

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.spark_run import FLAGS, SparkRun


@pytest.mark.parametrize(
    "conf",
    [
        {"spark.a": 1, "spark.b": True, "spark.c": "x=y"},
        ["spark.a=1", "spark.b=true", "spark.c=x=y"],
        "spark.a=1\nspark.b=true\nspark.c=x=y\n",
        "--conf spark.a=1 --conf spark.b=true --conf spark.c=x=y",
        "spark.a=1 --conf  spark.b=true\n--conf=spark.c=x=y",
        ["--conf spark.a=1 --conf spark.b=true", "spark.c=x=y"],
    ],
)
def test_conf_as_dict_list_or_text(conf: object) -> None:
    run = SparkRun.parse({"conf": conf})
    assert run.conf == {"spark.a": "1", "spark.b": "true", "spark.c": "x=y"}
    assert run.operator_kwargs() == {"conf": run.conf}


@pytest.mark.parametrize("options", ["-Dx=1 -Dspark.y=2", "-Dx=a b=c", "--add-opens=java.base/x=y -Dspark.z=1"])
def test_options_of_java_are_one_value(options: str) -> None:
    name = "spark.executor.extraJavaOptions"
    for conf in ({name: options}, f"{name}={options}", [f"--conf {name}={options}"]):
        assert SparkRun.parse({"conf": conf}).conf == {name: options}


def test_a_dict_takes_any_value() -> None:
    assert SparkRun.parse({"conf": {"spark.a": "1 spark.b=2"}}).conf == {"spark.a": "1 spark.b=2"}


@pytest.mark.parametrize("key", ["executor-memory", "executor_memory", "--executor-memory"])
def test_spellings_of_a_flag(key: str) -> None:
    assert SparkRun.parse({key: "4g"}).operator_kwargs() == {"executor_memory": "4g"}


def test_every_flag_reaches_spark_submit() -> None:
    values = {"text": "x", "memory": "2g", "count": 3, "yes": True}
    given = {name: values[flag.kind] for name, flag in FLAGS.items()} | {"deploy-mode": "client"}
    run = SparkRun.parse(given)
    kwargs = run.operator_kwargs()
    assert run.master == "x"
    reached = {flag.argument for flag in FLAGS.values()} & set(kwargs) | set(kwargs["conf"])
    assert len(reached) == len(FLAGS) - 1
    assert kwargs["conf"]["spark.driver.cores"] == "3"
    assert kwargs["yarn_queue"] == "x"
    assert SparkRun.parse(run.to_dict()) == run


def test_the_arguments_are_sparksubmitoperators() -> None:
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

    known = SparkSubmitOperator.__init__.__wrapped__.__code__.co_varnames  # type: ignore[attr-defined]
    for flag in FLAGS.values():
        assert flag.argument is None or flag.argument in known


def test_one_lies_over_another() -> None:
    base = SparkRun.parse({"executor-memory": "1g", "master": "local[2]", "conf": {"spark.a": 1, "spark.b": 1}})
    top = SparkRun.parse({"conf": ["spark.executor.memory=4g", "spark.a=2"]})
    assert top.over(base).to_dict() == {
        "executor-memory": "4g", "master": "local[2]", "conf": {"spark.a": "2", "spark.b": "1"},
    }  # fmt: skip


def test_a_flag_and_a_property_may_agree() -> None:
    assert SparkRun.parse({"total-executor-cores": 4, "conf": "spark.cores.max=4"}).flags == {"total-executor-cores": 4}


def test_nothing_set() -> None:
    for value in (None, {}, {"executor-memory": None, "conf": None}):
        assert SparkRun.parse(value).operator_kwargs() == {}


@pytest.mark.parametrize(
    ("value", "where", "says"),
    [
        ("executor-memory=4g", "spark_run", "expected a dict"),
        ({"executor-memry": "4g"}, "spark_run.executor-memry", "did you mean executor-memory?"),
        ({"spark.executor.memory": "4g"}, "spark_run.spark.executor.memory", "belongs in conf"),
        ({"executor-memory": "4 gigs"}, "spark_run.executor-memory", "512m or 4g"),
        ({"executor-memory": True}, "spark_run.executor-memory", "expected one line of text"),
        ({"executor-cores": 0}, "spark_run.executor-cores", "at least 1"),
        ({"executor-cores": "two"}, "spark_run.executor-cores", "at least 1"),
        ({"executor-cores": True}, "spark_run.executor-cores", "at least 1"),
        ({"supervise": "maybe"}, "spark_run.supervise", "true or false"),
        ({"deploy-mode": "yarn"}, "spark_run.deploy-mode", "client or cluster"),
        ({"name": "a\nb"}, "spark_run.name", "one line"),
        ({"class": "x.Y"}, "spark_run.class", "is not allowed"),
        ({"kill": "driver-1"}, "spark_run.kill", "is not allowed"),
        ({"conf": 5}, "spark_run.conf", "expected a dict, a list"),
        ({"conf": "spark.a"}, "spark_run.conf", "expected text such as"),
        ({"conf": ["spark.a=1", 5]}, "spark_run.conf[1]", "expected text such as"),
        ({"conf": "--conf"}, "spark_run.conf", "expected text such as"),
        ({"conf": "spark.a=1 spark.b=2"}, "spark_run.conf", "one property a line"),
        ({"conf": "spark.a=1,spark.b=2"}, "spark_run.conf", "one property a line"),
        ({"conf": ["spark.c=1", "spark.a=1 spark.b =2"]}, "spark_run.conf[1]", "one property a line"),
        ({"conf": {"executor.memory": "4g"}}, "spark_run.conf.executor.memory", "not a Spark property"),
        ({"conf": {"spark.a": [1]}}, "spark_run.conf.spark.a", "expected text"),
        ({"conf": ["spark.a=1", "spark.a=2"]}, "spark_run.conf[1]", "keep one of them"),
        ({"executor-memory": "4g", "conf": {"spark.executor.memory": "2g"}},
         "spark_run.conf.spark.executor.memory", "says something else than spark_run.executor-memory"),
        ({"executor-memory": "4g", "executor_memory": "2g"}, "spark_run.executor_memory", "keep one of them"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(value: object, where: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SparkRun.parse(value)
    assert caught.value.path == where
    assert says in caught.value.problem


def test_values_of_properties_do_not_show_in_errors() -> None:
    for conf in (["spark.x.password=hush", "spark.x.password=hush2"], {"x.password": "hush"}, {"spark.p": ["hush"]}):
        with pytest.raises(ConfigError) as caught:
            SparkRun.parse({"conf": conf})
        assert "hush" not in str(caught.value)
