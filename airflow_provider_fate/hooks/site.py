"""The Airflow of another organisation, as an Airflow connection of type ``fate_site``."""

from __future__ import annotations

import ipaddress
import re
import ssl
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook
from airflow.sdk.log import mask_secret

from airflow_provider_fate.errors import ConfigError, FateError
from airflow_provider_fate.hooks.connections import ConnectionConfigError, Extras, get_connection
from airflow_provider_fate.hooks.forms import field_behaviour, form_widgets
from airflow_provider_fate.hooks.network import reason
from airflow_provider_fate.hooks.site_client import Account, NotThere, SiteClient, SiteRefusal, words
from airflow_provider_fate.job.invitation import ANSWER
from airflow_provider_fate.job.names import short
from airflow_provider_fate.job.plain import flatten, plain

_EXTRAS = ("dag_id", "verify", "ca_file", "client_cert", "client_key", "timeout")
_EXAMPLE = (
    "--conn-type fate_site --conn-host https://fl.partner.example/airflow --conn-login ACCOUNT --conn-password ... "
    """--conn-extra '{"ca_file": "/etc/fate/partner-ca.pem"}'"""
)
#: the DAG that takes invitations, where the connection names no other
INVITED = "fate_invited"
#: states in which a run has come to its end
ENDED = ("success", "failed")

#: what a name may be to stand in an address that a site's nginx lets through
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~:+-]{0,249}")
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")
_LONGEST_NOTE = 1000  # of Airflow's runs
_PAGE = 25  # a task may have 40 kB of rendered fields
_MOST_TASKS = 2000


