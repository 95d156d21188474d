"""The official Admin UI in headless Chromium, against three workers with the program of its how-to page.

It must not know what travels between page and server.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio
from playwright.sync_api import Browser, Page, expect

from ordered_clients import SimpleClient
from outside_tools import missing_tool
from page_blocks import blocks_of

pytestmark = [pytest.mark.needs_browser, pytest.mark.long]
HERE = Path(__file__).resolve().parent
WORKERS_COUNT = 3
PASSWORD = "s3cret & long"
WAIT_SECONDS = 60
# The page's fonts and icons are elsewhere; it does without.
ELSEWHERE = re.compile(r"^https://")


@pytest.fixture
def url(serve: Any, tmp_path: Path) -> str:
    (program,) = blocks_of("docs/how-to/admin-ui.md", "python")
    if not (HERE / "node_modules" / "@socket.io" / "admin-ui").is_dir():
        missing_tool("the Admin UI is missing; run: npm ci --prefix tests/e2e")
    (tmp_path / "watched.py").write_text(program)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    server = serve(tmp_path, "watched:app", "--workers", str(WORKERS_COUNT), env={"ADMIN_PASSWORD": PASSWORD})
    server.wait_serving(WORKERS_COUNT)
    return str(server.url)


@pytest.fixture
def page(browser: Browser, node: str) -> Iterator[Page]:
    """No fault of a script passes unseen."""
    expect.set_options(timeout=WAIT_SECONDS * 1000)
    faults: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route(ELSEWHERE, lambda route: route.abort())
    yield page
    page.close()
    assert faults == []


@pytest.fixture
def clients(url: str) -> Iterator[dict[str, Any]]:
    """One of each worker, whose index a sid begins with."""
    made, found = [], {}
    while len(found) < WORKERS_COUNT:
        assert len(made) < 100, f"a hundred clients came to {sorted(found)} alone"
        client = SimpleClient()
        client.connect(url)
        made.append(client.client)
        if client.sid.partition(".")[0] in found:
            client.disconnect()
        else:
            found[client.sid.partition(".")[0]] = client
    yield found
    for each in made:
        each.close()


def log_in(page: Page, url: str, password: str) -> None:
    page.get_by_label("Server URL").fill(url)
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Connect").click()


def go(page: Page, place: str) -> None:
    page.evaluate("(place) => { location.hash = place; }", f"#/{place}")


def test_the_official_page(url: str, page: Page, clients: dict[str, Any]) -> None:
    sids = [client.sid for client in clients.values()]
    page.goto(f"{url}/admin-ui/")
    log_in(page, url, "wrong")
    expect(page.get_by_text("Invalid credentials")).to_be_visible()
    log_in(page, url, PASSWORD)
    expect(page.get_by_label("Server URL")).to_be_hidden()

    # Clients of all workers come and go
    go(page, "servers/")
    expect(page.locator("tbody tr")).to_have_count(WORKERS_COUNT)
    go(page, "sockets/")
    for sid in sids:
        expect(page.get_by_text(sid)).to_be_visible()
    late = SimpleClient()
    late.connect(url)
    late_sid = late.sid
    expect(page.get_by_text(late_sid)).to_be_visible()
    late.disconnect()
    expect(page.get_by_text(late_sid)).to_have_count(0)

    # Rooms and events
    for worker, client in clients.items():
        client.emit("talk", f"word {worker}")
        assert client.receive(timeout=WAIT_SECONDS) == ["word", f"word {worker}"]
    go(page, "rooms/")
    expect(page.get_by_role("row", name=re.compile("talkers"))).to_contain_text(str(WORKERS_COUNT))
    go(page, "events/")
    for name in ("talk", "word"):
        expect(page.locator("code", has_text=re.compile(f"^{name}$"))).to_have_count(WORKERS_COUNT)

    for client in clients.values():
        check_orders(page, url, client)

    # It is known again after a reload
    page.reload()
    go(page, "servers/")
    expect(page.locator("tbody tr")).to_have_count(WORKERS_COUNT)
    expect(page.get_by_label("Server URL")).to_be_hidden()


def check_orders(page: Page, url: str, client: Any) -> None:
    """Join, emit, leave, disconnect; the page has no button for one of them, and its namespace takes it."""
    sid = client.sid
    go(page, f"n/%2F/sockets/{sid}")
    expect(page.get_by_text(sid).first).to_be_visible()
    page.get_by_label("Join a room").fill("guests")
    page.get_by_label("Join a room").press("Enter")
    page.get_by_role("main").locator("button[type=submit]").click()
    row = page.get_by_role("row", name=re.compile("guests"))
    expect(row).to_be_visible()
    with SimpleClient() as admin:
        admin.connect(url, namespace="/admin", auth={"username": "admin", "password": PASSWORD})
        admin.emit("emit", ("/", "guests", "news", 1))
        while True:
            event = client.receive(timeout=WAIT_SECONDS)
            if event != ["word", event[1]]:
                break
        assert event == ["news", 1]
    row.get_by_role("button").click()  # and the row shows its room
    expect(page).to_have_url(re.compile("/rooms/guests$"))
    go(page, f"n/%2F/sockets/{sid}")
    expect(page.get_by_label("Join a room")).to_be_visible()
    expect(row).to_have_count(0)
    page.get_by_role("row", name=re.compile("Status")).last.get_by_role("button").click()
    go(page, "sockets/")
    expect(page.get_by_text(sid)).to_have_count(0)
    with pytest.raises(socketio.exceptions.SocketIOError):
        client.receive(timeout=0.01)
