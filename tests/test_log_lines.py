"""The page of log lines names each line that the server can write, with its level, and nothing else.

It must not know what a line means.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from python_server.observe import log

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "python_server"
PAGE = ROOT / "docs" / "reference" / "log-lines.md"
ENTRY = re.compile(r"^\| (\w+) \| (`+) ?(.+?) ?\2 \| .+ \|$", re.MULTILINE)
ROW = re.compile(r"^\| (?:debug|info|warning|error) ", re.MULTILINE)

# What writes a line, by its last name without underscores in front: the level, which argument is the line,
# how the line is made of it.
WRITERS = {
    "debug": ("debug", 0, "{}"),
    "say": ("info", 0, "{}"),
    "warn": ("warning", 0, "{}"),
    "warn_once": ("warning", 0, "drop-in: ...: {}"),
    "complain": ("warning", 1, "{}"),
    "tell_of_session": ("debug", 1, "session ... {}"),
    "tell_of_client": ("debug", 1, "... ...: {}"),
    "report": ("error", 0, "{} failed"),
    "run_reported": ("error", 0, "{} failed"),
}
HANDED_ON = WRITERS.keys() - {
    "debug",
    "tell_of_session",
    "tell_of_client",
}  # with the line, to who calls them; debug is an option's name as well
# The same of a logger itself, by the last name of the logger.
METHODS = {name: (name, 0, "{}") for name in ("debug", "info", "warning", "error", "critical")}
LOGGERS = {"LOGGER", "log"}
ALTERNATIVES_MAX_COUNT = 2  # of a line; where its parts allow more, they are `...`

ORIGIN = (
    "origin ... is not allowed; to allow it set cors_allowed_origins=[...] (the request came for host ...)"
)
NO_ORIGIN = "origin null is not allowed, a file's page has it: open the page at its http:// address"
# Calls whose line is made elsewhere: (file, argument), and the lines, which stand somewhere in the source.
MADE_ELSEWHERE = {
    ("connection/acceptor.py", "reason"): [
        "a client spoke plain text to the TLS port",
        "the TLS handshake did not end in time",
        "the TLS handshake failed: ...",
        "the client left during the TLS handshake",
    ],
    ("engineio/server.py", "refusal"): [
        ORIGIN,
        NO_ORIGIN,
        "a page of another origin (...) asks by JSONP; to allow it set cors_allowed_origins=[...]",
        "... sessions are open: new ones are refused, see --limit-sessions",
        "... sessions have opened and not joined: new ones are refused, see --limit-half-open-sessions",
        "... has ... sessions, more are refused: see --limit-sessions-per-address",
    ],
    ("serve/serve.py", "what"): ["Socket.IO at ...", "Engine.IO at ...", "WebSockets at ..."],
    ("websocket/application.py", "refusal"): [ORIGIN, NO_ORIGIN],
    ("api/python_engineio.py", "log.Named.of(f'handler of event {event!r}', event=event, sid=short(sid))"): [
        "handler of event ..."
    ],
    ("socketio/connections.py", """named("handler of event 'connect'", socket, 'connect')"""): [
        "handler of event 'connect'"
    ],
    ("socketio/handler_runner.py", "named(f'handler of event {name!r}', socket, name)"): [
        "handler of event ..."
    ],
    ("gunicorn/worker.py", "str(error)"): [  # of the control socket that was asked for
        "--control-socket ...: ...",
        "... is not a folder of this user alone (mode 700): remove it, or choose another place with "
        "--control-socket [control-socket]",
    ],
}
# Calls that hand on what another call says, or that write no log.
NO_LINE = {
    ("api/flask_socketio/test_client.py", "'%s'"),
    ("drop_in/importing.py", "place or place_of(caller())"),
    ("drop_in/importing.py", "f'drop-in: {place}: {sentence}'"),
    ("monitoring/debug_log.py", "f'session {sid} {text}'"),
    ("monitoring/debug_log.py", "f'{cut(namespace)} {sid}: {text}'"),
    ("observe/counters.py", "'%s%s%s'"),
    ("observe/log.py", "'%s'"),
    ("socketio/cluster/broker/leader.py", "Word.LEAD"),
    ("socketio/cluster/broker/leader.py", "Word.LEFT"),
    ("socketio/services.py", "what"),
} | {
    ("api/flask_socketio/test_client.py", f"PacketType.{name}") for name in ("CONNECT", "DISCONNECT", "EVENT")
}


@cache
def trees() -> dict[str, ast.Module]:
    """The package, by the names of its files."""
    return {
        path.relative_to(SERVER).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted(SERVER.rglob("*.py"))
    }


@cache
def functions_by_name() -> dict[str, list[ast.FunctionDef]]:
    found: dict[str, list[ast.FunctionDef]] = {}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append(node)
    return found


@pytest.fixture(scope="module", autouse=True)
def trees_that_are_let_go() -> Iterator[None]:
    """Else each run of the collector in a later test would look at all their nodes."""
    yield
    for kept in (every_line, assignments, functions_by_name, trees):
        kept.cache_clear()


def last_name(expression: ast.expr) -> str:
    found = expression.attr if isinstance(expression, ast.Attribute) else getattr(expression, "id", "")
    return str(found).lstrip("_")


@cache
def assignments(scope: ast.AST) -> dict[str, list[ast.expr]]:
    """What each name is given anywhere in a function or a module, but for what is made of it itself."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(scope):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and value is not None and repr(target.id) not in ast.dump(value):
                found.setdefault(target.id, []).append(value)
    return found


