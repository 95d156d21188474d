"""The three small examples in a headless Chromium, on a phone and a desk, served by either package.

It must not know the examples' code beyond its one import: it sees the pages.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from python_server.serve import client_files

pytestmark = pytest.mark.needs_browser

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
OUR_TAG = '<script src="/socket.io/socket.io.js"></script>'
PATIENCE_MS = 60_000
DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}

# The real Flask-SocketIO, in the mode that needs no patching: Werkzeug's threads and simple-websocket.
PEERS_PROGRAM = """
import signal, sys
sys.modules["gevent"] = sys.modules["eventlet"] = None  # where they are installed, they choose the mode
import app
assert app.socketio.async_mode == "threading"
signal.signal(signal.SIGTERM, lambda *told: sys.exit(0))
assert type(app.socketio).__module__ == "flask_socketio", type(app.socketio)
app.socketio.run(app.app, port=0, log_output=True, allow_unsafe_werkzeug=True)
"""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(params=["python_server", "flask_socketio"])
def example(
    request: pytest.FixtureRequest, serve: Any, tmp_path: Path, page_client: None
) -> Callable[..., str]:
    """example("chat"): the address of the example on one of the packages, its import and script changed."""
    pytest.importorskip(request.param)

    def start(name: str, env: dict[str, str] | None = None) -> str:
        if request.param == "python_server":
            return str(serve(EXAMPLES / name, "app:app", env=env).url)
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        program = tmp_path / name / "app.py"
        text = program.read_text("utf-8")
        assert text.count("from python_server import ") == 1
        program.write_text(text.replace("from python_server import ", "from flask_socketio import "))
        # It serves no client.
        (page,) = (tmp_path / name / "templates").iterdir()
        text = page.read_text("utf-8")
        assert text.count(OUR_TAG) == 1
        page.write_text(text.replace(OUR_TAG, '<script src="/static/socket.io.js"></script>'), "utf-8")
        (tmp_path / name / "static" / "socket.io.js").write_bytes(client_files.unpacked("socket.io.js"))
        return str(serve(tmp_path / name, "-c", PEERS_PROGRAM, env=env, program=True).url)

    return start


@pytest.fixture
def shoot(request: pytest.FixtureRequest, artifacts: Path) -> Callable[[Page, str], None]:
    """Keep a picture of our own."""

    def picture(page: Page, name: str) -> None:
        if "python_server" in request.node.name:
            page.screenshot(path=artifacts / f"{name}.png")

    return picture


@pytest.fixture
def open_page(new_context: Callable[..., BrowserContext], page_client: None) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []
    faults: list[str] = []

    def one(url: str, viewport: ViewportSize = DESK, scheme: Any = "light") -> Page:
        context = new_context(viewport=viewport, color_scheme=scheme)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        pages.append(page)
        return page

    yield one
    for page in pages:
        page.context.close()
    assert faults == []


def test_chat(
    example: Callable[..., str], open_page: Callable[..., Page], shoot: Callable[[Page, str], None]
) -> None:
    url = example("chat")
    ada, grace = open_page(url), open_page(url, PHONE, "dark")
    for page, name in ((ada, "Ada"), (grace, "Grace")):
        page.locator("#name").fill(name)
        page.keyboard.press("Enter")
        expect(page.locator("#wire")).to_have_text(f"Connected as {name}")
    expect(ada.locator("#who span, #who button")).to_have_text(["Ada", "Grace"])
    ada.locator("#text").fill("The kettle is on.")
    ada.keyboard.press("Enter")
    expect(grace.locator("#log .theirs span")).to_have_text("The kettle is on.")
    expect(ada.locator("#log .mine")).to_be_visible()
    grace.get_by_role("button", name="Ada").click()
    grace.locator("#text").fill("Only for you.")
    grace.keyboard.press("Enter")
    expect(ada.locator("#log .whisper span")).to_have_text("Only for you.")
    shoot(ada, "chat-desk")
    shoot(grace, "chat-phone")
    grace.get_by_role("button", name="Garden").click()
    expect(ada.locator("#log .note")).to_have_text(["Grace came in.", "Grace went out."])
    expect(grace.locator("#who span, #who button")).to_have_text(["Grace"])
    grace.get_by_role("button", name="Kitchen").click()
    expect(grace.locator("#log .theirs span")).to_have_text("The kettle is on.")  # what was said before
    second = open_page(url)
    second.locator("#name").fill("Ada")
    second.keyboard.press("Enter")
    expect(second.locator("#refused")).to_have_text("Ada is here already. Choose another name.")


def test_ticker(
    example: Callable[..., str], open_page: Callable[..., Page], shoot: Callable[[Page, str], None]
) -> None:
    url = example("ticker", {"TICKER_PERIOD_SECONDS": "0.03"})
    desk, phone = open_page(url), open_page(url, PHONE, "dark")
    for page in (desk, phone):
        expect(page.locator("#wire")).to_have_text("Connected")
        expect(page.locator("#count")).not_to_have_text("0")
    expect(desk.locator("#count")).to_have_text(re.compile(r"^([2-9]\d|\d{3,})$"))
    shoot(desk, "ticker-desk")
    shoot(phone, "ticker-phone")
    for number in phone.locator(".number").all():
        expect(number).to_have_text(re.compile(r"^-?\d+\.\d$"))


def test_namespaces(
    example: Callable[..., str], open_page: Callable[..., Page], shoot: Callable[[Page, str], None]
) -> None:
    url = example("namespaces")
    desk, phone = open_page(url), open_page(url, PHONE, "dark")
    for page in (desk, phone):
        expect(page.locator("#wire")).to_have_text("Connected")
    for job in ("Sharpen the chisels", "Sweep the floor"):
        desk.locator("#text").fill(job)
        desk.keyboard.press("Enter")
        expect(desk.locator("#text")).to_have_value("")
    expect(phone.locator("#jobs li span")).to_have_text(["Sharpen the chisels", "Sweep the floor"])
    phone.get_by_role("button", name="Sharpen the chisels: done").click()
    expect(desk.locator("#jobs s")).to_have_text("Sharpen the chisels")
    desk.locator("#text").fill("Sweep the floor")
    desk.keyboard.press("Enter")
    expect(desk.locator("#fault")).to_have_text("Sweep the floor is on the board already.")
    phone.locator("#ring").click()
    expect(phone.locator("#rung")).to_have_text("You rang it: number 1, said /bell.")
    expect(desk.locator("#rung")).to_have_text("Somebody rang it: number 1.")
    shoot(desk, "namespaces-desk")
    shoot(phone, "namespaces-phone")
