"""README's program, typed literally and started as it says, in two windows.

It must not know the server: two browsers see what is said.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

README = Path(__file__).resolve().parents[2] / "README.md"
PATIENCE_MS = 60_000


@pytest.mark.needs_browser
def test_what_is_said_in_one_tab_is_heard_in_both(
    serve: Callable[..., Any], new_context: Callable[..., BrowserContext], page_client: None, tmp_path: Path
) -> None:
    text = README.read_text("utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert "\n    python shout.py\n" in text
    (tmp_path / "shout.py").write_text(program.replace("port=8000", "port=0"), "utf-8")
    url = serve(tmp_path, "shout.py", program=True).url
    tabs = [new_context().new_page() for _ in range(2)]
    for tab in tabs:
        with tab.expect_websocket():
            tab.goto(url)
        tab.wait_for_function("socket.connected", timeout=PATIENCE_MS)  # who has not joined hears nothing
    tabs[0].locator("input").fill("hello")
    tabs[0].locator("input").press("Enter")
    for tab in tabs:
        expect(tab.locator("li")).to_have_text("HELLO", timeout=PATIENCE_MS)
    for tab in tabs:
        tab.context.close()
