"""Socket.IO 2 clients of npm against the real server process that lets them in, in Node and in Chromium.

It must not know the wire, beyond which kind of payload a browser was given: the drivers judge what they see.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent
APPS = HERE / "apps"
LAST = "socket.io-client-2"  # 2.5
CLIENTS = [*(f"socket.io-client-2.{minor}" for minor in range(5)), LAST]
# Each release after an upgrade, the first and the last on one transport too.
WAYS = [(client, "upgrade") for client in CLIENTS]
WAYS += [(client, way) for client in (CLIENTS[0], LAST) for way in ("polling", "websocket")]
PATIENCE_MS = 60_000
# On a busy machine a client may say nothing for longer than those that are told apart by it.
PATIENT = {"PING_TIMEOUT": "300"}
# Emits as it is told on its one transport; settles with what came back, and how.
IN_PAGE = """async ([options]) => {
    const socket = io({ reconnection: false, ...options });
    const bytes = Uint8Array.from({ length: 300 }, (_, index) => index % 256);
    const wait = (event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args)));
    await wait("connect");
    const echoed = wait("echoed");
    const ack = await new Promise((resolve) =>
        socket.emit("echo", "é😀", bytes.buffer, (...args) => resolve(args)));
    const event = await echoed;
    const same = ([text, data]) =>
        text === "é😀" && data instanceof ArrayBuffer && String(new Uint8Array(data)) === String(bytes);
    const transport = socket.io.engine.transport.name;
    socket.close();
    return [transport, same(ack), same(event)];
}"""


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(APPS, "version2_app:app", env=PATIENT).url)


@pytest.mark.needs_node
@pytest.mark.parametrize(("client", "way"), WAYS)
def test_socketio_client_2(drive: Callable[..., None], url: str, client: str, way: str) -> None:
    drive("client2.mjs", url, client, way)


@pytest.mark.needs_node
def test_hearts_of_socketio_client_2(drive: Callable[..., None], serve: Callable[..., Any]) -> None:
    """The five seconds until a silent client is given up pass once, for all of them."""
    server = serve(APPS, "version2_app:app")
    drive("hearts2.mjs", server.url, *(f"{client}={way}" for client, way in WAYS))


@pytest.mark.needs_node
def test_engineio_client_3(drive: Callable[..., None], serve: Callable[..., Any]) -> None:
    """Of Engine.IO alone, on each transport at once: a pong takes a second."""
    drive("engine3.mjs", str(serve(APPS, "engine3_app:app").url), "polling", "websocket", "upgrade")


@pytest.mark.needs_node
def test_workers_find_their_sessions_and_are_replaced(
    drive: Callable[..., None], serve: Callable[..., Any]
) -> None:
    server = serve(APPS, "version2_app:app", "--workers", "2", env=PATIENT)
    server.wait_for(" serves", 2)
    drive("client2_workers.mjs", server.url, str(server.pid))


@pytest.mark.needs_browser
@pytest.mark.parametrize(
    ("options", "payloads"),
    [
        ({"transports": ["polling"]}, True),
        ({"transports": ["polling"], "forceBase64": True}, False),
        ({"transports": ["polling"], "forceJSONP": True}, False),
        ({"transports": ["websocket"]}, False),
        ({"transports": ["websocket"], "forceBase64": True}, False),
    ],
)
def test_a_page_with_the_client_of_version_2(
    browser: "Browser", url: str, options: dict[str, Any], payloads: bool
) -> None:
    """Browsers take and send binary payloads, which Node's client never does."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    answers: list[str] = []
    posts: list[str] = []
    page.on("response", lambda response: answers.append(response.headers.get("content-type", "")))
    page.on("request", lambda request: posts.append(request.headers.get("content-type", "")))
    page.goto(url)
    page.add_script_tag(path=str(HERE / "node_modules" / LAST / "dist" / "socket.io.js"))
    assert page.evaluate(IN_PAGE, [options]) == [options["transports"][0], True, True]
    page.close()
    octets = "application/octet-stream"
    assert (octets in answers, octets in posts) == (payloads, payloads)
