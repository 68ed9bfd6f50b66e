"""A signed-in page of the session's Airflow; a failed test leaves a picture of what it saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.ui.pages import AirflowUI
from tests.servers.airflow import Airflow
from tests.servers.chromium import Chromium


@pytest.fixture
def ui(
    browser: Chromium, airflow_server: Airflow, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[AirflowUI]:
    failed = request.session.testsfailed
    with browser.page() as page:
        try:
            yield AirflowUI(page, airflow_server).sign_in()
        finally:
            if request.session.testsfailed > failed:
                page.screenshot(path=tmp_path / "failed.png", full_page=True)
                print(f"a picture of the page is in {tmp_path / 'failed.png'}")
