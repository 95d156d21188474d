"""The page about tracing: spans of two workers, and of two machines behind Redis, are one trace.

It must not know what carries a span's parent from one process to another.
"""

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from asked_workers import PATIENCE_SECONDS
from page_blocks import blocks_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
MORE = """
import asyncio

@socketio.on("later")
async def later():
    await asyncio.sleep(0)
    tracer.start_span("in a coroutine").end()
    socketio.start_background_task(lambda: tracer.start_span("in a task").end()).join()
    return "said"
"""
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


class Spans:
    """What the processes of an application have exported, each into a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(process, span)."""
        for path in self._folder.glob("spans.*"):
            for text in path.read_text().split("\n}\n"):
                with contextlib.suppress(ValueError):  # one that is being written
                    yield path.suffix, json.loads(text + "}")

    def named(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        return [(process, span) for process, span in self.all() if span["name"] == name]

    def of_id(self, span_id: str) -> dict[str, Any]:
        """Once it is there: who has called ends after whom it has called."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := [span for _, span in self.all() if span["context"]["span_id"] == span_id]):
            assert time.monotonic() < deadline, span_id
        return found[0]

    def delivered_elsewhere(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """An emit, and the span of another process that is its child."""
        sent = {span["context"]["span_id"]: (process, span) for process, span in self.named("send news")}
        for process, span in self.named("deliver"):
            home, emit = sent.get(span["parent_id"], (process, span))
            if home != process:
                return emit, span
        return None


def say(url: str, clients: contextlib.ExitStack) -> None:
    """One more client, which stays; it says two things and hears their acks."""
    place = f"{url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    websocket = clients.enter_context(
        connect(place, additional_headers=HEADERS, open_timeout=PATIENCE_SECONDS, close_timeout=1)
    )
    websocket.send("40")
    websocket.send('422["later"]')
    websocket.send('421["say","x"]')
    acks = 0
    while acks < 2:
        acks += str(websocket.recv(PATIENCE_SECONDS)).startswith("43")


@pytest.mark.parametrize("way", ["pipes", "gunicorn", "redis"])
def test_an_emit_is_followed_to_another_process(
    launch: Any, tmp_path: Path, way: str, request: pytest.FixtureRequest
) -> None:
    (block,) = blocks_of("docs/how-to/tracing.md", "python")
    mine = f'ConsoleSpanExporter(out=open("{tmp_path}/spans." + str(__import__("os").getpid()), "w"))'
    assert block.count("ConsoleSpanExporter()") == block.count("SocketIO(app)") == 1
    block = block.replace("ConsoleSpanExporter()", mine)
    if way == "redis":
        queue = request.getfixturevalue("redis_server").url
        block = block.replace("SocketIO(app)", f'SocketIO(app, message_queue="{queue}")')
    (tmp_path / "traced.py").write_text(block + MORE)
    arguments = ("traced:app", "--workers", "1" if way == "redis" else "2")
    places = {
        "supervisor": "gunicorn" if way == "gunicorn" else "python_server",
        "env": {"WSFRAME_TRACING": "1"},
    }
    servers = [launch(tmp_path, *arguments, **places) for _ in range(2 if way == "redis" else 1)]
    spans, deadline = Spans(tmp_path), time.monotonic() + PATIENCE_SECONDS
    with contextlib.ExitStack() as clients:
        while (found := spans.delivered_elsewhere()) is None:
            assert time.monotonic() < deadline, list(spans.all())
            for server in servers:
                say(server.url, clients)
    emit, delivery = found
    assert emit["context"]["trace_id"] == delivery["context"]["trace_id"] == f"0x{TRACE}"
    own = spans.of_id(emit["parent_id"])
    assert own["name"] == "look up"
    received = spans.of_id(own["parent_id"])
    assert (received["name"], received["parent_id"]) == ("receive say", "0xb7ad6b7169203331")
    for name in ("in a coroutine", "in a task"):
        assert spans.of_id(spans.named(name)[0][1]["parent_id"])["name"] == "receive later"
    asked = urllib.request.Request(f"{servers[0].url}/hello/you", headers=HEADERS)
    assert urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS).read() == b"Hello you"
    while not (pages := spans.named("GET /hello/<name>")):
        assert time.monotonic() < deadline
    assert pages[0][1]["parent_id"] == "0xb7ad6b7169203331"


def test_a_worker_without_a_provider_says_so_and_serves(launch: Any, tmp_path: Path) -> None:
    (block,) = blocks_of("docs/how-to/tracing.md", "python")
    (tmp_path / "traced.py").write_text(block.replace("trace.set_tracer_provider(provider)", ""))
    server = launch(tmp_path, "traced:app", "--tracing")
    assert urllib.request.urlopen(f"{server.url}/hello/you", timeout=PATIENCE_SECONDS).read() == b"Hello you"
    server.wait_for("--tracing makes no spans: no tracer provider was set up")
