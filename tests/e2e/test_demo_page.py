"""The page a server shows when it has no application, in headless Chromium: live echo, live count.

It must not know the page's script: it sees what a person sees.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.needs_browser
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(serve(tmp_path_factory.mktemp("no-application")).url)


def test_echo_and_number_of_connections(browser: Browser, url: str, artifacts: Path) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    faults: list[str] = []
    first, second = (browser.new_page(viewport={"width": 1280, "height": 800}) for _ in range(2))
    for page in (first, second):
        page.on("pageerror", lambda error: faults.append(str(error)))
    first.goto(url)
    expect(first.locator("#count")).to_have_text("1")
    second.goto(url)
    expect(first.locator("#count")).to_have_text("2")
    expect(second.locator("#count")).to_have_text("2")
    expect(first.locator("#send")).to_be_enabled()
    first.locator("#text").fill("é ✓ over the wire")
    first.keyboard.press("Enter")
    expect(first.locator("#log li").first).to_contain_text("é ✓ over the wire")
    expect(first.locator("#trip")).to_have_text(re.compile(r"^\d+(\.\d+)? ms$"))
    first.screenshot(path=artifacts / "demo-desk-light.png")
    second.close()
    expect(first.locator("#count")).to_have_text("1")
    first.close()
    assert faults == []
