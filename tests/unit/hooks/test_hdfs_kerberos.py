"""The client for Kerberos, with a ticket that is none: requests-kerberos itself needs Kerberos' libraries to build."""

from __future__ import annotations

import json
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hdfs.util import HdfsError

from airflow_provider_fate.hooks.hdfs import FateHdfsHook


class Ticket:
    """What requests-kerberos puts into requests, with a header of our own."""

    def __init__(self, mutual_authentication):
        assert mutual_authentication == "optional"

    def __call__(self, request):
        request.headers["Authorization"] = "Negotiate ticket"
        return request


class NameNode(BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.headers.get("Authorization") == "Negotiate ticket" and "user.name" not in self.path
        status = {"FileStatus": {"type": "DIRECTORY", "length": 0}}
        refusal = {"RemoteException": {"exception": "SecurityException", "message": "wants Kerberos"}}
        body = json.dumps(status if good else refusal).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def namenode():
    with HTTPServer(("127.0.0.1", 0), NameNode) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def requests_kerberos(monkeypatch):
    module = types.ModuleType("requests_kerberos")
    module.__dict__.update(HTTPKerberosAuth=Ticket, OPTIONAL="optional")
    monkeypatch.setitem(sys.modules, "requests_kerberos", module)
    monkeypatch.delitem(sys.modules, "hdfs.ext.kerberos", raising=False)
    yield
    # made on the stand-in
    sys.modules.pop("hdfs.ext.kerberos", None)


def test_every_request_shows_the_ticket_and_names_no_user(namenode, requests_kerberos, connect):
    extra = {"hdfs_url": "hdfs://127.0.0.1:8020", "auth": "kerberos"}
    # a namenode that is down comes first: passed over, as without Kerberos
    hosts = f"127.0.0.1:1,127.0.0.1:{namenode}"
    hook = FateHdfsHook(connect("fate_hdfs", host=hosts, login="ignored", extra=extra))
    assert hook.client.status("/")["type"] == "DIRECTORY"
    assert list(hook.client.failures) == ["127.0.0.1:1"]
    plain = FateHdfsHook(connect("fate_hdfs", host="127.0.0.1", port=namenode, extra={**extra, "auth": "simple"}))
    with pytest.raises(HdfsError, match="Authentication failure"):
        plain.client.status("/")
