"""The hook of a remote site against a real Airflow behind a real nginx with TLS and client certificates."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import requests

from airflow_provider_fate.errors import ConfigError, TransportError
from airflow_provider_fate.hooks.site import FateSiteHook, NotThere, SiteRefusal
from tests.integration.hooks.conftest import connect
from tests.servers.airflow import Airflow
from tests.servers.certificates import Authority
from tests.servers.nginx import Nginx

__all__ = ["connect"]

DAG = "fate_invited"
#: seconds that a token lives
TOKEN_SECONDS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An Airflow under a prefix, with an account that may start runs and one that may look only."""
    settings = {
        "api.base_url": "https://localhost/airflow",
        "api_auth.jwt_expiration_time": TOKEN_SECONDS,
        "api_auth.jwt_leeway": 0,
        "core.simple_auth_manager_users": "admin:admin,partner:user,looker:viewer",
    }
    dags = [Path(__file__).with_name("fate_invited.py")]
    with Airflow(tmp_path_factory.mktemp("site"), dags, settings=settings, proxy_headers=True) as airflow:
        airflow.wait_for_dag(DAG)
        yield airflow


@pytest.fixture(scope="module")
def nginx(server, tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("nginx"), server.port) as front:
        yield front


@pytest.fixture
def passwords(server) -> dict[str, str]:
    """What Airflow made up for the accounts that it had no password for."""
    return json.loads((server.home / "passwords.json").read_text())


@pytest.fixture
def hook(connect, server, nginx, passwords):
    """``hook(login=..., password=..., **extra)``: a hook of a connection with the partner's certificate."""

    def make(login="partner", password=None, host=None, **extra):
        tls = {
            "ca_file": str(nginx.authority.certificate),
            "client_cert": str(nginx.client.certificate),
            "client_key": str(nginx.client.key),
        }
        password = passwords[login] if password is None else password
        extra = {"timeout": 60, **tls, **extra}
        return FateSiteHook(connect("fate_site", host=host or nginx.url, login=login, password=password, extra=extra))

    return make


def new_run() -> str:
    return f"job-{os.urandom(4).hex()}"


def test_a_good_connection_says_what_it_found(hook, nginx):
    ok, message = hook().test_connection()
    assert ok, message
    assert message == (
        f"Reached {nginx.url} over TLS with the certificate {nginx.client.certificate}, logged in as 'partner', "
        f"and DAG {DAG} is there"
    )


def test_a_run_is_started_once_watched_and_answers(hook, server):
    made, run_id = hook(), new_run()
    conf = {"tables": {"bank/customers": {"rows": 1.0, "why": None}}, "seconds": 0, "text": "ein ü"}
    assert made.start_run(DAG, run_id, conf) is True
    assert made.start_run(DAG, run_id, conf) is False
    assert made.run_state(DAG, run_id) in ("queued", "running", "success")
    run = server.wait(DAG, run_id)
    assert run["conf"] == conf and run["triggering_user_name"] == "partner" and run["triggered_by"] == "rest_api"
    runs = server.api("GET", f"dags/{DAG}/dagRuns", run_id_pattern=run_id)
    assert runs["total_entries"] == 1
    assert made.run_state(DAG, run_id) == "success"
    assert made.task_states(DAG, run_id) == {"decide": "success", "train": "success"}
    answer = {"accepted": True, "tables": ["bank/customers"], "share": 0.5}
    assert made.xcom(DAG, run_id, "decide", kind=dict) == answer
    assert made.xcom(DAG, run_id, "train") is None, "a task without an answer"
    assert made.start_run(DAG, run_id, conf) is False, "asked again when it has long ended"
    assert made.end_run(DAG, run_id, "too late") == "success"
    assert server.api("GET", f"dags/{DAG}/dagRuns/{run_id}")["note"] is None


def test_another_conf_is_an_error_that_names_the_difference(hook, server):
    made, run_id = hook(), new_run()
    made.start_run(DAG, run_id, {"tables": {"a": {"key": "their-secret"}}, "more": 1})
    with pytest.raises(
        ConfigError, match=r"with another conf \(different: tables\.a\.key; only here: seconds"
    ) as caught:
        made.start_run(DAG, run_id, {"tables": {"a": {"key": "our-secret"}}, "seconds": 0})
    assert "only there: more" in str(caught.value) and "secret" not in str(caught.value)
    server.wait(DAG, run_id)


def test_a_conf_that_the_dag_does_not_take_is_told(hook):
    with pytest.raises(SiteRefusal, match="does not accept the request to start run .*601.*maximum") as caught:
        hook().start_run(DAG, new_run(), {"seconds": 601})
    assert caught.value.status == 400


