"""The architecture, held by a test: who may import whom, and what stays in one room.

It must not know what the code does: it reads imports, first lines and lengths.
"""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from batches import in_batches
from mirror import TESTED_AS_A_PROCESS, measured_modules
from other_system import LINUX_ALONE, UNIX_ALONE, UNIX_MODULES, WINDOWS_SIGNALS
from python_server.command.options import DEFAULTS, OPTIONS, read_setting

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "python_server"
CODEC = ROOT / "src" / "wsframe"

# Floor, folder, and its rooms in their inner order. A room imports from folders of a lower floor, and in its
# own folder from the rooms before it.
HOUSE = """
0  settings
0  backplanes  amqp redis_cluster
1  http1       head parser packed_head response event_stream body_time
1  net         sendfile memory pauses byte_handler certificates monkey_patch states portability
               sockets systemd scoreboard poller descriptors system forks threads backpressure
               line_writer turn tasks coroutines bounded_queue loop pool low_water lingering transport tls
               listener calling relay link client_backlog
1  observe     masking log_format fatal_signals guarded log access_log counters log_config
2  connection  exchange http_channel websocket_channel allowed_hosts memory_cap proxy_headers
               address_caps acceptor websocket_handshake arrival
3  engineio    packet cors options query polling session_ids session_limits session intake posts
               heartbeat upgrade protocol3 observer server
3  websocket   application
3  workers     link_messages spawn confirmations greetings peers handover process supervisor
               rendezvous member
3  wsgi        environ foreign_server handshake_middleware upload_slots loop_answer
               generator_stream websocket handler
4  machines    words proof stream greeting asking answering directory links requests entrance
4  socketio    values jsoncodec packet msgpack_packet cluster.port cluster.requests
               cluster.broker.leader cluster.broker.foreign_messages cluster.broker.resp
               cluster.broker.plugins cluster.broker.url cluster.broker.post_queue cluster.broker.connections
               recovery.event_names cluster.last_words cluster.paced_sender
               cluster.pipe_messages cluster.pipe_backplane recovery.event_log broadcast
               cluster.broker.link_status cluster.broker.messages cluster.broker.requests
               cluster.broker.plugin_links cluster.broker.channel_handler protocol4
               recovery.record traffic client adapter handlers acks observer
               tracer cluster.receiver cluster.broker.stream_reader
               cluster.broker.stream cluster.broker.records recovery.awaited recovery.log
               recovery.stream_record recovery.machine_events recovery.checkpoints recovery.option
               recovery.stream_log services presence recovery.restore rooms handler_runner broadcaster traced
               recovery.stream_client recovery.stream_restore recovery.resumption room_streams
               connections dispatcher server
               cluster.broker.services cluster.broker.entries cluster.broker.shared_stream
               cluster.broker.backplane
5  control     commands places server client stacks worker_socket
5  monitoring  catalogue figures event_metrics gauges health exposition snapshots debug_log
               admin_credentials admin_feed admin tracing
6  serve       signals called_servers mounts recovery_handover routing loading reloaded
               client_release client_files pid_file reexec monitor inspection tracing wiring
               cluster_wiring cluster_address machines worker metrics_address serve reloader
7  api         flask_socketio.context keywords event_checks flask_socketio.test_client emitter options
               wsgi_server flask_socketio.run handler_registry event_calls static_files thread_words
               peer_views client_methods server_methods event_streams flask_socketio.namespace
               flask_socketio.event_runner flask_socketio.registration exceptions wsgi_app
               python_engineio python_socketio flask_socketio.app_run event_schema typescript
               pytest_plugin backplane_kit flask_socketio.server flask_socketio.membership
               flask_socketio.streaming flask_socketio.api flask_socketio.functions
8  drop_in     importing modules waiting events library_waits turns installing servers greenlets
               words wsgi_servers
9  command     option welcome running emit connect operate status top flask_run explain log_options
               cluster_options options sources schema cli
10  gunicorn    generation arbiter requests settings worker
10  __main__
"""