def assigned(functions: Sequence[ast.AST], name: str) -> list[ast.expr]:
    """What a name is given in the functions around; a constant anywhere."""
    scopes = trees().values() if name.isupper() else functions
    return [value for scope in scopes for value in assignments(scope).get(name, ())]


def part_of(value: ast.expr, functions: Sequence[ast.AST]) -> list[str]:
    """What a part of an f-string may be. A constant by name is a number more often than words."""
    if isinstance(value, ast.Constant):
        return [str(value.value)]
    inner = value.value if isinstance(value, ast.FormattedValue) else value
    return ["..."] if last_name(inner).isupper() else templates(inner, functions) or ["..."]


def templates(expression: ast.expr, functions: Sequence[ast.AST]) -> list[str]:
    """The lines that an expression may be, with `...` for what differs; none if it does not show.

    Args:
        functions: those around it, the innermost first.
    """
    match expression:
        case ast.Constant(value=str(text)):
            return [re.sub(r"%[sdr]", "...", text)]
        case ast.JoinedStr(values=values):
            texts = [""]
            for value in values:
                parts = part_of(value, functions)
                if len(texts) * len(parts) > ALTERNATIVES_MAX_COUNT:
                    parts = ["..."]
                texts = [text + part for text in texts for part in parts]
            return [re.sub(r"(\.\.\.){2,}", "...", text) for text in texts]
        case ast.IfExp(body=body, orelse=other):
            return [*templates(body, functions), *templates(other, functions)]
        case ast.BinOp(left=left, op=ast.Mod()):
            return templates(left, functions)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            return [re.sub(r"\{\w*\}", "...", text) for text in templates(value, functions)]
        case ast.Call(func=called) if len(made := functions_by_name().get(last_name(called), ())) == 1:
            returns = [
                node.value for node in ast.walk(made[0]) if isinstance(node, ast.Return) and node.value
            ]
            found = [templates(value, made) for value in returns]
            return [text for texts in found for text in texts] if all(found) else []
        case ast.Name(id=name):
            found = [templates(value, functions) for value in assigned(functions, name)]
            return [text for texts in found for text in texts] if name.isupper() or all(found) else []
    return []


def calls(
    tree: ast.AST, functions: tuple[ast.AST, ...] = ()
) -> Iterator[tuple[ast.Call, tuple[ast.AST, ...]]]:
    """Each call with the functions around it, the innermost first."""
    for node in ast.iter_child_nodes(tree):
        inside = (node, *functions) if isinstance(node, ast.FunctionDef) else functions
        if isinstance(node, ast.Call):
            yield node, functions
        yield from calls(node, inside)


