"""The debug log's lines: what a real server's clients do, read in them (monitoring/debug_log.py).

It must not know where lines go.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from python_server.engineio.session import DisconnectReason
from python_server.http1.parser import Request
from python_server.monitoring.debug_log import SessionLog, SocketLog, cut, session_log, socket_log
from python_server.observe import log
from python_server.observe.masking import short
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import ConnectionRefused, Handler
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.server import Hub
from python_server.socketio.services import Configuration
from socketio_world import World


class Lines:
    """What is said, with the fields beside it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, str]]] = []

    def __call__(self, text: str, *, extra: dict[str, str] | None = None) -> None:
        self.said.append((text, extra or {}))

    def take(self) -> list[str]:
        said, self.said = self.said, []
        return [text for text, _ in said]


class Logged(World):
    """Whose server has a debug log."""

    payloads = False

    def serve(self, hub: Hub) -> None:
        self.lines = Lines()
        observer = SocketLog(self.lines, hub.handlers, hub.codec, lambda: self.now, self.payloads)
        hub.observe(observer)
        super().serve(hub)

    def take(self, sid: str = "") -> list[str]:
        """The lines since the last call, where a sid is called X."""
        return [line.replace(short(sid), "X") if sid else line for line in self.lines.take()]


@pytest.fixture
def logged() -> Logged:
    return Logged()


def test_a_client_comes_says_something_and_goes(logged: Logged) -> None:
    logged.on("say", lambda socket, word: logged.advance(0.25) or "heard")
    peer = logged.peer(None)
    sid = peer.join()
    peer.say('27["say","x"]')
    logged.advance(5)
    peer.lose()
    assert logged.take(sid) == [
        "'/' X: joined by session eio (websocket)",
        "'/' X: event 'say' received, 13 bytes, wants ack 7",
        "'/' X: ack 7 sent, 12 bytes",
        "'/' X: event 'say' handled in 250.0 ms",
        "'/' X: left: transport close, after 5.250 s",
    ]


def test_each_line_has_its_fields(logged: Logged) -> None:
    peer = logged.peer()
    peer.say('2["x"]')
    sid = short(peer.socket.sid)
    assert [fields for _, fields in logged.lines.said] == [
        {"namespace": "/", "sid": sid},
        {"namespace": "/", "sid": sid, "event": "x"},
        {"namespace": "/", "sid": sid, "event": "x"},
    ]


UNHANDLED = [
    ("devide", "did you mean 'divide'?"),
    ("add", "namespace '/calc' has one"),
    ("nothing like it", "this namespace has 'divide', 'say'"),
    ("x" * 500, "this namespace has 'divide', 'say'"),
]


@pytest.mark.parametrize(("event", "hint"), UNHANDLED, ids=["slip", "elsewhere", "none", "long"])
def test_an_event_without_a_handler_is_told_with_what_may_be_meant(
    logged: Logged, event: str, hint: str
) -> None:
    for name in ("divide", "say"):
        logged.on(name)
    logged.on("add", namespace="/calc")
    peer = logged.peer()
    logged.take()
    peer.say(f"2{json.dumps([event])}")
    line = logged.take(peer.socket.sid)[-1]
    assert line == f"'/' X: event {cut(event)} has no handler: {hint}"
    assert len(line) < 250


def test_a_namespace_without_handlers_and_a_number_as_a_name(logged: Logged) -> None:
    peer = logged.peer()
    logged.take()
    peer.say("2[5]")
    assert logged.take(peer.socket.sid)[-1] == "'/' X: event 5 has no handler: this namespace has no handlers"


def test_a_class_of_handlers_that_has_no_method_for_an_event(logged: Logged) -> None:
    handlers = logged.hub.handlers
    handlers.on_namespace("/calc", Handler(lambda socket, name, values: None), ["add"])
    handlers.on_namespace("/own", Handler(lambda socket, name, values: None))  # a routing of its own
    peer, other = logged.peer("/calc"), logged.peer("/own")
    logged.take()
    other.say('2/own,["ad"]')
    peer.say('2/calc,["ad"]', '2/calc,["add"]')
    hints = [line for line in logged.take() if "has no handler" in line]
    assert len(hints) == 1
    assert hints[0].startswith("'/calc' ")
    assert hints[0].endswith("event 'ad' has no handler: did you mean 'add'?")


