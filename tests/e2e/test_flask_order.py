"""Order, overlap and waiting of handlers, in the real server with real clients.

It must not know the server's insides: outcomes are asserted, not times.
"""

import gc
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import requests
import socketio
import websockets.sync.client

from ordered_clients import OrderedClient, PatientClient
from python_server import SocketIO, WSGIServer
from python_server.net.memory import LOOKS_MAX_COUNT, USUAL_THRESHOLDS

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60
LOOP_THREAD = "MainThread"


@pytest.fixture(scope="module")
def server(serve: Any) -> Any:
    return serve(APPS, "flask_app:app")


@pytest.fixture(scope="module")
def url(server: Any) -> str:
    return str(server.url)


Open = Callable[..., socketio.Client]


@pytest.fixture
def connect(url: str) -> Iterator[Open]:
    clients: list[socketio.Client] = []

    def open_client(
        query: str = "",
        headers: dict[str, str] | None = None,
        namespaces: list[str] | None = None,
        kind: type[PatientClient] = OrderedClient,
    ) -> socketio.Client:
        client = kind()
        clients.append(client)
        client.received = queue.Queue()
        for name in ("heard", "numbered", "told", "closing", "left"):
            for namespace in namespaces or ["/"]:
                client.on(name, lambda *data, name=name: client.received.put((name, *data)), namespace)
        client.on("disconnect", lambda reason: client.received.put(("disconnect", reason)))
        client.connect(url + query, headers=headers or {}, namespaces=namespaces, transports=["websocket"])
        return client

    yield open_client
    for client in clients:
        client.close()


def ask(client: socketio.Client, event: str, *data: Any) -> Any:
    return client.call(event, data if len(data) != 1 else data[0], timeout=PATIENCE_SECONDS)


def next_of(client: socketio.Client, name: str) -> Any:
    while True:
        item = client.received.get(timeout=PATIENCE_SECONDS)
        if item[0] == name:
            return item[1]


def reason_of(witness: socketio.Client, sid: str) -> str:
    """Why that client left; others may leave as well."""
    while True:
        reason, who = next_of(witness, "left")
        if who == sid:
            return str(reason)


def answers_of(clients: list[socketio.Client], event: str, data: Any) -> list[Any]:
    answers: queue.Queue[Any] = queue.Queue()
    for client in clients:
        client.emit(event, data, callback=answers.put)
    return [answers.get(timeout=PATIENCE_SECONDS) for _ in clients]


def test_a_clients_events_run_in_order(connect: Open) -> None:
    client, answers = connect(), queue.Queue()
    for number in range(50):
        client.emit("slow first", number, callback=answers.put)
    assert [answers.get(timeout=PATIENCE_SECONDS) for _ in range(50)] == list(range(50))


def test_an_unordered_event_does_not_hold_up_the_next(connect: Open) -> None:
    client, answers = connect(), queue.Queue()
    client.emit("wait", "overlap", callback=answers.put)
    client.emit("open", "overlap")  # in order, it would come only after the wait has failed
    assert answers.get(timeout=PATIENCE_SECONDS) is True


def test_different_clients_run_in_parallel(connect: Open) -> None:
    first, second = connect(), connect()
    answers: queue.Queue[Any] = queue.Queue()
    first.emit("wait", "parallel", callback=answers.put)
    second.emit("open", "parallel")
    assert answers.get(timeout=PATIENCE_SECONDS) is True


def test_inline_runs_on_the_servers_thread_and_refuses_to_wait(connect: Open) -> None:
    client = connect()
    assert ask(client, "inline", 5) == LOOP_THREAD
    assert next_of(client, "heard") == 5
    assert "without inline=True" in ask(client, "inline call")
    assert "without inline=True" in ask(client, "inline sleep")


def test_a_handler_that_waits_in_call_does_not_block_its_ack(connect: Open) -> None:
    client = connect()
    client.on("question", lambda text: text.upper())
    assert ask(client, "ask me", "why") == ["answered", "WHY"]


def test_a_call_without_an_answer_times_out(connect: Open) -> None:
    client, answered = connect(kind=PatientClient), threading.Event()
    client.on("silence", lambda: answered.wait(PATIENCE_SECONDS))
    assert "no answer within 0.05 s" in ask(client, "ask into silence")
    answered.set()


def test_call_in_the_connect_handler_raises_at_once(connect: Open) -> None:
    client = connect(namespaces=["/shy"])
    assert "call() it from a later event" in next_of(client, "told")


def test_coroutines_run_beside_the_pool_in_the_same_context(connect: Open) -> None:
    client = connect()
    assert ask(client, "later", 7) == [7, "asyncio"]
    assert next_of(client, "heard") == client.get_sid()


def test_a_thread_of_ones_own_emits_in_order(connect: Open) -> None:
    client = connect()
    client.emit("from a thread")
    assert [next_of(client, "numbered") for _ in range(100)] == list(range(100))


def test_sleepers_lend_their_slots(connect: Open) -> None:
    """A fixed share of `bench/sleepers.py`, which does it with 1,000 clients."""
    clients = [connect() for _ in range(20)]
    assert answers_of(clients, "sleep", 0.1) == ["slept"] * 20
    assert answers_of(clients, "block", 0.1) == ["blocked"] * 20


