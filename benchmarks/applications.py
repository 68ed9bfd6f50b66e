"""Applications of a job's parties, started as bare spark-submits with embedded storage and messages."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import IO

from airflow_provider_fate.hooks.spark_environment import environment, find_binary
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators._ship import application, code_zip
from airflow_provider_fate.runtime.federation.messages import new_nonce

JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # as the operator sets it for local masters


def submit(
    root: Path, job: Job, job_id: str, party: Party, *, cores: int = 2, output: int | IO[bytes] = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """A bare spark-submit of one party's application.

    :param root: where tables, models and messages are
    :param cores: of ``local[cores]``
    :param output: where its standard output goes
    """
    path = root / f"{job_id}-{party}.json"
    content = {
        "format": 1, "job_id": job_id, "nonce": new_nonce(), "job": job.to_dict(), "party": str(party),
        "storage": {"url": (root / "storage").as_uri()},
        "transport": {"kind": "directory", "path": str(root / "messages")}, "wait_seconds": 60,
    }  # fmt: skip
    path.write_text(json.dumps(content))
    binary = find_binary("spark-submit")
    env = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_SUBMIT_OPTS": JVM, "SPARK_LAUNCHER_OPTS": JVM}
    env |= environment(binary, local=True, client=True, env=env)
    command = [str(binary), "--master", f"local[{cores}]", "--py-files", code_zip(), application(), str(path)]
    return subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.DEVNULL)