def test_many_names_are_not_all_told(logged: Logged) -> None:
    for number in range(30):
        logged.on(f"e{number:02}")
    peer = logged.peer()
    logged.take()
    peer.say('2["unlike them"]')
    assert logged.take()[-1].endswith(", 'e19' and 10 more")


def test_a_client_that_is_not_let_in_is_told_with_the_reason(logged: Logged) -> None:
    def refuse(socket: Any, auth: Any) -> Any:
        raise ConnectionRefused("who are you?")

    logged.on("connect", refuse)
    logged.on("say", namespace="/chat")
    logged.peer(None).say("0", "0/chta,", "0/elsewhere\n,")
    refusals = [line for line in logged.take() if "may not join" in line]
    assert refusals == [
        "session eio may not join '/chta': 'Invalid namespace'; did you mean '/chat'?",
        "session eio may not join '/elsewhere\\n': 'Invalid namespace'; served are '/', '/chat'",
        "session eio may not join '/': 'who are you?'",
    ]


def test_what_a_handler_raises_is_told_with_its_time(logged: Logged) -> None:
    logged.on("divide", lambda socket: 1 // 0)
    peer = logged.peer()
    logged.take()
    peer.say('2["divide"]')
    assert (
        logged.take(peer.socket.sid)[-1] == "'/' X: event 'divide' failed with ZeroDivisionError after 0.0 ms"
    )


def test_emits_are_told_with_their_recipients(logged: Logged) -> None:
    peers = [logged.peer() for _ in range(2)]
    sid, hub = peers[0].socket.sid, logged.hub
    hub.join("/", sid, "den")
    logged.run()
    logged.take()
    hub.emit("news", [1])
    hub.emit("news", [1], BroadcastOptions("/", ("den",)))
    hub.emit("news", [1], BroadcastOptions("/", (sid,)))
    hub.emit("news", [1], BroadcastOptions("/", ("dne", "ned")))
    hub.emit("news", [1], BroadcastOptions("/elsewhere"))
    hub.emit("news", [b"1"], BroadcastOptions("/", ("den",)), callback=lambda *values: None)
    logged.run()
    assert logged.take(sid) == [
        "'/' emit 'news' to everybody: 2 clients of this process, 12 bytes",
        "'/' emit 'news' to room 'den': 1 client of this process, 12 bytes",
        "'/' emit 'news' to client X: 1 client of this process, 12 bytes",
        "'/' emit 'news' to room 'dne' and room 'ned': nobody of this process is in it, 12 bytes",
        "'/elsewhere' emit 'news' to everybody: nobody of this process is in that namespace, 23 bytes",
        "'/' emit 'news' to room 'den': 1 client of this process, 44 bytes, wants ack 1",
    ]
    hub.leave("/", sid, "den")
    logged.run()
    assert logged.take(sid) == ["'/' X: left room 'den'"]


def test_acks_that_come_and_those_that_nobody_waits_for(logged: Logged) -> None:
    peer = logged.peer()
    logged.hub.emit("q", [], BroadcastOptions("/", (peer.socket.sid,)), callback=lambda *values: None)
    logged.run()
    logged.take()
    peer.say('31["yes"]', '31["yes"]')
    assert logged.take(peer.socket.sid) == [
        "'/' X: ack 1 received, 9 bytes",
        "'/' X: ack 1 received, 9 bytes; nobody waits for it",
    ]


class Open(Logged):
    payloads = True


def test_payloads_are_shown_where_an_operator_wants_them_and_cut() -> None:
    open_ = Open()
    open_.on("say", lambda socket, *values: values)
    peer = open_.peer()
    open_.take()
    peer.say('21["say","a\\n",{"b":null}]')
    open_.hub.emit("big", ["x" * 1_000_000])
    open_.run()
    received, sent, _, emitted = open_.take(peer.socket.sid)
    assert received.endswith(": ['a\\n', {'b': None}]")
    assert sent.endswith(": ['a\\n', {'b': None}]")
    assert emitted.endswith("xxx...")
    assert len(emitted) < 400


@pytest.mark.parametrize("codec", [None, MsgpackCodec()])
def test_what_no_client_could_say_has_its_name(codec: Any) -> None:
    logged = Logged(**({} if codec is None else {"codec": codec}))
    logged.hub.emit("disconnect", [1])
    name = "'disconnect'" if codec is None else "'?'"
    assert f"emit {name} to everybody" in logged.take()[0]
    logged.hub.emit("news", [1])
    assert "emit 'news' to everybody" in logged.take()[0]


def test_a_client_that_comes_back_is_told_as_such(logged: Logged) -> None:
    peer = logged.peer()
    socket = peer.socket
    logged.take()
    observer: Any = socket_log(_Told(), logged.hub.handlers, logged.hub.codec, lambda: 1.0, False)
    recovered: Any = type("Recovered", (), {"recovered": True, "namespace": "/", "sid": "abc"})()
    recovered.client = socket.client
    observer.connected(recovered)
    assert _Told.said == ["'/' abc: joined by session eio (websocket), as it was before it was lost"]


class _Told:
    """A program's logger."""

    said: list[str] = []

    def info(self, text: str, *, extra: Any) -> None:
        self.said.append(text)


# Sessions


class Known:
    """As much of a session as lines tell."""

    transport = "polling"

    def __init__(self, peer: object = ("10.0.0.9", 5), **fields: str) -> None:
        self.sid = "3.lv_VI97HAXpY6yYWAAAC"
        self.request = Request("GET", "/", "/", "", (1, 1), [], fields=fields)
        self.request.peer = peer


def test_sessions() -> None:
    lines, now = Lines(), [1.0]
    observer = SessionLog(lines, lambda: now[0])
    session: Any = Known(origin="https://shop.example")
    observer.session_opened(session)
    observer.session_upgraded(session)
    now[0] = 3.5
    observer.session_closed(session, DisconnectReason.PING_TIMEOUT)
    observer.session_upgraded(session)  # it was on its way
    local: Any = Known("")
    observer.session_opened(local)
    observer.session_closed(Known(), DisconnectReason.TRANSPORT_CLOSE)  # type: ignore[arg-type]  # not told before
    assert {fields["sid"] for _, fields in lines.said} == {"3.lv_VI9.."}
    assert lines.take() == [
        "session 3.lv_VI9.. opened by polling, from 10.0.0.9, origin 'https://shop.example'",
        "session 3.lv_VI9.. upgraded to websocket",
        "session 3.lv_VI9.. closed: ping timeout, after 2.500 s, by websocket",
        "session 3.lv_VI9.. opened by polling, from a UNIX socket, no origin",
        "session 3.lv_VI9.. closed: transport close, after 0.000 s, by polling",
    ]


def test_a_refused_request_is_told_without_its_secrets() -> None:
    lines = Lines()
    target = "/socket.io/?EIO=4&sid=hunter2&" + "x" * 500
    request = Request("GET", target, "/socket.io/", "", (1, 1), [])
    SessionLog(lines, lambda: 0.0).request_refused(request, "Session ID unknown")
    (line,) = lines.take()
    assert line.startswith("refused GET '/socket.io/?EIO=4&sid=***&xxx")
    assert line.endswith("... from a UNIX socket, no origin: 'Session ID unknown'")
    assert "hunter2" not in line


@pytest.fixture
def levels() -> Iterator[None]:
    before = [(each, each.level) for each in (log.LOGGER, log.SOCKETIO, log.ENGINEIO)]
    yield
    for each, level in before:
        each.setLevel(level)


@pytest.mark.usefixtures("levels")
def test_nobody_watches_where_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub(Configuration())

    def made(given: object) -> tuple[Any, Any]:
        return session_log(given, lambda: 0.0), socket_log(given, hub.handlers, hub.codec, lambda: 0.0, False)

    log.LOGGER.setLevel("INFO")
    assert made(None) == made(False) == (None, None)
    assert all(made(True))
    for each in (log.SOCKETIO, log.ENGINEIO):
        each.setLevel("NOTSET")
    log.LOGGER.setLevel("DEBUG")
    assert all(made(None))


@pytest.mark.parametrize("value", ["x" * 1000, "\n\x00\u2028", b"x" * 1000, ["x" * 1000], 5, None, "'\""])
def test_whatever_a_client_names_is_one_short_line(value: object) -> None:
    shown = cut(value)
    assert shown.isprintable()
    assert len(shown) <= 103
    assert re.match(r"""b?['"\[5N]""", shown)
