"""Spark, as an Airflow connection of type ``fate_spark``, or of Airflow's own type ``spark``."""

from __future__ import annotations

import base64
import binascii
import ctypes
import importlib.util
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk.log import mask_secret

from airflow_provider_fate.errors import FateError
from airflow_provider_fate.hooks import spark_environment, spark_master
from airflow_provider_fate.hooks.connections import ConnectionConfigError, Extras, get_connection
from airflow_provider_fate.hooks.forms import field_behaviour, form_widgets
from airflow_provider_fate.hooks.network import reason
from airflow_provider_fate.hooks.spark_private import PrivateFiles, owner_only, without_secrets
from airflow_provider_fate.runtime.progress import QUOTE, mark_of

TYPES = ("fate_spark", "spark")
EXTRAS = (
    "queue", "deploy-mode", "spark-binary", "namespace", "principal", "keytab", "rest-scheme", "rest-port",
    "yarn_resourcemanager_webapp_address",
)  # fmt: skip
#: names that a connection may give, where anybody with access to the admin page can write
BINARIES = ("spark-submit", "spark2-submit", "spark3-submit")
_DEPLOY_MODES = ("client", "cluster")
_EXAMPLE = "--conn-type fate_spark --conn-host 'local[*]'"
#: lines of spark-submit's output that an error quotes: before, and from a traceback on
_TAIL, _TRACEBACK = 20, 60

_silent = logging.getLogger(f"{__name__}.silent")
_silent.disabled = True
_libc = ctypes.CDLL(None, use_errno=True) if os.path.exists("/proc/self") else None


class SparkSubmitFailed(FateError, AirflowException):
    """spark-submit did not end well.

    :param code: what it ended with; negative for a signal
    :param tail: the last lines of its output
    :param log: the file with all of it, where there is one
    """

    def __init__(self, code: int | None, tail: list[str], log: str | None) -> None:
        self.code, self.tail, self.log = code, tail, log
        ended = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        where = f"; all of its output is in {log}" if log else ""
        last = "\nIts last lines:\n" + "\n".join(tail) if tail else ""
        super().__init__(f"spark-submit {ended}{where}{last}")