def read_house() -> tuple[dict[str, int], dict[str, list[str]]]:
    """The floor of each folder, and its rooms in order."""
    floors: dict[str, int] = {}
    rooms: dict[str, list[str]] = {}
    folder = ""
    for line in HOUSE.strip().splitlines():
        words = line.split()
        if words[0].isdecimal():
            number, folder, *words = words
            assert folder not in floors, f"{folder} stands twice"
            floors[folder], rooms[folder] = int(number), []
        rooms[folder] += words
    return floors, rooms


FLOORS, INNER = read_house()
SANS_IO = [
    "http1.parser",
    "http1.head",
    "http1.response",
    "http1.body_time",
    "connection.arrival",
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
    "socketio.traffic",
    "workers.link_messages",
    "socketio.adapter",
    "socketio.recovery.event_log",
    "socketio.broadcast",
    "socketio.acks",
    "socketio.recovery.log",
    "socketio.recovery.record",
    "http1.event_stream",
    "socketio.packet",
    "socketio.jsoncodec",
    "socketio.handlers",
    "socketio.cluster.port",
    "socketio.cluster.requests",
    "socketio.cluster.last_words",
    "socketio.cluster.pipe_messages",
    "socketio.cluster.broker.foreign_messages",
    "socketio.cluster.broker.resp",
    "socketio.cluster.broker.messages",
    "socketio.cluster.broker.requests",
    "socketio.cluster.broker.leader",
    "control.commands",
    "monitoring.catalogue",
    "monitoring.figures",
    "monitoring.health",
    "monitoring.event_metrics",
    "machines.words",
    "machines.proof",
    "machines.stream",
    "machines.greeting",
    "machines.asking",
    "machines.answering",
    "machines.directory",
    "machines.entrance",
]
IO_MODULES = {"socket", "selectors", "select", "threading", "time", "logging", "asyncio", "queue"}
# (module, the only rooms that may import it)
CONFINED = {
    "threading": {"net.threads"},
    "_thread": {"net.threads"},
    "concurrent": set(),
    "queue": {"net.threads", "drop_in.events"},
    "selectors": {"net.poller", "backplanes.redis_cluster"},
    "select": {"net.poller"},
    "socket": {
        "net.low_water",
        "net.lingering",
        "net.transport",
        "net.listener",
        "net.calling",
        "net.portability",
        "net.sockets",
        "net.systemd",
        "net.relay",
        "net.link",
    },
    "ssl": {"net.certificates", "net.tls"},
    "redis": {"socketio.cluster.broker.url", "backplanes.redis_cluster"},
    "valkey": {"socketio.cluster.broker.url"},
    "kombu": {"backplanes.amqp"},
    "hiredis": {"socketio.cluster.broker.resp", "backplanes.redis_cluster"},
    "flask": {
        "command.flask_run",
        "api.flask_socketio.api",
        "api.flask_socketio.app_run",
        "api.flask_socketio.context",
        "api.flask_socketio.functions",
        "api.flask_socketio.registration",
        "api.flask_socketio.run",
        "api.flask_socketio.streaming",
        "api.flask_socketio.test_client",
    },
    "werkzeug": {
        "command.flask_run",
        "api.flask_socketio.api",
        "api.flask_socketio.run",
        "api.flask_socketio.test_client",
        "serve.loading",
    },
    "prometheus_client": {"monitoring.exposition"},
    "opentelemetry": {"monitoring.tracing"},
    "httptools": {"http1.parser", "http1.head"},
    "logging": {
        "observe.log",
        "observe.guarded",
        "observe.log_format",
        "observe.log_config",
        "observe.access_log",
    },
}
# What reads a clock or chance; `sleep` is a wait, and the others write down a time that they are given.
CHANCE = {"secrets", "random", "uuid"}
NO_READINGS = {"time.sleep", "time.strftime", "time.localtime", "uuid.UUID"}
# Who reads the machine's own, all others are given `net.system`'s functions.
READINGS = {
    "net.system": {
        "time.pthread_getcpuclockid",
        "time.clock_gettime",
        "time.monotonic",
        "time.time",
        "time.process_time",
        "os.urandom",
    },
    "net.systemd": {"time.monotonic_ns"},  # the system's manager compares it with its own clock
    "observe.log": {"time.monotonic"},  # a process has faults before it has a worker, and in any thread
}
# Who may name the real ones.
REAL_IN = {
    "net.turn",  # what a turn takes that was told nothing
    "net.loop",  # what a loop takes that was told nothing
    "serve.worker",  # the wiring
    "serve.serve",
    "serve.metrics_address",  # a worker of its own
    "gunicorn.generation",  # of the arbiter's process
    "gunicorn.worker",  # the wiring, under another supervisor
    "api.emitter",  # no loop, no worker
    "monitoring.admin",  # an application makes it before there is a worker
    "api.flask_socketio.test_client",
    "command.cli",
    "command.operate",  # no loop, no worker
    "command.status",
    "command.top",
    "drop_in.greenlets",  # threads of an application
    "drop_in.waiting",
    "engineio.session_ids",  # names of the test client's server, which has no worker
    "socketio.recovery.event_names",  # an application makes it before there is a worker
    "socketio.cluster.broker.services",  # defaults: a worker gives its own
    "socketio.cluster.broker.connections",
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
SOURCES = [*sorted(SERVER.rglob("*.py")), *sorted(CODEC.rglob("*.py"))]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Of the whole tree, listed once for all tests."""
    return list(ast.walk(tree_of(path)))


@pytest.fixture(scope="module", autouse=True)
def trees_that_are_let_go() -> Iterator[None]:
    """Else each run of the collector in a later test would look at all their nodes."""
    yield
    nodes_of.cache_clear()
    tree_of.cache_clear()


def listed_nodes() -> Iterator[tuple[Path, list[ast.AST]]]:
    return ((path, nodes_of(path)) for path in SOURCES)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, except for type checkers alone."""
    for node in nodes_of(path):
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
    assert rooms <= set(MODULES)
    standing = {f"{folder}.{room}" for folder, order in INNER.items() for room in order}
    assert standing | {folder for folder, order in INNER.items() if not order} == set(MODULES)


@in_batches("name", MODULES, 64)
def test_imports_only_from_lower_floors(name: str) -> None:
    for other in inner_imports(name):
        places = inner_order(name, other)
        if places is not None:
            assert places[1] < places[0], f"{name} imports {other}, which stands above it"
        else:
            assert floor(other) < floor(name), (
                f"{name} (floor {floor(name)}) imports {other} (floor {floor(other)})"
            )


@in_batches("name", MODULES, 64)
def test_confined_modules_stay_in_their_rooms(name: str) -> None:
    for module in imports(MODULES[name]):
        allowed = CONFINED.get(module.partition(".")[0])
        assert allowed is None or name in allowed, f"{name} imports {module}"


def readings(name: str) -> Iterator[str]:
    """What a file reads of the machine's clocks and of chance."""
    for node in nodes_of(MODULES[name]):
        words: list[str] = []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            words = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.ImportFrom):
            words = [f"{node.module}.{alias.name}" for alias in node.names]
        for word in words:
            module, _, function = word.partition(".")
            read = module in CHANCE | {"time"} or word in ("os.urandom", "os.getrandom")
            if read and word not in NO_READINGS and "." not in function:
                yield word


