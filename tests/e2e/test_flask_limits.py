"""Limits that explain themselves: what the client and the handler are told, which option the log names.

It must not know the server's insides: raw clients on one side, the process's log on the other.
"""

import http.client
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import websockets.exceptions
import websockets.sync.client

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60
PATH = "/socket.io/?EIO=4&transport="


@pytest.fixture(scope="module")
def server(serve: Any) -> Any:
    return serve(APPS, "limits_app:app", "--limit-unsent", "300000", "--event-threads", "3")


class Socket:
    """A joined client on a WebSocket."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        websocket.recv(PATIENCE_SECONDS)
        websocket.send("40")
        self.sid = json.loads(str(websocket.recv(PATIENCE_SECONDS))[2:])["sid"]

    def say(self, *event: Any) -> None:
        self.websocket.send("42" + json.dumps(event))

    def hear(self) -> str:
        return str(self.websocket.recv(PATIENCE_SECONDS))

    def ask(self, *event: Any) -> Any:
        self.websocket.send("427" + json.dumps(event))
        while not (text := self.hear()).startswith("437"):
            pass
        (answer,) = json.loads(text[3:])
        return answer

    def wait_for(self, name: str, *last: Any) -> Any:
        """The first argument of the next such event; one whose last value is `last` if that is given."""
        while True:
            text = self.hear()
            if text.startswith("42"):
                event, *args = json.loads(text[2:])
                if event == name and (not last or args[0][-1] == last[0]):
                    return args[0] if args else None

    def end(self) -> tuple[int, str]:
        """Code and reason of the server's close frame, whatever comes before it."""
        try:
            while True:
                self.hear()
        except websockets.exceptions.ConnectionClosed as closed:
            frame = closed.rcvd
        return (0, "no close frame") if frame is None else (frame.code, frame.reason)


@contextmanager
def joined(server: Any, **options: Any) -> Iterator[Socket]:
    address = server.url.replace("http", "ws") + PATH + "websocket"
    with websockets.sync.client.connect(address, compression=None, close_timeout=0.1, **options) as websocket:
        yield Socket(websocket)


class Polling:
    """A joined client that polls when it is told to."""

    def __init__(self, server: Any) -> None:
        self._url = server.url + PATH + "polling"
        self._session = requests.Session()
        opened = self._session.get(self._url, timeout=PATIENCE_SECONDS).text
        self._url += "&sid=" + json.loads(opened[1:])["sid"]
        self.post("40")
        self.sid = json.loads(self.poll().text[2:])["sid"]

    def post(self, body: str) -> requests.Response:
        return self._session.post(self._url, body, timeout=PATIENCE_SECONDS)

    def poll(self) -> requests.Response:
        return self._session.get(self._url, timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        """No connection, no poll: only the session is left."""
        self._session.close()

    @contextmanager
    def parked(self) -> Iterator[http.client.HTTPConnection]:
        """A poll that has been asked for."""
        place = urlsplit(self._url)
        connection = http.client.HTTPConnection(place.netloc, timeout=PATIENCE_SECONDS)
        connection.request("GET", f"{place.path}?{place.query}")
        yield connection
        connection.close()


def test_a_message_too_large(server: Any) -> None:
    with joined(server) as witness, joined(server) as client:
        client.say("echo", "x" * 10_000)
        code, reason = client.end()
        assert (code, reason.partition(" (")[0]) == (1009, "the message is larger than the limit")
        assert witness.wait_for("left", client.sid)[0] == "message too large"
    server.wait_for("message too large: a WebSocket message exceeds max_http_buffer_size (10000 bytes)")


def test_a_post_too_large(server: Any) -> None:
    client = Polling(server)
    answer = client.post('42["echo","' + "x" * 10_000 + '"]')
    text = "message too large: a polling request exceeds max_http_buffer_size (10000 bytes)"
    assert (answer.status_code, answer.text) == (413, text + "\n")
    server.wait_for(text)


def test_a_rate_exceeded(server: Any) -> None:
    with joined(server) as witness, joined(server) as client:
        for _ in range(6):
            client.say("limited")
        assert client.wait_for("closing") == {"reason": "rate limited", "detail": "more than 5 in 10 s"}
        assert client.hear() == "41"
        assert witness.wait_for("left", client.sid)[0] == "rate limited"
    server.wait_for("more than 5 events 'limited' in 10 s and was disconnected: its handler's rate_limit")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_client_that_does_not_read(server: Any, transport: str) -> None:
    with joined(server) as witness:
        if transport == "polling":
            polling = Polling(server)
            polling.post('42["flood",3]')
            assert witness.wait_for("left", polling.sid)[0] == "slow client"
            assert polling.poll().status_code == 400
        else:
            with joined(server, max_queue=1) as client:
                client.say("flood", 400)
                assert witness.wait_for("left", client.sid)[0] == "slow client"
        assert witness.ask("echo", 1) == 1  # the others notice nothing
    server.wait_for("slow client: it did not take what was sent to it; the bounds are --limit-unsent")
    server.wait_for("max_queued_bytes for polling")


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_a_foreign_origin(server: Any, transport: str) -> None:
    headers = {"Origin": "http://shop.example"}
    if transport == "websocket":
        headers |= {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        headers["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    answer = requests.get(server.url + PATH + transport, headers=headers, timeout=PATIENCE_SECONDS)
    host = server.url.removeprefix("http://")
    text = (
        "origin http://shop.example is not allowed; to allow it set "
        f"cors_allowed_origins=['http://shop.example'] (the request came for host {host})"
    )
    assert answer.status_code == 403
    assert text in answer.text
    server.wait_for(text)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_a_client_of_another_version(server: Any, transport: str) -> None:
    address = server.url + PATH.replace("EIO=4", "EIO=3") + transport
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"} if transport == "websocket" else {}
    answer = requests.get(address, headers=headers, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 400
    assert "Unsupported protocol version" in answer.text
    server.wait_for(
        "a client speaks Engine.IO protocol '3', this server speaks 4: "
        "socket.io-client 3 or 4 and python-socketio 5 fit"
    )


def test_threads_that_are_all_busy(server: Any) -> None:
    """Nothing is timed here: the fourth event waits until the log has said so."""
    with joined(server) as client, joined(server) as other:
        for _ in range(3):
            client.say("block")
            client.wait_for("blocked")
        other.say("echo", "waits")
        server.wait_for("for a thread, all are busy: raise --event-threads or block less")
        client.say("let go")
        assert other.ask("echo", "went on") == "went on"


def test_a_server_that_shuts_down(serve: Any) -> None:
    server = serve(APPS, "limits_app:app")
    polling = Polling(server)
    with joined(server) as client, joined(server) as second, polling.parked() as poll:
        assert client.ask("echo", 1) == 1  # one turn of the server later the poll is parked
        server.signal(signal.SIGTERM)
        assert poll.getresponse().read() == b"6"
        for each in (client, second):
            assert each.end() == (1001, "server shutting down")
    assert server.wait() == 0
    assert server.log.count("left: server shutting down") == 3


def test_a_stop_waits_for_the_disconnect_handlers(serve: Any) -> None:
    server = serve(APPS, "limits_app:app", "--event-threads", "1")
    for _ in range(20):
        Polling(server).close()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.count("left: server shutting down") == 20
