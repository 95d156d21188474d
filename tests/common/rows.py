"""The 80 rows: what the systems around a Flask-SocketIO application do, and the tests named after each.

It must not know how a row is tested: a test names its rows, as `R30` in its docstring or as `_r30` in its
name (of a parameter: `-R30` at the end of its id). `make rows` runs those tests and writes docs/rows.md.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "rows.md"

# System | first row | what each row from there on names.
SYSTEMS = """
python-engineio | 1 | polling first, then the upgrade; what happens when it fails
gevent pywsgi | 2 | `_handle_and_close_when_done`: a connection is closed once on every way out
gevent pywsgi | 3 | `WSGIServer.handle`: one handler per connection
gevent pywsgi | 4 | `WSGIHandler.handle`: keep-alive, then a close that loses no answer
gevent pywsgi | 5 | `handle_one_request`: request line, its limits and refusals
gevent pywsgi | 6 | `handle_one_response`: the rest of a body, errors early and late
gevent-websocket | 7 | `run_application`: upgrade or plain WSGI, decided before the application runs
gevent-websocket | 8 | `upgrade_websocket`: what makes a request an opening handshake
gevent-websocket | 9 | `upgrade_connection`: version, key, subprotocol
gevent-websocket | 10 | `wsgi.websocket` in the environ
gevent-websocket | 11 | `start_response` of an upgraded request: the handshake's own fields alone
gevent pywsgi | 12 | `start_response`: what it refuses
gevent pywsgi | 13 | `write`, `_sendall`: head and first bytes in one send
gevent pywsgi | 14 | `finalize_headers`: Date, Content-Length, chunked or close; HEAD
gevent-websocket | 15 | `run_websocket`: the registry of clients
Flask | 16 | `Flask.__call__`: any WSGI callable is served as it is
Flask-SocketIO | 17 | `_SocketIOMiddleware`: a path for events, all else to the application
python-engineio | 18 | `Server.handle_request`: order of checks, statuses, bodies
python-engineio | 19 | `Socket.handle_get_request`: a poll that waits holds no thread
python-engineio | 20 | `_upgrade_websocket`: a second upgrade
python-engineio | 21 | the gevent driver's WebSocket class
python-engineio | 22 | `_websocket_handler`: probe, noop, upgrade
python-engineio | 23 | `websocket_wait`: the limit of a message, kept while reading
gevent-websocket | 24 | `WebSocket.receive`: text, bytes or the end; the right close code
gevent-websocket | 25 | `read_message`: fragments, control frames between them, order
gevent-websocket | 26 | `read_frame`: reserved bits, short payloads, masks
gevent-websocket | 27 | `Header.decode_header`: every rule of a frame's header
python-engineio | 28 | `Packet`: text, binary, an empty one
python-engineio | 29 | `Socket.receive`: pong, message, upgrade, close
python-socketio | 30 | events, handlers, acks; concurrency without a thread for each event
Flask-SocketIO | 31 | `SocketIO(app=None, **options)`
Flask-SocketIO | 32 | `init_app`
python-socketio | 33 | `socketio.Server(...)`: options and defaults
python-engineio | 34 | `engineio.Server(...)`: options and defaults
python-engineio | 35 | the async mode that is found
python-socketio | 36 | rooms, broadcast, skip, close_room
Flask-SocketIO | 37 | `socketio.run(...)`
Flask-SocketIO | 38 | `run` under gevent: WebSocket with nothing else to install
gevent pywsgi | 39 | `WSGIServer(listener, application, ...)`: forms of a listener
gevent-websocket | 40 | the handshake's answer in one piece
gevent pywsgi | 41 | `_write` of chunks; an empty one does not end the body
gevent-websocket | 42 | what a user sends arrives
gevent-websocket | 43 | `send(message, binary, do_compress)`: the opcode follows the type
gevent-websocket | 44 | `send_frame`: text, bytes, empty messages
gevent-websocket | 45 | `Header.encode_header`: 2, 4 or 10 bytes
gevent-websocket | 46 | `handle_close`: codes and reasons that are allowed
gevent-websocket | 47 | `close(code, reason)`: both are sent, then answered, then TCP ends
gevent-websocket | 48 | the close frame is a control frame, sent once
gevent-websocket | 49 | ping and pong
python-engineio | 50 | `cors_allowed_origins`
Flask-SocketIO | 51 | the default async mode
Flask-SocketIO | 52 | `flask.app` and an environ that can be kept
Flask-SocketIO | 53 | `on`, `event`, `on_event`, `on_error`, `on_namespace`, catch-alls
eventlet.wsgi | 54 | `eventlet.wsgi.server(sock, app)`: host names, TLS
Werkzeug | 55 | `run_with_reloader`
Flask-SocketIO | 56 | `_handle_event`: the request context of an event
Flask-SocketIO | 57 | host and port by default
gevent pywsgi | 58 | `serve_forever`, `stop`
gevent pywsgi | 59 | `start`
gevent pywsgi | 60 | `init_socket`: the real address
gevent pywsgi | 61 | `get_listener`
gevent pywsgi | 62 | `_tcp_listener`: options of listening sockets
gevent pywsgi | 63 | `update_environ`: SERVER_NAME, SERVER_PORT
gevent | 64 | `getfqdn`: start waits for no resolver
gevent | 65 | `gethostbyaddr`
gevent | 66 | `threadpool`: a thread wakes the loop
gevent | 67 | `start_accepting`, `do_read`: batches, exhaustion, limits
gevent | 68 | `Hub.run`
gevent | 69 | `loop.run`: timers, callbacks, poll in a fair order
gevent | 70 | `handle_error`: a callback that fails stops nothing
eventlet.wsgi | 71 | `server(...)`: options and limits of one server
eventlet.wsgi | 72 | `HttpProtocol`: a connection's set-up
eventlet.wsgi | 73 | `handle`: idle connections end first
eventlet.wsgi | 74 | `handle_one_request`: 400, 414, 431
eventlet.wsgi | 75 | `FileObjectForHeaders`: bytes of a line and of all
socket | 76 | `makefile`: bytes behind the head reach the WebSocket
socket | 77 | the socket that applications are given
socket | 78 | `SocketIO`: closed once
socket | 79 | `readinto`: one buffer that is used again
PEP 3333 | 80 | all of it, as wsgiref.validate sees it
"""
ROWS: dict[int, tuple[str, str]] = {
    int(number): (system, named)
    for system, number, named in (line.split(" | ", 2) for line in SYSTEMS.strip().splitlines())
}

PAGE_BEGINS = """# The 80 requirements

