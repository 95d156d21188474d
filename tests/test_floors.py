"""The architecture, held by a test: who may import whom, and what stays in one room.

It must not know what the code does: it reads imports, first lines and lengths.
"""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "python_server"
CODEC = ROOT / "src" / "wsframe"

# Import only from a lower number. A folder is one floor; its inner order stands in INNER.
FLOORS = {
    "http1": 1,
    "net": 1,
    "observe": 1,
    "settings": 1,
    "connection": 2,
    "engineio": 3,
    "websocket": 3,
    "workers": 3,
    "wsgi": 3,
    "socketio": 4,
    "control": 5,
    "serve": 6,
    "api": 7,
    "command": 8,
    "__main__": 9,
}
# Rooms of the same floor that lean on each other: only the later ones import the earlier.
INNER = {
    "http1": [
        "head",
        "parser",
        "packed_head",
        "response",
        "body_time",
    ],
    "net": [
        "timers",
        "threads",
        "backlog",
        "backpressure",
        "pool",
        "line_writer",
        "byte_queue",
        "message_queue",
        "tasks",
        "loop",
        "sendfile",
        "memory",
        "descriptors",
        "low_water",
        "lingering",
        "pauses",
        "byte_handler",
        "transport",
        "sockets",
        "certificates",
        "tls",
        "systemd",
        "listener",
        "relay",
        "link",
        "scoreboard",
        "monkey_patch",
    ],
    "observe": [
        "log",
    ],
    "connection": [
        "exchange",
        "http_channel",
        "websocket_channel",
        "allowed_hosts",
        "memory_cap",
        "proxy_headers",
        "address_caps",
        "acceptor",
        "websocket_handshake",
    ],
    "engineio": [
        "packet",
        "cors",
        "options",
        "query",
        "polling",
        "answers",
        "session_ids",
        "session_limits",
        "session",
        "intake",
        "posts",
        "heartbeat",
        "upgrade",
        "server",
    ],
    "websocket": [
        "application",
    ],
    "workers": [
        "respawn",
        "spawn",
        "greetings",
        "peers",
        "handover",
        "process",
        "member",
        "supervisor",
    ],
    "wsgi": [
        "environ",
        "foreign_server",
        "handshake_middleware",
        "upload_slots",
        "handler",
        "websocket",
    ],
    "socketio": [
        "values",
        "jsoncodec",
        "packet",
        "msgpack_packet",
        "cluster.port",
        "adapter",
        "cluster.requests",
        "cluster.broker.leader",
        "cluster.broker.wire_json",
        "cluster.broker.resp",
        "cluster.broker.url",
        "cluster.broker.connections",
        "cluster.broker.requests",
        "cluster.broker.backplane",
        "cluster.pipe_messages",
        "cluster.pipe_backplane",
        "cluster.factory",
        "recovery.event_log",
        "recovery.record",
        "recovery.log",
        "client",
        "handlers",
        "broadcast",
        "acks",
        "cluster.receiver",
        "services",
        "recovery.restore",
        "rooms",
        "broadcaster",
        "handler_runner",
        "connections",
        "dispatcher",
        "server",
    ],
    "control": [
        "commands",
        "server",
    ],
    "serve": [
        "mounts",
        "recovery_handover",
        "routing",
        "loading",
        "pools",
        "worker",
        "serve",
        "reloader",
    ],
    "api": [
        "python_engineio",
        "hub_words",
        "python_socketio",
        "flask_socketio.keywords",
        "flask_socketio.options",
        "flask_socketio.context",
        "flask_socketio.handlers",
        "flask_socketio.namespace",
        "flask_socketio.registration",
        "flask_socketio.server",
        "flask_socketio.run",
        "flask_socketio.test_client",
        "emitter",
        "flask_socketio.api",
        "flask_socketio.functions",
        "wsgi_server",
    ],
    "command": [
        "option",
        "options",
        "parameters",
        "welcome",
        "emit",
        "cli",
    ],
}
SANS_IO = [
    "http1.parser",
    "http1.head",
    "http1.response",
    "http1.body_time",
    "connection.proxy_headers",
    "connection.address_caps",
    "connection.memory_cap",
    "connection.allowed_hosts",
    "engineio.packet",
    "engineio.session",
    "engineio.heartbeat",
    "engineio.session_ids",
    "engineio.query",
    "engineio.intake",
    "engineio.session_limits",
    "http1.packed_head",
]
SANS_IO += [
    "workers.greetings",
    "socketio.values",
    "socketio.adapter",
    "socketio.recovery.event_log",
    "socketio.broadcast",
    "socketio.acks",
    "socketio.recovery.log",
    "socketio.recovery.record",
    "socketio.packet",
    "socketio.jsoncodec",
    "socketio.handlers",
    "socketio.cluster.port",
    "socketio.cluster.requests",
    "socketio.cluster.pipe_messages",
    "socketio.cluster.broker.wire_json",
    "socketio.cluster.broker.resp",
    "socketio.cluster.broker.requests",
    "socketio.cluster.broker.leader",
    "control.commands",
]
IO_MODULES = {"socket", "selectors", "select", "threading", "time", "logging", "asyncio", "queue"}
# (module, the only rooms that may import it)
CONFINED = {
    "threading": {"net.threads"},
    "_thread": {"net.threads"},
    "concurrent": set(),
    "queue": {"net.threads"},
    "selectors": {"net.loop"},
    "select": {"net.loop"},
    "socket": {
        "net.low_water",
        "net.lingering",
        "net.transport",
        "net.listener",
        "net.sockets",
        "net.systemd",
        "net.relay",
        "net.link",
    },
    "ssl": {"net.certificates", "net.tls"},
    "redis": {"socketio.cluster.broker.url"},
    "valkey": {"socketio.cluster.broker.url"},
    "hiredis": {"socketio.cluster.broker.resp"},
    "flask": {
        "api.flask_socketio.api",
        "api.flask_socketio.context",
        "api.flask_socketio.functions",
        "api.flask_socketio.registration",
        "api.flask_socketio.run",
        "api.flask_socketio.test_client",
    },
    "werkzeug": {"api.flask_socketio.api", "api.flask_socketio.test_client", "serve.loading"},
    "httptools": {"http1.parser", "http1.head"},
    "logging": {"observe.log"},
}
LINES_MAX_COUNT = 450


