"""The application that spark-submit starts: one party's part of one job.

Its only argument is the path of the job file, which the operator wrote for this run and which holds all that the
job needs, secrets among it. The file is deleted as soon as it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from typing import Any
from urllib.parse import unquote, urlsplit

if sys.path and os.path.dirname(os.path.abspath(__file__)) == os.path.abspath(sys.path[0]):
    # this folder's module names are not meant to be importable by themselves
    del sys.path[0]

from airflow_provider_fate.errors import ConfigError, FateError, reason_for_peers
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.config import transport_from_config
from airflow_provider_fate.runtime.federation.session import Session
from airflow_provider_fate.runtime.progress import QUOTE, Progress
from airflow_provider_fate.runtime.storage.base import Storage
from airflow_provider_fate.runtime.storage.local import LocalStorage

FORMAT = 1
#: what the names of the directories begin with in which tasks keep the files of a try, see ``operators/_work.py``
TRY_DIRECTORY = "fate-job-"


def main(arguments: list[str]) -> int:
    """Run one party's part of a job. :returns: the process's exit code"""
    if len(arguments) != 1:
        print("usage: main.py JOB_FILE", file=sys.stderr)
        return 2
    stopping = _Stop(arguments[0])
    application = read_job_file(arguments[0])
    party = Party.parse(application["party"])
    progress = Progress(application["job_id"], party, application.get("progress_word", ""))
    if application.get("tell_in_storage"):
        progress.tell_in_storage()
    stopping.watch_parent()
    session: Session | None = None
    try:
        job = Job.from_dict(application["job"])
        version = job.model_version or application["job_id"]
        session = stopping.session = Session(
            transport_from_config(application["transport"]),
            application["job_id"],
            party,
            job.parties,
            nonce=application["nonce"],
            wait_seconds=float(application["wait_seconds"]),
            common={**job.common(), "model_version": version},
            log=progress.say,
        )
        spark = _Spark(progress, f"{application['job_id']} {party}")
        spark.start_early(has_rows=party.role != "arbiter")
        storage = open_storage(application["storage"])
        progress.attach(storage)

        from airflow_provider_fate.runtime.pipeline import Pipeline
        from airflow_provider_fate.runtime.spark_engine import SparkEngine

        engine = SparkEngine(lambda: spark.with_executors(float(application["wait_seconds"])))
        pipeline = Pipeline(
            job, application["job_id"], version, party, storage, engine, progress, application.get("run_url", "")
        )
        pipeline.prepare()
        if not pipeline.ended_before(session):
            spark.await_started(float(application["wait_seconds"]))
            pipeline.run(session)
        progress.write_status(state="success", component=None)
        with contextlib.suppress(Exception):  # nothing that Spark says now takes the results away
            spark.stop()
        return 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, the peers and the user are told
        message = str(error) if isinstance(error, FateError) else f"{type(error).__name__}: {error}"
        print_traceback()
        if session is not None:
            if isinstance(error, KeyboardInterrupt):
                time.sleep(0.7)  # whoever stopped it tells the peers why; this says less, and is to come second
            session.abort(reason_for_peers(error))
        progress.say(f"failed: {message}", error=message, kind=type(error).__name__)
        with contextlib.suppress(Exception):
            progress.write_status(state="failed", error={"type": type(error).__name__, "message": message})
        return 1
    finally:
        stopping.clean_up()
        sys.stdout.flush()


def print_traceback() -> None:
    """The current exception, on standard error, in lines that nothing in it can begin."""
    for line in traceback.format_exc().splitlines():
        print(f"{QUOTE}{line}", file=sys.stderr)


def read_job_file(path: str) -> dict[str, Any]:
    """Read and delete the job file.

    :raises ConfigError: it is not there or not of this version
    """
    if not os.path.exists(path):
        # a cluster's deploy mode puts shipped files into the working directory
        path = os.path.basename(path)
    try:
        with open(path, "rb") as stream:
            application = json.load(stream)
    except (OSError, ValueError) as error:
        raise ConfigError("job file", f"cannot read {path}: {error}") from error
    with contextlib.suppress(OSError):
        os.unlink(path)
    if application.get("format") != FORMAT:
        raise ConfigError("job file", f"{path} has format {application.get('format')}; this version reads {FORMAT}")
    return application


def open_storage(config: dict[str, Any]) -> Storage:
    """The storage of a job file: ``{"url": ...}``."""
    url = str(config["url"])
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStorage(unquote(parts.path))

    from airflow_provider_fate.runtime.storage.hadoop import HadoopStorage

    return HadoopStorage(url)


class _Spark:
    """The Spark session, started when it is first needed."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name
        self._lock = threading.Lock()
        self._session: Any = None
        self._ready = False
        self._wanted = False

    def start_early(self, *, has_rows: bool) -> None:
        """On a cluster, ask for executors while the parties still meet.

        A local master has none to wait for, and few rows are computed without it. In cluster deploy mode a context
        is needed in any case: the application master gives up on an application that starts none.
        """
        from pyspark import SparkConf, SparkContext

        SparkContext._ensure_initialized()  # without its JVM, a conf knows nothing of spark-submit's flags
        conf = SparkConf()
        distributed = not conf.get("spark.master", "local").startswith("local")
        self._wanted = distributed and has_rows
        if self._wanted or conf.get("spark.submit.deployMode", "client") == "cluster":
            threading.Thread(target=self._start_quietly, name="spark-start", daemon=True).start()

    def _start_quietly(self) -> None:
        with contextlib.suppress(Exception):  # comes again, with its reason, where the session is used
            self.session()

    def session(self) -> Any:
        with self._lock:
            if self._session is None:
                from pyspark.sql import SparkSession

                # two columns that differ in case only are two columns
                builder = SparkSession.builder.appName(self._name).config("spark.sql.caseSensitive", "true")
                self._session = builder.getOrCreate()
                self._session.sparkContext.setLogLevel("WARN")
                url = self._session.sparkContext.uiWebUrl
                if url:
                    self._progress.status["spark_ui"] = url
                    self._progress.say(f"Spark's UI of this application: {url}", spark_ui=url)
            return self._session

    def await_started(self, wait_seconds: float) -> None:
        """Where :meth:`start_early` asked for executors, wait for one: a cluster that cannot be reached, or is full, is
        an error also for a job with so few rows that the driver computes them."""
        if self._wanted:
            self.with_executors(wait_seconds)

    def with_executors(self, wait_seconds: float) -> Any:
        """The session, once it has an executor: Spark itself would wait for one without end and without a word.

        :raises FateError: none has come
        """
        session = self.session()
        with self._lock:
            context = session.sparkContext
            dynamic = context.getConf().get("spark.dynamicAllocation.enabled", "false") == "true"
            if self._ready or dynamic or context.master.startswith("local"):
                return session
            deadline = time.monotonic() + wait_seconds
            told = False
            # the driver itself is one of those with a block manager
            while context._jsc.sc().getExecutorMemoryStatus().size() < 2:
                if time.monotonic() > deadline:
                    raise FateError(
                        f"Spark gave this application no executor within {wait_seconds:.0f} s (master "
                        f"{context.master}). Does another application, perhaps another party of this job, hold all "
                        "cores or memory? On a standalone master set total-executor-cores in spark_run"
                    )
                if not told and time.monotonic() > deadline - wait_seconds + 10:
                    self._progress.say("waiting for an executor of Spark")
                    told = True
                time.sleep(0.1)
            self._ready = True
        return session

    def stop(self) -> None:
        if self._session is not None:
            self._session.stop()


class _Stop:
    """Ends this process when it is told to, or when the spark-submit that started it is gone."""

    def __init__(self, job_file: str) -> None:
        self.session: Session | None = None
        self._directory = os.path.dirname(job_file)
        self._parent = os.getppid()
        signal.signal(signal.SIGTERM, self._told)

    def _told(self, *_: Any) -> None:
        raise KeyboardInterrupt("the application was told to stop")

    def watch_parent(self) -> None:
        """A driver whose JVM was killed would wait for its peers for ever."""

        def watch() -> None:
            while os.getppid() == self._parent:
                time.sleep(0.5)
            self.clean_up()
            if self.session is not None:
                self.session.abort("its Spark application was killed")
            os._exit(143)

        threading.Thread(target=watch, name="watch-parent", daemon=True).start()

    def clean_up(self) -> None:
        """Remove the directory of the task's try where the task cannot do so any more, as it was killed."""
        if os.getppid() != self._parent and os.path.basename(self._directory).startswith(TRY_DIRECTORY):
            shutil.rmtree(self._directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
