"""What needs two sides: calls and their answers, callbacks, Origins; a served application and real clients.

It must not know the hub: a server in this process, python-socketio's client and raw requests.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
import requests

from ordered_clients import OrderedClient, PatientClient
from python_server import Namespace, Settings, SocketIO, WSGIServer, call, disconnect, emit

PATIENCE_SECONDS = 60
app = flask.Flask(__name__)
face = SocketIO(app, namespaces=["/", "/shop"])
callbacks: queue.Queue[Any] = queue.Queue()


@face.on("call me")
def call_me(question: str, options: dict[str, Any]) -> Any:
    """The sender is asked, by the function of the context."""
    try:
        return {"answer": call(question, *options.pop("data", []), **options)}
    except (TimeoutError, RuntimeError, ValueError) as error:
        return {type(error).__name__: str(error)}


@face.on("emit with callback")
def emit_with_callback(options: dict[str, Any]) -> None:
    emit("question", "from the context", callback=lambda *values: callbacks.put(values), **options)


@face.on("send me away")
def send_me_away() -> None:
    """As the package's own example does: once the client has said that it knows."""

    @flask.copy_current_request_context
    def away() -> None:
        disconnect()

    emit("question", "ready?", callback=away)


class Shop(Namespace):
    def on_ask(self, sid: str, options: dict[str, Any]) -> Any:
        return {"answer": self.call("question", "of the shop", to=sid, **options)}

    def on_announce(self, options: dict[str, Any]) -> None:
        self.emit("announced", "tea", callback=lambda *values: callbacks.put(values), **options)

    def on_message(self, text: str) -> None:
        self.send(text.upper(), include_self=False)


