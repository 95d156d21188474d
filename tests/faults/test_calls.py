"""Each call that can fail fails once, by each of its faults, in the middle of each conversation.

It must not know how a fault comes to a call, or what is looked at afterwards.
"""

from __future__ import annotations

import gc
import itertools
import json
import math
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trustme

from faulty_world import Client, Conversation, Story, World, check, tell
from injected_faults import CALLS, PARTS, WAITS, Faults
from python_server import Server, WebSocketApplication
from python_server.connection.acceptor import Acceptor
from python_server.net import transport
from python_server.net.listener import Listener
from python_server.serve.mounts import Site
from python_server.settings import Settings, TLSSettings, WebSocketSettings

pytestmark = pytest.mark.extended
POLLING = "/socket.io/?EIO=4&transport=polling"
BODY = bytes(range(256)) * 1_200  # more than one receive, more than a worker is given before it is read
LARGE_BYTES = 700_000
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    body = environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    if path == "/file":
        start_response("200 OK", [("Content-Length", environ["QUERY_STRING"])])
        return environ["wsgi.file_wrapper"](open(served_file(), "rb"))
    if path == "/stream":
        start_response("200 OK", [])
        return (b"x" * 30_000 for _ in range(5))
    answer = b"y" * LARGE_BYTES if path == "/large" else body
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


@cache
def served_file() -> str:
    path = Path(tempfile.gettempdir()) / "wsframe-served-file"
    path.write_bytes(bytes(LARGE_BYTES))
    return str(path)


class Echo(WebSocketApplication):
    def on_message(self, ws: Any, message: str | bytes) -> None:
        ws.send(message)


def speaking() -> Server:
    server = Server()

    @server.on("say")
    def say(sid: str, word: str) -> str:
        server.emit("said", word)
        return word

    return server


def site() -> Site:
    return Site(application, [speaking().mount("/socket.io/")], {"/echo": Echo()})


# The conversations


def web(world: World) -> None:
    """Bodies, large answers, files, streams on one connection."""
    client = world.client()
    client.ask("POST /", BODY)
    client.ask("GET /large")
    client.ask(f"GET /file?{LARGE_BYTES}")
    client.ask("GET /stream")


def websocket(world: World, fields: str = "", context: ssl.SSLContext | None = None) -> None:
    client = world.client(context=context)
    if client.upgrade("/echo", fields):
        for message in ("short", b"b" * 2_000, BODY if context is None else BODY[:40_000]):
            client.say(message)
            client.hear()
        client.say("one", "two", "three")
        for _ in range(3):
            client.hear()


def open_session(client: Client) -> str:
    content = client.ask(f"GET {POLLING}")
    return json.loads(content[1:])["sid"] if content[:1] == b"0" else ""


def poll(client: Client, sid: str, begin: str) -> None:
    """Until a packet that begins like that has come; the packets are noted, not their answers."""
    packets: list[str] = []
    while not (client.ended or any(each.startswith(begin) for each in packets)):
        content = client.ask(f"GET {POLLING}&sid={sid}")
        if not content or client.heard[-1][1] != 200:
            return
        del client.heard[-1]
        packets = content.decode().split("\x1e")
        for packet in packets:
            client.note(packet)


def join(client: Client) -> bool:
    if not client.upgrade("/socket.io/?EIO=4&transport=websocket"):
        return False
    client.say("40")
    return client.hear("0") is not None and client.hear("40") is not None


def events(world: World) -> None:
    """Polling, then an upgrade, events with acknowledgements, and a second client that hears them."""
    second = world.client()
    join(second)
    first, upgrading = world.client(), world.client()
    sid = open_session(first)
    if not sid:
        return
    first.ask(f"POST {POLLING}&sid={sid}", b"40")
    poll(first, sid, "40")
    first.ask(f"POST {POLLING}&sid={sid}", b'420["say","by polling"]')
    poll(first, sid, "43")
    if (
        first.ended
        or first.heard[-1][:2] != "43"
        or not upgrading.upgrade(f"/socket.io/?EIO=4&transport=websocket&sid={sid}")
    ):
        return
    upgrading.say("2probe")
    if upgrading.hear() != "3probe":
        return
    upgrading.say("5", '421["say","by WebSocket"]')
    upgrading.hear("42")
    upgrading.hear("43")
    if not (second.ended or upgrading.ended):
        second.hear("42")
        second.hear("42")


