"""A real Chromium for tests, the distribution's own, driven through Playwright."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.programs import program


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless. Without its sandbox, which root and containers cannot have."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox"]
        )
        try:
            yield chromium
        finally:
            chromium.close()


def opened(chromium: Browser, url: str, **options: Any) -> tuple[Page, list[str]]:
    """The page at `url`, and what it complains about from now on."""
    page = chromium.new_context(**options).new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append("a dialog"), dialog.dismiss()))
    page.goto(url)
    return page, complaints
