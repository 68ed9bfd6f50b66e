"""The deployed configuration in a real nginx: what partners reach, what they do not, and what passes on."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.servers.certificates import Authority, Certificate
from tests.servers.nginx import DEPLOYED, Nginx, fill_in
from tests.servers.process import HOST, ServerError, require
from tests.unit.federation.playing import until

DAG = "/airflow/api/v2/dags/fate_invited"
RUN = f"{DAG}/dagRuns/job-1.a~b:c+d_e"


class Upstream:
    """What stands behind nginx: it keeps each request line and its headers, and answers with OK."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                upstream.seen.append((self.requestline, dict(self.headers)))
                self.send_response(200)
                self.send_header("Set-Cookie", "_token=secret")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"OK")

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def nginx(upstream, tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("nginx"), upstream.server.server_address[1]) as server:
        yield server


@pytest.fixture
def partner(nginx):
    """A session with the partner's certificate."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(nginx.authority.certificate)
        session.cert = (str(nginx.client.certificate), str(nginx.client.key))
        yield session


def raw(nginx, text: bytes, *, certificate=True) -> bytes:
    """The answer to a request as it is, which no client makes tidy."""
    context = ssl.create_default_context(cafile=str(nginx.authority.certificate))
    if certificate:
        context.load_cert_chain(nginx.client.certificate, nginx.client.key)
    with (
        socket.create_connection((HOST, nginx.port), 10) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as s,
    ):
        s.sendall(text)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    return answer


ALLOWED = [
    ("POST", "/airflow/auth/token", "/airflow/auth/token"),
    ("GET", DAG, DAG),
    ("POST", f"{DAG}/dagRuns", f"{DAG}/dagRuns"),
    ("GET", RUN, RUN),
    ("PATCH", RUN, RUN),
    ("GET", f"{RUN}/taskInstances", f"{RUN}/taskInstances?order_by=id&limit=50&offset=0"),
    (
        "GET",
        f"{RUN}/taskInstances?limit=25&offset=75&order_by=state",
        f"{RUN}/taskInstances?order_by=id&limit=25&offset=75",
    ),
    ("GET", f"{RUN}/taskInstances?limit=25%0a&offset=a", f"{RUN}/taskInstances?order_by=id&limit=50&offset=0"),
    (
        "GET",
        f"{RUN}/taskInstances/group.decide/xcomEntries/fate_answer",
        f"{RUN}/taskInstances/group.decide/xcomEntries/fate_answer?map_index=-1",
    ),
    (
        "GET",
        f"{RUN}/taskInstances/decide/xcomEntries/fate_answer?map_index=3&deserialize=true",
        f"{RUN}/taskInstances/decide/xcomEntries/fate_answer?map_index=3",
    ),
    ("GET", f"{RUN}?x=1", RUN),
    ("POST", f"{DAG}/dagRuns?x=1", f"{DAG}/dagRuns"),
]


@pytest.mark.parametrize(("method", "path", "passed"), ALLOWED)
def test_what_partners_need_passes(nginx, partner, upstream, method, path, passed):
    headers = {
        "Authorization": "Bearer a.b.c",
        "Referer": "https://x/",
        "Cookie": "_token=x",
        "X-Forwarded-For": "1.2.3.4",
    }
    answer = partner.request(
        method, f"https://localhost:{nginx.port}{path}", headers=headers, json={"a": 1}, timeout=20
    )
    assert (answer.status_code, answer.text) == (200, "OK")
    assert "Set-Cookie" not in answer.headers and answer.headers["Server"] == "nginx"
    line, seen = upstream.seen[-1]
    assert line == f"{method} {passed} HTTP/1.1"
    assert seen["Host"] == seen["X-Forwarded-Host"] == f"localhost:{nginx.port}"
    assert (seen["X-Forwarded-Proto"], seen["X-Forwarded-For"]) == ("https", HOST)
    assert seen["X-Forwarded-Prefix"] == "/airflow" and seen["Authorization"] == "Bearer a.b.c"
    assert "Referer" not in seen and "Cookie" not in seen


FORBIDDEN = [
    ("GET", "/"),
    ("GET", "/airflow"),
    ("GET", "/airflow/"),
    ("GET", "/airflow/login"),
    ("GET", "/airflow/auth/token"),
    ("POST", "/airflow/auth/token/cli"),
    ("POST", "/auth/token"),
    ("GET", "/airflow/ui/config"),
    ("POST", "/airflow/execution/task-instances/x/run"),
    ("GET", "/airflow/api/v2/connections"),
    ("GET", "/airflow/api/v2/variables"),
    ("GET", "/airflow/api/v2/monitor/health"),
    ("GET", "/airflow/api/v2/dags"),
    ("GET", "/airflow/api/v2/dags/other"),
    ("POST", "/airflow/api/v2/dags/other/dagRuns"),
    ("GET", "/airflow/api/v2/dags/~/dagRuns/job-1"),
    ("PATCH", DAG),
    ("DELETE", DAG),
    ("HEAD", DAG),
    ("OPTIONS", DAG),
    ("GET", f"{DAG}/details"),
    ("GET", f"{DAG}/"),
    ("GET", f"{DAG}/dagRuns"),
    ("PATCH", f"{DAG}/dagRuns"),
    ("POST", f"{DAG}/dagRuns/"),
    ("POST", f"{DAG}/dagRuns/list"),
    ("DELETE", RUN),
    ("POST", RUN),
    ("POST", f"{RUN}/clear"),
    ("GET", f"{RUN}/wait"),
    ("GET", f"{DAG}/dagRuns/~"),
    ("GET", f"{DAG}/dagRuns/~/taskInstances"),
    ("GET", f"{DAG}/dagRuns/%7E/taskInstances"),
    ("PATCH", f"{RUN}/taskInstances"),
    ("GET", f"{RUN}/taskInstances/train"),
    ("PATCH", f"{RUN}/taskInstances/train"),
    ("GET", f"{RUN}/taskInstances/train/logs/1"),
    ("GET", f"{RUN}/taskInstances/train/xcomEntries"),
    ("POST", f"{RUN}/taskInstances/train/xcomEntries"),
    ("GET", f"{RUN}/taskInstances/train/xcomEntries/return_value"),
    ("GET", f"{RUN}/taskInstances/train/xcomEntries/fate_answer_"),
    ("GET", f"{RUN}/taskInstances/train/xcomEntries/fate_answer/x"),
    ("GET", f"{RUN}/taskInstances/~/xcomEntries/fate_answer"),
    ("PATCH", f"{RUN}/taskInstances/train/xcomEntries/fate_answer"),
    ("GET", f"{DAG}/dagRuns/a%2Fb"),
    ("GET", f"{DAG}/dagRuns/a%20b"),
    ("GET", f"{DAG}/dagRuns/a%0a"),
    ("GET", f"{DAG}/dagRuns/a%0d%0aX-Injected:%201"),
    ("GET", f"{DAG}/dagRuns/a%3Fb"),
    ("GET", f"{DAG}/dagRuns/a%25b"),
    ("GET", f"{DAG}/dagRuns/%2e%2e/%2e%2e/other"),
    ("GET", f"{DAG}/dagRuns/../../../connections"),
    ("GET", "/airflow/api/v2/connections/%2e%2e%2fdags%2ffate_invited%2fdagRuns"),
    ("GET", f"/elsewhere{DAG}"),
    ("GET", f"{DAG}x/dagRuns/a"),
]


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_everything_else_is_not_found_and_does_not_pass(nginx, upstream, method, path):
    before = len(upstream.seen)
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    answer = raw(nginx, request.encode())
    assert b" 404 " in answer.partition(b"\r\n")[0], answer
    assert len(upstream.seen) == before


def test_a_path_that_nginx_tidies_passes_on_tidy(nginx, upstream):
    odd = "/airflow/api/v2/variables/../dags//fate_invited/./dagRuns/job%2D1"
    answer = raw(nginx, f"GET {odd} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert b" 200 " in answer.partition(b"\r\n")[0]
    assert upstream.seen[-1][0] == f"GET {DAG}/dagRuns/job-1 HTTP/1.1"


def test_without_a_partners_certificate_nothing_passes(nginx, upstream, tmp_path):
    before = len(upstream.seen)
    request = f"GET {DAG} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    answer = raw(nginx, request, certificate=False)
    assert b" 400 " in answer.partition(b"\r\n")[0] and b"No required SSL certificate was sent" in answer
    stranger = nginx.authority.issue("stranger")  # of the site's own authority, which is not the partners'
    answer = requests.get(
        nginx.url,
        cert=(str(stranger.certificate), str(stranger.key)),
        verify=str(nginx.authority.certificate),
        timeout=20,
    )
    assert answer.status_code == 400 and "The SSL certificate error" in answer.text
    assert len(upstream.seen) == before


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(("version", "good"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_only_tls_from_1_2_on(nginx, version, good):
    context = ssl.create_default_context(cafile=str(nginx.authority.certificate))
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # or OpenSSL itself refuses to try
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    with socket.create_connection((HOST, nginx.port), 10) as plain:
        if good:
            with context.wrap_socket(plain, server_hostname=HOST) as made:
                assert made.version() == version.replace("_", ".")
        else:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                context.wrap_socket(plain, server_hostname=HOST)


def test_large_requests_are_refused(nginx, partner, upstream):
    before = len(upstream.seen)
    assert partner.post(f"{nginx.url}/auth/token", data=b"x" * 5000, timeout=20).status_code == 413
    runs = f"{nginx.url}/api/v2/dags/fate_invited/dagRuns"
    assert partner.post(runs, data=b"x" * (1 << 20) + b"x", timeout=20).status_code == 413
    assert len(upstream.seen) == before
    assert partner.post(runs, data=b"x" * (1 << 20), timeout=20).status_code == 200


def test_a_flood_is_refused_and_ordinary_use_goes_on(nginx, upstream):
    def many(count: int) -> list[int]:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(nginx.authority.certificate)
            session.cert = (str(nginx.client.certificate), str(nginx.client.key))
            return [session.get(f"{nginx.url}/api/v2/dags/fate_invited", timeout=20).status_code for _ in range(count)]

    with ThreadPoolExecutor(8) as pool:
        first = [status for part in pool.map(many, [50] * 8) for status in part]
        assert set(first) == {200}, "four hundred requests of two hundred jobs that start at once"
        flood = [status for part in pool.map(many, [400] * 8) for status in part]
    assert 429 in flood and set(flood) == {200, 429}


def test_the_log_says_who_did_what_and_shows_no_secret(nginx, partner):
    partner.post(f"{nginx.url}/auth/token?password=hunter2", json={"password": "hunter2"}, timeout=20)
    partner.get(
        f"{nginx.url}/api/v2/dags/fate_invited/dagRuns/who", headers={"Authorization": "Bearer t.o.k"}, timeout=20
    )
    line = '"CN=partner" "GET /airflow/api/v2/dags/fate_invited/dagRuns/who" 200'
    until(lambda: line in nginx.access_log.read_text())  # nginx answers first and writes then
    log = nginx.access_log.read_text()
    assert "hunter2" not in log and "t.o.k" not in log


def session_of(server, certificate) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(server.authority.certificate)
    session.cert = (str(certificate.certificate), str(certificate.key))
    return session


@pytest.fixture(scope="module")
def two_partners(upstream, tmp_path_factory):
    """An nginx with DAGs of their own for two partners, and what each of them asks it with."""
    server = Nginx(tmp_path_factory.mktemp("partners"), upstream.server.server_address[1])
    server.let_in([("CN=bank", "for_bank"), ("CN=insurer", "for_insurer"), ("CN=insurer", "keys_for_insurer")])
    bank, insurer = (session_of(server, server.partners.issue(name)) for name in ("bank", "insurer"))
    with server, bank, insurer:
        yield server, bank, insurer


WITH_DAG = [(method, path) for method, path, _ in ALLOWED if path.startswith(DAG)]


@pytest.mark.parametrize(("method", "path"), WITH_DAG)
def test_a_partner_reaches_its_own_dags_only(two_partners, upstream, method, path):
    server, bank, insurer = two_partners

    def status(session: requests.Session, dag_id: str) -> int:
        url = f"https://{HOST}:{server.port}{path.replace('fate_invited', dag_id)}"
        return session.request(method, url, json={}, timeout=20).status_code

    assert status(bank, "for_bank") == status(insurer, "for_insurer") == status(insurer, "keys_for_insurer") == 200
    before = len(upstream.seen)
    found = [status(bank, name) for name in ("for_insurer", "keys_for_insurer", "fate_invited", "~", "for_bank%20")]
    found += [status(insurer, "for_bank"), status(insurer, "keys_for_insurer%0a")]
    stranger = session_of(server, server.client)  # of the same authority, and not in the list
    assert [*found, status(stranger, "for_bank")] == [404] * 8
    assert len(upstream.seen) == before


def test_one_partners_flood_is_not_the_others(two_partners, upstream):
    server, bank, insurer = two_partners

    def many(count: int) -> list[int]:
        with session_of(server, Certificate(*map(Path, bank.cert))) as session:
            return [session.get(f"{server.url}/api/v2/dags/for_bank", timeout=20).status_code for _ in range(count)]

    with ThreadPoolExecutor(8) as pool:
        flood = [pool.submit(many, 400) for _ in range(8)]
        calm = []
        while not all(one.done() for one in flood):
            calm.append(insurer.get(f"{server.url}/api/v2/dags/for_insurer", timeout=20).status_code)
            time.sleep(0.05)
    assert 429 in [status for one in flood for status in one.result()]
    assert len(calm) > 2 and set(calm) == {200}
    before = len(upstream.seen)
    runs = f"{server.url}/api/v2/dags/for_insurer/dagRuns"
    assert insurer.post(runs, data=b"x" * (1 << 20) + b"x", timeout=20).status_code == 413
    assert len(upstream.seen) == before


def test_the_commands_of_the_readme_make_certificates_that_work(upstream, start_nginx, tmp_path):
    [commands] = re.findall(r"```\n(# an authority; .*?)```", (DEPLOYED / "README.md").read_text(), re.S)
    commands = commands.replace("fl.telco.example", "localhost").replace("/CN=bank", "/C=GB/O=Bank plc/CN=bank")
    [site_ca] = re.findall(r"openssl req -x509 .*?\.pem\n", commands, re.S)  # "of an authority made as above"
    shown = re.search(r"openssl x509 .* -nameopt RFC2253", (DEPLOYED / "partners.example").read_text())[0]
    script = f"set -e\n{site_ca.replace('partners-ca', 'site-ca')}\n{commands}\n{shown}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    subject = done.stdout.strip().splitlines()[-1].removeprefix("subject=")
    assert subject == "CN=bank,O=Bank plc,C=GB"

    server = start_nginx(upstream.server.server_address[1])
    own = server.authority.directory
    for made, place in {
        "site-ca.pem": server.authority.certificate, "site.pem": own / "server.pem", "site.key": own / "server.key.pem",
        "partners-ca.pem": server.partners.certificate,
    }.items():  # fmt: skip
        place.write_bytes((tmp_path / made).read_bytes())
    server.let_in([(subject, "fate_invited")])
    server.stop()
    server.start()

    def status() -> int:
        with session_of(server, Certificate(tmp_path / "client.pem", tmp_path / "client.key")) as session:
            return session.get(f"https://localhost:{server.port}{DAG}", timeout=20).status_code

    assert status() == 200
    # a certificate that is renewed: another one of the same subject needs no word to nginx
    first = (tmp_path / "client.pem").read_bytes()
    [sign] = re.findall(r"openssl x509 -req -in client\.csr .*?client\.pem\n", commands, re.S)
    subprocess.run(["bash", "-c", sign], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "client.pem").read_bytes() != first and status() == 200
    # a partner that goes: its lines are taken away
    server.let_in([])
    server.reload()
    deadline = time.monotonic() + 20
    while status() != 404 and time.monotonic() < deadline:  # the old workers still answer for a moment
        time.sleep(0.1)
    assert status() == 404


def test_reload_takes_a_new_authority_of_partners(nginx, upstream, start_nginx):
    server = start_nginx(upstream.server.server_address[1], prefix="", show_tasks=False)
    verify = str(server.authority.certificate)

    def status(certificate, path="/api/v2/dags/fate_invited") -> int:
        pair = (str(certificate.certificate), str(certificate.key))
        return requests.get(server.url + path, cert=pair, verify=verify, timeout=20).status_code

    assert status(server.client) == 200
    assert status(server.client, "/api/v2/dags/fate_invited/dagRuns/a/taskInstances") == 404, "tasks are not shown"
    other = nginx.client
    assert status(other) == 400
    with server.partners.certificate.open("ab") as bundle:
        bundle.write(nginx.partners.certificate.read_bytes())
    server.reload()
    deadline = time.monotonic() + 20
    while status(other) != 200 and time.monotonic() < deadline:  # the old workers still answer for a moment
        time.sleep(0.1)
    assert status(other) == status(server.client) == 200


def test_it_comes_back_on_its_port_after_a_crash(nginx, upstream, start_nginx):
    server = start_nginx(upstream.server.server_address[1])
    server.kill()
    assert not server.running
    server.start()
    assert requests.get(server.url, verify=str(server.authority.certificate), timeout=20).status_code == 400


@pytest.fixture
def example() -> dict[str, str]:
    """The values that the README starts from."""
    lines = (DEPLOYED / "site.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_the_readme_fills_the_configuration_in_with_every_name(example):
    with pytest.raises(ServerError, match="FATE_LISTEN"):
        fill_in("${FATE_LISTEN}", {})
    names = " ".join(f"${{{name}}}" for name in example)
    assert f"envsubst '{names}' " in " ".join((DEPLOYED / "README.md").read_text().replace("\\\n", " ").split())


def test_the_example_is_a_configuration_that_nginx_takes(example, tmp_path):
    authority = Authority(tmp_path / "ca")
    server = authority.issue("server", "localhost")
    example |= {
        "FATE_PARTNERS": str(DEPLOYED / "partners.example"),
        "FATE_CERTIFICATE": str(server.certificate),
        "FATE_CERTIFICATE_KEY": str(server.key),
        "FATE_PARTNERS_CA": str(authority.certificate),
        "FATE_LOG": str(tmp_path / "access.log"),
    }
    (tmp_path / "site.conf").write_text(fill_in((DEPLOYED / "fate-site.conf.template").read_text(), example))
    main = tmp_path / "nginx.conf"
    main.write_text(f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ include {tmp_path}/site.conf; }}")
    command = [require("nginx", "nginx", "/usr/sbin"), "-t", "-p", str(tmp_path), "-c", str(main), "-e", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr.replace('[warn] the "user" directive', ""), done.stderr
