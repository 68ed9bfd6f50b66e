"""The examples' connections, edited to lead to HDFS, RabbitMQ and a standalone Spark master."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fate.runtime.federation.keys import Keys, encode_key

if TYPE_CHECKING:
    from tests.servers.airflow import Airflow
    from tests.servers.hdfs import HDFS
    from tests.servers.rabbitmq import RabbitMQNode
    from tests.servers.spark import SparkStandalone

EXAMPLES = Path(__file__).parents[3] / "dags" / "examples"
HERE = Path(__file__).parent


@dataclass
class Cluster:
    """One of each server, with Airflow's connections to them."""

    airflow: Airflow
    hdfs: HDFS
    rabbitmq: RabbitMQNode
    spark: SparkStandalone
    vhost: str
    root: str

    def read(self, path: str) -> Any:
        """A JSON file below the storage's root."""
        import json

        with self.hdfs.client().read(f"{self.root}/{path}") as stream:
            return json.loads(stream.read())

    def weights(self, model_id: str, version: str, party: str) -> dict[str, float]:
        """What the logistic regression learnt at a party."""
        return self.read(f"models/{model_id}/{version}/{party}/hetero_lr_0.json")["meta"]

    def queues(self) -> list[str]:
        """Queues that are left in the jobs' virtual host."""
        return [queue["name"] for queue in self.rabbitmq.api("GET", f"queues/{self.vhost}")]

    def wait_for_log(self, dag_id: str, run_id: str, task_id: str, text: str, seconds: float = 180) -> None:
        """Wait until a running task's log has a text."""
        import time

        deadline = time.monotonic() + seconds
        while text not in (log := self.airflow.task_log(dag_id, run_id, task_id)):
            if time.monotonic() > deadline:
                raise AssertionError(f"{task_id} has not logged {text!r} after {seconds:.0f} s:\n{log[-4000:]}")
            time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(
    airflow_server: Airflow, hdfs: HDFS, rabbitmq_node: RabbitMQNode, spark_standalone: SparkStandalone
) -> Iterator[Cluster]:
    vhost = rabbitmq_node.new_vhost()
    key = Keys(os.urandom(32))
    root = hdfs.new_directory("/fate-cluster", hdfs.superuser)
    airflow_server.set_connection(
        "fate_storage", "fate_hdfs", host="127.0.0.1", port=hdfs.http_port, login=hdfs.superuser,
        extra={"hdfs_url": hdfs.url, "root_path": root},
    )  # fmt: skip
    airflow_server.set_connection(
        "fate_transport", "fate_rabbitmq", host=rabbitmq_node.host, port=rabbitmq_node.port, schema=vhost,
        login=rabbitmq_node.login, password=rabbitmq_node.password,
        extra={
            "management_port": rabbitmq_node.management_port,
            # all parties are on this Airflow and share the connection
            "private_key": encode_key(key.private),
            "peer_keys": dict.fromkeys(("9999", "10000"), encode_key(key.public)),
        },
    )  # fmt: skip
    airflow_server.set_connection("fate_spark", "fate_spark", host=spark_standalone.url)
    airflow_server.add_dags(EXAMPLES, HERE / "fate_faults.py")
    yield Cluster(airflow_server, hdfs, rabbitmq_node, spark_standalone, vhost, root)
