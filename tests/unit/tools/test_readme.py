"""The README says nothing that is not so: its links lead somewhere, its commands are there, its DAG is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
README = (REPOSITORY / "README.md").read_text()


def test_links_lead_to_files():
    links = set(re.findall(r"\]\((?!https?:)([^)#]+)", README))
    assert "docs/connections.md" in links
    assert [link for link in sorted(links) if not (REPOSITORY / link).exists()] == []


def test_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.M))
    assert {"demo", "ui", "test"} <= named <= targets


def test_the_dag_is_one():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    dag = names["upload"].dag
    assert sorted(dag.task_ids) == ["train.guest_9999", "upload"]
    assert dag.get_task("train.guest_9999").upstream_task_ids == {"upload"}