def test_a_rate_that_is_exceeded_ends_the_connection_with_a_reason(connect: Open) -> None:
    client, witness = connect(), connect()
    sid = client.get_sid()
    for number in range(10):
        client.emit("limited", number)
    assert next_of(client, "closing") == {"reason": "rate limited", "detail": "more than 5 in 10 s"}
    assert reason_of(witness, sid) == "rate limited"


def test_events_see_the_proxys_address(connect: Open) -> None:
    assert ask(connect(headers={"X-Forwarded-For": "203.0.113.9"}), "address") == "203.0.113.9"


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_middleware_that_refuses_a_handshake_refuses_the_client(url: str, transport: str) -> None:
    """Before the handshake is answered: no session begins, and the middleware's own answer is given."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"} if transport == "websocket" else {}
    address = f"{url}/socket.io/?EIO=4&transport={transport}&"
    answer = requests.get(address + "refuse=1", headers=headers, timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.text) == (403, "not in these shoes")
    assert answer.headers["X-Doorman"] == "Otto"
    client = PatientClient()
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(url + "/?refuse=1", transports=[transport])


@pytest.mark.parametrize("tail", ["sid=x&sid=", "sid=&sid=x", "sid=x&%73id=", "EIO=4", "transport=polling"])
def test_no_spelling_of_a_handshake_goes_past_the_middleware(url: str, tail: str) -> None:
    address = f"{url}/socket.io/?EIO=4&transport=polling&refuse=1&{tail}"
    answer = requests.get(address, timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_middleware_that_fails_refuses_the_client(server: Any) -> None:
    address = server.url + "/socket.io/?EIO=4&transport=polling"
    assert requests.get(address + "&stumble=1", timeout=PATIENCE_SECONDS).status_code == 500
    server.wait_for("RuntimeError: raised on purpose")
    assert requests.get(address, timeout=PATIENCE_SECONDS).status_code == 200


def usual_looks_at_old_objects() -> int:
    """After how many others: a tenth as often as CPython's own rule has it, where it has that rule."""
    return LOOKS_MAX_COUNT if gc.get_threshold() in USUAL_THRESHOLDS else gc.get_threshold()[2]


def test_the_collector_runs_and_leaves_the_application_alone(url: str) -> None:
    told = requests.get(url + "/collector", timeout=PATIENCE_SECONDS).json()
    assert told == {"runs": True, "looks": False, "old": usual_looks_at_old_objects()}


def test_rooms_of_the_moment(connect: Open) -> None:
    first, second = connect(), connect()
    assert ask(first, "enter", "den") == [True, 1]
    assert ask(second, "enter", "den") == [True, 2]


def test_a_task_asked_for_before_the_server_runs_with_it(connect: Open) -> None:
    assert ask(connect(), "task") == "ran"


def test_one_handlers_fault_leaves_the_next_event_alone(connect: Open) -> None:
    client = connect()
    client.emit("fail")
    assert ask(client, "slow first", 1) == 1


def test_a_client_that_does_not_read_is_let_go_and_others_notice_nothing(url: str, connect: Open) -> None:
    witness = connect()
    with websockets.sync.client.connect(
        url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket",
        max_queue=1,
        compression=None,
        close_timeout=0.1,
    ) as idler:
        idler.recv()
        idler.send("40")
        sid = json.loads(str(idler.recv())[2:])["sid"]
        idler.send('42["flood"]')
        assert reason_of(witness, sid) == "slow client"
        assert ask(witness, "slow first", 1) == 1


def next_numbered(websocket: websockets.sync.client.ClientConnection) -> list[Any]:
    """The next numbered event; in between a client of an earlier test may be said to have left."""
    while not (text := str(websocket.recv(PATIENCE_SECONDS))).startswith('42["numbered"'):
        pass
    event: list[Any] = json.loads(text[2:])
    return event


def test_a_lost_client_comes_back_to_what_it_missed(url: str, connect: Open) -> None:
    address = url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    witness = connect()
    with websockets.sync.client.connect(address, compression=None) as lost:
        lost.recv()
        lost.send("40")
        welcome = json.loads(str(lost.recv())[2:])
        lost.send('42["from a thread"]')
        first = next_numbered(lost)
        lost.socket.shutdown(socket.SHUT_RDWR)
    assert reason_of(witness, welcome["sid"]) in ("transport close", "transport error")
    auth = json.dumps({"pid": welcome["pid"], "offset": first[-1]})
    with websockets.sync.client.connect(address, compression=None) as back:
        back.recv()
        back.send("40" + auth)
        assert json.loads(str(back.recv())[2:]) == welcome
        numbers = [next_numbered(back)[1] for _ in range(99)]
    assert numbers == list(range(1, 100))


def test_after_the_stop_emit_says_so() -> None:
    app = flask.Flask(__name__)
    face = SocketIO(app)
    with WSGIServer(("127.0.0.1", 0), app) as server:
        face.emit("heard by nobody")
        assert server is not None
    with pytest.raises(RuntimeError, match="the server has stopped"):
        face.emit("late")


def test_stop_ends_the_server_from_a_route(serve: Any) -> None:
    server = serve(APPS, "flask_app:app")
    assert requests.post(server.url + "/stop", timeout=PATIENCE_SECONDS).text == "stopping"
    assert server.wait() == 0
