"""SocketIOTestClient: an application's events tested on the real hub, without a server or a network.

Must not know: frames, HTTP; nothing of the application is patched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final, Protocol

import flask
from flask.testing import EnvironBuilder, FlaskClient

from python_server.api.flask_socketio.context import ClientState, EventContexts
from python_server.api.keywords import HandshakeHeaders
from python_server.engineio.packet import PROTOCOL4, Prepared
from python_server.engineio.session import NO_OUTBOX, DisconnectReason
from python_server.net.loop import Timer
from python_server.net.system import REAL
from python_server.net.tasks import InlineMailbox
from python_server.net.threads import Answer, Door, InlineExecutor
from python_server.observe import log
from python_server.socketio.client import Client
from python_server.socketio.packet import Codec, Packet, PacketType, RefusalError
from python_server.socketio.server import Hub
from python_server.socketio.services import HubServices
from python_server.socketio.values import JSONValue
from python_server.wsgi.environ import Environ


class TestDoor(Door):
    """Questions are answered in the caller's thread."""

    __test__ = False

    def ask(self, question: Callable[[], Answer], timeout_seconds: float = 30.0) -> Answer:
        return question()


class FakeSession:
    """What the hub needs of an Engine.IO session; what is sent goes to the test client at once."""

    dialect: Final = PROTOCOL4
    transport: Final = "polling"
    outbox: Final = NO_OUTBOX

    def __init__(self, client: SocketIOTestClient) -> None:
        self.sid: str = client.eio_sid
        self.context: Any = None
        self.alive: bool = True
        self.writable = True
        self._client = client

    def send(self, prepared: Prepared) -> None:
        self._client._sent(prepared)

    def join(self) -> None:
        """Nobody counts who has not joined."""

    def pause_reading(self, paused: bool) -> None:
        """There is nothing to read from."""

    def end(self, reason: DisconnectReason) -> None:
        if self.alive:
            self.alive = False
            self._client.connected.clear()
            self._client._server.sessions.session_closed(self, reason)


class SocketIOToTest(Protocol):
    """What a test client asks of its SocketIO."""

    manage_session: bool

    def _serve_tests(self, make: Callable[[Hub], TestServer]) -> TestServer: ...


