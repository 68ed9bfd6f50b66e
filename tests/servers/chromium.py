"""Headless Chromium, Debian's, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.servers.process import Server, require

# A test machine has no way out: without these every start asks a dozen hosts in vain.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]


class Chromium(Server):
    """One browser; each test takes pages of its own."""

    def __init__(self) -> None:
        self._playwright = None
        self._browser: Browser | None = None

    def start(self) -> Chromium:
        """Start the browser."""
        program = require("chromium", "chromium")
        self._playwright = sync_playwright().start()
        expect.set_options(timeout=60_000)  # as long as an action: the machine may be busy
        self._browser = self._playwright.chromium.launch(executable_path=program, headless=True, args=_FLAGS)
        return self

    def stop(self) -> None:
        """End the browser."""
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()

    def context(self, seconds: float = 60) -> BrowserContext:
        """A profile of its own: no cookies, a desktop's size; actions wait up to *seconds*."""
        assert self._browser is not None, "start() comes first"
        context = self._browser.new_context(viewport={"width": 1400, "height": 1000}, locale="en-US")
        context.set_default_timeout(seconds * 1000)
        return context

    @contextmanager
    def page(self, picture: Path | None = None) -> Iterator[Page]:
        """A page in a profile of its own.

        :param picture: where a screenshot goes when the test fails
        """
        context = self.context()
        page = context.new_page()
        try:
            yield page
        except BaseException:
            if picture is not None:
                page.screenshot(path=picture, full_page=True)
            raise
        finally:
            context.close()