def test_the_machine_is_read_in_one_place() -> None:
    """Else neither faults nor a simulated network can be put under a worker."""
    found = {name: set(readings(name)) for name in MODULES}
    assert {name: words for name, words in found.items() if words} == READINGS


def test_the_real_machine_is_named_by_the_wiring_alone() -> None:
    named = {
        name
        for name, path in MODULES.items()
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and "REAL" in [alias.name for alias in node.names]
    }
    assert named == REAL_IN


# Folders of what exists only where processes fork.
UNIX_FOLDERS = {"workers", "gunicorn"}
# Who else names what not every system has, and why `net.portability` does not do it for them.
ONLY_SOMEWHERE = {
    "net.poller": {"select.epoll"},  # its whole matter
    "net.system": {"time.pthread_getcpuclockid", "/proc/"},  # the clocks' room; it answers where nobody tells
    "net.sendfile": {"os.sendfile", "os.pread"},  # used where `SENDFILE` says so
    "net.link": {  # it joins workers
        "socket.AF_UNIX",
        "socket.CMSG_SPACE",
        "socket.SCM_RIGHTS",
        "socket.send_fds",
        "recvmsg_into",
    },
    # A process that has ended is seen once it was waited for, where nobody tells.
    "control.places": {"/proc/"},
    "command.operate": {"signal.SIGHUP"},  # to a server, which there is none of without control sockets
    "command.top": {"termios", "tty"},  # the same
    "serve.reexec": {"os.killpg", "os.pread", "signal.SIGHUP", "signal.SIGKILL"},  # made on UNIX alone
    "serve.serve": {"signal.SIGHUP", "signal.SIGUSR2"},  # a supervisor's order
    "serve.worker": {"signal.SIGUSR1"},  # a supervisor has said the same
}
NOT_ON_WINDOWS = {"sendmsg", "recvmsg", "recvmsg_into"}  # methods of sockets