def test_a_run_is_ended_with_its_tasks(hook, server):
    made, run_id = hook(), new_run()
    assert made.end_run(DAG, run_id, "not started yet") is None
    made.start_run(DAG, run_id, {"seconds": 500})
    server.wait_for_task(DAG, run_id, "train", "running")
    assert made.end_run(DAG, run_id, "the initiator's run failed: " + "x" * 2000) == "failed"
    assert made.run_state(DAG, run_id) == "failed"
    note = server.api("GET", f"dags/{DAG}/dagRuns/{run_id}")["note"]
    assert note.startswith("the initiator's run failed: x") and len(note) == 1000
    deadline = time.monotonic() + 60
    while made.task_states(DAG, run_id)["train"] != "failed" and time.monotonic() < deadline:
        time.sleep(0.5)
    assert made.task_states(DAG, run_id)["train"] == "failed"
    assert made.end_run(DAG, run_id, "again") == "failed"
    server.api("DELETE", f"dags/{DAG}/dagRuns/{run_id}")
    assert made.end_run(DAG, run_id, "gone") is None
    with pytest.raises(NotThere, match="was not found"):
        made.run_state(DAG, run_id)


def test_what_partners_may_not_reach_is_named(hook, start_nginx, server):
    made, run_id = hook(), new_run()
    with pytest.raises(SiteRefusal, match=r"does not let partners start run .* of other \(404\)"):
        made.start_run("other", run_id, {})
    made.start_run(DAG, run_id, {})
    server.wait(DAG, run_id)
    with pytest.raises(SiteRefusal, match="does not let partners read the XCom return_value") as caught:
        made.xcom(DAG, run_id, "decide", "return_value")
    assert not isinstance(caught.value, NotThere)
    for extra, problem in (
        ({"dag_id": "other"}, "look at DAG other"),
        ({"host": made.url + "x"}, "log in as 'partner'"),
    ):
        ok, message = hook(**extra).test_connection()
        assert not ok and f"does not let partners {problem} (404)" in message, message


def test_tasks_are_shown_only_where_the_site_wants_it(hook, start_nginx, server, nginx):
    quiet = start_nginx(server.port, show_tasks=False)
    tls = {"ca_file": str(quiet.authority.certificate), "client_cert": str(quiet.client.certificate)}
    made, run_id = hook(host=quiet.url, client_key=str(quiet.client.key), **tls), new_run()
    made.start_run(DAG, run_id, {})
    with pytest.raises(SiteRefusal, match="does not let partners read the tasks of run"):
        made.task_states(DAG, run_id)
    server.wait(DAG, run_id)


def test_an_account_without_the_right_is_told_so(hook):
    made = hook(login="looker")
    assert made.test_connection()[0], "it may look"
    with pytest.raises(SiteRefusal, match="does not allow 'looker' to start run") as caught:
        made.start_run(DAG, new_run(), {})
    assert caught.value.status == 403


def test_a_dag_that_is_not_there_is_told(hook, start_nginx, server):
    front = start_nginx(server.port, dag_id="never_there")
    tls = {"ca_file": str(front.authority.certificate), "client_cert": str(front.client.certificate)}
    made = hook(host=front.url, client_key=str(front.client.key), dag_id="never_there", **tls)
    ok, message = made.test_connection()
    assert not ok and "cannot look at DAG never_there: " in message and "not found" in message, message
    with pytest.raises(NotThere, match="never_there"):
        made.start_run("never_there", new_run(), {})


def test_a_partner_neither_sees_nor_ends_the_runs_of_another_one(hook, start_nginx, server):
    """Not even with the other's login: this Airflow's accounts have rights for all DAGs."""
    (server.home / "for_insurer.py").write_text(
        Path(__file__).with_name("fate_invited.py").read_text().replace("fate_invited", "for_insurer")
    )
    server.add_dags(server.home / "for_insurer.py")
    server.wait_for_dag("for_insurer")
    server.api("PATCH", "dags/for_insurer", {"is_paused": False})
    front = start_nginx(server.port)
    front.let_in([("CN=bank", DAG), ("CN=insurer", "for_insurer")])
    front.reload()

    def partner(name: str, dag_id: str) -> FateSiteHook:
        issued = front.partners.issue(name)
        tls = {"client_cert": str(issued.certificate), "client_key": str(issued.key)}
        return hook(host=front.url, ca_file=str(front.authority.certificate), dag_id=dag_id, **tls)

    bank, insurer, run_id = partner("bank", DAG), partner("insurer", "for_insurer"), new_run()
    deadline = time.monotonic() + 20
    while not insurer.test_connection()[0] and time.monotonic() < deadline:  # until the new list counts
        time.sleep(0.2)
    assert insurer.start_run("for_insurer", run_id, {"seconds": 500})
    server.wait_for_task("for_insurer", run_id, "train", "running")
    for asked in (
        lambda: bank.run_state("for_insurer", run_id),
        lambda: bank.end_run("for_insurer", run_id, "not mine"),
        lambda: bank.xcom("for_insurer", run_id, "decide"),
        lambda: bank.task_states("for_insurer", run_id),
        lambda: bank.start_run("for_insurer", new_run(), {}),
    ):
        with pytest.raises(SiteRefusal, match=r"does not let partners .*\(404\)") as caught:
            asked()
        assert not isinstance(caught.value, NotThere)
    assert bank.test_connection()[0]
    assert insurer.run_state("for_insurer", run_id) == "running"
    assert insurer.end_run("for_insurer", run_id, "enough") == "failed"