class FateSiteHook(BaseHook):
    """A peer's Airflow behind its nginx: starts runs of the one DAG that takes invitations, and watches and ends them.

    Every method raises :class:`TransportError` where the site cannot be reached, fails or answers oddly (another try
    may help), :class:`SiteRefusal` where it refuses, and :class:`ConnectionConfigError` where the connection is wrong.

    :param conn_id: a connection of type ``fate_site``
    """

    conn_name_attr = "conn_id"
    default_conn_name = "fate_site_default"
    conn_type = "fate_site"
    hook_name = "FATE Site"

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    # Airflow 3.1 looks for these two in the class itself

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        return field_behaviour(cls.conn_type)

    # -- what the connection says

    @cached_property
    def _connection(self) -> Any:
        found = get_connection(self.conn_id, [self.conn_type], "a peer's Airflow", _EXAMPLE)
        if found.password:
            mask_secret(found.password)
        return found

    @cached_property
    def _extras(self) -> Extras:
        return Extras(self._connection, _EXTRAS)

    @cached_property
    def url(self) -> str:
        """The address of the site with its prefix, without a slash at the end."""
        connection = self._connection
        place = f"connection {connection.conn_id!r}: host"
        example = "an address such as https://fl.partner.example/airflow is expected"
        text = (connection.host or "").strip()
        if not text:
            raise ConnectionConfigError(place, f"it is empty; {example}")
        try:
            parts = urlsplit(text)
            own_port = parts.port
        except ValueError:
            raise ConnectionConfigError(place, f"it has no valid host or port; {example}") from None
        if "@" in parts.netloc:  # not quoted: it may hold a password
            raise ConnectionConfigError(place, f"it has a user; login and password have fields of their own; {example}")
        path = parts.path.rstrip("/")
        plain_parts = _HOST.fullmatch(parts.netloc) and _PREFIX.fullmatch(path)
        if parts.scheme not in ("https", "http") or not plain_parts or parts.query or parts.fragment:
            raise ConnectionConfigError(place, f"{short(text)} is not understood; {example}")
        if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
            raise ConnectionConfigError(
                place, f"{short(text)} is without TLS, which is allowed to this machine only; {example}"
            )
        if connection.schema:
            raise ConnectionConfigError(
                f"connection {connection.conn_id!r}: schema",
                f"it is not used: put scheme and prefix into host; {example}",
            )
        port = connection.port or own_port
        if own_port and port != own_port:
            raise ConnectionConfigError(
                place, f"its port is {own_port}, and the field port says {port}: clear the field"
            )
        netloc = parts.netloc if own_port or not port else f"{parts.netloc}:{port}"
        return f"{parts.scheme}://{netloc}{path}"

    @property
    def dag_id(self) -> str:
        """The DAG there that takes invitations."""
        dag_id = self._extras.text("dag_id", INVITED) or INVITED
        if not _NAME.fullmatch(dag_id):
            raise self._extras.error("dag_id", f"{short(dag_id)} is not the id of a DAG")
        return dag_id

    @cached_property
    def account(self) -> Account:
        """All that the connection says, with its password."""
        extras, connection = self._extras, self._connection
        certificate, key = extras.file("client_cert"), extras.file("client_key")
        ca_file, verify = extras.file("ca_file"), extras.flag("verify", True)
        if key and not certificate:
            raise extras.error("client_key", "it is set without client_cert")
        if ca_file:
            try:
                ssl.create_default_context(cafile=ca_file)
            except (ssl.SSLError, ValueError):
                raise extras.error("ca_file", f"{ca_file} holds no certificate in PEM format") from None
        if certificate:
            self._check_pair(certificate, key)
        return Account(
            conn_id=self.conn_id,
            url=self.url,
            login=connection.login or "",
            password=connection.password or "",
            verify=(ca_file or True) if verify else False,
            cert=(certificate, key) if certificate and key else certificate,
            timeout=extras.number("timeout", 30, 1, 600),
        )

    def _check_pair(self, certificate: str, key: str | None) -> None:
        def no_password() -> str:
            raise self._extras.error(name, f"{place} is encrypted; a key without a passphrase is expected")

        name, place = ("client_key", key) if key else ("client_cert", certificate)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise self._extras.error(name, f"{place} is not the key of the certificate {certificate}") from None
            files = f"{certificate} and {key} hold" if key else f"{certificate} holds"
            raise self._extras.error("client_cert", f"{files} no certificate with its key in PEM format") from None

    # -- runs

    @cached_property
    def client(self) -> SiteClient:
        """Sends the requests, and keeps the token."""
        return SiteClient(self.account)

    def start_run(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> bool:
        """Start a run of a DAG there, once: asked again with the same conf, nothing is started.

        :param run_id: the run's id there, which the caller chooses
        :param conf: the run's conf
        :returns: whether it was started now, and not before
        :raises ConfigError: there is a run with this id and another conf; it names the entries, not their values
        """
        path, ours = self._run(dag_id, run_id), plain(conf, "conf")
        body = {"dag_run_id": run_id, "logical_date": None, "conf": ours}
        try:
            self.client.call("POST", path.rpartition("/")[0], f"start run {run_id} of {dag_id}", body)
            return True
        except SiteRefusal as error:
            if error.status != 409:
                raise
        # the same status stands for other conflicts as well: look at the run itself
        found = self.client.call("GET", path, f"read run {run_id} of {dag_id}, which it has already")
        theirs = found.get("conf")
        if difference := _difference(ours, {} if theirs is None else theirs):
            raise ConfigError(
                f"run {run_id} of {dag_id}",
                f"{self.url} has a run of this id already, with another conf ({difference}); one id names one job: "
                "give the changed job another id, or have that run deleted there",
            )
        return False

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a run there: ``queued``, ``running``, ``success`` or ``failed``.

        :raises NotThere: there is no such run (any more)
        """
        doing = f"read run {run_id} of {dag_id}"
        return self.client.state(self.client.call("GET", self._run(dag_id, run_id), doing), doing)

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """The states of a run's tasks by their ids, ``id[index]`` for a mapped one; None for one that is not due yet.

        :raises NotThere: there is no such run (any more)
        :raises SiteRefusal: the site does not show its tasks to partners, as deploy/nginx by default
        """
        doing = f"read the tasks of run {run_id} of {dag_id}"
        path = f"{self._run(dag_id, run_id)}/taskInstances"
        states: dict[str, str | None] = {}
        for offset in range(0, _MOST_TASKS, _PAGE):
            page = self.client.call("GET", f"{path}?order_by=id&limit={_PAGE}&offset={offset}", doing)
            found = page.get("task_instances")
            if not isinstance(found, list) or len(found) > _PAGE:
                raise self.client.odd(doing, "task_instances is not a page of a list")
            for one in found:
                states.update([self._task(one, doing)])
            if len(found) < _PAGE:
                return states
        raise self.client.odd(doing, f"the run has more than {_MOST_TASKS} tasks")

    def _task(self, one: Any, doing: str) -> tuple[str, str | None]:
        if not isinstance(one, dict):
            raise self.client.odd(doing, "a task is not an object")
        name, index = one.get("task_id"), one.get("map_index", -1)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or type(index) is not int:
            raise self.client.odd(doing, "a task has no valid task_id and map_index")
        state = None if one.get("state") is None else self.client.state(one, doing)
        return (name if index < 0 else f"{name}[{index}]"), state

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = ANSWER, kind: type = object) -> Any:
        """A value that a task there returned or pushed; None where there is none.

        It comes from another organisation: it is plain JSON within the bounds of :func:`plain`, and no more is known
        of it.

        :param key: only what the site lets partners read; another one is a :class:`SiteRefusal`
        :param kind: the Python type that it must have: ``dict``, ``list``, ``str``, ...
        :raises TransportError: it is larger, or of another type
        """
        doing = f"read the XCom {key} of task {task_id} in run {run_id} of {dag_id}"
        task = f"{self._run(dag_id, run_id)}/taskInstances/{self._name('task_id', task_id)}"
        try:
            entry = self.client.call("GET", f"{task}/xcomEntries/{self._name('key', key)}?map_index=-1", doing)
        except NotThere:
            return None
        if "value" not in entry:
            raise self.client.odd(doing, "it has no value")
        value = entry["value"]
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool) and kind is int):
            raise self.client.odd(doing, f"its value is of type {type(value).__name__}, not {kind.__name__}")
        return value

    def end_run(self, dag_id: str, run_id: str, note: str) -> str | None:
        """End a run there: it fails, and its tasks are stopped. One that is gone or has ended is left as it is.

        :param note: why; shown with the run, cut to 1000 characters
        :returns: the state that the run has then, None where there is no such run
        """
        doing = f"end run {run_id} of {dag_id}"
        try:
            state = self.run_state(dag_id, run_id)
            if state in ENDED:
                return state
            body = {"state": "failed", "note": note[:_LONGEST_NOTE]}
            return self.client.state(self.client.call("PATCH", self._run(dag_id, run_id), doing, body), doing)
        except NotThere:
            return None

    def run_url(self, dag_id: str, run_id: str) -> str:
        """Where a run is shown in the site's UI, to those whom the site lets see it."""
        return f"{self.url}/dags/{self._name('dag_id', dag_id)}/runs/{self._name('run_id', run_id)}"

    def _run(self, dag_id: str, run_id: str) -> str:
        return f"/api/v2/dags/{self._name('dag_id', dag_id)}/dagRuns/{self._name('run_id', run_id)}"

    @staticmethod
    def _name(argument: str, value: str) -> str:
        """A name as a part of a path: of characters only that need no quoting there."""
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise ConfigError(
                argument,
                f"{short(value)} cannot name something on another Airflow; expected are at most 250 of "
                "ASCII letters, digits and _ . ~ : + -, starting with a letter or digit",
            )
        return value

    # -- test

    def test_connection(self) -> tuple[bool, str]:
        """Reach the site, log in, and look at the DAG that takes invitations."""
        try:
            return True, self._test()
        except FateError as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - the form shows no traceback
            return False, f"the test of connection {self.conn_id!r} failed: {type(error).__name__}: {reason(error)}"

    def _test(self) -> str:
        account, dag_id = self.account, self.dag_id
        doing = f"look at DAG {dag_id}"
        found = self.client.call("GET", f"/api/v2/dags/{dag_id}", doing)
        if found.get("dag_id") != dag_id:
            raise self.client.odd(doing, "it is about another DAG")
        text = f"Reached {account.url}"
        if account.url.startswith("https:"):
            text += " over TLS" if account.verify else " over TLS, its certificate not verified"
        text += f" with the certificate {account.certificate}" if account.certificate else ""
        text += f", logged in as {account.login!r}" if account.login else ", the token is taken"
        text += f", and DAG {dag_id} is there"
        if found.get("is_paused") is True:
            text += "; it is paused, so that runs wait until it is unpaused there"
        return text


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _difference(ours: Any, theirs: Any) -> str:
    """Which entries of two confs differ; empty where they say the same."""
    if _same(ours, theirs):
        return ""
    here, there = flatten(ours, ""), flatten(theirs, "")
    found = {
        "different": [name for name in here if name in there and not _same(here[name], there[name])],
        "only here": [name for name in here if name not in there],
        "only there": [name for name in there if name not in here],
    }
    parts = []
    for what, names in found.items():
        shown = [words(name or "all of it", 160) for name in names[:10]]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        if shown:
            parts.append(f"{what}: {', '.join(shown)}{more}")
    return "; ".join(parts) or "the same names, nested in another way"


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values say the same. A database may keep 1.0 as 1; true is no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


__all__ = ["ANSWER", "ENDED", "INVITED", "FateSiteHook", "NotThere", "SiteRefusal"]