def server_modules() -> dict[str, Path]:
    """Dotted name below python_server -> file; the package files themselves have no floor."""
    return {
        ".".join(path.relative_to(SERVER).with_suffix("").parts): path
        for path in sorted(SERVER.rglob("*.py"))
        if path.name != "__init__.py"
    }


MODULES = server_modules()
SOURCES = [*sorted(SERVER.rglob("*.py")), *sorted(CODEC.glob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, except for type checkers alone."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                assert path.is_relative_to(CODEC), f"{path}: imports are absolute"
                yield "wsframe"
                continue
            assert node.module
            yield node.module
            if node.module == "python_server":
                yield from (f"python_server.{alias.name}" for alias in node.names)


def inner_imports(name: str) -> list[str]:
    return [
        module.removeprefix("python_server.")
        for module in imports(MODULES[name])
        if module.startswith("python_server.") and module.removeprefix("python_server.") in MODULES
    ]


def floor(name: str) -> int:
    return FLOORS[name.partition(".")[0]]


def inner_order(name: str, other: str) -> tuple[int, int] | None:
    """The places of two modules in the same inner order, or None."""
    for folder, order in INNER.items():
        short = [module.removeprefix(f"{folder}.") for module in (name, other)]
        if short[0] in order and short[1] in order:
            same_folder = name.startswith(f"{folder}.") == other.startswith(f"{folder}.")
            if same_folder:
                return order.index(short[0]), order.index(short[1])
    return None


def test_every_room_of_the_tables_exists() -> None:
    """A rule about a room that was renamed would hold for nothing."""
    tops = {name.partition(".")[0] for name in MODULES}
    assert set(FLOORS) == tops
    rooms = {room for rooms in CONFINED.values() for room in rooms} | set(SANS_IO) | set(PORTS.values())
    for folder, order in INNER.items():
        rooms |= {f"{folder}.{room}" if folder in tops else room for room in order}
    assert rooms <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_only_from_lower_floors(name: str) -> None:
    for other in inner_imports(name):
        places = inner_order(name, other)
        if places is not None:
            assert places[1] < places[0], f"{name} imports {other}, which stands above it"
        else:
            assert floor(other) < floor(name), (
                f"{name} (floor {floor(name)}) imports {other} (floor {floor(other)})"
            )


@pytest.mark.parametrize("name", MODULES)
def test_confined_modules_stay_in_their_rooms(name: str) -> None:
    for module in imports(MODULES[name]):
        allowed = CONFINED.get(module.partition(".")[0])
        assert allowed is None or name in allowed, f"{name} imports {module}"


@pytest.mark.parametrize("name", SANS_IO)
def test_sans_io_rooms_import_no_io(name: str) -> None:
    assert not IO_MODULES & {module.partition(".")[0] for module in imports(MODULES[name])}


@pytest.mark.parametrize("path", sorted(CODEC.glob("*.py")), ids=lambda path: path.name)
def test_the_codec_needs_the_standard_library_alone(path: Path) -> None:
    optional = {"zlib_ng"}  # used instead of zlib when it is installed
    for module in imports(path):
        top = module.partition(".")[0]
        assert top in sys.stdlib_module_names or top == "wsframe" or top in optional, f"{path.name}: {module}"
        assert top not in IO_MODULES, f"{path.name}: {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_says_what_it_is_and_what_it_must_not_know(path: Path) -> None:
    text = path.read_text("utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    first, _, rest = docstring.partition("\n")
    assert first, f"{path}: the first line says what the file is"
    assert "ust not" in rest, f"{path}: the second says what it must not know"
    assert text.count("\n") <= LINES_MAX_COUNT, f"{path}: {text.count(chr(10))} lines"


# Ports: defined by the room that calls them, at most four methods.
PORTS = {
    "RequestHandler": "connection.exchange",
    "TransportLike": "connection.exchange",
    "ByteHandler": "net.byte_handler",
    "SessionHandler": "engineio.session",
    "Executor": "net.threads",
    # Beside the words that travel, which many rooms read.
    "Backplane": "socketio.cluster.port",
    "Receiver": "socketio.cluster.port",
}


@pytest.mark.parametrize(("port", "home"), PORTS.items())
def test_ports_are_small_protocols(port: str, home: str) -> None:
    tree = ast.parse(MODULES[home].read_text("utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == port]
    assert classes, f"{home} defines {port}"
    assert [ast.unparse(base) for base in classes[0].bases] == ["Protocol"]
    functions = [node for node in classes[0].body if isinstance(node, ast.FunctionDef)]
    methods = [node for node in functions if not node.decorator_list]
    assert 1 <= len(methods) <= 4


# What a thread may stand still in.
WAITS = {"acquire", "result", "sleep", "wait", "wait_for"}
# Words of this package that are built of `blocking`.
BUILT_OF_BLOCKING = {"tasks.sleep", "waiter.wait"}
# (module, function) of those that no pool's worker comes to.
OWN_WAITS = {
    ("net.pool", "__init__"),  # locks that are taken before anybody knows them
    ("net.pool", "_run_jobs"),  # a worker without a job
    ("net.pool", "_give_way"),  # the loop's
    ("net.pool", "close"),
    ("net.line_writer", "_begin"),
    ("net.line_writer", "_run"),  # a thread of its own
    ("net.line_writer", "flush"),  # at the process's end
    ("net.tasks", "close"),
    ("net.tasks", "_result_of"),  # of a task that is done
    ("observe.log", "_write_all"),  # by the log's own thread
    ("serve.reloader", "_watch_parent"),  # processes without a pool
    ("serve.reloader", "_stop"),
    ("serve.reloader", "_ended"),
    ("serve.reloader", "_polled"),
    ("workers.process", "wait"),
    ("workers.supervisor", "close"),
    ("socketio.cluster.broker.connections", "_keep"),  # threads of their own
    ("socketio.cluster.broker.connections", "_take"),
    ("socketio.cluster.broker.connections", "flush"),
    ("socketio.cluster.broker.connections", "join"),
}


def waits(name: str) -> Iterator[tuple[str, str]]:
    """(function, call) for each wait that stands in no `with blocking(...)`."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        elif isinstance(node, ast.With):
            if any(ast.unparse(item.context_expr).startswith("blocking(") for item in node.items):
                return
        elif isinstance(node, ast.Await):
            return
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            held, _, word = ast.unparse(node.func).rpartition(".")
            if (word in WAITS or (word == "join" and held.endswith("._thread"))) and (
                f"{held}.{word}" not in BUILT_OF_BLOCKING
            ):
                yield function, ast.unparse(node)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, function)

    yield from walk(ast.parse(MODULES[name].read_text("utf-8")), "")


def test_each_wait_of_a_worker_tells_the_loop() -> None:
    """The loop gives way to workers: one that waits for the loop, and does not say so, stops both."""
    found = {(name, function): call for name in MODULES for function, call in waits(name)}
    assert {place: call for place, call in found.items() if place not in OWN_WAITS} == {}
    assert found.keys() == OWN_WAITS


# `Any` says nothing to a reader: `object` is for what is passed on, and a value of JSON, an option as it was
# given, a client's own dictionary have names. It may become less.
ANY_MAX_COUNT = 210


def test_any_stands_where_nothing_better_can_be_said() -> None:
    found: Counter[str] = Counter()
    for path in [*SOURCES, *CODEC.glob("*.pyi")]:
        tree = ast.parse(path.read_text("utf-8"))
        found[str(path.relative_to(ROOT))] = sum(
            isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(tree)
        )
    assert found.total() <= ANY_MAX_COUNT, found.most_common(10)


def test_no_name_of_the_standard_library_is_taken() -> None:
    names = {part for name in MODULES for part in name.split(".")} - {"__main__"}
    assert not names & sys.stdlib_module_names


def test_importing_the_server_needs_neither_flask_nor_redis() -> None:
    optional = {"flask", "redis", "hiredis", "click"}
    code = f"import sys, python_server, wsframe; print(*{optional} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == ""
