"""Checked events end to end: the page's program, its document and types, the official client that uses them.

It must not hold code that the page has.
"""

import json
import queue
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]

from ordered_clients import PatientClient, SimpleClient
from page_blocks import blocks_of

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "examples" / "team_chat"
PAGE = "docs/how-to/checked-events.md"
WAIT_SECONDS = 60
# Each kind of type and of argument that the files may have.
KINDS = """
import datetime, decimal, enum, typing, uuid
from dataclasses import dataclass
from flask import Flask
from msgspec import Meta, Struct
from python_server import Namespace, SocketIO

app = Flask(__name__)
socketio = SocketIO(app)

class Colour(enum.Enum):
    RED = "red"

class Yes(Struct, tag="yes"):
    why: str

class No(Struct, tag="no"):
    pass

class Row(Struct, array_like=True):
    a: int
    b: str = ""

@dataclass
class Tree:
    \"\"\"Has branches. */\"\"\"
    branches: "list[Tree]"
    parent: "Tree | None" = None

class Options(typing.TypedDict, total=False):
    loud: bool

T = typing.TypeVar("T")

class Box(Struct, typing.Generic[T], rename={"inside": "what is inside"}):
    inside: T

class Everything(Struct, forbid_unknown_fields=True):
    a: bytes
    b: dict[int, Tree]
    c: typing.Annotated[float, Meta(gt=0, le=5, description="a number")]
    d: typing.Literal["x", 1, None]
    e: tuple[int, str]
    f: set[Colour]
    g: Yes | No
    h: datetime.datetime
    i: uuid.UUID
    j: decimal.Decimal
    k: typing.Annotated[str, Meta(pattern="^a", max_length=5)]
    l: Row
    m: Box[int]
    n: typing.Any
    o: Options
    p: list[int | None] = []

class string(Struct):
    default: str

class Shop(Namespace):
    def on_words(self, default: string, callback: int, null: str) -> int: ...
    def on_buy(self, new: Everything, *more: Everything) -> tuple[int, str]: ...
    def on_some(self, tree: Tree, count: int = 1) -> bool: ...

socketio.on_namespace(Shop("/shop"))
socketio.on("a b")(lambda *values: None)
socketio.emits("everything", Everything, str)
socketio.emits("sure?", answer=Everything)
socketio.emits("asked", str, answer=bool, namespace="/shop")
socketio.emits("nothing", namespace="/shop")
"""
THEIRS = """
from typing import TypedDict
from flask import Flask
from flask_socketio import SocketIO

app = Flask(__name__)
socketio = SocketIO(app)

class Words(TypedDict):
    text: str

@socketio.on("say")
def say(words: Words):
    return words
"""
USER = """
import { io, type Socket } from "socket.io-client";
import type { ServerToClientEvents, ClientToServerEvents } from "./events.js";
import type { ShopServerToClientEvents, ShopClientToServerEvents } from "./events.js";
import type { Everything, EventFault, Tree } from "./events.js";

const root: Socket<ServerToClientEvents, ClientToServerEvents> = io();
const shop: Socket<ShopServerToClientEvents, ShopClientToServerEvents> = io("/shop");
const tree: Tree = { branches: [{ branches: [], parent: null }] };

root.emit("a b", 1, "x");
root.on("everything", (everything: Everything, word: string) => {
  const size: number = everything.a.byteLength + everything.e[0] + (everything.p?.length ?? 0);
  const kind: "yes" | "no" = everything.g.type;
  shop.emit("buy", everything, everything, (first: number | EventFault, second?: string) => {
    console.log(size, kind, first, second);
  });
});
shop.emit("some", tree, (answer) => console.log(answer === true || (answer !== false && answer.path)));
shop.emit("some", tree, 5, () => {});
const answer: boolean | EventFault = await shop.emitWithAck("some", tree, 5);
shop.on("asked", (question, callback) => callback(question === "" && answer === true));
shop.on("nothing", () => {});
shop.emit("words", { default: "it" }, 1, "x", (size) => console.log(size));
"""
WRONG = [
    'root.emit("nosuch");',
    'shop.emit("some", tree, "x", () => {});',
    'shop.emit("some", { branches: [{}] }, () => {});',
    'shop.emit("some", tree);',
    'root.on("everything", (everything) => everything.nosuch);',
    'shop.on("asked", (question, callback) => callback(question));',
    'root.on("everything", (e) => { const f: "blue" = e.f[0]; });',
]


