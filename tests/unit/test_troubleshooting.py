"""The messages that the page on troubleshooting quotes are those that the code writes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: what Spark, Python and Airflow say, not this package
OTHERS = (
    "Python in worker has different version",
    "ModuleNotFoundError: No module named",
    "Could not find valid SPARK_HOME",
    "The host or port to test differs from the stored connection",
)
#: what is another in each message: parts left out, names and numbers; stands for a text's own such parts as well
VARIABLE = re.compile(r"\.\.\.|'[^']*'|\b[Xxy]\b|\b(?:guest|host|arbiter)-\d+\b|\d+|\0")


def quoted() -> list[str]:
    rows = re.findall(r"^\| (`.+?) \| .+ \|$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    messages = [message for row in rows for message in re.findall("`([^`]+)`", row)]
    return [message for message in messages if not message.startswith(OTHERS)]


def texts(source: str) -> list[str]:
    """All text in a source; what is put into a text when it runs is ``\\0`` there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


@pytest.fixture(scope="module")
def written() -> str:
    sources = (ROOT / "airflow_provider_fate").rglob("*.py")
    return "\n".join(text for source in sources for text in texts(source.read_text(encoding="utf-8")))


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_one_of_the_codes(message, written):
    for fragment in VARIABLE.split(message):
        fragment = fragment.strip(" ,:;`")
        assert len(fragment) < 4 or fragment in written, f"{fragment!r} of {message!r} stands nowhere in the code"


def test_there_are_messages_to_look_for(written):
    assert len(quoted()) > 35
    assert "Cannot find spark-submit" not in written
