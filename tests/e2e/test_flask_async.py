"""`async def` handlers in the real server: they hold no thread while they wait, and keep everything else.

It must not know the server's insides: the application counts its own threads.
"""

import asyncio
import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import socketio
import websockets

from ordered_clients import OrderedClient

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60
CLIENTS_COUNT = 1_000
EVENT_THREADS_COUNT = 32
# Those, the server's own and the asyncio thread.
THREADS_MAX_COUNT = 64
OPTIONS = ("--no-access-log", "--event-threads", str(EVENT_THREADS_COUNT))


@pytest.fixture(scope="module")
def shared_url(serve: Any) -> str:
    return str(serve(APPS, "flask_app:app", *OPTIONS).url)


@pytest.fixture
def url(serve: Any) -> str:
    """Of a server of its own, whose gate for coroutines nobody has opened."""
    return str(serve(APPS, "flask_app:app", *OPTIONS).url)


@contextmanager
def connected(url: str) -> Iterator[socketio.Client]:
    client = OrderedClient()
    client.told = queue.Queue()
    client.on("told", client.told.put, "/async")
    client.connect(url, transports=["websocket"], namespaces=["/", "/async"])
    yield client
    client.close()


@pytest.fixture
def client(shared_url: str) -> Iterator[socketio.Client]:
    with connected(shared_url) as client:
        yield client


@pytest.fixture
def alone(url: str) -> Iterator[socketio.Client]:
    """The only client of its server."""
    with connected(url) as client:
        yield client


def ask(client: socketio.Client, event: str, *data: Any, namespace: str = "/") -> Any:
    return client.call(event, data or None, namespace=namespace, timeout=PATIENCE_SECONDS)


async def join(url: str) -> websockets.ClientConnection:
    websocket = await websockets.connect(
        url, compression=None, open_timeout=PATIENCE_SECONDS, ping_interval=None
    )
    await websocket.recv()
    await websocket.send("40")
    await hear(websocket, "40")
    return websocket


async def hear(websocket: websockets.ClientConnection, start: str) -> str:
    while not (text := str(await websocket.recv())).startswith(start):
        pass
    return text


async def a_thousand(url: str) -> None:
    address = url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    clients: list[websockets.ClientConnection] = []
    for _ in range(CLIENTS_COUNT // 50):
        clients += await asyncio.gather(*(join(address) for _ in range(50)))
    for number, client in enumerate(clients):
        event = "wait async" if number % 2 else "wait async beside"
        await client.send("421" + json.dumps([event, number]))
    for client in clients:
        await hear(client, '42["in wait"')
    witness = await join(address)
    await witness.send('422["count threads"]')
    waiting, threads = json.loads((await hear(witness, "432"))[3:])[0]
    assert waiting == CLIENTS_COUNT
    assert threads < THREADS_MAX_COUNT
    await witness.send('42["open async gate"]')
    for number, client in enumerate(clients):
        answered, _, thread = json.loads((await hear(client, "431"))[3:])[0]
        assert (answered, thread) == (number, "asyncio")
    await asyncio.gather(*(client.close() for client in [witness, *clients]))


def test_a_thousand_that_wait_hold_no_thread(url: str) -> None:
    asyncio.run(a_thousand(url))


def test_the_next_event_waits_for_the_coroutine(alone: socketio.Client) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    alone.emit("wait async", 1, callback=lambda value: answers.put(["first", value[0]]))
    alone.emit("slow first", 2, callback=lambda value: answers.put(["second", value]))
    alone.emit("open", "unheard")  # unordered: it would overtake, and no more
    other = OrderedClient()
    other.connect(alone.connection_url, transports=["websocket"])
    while not ask(other, "count threads")[0]:
        pass
    assert answers.empty()
    other.emit("open async gate")
    got = [answers.get(timeout=PATIENCE_SECONDS) for _ in range(2)]
    other.close()
    assert got == [["first", 1], ["second", 2]]


def test_class_namespaces_may_have_coroutines(client: socketio.Client, shared_url: str) -> None:
    assert client.told.get(timeout=PATIENCE_SECONDS) == "welcome"
    assert ask(client, "double", 21, namespace="/async") == 42
    assert ask(client, "fail", namespace="/async") == [
        "on_error",
        "of a method",
        client.get_sid("/async"),
    ]
    refused = OrderedClient()
    with pytest.raises(socketio.exceptions.ConnectionError, match="failed to connect: /async"):
        refused.connect(shared_url, auth={"stay": False}, namespaces=["/async"], transports=["websocket"])


def test_a_fault_is_logged_and_the_next_event_goes_on(client: socketio.Client) -> None:
    client.emit("fail async")
    assert ask(client, "slow first", 1) == 1


def test_each_event_is_torn_down_once_on_a_worker(alone: socketio.Client) -> None:
    before, _ = ask(alone, "teardowns")
    for _ in range(10):
        ask(alone, "later", 1)
    after, thread = ask(alone, "teardowns")
    # Its own, and the question's before it.
    assert after - before == 11
    assert thread.startswith("event-threads")


def test_a_coroutine_may_not_wait_as_a_function_does(client: socketio.Client) -> None:
    """It would stop all the others; in a thread of its own it may, with the context of its event."""
    client.on("question", lambda text: text.upper())
    refused_call, refused_sleep, answer = ask(client, "ask async", "why")
    assert "call() would stop every async def handler: await asyncio.to_thread(call, ...)" in refused_call
    assert "sleep() would stop every async def handler" in refused_sleep
    assert answer == "WHY"
