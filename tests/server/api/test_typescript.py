"""The events of an application as TypeScript: which type each schema becomes, and each list of arguments.

It must not know AsyncAPI.
"""

from enum import Enum
from typing import Any, Literal, NamedTuple

import flask
import msgspec
import pytest

from python_server import SocketIO
from python_server.api.event_schema import read_events
from python_server.api.typescript import typescript


class Said(msgspec.Struct):
    text: str
    count: int = 1


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Pair(NamedTuple):
    first: int
    second: str = ""


class Row(msgspec.Struct, array_like=True):
    a: int
    b: "Said | None" = None


class Odd(msgspec.Struct, rename={"a": "two words", "b": "b"}):
    """Ends */ in
    two lines."""

    a: int
    b: dict[str, list[int | None]]


class Empty(msgspec.Struct):
    pass


class Node(msgspec.Struct):
    children: "list[Node]"


class Box(msgspec.Struct, tag="box", forbid_unknown_fields=True):
    inside: bytes


@pytest.fixture
def socketio() -> SocketIO:
    return SocketIO(flask.Flask(__name__))


def written(socketio: SocketIO) -> str:
    return typescript(*read_events(socketio._hub.handlers))


def line(socketio: SocketIO, name: str = "it") -> str:
    (found,) = [each for each in written(socketio).splitlines() if each.startswith(f"  {name}: ")]
    return found.removeprefix(f"  {name}: ")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (str, "string"),
        (int, "number"),
        (float, "number"),
        (bool, "boolean"),
        (None, "null"),
        (Any, "any"),
        (bytes, "ArrayBuffer | Uint8Array"),
        (list, "any[]"),
        (list[bytes], "(ArrayBuffer | Uint8Array)[]"),
        (list[list[int]], "number[][]"),
        (list[int | None], "(number | null)[]"),
        (dict, "{ [key: string]: any }"),
        (dict[str, int | None], "{ [key: string]: number | null }"),
        (dict[str, list[Said]], "{ [key: string]: Said[] }"),
        (tuple[int, str], "[number, string]"),
        (Said, "Said"),
        (Said | str | None, "string | Said | null"),
        (Literal["a", 1, None], '1 | "a" | null'),
        (Colour, "Colour"),
    ],
)
def test_types(socketio: SocketIO, kind: Any, text: str) -> None:
    socketio.emits("it", kind)
    found = line(socketio).removeprefix("(value: ").removesuffix(") => void;")
    assert sorted(found.split(" | ")) == sorted(text.split(" | "))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Said, "export interface Said { text: string; count?: number; }"),
        (Colour, 'export type Colour = "blue" | "red";'),
        (Pair, "export type Pair = [number, string?];"),
        (Row, "export type Row = [number, (Said | null)?];"),
        (Empty, "export interface Empty {}"),
        (Node, "export interface Node { children: Node[]; }"),
        (Box, 'export interface Box { type: "box"; inside: ArrayBuffer | Uint8Array; }'),
        (
            Odd,
            "/** Ends * / in two lines. */\n"
            'export interface Odd { "two words": number; b: { [key: string]: (number | null)[] }; }',
        ),
    ],
)
def test_named_types(socketio: SocketIO, kind: Any, text: str) -> None:
    socketio.emits("it", kind)
    found = written(socketio)
    assert text in found or text.replace("(Said | null)?", "(null | Said)?") in found, found


def test_arguments(socketio: SocketIO) -> None:
    def none() -> None: ...
    def two(first: str, second: Said) -> None: ...
    def some(first: str, second: int = 1) -> bool: ...  # type: ignore[empty-body]
    def many(*values: int) -> None: ...
    def rest(said: Said, count: int = 1, *values: str) -> str: ...  # type: ignore[empty-body]
    def word(new: str) -> None: ...
    def pair() -> tuple[int, str]: ...  # type: ignore[empty-body]
    def both(said: Said) -> tuple[int, str]: ...  # type: ignore[empty-body]

    for function in (none, two, some, many, rest, word, pair, both):
        socketio.on(function.__name__)(function)
    assert line(socketio, "none") == "() => void;"
    assert line(socketio, "two") == "(first: string, second: Said) => void;"
    callback = "callback: (answer: boolean) => void"
    assert line(socketio, "some") == (
        f"(...given: [first: string, {callback}] | [first: string, second: number, {callback}]) => void;"
    )
    assert line(socketio, "many") == "(...given: [...values: number[]]) => void;"
    callback = "callback: (answer: string | EventFault) => void"
    assert line(socketio, "rest") == (
        f"(...given: [said: Said, {callback}] | "
        f"[said: Said, count: number, ...values: string[], {callback}]) => void;"
    )
    assert line(socketio, "word") == "(new_: string) => void;"
    assert line(socketio, "pair") == (
        "(callback: (...answer: [answer1: number, answer2: string]) => void) => void;"
    )
    assert line(socketio, "both") == (
        "(said: Said, callback: (...answer: [answer1: number, answer2: string] | [fault: EventFault])"
        " => void) => void;"
    )


def test_interfaces_of_namespaces(socketio: SocketIO) -> None:
    socketio.on("a b")(lambda: None)
    socketio.emits("told", namespace="/quiz/teachers")
    assert written(socketio) == (
        "export interface QuizTeachersClientToServerEvents {\n}\n\n"
        "export interface QuizTeachersServerToClientEvents {\n  told: () => void;\n}\n\n"
        'export interface ClientToServerEvents {\n  "a b": () => void;\n}\n\n'
        "export interface ServerToClientEvents {\n}\n"
    )


def test_names_that_mean_something_else_in_typescript(socketio: SocketIO) -> None:
    for name in ("string", "interface", "interface_", "ArrayBuffer", "ClientToServerEvents"):
        kind = msgspec.defstruct(name, [("a", int)], module="")
        socketio.emits(f"the {name}", kind)
    told = written(socketio)
    for name in ("string", "interface", "interface_", "ArrayBuffer", "ClientToServerEvents"):
        assert f"export interface {name}_ {{ a: number; }}" in told
        assert f'"the {name}": (value: {name}_) => void;' in told

    def taken(null: str, default: str, arguments: str, callback: int) -> int: ...  # type: ignore[empty-body]
    def behind(*callback: str) -> int: ...  # type: ignore[empty-body]

    socketio.on("taken")(taken)
    assert line(socketio, "taken") == (
        "(null_: string, default_: string, arguments_: string, callback_: number, "
        "callback: (answer: number) => void) => void;"
    )
    socketio.on("behind")(behind)
    assert line(socketio, "behind") == (
        "(...given: [...callback_: string[], callback: (answer: number) => void]) => void;"
    )


def test_each_namespace_has_interfaces_of_its_own(socketio: SocketIO) -> None:
    for place, namespace in enumerate(("/é", "/a-b", "/", "/a_b", "/2", "/ü")):
        socketio.on(f"event{place}", namespace=namespace)(lambda: None)
    prefixes = ("Namespace", "AB", "", "AB_2", "Namespace2", "Namespace_2")
    assert [
        f"{prefix}ClientToServerEvents {{\n  event{place}: () => void;\n}}\n" in written(socketio)
        for place, prefix in enumerate(prefixes)
    ] == [True] * len(prefixes), written(socketio)
