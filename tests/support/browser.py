"""A real Chromium for tests: the machine's own, since nothing is downloaded for it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> str:
    """Path of the browser. Without one the test fails in CI and is skipped elsewhere, saying what to install."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    message = f"no browser found (looked for {', '.join(NAMES)}); Debian, Ubuntu: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """One headless browser. While it runs, the calling thread must not start an event loop of its own."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