@pytest.fixture
def tsc(node: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """tsc("client.ts"): compiles it beside the packages of this folder; it becomes client.js."""
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')

    def run(file: str) -> subprocess.CompletedProcess[str]:
        compiler = [node, str(HERE / "node_modules/typescript/bin/tsc"), "--strict", "--target", "es2022"]
        command = [*compiler, "--module", "esnext", "--moduleResolution", "bundler", file]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def schema(folder: Path, *words: str) -> None:
    command = [str(Path(sys.executable).parent / "wsframe"), "schema", *words]
    subprocess.run(command, cwd=folder, check=True)


def written(folder: Path) -> None:
    """The page's programs, by the name in the first line of each."""
    for language in ("python", "ts"):
        for block in blocks_of(PAGE, language):
            name = block.partition("\n")[0].split()[1]
            (folder / name).write_text(block)


def test_the_page_with_the_official_client(
    serve: Any, node: str, tmp_path: Path, tsc: Callable[..., Any], drive: Callable[..., None]
) -> None:
    written(tmp_path)
    schema(tmp_path, "talk:app", "--typescript", "-o", "events.ts")
    schema(tmp_path, "talk:app", "-o", "events.json")
    drive("asyncapi.mjs", str(tmp_path / "events.json"))
    server = serve(tmp_path, "talk:app")
    client = tmp_path / "client.ts"
    client.write_text(client.read_text().replace("http://127.0.0.1:8000", server.url))
    done = tsc("client.ts")
    assert (done.returncode, done.stdout) == (0, "")
    done = subprocess.run(
        [node, "client.js"], cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
    )
    assert done.stdout == "Ada: WHO WANTS SOME TEA?\nmessage 1\n"


def test_what_the_page_says_of_refused_credentials(serve: Any, tmp_path: Path) -> None:
    written(tmp_path)
    server = serve(tmp_path, "talk:app")
    refused, told = PatientClient(), queue.Queue[Any]()
    refused.on("connect_error", told.put)
    with pytest.raises(socketio.exceptions.ConnectionError):
        refused.connect(server.url, auth={"name": ""}, transports=["websocket"])
    error = {"error": "Expected `str` of length >= 1", "path": "$.name"}
    message = "Invalid data at $.name: Expected `str` of length >= 1"
    assert told.get(timeout=WAIT_SECONDS) == {"message": message, "data": error}


def test_what_the_page_says_of_refused_events(serve: Any, tmp_path: Path) -> None:
    written(tmp_path)
    server = serve(tmp_path, "talk:app")
    client = SimpleClient()
    client.connect(server.url, auth={"name": "Ada"}, transports=["websocket"])
    (fault,) = blocks_of(PAGE, "json")
    assert client.call("say", {"text": 5, "secret": "a password"}) == json.loads(fault)
    assert client.call("say", {"text": "a", "more": 5}) == {"number": 1}
    client.disconnect()
    server.find(re.compile(r"event 'say' of \S+ in '/' was refused: at \$\[0\].text it is not what"))
    assert "password" not in server.log


def test_own_words(serve: Any, tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "both.py").write_text("import own_words\nfrom talk import app\n")
    server = serve(tmp_path, "both:app")
    client = SimpleClient()
    client.connect(server.url, auth={"name": "Ada"}, transports=["websocket"])
    assert client.call("say", {"text": 5}) == {"status": 400, "reason": "$[0].text"}
    assert client.call("say", {"text": "a"}) == {"number": 1}
    client.disconnect()


def test_the_example(tmp_path: Path, tsc: Callable[..., Any], drive: Callable[..., None]) -> None:
    schema(EXAMPLE, "app:app", "-o", str(tmp_path / "events.json"))
    drive("asyncapi.mjs", str(tmp_path / "events.json"))
    schema(EXAMPLE, "app:app", "--typescript", "-o", str(tmp_path / "events.ts"))
    assert 'room: "Garden" | "Kitchen"' in (tmp_path / "events.ts").read_text()
    done = tsc("events.ts")
    assert (done.returncode, done.stdout) == (0, "")
    assert (EXAMPLE / "app.py").read_text().count("\n") < 150


def test_with_drop_in_nothing_is_checked(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(THEIRS)
    client = SimpleClient()
    client.connect(serve(tmp_path, "theirs:app", "--drop-in").url, transports=["websocket"])
    assert client.call("say", {"text": 5, "more": 6}) == {"text": 5, "more": 6}
    client.disconnect()


def test_every_kind_of_type(tmp_path: Path, tsc: Callable[..., Any], drive: Callable[..., None]) -> None:
    (tmp_path / "kinds.py").write_text(KINDS)
    schema(tmp_path, "kinds:app", "-o", "events.json")
    drive("asyncapi.mjs", str(tmp_path / "events.json"))
    schema(tmp_path, "kinds:app", "--typescript", "-o", "events.ts")
    (tmp_path / "user.ts").write_text(USER + "\n".join(f"// @ts-expect-error\n{line}" for line in WRONG))
    done = tsc("user.ts")
    assert (done.returncode, done.stdout) == (0, "")
