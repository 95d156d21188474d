"""The events of an application as AsyncAPI: which of them stand there, and what their types become.

It must not know TypeScript.
"""

import json
from dataclasses import dataclass
from typing import Any, TypedDict

import flask
import msgspec
import pytest

from python_server import Namespace, Server, SocketIO
from python_server.api.event_schema import SchemaError, asyncapi, read_events
from python_server.api.python_socketio import Namespace as ServerNamespace


class Said(msgspec.Struct):
    """What somebody says."""

    text: str
    count: int = 1


@dataclass
class Point:
    x: float


class Options(TypedDict, total=False):
    loud: bool


class Foreign:
    pass


class Yes(msgspec.Struct, tag="yes"):
    pass


class No(msgspec.Struct, tag="no"):
    pass


@pytest.fixture
def socketio() -> SocketIO:
    return SocketIO(flask.Flask(__name__))


def document(server: Any) -> dict[str, Any]:
    return asyncapi(*read_events(server._hub.handlers), "shop", "2.0.0")


def payload(server: Any, name: str = "it") -> Any:
    messages = document(server)["channels"]["root"]["messages"]
    return messages[name]["payload"]


def one(schema: Any) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": 1, "items": [schema], "additionalItems": False}


SAID = {"$ref": "#/components/schemas/Said"}


def test_a_whole_document(socketio: SocketIO) -> None:
    def say(said: Said) -> Said:
        """Say something.

        To whom?
        """
        return said

    socketio.on("say")(say)
    socketio.emits("told", Said)
    place = {"$ref": "#/channels/root"}
    fault = {"$ref": "#/components/schemas/EventFault"}
    assert document(socketio) == {
        "asyncapi": "3.0.0",
        "info": {"title": "shop", "version": "2.0.0"},
        "channels": {
            "root": {
                "address": "/",
                "messages": {
                    "say": {"name": "say", "summary": "Say something.", "payload": one(SAID)},
                    "say.answer": {
                        "name": "say",
                        "title": "acknowledgement of say",
                        "payload": {"anyOf": [one(SAID), one(fault)]},
                    },
                    "told": {"name": "told", "payload": one(SAID)},
                },
            }
        },
        "operations": {
            "receive.say": {
                "action": "receive",
                "channel": place,
                "messages": [{"$ref": "#/channels/root/messages/say"}],
                "reply": {
                    "channel": place,
                    "messages": [{"$ref": "#/channels/root/messages/say.answer"}],
                },
            },
            "send.told": {
                "action": "send",
                "channel": place,
                "messages": [{"$ref": "#/channels/root/messages/told"}],
            },
        },
        "components": {
            "schemas": {
                "Said": {
                    "title": "Said",
                    "description": "What somebody says.",
                    "type": "object",
                    "properties": {"text": {"type": "string"}, "count": {"type": "integer", "default": 1}},
                    "required": ["text"],
                },
                "EventFault": {
                    "title": "EventFault",
                    "description": "The acknowledgement of an event whose arguments were refused.",
                    "type": "object",
                    "properties": {"error": {"type": "string"}, "path": {"type": "string"}},
                    "required": ["error", "path"],
                },
            }
        },
    }


def test_events_of_every_kind_of_handler(socketio: SocketIO) -> None:
    class Shop(Namespace):
        def on_connect(self, auth: Said) -> None: ...
        def on_buy(self, what: str) -> None: ...

    class Routed(Shop):
        def trigger_event(self, event: str, *args: Any) -> Any: ...

    async def later(point: Point) -> None: ...

    socketio.on("later")(later)
    socketio.on("*")(lambda name, *values: None)
    socketio.on("far", namespace="*")(lambda *values: None)
    socketio.on("connect")(lambda: None)
    socketio.on("disconnect")(lambda: None)
    socketio.on_namespace(Shop("/shop"))
    socketio.on_namespace(Routed("/routed"))
    socketio.emits("sold", str, namespace="/shop")
    told = document(socketio)
    assert {name: list(channel["messages"]) for name, channel in told["channels"].items()} == {
        "root": ["later"],
        "shop": ["buy", "sold"],
        "routed": ["buy"],
    }


def test_events_of_a_server() -> None:
    server = Server()

    class Shop(ServerNamespace):
        def on_connect(self, sid: str, environ: Any) -> None: ...
        def on_buy(self, sid: str, what: Said) -> None: ...

    class Routed(Shop):
        def trigger_event(self, event: str, *args: Any) -> Any: ...

    def say(sid: str, point: Point) -> None: ...

    server.on("say", say)
    server.register_namespace(Shop("/shop"))
    server.register_namespace(Routed("/routed"))
    server.emits("sold", Said)
    told = document(server)
    point = {"$ref": "#/components/schemas/Point"}
    assert told["channels"]["root"]["messages"]["say"]["payload"] == one(point)
    for name in ("shop", "routed"):
        assert told["channels"][name]["messages"]["buy"]["payload"] == one(SAID)


