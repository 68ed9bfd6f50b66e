"""What spark-submit is told: the task's own arguments, the job's ``spark_run``, and the connections."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

from airflow_provider_fate.operators._job import as_object

if TYPE_CHECKING:
    from airflow_provider_fate.hooks.spark import FateSparkHook
    from airflow_provider_fate.job.conf import Job
    from airflow_provider_fate.job.party import Party
    from airflow_provider_fate.operators._work import WorkDirectory

#: quick to start; computing happens in Python, so a JVM that optimises less costs little
_LOCAL_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


class SparkArguments(SparkSubmitOperator):
    """The part of the operators that settles how Spark runs; not used by itself."""

    spark_run: dict[str, Any] | str | None
    spark_conn_id: str
    storage_conn_id: str
    archives: str | None
    python: str | None
    job_id: str | None
    _master: str | None
    _driver_log: Path | None
    _progress_word: str
    _work: WorkDirectory | None
    _on_progress: Callable[[dict[str, Any]], None]

    def _settle_spark(self, job: Job, party: Party) -> None:
        """Put together what says how Spark runs: ``spark_run`` of this task, its other arguments, the job's own
        ``spark_run``, the connection, spark-defaults.conf; the first that says something counts."""
        from airflow_provider_fate.hooks.storage import storage_hook
        from airflow_provider_fate.job.spark_run import SparkRun

        own = SparkRun.parse(as_object(self.spark_run, "spark_run"))
        base = job.spark_run_for(party)
        self._master = own.master or base.master
        self._conn_id = self.spark_conn_id
        self._archives = self.archives
        first, last = own.operator_kwargs(), base.operator_kwargs(without=self.conf or ())
        settings = storage_hook(self.storage_conn_id).spark_settings()
        self.conf = {**settings["conf"], **last.pop("conf", {}), **(self.conf or {}), **first.pop("conf", {})}
        self.env_vars = {**settings["env_vars"], **(self.env_vars or {})}
        for key in {*first, *last}:
            attribute = key if hasattr(self, key) else f"_{key}"
            # a flag that says no counts as well
            value = first[key] if key in first else getattr(self, attribute) or last.get(key)
            setattr(self, attribute, value)
        self.name = self.name or f"{self.job_id} {party}"
        self.conf.setdefault("spark.ui.showConsoleProgress", "false")
        self._settle_python()
        self._hook = self._get_hook()
        if self._hook.kind == "local":
            self._settle_local()
        elif self._hook.kind == "yarn" and not self._hook.client_mode:
            # only the resource manager can say how an application went that another process submitted
            self._yarn_track_via_rm_api = self._hook.resource_manager is not None
            self.durable = self.durable and self._yarn_track_via_rm_api

    def _settle_python(self) -> None:
        if self.python:
            self.conf["spark.pyspark.python"] = self.python
        elif self._archives and "spark.pyspark.python" not in self.conf:
            first, *others = self._archives.split(",")
            path, mark, alias = first.partition("#")
            alias = alias or "environment"
            self._archives = ",".join([f"{path}#{alias}", *others])
            self.conf["spark.pyspark.python"] = f"./{alias}/bin/python"

    def _settle_local(self) -> None:
        self.conf.setdefault("spark.port.maxRetries", "100")  # many applications on one machine, each with a UI
        env = {**os.environ, **self.env_vars}
        if "SPARK_LOCAL_IP" not in env:
            self.env_vars["SPARK_LOCAL_IP"] = "127.0.0.1"
        if "spark.driver.extraJavaOptions" not in self.conf:
            for name in ("SPARK_SUBMIT_OPTS", "SPARK_LAUNCHER_OPTS"):
                if name not in env:
                    self.env_vars[name] = _LOCAL_JVM

    def _get_hook(self) -> FateSparkHook:
        from airflow_provider_fate.hooks.spark import FateSparkHook

        return FateSparkHook(
            conf=self.conf,
            conn_id=self._conn_id,
            master=self._master,
            driver_log_path=self._driver_log,
            on_progress=self._on_progress,
            progress_word=self._progress_word,
            private_directory=self._work.path if self._work is not None else None,
            files=self.files,
            py_files=self.py_files,
            archives=self._archives,
            driver_class_path=self.driver_class_path,
            jars=self.jars,
            packages=self.packages,
            exclude_packages=self.exclude_packages,
            repositories=self._repositories,
            total_executor_cores=self._total_executor_cores,
            executor_cores=self._executor_cores,
            executor_memory=self._executor_memory,
            driver_memory=self._driver_memory,
            keytab=self.keytab,
            principal=self.principal,
            proxy_user=self.proxy_user,
            name=self.name,
            num_executors=self._num_executors,
            status_poll_interval=self._status_poll_interval,
            application_args=self.application_args,
            env_vars=self.env_vars,
            verbose=self._verbose,
            spark_binary=self._spark_binary,
            properties_file=self.properties_file,
            yarn_queue=self._yarn_queue,
            deploy_mode=self._deploy_mode,
            use_krb5ccache=self._use_krb5ccache,
            post_submit_commands=self.post_submit_commands,
            track_driver_via_k8s_api=self._track_driver_via_k8s_api,
            yarn_track_via_rm_api=self._yarn_track_via_rm_api,
            yarn_rm_auth=self._yarn_rm_auth,
        )
