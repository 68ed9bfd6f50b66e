"""The tests' HDFS keeps files over a crash and asks who somebody is."""

from __future__ import annotations

import os

import hdfs as hdfs_client
import pytest

from tests.servers.hdfs import HDFS
from tests.servers.process import is_open


def test_files_survive_a_crash_and_all_ends(tmp_path):
    content = os.urandom(3_000_000)
    with HDFS(tmp_path / "hdfs") as server:
        server.client().write("/some/file", data=content)
        server.kill("namenode")
        server.kill("datanode")
        assert not is_open(server.http_port)
        server.start()
        with server.client().read("/some/file") as reader:
            assert reader.read() == content
    assert not is_open(server.http_port)
    assert not is_open(server.rpc_port)


def test_permissions_count(hdfs):
    hdfs.new_directory("/private/alice", owner="alice", permission="700")
    hdfs.client("alice").write("/private/alice/file", data=b"hers")
    with hdfs.client("alice").read("/private/alice/file") as reader:
        assert reader.read() == b"hers"
    with pytest.raises(hdfs_client.HdfsError, match="Permission denied: user=bob"):
        hdfs.client("bob").list("/private/alice")
