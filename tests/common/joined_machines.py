"""Servers joined by one broker, ours and stock ones, with real clients at them and writers beside them.

It must not know which broker, or what is said: every wait is for something that was said.
"""

import json
import queue
import re
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import socketio

from ordered_clients import OrderedClient
from python_server import Emitter
from running_program import RunningProgram

APPS = Path(__file__).resolve().parents[1] / "e2e" / "apps"
WAIT_SECONDS = 60.0
RETRY_SECONDS = 0.2
CLIENTS_MAX_COUNT = 300
JOINED = "joined the broker"

STOCK = """
import sys, flask, flask_socketio
from flask_socketio import SocketIO, join_room, disconnect
from werkzeug.serving import make_server
app = flask.Flask(__name__)
sio = SocketIO(app, async_mode="threading", message_queue=sys.argv[1], channel=sys.argv[2])
@sio.on("join")
def join(room):
    join_room(room)
    return flask.request.sid
@sio.on("say")
def say(data, options):
    sio.emit("said", data, **options)
@sio.on("ask")
def ask(sid):
    asker = flask.request.sid
    sio.emit("question", 8, to=sid, callback=lambda *values: sio.emit("answered", list(values), to=asker))
@sio.on("send away")
def away(sid):
    disconnect(sid, namespace="/")
server = make_server("127.0.0.1", 0, app, threaded=True)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


class Client:
    """A real client that keeps what it heard."""

    def __init__(self, url: str, **options: Any) -> None:
        self.heard: queue.Queue[Any] = queue.Queue()
        self.gone = threading.Event()
        self.sio = OrderedClient()
        self.sio.on("said", lambda *data: self.heard.put(list(data)))
        self.sio.on("answered", lambda *data: self.heard.put(["answered", *data]))
        self.sio.on("question", lambda value: (f"{value} from {self.sio.get_sid()}", value))
        self.sio.on("disconnect", lambda *reason: self.gone.set())
        self.sio.connect(url, transports=["websocket"], **options)

    @property
    def sid(self) -> str:
        return str(self.sio.get_sid())

    def ask(self, event: str, *data: Any) -> Any:
        return self.sio.call(event, data, timeout=WAIT_SECONDS)

    def close(self) -> None:
        self.sio.close()

    def hear(self) -> Any:
        return self.heard.get(timeout=WAIT_SECONDS)


def repeat(say: Callable[[], Any], listener: Client) -> Any:
    """Says it until the listener hears something: the first words come before anybody passes them on."""
    for _ in range(int(WAIT_SECONDS / RETRY_SECONDS)):
        say()
        try:
            return listener.heard.get(timeout=RETRY_SECONDS)
        except queue.Empty:
            continue
    raise AssertionError("nothing was heard")


class Machines:
    """Servers on one channel of one broker, and their clients."""

    def __init__(self, serve: Any, url: str) -> None:
        self._serve = serve
        self.url = url
        self.options: dict[str, Any] = {}  # of each of our servers
        self.channel = f"channel-{uuid.uuid4().hex}"
        self.clients: list[Client] = []
        self.programs: list[RunningProgram] = []
        self.managers: list[Any] = []

    def server(self, *arguments: str, **options: Any) -> Any:
        environment = {
            "BROKER": self.url,
            "OPTIONS": json.dumps({"channel": self.channel, **self.options, **options}),
        }
        return self._serve(APPS, "machine_app:app", *arguments, env=environment)

    def ours(self, *arguments: str, **options: Any) -> Any:
        """A machine of ours that has joined the broker."""
        server = self.server(*arguments, **options)
        server.wait_for(JOINED)
        if "--workers" in arguments:
            server.wait_for(") serves", int(arguments[arguments.index("--workers") + 1]))
        self._settle(server)
        return server

    def _settle(self, server: Any) -> None:
        """It passes on what it hears: a word from outside has reached a client."""
        with Emitter(self.url, self.channel) as emitter:
            self._probe(server.url, lambda sid: emitter.emit("said", "probe", to=sid))

    def theirs(self) -> str:
        """The URL of a stock Flask-SocketIO server on the same channel."""
        program = RunningProgram([sys.executable, "-c", STOCK, self.url, self.channel], APPS)
        self.programs.append(program)
        url = program.find(re.compile(r"http://127\.0\.0\.1:\d+"))[0]
        manager = self.outside()
        self._probe(url, lambda sid: manager.emit("said", "probe", room=sid))
        return url

    def _probe(self, url: str, say: Callable[[str], None]) -> None:
        """Until a word from outside has reached a client of that server."""
        probe = self.client(url)
        assert repeat(lambda: say(probe.sid), probe) == ["probe"]
        probe.sio.disconnect()

    def client(self, url: str, **options: Any) -> Client:
        client = Client(url, **options)
        self.clients.append(client)
        return client

    def everywhere(self, server: Any, workers_count: int) -> dict[Client, int]:
        """Some clients on each worker of a server, and the process each is in."""
        homes: dict[Client, int] = {}
        while len(set(homes.values())) < workers_count:
            assert len(homes) < CLIENTS_MAX_COUNT, "a worker gets no client"
            client = self.client(server.url)
            homes[client] = client.ask("where")
        return homes

    def outside(self) -> Any:
        kind = socketio.KombuManager if self.url.startswith("amqp") else socketio.RedisManager
        self.managers.append(kind(self.url, channel=self.channel, write_only=True))
        return self.managers[-1]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for program in self.programs:
            program.kill()
        for manager in self.managers:
            link = getattr(manager, "redis", None) or manager.publisher_connection
            link.close()