class SocketIOTestClient:
    """A client for tests, with Flask-SocketIO's API; create it with SocketIO.test_client.

    Handlers run in the caller's thread, one after another, before `emit` returns.

        client = socketio.test_client(app, auth={"name": "ann"})  # a SocketIOTestClient
        assert client.emit("sum", 1, 2, callback=True) == 3

    Attributes:
        connect_error: the last refusal, {"message": ..., "data": ...}; None if there was none.

    Args:
        app: the application. socketio: its SocketIO. namespace: the first to join.
            query_string, headers: of the handshake. auth: for the connect handler.
            flask_test_client: its cookies are sent.

    Raises:
        RuntimeError: the SocketIO is being served, or has no application.
    """

    __test__ = False

    def __init__(
        self,
        app: flask.Flask,
        socketio: SocketIOToTest,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: HandshakeHeaders = None,
        auth: object = None,
        flask_test_client: FlaskClient | None = None,
    ) -> None:
        self.app = app
        self.socketio = socketio
        self.flask_test_client = flask_test_client
        self.eio_sid: str = REAL.entropy(16).hex()
        self.connected: dict[str, bool] = {}
        self.connect_error: JSONValue = None
        self.queue: list[dict[str, JSONValue]] = []
        self.acks: dict[str, JSONValue] | None = None
        self._ids = itertools.count(1)
        self._server: TestServer = socketio._serve_tests(TestServer)
        self._server.mailbox.adopt()
        self._session: FakeSession | None = None
        self._decoder = self._server.codec.decoder()
        self.connect(namespace, query_string, headers, auth)

    def is_connected(self, namespace: str | None = None) -> bool:
        """Tell whether the client is connected to "/" or `namespace`.

            assert client.is_connected("/chat")

        Returns: False also after the server has disconnected the client.
        """
        self._server.mailbox.drain()
        return self.connected.get(namespace or "/", False)

    def connect(
        self,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: HandshakeHeaders = None,
        auth: object = None,
    ) -> None:
        """Connect to a namespace. The constructor has already connected to the first one.

            client.connect("/chat", auth={"name": "ann"})

        Args:
            namespace: default "/". query_string, headers: of a new handshake, if the client had left.
            auth: for the connect handler.
        """
        if self._session is None or not self._session.alive:
            self._session = FakeSession(self)
            self._server.sessions.session_opened(self._session)
            client: Client = self._session.context
            contexts = EventContexts(self.app, self.socketio.manage_session)
            client.context = ClientState(contexts, self._environ(query_string, headers))
        self._say(PacketType.CONNECT, namespace, auth)

    def disconnect(self, namespace: str | None = None) -> None:
        """Disconnect from "/" or `namespace`.

            client.disconnect("/chat")

        Raises RuntimeError: the client is not connected to it.
        """
        self._check(namespace)
        self._say(PacketType.DISCONNECT, namespace)
        self.connected.pop(namespace or "/", None)

    def emit(
        self,
        event: str,
        *args: object,
        callback: bool = False,
        namespace: str | None = None,
        **ignored: object,
    ) -> JSONValue:
        """Send an event. When this method returns, the handler has run.

            assert client.emit("sum", 1, 2, callback=True) == 3

        Args:
            args: the event's data. callback: True returns the acknowledgement. namespace: default "/".
            ignored: other keywords have no effect.

        Returns: the acknowledgement: None, a single value, or a list. It raises what the handler raises.
        """
        self._check(namespace)
        ack_id = next(self._ids) if callback else None
        self.acks = None
        self._say(PacketType.EVENT, namespace, (event, *args), ack_id)
        acks, self.acks = self.acks, None
        if acks is None:
            return None
        values = acks["args"]
        return values[0] if len(values) == 1 else values

    def send(
        self, data: object, json: bool = False, callback: bool = False, namespace: str | None = None
    ) -> JSONValue:
        """Send the event `message`, or `json`, with the one argument `data`.

            client.send("hello")

        Args:
            json: True sends the event `json`. callback, namespace: as of `emit`.

        Returns: as `emit`.
        """
        return self.emit("json" if json else "message", data, callback=callback, namespace=namespace)

    def get_received(self, namespace: str | None = None) -> list[dict[str, JSONValue]]:
        """Return the events received in "/" or `namespace` since the last call.

            assert client.get_received()[0]["name"] == "news"

        Returns: {"name", "args", "namespace"} of each event. `args` is a list; for the events `message` and
        `json` it is the single value.
        """
        self._check(namespace)
        wanted = namespace or "/"
        received = [item for item in self.queue if item["namespace"] == wanted]
        self.queue = [item for item in self.queue if item["namespace"] != wanted]
        return received

    def _check(self, namespace: str | None) -> None:
        if not self.is_connected(namespace):
            raise RuntimeError("not connected")

    def _environ(self, query_string: str | None, headers: HandshakeHeaders) -> Environ:
        builder = EnvironBuilder(
            self.app, path="/socket.io", query_string=(query_string or "").lstrip("?"), headers=headers
        )
        environ = builder.get_environ()
        if self.flask_test_client is not None:
            for key, value in self.flask_test_client.environ_base.items():
                environ.setdefault(key, value)
            self.flask_test_client._add_cookies_to_wsgi(environ)
        return environ

    # The fake transport

    def _say(
        self, kind: PacketType, namespace: str | None, data: object = None, id: int | None = None
    ) -> None:
        """To the hub, encoded as a client would."""
        assert self._session is not None
        for message in self._server.codec.prepare(kind, namespace or "/", data, id).packets:
            self._server.sessions.on_message(
                self._session, message[1:] if isinstance(message, str) else message
            )
        self._server.mailbox.drain()
        self._server.raise_fault()

    def _sent(self, prepared: Prepared) -> None:
        """From the hub; encoded and decoded like everything that goes over a network."""
        for message in prepared.packets:
            try:
                packet = self._decoder.receive(message[1:] if isinstance(message, str) else message)
            except RefusalError as refusal:  # the decoder is a server's
                packet = refusal.packet
                self.connect_error = packet.data
            if packet is not None:
                self._take(packet)

    def _take(self, packet: Packet) -> None:
        if packet.kind is PacketType.EVENT:
            name, *args = packet.data
            bare = name in ("message", "json")
            value: JSONValue = (args[0] if args else None) if bare else args
            self.queue.append({"name": name, "args": value, "namespace": packet.namespace})
        elif packet.kind is PacketType.ACK:
            self.acks = {"args": packet.data, "namespace": packet.namespace}
        elif packet.kind is PacketType.CONNECT:
            self.connected[packet.namespace] = True
        else:
            self.connected[packet.namespace] = False


class TestServer:
    """A SocketIO's server, run in the caller's thread for all test clients of it.

    Raises RuntimeError: the SocketIO is being served.
    """

    __test__ = False

    def __init__(self, hub: Hub) -> None:
        if hub.services is not None:
            raise RuntimeError("the test client cannot join a SocketIO that is being served")
        self.mailbox: InlineMailbox = InlineMailbox()
        self.codec: Codec = hub.codec
        self._faults: list[BaseException] = []
        self.services = HubServices(
            door=TestDoor(self.mailbox, InlineExecutor()),
            call_later=Timer,  # never armed
            report=lambda what, error: self._faults.append(error),
            complain=lambda kind, message: log.LOGGER.warning("%s", message),
            now=itertools.count().__next__,
            stop=lambda: None,
            entropy=REAL.entropy,
            wall=REAL.wall,
        )
        self.sessions: Any = hub.attach(self.services)

    def raise_fault(self) -> None:
        """A handler's unhandled fault fails the test that sent the event."""
        if self._faults:
            fault = self._faults[0]
            self._faults.clear()
            raise fault
