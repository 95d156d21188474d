"""The code of README, the first page and the page of raw WebSockets, run as it stands and spoken to.

It must not hold code that the pages lack, but for what they say that the reader has.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_in_time

from python_server import WSGIServer

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
connect = partial(connect_in_time, proxy=None, open_timeout=60)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text("utf-8"))


def run(block: str, **names: Any) -> dict[str, Any]:
    scope = {"__name__": "page", **names}
    exec(compile(block, "block of a page", "exec"), scope)
    return scope


@pytest.fixture
def served() -> Iterator[Callable[[Any], str]]:
    """served(application): the URL of its WebSockets."""
    servers = []

    def serve(application: Any) -> str:
        server = WSGIServer(("127.0.0.1", 0), application)
        server.start()
        servers.append(server)
        return "ws://{}:{}".format(*server.address)

    yield serve
    for server in servers:
        server.stop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_python(page: Path) -> None:
    for number, block in enumerate(BLOCK.findall(page.read_text("utf-8")), 1):
        compile(block, f"{page.name}, block {number}", "exec")


def test_the_program_of_the_readme() -> None:
    (block,) = blocks("README.md")
    scope = run(block)
    clients = [scope["socketio"].test_client(scope["app"]) for _ in range(2)]
    clients[0].emit("shout", "hello")
    for client in clients:
        assert [(item["name"], item["args"]) for item in client.get_received()] == [("heard", ["HELLO"])]


def test_the_quiz_of_the_first_page() -> None:
    (block,) = blocks("docs/index.md")
    scope = run(block)
    clients = [scope["socketio"].test_client(scope["app"]) for _ in range(2)]
    assert clients[0].emit("answer", 42, callback=True) == "received"
    for client in clients:
        assert [(item["name"], item["args"]) for item in client.get_received()] == [("result", [True])]


def nothing_here(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


def test_events_of_raw_websockets(served: Callable[[Any], str]) -> None:
    url = served(run(blocks("docs/websockets.md")[0], wsgi_application=nothing_here)["app"]) + "/chat"
    with connect(url, subprotocols=["chat.v3", "chat.v1"]) as first:
        assert first.subprotocol == "chat.v1"
        assert first.recv() == "welcome, you are number 1"
        with connect(url) as second:
            assert second.recv() == "welcome, you are number 2"
            second.send("hello")
            assert first.recv() == "hello"
        assert first.recv() == "one left (1000)"
    with pytest.raises(InvalidStatus, match="403"):
        connect(url, origin="https://another.example")


def test_a_blocking_websocket(served: Callable[[Any], str]) -> None:
    block = blocks("docs/websockets.md")[1]
    url = served(run(block, allowed=lambda environ: "let-me-in" in environ["QUERY_STRING"])["app"])
    with connect(f"{url}/?let-me-in") as client:
        client.send("hello")
        assert client.recv() == "hello"
    with pytest.raises(InvalidStatus, match="401"):
        connect(url)
