"""docs/tutorial.md, done word for word: windows look on while the program grows, and nobody else is there.

It must not hold code that the page lacks.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from page_blocks import PAGES, blocks_of, lines_of

PAGE = "docs/tutorial.md"
PATIENCE_MS = 60_000


def shows(window: Page, **places: str | list[str]) -> None:
    for place, text in places.items():
        selector = {"question": "h1", "told": "li"}.get(place, f"#{place}")
        expect(window.locator(selector)).to_have_text(text, timeout=PATIENCE_MS)


def answer(window: Page, text: str) -> None:
    window.locator("input").fill(text)
    window.locator("button").click()


@pytest.mark.long
@pytest.mark.needs_browser
def test_the_quiz_of_the_tutorial(
    serve: Callable[..., Any], new_context: Callable[..., BrowserContext], page_client: None, tmp_path: Path
) -> None:
    (html,) = blocks_of(PAGE, "html")
    *steps, tests = blocks_of(PAGE, "python")
    start, _, test = lines_of(PAGE)
    program = tmp_path / "quiz.py"
    (tmp_path / "quiz.html").write_text(html, "utf-8")
    program.write_text(steps[0], "utf-8")
    server = serve(tmp_path, *start.removeprefix("wsframe serve ").split())
    server.intended_exceptions_count = 1

    def add(step: str, *windows: Page) -> None:
        """Windows come back by themselves, after a while; to be quick they leave, and are opened anew."""
        places = [(window, window.url) for window in windows]
        for window in windows:
            window.goto("about:blank")
        program.write_text(program.read_text("utf-8") + "\n" + step, "utf-8")
        server.wait_for("listening on", 1 + steps.index(step))
        for window, url in places:
            window.goto(url)

    def opened(path: str) -> Page:
        window = new_context().new_page()
        window.goto(server.url + path)
        return window

    stranger = opened("/")
    shows(stranger, question="You are in.")
    add(steps[1])
    shows(stranger, question="Choose a team: /?team=red or /?team=blue")
    paths = re.findall(r"http://127\.0\.0\.1:8000(/\?team=\w+)", PAGES[PAGE])
    red, blue = windows = [opened(path) for path in paths]
    alone = {
        window: f"Players in team {name}: 1" for window, name in zip(windows, ("red", "blue"), strict=True)
    }
    for window in windows:
        shows(window, question="6 * 7 = ?", told=[alone[window]])
    add(steps[2], *windows)
    for window in windows:
        shows(window, told=[alone[window]])
    answer(red, "six")
    server.wait_for("ValueError")
    shows(red, reply="")
    answer(red, "42")
    shows(red, reply="Right!")
    for window in windows:
        shows(window, score="red 1, blue 0", told=[alone[window]])
        expect(window.locator("h1")).not_to_have_text("6 * 7 = ?")
    add(steps[3], *windows)
    for window in windows:
        shows(window, question="6 * 7 = ?", told=[alone[window]])
    answer(blue, "six")
    shows(blue, reply="A number, please.")
    (tmp_path / "test_quiz.py").write_text(tests, "utf-8")
    command = [sys.executable, "-m", *test.split(), "-p", "no:cacheprovider"]
    quick = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run(command, cwd=tmp_path, env=quick, check=True)
    for window in (stranger, *windows):
        window.context.close()
