"""The faces under a type checker: what an editor knows of a program, and which mistakes it finds.

It must not repeat what mypy finds in the package itself: it looks at programs that use it.
"""

import importlib.util
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")

PROGRAM = """
from flask import Flask
from python_server import Namespace, Server, SocketIO, emit, join_room, room_members, rooms, send

app = Flask(__name__)
socketio = SocketIO(app, ping_interval=(20, 5), cors_allowed_origins=["https://a.example"], json=None)

@socketio.on("sum", namespace="/math", rate_limit="20/s")
def total(first: int, second: int = 1) -> int:
    emit("told", first, to="room", include_self=False, skip_sid=["a", "b"], callback=print)
    send({"a": 1}, json=True, broadcast=True)
    return first + second

@socketio.event
def named(value: str) -> str:
    return value

@socketio.event(namespace="/math", ordered=False)
async def waiting() -> bytes:
    return b""

@socketio.on_error("/math")
def failed(error: Exception) -> dict[str, str]:
    return {"error": str(error)}

@socketio.on_room_join()
def came(sid: str, room: object) -> None: ...

class Shop(Namespace):
    def on_buy(self, what: str) -> None:
        self.emit("sold", what, room="till", include_self=False, volatile=True)
        with self.session("sid") as session:
            reveal_type(session)
        reveal_type(self.rooms("sid"))
        reveal_type(self.server.get_environ("sid"))
        reveal_type(self.call("sure?", to="sid", timeout=5))

socketio.on_namespace(Shop("/shop"))
reveal_type(total)
reveal_type(named)
reveal_type(waiting)
reveal_type(failed)
reveal_type(came)
reveal_type(socketio.room_members("red"))
reveal_type(socketio.start_background_task(print, 1).join())
reveal_type(socketio.test_client(app).get_received())
reveal_type(socketio.server.manager.get_participants("/", None))
reveal_type(rooms())
reveal_type(room_members())
reveal_type(join_room("red"))
reveal_type(socketio.emit("e", {"a": 1}, to="red"))

server = Server(cors_allowed_origins="*")

@server.on("buy")
def buy(sid: str, what: str) -> int:
    return 1

@server.event
def sell(sid: str) -> None: ...

reveal_type(buy)
reveal_type(sell)
reveal_type(server.on("back", buy))
reveal_type(server.transport("sid"))
reveal_type(server.call_room("who").missing_count)

if __name__ == "__main__":
    socketio.run(app, port=5000, debug=True, log_output=False)
"""
KNOWN = [
    "dict[str, Any]",
    "list[Any]",
    "dict[str, Any] | None",
    "Any",
    "def (first: int, second: int =) -> int",
    "def (value: str) -> str",
    "def () -> Coroutine[Any, Any, bytes]",
    "def (error: Exception) -> dict[str, str]",
    "def (sid: str, room: object)",
    "list[str]",
    "None",
    "list[dict[str, Any]]",
    "list[tuple[str, str]]",
    "list[Any]",
    "list[str]",
    "None",
    "None",
    "def (sid: str, what: str) -> int",
    "def (sid: str)",
    "def (sid: str, what: str) -> int",
    "str",
    "int",
]
MISTAKES = """
from flask import Flask
from python_server import Namespace, Server, SocketIO, emit

app = Flask(__name__)
SocketIO(app, ping_intervall=1)
SocketIO(app, max_http_buffer_size="1")
socketio = SocketIO(app)
socketio.on(1)
socketio.on("e", inlined=True)
socketio.on("e", rate_limit=5)
socketio.event(inlined=True)
socketio.emit("e", 1, romm="red")
emit("e", include_self="no")
socketio.run(app, port="5000")
socketio.run(app, debgu=True)
socketio.call("e", to=1)
Namespace("/a").emit("e", romm="red")
Server().enter_room(1, "red")
"""


def mypy(folder: Path, text: str) -> str:
    (folder / "program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "program.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_marker_is_installed() -> None:
    assert resources.files("python_server").joinpath("py.typed").is_file()


@pytest.mark.extended
@needs_mypy
def test_what_an_editor_knows(tmp_path: Path) -> None:
    said = mypy(tmp_path, PROGRAM)
    assert "Success: no issues found" in said, said
    revealed = re.findall(r'Revealed type is "(.*)"', said)
    short = [re.sub(r"\b(builtins|typing)\.", "", text) for text in revealed]
    assert short == KNOWN


@pytest.mark.extended
@needs_mypy
def test_which_mistakes_it_finds(tmp_path: Path) -> None:
    lines = MISTAKES.splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line and not line.startswith(("from", "app"))}
    wrong.remove(lines.index("socketio = SocketIO(app)") + 1)
    said = mypy(tmp_path, MISTAKES)
    found = {int(number) for number in re.findall(r"program\.py:(\d+): error", said)}
    assert found == wrong, said
