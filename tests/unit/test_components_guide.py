"""The package of docs/components.md, made from the page: its own tests, its entry point, its job, and its zip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.operators import _ship
from airflow_provider_fate.runtime.components.registry import component_class
from tests.guide import Guide

ROOT = Path(__file__).parents[2]


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guide:
    made = Guide(tmp_path / "secure-mean")
    made.install(monkeypatch)
    return made


def test_its_own_tests_pass(guide: Guide) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(guide.folder), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=guide.folder, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


def test_its_job_is_parsed_without_its_class(guide: Guide) -> None:
    job = Job.from_dict(guide.job)
    assert job.components["secure_mean_0"].spec.component == "secure_mean.component:SecureMean"
    assert job.parameters("secure_mean_0", job.parties[0]).centre is True
    assert "secure_mean.component" not in sys.modules
    guide.job["conf"]["component_parameters"]["common"]["secure_mean_0"] = {"center": True}
    with pytest.raises(ConfigError, match="did you mean centre?"):
        Job.from_dict(guide.job)


def test_its_dag_has_a_task_for_each_party(guide: Guide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(guide.folder)
    scope: dict[str, object] = {"__file__": str(guide.folder / "secure_mean_dag.py")}
    exec(compile((guide.folder / "secure_mean_dag.py").read_text(), scope["__file__"], "exec"), scope)
    assert sorted(scope["dag"].task_ids) == ["train.guest_9999", "train.host_10000", "train.host_10001"]


def test_the_zip_is_all_that_a_node_needs(guide: Guide, tmp_path: Path) -> None:
    (zipped,) = _ship.users_zips(["SecureMean"], tmp_path)
    assert zipped == _ship.users_zips(["SecureMean", "securemean", "HeteroLR"], tmp_path)[0]
    names = zipfile.ZipFile(zipped).namelist()
    assert {"secure_mean/__init__.py", "secure_mean/module.py", "secure_mean/component.py"} <= set(names)
    assert "secure_mean-0.1.0.dist-info/entry_points.txt" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    (tmp_path / "job.json").write_text(json.dumps(guide.job))
    code = (
        "import json, sys; sys.modules['airflow'] = None\n"
        "from airflow_provider_fate.job.conf import Job\n"
        "from airflow_provider_fate.runtime.components.registry import component_class\n"
        "Job.from_dict(json.load(open('job.json')))\n"
        "found = component_class('SecureMean')\n"
        "assert '.zip' in sys.modules[found.__module__].__file__\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([_ship.code_zip(tmp_path), zipped])}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path)
    made = Path(zipped).read_bytes()
    (guide.folder / "secure_mean" / "__init__.py").write_text("# changed\n")
    (again,) = _ship.users_zips(["SecureMean"], tmp_path)
    assert again != zipped
    assert Path(again).read_bytes() != made


def test_an_installed_wheel_gives_the_same_zip(guide: Guide, tmp_path: Path) -> None:
    """A wheel has a RECORD of its files; what is only on sys.path has none."""
    (before,) = _ship.users_zips(["SecureMean"], tmp_path)
    info = guide.folder / "secure_mean-0.1.0.dist-info"
    files = sorted(path.relative_to(guide.folder).as_posix() for path in guide.folder.glob("secure_mean/*.py"))
    lines = [f"{name},," for name in [*files, "../../bin/tool", "secure_mean-0.1.0.dist-info/RECORD"]]
    (info / "RECORD").write_text("\n".join(lines))
    assert _ship.users_zips(["SecureMean"], tmp_path) == [before]


def test_compiled_files_are_refused(guide: Guide, tmp_path: Path) -> None:
    (guide.folder / "secure_mean" / "fast.cpython-311-x86_64-linux-gnu.so").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"package secure-mean: secure_mean/fast.*is compiled.*archives"):
        _ship.users_zips(["SecureMean"], tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"SecureMean",\n', '"SecureMeans",\n'), "describes a module SecureMeans; expected the same name"),
        (('SecureMean",\n)', 'SecureMean",\n).__dict__'), "is a dict; expected a ModuleSpec"),
        (("from pydantic import Field", "from pydantic import Feeld"), "cannot be loaded: ImportError"),
        (
            ('component="secure_mean.component:SecureMean"', 'component="secure_mean"'),
            "expected 'package.module:Class'",
        ),
        (("(Parameters)", "(__import__('pydantic').BaseModel)"), "no subclass of Parameters"),
    ],
)
def test_a_wrong_description_is_refused(guide: Guide, change: tuple[str, str], says: str) -> None:
    path = guide.folder / "secure_mean" / "module.py"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(ConfigError, match=says) as caught:
        Job.from_dict(guide.job)
    assert caught.value.path == "dsl.components.secure_mean_0.module"
    assert "of secure-mean" in caught.value.problem or "SecureMean" in caught.value.problem


def test_a_wrong_class_is_refused(guide: Guide) -> None:
    Job.from_dict(guide.job)
    path = guide.folder / "secure_mean" / "component.py"
    path.write_text(path.read_text().replace('module = "SecureMean"', 'module = "Other"'))
    with pytest.raises(ConfigError, match="expected a Component with module = 'SecureMean'"):
        component_class("SecureMean")


def test_two_packages_with_one_module(guide: Guide) -> None:
    info = guide.folder / "other-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[airflow_provider_fate.components]\nsecuremean = other:MODULE\n")
    with pytest.raises(ConfigError, match="several packages have it: other, secure-mean"):
        Job.from_dict(guide.job)


def test_a_users_module_may_be_one_that_is_not_there_yet(guide: Guide) -> None:
    path = guide.folder / "secure_mean" / "module.py"
    path.write_text(path.read_text().replace('"SecureMean",\n', '"HeteroNN",\n'))
    (guide.folder / "secure_mean-0.1.0.dist-info" / "entry_points.txt").write_text(
        "[airflow_provider_fate.components]\nHeteroNN = secure_mean.module:MODULE\n"
    )
    guide.job["dsl"]["components"]["secure_mean_0"]["module"] = "HeteroNN"
    assert Job.from_dict(guide.job).components["secure_mean_0"].module == "HeteroNN"


def test_a_slip_in_its_name_finds_it(guide: Guide) -> None:
    guide.job["dsl"]["components"]["secure_mean_0"]["module"] = "SecureMeen"
    with pytest.raises(ConfigError, match="did you mean SecureMean?"):
        Job.from_dict(guide.job)
