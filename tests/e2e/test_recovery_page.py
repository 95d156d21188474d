"""Connection state recovery in headless Chromium, with the official client as a page loads it.

It must not know the wire: the page says what it heard.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs_browser
APPS = Path(__file__).parent / "apps"
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}

# Loses its connection, as a train does in a tunnel; meanwhile others speak in its room.
LOSE_AND_COME_BACK = """
async ([transports, received]) => {
  const options = { transports, forceNew: true, reconnectionDelay: 300, reconnectionDelayMax: 300 };
  const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
  const speaker = io(options), socket = io(options);
  await Promise.all([once(speaker, "connect"), once(socket, "connect")]);
  const [sid, room] = [socket.id, "room of " + socket.id];
  await socket.emitWithAck("enter", room);
  const heard = [], all = new Promise((resolve) => {
    socket.on("said", (value) => { heard.push(value); if (value === "last") resolve(); });
  });
  if (transports.length > 1 && socket.io.engine.transport.name !== "websocket")
    await once(socket.io.engine, "upgrade");
  for (const value of received) {
    const next = once(socket, "said");
    await speaker.emitWithAck("say", room, value);
    await next;
  }
  const transport = socket.io.engine.transport.name, gone = once(socket, "disconnect");
  socket.io.engine.close();
  const [reason] = await gone;
  const back = once(socket, "connect");
  for (const value of ["missed", "missed too"]) await speaker.emitWithAck("say", room, value);
  await back;
  const { recovered } = socket, same = socket.id === sid;
  await speaker.emitWithAck("say", room, "last");
  await all;
  speaker.disconnect(); socket.disconnect();
  return { transport, reason, recovered, same, heard };
}
"""


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(APPS, "plain_app:app").url)


@pytest.fixture
def page(browser: Browser, url: str, page_client: None) -> Iterator[Page]:
    faults: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{url}/page")
    page.add_script_tag(url="/socket.io/socket.io.js")
    yield page
    page.close()
    assert faults == []


@pytest.mark.parametrize("received", [["seen"], []], ids=["with-offset", "nothing-received"])
@pytest.mark.parametrize("way", TRANSPORTS)
def test_a_page_that_lost_its_connection_misses_nothing(page: Page, way: str, received: list[str]) -> None:
    seen = page.evaluate(LOSE_AND_COME_BACK, [TRANSPORTS[way], received])
    assert seen == {
        "transport": "polling" if way == "polling" else "websocket",
        "reason": "forced close",
        "recovered": True,
        "same": True,
        "heard": [*received, "missed", "missed too", "last"],
    }