@pytest.mark.parametrize(
    ("types", "schema"),
    [
        ((), {"type": "array", "minItems": 0, "maxItems": 0, "items": {}}),
        ((Any,), one({})),
        ((object,), one({})),
        ((Options,), one({"$ref": "#/components/schemas/Options"})),
        ((bytes,), one({"type": "string", "format": "binary"})),
        (
            (tuple[str, int],),
            one(
                {
                    "type": "array",
                    "minItems": 2,
                    "maxItems": 2,
                    "items": [{"type": "string"}, {"type": "integer"}],
                    "additionalItems": False,
                }
            ),
        ),
        (
            (Yes | No,),
            one(
                {
                    "anyOf": [{"$ref": "#/components/schemas/Yes"}, {"$ref": "#/components/schemas/No"}],
                    "discriminator": "type",
                }
            ),
        ),
    ],
)
def test_what_types_become(socketio: SocketIO, types: tuple[Any, ...], schema: Any) -> None:
    socketio.emits("it", *types)
    assert payload(socketio) == schema


def test_arguments_that_may_be_missing_or_many(socketio: SocketIO) -> None:
    def some(said: Said, count: int = 1) -> None: ...
    def many(*saids: Said) -> None: ...
    def first(said: Said, *more: Any) -> None: ...

    for function in (some, many, first):
        socketio.on(function.__name__)(function)
    assert payload(socketio, "some") == {
        "type": "array",
        "minItems": 1,
        "maxItems": 2,
        "items": [SAID, {"type": "integer"}],
        "additionalItems": False,
    }
    assert payload(socketio, "many") == {"type": "array", "minItems": 0, "items": SAID}
    told = {"type": "array", "minItems": 1, "items": [SAID], "additionalItems": {}}
    assert payload(socketio, "first") == told


def test_answers(socketio: SocketIO) -> None:
    def two() -> tuple[str, int]: ...  # type: ignore[empty-body]
    def none() -> None: ...

    socketio.on("two")(two)
    socketio.on("none")(none)
    socketio.emits("sure?", str, answer=bool)
    messages = document(socketio)["channels"]["root"]["messages"]
    assert list(messages) == ["two", "two.answer", "none", "sure_", "sure_.answer"]
    assert messages["two.answer"]["payload"]["items"] == [{"type": "string"}, {"type": "integer"}]
    assert messages["sure_"]["name"] == messages["sure_.answer"]["name"] == "sure?"


def test_names_that_become_the_same_key(socketio: SocketIO) -> None:
    for name in ("a b", "a/b", "a?b", ""):
        socketio.emits(name)
    socketio.emits("x", namespace="/a/b")
    socketio.emits("x", namespace="/a b")
    told = document(socketio)
    assert list(told["channels"]["root"]["messages"]) == ["a_b", "a_b_2", "a_b_3", "_"]
    assert [channel["address"] for channel in told["channels"].values()] == ["/", "/a/b", "/a b"]


def test_two_types_of_one_name(socketio: SocketIO) -> None:
    other = msgspec.defstruct("Said", [("else_", str)], module="elsewhere")
    socketio.emits("first", Said)
    socketio.emits("second", other)
    names = {
        name.rpartition(".")[0].rpartition(".")[2] for name in document(socketio)["components"]["schemas"]
    }
    assert names == {"test_event_schema", "elsewhere"}


def test_no_events(socketio: SocketIO) -> None:
    with pytest.raises(SchemaError, match=r"no events: .* \[no-events\]$"):
        document(socketio)


@pytest.mark.parametrize("kind", [Foreign, Said | Point, complex])
def test_a_type_without_a_schema(socketio: SocketIO, kind: Any) -> None:
    socketio.emits("told", kind)
    with pytest.raises(SchemaError, match=r"^event 'told' of '/': .* \[no-schema\]$") as caught:
        document(socketio)
    assert "\n" not in str(caught.value)


def test_an_annotation_that_cannot_be_resolved(socketio: SocketIO) -> None:
    space: dict[str, Any] = {}
    exec("def handler(value: 'Nowhere'): ...", space)
    socketio.on("say")(space["handler"])
    with pytest.raises(
        SchemaError, match=r"^event 'say' of '/': name 'Nowhere' is not defined \[no-schema\]$"
    ):
        document(socketio)


def test_fields_that_are_called_as_words_of_json_schema(socketio: SocketIO) -> None:
    names = ("contentEncoding", "discriminator", "prefixItems", "default", "enum", "properties")
    socketio.emits("told", msgspec.defstruct("Odd", [(name, str) for name in names]))
    (schema,) = document(socketio)["components"]["schemas"].values()
    assert schema["properties"] == {name: {"type": "string"} for name in names}
    assert schema["required"] == [*names]


def test_a_default_that_json_has_no_word_for_is_left_out(socketio: SocketIO) -> None:
    fields = [("most", float, float("inf")), ("least", float, 0.5)]
    socketio.emits("told", msgspec.defstruct("Limits", fields))
    told = json.dumps(document(socketio), allow_nan=False)
    (schema,) = json.loads(told)["components"]["schemas"].values()
    assert schema["properties"] == {"most": {"type": "number"}, "least": {"type": "number", "default": 0.5}}
