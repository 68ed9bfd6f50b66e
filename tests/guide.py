"""The files of docs/components.md, as a package that is installed for one test."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from airflow_provider_fate.job import dsl, modules
from airflow_provider_fate.runtime.components import registry

PAGE = Path(__file__).parents[1] / "docs" / "components.md"
#: a file's name in bold, then its content
_FILE = re.compile(r"^\*\*([\w./-]+)\*\*\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Guide:
    """The package.

    :param folder: where its files are written
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))
        for name, content in {**self.files, "secure_mean/__init__.py": ""}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        self.job = json.loads(self.files["secure_mean_job.json"])

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the package and its entry points where this process imports from, and where its children do not."""
        project = tomllib.loads(self.files["pyproject.toml"])["project"]
        info = self.folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        groups = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(groups))
        known = dict(modules.MODULES)  # of this test alone
        for module in (modules, dsl, registry):
            monkeypatch.setattr(module, "MODULES", known)
        monkeypatch.syspath_prepend(str(self.folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "secure_mean"]:
            monkeypatch.delitem(sys.modules, name)
