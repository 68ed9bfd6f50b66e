"""The reference of the job conf, and what the package imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_fate.job import reference
from airflow_provider_fate.job.modules import MODULES


def test_the_page_is_what_the_models_say() -> None:
    assert reference.TARGET.read_text(encoding="utf-8") == reference.text(), (
        "docs/job-conf.md is out of date: run python -m airflow_provider_fate.job.reference"
    )


def test_it_is_written_where_it_is_wanted(tmp_path, capsys) -> None:
    reference.main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference.text()
    for wrong in (["--chekc"], ["a", "b"]):
        with pytest.raises(SystemExit):
            reference.main(wrong)
    assert "usage: python -m airflow_provider_fate.job.reference" in capsys.readouterr().err


def test_every_parameter_is_on_the_page() -> None:
    text = reference.text()
    for name, spec in MODULES.items():
        section = text.split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0]
        for key in spec.parameters.model_fields:
            assert f"| `{key}` |" in section


def test_only_pydantic_is_imported() -> None:
    code = (
        "import sys; import pydantic; before = set(sys.modules);"
        "import airflow_provider_fate.job.conf, airflow_provider_fate.job.reference;"
        "print(' '.join(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    found = [name for name in found if not name.startswith("_sysconfigdata")]
    assert set(found) <= {"airflow_provider_fate", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"}