def somewhere_only(name: str) -> Iterator[str]:
    """What a file names that some system lacks."""
    known = {
        f"{module.__name__}.{word}"
        for table in (LINUX_ALONE, UNIX_ALONE)
        for module, words in table.items()
        for word in words.split()
    }
    for node in nodes_of(MODULES[name]):
        if isinstance(node, ast.Attribute):
            word = f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else ""
            unix_signal = word.startswith("signal.SIG") and word[10] != "_"
            if word in known or (unix_signal and node.attr not in WINDOWS_SIGNALS):
                yield word
            elif node.attr in NOT_ON_WINDOWS:
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from {f"{node.module}.{alias.name}" for alias in node.names} & known
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value[:6] == "/proc/":
            yield "/proc/"
    yield from UNIX_MODULES & set(imports(MODULES[name]))


def test_what_not_every_system_has_is_named_in_one_place() -> None:
    names = {name for name in MODULES if name.partition(".")[0] not in UNIX_FOLDERS} - {"net.portability"}
    found = {name: set(somewhere_only(name)) for name in names}
    assert {name: words for name, words in found.items() if words} == ONLY_SOMEWHERE


@in_batches("name", SANS_IO, 64)
def test_sans_io_rooms_import_no_io(name: str) -> None:
    assert not IO_MODULES & {module.partition(".")[0] for module in imports(MODULES[name])}


# The codec's client, the one part of the package with sockets, TLS, clocks and threads.
CLIENT = [*sorted((CODEC / "sync").glob("*.py")), CODEC / "__main__.py"]
CLIENT_MODULES = {"socket", "ssl", "selectors", "threading", "time"}
# The terminal's Socket.IO, loaded when it is asked for: the packets are the server's.
CLIENT_OF_THE_SERVER = CODEC / "sync" / "socketio.py"


def codec_id(path: Path) -> str:
    return str(path.relative_to(CODEC))


def relative_imports(path: Path) -> Iterator[str]:
    """The first word of what a file of the codec imports from its package: "sync", "types"."""
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.level:
            words = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (word.partition(".")[0] for word in words)


@pytest.mark.parametrize("path", sorted(CODEC.rglob("*.py")), ids=codec_id)
def test_the_codec_needs_the_standard_library_alone(path: Path) -> None:
    optional = {"isal", "zlib_ng"}  # used instead of zlib when they are installed
    if path == CLIENT_OF_THE_SERVER:
        optional = {"python_server"}
    for module in imports(path):
        top = module.partition(".")[0]
        assert top in sys.stdlib_module_names or top == "wsframe" or top in optional, f"{path.name}: {module}"
        assert top not in IO_MODULES - (CLIENT_MODULES if path in CLIENT else set()), f"{path.name}: {module}"


@pytest.mark.parametrize("path", sorted(set(CODEC.rglob("*.py")) - set(CLIENT)), ids=codec_id)
def test_the_codec_does_not_import_its_client(path: Path) -> None:
    """It has no I/O, and a program that has its own loads no sockets."""
    assert "ssl" not in imports(path)
    assert not {"sync", "__main__"} & set(relative_imports(path))
    assert not any(module.startswith(("wsframe.sync", "wsframe.__main__")) for module in imports(path))


@in_batches("path", SOURCES, 64)
def test_a_file_says_what_it_is_and_what_it_must_not_know(path: Path) -> None:
    text = path.read_text("utf-8")
    docstring = ast.get_docstring(tree_of(path)) or ""
    first, _, rest = docstring.partition("\n")
    assert first, f"{path}: the first line says what the file is"
    assert "ust not" in rest, f"{path}: the second says what it must not know"
    assert text.count("\n") <= LINES_MAX_COUNT, f"{path}: {text.count(chr(10))} lines"