class FateSparkHook(SparkSubmitHook):
    """Runs spark-submit as Airflow's own hook does, and is strict where that one guesses.

    A missing connection is an error, not YARN; the address of the master must be one that Spark knows; no secret
    stands on the command line; the application's progress goes to the task's log and Spark's own output to a file;
    no process is left behind.

    :param conn_id: a connection of type ``fate_spark`` or ``spark``
    :param master: address of the cluster manager, over that of the connection
    :param driver_log_path: file for spark-submit's output, for its owner alone; without it all goes to the task's log
    :param on_progress: called with each of the application's progress messages, a dict with ``text``
    :param progress_word: what these begin with, see :func:`~airflow_provider_fate.runtime.progress.mark_of`
    :param private_directory: for files with secrets and temporary files of a driver on this machine, which somebody
        removes also where this process is killed
    :param kwargs: as :class:`SparkSubmitHook` has them
    """

    conn_name_attr = "conn_id"
    default_conn_name = "fate_spark_default"
    conn_type = "fate_spark"
    hook_name = "FATE Spark"

    # Airflow 3.1 looks for these two in the class itself

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        return field_behaviour(cls.conn_type)

    def __init__(
        self,
        conf: dict[str, Any] | None = None,
        conn_id: str = default_conn_name,
        *args: Any,
        master: str | None = None,
        driver_log_path: str | os.PathLike[str] | None = None,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        progress_word: str = "",
        private_directory: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self._master = master
        self._driver_log_path = os.fspath(driver_log_path) if driver_log_path else None
        self._on_progress = on_progress
        self._mark = mark_of(progress_word)
        self._quiet = False
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._private_directory = private_directory
        self._private = PrivateFiles(private_directory)
        super().__init__(conf, conn_id, *args, **kwargs)

    # -- the connection

    def _resolve_connection(self) -> dict[str, Any]:
        connection = get_connection(self._conn_id, TYPES, "Spark", _EXAMPLE)
        place = f"connection {self._conn_id!r}"
        if connection.conn_type == self.conn_type:
            extra = Extras(connection, EXTRAS)
        else:  # Airflow's own type: what we do not know is not ours to refuse
            extra = Extras(connection, {*EXTRAS, *connection.extra_dejson})
        master = self._master or _master_of(connection)
        try:
            kind = spark_master.kind_of(master)
        except ConnectionConfigError as error:
            raise error if self._master else ConnectionConfigError(f"{place}: host", error.problem) from None
        if kind == "k8s" and importlib.util.find_spec("airflow.providers.cncf") is None:
            raise ConnectionConfigError(
                place, "Spark on Kubernetes needs: pip install apache-airflow-providers-cncf-kubernetes"
            )
        if not self.spark_binary:
            self.spark_binary = extra.text("spark-binary", BINARIES[0], BINARIES)
        deploy_mode = (
            self._deploy_mode
            or self._conf_deploy_mode()
            or extra.text("deploy-mode", None, _DEPLOY_MODES)
            or self._default_deploy_mode()
        )
        scheme, port = extra.text("rest-scheme", "http", ("http", "https")), extra.integer("rest-port", 6066, 1, 65535)
        endpoint = None
        if kind == "standalone" and deploy_mode == "cluster" and "," not in master:
            endpoint = f"{scheme}://{master.removeprefix('spark://').rsplit(':', 1)[0]}:{port}"
        principal, keytab = self._principal or extra.text("principal"), self._keytab
        if keytab is None and (encoded := extra.text("keytab")):
            mask_secret(encoded)
            keytab = self._create_keytab_path_from_base64_keytab(encoded, principal)
        self._resource_manager = extra.text(self._YARN_RM_WEBAPP_ADDRESS_EXTRA_KEY)
        return {
            "master": master,
            "queue": self._yarn_queue or extra.text("queue"),
            "deploy_mode": deploy_mode,
            "spark_binary": self.spark_binary,
            "namespace": self._conf.get("spark.kubernetes.namespace") or extra.text("namespace"),
            "principal": principal,
            "keytab": keytab,
            "rest_scheme": scheme,
            "rest_port": port,
            "rest_endpoint": endpoint,
        }

    @property
    def master(self) -> str:
        """Address of the cluster manager."""
        return self._connection["master"]

    @property
    def kind(self) -> str:
        """``local``, ``standalone``, ``yarn`` or ``k8s``."""
        return spark_master.kind_of(self.master)

    @property
    def resource_manager(self) -> str | None:
        """Address of YARN's web interface, where the connection has it."""
        return self._resource_manager

    @property
    def client_mode(self) -> bool:
        """Whether the driver runs on this worker."""
        return self._connection["deploy_mode"] != "cluster"

    # The base class tells cluster managers by a part of the address, so that spark://yarn-1:7077 is taken for YARN;
    # what it sets is not taken.

    @property
    def _is_yarn(self) -> bool:
        return self.kind == "yarn"

    @_is_yarn.setter
    def _is_yarn(self, guess: bool) -> None:
        pass

    @property
    def _is_yarn_cluster_mode(self) -> bool:
        return self.kind == "yarn" and not self.client_mode

    @_is_yarn_cluster_mode.setter
    def _is_yarn_cluster_mode(self, guess: bool) -> None:
        pass

    @property
    def _is_kubernetes(self) -> bool:
        return self.kind == "k8s"

    @_is_kubernetes.setter
    def _is_kubernetes(self, guess: bool) -> None:
        pass

    def _conf_deploy_mode(self) -> str | None:
        value = self._conf.get(spark_environment.DEPLOY_MODE)
        if value is not None and value not in _DEPLOY_MODES:
            raise ConnectionConfigError(
                f"conf.{spark_environment.DEPLOY_MODE}", f"{value!r} is not known; expected client or cluster"
            )
        return value

    def _default_deploy_mode(self) -> str | None:
        """What Spark takes where nothing of ours says it."""
        with suppress(ConnectionConfigError):  # no spark-submit, which is said when it is to run
            properties = Path(self._properties_file) if self._properties_file else self._defaults_file()
            env = spark_master.environment_of(self._env_vars)
            return spark_environment.default_deploy_mode(properties) or env.get("DEPLOY_MODE")
        return None

    def _create_keytab_path_from_base64_keytab(self, base64_keytab: str, principal: str | None) -> str:
        try:
            keytab = base64.b64decode(base64_keytab, validate=True)
        except binascii.Error:
            raise ConnectionConfigError(
                f"connection {self._conn_id!r}: extra.keytab", "it is not base64; expected the output of base64 FILE"
            ) from None
        return self._private.write("keytab", keytab)

    # -- the command

    def _get_spark_binary_path(self) -> list[str]:
        return [str(spark_environment.find_binary(self.spark_binary))]

    def _build_spark_common_args(self) -> list[str]:
        python = str(self._conf.get("spark.pyspark.python", ""))
        if self.client_mode and python.startswith(".") and "spark.pyspark.driver.python" not in self._conf:
            # a packed environment is unpacked beside the executors, not beside a driver on this machine
            self._conf = {**self._conf, "spark.pyspark.driver.python": sys.executable}
        return without_secrets(super()._build_spark_common_args(), self._private, self._defaults_file)

    def _defaults_file(self) -> Path | None:
        env = spark_master.environment_of(self._env_vars)
        if env.get("SPARK_CONF_DIR"):
            return Path(env["SPARK_CONF_DIR"]) / "spark-defaults.conf"
        binary = Path(self._get_spark_binary_path()[0])
        added = spark_environment.environment(binary, local=False, client=False, env=env)
        home = added.get("SPARK_HOME") or env.get("SPARK_HOME") or binary.resolve().parent.parent
        return Path(home) / "conf" / "spark-defaults.conf"

    def _environment(self, binary: Path) -> dict[str, str]:
        return spark_environment.environment(
            binary,
            local=self.kind == "local",
            client=self.client_mode,
            env=spark_master.environment_of(self._env_vars),
        )

    def _build_spark_submit_command(self, application: str) -> list[str]:
        if self.kind == "standalone" and not self.client_mode and application.endswith(".py"):
            raise ConnectionConfigError(
                "deploy-mode", "a standalone master runs Python applications in client mode only; leave it empty"
            )
        command = super()._build_spark_submit_command(application)
        self._env = {**self._environment(Path(command[0])), **self._scratch(), **(self._env or {})}
        return command

    def _scratch(self) -> dict[str, str]:
        """Have a driver on this machine keep its own temporary files in the private directory too, unless somebody has
        said where: a JVM that is killed leaves them."""
        if self._private_directory is None or not self.client_mode or self.kind not in ("local", "standalone"):
            return {}
        properties = Path(self._properties_file) if self._properties_file else self._defaults_file()
        said = "SPARK_LOCAL_DIRS" in spark_master.environment_of(self._env_vars) or "spark.local.dir" in self._conf
        if said or (properties is not None and spark_environment.is_set(properties, "spark.local.dir")):
            return {}
        return {"SPARK_LOCAL_DIRS": os.fspath(self._private_directory)}

    # -- the run

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Run spark-submit to its end, or on a cluster until the application is accepted.

        :raises SparkSubmitFailed: it did not end well
        :raises ConnectionConfigError: spark-submit or Java is not there
        """
        spark_environment.check_java(spark_master.environment_of(self._env_vars))
        kwargs = {
            "start_new_session": True,  # so that on_kill reaches all of its processes
            "preexec_fn": _end_with_parent if _libc else None,
            "encoding": "utf-8",
            "errors": "replace",
            **kwargs,
        }
        try:
            return super().submit(application, **kwargs)
        except AirflowException as error:
            if isinstance(error, FateError) or self._submit_sp is None or not self._submit_sp.returncode:
                raise
            raise SparkSubmitFailed(self._submit_sp.returncode, list(self._tail), self._driver_log_path) from None
        finally:
            self._private.delete()

    @property
    def log(self) -> Any:
        return _silent if self._quiet else super().log

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        with self._driver_log() as output:
            for raw in itr:
                line = raw.rstrip("\n")
                if line.startswith(self._mark) and self._progress(line.removeprefix(self._mark)):
                    continue
                if output is None:
                    self.log.info("%s", line)
                else:
                    output.write(line + "\n")
                if line.startswith(QUOTE):
                    self._remember(line.removeprefix(QUOTE))
                else:
                    self._remember(line)
                    self._find_ids(line)

    @contextmanager
    def _driver_log(self) -> Iterator[TextIO | None]:
        if self._driver_log_path is None:
            yield None
            return
        Path(self._driver_log_path).parent.mkdir(parents=True, exist_ok=True)
        self.log.info("Spark's own output goes to %s", self._driver_log_path)
        with open(self._driver_log_path, "w", buffering=1, encoding="utf-8", opener=owner_only) as output:
            yield output

    def _progress(self, text: str) -> bool:
        """Whether ``text`` is a progress message; then it is logged."""
        try:
            message = json.loads(text)
            line = str(message["text"])
        except (ValueError, KeyError, TypeError):
            return False
        self.log.info("%s", line)
        if self._on_progress is not None:
            self._on_progress(message)
        return True

    def _remember(self, line: str) -> None:
        if line.startswith(("Traceback (most recent call last)", "Exception in thread")):
            self._tail = deque(maxlen=_TRACEBACK)
        self._tail.append(self._mask_cmd(line))

    def _find_ids(self, line: str) -> None:
        """Let the base class look for the application's id, without its log line for each line."""
        names = ("_yarn_application_id", "_kubernetes_driver_pod", "_kubernetes_application_id", "_driver_id")
        before = [getattr(self, name) for name in names]
        self._quiet = True
        try:
            super()._process_spark_submit_log(iter([line]))
        finally:
            self._quiet = False
        for old, name in zip(before, names, strict=True):
            if (new := getattr(self, name)) != old:
                self.log.info("Spark calls it %s", new)

    def on_kill(self) -> None:
        """End the application and all processes of spark-submit."""
        if self.client_mode:
            self._end_processes()
            super().on_kill()
        else:  # the base class asks the cluster only while spark-submit still runs
            super().on_kill()
            self._end_processes()

    def _end_processes(self) -> None:
        process = self._submit_sp
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)  # lets the driver give its executors back
            deadline = time.monotonic() + 1.5  # Airflow ends the task five seconds after it asked
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)

    # -- test

    def test_connection(self) -> tuple[bool, str]:
        """Find spark-submit and Java, let Spark say its version, and reach the master."""
        try:
            env = spark_master.environment_of(self._env_vars)
            binary = Path(self._get_spark_binary_path()[0])
            java = spark_environment.check_java(env)
            version = self._version(binary, {**env, **self._environment(binary)})
            found = spark_master.reach(self.master, self._resource_manager, env)
        except FateError as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - the form shows no traceback
            return False, f"the test of connection {self._conn_id!r} failed: {type(error).__name__}: {reason(error)}"
        return True, f"{found}; {binary} is Spark {version}; {java}"

    def _version(self, binary: Path, env: dict[str, str]) -> str:
        try:
            done = subprocess.run(
                [str(binary), "--version"], env=env, capture_output=True, text=True, timeout=60, errors="replace"
            )
        except subprocess.TimeoutExpired:
            raise ConnectionConfigError("Spark", f"{binary} --version gave no answer in 60 s") from None
        except OSError as error:
            raise ConnectionConfigError("Spark", f"{binary} cannot be run: {error.strerror}") from None
        output = done.stderr + done.stdout
        match = re.search(r"version (\d+\.\d+\S*)", output)
        if done.returncode or match is None:
            last = " / ".join(output.strip().splitlines()[-3:])
            raise ConnectionConfigError("Spark", f"{binary} --version ended with code {done.returncode}: {last[:300]}")
        return match.group(1)


def _master_of(connection: Any) -> str:
    host, port = (connection.host or "").strip(), connection.port
    if not host:
        raise ConnectionConfigError(
            f"connection {connection.conn_id!r}: host",
            "it is empty; expected the master, such as local[*], spark://host:7077, yarn or k8s://https://host:port",
        )
    if not port:
        return host
    return f"{host}:{port}" if "://" in host else f"spark://{host}:{port}"


def _end_with_parent() -> None:
    """In the new process: have the kernel end it when the task's process is gone, however that ended."""
    _libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG; it outlives exec
