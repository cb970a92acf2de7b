"""The browser in which tests open pages: Chromium or Chrome, as installed on the machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")  # as in the Makefile
_ARGUMENTS = (
    "--no-sandbox",  # Chromium's own sandbox cannot be had by root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def executable() -> str:
    """The path of the browser: that of the environment variable CHROMIUM, or one on the PATH.

    Raises:
        RuntimeError: if there is none.
    """
    given = os.environ.get("CHROMIUM")
    for name in (given,) if given else _NAMES:
        if found := shutil.which(name):
            return found
    raise RuntimeError(
        f"no browser: none of {', '.join((given,) if given else _NAMES)} is there; run `make "
        "test-programs`, or let the environment variable CHROMIUM name one"
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser of its own, closed at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=_ARGUMENTS)
        yield browser
        browser.close()