@pytest.mark.parametrize(("name", "test_file"), list(measured_modules()))
def test_a_module_has_a_test_file_of_its_name(name: str, test_file: Path) -> None:
    """`make coverage-mirror` measures how much of the module this file alone covers."""
    assert test_file.exists() or name in TESTED_AS_A_PROCESS, (
        f"python_server.{name} has no {test_file.relative_to(ROOT)}"
    )


# Names that stand for two classes, and why they may.
SAME_CLASS_NAMES = {
    "Namespace": "python-socketio's and Flask-SocketIO's word, one class in each face",
    "Server": "python-socketio's word, and Flask-SocketIO's attribute that plays it",
    "Request": "the codec's opening handshake, and HTTP/1.1's request: two packages that share no name",
    "ConnectionClosed": "the codec's, and websockets' word for the client's, which is one of it",
}


def test_no_class_name_stands_for_two_things() -> None:
    places: dict[str, list[str]] = {}
    for path, nodes in listed_nodes():
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in SAME_CLASS_NAMES} == {}
    assert twice.keys() == SAME_CLASS_NAMES.keys()


FUNCTION_LINES_MAX_COUNT = 60
NESTING_MAX_COUNT = 4
# (file below the package, function): how long or deep it is until its mend lands.
LONG_FUNCTIONS: set[tuple[str, str]] = set()
DEEP_FUNCTIONS: set[tuple[str, str]] = set()

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def nesting(node: ast.AST) -> int:
    """How many blocks stand in each other; an `elif` is beside its `if`."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            elif_ = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
            deepest = max(deepest, nesting(child) + (isinstance(child, BLOCKS) and not elif_))
    return deepest


def functions() -> Iterator[tuple[tuple[str, str], ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, nodes in listed_nodes():
        package = SERVER if path.is_relative_to(SERVER) else CODEC
        for node in nodes:
            if isinstance(node, FUNCTIONS):
                yield (str(path.relative_to(package)), node.name), node


def test_a_function_fits_a_screen() -> None:
    long = {
        place
        for place, node in functions()
        if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX_COUNT
    }
    assert long == LONG_FUNCTIONS


def test_blocks_stand_at_most_four_deep() -> None:
    assert {place for place, node in functions() if nesting(node) > NESTING_MAX_COUNT} == DEEP_FUNCTIONS


# (class, attribute) that the product writes or declares and does not read, and who does.
READ_ELSEWHERE = {
    ("SocketIO", "wsgi_server"): "applications: Flask-SocketIO's attribute",
    ("SocketIOTestClient", "connect_error"): "tests of applications",
    ("Checked", "envvar_list_splitter"): "click",
    ("Fragment", "final"): "programs that receive a message in pieces",
    ("QueueManager", "redis_url"): "socketio.cluster.broker.url, by its name",
    ("QueueManager", "write_only"): "applications: python-socketio's attribute",
    ("_EventAppContext", "g"): "Flask",
    ("_EventContext", "flashes"): "Flask",
    ("_EventContext", "_after_request_functions"): "Flask",
    ("Reason", "CLIENT_DISCONNECT"): "applications: python-socketio's attribute",
    ("Reason", "SERVER_DISCONNECT"): "applications: python-socketio's attribute",
    ("ServerMethods", "manager"): "applications: python-socketio's attribute",
    ("Server", "eio"): "applications: python-socketio's attribute",
    ("ServerStopped", "blameless"): "observe.log, by its name",
    ("WSGIApp", "wsframe_mounts"): "serve.mounts, by its name",
    ("Resource", "wsframe_websockets"): "serve.mounts, by its name",
    ("Answers", "missing_count"): "applications that call a room",
    ("CloseCode", "*"): "applications: RFC 6455's table, whole",
    ("Header", "*"): "those who frame by hand: the codec's own decoder does not",
}


def read_names() -> set[str]:
    """Every attribute that some file of the product reads, however the object is called."""
    names: set[str] = set()
    for _, nodes in listed_nodes():
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.MatchClass):
                names.update(node.kwd_attrs)
    return names


def written_names(owner: ast.ClassDef) -> Iterator[str]:
    """Fields, members of an enum, and what methods assign to `self`; a TypedDict's keys are arguments."""
    bases = [ast.unparse(base) for base in owner.bases]
    if "TypedDict" in bases or any(keyword.arg == "total" for keyword in owner.keywords):
        return
    for node in owner.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign) and any("Enum" in base or "Flag" in base for base in bases):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    for inner in ast.walk(owner):
        if (
            isinstance(inner, ast.Attribute)
            and isinstance(inner.ctx, ast.Store)
            and ast.unparse(inner.value) == "self"
        ):
            yield inner.attr


