"""A DAG that takes invitations, as far as the tests of the site's connection need one."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task


@dag(
    schedule=None,
    params={"seconds": Param(0, type="number", maximum=600), "tables": Param({}, type="object")},
    is_paused_upon_creation=False,
)
def fate_invited():
    @task
    def decide() -> str:
        context = get_current_context()
        answer: dict[str, Any] = {"accepted": True, "tables": sorted(context["params"]["tables"]), "share": 0.5}
        context["ti"].xcom_push(key="fate_answer", value=answer)
        return "not for partners"

    @task
    def train() -> None:
        time.sleep(get_current_context()["params"]["seconds"])

    decide() >> train()


fate_invited()
