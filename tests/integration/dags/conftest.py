"""One Airflow with the example DAGs and the connections of the embedded default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.airflow import Airflow

EXAMPLES = Path(__file__).parents[3] / "dags" / "examples"


@pytest.fixture(scope="module")
def examples(airflow_server: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    root = tmp_path_factory.mktemp("fate")
    airflow_server.set_connection("fate_storage", "fs", extra={"path": str(root / "storage")})
    airflow_server.set_connection("fate_transport", "fs", extra={"path": str(root / "messages")})
    airflow_server.set_connection("fate_spark", "spark", host="local[1]")
    airflow_server.add_dags(EXAMPLES)
    airflow_server.root = root
    yield airflow_server
