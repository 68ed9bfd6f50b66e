"""Pytest plugin: one real server of each kind, started when the first test asks for it.

The servers' modules are imported by the fixtures, so that unit tests do not wait for what they do not use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.servers.airflow import Airflow
    from tests.servers.chromium import Chromium
    from tests.servers.hdfs import HDFS
    from tests.servers.nginx import Nginx
    from tests.servers.postgres import PostgreSQL
    from tests.servers.rabbitmq import RabbitMQNode
    from tests.servers.spark import SparkStandalone

Directories = pytest.TempPathFactory


@pytest.fixture(scope="session")
def rabbitmq_node(tmp_path_factory: Directories) -> Iterator[RabbitMQNode]:
    """A RabbitMQ node with management, federation and TLS. Take a virtual host of your own: ``new_vhost()``."""
    from tests.servers.rabbitmq import RabbitMQNode

    with RabbitMQNode(tmp_path_factory.mktemp("rabbitmq"), "rabbit", tls=True) as node:
        yield node


@pytest.fixture(scope="session")
def two_rabbitmq_nodes(
    rabbitmq_node: RabbitMQNode, tmp_path_factory: Directories
) -> Iterator[tuple[RabbitMQNode, RabbitMQNode]]:
    """Two separate brokers, as two companies have them: the session's node and a second one."""
    from tests.servers.rabbitmq import RabbitMQNode

    with RabbitMQNode(tmp_path_factory.mktemp("rabbitmq-peer"), "peer") as peer:
        yield rabbitmq_node, peer


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: Directories) -> Iterator[HDFS]:
    """A NameNode and a DataNode with WebHDFS. Use directories of your own."""
    from tests.servers.hdfs import HDFS

    with HDFS(tmp_path_factory.mktemp("hdfs")) as server:
        yield server


@pytest.fixture(scope="session")
def spark_standalone(tmp_path_factory: Directories) -> Iterator[SparkStandalone]:
    """A Spark standalone master with one worker, roomy enough for three parties at once."""
    from tests.servers.spark import SparkStandalone

    with SparkStandalone(tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: Directories) -> Iterator[PostgreSQL]:
    """A PostgreSQL server. Take a database of your own: ``new_database()``."""
    from tests.servers.postgres import PostgreSQL

    with PostgreSQL(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def airflow_server(tmp_path_factory: Directories) -> Iterator[Airflow]:
    """The session's Airflow. Add DAGs of your own with ``add_dags()`` and connections with ``set_connection()``."""
    from tests.servers.airflow import Airflow

    with Airflow(tmp_path_factory.mktemp("airflow")) as server:
        yield server


@pytest.fixture
def start_airflow(tmp_path_factory: Directories) -> Iterator[Callable[..., Airflow]]:
    """Starts another Airflow for one test, with the arguments of ``Airflow`` but the directory."""
    from tests.servers.airflow import Airflow

    with ExitStack() as stack:

        def start(*args: Any, **kwargs: Any) -> Airflow:
            return stack.enter_context(Airflow(tmp_path_factory.mktemp("airflow"), *args, **kwargs))

        yield start


@pytest.fixture
def start_nginx(tmp_path_factory: Directories) -> Iterator[Callable[..., Nginx]]:
    """Starts an nginx before an API server for one test, with the arguments of ``Nginx`` but the directory."""
    from tests.servers.nginx import Nginx

    with ExitStack() as stack:

        def start(*args: Any, **kwargs: Any) -> Nginx:
            return stack.enter_context(Nginx(tmp_path_factory.mktemp("nginx"), *args, **kwargs))

        yield start


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """Headless Chromium. Take a page of your own: ``page()``.

    For one module only: while Playwright's blocking interface is in use, no other test could run an event loop.
    """
    from tests.servers.chromium import Chromium

    with Chromium() as chromium:
        yield chromium
