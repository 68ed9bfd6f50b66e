"""The HDFS hook and its storage on a real NameNode and DataNode."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
import time
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from airflow_provider_fate.errors import ConfigError, StorageError
from airflow_provider_fate.hooks.storage import FateLocalHook, storage_hook
from tests.integration.hooks.tls_front import tls_front
from tests.servers.certificates import Authority


@pytest.fixture
def make_hook(hdfs, connect):
    """``make_hook(login=..., host=..., **extra)``: a hook on the running HDFS, with a root of its own."""

    def make(login="alice", host=None, port=None, **extra):
        root = f"/room-{os.urandom(4).hex()}"
        hdfs.new_directory(root, "alice")
        extra = {"hdfs_url": hdfs.url, "root_path": root, "timeout": 20, **extra}
        return storage_hook(
            connect("fate_hdfs", host=host or "127.0.0.1", port=port or hdfs.http_port, login=login, extra=extra)
        )

    return make


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_files_live_as_the_storage_contract_says(make_hook):
    storage = make_hook().storage
    name = "tables/ns/ein ü=1 #2%/part-0"
    assert not storage.exists(name) and storage.list("tables") == []
    with storage.open_write(name) as stream:
        stream.write(b"one")
        stream.write(b"two")
    assert storage.read_bytes(name) == b"onetwo" and storage.size(name) == 6
    assert storage.list("tables/ns") == ["ein ü=1 #2%"]
    with storage.open_write(name) as stream:  # replaces
        stream.write(b"three")
    assert storage.read_bytes(name) == b"three"
    storage.rename("tables/ns", "models/a/b/c")
    assert not storage.exists("tables/ns") and storage.read_bytes("models/a/b/c/ein ü=1 #2%/part-0") == b"three"
    with storage.open_write("empty"):
        pass
    assert storage.read_bytes("empty") == b"" and storage.size("empty") == 0
    storage.write_json("note.json", {"a": 1})
    storage.write_json("note.json", {"a": 2})
    assert storage.read_json("note.json") == {"a": 2}
    storage.delete("models")
    storage.delete("models")
    assert not storage.exists("models")


def test_a_rename_never_moves_into_an_existing_directory(make_hook):
    storage = make_hook().storage
    storage.write_bytes("new/a", b"1")
    storage.write_bytes("old/b", b"2")
    with pytest.raises(StorageError, match="exists already"):
        storage.rename("new", "old")
    assert storage.list("old") == ["b"] and storage.list("new") == ["a"]
    with pytest.raises(StorageError, match=r"missing.*FileNotFoundException"):
        storage.rename("missing", "somewhere")
    storage.delete("old")
    storage.rename("new", "old")
    assert storage.list("old") == ["a"]


@pytest.mark.parametrize("path", ["../up", "a//b", "", "a/../../b", "."])
def test_a_path_cannot_leave_the_root(make_hook, path):
    with pytest.raises(StorageError, match="below the storage root"):
        make_hook().storage.read_bytes(path)


def test_an_upload_that_fails_leaves_nothing(make_hook):
    storage = make_hook().storage
    with pytest.raises(ValueError, match="the source broke"), storage.open_write("part") as stream:
        stream.write(os.urandom(5 << 20))
        raise ValueError("the source broke")
    assert not storage.exists("part")


def test_uploads_and_downloads_stream_in_bounded_memory(make_hook):
    storage = make_hook().storage
    block, digest = os.urandom(1 << 20), hashlib.sha256()
    tracemalloc.start()
    try:
        with storage.open_write("large") as stream:
            for _ in range(100):
                stream.write(block)
                digest.update(block)
        written = tracemalloc.get_traced_memory()[1]
        read = hashlib.sha256()
        with storage.open_read("large") as stream:
            while piece := stream.read(1 << 20):
                read.update(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read.digest() == digest.digest() and storage.size("large") == 100 << 20
    assert written < 16 << 20 and peak < 16 << 20, (written, peak)


def test_parquet_is_written_and_read_in_place(make_hook):
    storage = make_hook().storage
    table = pa.table({"id": [str(i) for i in range(50_000)], "x": [i / 7 for i in range(50_000)]})
    with storage.open_write("t/part-0.parquet") as stream:
        pq.write_table(table, stream)
    with storage.open_read("t/part-0.parquet") as stream:  # Parquet is read from its end: the stream seeks
        assert pq.read_table(stream).equals(table)


def test_an_upload_is_as_fast_as_a_raw_put(hdfs, make_hook):
    """Both send the same 128 MiB, in turn and more often where the machine has other things to do; the best counts."""
    storage = make_hook().storage
    block = os.urandom(1 << 20)
    raw_url = f"{hdfs.web_url}/webhdfs/v1{storage.root}/raw?op=CREATE&overwrite=true&user.name=alice"

    def ours() -> float:
        start = time.perf_counter()
        with storage.open_write("ours") as stream:
            for _ in range(128):
                stream.write(block)
        return time.perf_counter() - start

    def raw() -> float:
        body = block * 128
        start = time.perf_counter()
        place = requests.put(raw_url, allow_redirects=False, timeout=60).headers["location"]
        requests.put(place, data=body, timeout=60).raise_for_status()
        return time.perf_counter() - start

    times: list[tuple[float, float]] = []
    while len(times) < 12:
        times.append((ours(), raw()))
        best, limit = (min(column) for column in zip(*times, strict=True))
        if len(times) >= 3 and best < limit / 0.7:
            return
    pytest.fail(f"ours {best:.2f} s, raw {limit:.2f} s: {times}")


def test_what_spark_is_told(hdfs, make_hook):
    hook = make_hook()
    assert hook.url == hdfs.url + hook.root_path
    assert hook.spark_settings()["job_file_part"] == {"url": hook.url}
    assert hook.spark_settings()["env_vars"] == {"HADOOP_USER_NAME": "alice"}


# -- the Test button


def test_a_good_connection_passes_and_leaves_no_probe(make_hook):
    hook = make_hook()
    ok, message = hook.test_connection()
    assert ok and hook.url in message and "as alice" in message and "GB free" in message
    assert hook.client.list(hook.root_path) == []


def test_a_user_without_the_right_is_told_so(make_hook):
    ok, message = make_hook(login="mallory").test_connection()
    assert not ok and "mallory" in message and "AccessControlException" in message and "root_path" in message


def test_a_dead_namenode_is_named(make_hook):
    port = closed_port()
    ok, message = make_hook(port=port).test_connection()
    assert not ok and f"127.0.0.1:{port}" in message and "connection refused" in message


def test_an_unknown_host_is_named(make_hook):
    ok, message = make_hook(host="no-such-host.invalid").test_connection()
    assert not ok and "no-such-host.invalid" in message and "not known" in message


def test_the_rpc_port_is_recognised(hdfs, make_hook):
    ok, message = make_hook(port=hdfs.rpc_port).test_connection()
    assert not ok and "its HTTP port is expected here, not an RPC" in message


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"hdfs_url": ""}, "hdfs_url.*not set"),
        ({"hdfs_url": "http://nn:9870"}, "hdfs_url.*hdfs://namenode:8020"),
        ({"hdfs_url": "hdfs://nn:8020/fate"}, "root_path"),
        ({"hdfs_url": "hdfs://nn:port"}, "no valid port"),
        ({"root_path": "/"}, "root_path"),
        ({"root_path": "fate"}, "absolute path"),
        ({"rootpath": "/x"}, "did you mean root_path"),
        ({"auth": "ldap"}, "simple or kerberos"),
        ({"auth": "kerberos"}, "requests-kerberos.*pip install"),
        ({"timeout": "soon"}, "a number from 1 to 3600"),
        ({"use_ssl": True, "ca_file": "/no/such.pem"}, "/no/such.pem cannot be read"),
        ({"client_key": "/k.pem"}, "without client_cert"),
    ],
)
def test_a_wrong_field_is_named(make_hook, extra, expected):
    ok, message = make_hook(**extra).test_connection()
    assert not ok and re.search(expected, message), message


def test_the_address_that_spark_uses_is_tried(make_hook):
    ok, message = make_hook(hdfs_url=f"hdfs://127.0.0.1:{closed_port()}").test_connection()
    assert not ok and "WebHDFS works" in message and "hdfs_url" in message and "refused" in message


# -- several namenodes, TLS


def test_a_dead_namenode_is_passed_over(hdfs, make_hook):
    dead = closed_port()
    hook = make_hook(host=f"127.0.0.1:{dead}, 127.0.0.1:{hdfs.http_port}")
    hook.storage.write_bytes("a", b"1")
    assert hook.storage.read_bytes("a") == b"1"
    ok, message = hook.test_connection()
    assert ok and f"Not usable: 127.0.0.1:{dead}: connection refused" in message
    gone = make_hook(host=f"127.0.0.1:{dead},127.0.0.1:{dead + 1}")
    with pytest.raises(StorageError, match=rf"no namenode can be used.*{dead}.*{dead + 1}"):
        gone.storage.exists("a")


def test_a_standby_is_passed_over(hdfs, make_hook):
    """What a standby answers is Hadoop's own text; a standby itself needs ZooKeeper and a shared journal."""
    body = b'{"RemoteException":{"exception":"StandbyException","javaClassName":"x","message":"state standby"}}'
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n")
                peer.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    threading.Thread(target=answer, daemon=True).start()
    with listener:
        standby = listener.getsockname()[1]
        hook = make_hook(host=f"127.0.0.1:{standby},127.0.0.1:{hdfs.http_port}")
        ok, message = hook.test_connection()
        assert ok and f"127.0.0.1:{standby}: is a standby" in message
        with pytest.raises(StorageError, match="StandbyException.*list the active namenode"):
            make_hook(port=standby).storage.write_bytes("a", b"1")