def test_a_paused_dag_is_told(hook, server):
    server.api("PATCH", f"dags/{DAG}", {"is_paused": True})
    try:
        ok, message = hook().test_connection()
    finally:
        server.api("PATCH", f"dags/{DAG}", {"is_paused": False})
    assert ok and "it is paused" in message


def test_a_wrong_password_is_named_and_not_shown(hook):
    ok, message = hook(password="not-the-password").test_connection()
    assert not ok and "refuses the login 'partner' with its password" in message
    assert "not-the-password" not in message


def test_without_a_client_certificate_nobody_comes_in(hook, nginx):
    ok, message = hook(client_cert="", client_key="").test_connection()
    assert not ok and "takes only clients that show a certificate: set client_cert and client_key" in message, message


def test_a_certificate_of_somebody_elses_is_named(hook, nginx, tmp_path):
    stranger = Authority(tmp_path / "other", "another authority").issue("stranger")
    ok, message = hook(client_cert=str(stranger.certificate), client_key=str(stranger.key)).test_connection()
    assert not ok and f"does not accept the client certificate {stranger.certificate}" in message, message


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_wrong_authority_is_named(hook, nginx, tmp_path):
    other = Authority(tmp_path / "other", "another authority")
    for extra in ({"ca_file": str(other.certificate)}, {"ca_file": ""}):
        ok, message = hook(**extra).test_connection()
        assert not ok and "its certificate is not accepted" in message and "check ca_file" in message, message
    ok, message = hook(ca_file="", verify=False).test_connection()
    assert ok and "its certificate not verified" in message


def test_a_certificate_for_another_name_is_named(hook, nginx):
    server = nginx.authority.issue("elsewhere", "elsewhere.example")
    kept = (nginx.directory / "fate-site.conf").read_text()
    own = nginx.authority.directory / "server.pem"
    changed = kept.replace(str(own), str(server.certificate)).replace(str(own.with_suffix(".key.pem")), str(server.key))
    (nginx.directory / "fate-site.conf").write_text(changed)
    nginx.stop()
    try:
        nginx.start()
        ok, message = hook().test_connection()
    finally:
        nginx.stop()
        (nginx.directory / "fate-site.conf").write_text(kept)
        nginx.start()
    assert not ok and "its certificate is not accepted" in message and "the name in host" in message, message


def test_nginx_that_is_down_is_named_and_comes_back(hook, nginx, server):
    made, run_id = hook(), new_run()
    made.start_run(DAG, run_id, {})
    nginx.kill()
    try:
        with pytest.raises(TransportError, match=f"{nginx.url} cannot be reached: connection refused"):
            made.run_state(DAG, run_id)
    finally:
        nginx.start()
    assert made.run_state(DAG, run_id) in ("queued", "running", "success")
    server.wait(DAG, run_id)


def test_airflow_that_is_down_is_named_and_comes_back(hook, server):
    made, run_id = hook(), new_run()
    made.start_run(DAG, run_id, {})
    server.wait(DAG, run_id)  # its tasks need the API server as well
    server.kill_component("api-server")
    try:
        with pytest.raises(TransportError, match=r"its nginx answers, but the Airflow behind it does not \(502\)"):
            made.run_state(DAG, run_id)
        ok, message = made.test_connection()
        assert not ok and "(502)" in message
    finally:
        server.start_component("api-server")
        server.wait_ready()
    assert made.start_run(DAG, run_id, {}) is False


def test_an_expired_token_is_renewed(hook, server, nginx, passwords):
    def logins() -> int:
        return nginx.access_log.read_text().count('"POST /airflow/auth/token" 201')

    login = {"username": "partner", "password": passwords["partner"]}
    token = requests.post(f"{server.url}/auth/token", json=login, timeout=30).json()["access_token"]
    made, ready, run_id = hook(), hook(login="", password=token), new_run()
    before = logins()
    made.start_run(DAG, run_id, {})
    assert ready.run_state(DAG, run_id) and logins() == before + 1
    server.wait(DAG, run_id)
    time.sleep(TOKEN_SECONDS + 2)
    with pytest.raises(SiteRefusal, match="refuses the token in the password field: it is wrong or has expired"):
        ready.run_state(DAG, run_id)
    assert made.run_state(DAG, run_id) == "success" and logins() == before + 2