Each row is a behaviour of the systems around a Flask-SocketIO application, from the listening socket to
the event handler, with the tests for it here. `make rows` runs these tests and writes this page; do not
edit it.

| row | system | what it names | tests | result |
|---|---|---|---|---|
"""

IN_A_NAME = re.compile(r"_r(\d{1,2})(?=_|$)")
IN_A_DOCSTRING = re.compile(r"\bR(\d{1,2})\b")
IN_AN_ID = re.compile(r"-R(\d{1,2})\]$")


def rows_of(item: pytest.Item) -> list[int]:
    """The rows that a collected test names."""
    name, _, _ = item.name.partition("[")
    docstring = getattr(getattr(item, "function", None), "__doc__", None) or ""
    numbers = IN_A_NAME.findall(name) + IN_A_DOCSTRING.findall(docstring) + IN_AN_ID.findall(item.name)
    return sorted({int(number) for number in numbers if int(number) in ROWS})


class RowsPage:
    """A pytest plugin: runs the tests that name rows, and writes the page from what became of them."""

    def __init__(self) -> None:
        # row -> "file::function" -> outcome -> how many of its cases
        self.outcomes: dict[int, dict[str, dict[str, int]]] = defaultdict(dict)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        named = []
        for item in items:
            if rows := rows_of(item):
                item.user_properties.append(("rows", rows))
                named.append(item)
        config.hook.pytest_deselected(items=[item for item in items if item not in set(named)])
        items[:] = named

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        properties: dict[str, Any] = dict(report.user_properties)
        for row in properties.get("rows", []):
            counts = self.outcomes[row].setdefault(report.nodeid.partition("[")[0], defaultdict(int))
            counts[report.outcome] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):  # one of several processes writes
            PAGE.write_text("".join(self.lines()), "utf-8")

    def lines(self) -> Iterator[str]:
        yield PAGE_BEGINS
        for row, (system, named) in ROWS.items():
            tests = sorted(self.outcomes[row].items())
            names = "<br>".join(
                f"[{name.rpartition('::')[2]}](../{name.partition('::')[0]})" for name, _ in tests
            )
            total: dict[str, int] = defaultdict(int)
            for _, counts in tests:
                for outcome, count in counts.items():
                    total[outcome] += count
            result = ", ".join(f"{count} {outcome}" for outcome, count in sorted(total.items()))
            yield f"| R{row} | {system} | {named} | {names} | {result or 'no test'} |\n"
