"""The demo: the five steps on an Airflow inside this clone; and the same Airflow left up to look around.

Environment variables: PORT asks for a port; DEMO_HOME is another place for Airflow's home; DEMO_DAG is another DAG.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import requests

from tests.servers.process import ServerError
from tools import checks, presentation
from tools.airflow_home import DemoAirflow
from tools.trouble import Trouble, run, say

REPOSITORY = Path(__file__).resolve().parents[1]
DAGS = REPOSITORY / "dags" / "examples"
DAG = os.environ.get("DEMO_DAG") or "fate_five_steps"
LONGEST_SECONDS = 1800
_RUN_BYTES = checks.GIB // 2


def _start(home: Path) -> DemoAirflow:
    """Start Airflow in its home and wait until it answers."""
    checks.disk(home, _RUN_BYTES, "The demo")
    port, remark = checks.port(os.environ.get("PORT", ""))
    if remark:
        say(remark)
    dags = Path(os.environ.get("DEMO_DAGS") or DAGS)
    server = DemoAirflow(home, dags, port)
    began = time.monotonic()
    say("Starting Airflow: API server, scheduler with LocalExecutor, DAG processor")
    try:
        server.start()
        made = server.make_connections()
    except BaseException:
        server.end()
        raise
    say(f"Airflow is up at {server.url} after {time.monotonic() - began:.0f} s")
    if made:
        say(f"Made the connections {', '.join(made)}: Spark local[*], tables, models and messages below {home}")
    return server


def demo(home: Path) -> int:
    """Run the five steps once, show how they go and what came out."""
    server = _start(home)
    run_id = ""
    try:
        server.stop_runs(DAG)
        run_id = server.trigger(DAG)
        say(f"Started the DAG {DAG}, run {run_id}\n")
        state, tasks = _follow(server, run_id)
        say("\n" + presentation.tasks_table(tasks))
        if state != "success":
            _explain(server, tasks)
            return 1
        _results(server, run_id, tasks)
        run_id = ""
    finally:
        if run_id:  # the tasks are asked to end before their processes are ended
            _stop_run(server)
        server.end()
    _where_next(home)
    return 0


def _follow(server: DemoAirflow, run_id: str) -> tuple[str, list[dict[str, Any]]]:
    """Show the run's progress until it ends."""
    follower = presentation.Follower(server.task_log_file)
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        state = server.api("GET", f"dags/{DAG}/dagRuns/{run_id}")["state"]
        tasks = server.task_instances(DAG, run_id)
        follower.look(tasks)
        if state in ("success", "failed"):
            return state, tasks
        server.check_running()
        if time.monotonic() > deadline:
            raise Trouble(
                f"the run is not through after {LONGEST_SECONDS // 60} minutes; logs are in {server.home}/logs"
            )
        time.sleep(0.7)


def _explain(server: DemoAirflow, tasks: list[dict[str, Any]]) -> None:
    """Say which tasks failed, with the end of their logs."""
    failed = sorted((task for task in tasks if task["state"] == "failed"), key=lambda task: task["end_date"] or "9")
    for task in failed:
        path, reason = server.task_log_file(task), "failed"
        lines = presentation.last_lines(path)
        if not lines:  # it never came so far as to write one
            path, reason = server.home / "scheduler.log", "could not be started"
            lines = presentation.last_lines(path)
        say(f"\n{presentation.name_of(task)} {reason}. The last lines of {path}:", file=sys.stderr)
        say("  " + "\n  ".join(lines), file=sys.stderr)
    names = ", ".join(map(presentation.name_of, failed)) or "no task"
    say(f"\nerror: the run of {DAG} failed: {names}. docs/troubleshooting.md explains messages", file=sys.stderr)


def _results(server: DemoAirflow, run_id: str, tasks: list[dict[str, Any]]) -> None:
    """Show metrics and predictions of a run that went well."""
    trainings: dict[str, Any] = {}
    prediction: dict[str, Any] | None = None
    deployed = None
    for task in sorted(tasks, key=lambda one: one["start_date"] or "9"):
        if task["task_id"] == "deploy":
            deployed = server.xcom(DAG, run_id, "deploy")["model_version"]
        if ".guest_" not in task["task_id"]:
            continue
        result = server.xcom(DAG, run_id, task["task_id"], map_index=task["map_index"])
        if result.get("csv"):
            prediction = result
        elif result.get("metrics"):
            trainings[presentation.name_of(task)] = result
    if trainings:
        say("\n" + presentation.metrics_table(trainings, deployed))
    if prediction:
        say(f"\nThe first of {prediction['result']['count']} predictions, all of them in {prediction['csv']}:")
        say(presentation.predictions_table(Path(prediction["csv"])))


def _stop_run(server: DemoAirflow) -> None:
    try:
        if server.stop_runs(DAG):
            say("Stopping the run", file=sys.stderr)
            time.sleep(1)
    except Exception:  # noqa: BLE001 - Airflow may be what is broken; it is ended next
        return


def _where_next(home: Path) -> None:
    say(
        f"""
Where to look next
  make ui                            the same Airflow in the browser: the run, its logs, the connections' forms
  dags/examples/fate_five_steps.py   the DAG that ran; dags/examples/fate_jobs/hetero_lr.json is its job
  {home / "fate_storage"}
                                     tables (Parquet), models (JSON) and jobs
  README.md                          how to run the same DAG on HDFS, RabbitMQ and a Spark cluster"""
    )


def ui(home: Path) -> int:
    """Leave Airflow up until Ctrl-C."""
    server = _start(home)
    try:
        say(
            f"""
  address   {server.url}
  login     {server.login}
  password  {server.password}

The example DAGs are paused; the switch beside a DAG's name unpauses it. Logs are in {home}.
Ctrl-C ends Airflow."""
        )
        while True:
            time.sleep(1)
            server.check_running()
    except KeyboardInterrupt:
        say("\nEnding Airflow")
        return 0
    finally:
        server.end()


def main() -> int:
    home = Path(os.environ.get("DEMO_HOME") or REPOSITORY / ".airflow").absolute()
    held = checks.lock(home)
    try:
        return {"demo": demo, "ui": ui}[sys.argv[1]](home)
    except ServerError as error:
        raise Trouble(str(error)) from error
    except requests.RequestException as error:
        raise Trouble(f"Airflow does not answer as it should: {error}\nIts logs are in {home}") from error
    finally:
        held.close()


if __name__ == "__main__":
    sys.exit(run(main))
