"""The application's storage on a real HDFS, through the JVM of Spark."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.runtime.storage.hadoop import HadoopStorage

if TYPE_CHECKING:
    from tests.servers.hdfs import HDFS

ROOT = "/fate-hadoop-storage"


@pytest.fixture(scope="module")
def storage(hdfs: HDFS) -> Iterator[HadoopStorage]:
    hdfs.new_directory(ROOT, hdfs.superuser)
    yield HadoopStorage(f"{hdfs.url}{ROOT}")


def test_a_reader_sees_the_old_file_or_the_new(storage: HadoopStorage, hdfs: HDFS) -> None:
    """There is no moment without a file, and none with a part of one."""
    client, path = hdfs.client(), f"{ROOT}/jobs/status.json"
    storage.write_bytes("jobs/status.json", b"0" * 1000)
    ended, seen = threading.Event(), []

    def read() -> None:
        while not ended.is_set():
            status = client.status(path, strict=False)
            seen.append(None if status is None else status["length"])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(60):
            storage.write_bytes("jobs/status.json", str(number % 10).encode() * 1000)
    finally:
        ended.set()
        reader.join()
    assert len(seen) > 30 and set(seen) == {1000}
    assert storage.read_bytes("jobs/status.json") == b"9" * 1000
    assert storage.list("jobs") == ["status.json"]


def test_rename_never_replaces(storage: HadoopStorage) -> None:
    storage.write_bytes("d/a", b"1")
    storage.write_bytes("d/b", b"2")
    with pytest.raises(StorageError, match="exists already"):
        storage.rename("d/a", "d/b")
    with pytest.raises(StorageError, match="d/none.*FileNotFoundException"):
        storage.replace("d/none", "d/b")
    assert storage.read_bytes("d/b") == b"2"


def test_a_directory_that_came_meanwhile_is_not_moved_into(
    storage: HadoopStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes("t/new/part", b"1")
    storage.write_bytes("t/there/part", b"2")

    class Blind:
        """Looks before the other directory is there."""

        def __init__(self, files: object) -> None:
            self._files = files

        def exists(self, _path: object) -> bool:
            return False

        def __getattr__(self, name: str) -> object:
            return getattr(self._files, name)

    monkeypatch.setattr(storage, "_files", Blind(storage._files))
    with pytest.raises(StorageError, match="FileAlreadyExistsException"):
        storage.rename("t/new", "t/there")
    monkeypatch.undo()
    assert storage.list("t/there") == ["part"]
    storage.replace_directory("t/new", "t/there")
    assert (storage.list("t"), storage.read_bytes("t/there/part")) == (["there"], b"1")


def test_a_file_system_without_such_a_rename(storage: HadoopStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that Hadoop's newer interface does not know: as before, in two steps."""
    monkeypatch.setitem(storage.__dict__, "_context", None)
    for content in (b"1", b"2"):
        storage.write_bytes("old/a", content)
        assert storage.read_bytes("old/a") == content
    with pytest.raises(StorageError, match="exists already"):
        storage.write_bytes("old/b", b"")
        storage.rename("old/a", "old/b")


def test_a_datanode_that_is_away_for_a_while_is_waited_for(storage: HadoopStorage, hdfs: HDFS) -> None:
    storage.write_bytes("away/kept", b"kept")
    hdfs.kill("datanode")
    back = threading.Timer(4, hdfs.start_daemon, ["datanode"])
    back.start()
    try:
        storage.write_bytes("away/new", b"new")  # no DataNode takes it, and then one does
        assert storage.read_bytes("away/new") == b"new"
        assert storage.read_bytes("away/kept") == b"kept"
        assert storage.list("away") == ["kept", "new"], "nothing of the attempts is left"
    finally:
        back.join()
        hdfs.wait_ready()


def test_a_datanode_that_stays_away_is_an_error_that_says_so(storage: HadoopStorage, hdfs: HDFS, monkeypatch) -> None:
    monkeypatch.setattr(HadoopStorage, "patience", 2.0)
    storage.write_bytes("gone/kept", b"kept")
    hdfs.kill("datanode")
    try:
        with pytest.raises(StorageError, match=r"cannot write .*gone/new.*could only be written to .*tried for \d+ s"):
            storage.write_bytes("gone/new", b"new")
        with pytest.raises(StorageError, match=r"cannot read .*gone/kept: BlockMissingException.*tried for \d+ s"):
            storage.read_bytes("gone/kept")
    finally:
        hdfs.start_daemon("datanode")
        hdfs.wait_ready()