def test_a_download_goes_on_after_the_datanode_was_away_and_its_absence_is_named(hdfs, make_hook):
    storage = make_hook().storage
    content = os.urandom(48 << 20)
    with storage.open_write("large") as stream:
        stream.write(content)
    with storage.open_read("large") as stream:
        first = stream.read(1 << 20)
        hdfs.kill("datanode")
        try:
            with pytest.raises(StorageError, match="sends us to datanode 127.0.0.1:.*refused"):
                storage.write_bytes("other", b"1")
        finally:
            hdfs.start_daemon("datanode")
            hdfs.wait_ready()
        deadline = time.monotonic() + 60
        while True:  # the namenode counts the datanode as alive before it takes requests again
            try:
                storage.read_bytes("large")
                break
            except StorageError:
                assert time.monotonic() < deadline
                time.sleep(0.3)
        assert first + stream.read() == content


def test_tls_is_verified(hdfs, make_hook, tmp_path):
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other", "another authority")
    server, client = authority.issue("server", "127.0.0.1"), authority.issue("client")
    with tls_front(hdfs.http_port, authority, server, ask=True) as port:
        own = {"client_cert": str(client.certificate), "client_key": str(client.key)}
        good = make_hook(port=port, use_ssl=True, ca_file=str(authority.certificate), **own)
        assert good.test_connection()[0], good.test_connection()
        ok, message = make_hook(port=port, use_ssl=True, ca_file=str(other.certificate), **own).test_connection()
        assert not ok and "certificate is not accepted" in message and "ca_file" in message
        ok, message = make_hook(port=port, use_ssl=True, ca_file=str(authority.certificate)).test_connection()
        assert not ok, "a client without a certificate came through"
        ok, message = make_hook(port=port).test_connection()
        assert not ok and f"127.0.0.1:{port}" in message


def test_a_local_directory_is_storage_too(connect, tmp_path):
    hook = storage_hook(connect("fs", extra={"path": str(tmp_path)}))
    assert isinstance(hook, FateLocalHook)
    hook.storage.write_bytes("a/b", b"1")
    assert (tmp_path / "a" / "b").read_bytes() == b"1"
    assert hook.spark_settings() == {"env_vars": {}, "conf": {}, "job_file_part": {"url": f"file://{tmp_path}"}}


def test_other_connections_are_refused(connect):
    with pytest.raises(ConfigError, match="'http'.*fate_hdfs or fs"):
        storage_hook(connect("http", host="x"))
    with pytest.raises(ConfigError, match="no such connection.*airflow connections add not_there"):
        storage_hook("not_there")
    with pytest.raises(ConfigError, match="absolute path"):
        storage_hook(connect("fs", extra={"path": "data"})).storage.exists("a")
