"""Events whose arguments are annotated, through SocketIO: each kind of handler, `before_event`, credentials.

It must not know what of a type is checked.
"""

import functools
import logging
import sys
from typing import Any

import flask
import msgspec
import pytest

from python_server import Namespace, SocketIO


class Said(msgspec.Struct):
    text: str
    count: int = 1


class Faulty(msgspec.Struct):
    def __post_init__(self) -> None:
        raise LookupError("a bug of the application")


TEXT = {"text": "a"}
FAULT = {"error": "Expected `object`, got `int`", "path": "$[0]"}


def test_handlers_of_every_kind(app: flask.Flask, socketio: SocketIO) -> None:
    async def later(said: Said) -> Any:
        return said

    class Shop(Namespace):
        def on_say(self, said: Said) -> Any:
            return said

        def on_plain(self, value: Any) -> Any:
            return value

    class Routed(Shop):
        def trigger_event(self, event: str, *args: Any) -> Any:
            return super().trigger_event(event.removeprefix("my "), *args)

    def plain(said: Said) -> Any:
        return said

    def star(name: str, said: Said) -> Any:
        return said

    socketio.on("plain")(plain)
    socketio.on("inline", inline=True)(plain)
    socketio.on("beside", ordered=False)(plain)
    socketio.on("async")(later)
    socketio.on("*")(star)
    socketio.on_namespace(Shop("/shop"))
    socketio.on_namespace(Routed("/routed"))
    client = socketio.test_client(app)
    for namespace in ("/shop", "/routed"):
        client.connect(namespace)
    places = [(event, "/") for event in ("plain", "inline", "beside", "async", "else")]
    for event, namespace in [*places, ("say", "/shop"), ("say", "/routed")]:
        ask = functools.partial(client.emit, event, namespace=namespace, callback=True)
        assert ask(TEXT) == {"text": "a", "count": 1}, event
        assert ask(5) == FAULT, event
        assert ask() == {"error": "Expected 1 arguments, got 0", "path": "$"}
    assert client.emit("plain", 5, namespace="/shop", callback=True) == 5


def test_a_refused_event_calls_no_handler_and_is_no_error_of_the_application(
    app: flask.Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[Any] = []

    def say(said: Said) -> None:
        called.append(said)

    socketio.on("say")(say)
    socketio.on_error_default(called.append)
    client = socketio.test_client(app)
    with caplog.at_level(logging.WARNING, "python_server"):
        client.emit("say", {"text": 5, "more": "a secret"})
    (record,) = caplog.records
    assert called == []
    assert record.getMessage().startswith("event 'say' of ")
    assert "in '/' was refused: at $[0].text it is not what" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_before_event_sees_what_was_sent_and_the_fault(app: flask.Flask, socketio: SocketIO) -> None:
    seen: list[Any] = []

    def told(said: Said) -> None: ...

    socketio.on("say")(lambda said: None)
    socketio.on("told")(told)
    socketio.on_error()(lambda error: f"refused: {error}")

    @socketio.before_event
    def before(event: str, arguments: tuple[Any, ...]) -> bool:
        fault = flask.request.event.get("fault")  # type: ignore[attr-defined]
        seen.append((event, arguments, fault))
        if arguments == ("raise",):
            raise ValueError("not here")
        return arguments != ("drop",)

    client = socketio.test_client(app)
    client.emit("told", TEXT)
    assert client.emit("told", 5, callback=True) == FAULT
    assert client.emit("told", "drop", callback=True) == []
    assert client.emit("told", "raise", callback=True) == "refused: not here"
    client.emit("say", 5)
    other = {**FAULT, "error": "Expected `object`, got `str`"}
    assert seen == [
        ("told", (TEXT,), None),
        ("told", (5,), FAULT),
        ("told", ("drop",), other),
        ("told", ("raise",), other),
        ("say", (5,), None),
    ]


def test_what_a_type_of_the_application_raises_goes_to_its_error_handler(
    app: flask.Flask, socketio: SocketIO
) -> None:
    def say(faulty: Faulty) -> None: ...

    socketio.on("say")(say)
    socketio.on_error()(lambda error: f"{type(error).__name__} in {flask.request.event['message']}")  # type: ignore[attr-defined]
    client = socketio.test_client(app)
    assert client.emit("say", {}, callback=True) == "LookupError in say"


@pytest.mark.parametrize("kind", ["function", "method"])
@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (None, "Invalid data at $: Object missing required field `text`"),
        ({"text": 5}, "Invalid data at $.text: Expected `str`, got `int`"),
        (TEXT, None),
    ],
)
def test_credentials(app: flask.Flask, kind: str, auth: Any, message: str | None) -> None:
    socketio, met = SocketIO(app), []

    class Root(Namespace):
        def on_connect(self, auth: Said) -> None:
            met.append(auth)

    def connect(auth: Said) -> None:
        met.append(auth)

    if kind == "method":
        socketio.on_namespace(Root("/"))
    else:
        socketio.on("connect")(connect)
    client = socketio.test_client(app, auth=auth)
    assert client.is_connected() == (message is None)
    assert met == ([Said("a")] if message is None else [])


def test_credentials_of_a_type_that_is_there_for_type_checkers_alone(
    app: flask.Flask, socketio: SocketIO
) -> None:
    """Since Python 3.14 a signature looks annotations up, unless it is asked not to."""
    space: dict[str, Any] = {"met": []}
    quotes = "" if sys.version_info >= (3, 14) else "'"
    exec(f"def connect(auth: {quotes}Nowhere{quotes}): met.append(auth)", space)
    socketio.on("connect")(space["connect"])
    assert socketio.test_client(app, auth=TEXT).is_connected()
    assert space["met"] == [TEXT]


def test_credentials_that_may_be_missing(app: flask.Flask, socketio: SocketIO) -> None:
    met: list[Any] = []

    def connect(auth: Said | None) -> None:
        met.append(auth)

    socketio.on("connect")(connect)
    assert socketio.test_client(app).is_connected()
    assert met == [None]
