"""The hook of a remote site: what it reads of a connection, and how it bears whatever a server answers."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from airflow.sdk import Connection
from cryptography.hazmat.primitives import serialization

from airflow_provider_fate.errors import ConfigError, FateError, TransportError
from airflow_provider_fate.hooks import bounded_http
from airflow_provider_fate.hooks.connections import ConnectionConfigError
from airflow_provider_fate.hooks.site import FateSiteHook, NotThere, SiteRefusal
from tests.servers.certificates import Authority

PASSWORD = "correct-horse-battery"
RUNS = "/airflow/api/v2/dags/fate_invited/dagRuns"
RUN = f"{RUNS}/job-1"
DAG = "/airflow/api/v2/dags/fate_invited"

Answer = tuple[int, Any]


def token(number: int, claims: dict[str, Any]) -> str:
    """A token as Airflow makes them; nobody here checks its signature."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS512"}, claims)]
    head, body = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.signature-{number}"


class Site:
    """As much of an Airflow as the hook speaks to, and whatever a test puts in its place.

    :ivar instead: ``{(method, path): answer}``; an answer is (status, JSON or bytes), or a function of the handler
    :ivar requests: what came, as (method, path with query, headers, JSON)
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.instead: dict[tuple[str, str], Any] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.claims: Callable[[], dict[str, Any]] = lambda: {"iat": time.time(), "exp": time.time() + 3600}
        self.tokens: list[str] = []
        self.good: set[str] = set()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                site.answer(self)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/airflow"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def logins(self) -> int:
        return sum(path == "/airflow/auth/token" for _, path, _, _ in self.requests)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        self.requests.append((handler.command, handler.path, dict(handler.headers), body))
        path = handler.path.partition("?")[0]
        known = self.instead.get((handler.command, path))
        if callable(known):
            with contextlib.suppress(OSError):
                known(handler)
            handler.close_connection = True
            return
        status, content = known or self.usual(handler.command, path, handler.headers.get("Authorization"), body)
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        if 300 <= status < 400:
            handler.send_header("Location", f"http://127.0.0.1:{self.port}/airflow/elsewhere")
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(content)

    def usual(self, method: str, path: str, authorization: str | None, body: Any) -> Answer:
        if path == "/airflow/auth/token":
            if body != {"username": "us", "password": PASSWORD}:
                return 401, {"detail": "Invalid credentials"}
            made = token(len(self.tokens), self.claims())
            self.tokens.append(made)
            self.good.add(made)
            return 201, {"access_token": made}
        if authorization not in {f"Bearer {one}" for one in self.good}:
            return 401, {"detail": "Invalid JWT token"}
        if path == DAG:
            return 200, {"dag_id": "fate_invited", "is_paused": False}
        if (method, path) == ("POST", RUNS):
            if body["dag_run_id"] in self.runs:
                return 409, {"detail": {"reason": "Unique constraint violation", "statement": "hidden"}}
            self.runs[body["dag_run_id"]] = {"state": "queued", "conf": body["conf"]}
            return 200, self.runs[body["dag_run_id"]]
        run = self.runs.get(path.removeprefix(f"{RUNS}/"))
        if run is None:
            return 404, {"detail": f"The DagRun with dag_id: `fate_invited` and run_id: `{path}` was not found"}
        if method == "PATCH":
            run.update(body)
        return 200, run


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.close()


@pytest.fixture
def hook(connect, site):
    """``hook(host=..., login=..., password=..., **extra)``: a hook of a connection to the site."""

    def make(host=None, login="us", password=PASSWORD, port=None, schema=None, **extra):
        fields = {"host": host or site.url, "login": login, "password": password, "port": port, "schema": schema}
        return FateSiteHook(connect("fate_site", extra={"timeout": 5, **extra}, **fields))

    return make


# -- what the connection says


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("https://fl.partner.example/airflow", None, "https://fl.partner.example/airflow"),
        ("https://fl.partner.example/airflow/", None, "https://fl.partner.example/airflow"),
        (" https://fl.partner.example ", None, "https://fl.partner.example"),
        ("https://fl.partner.example:8443/a/b-c", None, "https://fl.partner.example:8443/a/b-c"),
        ("https://fl.partner.example/a", 8443, "https://fl.partner.example:8443/a"),
        ("https://fl.partner.example/a", 0, "https://fl.partner.example/a"),
        ("https://fl.partner.example:8443/a", 8443, "https://fl.partner.example:8443/a"),
        ("https://[fd00::1]/a", 8443, "https://[fd00::1]:8443/a"),
        ("http://127.0.0.1:8080", None, "http://127.0.0.1:8080"),
        ("http://[::1]:8080", None, "http://[::1]:8080"),
        ("http://localhost:8080", None, "http://localhost:8080"),
    ],
)
def test_the_address(hook, host, port, url):
    assert hook(host, port=port).url == url


@pytest.mark.parametrize("port", [None, 0, 8443])
def test_the_address_survives_the_way_that_the_test_button_takes(monkeypatch, port):
    """Airflow hands the connection to the hook as a URI in an environment variable."""
    host = "https://fl.partner.example:8443/Airflow/a_b"
    made = Connection(conn_id="x", conn_type="fate_site", host=host, port=port, login="us", password="p@:/w")
    monkeypatch.setenv("AIRFLOW_CONN_AS_URI", made.get_uri())
    hook = FateSiteHook("as_uri")
    assert hook.url == host and (hook.account.login, hook.account.password) == ("us", "p@:/w")


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("  ", "empty"),
        ("fl.partner.example/airflow", "not understood"),
        ("ftp://fl.partner.example", "not understood"),
        ("https://", "not understood"),
        ("https://a b/", "not understood"),
        ("https://fl.partner.example/a?b=c", "not understood"),
        ("https://fl.partner.example/a#b", "not understood"),
        ("https://fl.partner.example/a/../b", "not understood"),
        ("https://fl.partner.example/a//b", "not understood"),
        ("https://fl.partner.example/a%2fb", "not understood"),
        ("https://fl.partner.example:port/", "no valid host or port"),
        ("http://fl.partner.example/airflow", "without TLS"),
        ("http://10.0.0.1/airflow", "without TLS"),
    ],
)
def test_another_address_is_refused(hook, host, problem):
    with pytest.raises(ConnectionConfigError, match=rf"host: .*{problem}.*https://fl\.partner\.example/airflow"):
        hook(host).url  # noqa: B018 - read for its error


def test_a_password_in_the_address_is_refused_and_not_shown(hook):
    with pytest.raises(ConnectionConfigError, match="it has a user") as caught:
        hook("https://us:hunter2@fl.partner.example/").url  # noqa: B018
    assert "hunter2" not in str(caught.value)


def test_fields_that_contradict_the_address_are_refused(hook):
    with pytest.raises(ConnectionConfigError, match="its port is 8443, and the field port says 443"):
        hook("https://fl.partner.example:8443/", port=443).url  # noqa: B018
    with pytest.raises(ConnectionConfigError, match="schema: it is not used"):
        hook("https://fl.partner.example/", schema="airflow").url  # noqa: B018


@pytest.fixture
def files(tmp_path):
    """Two client certificates with their keys, one of the keys encrypted too, and something else."""
    authority = Authority(tmp_path / "ca")
    first, second = authority.issue("first"), authority.issue("second")
    key = serialization.load_pem_private_key(first.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    both, other = tmp_path / "both.pem", tmp_path / "other.txt"
    both.write_bytes(first.certificate.read_bytes() + first.key.read_bytes())
    other.write_text("no certificate")
    return {
        "CA": authority.certificate,
        "CERT": first.certificate,
        "KEY": first.key,
        "SECOND": second.key,
        "LOCKED": locked,
        "BOTH": both,
        "OTHER": other,
    }


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"ca_fil": "x"}, "extra.ca_fil: .*did you mean ca_file"),
        ({"use_ssl": True}, "extra.use_ssl: .*not known"),
        ({"dag_id": "a/b"}, "extra.dag_id: .*not the id of a DAG"),
        ({"timeout": 0}, "extra.timeout: .*1 to 600"),
        ({"verify": "perhaps"}, "extra.verify: true or false"),
        ({"ca_file": "/no/such.pem"}, "extra.ca_file: /no/such.pem cannot be read: No such file"),
        ({"ca_file": "OTHER"}, "extra.ca_file: .*holds no certificate"),
        ({"client_key": "KEY"}, "extra.client_key: it is set without client_cert"),
        ({"client_cert": "CERT"}, "extra.client_cert: .*first.pem holds no certificate with its key"),
        ({"client_cert": "CERT", "client_key": "SECOND"}, "extra.client_key: .*second.key.pem is not the key of"),
        ({"client_cert": "CERT", "client_key": "LOCKED"}, "extra.client_key: .*locked.pem is encrypted"),
        ({"client_cert": "OTHER", "client_key": "KEY"}, "extra.client_cert: .*hold no certificate"),
    ],
)
def test_a_wrong_field_is_named(hook, files, extra, problem):
    made = hook(**{name: str(files.get(value, value)) for name, value in extra.items()})
    ok, message = made.test_connection()
    assert not ok and re.search(problem, message), message
    assert "\n" not in message


def test_the_right_fields(hook, files):
    made = hook(ca_file=str(files["CA"]), client_cert=str(files["CERT"]), client_key=str(files["KEY"])).account
    assert made.verify == str(files["CA"]) and made.cert == (str(files["CERT"]), str(files["KEY"]))
    alone = hook(client_cert=str(files["BOTH"]), verify="no", ca_file=str(files["CA"])).account
    assert alone.verify is False and alone.cert == str(files["BOTH"])
    assert hook().account.verify is True and hook().dag_id == "fate_invited"
    assert hook(dag_id="other.dag").dag_id == "other.dag"


def test_another_connection_is_refused(connect):
    with pytest.raises(ConfigError, match="'http'.*fate_site"):
        FateSiteHook(connect("http", host="x")).url  # noqa: B018
    with pytest.raises(ConfigError, match="airflow connections add nowhere --conn-type fate_site"):
        FateSiteHook("nowhere").url  # noqa: B018


# -- tokens


def test_one_login_serves_many_requests(hook, site):
    made = hook()
    for _ in range(3):
        assert made.test_connection()[0]
    assert site.logins == 1
    assert {headers["Authorization"] for _, path, headers, _ in site.requests if path == DAG} == {
        f"Bearer {site.tokens[0]}"
    }


def test_a_token_is_renewed_before_it_expires_whatever_the_clocks_say(hook, site):
    site.claims = lambda: {"iat": 1_000_000, "exp": 1_000_002}  # a clock that stands in 1970; two seconds
    made = hook()
    made.test_connection()
    made.test_connection()
    assert site.logins == 1
    time.sleep(1.7)
    assert made.test_connection()[0]
    assert site.logins == 2


@pytest.mark.parametrize(
    "claims",
    [{}, {"exp": None}, {"exp": "soon"}, {"exp": [1]}, {"exp": float("nan")}, {"exp": 1e400}, {"exp": 9e15, "iat": {}}],
)
def test_a_token_that_does_not_say_when_it_ends_is_used_until_it_is_refused(hook, site, claims):
    site.claims = lambda: claims
    made = hook()
    made.test_connection()
    assert made.test_connection()[0]
    assert site.logins == 1
    site.good.clear()
    assert made.test_connection()[0]
    assert site.logins == 2


def test_a_refused_token_is_renewed_once(hook, site):
    made = hook()
    made.start_run("fate_invited", "job-1", {})
    site.good.clear()  # as when [api_auth] jwt_secret changes
    assert made.run_state("fate_invited", "job-1") == "queued"
    assert site.logins == 2
    site.instead["GET", RUN] = (401, {"detail": "no"})
    with pytest.raises(SiteRefusal, match="refuses the token that it gave 'us' just now.*jwt_secret") as caught:
        made.run_state("fate_invited", "job-1")
    assert caught.value.status == 401 and site.logins == 3


def test_threads_share_one_login(hook, site):
    made = hook()
    made.start_run("fate_invited", "job-1", {})
    site.good.clear()
    states: list[str] = []
    threads = [
        threading.Thread(target=lambda: states.append(made.run_state("fate_invited", "job-1"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert states == ["queued"] * 8 and site.logins == 2


def test_a_ready_made_token(hook, site):
    site.good.add("ready.made.token")
    made = hook(login=None, password="ready.made.token")
    assert made.test_connection() == (True, f"Reached {site.url}, the token is taken, and DAG fate_invited is there")
    site.good.clear()
    ok, message = made.test_connection()
    assert not ok and "refuses the token in the password field" in message and "login and password" in message
    assert site.logins == 0 and "ready.made.token" not in message


@pytest.mark.parametrize(
    ("login", "password", "problem"),
    [
        ("us", "wrong-password", "refuses the login 'us' with its password"),
        ("us", None, "password: it is empty"),
        (None, None, "password: it is empty"),
        (None, "two words", "a ready-made token is expected here"),
        (None, "line\r\nX-Injected: 1", "a ready-made token is expected here"),
    ],
)
def test_a_wrong_login_is_named_without_its_password(hook, login, password, problem):
    ok, message = hook(login=login, password=password).test_connection()
    assert not ok and problem in message
    assert not password or password not in message


def test_a_netrc_file_is_not_asked(hook, site, monkeypatch, tmp_path):
    place = tmp_path / "netrc"
    place.write_text("machine 127.0.0.1 login other password other\n")
    place.chmod(stat.S_IRUSR | stat.S_IWUSR)
    monkeypatch.setenv("NETRC", str(place))
    assert hook().test_connection()[0]
    assert [headers.get("Authorization") for _, _, headers, _ in site.requests] == [None, f"Bearer {site.tokens[0]}"]


# -- runs


def test_a_run_is_started_once(hook, site):
    made = hook()
    conf = {"job": {"rate": 0.1, "rounds": 1.0, "list": [1, {"a": None}]}}
    assert made.start_run("fate_invited", "job-1", conf) is True
    assert made.start_run("fate_invited", "job-1", conf) is False
    method, path, headers, body = site.requests[1]
    assert (method, path, headers["Content-Type"]) == ("POST", RUNS, "application/json")
    assert body == {"dag_run_id": "job-1", "logical_date": None, "conf": conf}
    site.runs["job-1"]["conf"]["job"]["rounds"] = 1  # as a database may keep it
    assert made.start_run("fate_invited", "job-1", conf) is False


def test_no_conf_is_an_empty_one(hook, site):
    site.runs["job-1"] = {"state": "running", "conf": None}
    assert hook().start_run("fate_invited", "job-1", {}) is False


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ({"a": {"b": "secret-1"}}, {"a": {"b": "secret-2"}}, "different: a.b"),
        ({"a": 1}, {"a": True}, "different: a"),
        ({"a": {}}, {"a": 0}, "different: a"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "different: a"),
        ({"a": 1, "b": 2}, {"a": 1}, "only here: b"),
        ({"a": 1}, {"a": 1, "c": {"d": 4}}, "only there: c.d"),
        ({"a": {"b": 1}}, {"a.b": 1}, "the same names, nested in another way"),
        ({}, [1], "different: all of it"),
        ({"k": 1}, {"k": 1, "x\n\x1b[31m" * 200: 1}, r"only there: x\\n\\x1b\[31mx"),
        ({str(i): i for i in range(13)}, {}, "and 3 more"),
    ],
)
def test_another_conf_is_an_error_that_names_the_difference(hook, site, ours, theirs, difference):
    site.runs["job-1"] = {"state": "running", "conf": theirs}
    with pytest.raises(ConfigError, match=difference) as caught:
        hook().start_run("fate_invited", "job-1", ours)
    message = str(caught.value)
    assert message.startswith("run job-1 of fate_invited: ") and "secret-" not in message and message.isprintable()
    assert len(message) < 1000


def test_a_conflict_without_a_run_is_told_as_it_is(hook, site):
    site.instead["POST", RUNS] = (409, {"detail": {"reason": "Unique constraint violation"}})
    with pytest.raises(NotThere, match="was not found"):
        hook().start_run("fate_invited", "job-1", {})


@pytest.mark.parametrize("run_id", ["", "a/b", "..", "~", "a b", "a#b", "a%2fb", "a?b", "x" * 251, "a\n", 7])
def test_a_run_that_cannot_be_named_there_is_refused(hook, site, run_id):
    made = hook()
    for call in (
        lambda: made.start_run("fate_invited", run_id, {}),
        lambda: made.run_state(run_id, "job-1"),
        lambda: made.xcom("fate_invited", "job-1", run_id),
        lambda: made.run_url("fate_invited", run_id),
    ):
        with pytest.raises(ConfigError, match="cannot name something on another Airflow"):
            call()
    assert site.requests == []


def test_a_conf_that_is_no_json_is_refused(hook, site):
    with pytest.raises(ConfigError, match=r"conf\.a: set is not a JSON type"):
        hook().start_run("fate_invited", "job-1", {"a": {1}})
    assert site.requests == []


def test_the_state_of_a_run(hook, site):
    made = hook()
    with pytest.raises(NotThere, match="cannot read run job-1 of fate_invited: The DagRun"):
        made.run_state("fate_invited", "job-1")
    site.runs["job-1"] = {"state": "running", "conf": {}}
    assert made.run_state("fate_invited", "job-1") == "running"
    assert made.run_url("fate_invited", "job-1") == f"{site.url}/dags/fate_invited/runs/job-1"


def test_the_states_of_tasks_come_in_pages(hook, site):
    tasks = [{"task_id": f"group.t{i}", "map_index": -1, "state": "success"} for i in range(30)]
    tasks += [{"task_id": "mapped", "map_index": i, "state": None} for i in range(2)]

    def page(handler):
        query = dict(part.split("=") for part in handler.path.partition("?")[2].split("&"))
        start = int(query["offset"])
        content = json.dumps({"task_instances": tasks[start : start + int(query["limit"])]}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    site.instead["GET", f"{RUN}/taskInstances"] = page
    states = hook().task_states("fate_invited", "job-1")
    assert len(states) == 32 and states["group.t29"] == "success" and states["mapped[1]"] is None


def test_an_xcom(hook, site):
    place = f"{RUN}/taskInstances/decide/xcomEntries/fate_answer"
    made = hook()
    assert made.xcom("fate_invited", "job-1", "decide") is None
    site.instead["GET", place] = (200, {"key": "fate_answer", "value": {"accepted": True}})
    assert made.xcom("fate_invited", "job-1", "decide", kind=dict) == {"accepted": True}
    assert site.requests[-1][1] == f"{place}?map_index=-1"
    with pytest.raises(TransportError, match="its value is of type dict, not str"):
        made.xcom("fate_invited", "job-1", "decide", kind=str)
    site.instead["GET", place] = (200, {"value": True})
    with pytest.raises(TransportError, match="its value is of type bool, not int"):
        made.xcom("fate_invited", "job-1", "decide", kind=int)
    site.instead["GET", place] = (200, {"key": "fate_answer"})
    with pytest.raises(TransportError, match="it has no value"):
        made.xcom("fate_invited", "job-1", "decide")


def test_a_run_is_ended_once(hook, site):
    made = hook()
    assert made.end_run("fate_invited", "job-1", "why") is None
    site.runs["job-1"] = {"state": "running", "conf": {}}
    assert made.end_run("fate_invited", "job-1", "x" * 2000) == "failed"
    assert site.requests[-1][3] == {"state": "failed", "note": "x" * 1000}
    before = len(site.requests)
    assert made.end_run("fate_invited", "job-1", "again") == "failed"
    assert [method for method, *_ in site.requests[before:]] == ["GET"]
    site.runs["job-1"] = {"state": "success"}
    assert made.end_run("fate_invited", "job-1", "too late") == "success"


def test_a_run_that_goes_while_it_is_ended_is_gone(hook, site):
    site.runs["job-1"] = {"state": "running", "conf": {}}
    site.instead["PATCH", RUN] = (404, {"detail": "The DagRun ... was not found"})
    assert hook().end_run("fate_invited", "job-1", "why") is None


def test_what_nginx_does_not_find_is_no_run_that_is_gone(hook, site):
    site.instead["GET", RUN] = (404, b"<html><h1>404 Not Found</h1></html>")
    with pytest.raises(SiteRefusal, match="does not let partners read run job-1.*prefix in host") as caught:
        hook().end_run("fate_invited", "job-1", "why")
    assert not isinstance(caught.value, NotThere)


# -- refusals and failures


@pytest.mark.parametrize(
    ("status", "body", "kind", "problem"),
    [
        (301, b"", SiteRefusal, r"sends us elsewhere \(301\)"),
        (307, b"", SiteRefusal, r"sends us elsewhere \(307\)"),
        (
            400,
            {"detail": "rate: 7 is over 1"},
            SiteRefusal,
            "does not accept the request to start .*: rate: 7 is over 1",
        ),
        (400, b"<h1>No required SSL certificate was sent</h1>", SiteRefusal, "set client_cert and client_key"),
        (403, {"detail": "Forbidden"}, SiteRefusal, "does not allow 'us' to start run job-1.*Forbidden.*the right"),
        (404, {"detail": "Not Found"}, SiteRefusal, "does not let partners start run job-1"),
        (404, {"detail": "Dag with dag_id: 'fate_invited' not found"}, NotThere, "Dag with dag_id"),
        (405, b"", SiteRefusal, "does not let partners"),
        (409, {"detail": "x"}, NotThere, "was not found"),
        (413, b"", SiteRefusal, "client_max_body_size"),
        (418, b"", SiteRefusal, r"refuses to start .*\(418\)"),
        (
            422,
            {"detail": [{"loc": ["body", "conf"], "msg": "no dict", "input": {"password": "their-secret"}}]},
            SiteRefusal,
            "body.conf: no dict",
        ),
        (429, b"", TransportError, "asked too often"),
        (500, {"detail": "oops"}, TransportError, r"it failed \(500\)"),
        (502, b"<html>", TransportError, r"the Airflow behind it does not \(502\)"),
        (504, b"", TransportError, r"\(504\)"),
        (599, b"", TransportError, r"\(599\)"),
    ],
)
def test_each_status_says_what_it_means(hook, site, status, body, kind, problem):
    site.instead["POST", RUNS] = (status, body)
    with pytest.raises(FateError, match=problem) as caught:
        hook().start_run("fate_invited", "job-1", {})
    assert isinstance(caught.value, kind), repr(caught.value)
    assert "their-secret" not in str(caught.value) and site.url in str(caught.value)
    assert all("elsewhere" not in path for _, path, _, _ in site.requests), "the redirect was followed"


def test_secrets_that_come_back_are_not_shown(hook, site):
    made = hook()
    made.test_connection()
    said = f"you sent {PASSWORD} and {site.tokens[0]}\n\x1b[31m" + "x" * 10_000
    for method, path in (("POST", RUNS), ("GET", RUN)):
        site.instead[method, path] = (400, {"detail": said})
    for call in (lambda: made.start_run("fate_invited", "job-1", {}), lambda: made.run_state("fate_invited", "job-1")):
        with pytest.raises(SiteRefusal, match="you sent") as caught:
            call()
        message = str(caught.value)
        assert PASSWORD not in message and site.tokens[0] not in message
        assert message.isprintable() and len(message) < 800


def test_an_unreachable_site_is_named(hook, site):
    made = hook()
    made.test_connection()
    site.close()
    with pytest.raises(TransportError, match=r"127.0.0.1:\d+/airflow cannot be reached: connection refused") as caught:
        made.run_state("fate_invited", "job-1")
    error: BaseException | None = caught.value
    while error is not None:  # nothing that a traceback shows holds the token
        assert site.tokens[0] not in repr(error.__dict__) + str(error)
        error = error.__cause__
    ok, message = hook("https://no-such-host.invalid/airflow").test_connection()
    assert not ok and "the host name is not known" in message
    ok, message = hook(f"https://127.0.0.1:{site.port}").test_connection()
    assert not ok and "refused" in message


def test_a_port_without_tls_is_named(hook, site):
    ok, message = hook(f"https://127.0.0.1:{site.port}/airflow").test_connection()
    assert not ok and "TLS failed" in message and "check that its port speaks TLS" in message


# -- hostile answers


def _head(handler: BaseHTTPRequestHandler, *lines: bytes) -> None:
    handler.wfile.write(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""]))


def _endless(handler):
    _head(handler, b"Content-Type: application/json")
    while True:
        handler.wfile.write(b" " * 65536)


def _too_long(handler):
    _head(handler, b"Content-Length: %d" % (bounded_http.MAX_ANSWER + 1))
    handler.wfile.write(b" " * (bounded_http.MAX_ANSWER + 1))


def _packed(handler):
    _head(handler, b"Content-Encoding: gzip", b"Content-Length: 3")
    handler.wfile.write(b"\x1f\x8b\x08")


def _cut(handler):
    _head(handler, b"Content-Length: 100")
    handler.wfile.write(b'{"state": ')


def _no_http(handler):
    handler.wfile.write(b"\x16\x03\x01" * 100)


def _many_headers(handler):
    _head(handler, *(b"X-%d: 1" % i for i in range(1000)))


def _silent_end(handler):
    pass


@pytest.mark.parametrize(
    "answer", [_endless, _too_long, _packed, _cut, _no_http, _many_headers, _silent_end], ids=lambda f: f.__name__
)
def test_answers_that_break_the_bounds_or_the_protocol_end_in_an_error(hook, site, answer):
    made = hook()
    made.test_connection()
    site.instead["GET", RUN] = answer
    with pytest.raises(TransportError, match=re.escape(site.url)):
        made.run_state("fate_invited", "job-1")


def _drip_body(handler):
    _head(handler)
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.2)


def _drip_status(handler):
    while True:
        handler.wfile.write(b"H")
        time.sleep(0.2)


def _drip_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X: 1\r\n")
        time.sleep(0.2)


def _continue(handler):
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.2)


def _nothing(handler):
    time.sleep(5)


@pytest.mark.parametrize(
    "answer", [_drip_body, _drip_status, _drip_headers, _continue, _nothing], ids=lambda f: f.__name__
)
def test_an_answer_that_does_not_end_ends_with_the_timeout(hook, site, answer):
    made = hook(timeout=1)
    made.test_connection()
    site.instead["GET", RUN] = answer
    begin = time.monotonic()
    with pytest.raises(TransportError, match="no answer in time"):
        made.run_state("fate_invited", "job-1")
    assert time.monotonic() - begin < 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe\xfd",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"state": null}',
        b'{"state": ["running"]}',
        b'{"state": "running; rm -rf /"}',
        b'{"state": "' + b"x" * 5000 + b'"}',
        b'{"state": "running", "x": NaN}',
        b'{"state": "running", "x": 1e999}',
        b'{"state": "running", "x": ' + b"9" * 5000 + b"}",
        b'{"state": "running", "x": 18446744073709551616}',
        b'{"state": "running", "x": ' + b"[" * 50 + b"]" * 50 + b"}",
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b'{"state": "running", "x": "\\ud800"}',
        b'{"state": "running", "x": "' + b"x" * 200_000 + b'"}',
        b'{"state": "running", "x": [' + b"0," * 300_000 + b"0]}",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_odd_json_is_named(hook, site, body):
    made = hook()
    made.test_connection()
    site.instead["GET", RUN] = (200, body)
    with pytest.raises(TransportError, match="does not answer as Airflow does") as caught:
        made.run_state("fate_invited", "job-1")
    assert len(str(caught.value)) < 800 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "found",
    [
        None,
        {"a": 1},
        [1],
        [{"task_id": 7}],
        [{"task_id": "a/../b", "state": None}],
        [{"task_id": "a", "map_index": "0"}],
        [{"task_id": "a", "map_index": True}],
        [{"task_id": "a", "state": {}}],
        [{"task_id": "a"}] * 1000,
    ],
)
def test_odd_tasks_are_named(hook, site, found):
    site.instead["GET", f"{RUN}/taskInstances"] = (200, {"task_instances": found})
    with pytest.raises(TransportError, match="asked to read the tasks of run job-1"):
        hook().task_states("fate_invited", "job-1")


def test_tasks_without_end_are_named(hook, site):
    page = [{"task_id": f"t{i}", "map_index": -1, "state": None} for i in range(25)]
    site.instead["GET", f"{RUN}/taskInstances"] = (200, {"task_instances": page})
    with pytest.raises(TransportError, match="more than 2000 tasks"):
        hook().task_states("fate_invited", "job-1")


@pytest.mark.parametrize("made", [None, 7, "", "two words", "line\r\nX: 1", "x" * 20_000, "é"])
def test_an_odd_token_is_named(hook, site, made):
    site.instead["POST", "/airflow/auth/token"] = (201, {"access_token": made})
    ok, message = hook().test_connection()
    assert not ok and "asked to log in as 'us'" in message and "no access_token" in message
    assert len(site.requests) == 1


def test_another_dag_than_asked_for_is_named(hook, site):
    site.instead["GET", DAG] = (200, {"dag_id": "other"})
    ok, message = hook().test_connection()
    assert not ok and "it is about another DAG" in message


# -- the Test button


def test_what_a_good_test_says(hook, site):
    assert hook().test_connection() == (
        True,
        f"Reached {site.url}, logged in as 'us', and DAG fate_invited is there",
    )
    site.instead["GET", DAG] = (200, {"dag_id": "fate_invited", "is_paused": True})
    ok, message = hook().test_connection()
    assert ok and message.endswith("it is paused, so that runs wait until it is unpaused there")


def test_watches_leave_nothing_behind(hook, site):
    made = hook()
    made.test_connection()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        made.test_connection()
    deadline = time.monotonic() + 5
    while (len(os.listdir("/proc/self/fd")), threading.active_count()) > before and time.monotonic() < deadline:
        time.sleep(0.05)  # the site's own threads end a little later
    assert len(os.listdir("/proc/self/fd")) <= before[0]
