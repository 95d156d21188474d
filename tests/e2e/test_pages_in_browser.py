"""What the how-to pages write for a browser, run in headless Chromium against their own programs.

It must not hold code that the pages lack, but for what they say that the reader has.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from outside_tools import outside_tool
from own_nginx import Nginx
from page_blocks import blocks_of

pytestmark = pytest.mark.needs_browser
PATIENCE_MS = 60_000
CLIENT = '<script src="/socket.io/socket.io.js"></script>'
CONNECTED = "(socket) => socket.connected || new Promise((done) => socket.once('connect', () => done(true)))"
FILE = "new File([new Uint8Array(size).fill(7)], 'seven.bin')"


@pytest.fixture
def opened(browser: Browser, page_client: None) -> Iterator[Callable[..., Page]]:
    """opened(url, html): a page of that address with this content; no fault of a script passes unseen."""
    faults: list[str] = []
    pages = []

    def open_(url: str, html: str = CLIENT) -> Page:
        page = browser.new_page(ignore_https_errors=True)
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        page.set_content(html)
        pages.append(page)
        return page

    yield open_
    for page in pages:
        page.close()
    assert faults == []


def program(page: str, folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text("".join(blocks_of(f"docs/how-to/{page}.md", "python")))


def test_a_page_of_tokens(serve: Any, opened: Callable[..., Page], tmp_path: Path) -> None:
    program("tokens-of-a-language-model", tmp_path, "answers")  # with the loop that waits for the page
    (html,) = blocks_of("docs/how-to/tokens-of-a-language-model.md", "html")
    server = serve(tmp_path, "answers:app")
    page = opened(server.url, html)
    words = "".join(f"{number} " for number in range(45))
    page.locator("input").fill(words)
    page.get_by_text("Ask").click()
    page.wait_for_function("(words) => document.querySelector('pre').textContent === words", arg=words)
    page.locator("input").fill("word " * 10_000)
    page.get_by_text("Ask").click()
    page.wait_for_function("document.querySelector('pre').textContent.startsWith('word word')")
    page.get_by_text("Stop").click()
    server.wait_for("the request to the model has ended", 2)


def test_files(serve: Any, opened: Callable[..., Page], tmp_path: Path) -> None:
    program("files-and-binary", tmp_path, "pictures")
    server = serve(tmp_path, "pictures:app")
    blocks = ["const socket = io();", *blocks_of("docs/how-to/files-and-binary.md", "js")]
    html = CLIENT + "".join(f"<script>{block}</script>" for block in blocks)
    ann, bob = (opened(server.url, html) for _ in range(2))
    for page in (ann, bob):
        page.evaluate(f"({CONNECTED})(socket)")
    for event in ("picture", "uploaded"):
        bob.evaluate(f"void (window.{event} = new Promise((done) => socket.once('{event}', done)))")
    assert ann.evaluate(f"(size) => sendPicture({FILE})", 100_000) == 100_000
    told = bob.evaluate("picture.then(({name, data}) => [name, data.byteLength, new Uint8Array(data)[9]])")
    assert told == ["seven.bin", 100_000, 7]
    assert ann.evaluate(f"(size) => upload({FILE})", 3_000_000) == {"size": 3_000_000}
    assert bob.evaluate("uploaded") == {"name": "seven.bin", "size": 3_000_000}
    ann.evaluate("void (window.seen = [])")
    ann.evaluate(f"(size) => sendInParts({FILE}, (part) => seen.push(part))", 600_000)
    assert ann.evaluate("seen") == [262_144 / 600_000, 524_288 / 600_000, 1]
    lost = f"""(size) => new Promise((done) => {{
      const answer = sendPicture({FILE}).catch((error) => error.message);
      socket.once("disconnect", async (reason) => done([reason, await answer]));
    }})"""
    assert ann.evaluate(lost, 1_500_000) == ["transport close", "socket has been disconnected"]
    server.wait_for("exceeds max_http_buffer_size (1000000 bytes)")


def test_a_certificate_to_try_it_with(serve: Any, opened: Callable[..., Page], tmp_path: Path) -> None:
    program("tls", tmp_path, "secure")
    outside_tool("openssl")
    make, start = blocks_of("docs/how-to/tls.md", "sh")[0].splitlines()
    subprocess.run(make, shell=True, cwd=tmp_path, check=True, capture_output=True)
    words = start.removeprefix("wsframe serve ").replace(" -b 127.0.0.1:8443", "").split()
    page = opened(serve(tmp_path, *words).url)
    assert page.evaluate("io().emitWithAck('how')") == ["https", True]


def test_a_token_instead_of_a_cookie(serve: Any, opened: Callable[..., Page], tmp_path: Path) -> None:
    program("login", tmp_path, "shop")
    (script,) = blocks_of("docs/how-to/login.md", "js")
    page = opened(serve(tmp_path, "shop:app").url)
    page.evaluate("fetch('/login/ann', {method: 'POST'})")
    page.add_script_tag(content=script)
    assert page.evaluate(f"({CONNECTED})(socket)")


def test_a_page_whose_token_ends_connects_again(
    serve: Any, opened: Callable[..., Page], tmp_path: Path
) -> None:
    block, _ = blocks_of("docs/how-to/credentials-that-end.md", "python")
    (script,) = blocks_of("docs/how-to/credentials-that-end.md", "js")
    (tmp_path / "shop.py").write_text(block)
    page = opened(serve(tmp_path, "shop:app", env={"TOKEN_SECONDS": "2"}).url)
    page.evaluate("void (window.sids = new Set())")
    page.add_script_tag(content=f"{script}\nsocket.on('connect', () => sids.add(socket.id));")
    page.wait_for_function("sids.size > 2")


def test_a_chat_of_channels(serve: Any, opened: Callable[..., Page], tmp_path: Path) -> None:
    chat, _ = blocks_of("docs/how-to/from-django-channels.md", "python")
    (html,) = blocks_of("docs/how-to/from-django-channels.md", "html")
    (tmp_path / "chat.py").write_text(f"{chat}\nfrom python_server import WSGIApp\napp = WSGIApp(server)\n")
    url = serve(tmp_path, "chat:app").url
    first = opened(url, html)
    first.evaluate(f"({CONNECTED})(chat)")
    with first.expect_console_message(lambda message: message.text == "hello"):
        opened(url, html)


def test_below_a_path(serve: Any, opened: Callable[..., Page], tmp_path: Path) -> None:
    for folder in ("application", "nginx"):
        (tmp_path / folder).mkdir()
    program("below-a-path", tmp_path / "application", "shop")
    address = serve(tmp_path / "application", "shop:app", "--root-path", "/shop", "--proxy-headers").url
    (html,), (configuration,) = (blocks_of("docs/how-to/below-a-path.md", kind) for kind in ("html", "nginx"))

    def in_place(port: int) -> str:
        placed = str(configuration).replace("listen 80;", f"listen 127.0.0.1:{port};")
        return placed.replace("127.0.0.1:8000", address.removeprefix("http://"))

    proxy = Nginx(tmp_path / "nginx", in_place)
    try:
        page = opened(f"http://127.0.0.1:{proxy.port}/shop/", html)
        assert page.evaluate("socket.emitWithAck('ask', 21)") == 42
    finally:
        proxy.stop()
