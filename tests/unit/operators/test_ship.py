"""The shipped code is complete, needs no Airflow, and is made once."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from airflow_provider_fate.operators import _ship


def test_the_same_code_gives_the_same_file_once(tmp_path):
    path = _ship.code_zip(tmp_path)
    made = os.stat(path)
    assert _ship.code_zip(tmp_path) == path
    assert os.stat(path).st_mtime_ns == made.st_mtime_ns
    assert [one.name for one in tmp_path.iterdir()] == [os.path.basename(path)]
    content = Path(path).read_bytes()
    os.unlink(path)
    assert Path(_ship.code_zip(tmp_path)).read_bytes() == content


def test_a_file_that_was_tampered_with_is_replaced(tmp_path):
    path = _ship.code_zip(tmp_path)
    with open(path, "ab") as stream:
        stream.write(b"x")
    assert zipfile.ZipFile(_ship.code_zip(tmp_path)).testzip() is None
    assert Path(path).read_bytes() == _ship._content()


def test_it_holds_what_the_application_needs_and_nothing_of_airflow(tmp_path):
    names = zipfile.ZipFile(_ship.code_zip(tmp_path)).namelist()
    assert "airflow_provider_fate/runtime/main.py" in names
    assert not [name for name in names if "/operators/" in name or "/hooks/" in name or "__pycache__" in name]
    # imported from the zip alone, in a process that refuses Airflow
    code = (
        "import sys; sys.modules['airflow'] = None\n"
        "import airflow_provider_fate.runtime.main as main\n"
        "assert '.zip' in main.__file__, main.__file__"
    )
    env = {**os.environ, "PYTHONPATH": _ship.code_zip(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path)


def test_the_cache_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = os.path.dirname(_ship.code_zip())
    assert directory == str(tmp_path / "airflow-provider-fate")
    assert os.stat(directory).st_mode & 0o077 == 0
    os.chmod(directory, 0o777)
    assert not _ship.code_zip().startswith(directory)