def secure(world: World) -> None:
    client = world.client(context=contexts()[1])
    client.ask("POST /", BODY[:40_000])
    client.ask("GET /file?40000")
    websocket(world, context=contexts()[1])


def home(world: World, context: ssl.SSLContext | None = None) -> None:
    """Requests for a session of the first worker that come to the second; an event to clients of both."""
    here, there = world.client(0, context), world.client(1, context)
    join(there)
    sid = open_session(here)
    if not sid:
        return
    away = world.client(1, context)
    away.ask(f"POST {POLLING}&sid={sid}", b"40")
    poll(away, sid, "40")
    away.ask(f"POST {POLLING}&sid={sid}", b'420["say","far"]')
    poll(away, sid, "43")
    away.ask(f"POST {POLLING}&sid={sid}", b'421["say","%s"]' % (b"far" * 100_000))  # more than a link takes
    poll(away, sid, "43")
    if not (there.ended or away.ended):
        there.hear("42")
        there.hear("42")


def good(world: World, context: ssl.SSLContext | None = None) -> None:
    """What every server must do right after a fault."""
    for worker in range(len(world.workers)):
        client = world.client(worker, context)
        assert client.ask("POST /", b"body") == b"body"
        socket = world.client(worker, context)
        assert join(socket)
        socket.say('420["say","good"]')
        assert socket.hear("43") == '430["good"]'


@cache
def contexts() -> tuple[str, ssl.SSLContext]:
    """The server's file, a client's context."""
    authority = trustme.CA()
    path = Path(tempfile.mkdtemp()) / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return str(path), context


@dataclass(frozen=True)
class Scene:
    """A conversation, what serves it, and the calls that it must come to beside those of every one."""

    talk: Conversation
    seams: str
    workers_count: int = 1
    is_secure: bool = False

    def tell(self, faults: Faults, outcome: str = WAITS) -> Story:
        tls = TLSSettings(certfile=contexts()[0]) if self.is_secure else TLSSettings()
        settings = Settings(websocket=WebSocketSettings(per_message_deflate=True), tls=tls)
        sites = [site() for _ in range(self.workers_count)]
        again = partial(good, context=contexts()[1] if self.is_secure else None)
        return tell(sites, settings, self.talk, again, faults, outcome)


EVERY = "accept getsockname setsockopt recv_into send register poll wake woken shutdown"
SCENES = {
    "web": Scene(web, "modify sendmsg dup sendfile"),
    "websocket": Scene(websocket, "modify sendmsg outbox.send outbox.take"),
    "deflate": Scene(partial(websocket, fields=DEFLATE), "compressor compress decompressor decompress"),
    "events": Scene(events, "outbox.send outbox.write"),
    "tls": Scene(
        secure,
        "recv_into send pread tls.memory tls.wrap_bio tls.do_handshake tls.read tls.write tls.unwrap",
        is_secure=True,
    ),
    "relay": Scene(
        lambda world: home(world, contexts()[1]),
        "socketpair link.send link.sendmsg link.recvmsg_into",
        workers_count=2,
        is_secure=True,
    ),
    "home": Scene(home, "modify link.send link.sendmsg link.recvmsg_into", workers_count=2),
}
MEMORY = {
    "web": ("heads and bodies", "a waiting body", "joined pieces"),
    "websocket": ("a WebSocket", "messages", "a large message"),
    "events": ("a WebSocket", "a post", "packets", "an event"),
    "deflate": ("a frame",),
    "home": ("a link's message",),
}


@cache
def usual(name: str) -> Story:
    story = SCENES[name].tell(Faults())
    assert not any(story.ended), f"without a fault a connection ended: {story.heard}"
    assert not story.lines
    return story