face.on_namespace(Shop("/shop"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with WSGIServer(("127.0.0.1", 0), app) as server:
        yield "http://{}:{}".format(*server.address)


class Client:
    """A client that answers `question` with what it was told to, and remembers what it heard."""

    def __init__(self, url: str, namespace: str, kind: type[PatientClient]) -> None:
        self.namespace = namespace
        self.answer: Any = None
        self.heard: queue.Queue[Any] = queue.Queue()
        self.silence = threading.Event()
        self.inner = kind()
        self.inner.on("question", self._answer, namespace)
        self.inner.on("silence", lambda: self.silence.wait(PATIENCE_SECONDS), namespace)
        for name in ("announced", "message", "last"):
            self.inner.on(name, lambda *data, name=name: self.heard.put((name, *data)), namespace)
        self.inner.connect(url, namespaces=[namespace], transports=["websocket"])
        self.sid = self.inner.get_sid(namespace)

    def _answer(self, *data: Any) -> Any:
        return self.answer(*data) if callable(self.answer) else self.answer

    def ask(self, event: str, *data: Any) -> Any:
        return self.inner.call(event, data, namespace=self.namespace, timeout=PATIENCE_SECONDS)

    def all_heard(self) -> list[Any]:
        """Everything up to a last word that follows it."""
        face.emit("last", to=self.sid, namespace=self.namespace)
        return list(iter(lambda: self.heard.get(timeout=PATIENCE_SECONDS), ("last",)))


@pytest.fixture
def client(url: str) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def one(namespace: str = "/", kind: type[PatientClient] = OrderedClient) -> Client:
        clients.append(Client(url, namespace, kind))
        return clients[-1]

    yield one
    for each in clients:
        each.silence.set()
        each.inner.close()


# Calls


@pytest.mark.parametrize(
    ("answer", "got"),
    [(None, None), (7, 7), ([1, 2], [1, 2]), ((1, "b"), (1, "b")), ({"a": b"\x00"}, {"a": b"\x00"})],
)
def test_the_values_of_an_ack(client: Callable[..., Client], answer: Any, got: Any) -> None:
    asked = client()
    asked.answer = answer
    assert face.call("question", to=asked.sid, timeout=PATIENCE_SECONDS) == got
    assert face.call("question", room=asked.sid, timeout=PATIENCE_SECONDS) == got
    assert face.call("question", sid=asked.sid, timeout=PATIENCE_SECONDS) == got
    assert face.server.call("question", to=asked.sid, timeout=PATIENCE_SECONDS) == got
    assert face.server.call("question", sid=asked.sid, timeout=PATIENCE_SECONDS) == got


def test_the_arguments_of_a_call(client: Callable[..., Client]) -> None:
    asked = client()
    asked.answer = lambda *data: list(data)
    assert face.call("question", 1, "b", to=asked.sid) == [1, "b"]
    assert face.call("question", (1, "b"), to=asked.sid) == [1, "b"]
    assert face.call("question", [1, "b"], to=asked.sid) == [[1, "b"]]
    assert face.call("question", data={"b": 1}, to=asked.sid) == [{"b": 1}]
    assert face.call("question", to=asked.sid, colour="red") == []
    with pytest.raises(TypeError, match="call has no option 'romm': did you mean 'room'"):
        face.call("question", romm=asked.sid)
    assert face.server.call("question", (1, "b"), to=asked.sid) == [1, "b"]
    assert face.server.call("question", {"b": 1}, to=asked.sid) == [{"b": 1}]


def test_in_a_handler_the_sender_is_asked_or_whom_it_names(client: Callable[..., Client]) -> None:
    first, second = client(), client()
    first.answer, second.answer = "first", "second"
    assert first.ask("call me", "question", {}) == {"answer": "first"}
    assert first.ask("call me", "question", {"to": second.sid}) == {"answer": "second"}
    assert first.ask("call me", "question", {"room": second.sid}) == {"answer": "second"}


def test_a_callback_may_keep_the_context_of_its_event(client: Callable[..., Client]) -> None:
    leaving = client()
    gone = threading.Event()
    leaving.inner.on("disconnect", lambda reason: gone.set())
    leaving.answer = None
    leaving.ask("send me away")
    assert gone.wait(PATIENCE_SECONDS)


def test_calls_that_get_no_answer(client: Callable[..., Client]) -> None:
    asked = client(kind=PatientClient)  # its silence must not hold up what it hears next
    said = asked.ask("call me", "silence", {"timeout": 0.05})
    assert said == {"TimeoutError": "no answer within 0.05 s"}
    asked.silence.set()
    gone = {"TimeoutError": "the client has left: no answer will come"}
    assert asked.ask("call me", "question", {"to": "nobody"}) == gone
    said = asked.ask("call me", "question", {"to": ["a", "b"]})
    assert said == {"ValueError": "Cannot use call() to broadcast. It asks one client: `to` is its sid"}


def test_a_client_that_leaves_while_it_is_asked(client: Callable[..., Client]) -> None:
    asked, other = client(), client()
    # The question behind it is answered once it has gone: its own answer comes too late for certain.
    asked.answer = lambda *data: [face.disconnect(asked.sid), face.server.rooms(asked.sid)]
    with pytest.raises(TimeoutError, match="the client has left"):
        face.call("question", to=asked.sid, timeout=PATIENCE_SECONDS)
    other.answer = 1
    assert face.call("question", to=other.sid) == 1


def test_a_class_namespace_calls_in_its_own(client: Callable[..., Client]) -> None:
    asked, asker = client("/shop"), client("/shop")
    asked.answer = lambda *data: ["asked", *data]
    assert asker.ask("ask", asked.sid, {"timeout": PATIENCE_SECONDS}) == {"answer": ["asked", "of the shop"]}
    assert asker.ask("ask", asked.sid, {}) == {"answer": ["asked", "of the shop"]}


# Callbacks and addressees


def test_a_callback_of_each_way_to_emit(client: Callable[..., Client]) -> None:
    asked = client()
    asked.answer = ("one", 2)
    asked.inner.emit("emit with callback", {})
    assert callbacks.get(timeout=PATIENCE_SECONDS) == ("one", 2)
    for way in (face.emit, face.server.emit):
        way("question", "x", to=asked.sid, callback=lambda *values: callbacks.put(values))
        assert callbacks.get(timeout=PATIENCE_SECONDS) == ("one", 2)


def test_a_callback_hears_every_client_of_a_room(client: Callable[..., Client]) -> None:
    clients = [client() for _ in range(3)]
    for number, each in enumerate(clients):
        each.answer = number
        face.server.enter_room(each.sid, "asked")
    face.emit("question", to="asked", callback=callbacks.put)
    assert {callbacks.get(timeout=PATIENCE_SECONDS) for _ in clients} == {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "hear"),
    [
        ({}, "abc"),
        ({"include_self": False}, "bc"),
        ({"skip_sid": "b"}, "ac"),
        ({"skip_sid": ["b", "c"]}, "a"),
        ({"include_self": False, "skip_sid": "b"}, "c"),
        ({"room": "red"}, "ab"),
        ({"room": "red", "include_self": False}, "b"),
        ({"to": ["red", "c"]}, "abc"),
        ({"to": "c"}, "c"),
        ({"except_rooms": "red"}, "c"),
        ({"namespace": "/"}, ""),
    ],
    ids=str,
)
def test_whom_a_class_namespace_reaches(
    client: Callable[..., Client], options: dict[str, Any], hear: str
) -> None:
    """R36 and the words of the class: three clients, the first is the sender."""
    clients = {name: client("/shop") for name in "abc"}
    for name in "ab":
        face.server.enter_room(clients[name].sid, "red", namespace="/shop")
    sids = {name: each.sid for name, each in clients.items()}

    def named(value: Any) -> Any:
        return [named(item) for item in value] if isinstance(value, list) else sids.get(value, value)

    clients["a"].ask("announce", {key: named(value) for key, value in options.items()})
    heard = {name: ("announced", "tea") in each.all_heard() for name, each in clients.items()}
    assert "".join(name for name, did in heard.items() if did) == hear


def test_send_of_a_class_namespace(client: Callable[..., Client]) -> None:
    first, second = client("/shop"), client("/shop")
    first.ask("message", "hello")
    assert second.all_heard() == [("message", "HELLO")]
    assert first.all_heard() == []


# Origins


def asked_as(origin: str, allowed: Any, settings: Settings | None = None, **headers: str) -> int:
    app = flask.Flask(__name__)
    SocketIO(app, cors_allowed_origins=allowed)
    with WSGIServer(("127.0.0.1", 0), app, settings=settings or Settings()) as server:
        host = "{}:{}".format(*server.address)
        return requests.get(
            f"http://{host}/socket.io/?EIO=4&transport=polling&k=1",
            headers={"Origin": origin.replace("SELF", host), **headers},
            timeout=PATIENCE_SECONDS,
        ).status_code


@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        (None, "http://SELF", 200),
        (None, "http://other.test", 403),
        ("*", "http://other.test", 200),
        (["*"], "http://other.test", 200),
        ([], "http://other.test", 200),
        ("http://other.test", "http://other.test", 200),
        (["http://a.test", "http://other.test"], "http://other.test", 200),
        (["http://a.test"], "http://other.test", 403),
        (lambda origin: origin.endswith(".test"), "http://other.test", 200),
        (lambda origin: False, "http://SELF", 403),
        (lambda origin, environ: environ["QUERY_STRING"].endswith("k=1"), "http://other.test", 200),
        (lambda origin, environ: environ["QUERY_STRING"].endswith("k=2"), "http://other.test", 403),
    ],
)
def test_r50_whose_pages_may_come(allowed: Any, origin: str, status: int) -> None:
    assert asked_as(origin, allowed) == status


@pytest.mark.parametrize(("trusted", "status"), [(False, 403), (True, 200)])
def test_r50_forwarded_fields_are_believed_of_proxies_alone(trusted: bool, status: int) -> None:
    settings = Settings(proxy_headers=trusted)
    forwarded = {"X-Forwarded-Host": "front.test", "X-Forwarded-Proto": "https"}
    assert asked_as("https://front.test", None, settings, **forwarded) == status
