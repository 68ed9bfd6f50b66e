"""Every relative link of every page leads to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "docs/**/*.md", "deploy/**/*.md", "dags/**/*.md", "benchmarks/**/*.md", "tests/**/*.md")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(place))
#: code, in which what looks like a link or a heading is none
CODE = re.compile(r"^ *```.*?^ *```|(`+)(?!`).+?(?<!`)\1(?!`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")


def anchors(page: Path) -> set[str]:
    """The headings of a page, by the names that GitHub gives them."""
    found: set[str] = set()
    fenced = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ +(.+?) *#*$", fenced, re.MULTILINE):
        text = LINK.sub(lambda link: link[0].partition("]")[0].lstrip("!["), heading)
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = 0
        while (one := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(one)
    return found


def links(page: Path) -> list[str]:
    targets = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or not place.is_relative_to(ROOT) or (anchor and anchor not in anchors(place)):
            lost.append(target)
    assert lost == []


def test_there_are_pages_with_links_and_headings() -> None:
    assert {"README.md", "architecture.md", "threat-model.md", "two-organisations.md"} <= {page.name for page in PAGES}
    assert sum(len(links(page)) for page in PAGES) > 80
    assert {"keys", "rabbitmq-fate_rabbitmq", "a-remote-site-fate_site"} <= anchors(ROOT / "docs" / "connections.md")


def test_every_page_of_the_documentation_is_in_the_readme() -> None:
    named = set(links(ROOT / "README.md"))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= named