def written(call: ast.Call, functions: Sequence[ast.AST]) -> Iterator[tuple[str, str, ast.expr]]:
    """(level, how the line is made, its argument) of a call that writes into the log, or says who shall."""
    name = last_name(call.func)
    writer = WRITERS.get(name)
    if name in METHODS and isinstance(call.func, ast.Attribute) and last_name(call.func.value) in LOGGERS:
        writer = METHODS[name]
    if writer is not None and len(call.args) > writer[1]:
        yield writer[0], writer[2], call.args[writer[1]]
        return
    # OnlySaid(log.warn, line), post(complain, kind, line), tell(line, self._warn)
    for place, given in enumerate(call.args):
        name = last_name(given)
        aliases = map(last_name, assigned(functions, name))
        for handed in HANDED_ON.intersection({name, *aliases}):
            level, skipped_count, made = WRITERS[handed]
            behind = call.args[place + 1 + skipped_count :][:1]
            before = call.args[:place] if handed in ("say", "warn") else []
            lines = [line for line in (*behind, *reversed(before)) if templates(line, functions)]
            yield from ((level, made, line) for line in lines[:1])


def lines_of(path: str, tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(level, line) of each that a file writes."""
    for call, functions in calls(tree):
        for level, made, argument in written(call, functions):
            key = (path, ast.unparse(argument))
            if key in NO_LINE:
                continue
            found = MADE_ELSEWHERE.get(key) or templates(argument, functions)
            assert found, f"{path}, line {call.lineno}: say in MADE_ELSEWHERE of this test what {key} may be"
            yield from ((level, made.format(text).replace("\n", " ")) for text in found)


def every_text() -> set[str]:
    """What any expression of the package may be, as a line."""
    nodes = [node for tree in trees().values() for node in ast.walk(tree)]
    return {
        text
        for node in nodes
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for text in templates(node, ())
    }


@cache
def every_line() -> set[tuple[str, str]]:
    return {line for path, tree in trees().items() for line in lines_of(path, tree)}


ENTRIES = Counter((level, line) for level, _, line in ENTRY.findall(PAGE.read_text("utf-8")))
ASK = (
    "docs/reference/log-lines.md: write into the table of its subject "
    "`| level | `line` | what it means; what to do |`, with ... for what differs in the line"
)


def test_each_line_has_its_entry() -> None:
    assert sorted(every_line() - ENTRIES.keys()) == [], ASK


def test_each_entry_has_its_line() -> None:
    gone = "docs/reference/log-lines.md: no such line is written, at this level: mend or remove the entry"
    assert sorted(ENTRIES.keys() - every_line()) == [], gone
    assert [entry for entry, count in ENTRIES.items() if count > 1] == []


def test_each_row_of_the_page_is_read() -> None:
    assert len(ROW.findall(PAGE.read_text("utf-8"))) == ENTRIES.total() > 100


def test_what_this_test_says_itself_is_there() -> None:
    asked = {
        (path, ast.unparse(argument))
        for path, tree in trees().items()
        for call, functions in calls(tree)
        for _, _, argument in written(call, functions)
    }
    assert MADE_ELSEWHERE.keys() | NO_LINE <= asked
    assert {text for texts in MADE_ELSEWHERE.values() for text in texts} <= every_text()


def test_all_ways_to_write_a_line_are_known() -> None:
    """Another function beside `say`, `warn` and `report`, or another logger, belongs into this test."""
    loggers = (log.LOGGER, log.ACCESS, log.FAULTS)
    assert {
        name for name, value in vars(log).items() if getattr(value, "__self__", None) in loggers
    } <= WRITERS.keys()
    named = {
        path
        for path, tree in trees().items()
        for call, _ in calls(tree)
        if last_name(call.func) == "getLogger"
    }
    assert named == {"observe/log.py"}


SAMPLE = """
def serve(log, complain, report, name, post, ready):
    what = "died" if ready else "did not come up"
    log.say(f"{name} serves")
    complain("kind", f"{name} {what}")
    report(f"handler {name!r}", error)
    LOGGER.debug("%s came as %d", name, 3)
    post(complain, "kind", "a line for later")
    OnlySaid(log.warn, "{} is ignored".format(name))
"""


def test_lines_are_found_however_they_are_written() -> None:
    assert set(lines_of("sample.py", ast.parse(SAMPLE))) == {
        ("info", "... serves"),
        ("warning", "... died"),
        ("warning", "... did not come up"),
        ("error", "handler ... failed"),
        ("debug", "... came as ..."),
        ("warning", "a line for later"),
        ("warning", "... is ignored"),
    }
