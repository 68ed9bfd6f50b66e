"""FATE's test suites as DAGs: upload, train and predict as a suite file says, and a table of how it went."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, TaskGroup
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import TableName
from airflow_provider_fate.job.party import ROLES, Party
from airflow_provider_fate.operators._open_dag import open_dag
from airflow_provider_fate.operators._suite_file import SuiteFile, Upload, exists, read_suite
from airflow_provider_fate.operators._suite_jobs import SuiteJob, SuiteJobs
from airflow_provider_fate.operators._suite_tasks import FateRefusedOperator, FateSuiteSummaryOperator, keep_error
from airflow_provider_fate.operators.group import Parties, by_party, fate_predict, fate_train
from airflow_provider_fate.operators.upload import FateUploadOperator

SUMMARY = "summary"
UPLOAD = "upload"
_STORAGE = "fate_storage"
#: characters of an id that is made from a name; Airflow takes 250 of a task's, with its groups and the party
_LONGEST = 150


def fate_test_suite(
    path: str | os.PathLike[str],
    *,
    dag_id: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
    parties: Parties | None = None,
    upload: bool = True,
    at_once: int = 1,
    dag_arguments: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Any:
    """A DAG of a FATE test suite (``*_testsuite.json``); inside another DAG, a task group of it.

    Each table is uploaded once; each job is a group with a task for each party, and begins when the tables that it
    reads and the jobs that it needs are there. The task ``summary`` logs a line for each job, with its time and
    metrics, and fails where a job has failed or could not be run. A job that cannot be run here, such as one with a
    module that is not there yet, becomes a task that fails with the reason; the others run.

    :param path: the suite, beside the DAG's file; confs and DSLs are looked for beside the suite
    :param dag_id: by default from the suite's name
    :param data_root: FATE's folder, where a suite says ``examples/data/...``; by default looked for above the suite
    :param parties: who plays: ``["guest-9999", "host-10000", "host-10001", "arbiter-10000"]``, or a dict with
        arguments of their own (``{"guest-9999": {"storage_conn_id": ...}, ...}``). A job with one host has the first
        one. By default the parties that each conf names
    :param upload: whether to upload ``data``; without, the tables are there already
    :param at_once: how many jobs run at the same time; each has a Spark application for each party
    :param dag_arguments: for the DAG, e.g. ``{"schedule": "@weekly"}``
    :param arguments: for the operators of all jobs, e.g. ``spark_run``; ``storage_conn_id`` for the uploads as well
    :raises ConfigError: the suite, or a file that it names, is missing or wrong; names file and key
    """
    caller = sys._getframe(1).f_code.co_filename
    file = _found(Path(path).expanduser(), Path(caller).parent)
    name = dag_id or _id(re.sub(r"_?testsuite$", "", file.stem) or file.stem)
    if type(at_once) is not int or at_once < 1:
        raise ConfigError("at_once", f"{at_once!r}: expected a whole number from 1")
    root = None if data_root is None else _found(Path(data_root).expanduser(), Path(caller).parent)
    suite = read_suite(file, root)
    if open_dag() is not None:
        with TaskGroup(group_id=name, tooltip=f"FATE's test suite {file.name}") as group:
            _Builder(suite, parties, at_once, arguments, f"{group.group_id}.").build(upload)
        return group
    settings = {"schedule": None, "catchup": False, "tags": ["fate"], "doc_md": f"FATE's test suite `{file.name}`."}
    with DAG(name, **{**settings, **(dag_arguments or {})}) as dag:
        _Builder(suite, parties, at_once, arguments, "").build(upload)
    dag.fileloc = caller
    return dag


def _found(path: Path, folder: Path) -> Path:
    beside = folder / path
    return (beside if exists(beside) else path).absolute()


def _id(text: str) -> str:
    """A text as the id of a task or group."""
    made = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or "task"
    if len(made) <= _LONGEST:
        return made
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{made[: _LONGEST - 9]}_{digest}"


def _ids(names: Sequence[str]) -> dict[str, str]:
    """Ids of their own for names."""
    found: dict[str, str] = {}
    for name in names:
        base = own = _id(name)
        number = 1
        while own in found.values() or own in (SUMMARY, UPLOAD):
            number += 1
            own = f"{base}_{number}"
        found[name] = own
    return found


class _Builder:
    """Makes the tasks of a suite in the DAG or group that is open.

    :param prefix: of the tasks' ids
    """

    def __init__(
        self, suite: SuiteFile, parties: Parties | None, at_once: int, arguments: dict[str, Any], prefix: str
    ) -> None:
        own = by_party(parties or [])
        self.suite, self.at_once = suite, at_once
        self.own = {Party.parse(party): dict(more or {}) for party, more in own.items()}
        callbacks = arguments.get("on_failure_callback") or []
        callbacks = list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]
        self.arguments = {**arguments, "on_failure_callback": [*callbacks, keep_error]}
        self.groups = _ids(list(suite.entries))
        ids = {role: [p.party_id for p in self.own if p.role == role] for role in ROLES} if self.own else None
        self.jobs = SuiteJobs(
            suite, ids, lambda name, party: f"{prefix}{self.groups[name]}.{party.role}_{party.party_id}"
        ).jobs
        #: by connection and table, the upload and its task
        self.uploads: dict[tuple[str, TableName], tuple[Upload, Any]] = {}
        #: by job, the tasks that play it
        self.tasks: dict[str, dict[Party, Any]] = {}

    def build(self, upload: bool) -> None:
        if upload and self.suite.uploads:
            with TaskGroup(group_id=UPLOAD, tooltip="the suite's data"):
                for one in self.suite.uploads:
                    self._upload(one)
        lanes: list[list[Any]] = [[] for _ in range(self.at_once)]
        for place, job in enumerate(job for job in self.jobs.values() if not job.reason):
            lane = place % self.at_once
            lanes[lane] = self._run(job, lanes[lane])
        for job in self.jobs.values():
            if job.reason:
                self._refuse(job)
        summary = FateSuiteSummaryOperator(
            task_id=SUMMARY,
            rows=[self._row(job) for job in self.jobs.values()],
            uploads=[task.task_id for _, task in self.uploads.values()],
            notices=[
                *self.suite.notices,
                *(f"{name} is not run here: it is a script of FATE's Python client" for name in self.suite.scripts),
            ],
        )
        [task for tasks in self.tasks.values() for task in tasks.values()] >> summary
        [task for _, task in self.uploads.values()] >> summary

    # -- uploads

    def _storage_of(self, party: Party) -> str:
        return self.own.get(party, {}).get("storage_conn_id") or self.arguments.get("storage_conn_id") or _STORAGE

    def _owners(self, upload: Upload) -> list[Party]:
        """The parties that have the table; an index means a party in each job that has as many."""
        known = [p for job in self.jobs.values() for p in job.parties] if not self.own else list(self.own)
        known = list(dict.fromkeys(p for p in known if p.role != "arbiter"))
        if not upload.roles:
            return known
        ((role, index),) = upload.roles
        if self.own:
            return [p for p in known if p.role == role][index : index + 1]
        found = {}
        for job in self.jobs.values():
            of_role = [p for p in job.parties if p.role == role]
            found.update(dict.fromkeys(of_role[index : index + 1]))
        return list(found)

    def _upload(self, upload: Upload) -> None:
        table = TableName(upload.namespace, upload.name)
        connections = dict.fromkeys(self._storage_of(party) for party in self._owners(upload))
        for connection in connections or [str(self.arguments.get("storage_conn_id") or _STORAGE)]:
            if (connection, table) in self.uploads:
                before, _ = self.uploads[connection, table]
                if (before.source, {**before.conf, "partition": 0}) != (upload.source, {**upload.conf, "partition": 0}):
                    raise ConfigError(
                        f"{self.suite.path}: {upload.at}",
                        f"{table} is uploaded already, from another file or in another way, and both go to the "
                        f"connection {connection}; give the parties connections of their own with parties",
                    )
                continue
            role = f"{upload.roles[0][0]}_{upload.roles[0][1]}_" if upload.roles else ""
            task = self._upload_task(upload, f"{role}{_id(upload.name)}", connection)
            self.uploads[connection, table] = upload, task

    def _upload_task(self, upload: Upload, name: str, connection: str) -> Any:
        taken = {task.task_id.rpartition(".")[2] for _, task in self.uploads.values()}
        own, number = name, 1
        while own in taken:
            number += 1
            own = f"{name}_{number}"
        if upload.reason:
            return FateRefusedOperator(task_id=own, reason=upload.reason, on_failure_callback=[keep_error])
        conf = {"drop": 1, **upload.conf, "namespace": upload.namespace, "table_name": upload.name}
        return FateUploadOperator(
            task_id=own, source=upload.source, upload_conf=conf, storage_conn_id=connection,
            on_failure_callback=[keep_error],
        )  # fmt: skip

    # -- jobs

    def _run(self, job: SuiteJob, before: list[Any]) -> list[Any]:
        """Make the tasks of a job; it waits for its turn.

        :param before: the tasks after which it has its turn, however they end
        :returns: those after which the next one has
        """
        group = self._group(job)
        tasks = list(group.operators.values())
        self.tasks[job.name] = group.operators
        turn = []
        if before:
            with group:
                turn = [EmptyOperator(task_id="turn", trigger_rule="all_done")]
            before >> turn[0] >> tasks
        needed = [
            self.uploads[key][1]
            for party, table in sorted(job.tables(), key=str)
            if (key := (self._storage_of(party), table)) in self.uploads
        ]
        needed += [task for name in job.entry.needs for task in self.tasks[name].values()]
        for one in dict.fromkeys(needed):
            one >> tasks
        # a job whose tables are not there ends at once, while the one before it may still run
        return [*turn, *tasks]

    def _group(self, job: SuiteJob) -> Any:
        name = self.groups[job.name]
        own: dict[str, Any] = {str(party): self.own.get(party) for party in job.parties}
        arguments = {**self.arguments, "job": job.job, "data": job.data}
        if not job.predicts:
            return fate_train(name, parties=own, **arguments)
        model = self.tasks.get(job.entry.model_of) if job.entry.model_of else None
        if model is not None:
            guest = next(task for party, task in model.items() if party.role == "guest")
            arguments["model_version"] = guest.output["model_version"]
        elif job.model_version:
            arguments["model_version"] = job.model_version
        return fate_predict(name, job.model_id, parties=own, **arguments)

    def _refuse(self, job: SuiteJob) -> None:
        task = FateRefusedOperator(task_id=self.groups[job.name], reason=job.reason, on_failure_callback=[keep_error])
        for need in job.entry.needs:
            list(self.tasks[need].values()) >> task
        self.tasks[job.name] = {Party("guest", "0"): task}

    def _row(self, job: SuiteJob) -> dict[str, Any]:
        tasks = self.tasks[job.name]
        result = next((task.task_id for party, task in tasks.items() if party.role == "guest"), None)
        return {
            "name": job.name,
            "tasks": [task.task_id for task in tasks.values()],
            "result": None if job.reason else result,
            "evaluations": job.components("Evaluation"),
            "needs": job.entry.needs,
            "reason": job.reason,
        }