def test_what_is_kept_is_read() -> None:
    """A setting, a member of an enum or an attribute that nobody reads is a word without a meaning."""
    read = read_names()
    unread = {
        (node.name, name)
        for _, nodes in listed_nodes()
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for name in written_names(node)
        if name not in read
    }
    all_of = {owner for owner, name in READ_ELSEWHERE if name == "*"}
    assert {place for place in unread if place not in READ_ELSEWHERE and place[0] not in all_of} == set()
    assert {place for place in READ_ELSEWHERE if place[1] != "*"} <= unread, "no exceptions any more"
    assert all_of <= {owner for owner, _ in unread}, "no exceptions any more"


def test_an_option_sets_what_is_read() -> None:
    """Each option names a setting that exists, or is asked for by its own name."""
    asked = {
        node.slice.value
        for path, nodes in listed_nodes()
        if path.is_relative_to(SERVER / "command")
        for node in nodes
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
    }
    for option in OPTIONS:
        if option.setting:
            read_setting(DEFAULTS, option.setting)
        else:
            assert option.name in asked | OPTIONS_OF_CLICK, f"nobody reads {option.flags[0]}"


# Called by click itself, which leaves nothing to read.
OPTIONS_OF_CLICK: set[str] = set()


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
    tree = tree_of(MODULES[home])
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
    ("serve.reexec", "_end_check"),  # the loop's; a process that was killed
    ("serve.reexec", "_cut_off"),  # a thread of its own
    ("net.line_writer", "_begin"),
    ("net.line_writer", "_run"),  # a thread of its own
    ("net.line_writer", "flush"),  # at the process's end
    ("net.turn", "take"),  # a lock that nobody knows yet
    ("net.threads", "wait_on"),  # the lock of a condition that it has waited on
    ("drop_in.events", "__enter__"),  # words that are built of `blocking` themselves
    ("drop_in.greenlets", "iwait"),
    ("drop_in.greenlets", "start"),
    ("net.coroutines", "close"),
    ("net.coroutines", "_result_of"),  # of a task that is done
    ("observe.log", "_write_all"),  # by the log's own thread
    ("serve.reloader", "_watch_parent"),  # processes without a pool
    ("serve.reloader", "_stop"),
    ("serve.reloader", "_ended"),
    ("serve.reloader", "_polled"),
    ("workers.process", "reap"),
    ("control.worker_socket", "_serve"),  # a thread of its own
    ("control.worker_socket", "close"),  # the loop's thread, once the loop has ended
    ("command.operate", "stop_command"),  # processes without a pool
    ("command.status", "measure"),
    ("command.top", "top_command"),
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

    yield from walk(tree_of(MODULES[name]), "")


def test_each_wait_of_a_worker_tells_the_loop() -> None:
    """The loop gives way to workers: one that waits for the loop, and does not say so, stops both."""
    found = {(name, function): call for name in MODULES for function, call in waits(name)}
    assert {place: call for place, call in found.items() if place not in OWN_WAITS} == {}
    assert found.keys() == OWN_WAITS


# `Any` says nothing to a reader: `object` is for what is passed on, and a value of JSON, an option as it was
# given, a client's own dictionary have names. It may become less.
ANY_MAX_COUNT = 230


def test_any_stands_where_nothing_better_can_be_said() -> None:
    found: Counter[str] = Counter()
    for path in [*SOURCES, *CODEC.glob("*.pyi")]:
        found[str(path.relative_to(ROOT))] = sum(
            isinstance(node, ast.Name) and node.id == "Any" for node in nodes_of(path)
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
