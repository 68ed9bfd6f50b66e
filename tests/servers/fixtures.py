"""Pytest plugin: one real server of each kind for the whole session, started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.servers.airflow import Airflow
from tests.servers.hdfs import HDFS
from tests.servers.rabbitmq import RabbitMQNode
from tests.servers.spark import SparkStandalone


@pytest.fixture(scope="session")
def rabbitmq_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A RabbitMQ node with management, federation and TLS. Take a virtual host of your own: ``new_vhost()``."""
    with RabbitMQNode(tmp_path_factory.mktemp("rabbitmq"), "rabbit", tls=True) as node:
        yield node


@pytest.fixture(scope="session")
def two_rabbitmq_nodes(
    rabbitmq_node: RabbitMQNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RabbitMQNode, RabbitMQNode]]:
    """Two separate brokers, as two companies have them: the session's node and a second one."""
    with RabbitMQNode(tmp_path_factory.mktemp("rabbitmq-peer"), "peer") as peer:
        yield rabbitmq_node, peer


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HDFS]:
    """A NameNode and a DataNode with WebHDFS. Use directories of your own."""
    with HDFS(tmp_path_factory.mktemp("hdfs")) as server:
        yield server


@pytest.fixture(scope="session")
def spark_standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkStandalone]:
    """A Spark standalone master with one worker, roomy enough for three parties at once."""
    with SparkStandalone(tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def airflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """The session's Airflow. Add DAGs of your own with ``add_dags()`` and connections with ``set_connection()``."""
    with Airflow(tmp_path_factory.mktemp("airflow")) as server:
        yield server


@pytest.fixture
def start_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Airflow]]:
    """Starts another Airflow for one test, with the arguments of :class:`Airflow` but the directory."""
    with ExitStack() as stack:

        def start(*args: Any, **kwargs: Any) -> Airflow:
            return stack.enter_context(Airflow(tmp_path_factory.mktemp("airflow"), *args, **kwargs))

        yield start
