"""Programs for python-socketio and python-engineio: one transcript on stock and, import changed, on ours.

It must not know how either serves: the packages' own clients judge what they see.
"""

import queue
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]

from ordered_clients import OrderedEngine, PatientClient, PromptEngine

PROGRAMS = Path(__file__).parent / "peers"
PATIENCE_SECONDS = 60  # of a machine with far more to do than this
IMPORTS = {
    "import socketio\n": "from python_server.api import python_socketio as socketio\n",
    "from gevent.pywsgi import WSGIServer\n": "from python_server import WSGIServer\n",
    "import engineio\n": "from python_server.api import python_engineio as engineio\n",
}
# Without gevent, which stock would choose and Werkzeug does not serve.
IN_THREADS = (
    "import runpy, sys; sys.modules['gevent'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
)
Programs = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def programs(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """The addresses of a program on stock, under Werkzeug, and with its import changed on ours."""
    running: dict[str, list[str]] = {}
    folder = tmp_path_factory.mktemp("ours")
    for program in PROGRAMS.glob("*.*"):
        text = program.read_text("utf-8")
        for theirs, ours in IMPORTS.items():
            text = text.replace(theirs, ours)
        (folder / program.name).write_text(text, "utf-8")

    def start(name: str) -> list[str]:
        if name not in running:
            serves_itself = name == "gevent_site"
            start_words = [] if serves_itself else ["-c", IN_THREADS]
            stock = serve(PROGRAMS, *start_words, f"{name}.py", program=True)
            ours = serve(folder, f"{name}.py" if serves_itself else f"{name}:app", program=serves_itself)
            stock.intended_status = -signal.SIGTERM
            ours.intended_status = -signal.SIGTERM if serves_itself else 0  # nobody handles it
            running[name] = [stock.url, ours.url]
        return running[name]

    return start


class Engine(OrderedEngine, PromptEngine):
    """Stock's WebSockets end without a close frame."""


class Client(PatientClient):
    def _engineio_client_class(self) -> type[Engine]:
        return Engine


class Visitor:
    """A client of one namespace that writes down all that it hears."""

    def __init__(
        self, url: str, transport: str, namespace: str = "/", path: str = "socket.io", auth: Any = None
    ):
        self.namespace = namespace
        self.lines: list[str] = []
        self._heard: queue.Queue[Any] = queue.Queue()
        self.client = Client()
        for event in ("disconnect", "connect_error"):
            self.client.on(event, self._hear(event), namespace=namespace)
        self.client.on("*", lambda *told: self._heard.put(told), namespace=namespace)
        try:
            self.client.connect(
                url,
                transports=[transport],
                namespaces=[namespace],
                socketio_path=path,
                auth=auth,
            )
        except socketio.exceptions.ConnectionError:
            self.hear(1)

    def _hear(self, event: str) -> Callable[..., None]:
        return lambda *told: self._heard.put((event, *told))

    def say(self, event: str, data: Any = None, heard: int = 0) -> None:
        """The ack, then so many events."""
        answer = self.client.call(event, data, namespace=self.namespace, timeout=PATIENCE_SECONDS)
        self.lines.append(f"{event} {data}: {answer}")
        self.hear(heard)

    def hear(self, count: int) -> None:
        self.lines += sorted(str(self._heard.get(timeout=PATIENCE_SECONDS)) for _ in range(count))

    def leave(self) -> list[str]:
        self.client.disconnect()
        return self.lines


TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


def fetched(url: str) -> tuple[int, str | None, bytes]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None, error.read()


def same(urls: list[str], converse: Callable[[str], list[str]]) -> list[str]:
    theirs, ours = (converse(url) for url in urls)
    assert ours == theirs
    return ours


@TRANSPORTS
def test_the_flask_example(programs: Programs, transport: str) -> None:
    def converse(url: str) -> list[str]:
        visitor = Visitor(url, transport, auth={"name": "Ada"})
        visitor.hear(1)
        visitor.say("my_event", {"data": "one"}, 1)
        visitor.say("my_broadcast_event", {"data": "all"}, 1)
        visitor.say("join", {"room": "red"}, 1)
        visitor.say("my_room_event", {"room": "red", "data": "inside"}, 2)
        visitor.say("below", 1)
        visitor.say("whoami", 1)
        visitor.say("close", {"room": "red"}, 1)
        visitor.say("leave", {"room": "red"})
        other = Visitor(url, transport, auth={"name": "Bob"})
        other.hear(1)
        other.client.disconnect()
        visitor.hear(1)
        refused = Visitor(url, transport, auth={"name": "nobody"})
        visitor.lines += refused.lines
        visitor.client.emit("disconnect_request", 1)
        visitor.hear(1)
        refused.client.disconnect()
        return visitor.leave()

    said = same(programs("flask_site"), converse)
    assert "('left', True)" in said
    assert "('connect_error', {'message': 'go away', 'data': {'code': 1}})" in said


def test_a_background_task_of_the_flask_example(programs: Programs) -> None:
    def converse(url: str) -> list[str]:
        visitor = Visitor(url, "websocket")
        visitor.hear(1)
        visitor.lines.append(str(fetched(f"{url}/")))
        visitor.hear(2)
        return visitor.leave()

    assert "'count': 2" in same(programs("flask_site"), converse)[-1]


@TRANSPORTS
def test_class_namespaces(programs: Programs, transport: str) -> None:
    def converse(url: str) -> list[str]:
        shop = Visitor(url, transport, "/shop", "events")
        shop.say("buy", "tea", 2)
        shop.say("buy", "milk", 2)
        shop.say("rooms")
        shop.client.emit("go", namespace="/shop")
        shop.hear(1)
        routed = Visitor(url, transport, "/route", "/events/")
        routed.say("What ever", (1, "two"))
        anyone = Visitor(url, transport, "/open", "events")
        anyone.say("what", {"else": b"bytes"})
        assert "connect_error" in Visitor(url, transport, "/closed", "events").lines[0]
        return [*shop.leave(), *routed.leave(), *anyone.leave()]

    same(programs("static_site"), converse)


def test_files_beside_the_server(programs: Programs) -> None:
    paths = [
        "/",
        "/files/notes.txt",
        "/files/",
        "/more/",
        "/more/notes.txt",
        "/nothing",
        "/files/nothing",
    ]
    paths += ["/files/../test_echo.py", "/files/%2e%2e/test_echo.py", "/more/../../conftest.py"]
    theirs, ours = programs("static_site")
    for path in paths:
        expected = fetched(theirs + path)
        assert fetched(ours + path)[::2] == expected[::2], path
    for path, content_type in (("/", "text/html"), ("/files/notes.txt", "text/plain")):
        assert fetched(ours + path)[1] == fetched(theirs + path)[1] == content_type
    assert fetched(f"{ours}/files/notes.txt")[2] == (PROGRAMS / "notes.txt").read_bytes()


@TRANSPORTS
def test_an_application_that_calls_the_server(programs: Programs, transport: str) -> None:
    def converse(url: str) -> list[str]:
        visitor = Visitor(url, transport)
        visitor.say("who")
        assert "connect_error" in Visitor(f"{url}/?forbidden=1", transport).lines[0]
        return [*visitor.leave(), str(fetched(f"{url}/")[::2])]

    assert "who None: somebody" in same(programs("called_site"), converse)


@TRANSPORTS
def test_a_django_project(programs: Programs, transport: str) -> None:
    def converse(url: str) -> list[str]:
        visitor = Visitor(url, transport)
        visitor.hear(1)
        visitor.say("ping_from_client", None, 1)
        visitor.lines.append(str(fetched(f"{url}/")))
        visitor.hear(1)
        return visitor.leave()

    same(programs("django_site"), converse)


def test_a_program_that_serves_itself_in_gevents_words(programs: Programs) -> None:
    def converse(url: str) -> list[str]:
        visitor = Visitor(url, "polling")
        visitor.hear(1)
        visitor.say("later", {"a": 1}, 1)
        return [*visitor.leave(), str(fetched(f"{url}/")[::2])]

    assert same(programs("gevent_site"), converse)[-1] == "(200, b'ours https')"


@TRANSPORTS
def test_the_engine_alone(programs: Programs, transport: str) -> None:
    def converse(url: str) -> list[str]:
        heard: queue.Queue[Any] = queue.Queue()
        client = Engine(request_timeout=PATIENCE_SECONDS)
        client.on("message", heard.put)
        client.connect(url, transports=[transport])
        lines = [str(heard.get(timeout=PATIENCE_SECONDS))]
        for said, count in (("text", 1), (b"bytes", 1), ({"a": [1]}, 1), ("12", 1), ("who", 2)):
            client.send(said)
            lines += [repr(heard.get(timeout=PATIENCE_SECONDS)) for _ in range(count)]
        client.disconnect()
        return [*lines, str(fetched(f"{url}/")[::2])]

    assert "{'a': [1]}" in same(programs("engine_site"), converse)
