"""A real Chromium, and the checker of accessibility, for tests of pages.

A plugin (see `tests/conftest.py`). The browser lives as long as a module: its loop must not be there for others' tests.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


class Axe:
    """axe-core, an accessibility checker; a dependency of tests alone."""

    def __init__(self, source: str) -> None:
        self._source = source

    def faults(self, page: Page) -> list[str]:
        """What is wrong with a page, a line each."""
        # By the browser's own protocol: the page's policy would run no such script.
        page.evaluate(self._source)
        result = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})")
        return [
            f"{page.url}: {fault['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
            for fault in result["violations"]
            for node in fault["nodes"]
        ]


@pytest.fixture(scope="session")
def axe() -> Axe:
    """The checker."""
    folder = Path(__file__).parent / "e2e" / "node"
    if shutil.which("npm") is None:
        pytest.fail("there is no `npm` on PATH; install Node.js 18 or newer")
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.is_file():
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return Axe(source.read_text())