def seams_of(name: str) -> list[str]:
    own = SCENES[name].seams if SCENES[name].is_secure else f"{EVERY} {SCENES[name].seams}"
    return own.split() + [f"memory of {what}" for what in MEMORY.get(name, ())]


ROWS = [(name, seam) for name in SCENES for seam in seams_of(name)]
# Faults that may be reported with a traceback: there is no memory, or no descriptor to relay a connection.
REPORTED = (
    "socketpair EMFILE",
    "socketpair ENFILE",
    "socketpair ENOMEM",
    "MemoryError",
    "poll ENOMEM",
    "tls.wrap_bio SSLError",
)


@pytest.mark.parametrize(("name", "seam"), ROWS, ids=map("-".join, ROWS))
def test_each_call_may_fail(name: str, seam: str) -> None:
    expected = usual(name)
    count = expected.counts.get(seam, 0)
    assert count, f"{name} comes to no call of {seam}"
    found = []
    for outcome, faults in CALLS[seam].items():
        for fault, number in itertools.product(faults.split(), range(count)):
            plan = Faults(seam, number, fault)
            try:
                story = SCENES[name].tell(plan, outcome)
                assert plan.reached, "the fault never came"
                check(story, expected, outcome, fault in REPORTED or f"{seam} {fault}" in REPORTED)
            except Exception as error:
                found.append(f"{plan}: {type(error).__name__}: {error}"[:400])
                del error
                gc.collect()  # it holds the world that it ended
    assert not found, f"{len(found)} findings:\n" + "\n".join(found[:10])


# No system does these for good: what is ready is so in the end, and each such accept takes a connection.
ONLY_ONCE = {"EAGAIN", "EINTR", "short", "nothing", "ECONNABORTED", "EPROTO"}
# Without memory they ask again at once, for as long as there is none.
NOT_FOR_LONG = ("poll", "link.recvmsg_into")
LONG_ROWS = [row for row in ROWS if row[1] not in NOT_FOR_LONG]


@pytest.mark.parametrize(("name", "seam"), LONG_ROWS, ids=map("-".join, LONG_ROWS))
def test_calls_may_fail_for_long(name: str, seam: str) -> None:
    """From the first or the second call on all fail, until the conversation is over."""
    found = []
    for faults in CALLS[seam].values():
        for fault, number in itertools.product(sorted({*faults.split()} - ONLY_ONCE), range(2)):
            plan = Faults(seam, number, fault, times=math.inf)
            try:
                SCENES[name].tell(plan, PARTS)
                assert plan.reached or number, "the fault never came"
            except Exception as error:
                found.append(f"{plan}, for long: {type(error).__name__}: {error}"[:400])
                del error
                gc.collect()
    assert not found, f"{len(found)} findings:\n" + "\n".join(found[:10])


def test_the_table_has_a_scene_for_each_call() -> None:
    assert {seam for _, seam in ROWS} == CALLS.keys()


def loses_the_rest(pieces: list[Any], sent: int) -> int:
    count = len(pieces)
    pieces.clear()
    return count


PLANTED = {
    "a loop that turns without end": (
        (Listener, "_wait_for_descriptors", lambda self, error: self._exhausted(error)),
        Faults("accept", 0, "EMFILE", math.inf),
        "without end",
    ),
    "a connection that stays counted": (
        (Acceptor, "lost", lambda self, channel: None),
        Faults("recv_into", 1, "ECONNRESET"),
        "channels: ",
    ),
    "a short write taken for whole": (
        (transport, "drop_sent", loses_the_rest),
        Faults("sendmsg", 0, "short"),
        "a client heard",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_found(planted: str) -> None:
    expected = usual("web")
    place, plan, words = PLANTED[planted]
    with patch.object(*place), pytest.raises(AssertionError, match=words):
        check(SCENES["web"].tell(plan, PARTS), expected, WAITS, False)
    assert plan.reached
    gc.collect()
