"""The tests' browser runs a page's script, clicks, and takes pictures."""

from __future__ import annotations

import pytest

PAGE = "data:text/html,<button onclick=\"document.title='clicked ' + (6*7)\">Go</button>"


def test_click(browser, tmp_path):
    with browser.page() as page:
        page.goto(PAGE)
        page.get_by_role("button", name="Go").click()
        assert page.title() == "clicked 42"


def test_failure_leaves_a_picture(browser, tmp_path):
    picture = tmp_path / "failed.png"
    with pytest.raises(AssertionError), browser.page(picture) as page:
        page.goto(PAGE)
        raise AssertionError("seen by the test")
    assert picture.read_bytes().startswith(b"\x89PNG")
