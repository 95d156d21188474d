"""Rooms and generators as server-sent events: a real server, raw sockets, a browser's own EventSource.

It must not know how an event is written, or where a listener is kept.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from own_nginx import Nginx
from own_ports import port_of_its_own
from page_blocks import blocks_of

APPS = Path(__file__).parent / "apps"
SECONDS = 60.0
STREAMS_COUNT = 300


class Source:
    """One EventSource over http.client: it keeps the last id, and comes back when it is told to."""

    def __init__(self, url: str, path: str, trusting: ssl.SSLContext | None = None) -> None:
        self.path = path
        self.trusting = trusting
        self.id: str | None = None
        self.connect(url)

    def connect(self, url: str, **fields: str) -> None:
        if hasattr(self, "answer"):
            self.cut()
        if self.id is not None:
            fields["Last-Event-ID"] = self.id
        scheme, _, address = url.partition("://")
        if scheme == "https":
            self.connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                address, timeout=SECONDS, context=self.trusting
            )
        else:
            self.connection = http.client.HTTPConnection(address, timeout=SECONDS)
        self.connection.request("GET", self.path, headers=fields)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"

    def block(self) -> dict[str, str] | None:
        """The next one that is more than a heartbeat; None at the end."""
        while True:
            fields: dict[str, str] = {}
            while (line := self.answer.readline()) not in (b"\n", b""):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                fields[name] = value
            self.id = fields.get("id", self.id)
            if "data" in fields or "retry" in fields:
                return fields
            if not line:
                return None

    def event(self) -> tuple[str, Any]:
        while "data" not in (block := self.block() or pytest.fail("the stream has ended")):
            pass
        return block.get("event", "message"), json.loads(block["data"])

    def opened(self) -> "Source":
        """It listens from here on."""
        assert "retry" in (self.block() or {})
        return self

    def cut(self) -> None:
        self.answer.close()
        self.connection.close()


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


def get(url: str, path: str, is_endless: bool = False, **fields: str) -> Answer:
    """`is_endless`: of its body nothing is awaited."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=fields)
        with connection.getresponse() as answer:
            return Answer(answer.status, answer.headers, b"" if is_endless else answer.read())


def say(url: str, *texts: str, room: str = "red") -> None:
    for text in texts:
        assert get(url, f"/say/{room}/{text}").status == 200


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    notes = tmp_path_factory.mktemp("notes")
    return str(serve(APPS, "event_stream_app:app", "--threads", "4", env={"NOTES": str(notes)}).url)


def test_a_room_is_heard_and_what_was_missed_comes_later(url: str) -> None:
    source = Source(url, "/listen/red").opened()
    say(url, "a")
    assert source.event() == ("said", ["a"])
    source.cut()
    say(url, "b")
    say(url, "elsewhere", room="blue")
    source.connect(url)
    assert source.event() == ("said", ["b"])
    source.cut()
    say(url, "c")
    source.path += f"?last_event_id={source.id}"
    source.id = None
    source.connect(url)
    assert source.event() == ("said", ["c"])
    source.cut()


def test_a_hole_is_told(url: str) -> None:
    source = Source(url, "/listen/red").opened()
    source.cut()
    source.path = "/listen/blue"
    source.connect(url)
    assert source.event() == ("hole", {"reason": "id of another room"})
    say(url, "live", room="blue")
    assert source.event() == ("said", ["live"])
    source.cut()


def test_many_streams_hold_no_thread(url: str) -> None:
    """Four threads serve them all, and other requests meanwhile."""
    sources = [Source(url, "/listen/many").opened() for _ in range(STREAMS_COUNT)]
    say(url, "to-all", room="many")
    assert [source.event() for source in sources] == [("said", ["to-all"])] * STREAMS_COUNT
    assert int(get(url, "/threads").body) <= 4
    for source in sources:
        source.cut()


def test_the_application_says_who_may_listen(url: str) -> None:
    assert get(url, "/listen/private").status == 401
    assert get(url, "/listen/private", is_endless=True, Authorization="Bearer right").status == 200


def test_pages_of_other_origins(url: str) -> None:
    allowed = get(url, "/listen/red", is_endless=True, Origin="https://shop.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    refused = get(url, "/listen/red", Origin="https://elsewhere.example")
    assert (refused.status, b"cors_allowed_origins" in refused.body) == (403, True)


def test_a_generator_and_a_further_request_on_the_connection(url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)
    for _ in range(2):
        connection.request("GET", "/count/3")
        said = connection.getresponse().read().decode()
        assert re.findall("data: (.*)", said) == ['{"number":0}', '{"number":1}', '{"number":2}', "null"]
        assert said.endswith("event: end\ndata: null\n\n")
    connection.request("HEAD", "/listen/red")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    connection.request("GET", "/threads")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_client_that_speaks_http_1_0(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), SECONDS) as sock:
        sock.sendall(b"GET /count/1 HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65_536), b""))
    assert answer.endswith(b'\r\n\r\ndata: {"number":0}\n\nevent: end\ndata: null\n\n')


def test_a_listener_that_speaks_http_1_0_and_one_that_ends_its_side(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), SECONDS) as sock:
        sock.sendall(b"GET /listen/old HTTP/1.0\r\nHost: x\r\n\r\n")
        reader = sock.makefile("rb")
        while not (line := reader.readline()).startswith(b"id"):
            assert b"hunked" not in line
        assert reader.readline() == b"\n"
        say(url, "a", room="old")
        assert [reader.readline() for _ in range(2)] == [b"event: said\n", b'data: ["a"]\n']
        sock.shutdown(socket.SHUT_WR)  # an answer that never ends is not for who has half gone
        assert reader.read().endswith(b"\n\n")
        reader.close()


def test_a_head_says_no_length_of_what_has_no_end(url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)
    with contextlib.closing(connection):
        for _ in range(2):  # on one connection
            connection.request("HEAD", "/listen/red")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, None, b"")


def test_the_head_is_the_applications_own(url: str) -> None:
    own = get(url, "/own-head", is_endless=True)
    assert (own.status, own.headers["Access-Control-Allow-Origin"]) == (201, "https://own.example")
    assert own.headers["Set-Cookie"] == "known=yes; Path=/"
    assert own.headers["X-Accel-Buffering"] == "no"
    nothing = get(url, "/own-head?status=204")
    assert (nothing.status, nothing.body) == (204, b"")


def test_middleware_that_joins_the_pieces_is_told(url: str) -> None:
    assert b"other-server" in get(url, "/joined/listen/red").body


def test_a_room_that_is_closed_is_heard_still(url: str) -> None:
    source = Source(url, "/listen/closed").opened()
    assert get(url, "/close/closed").status == 200
    say(url, "a", room="closed")
    assert source.event() == ("said", ["a"])
    source.cut()


PLAIN = """
from python_server import Server, WSGIApp

server = Server(connection_state_recovery=True)

def plain(environ, start_response):
    if environ["PATH_INFO"] == "/listen":
        return server.stream(environ, start_response, "red")
    server.emit("said", "a", to="red")
    start_response("204 No Content", [])
    return []

app = WSGIApp(server, plain)
"""


def test_a_wsgi_application_without_flask(serve: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    url = serve(tmp_path, "plain:app").url
    source = Source(url, "/listen").opened()
    assert get(url, "/say").status == 204
    assert source.event() == ("said", ["a"])
    source.cut()
    assert get(url, "/say").status == 204
    source.connect(url)
    assert source.event() == ("said", ["a"])
    source.cut()


BEGUN = """import threading
from python_server import Server, WSGIApp

server = Server(cors_allowed_origins=["https://shop.example"])
closed_on = []

def values():
    try:
        yield 1
        yield 2
    finally:
        closed_on.append(type(threading.current_thread()).__name__)

def plain(environ, start_response):
    if environ["PATH_INFO"] == "/values":
        begun = values()
        next(begun)
        return server.stream(environ, start_response, begun)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(closed_on).encode()]

app = WSGIApp(server, plain)
"""


def test_a_generator_that_nobody_will_hear_is_closed_on_a_worker(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    """What it does at its end may block: the loop never runs it."""
    (tmp_path / "begun.py").write_text(BEGUN)
    url = serve(tmp_path, "begun:app").url
    assert get(url, "/values", Origin="https://elsewhere.example").status == 403
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request("HEAD", "/values")
        assert connection.getresponse().status == 200
    while len(closed := get(url, "/closed").body.split()) < 2:
        pass
    assert b"_MainThread" not in closed


def test_one_that_does_not_read_is_cut_off_and_others_are_not(serve: Callable[..., Any]) -> None:
    """It has more unsent than a WebSocket may have."""
    url = serve(APPS, "event_stream_app:app").url
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), SECONDS) as slow:
        slow.sendall(b"GET /listen/red HTTP/1.1\r\nHost: x\r\n\r\n")
        reads = Source(url, "/listen/blue").opened()
        while get(url, "/open").body != b"2":
            pass
        while get(url, "/open").body != b"1":
            assert get(url, "/flood/red/5").status == 200
        say(url, "a", room="blue")
        assert reads.event() == ("said", ["a"])
        reads.cut()


def test_a_view_that_raises_later(serve: Callable[..., Any]) -> None:
    server = serve(APPS, "event_stream_app:app")
    assert get(server.url, "/raises-later").status == 500
    source = Source(server.url, "/listen/red").opened()
    source.cut()


def test_over_tls(serve: Callable[..., Any], tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    both = str(tmp_path / "both.pem")
    server = serve(APPS, "event_stream_app:app", "--ssl-certfile", both, "--ssl-keyfile", both)
    source, speaker = (Source(server.url, f"/listen/{room}", trusting).opened() for room in ("red", "blue"))
    speaker.cut()
    speaker.connection.request("GET", "/say/red/a")
    assert speaker.connection.getresponse().read()
    assert source.event() == ("said", ["a"])
    source.cut()
    speaker.cut()


def test_nginx_as_it_comes_holds_nothing_back(url: str, tmp_path: Path) -> None:
    """It buffers and compresses what it may."""

    def block(port: int) -> str:
        return (
            "gzip on; gzip_types *; gzip_min_length 1;\n"
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; }} }}"
        )

    nginx = Nginx(tmp_path, block)
    try:
        through = f"http://127.0.0.1:{nginx.port}"
        source = Source(through, "/listen/proxied").opened()
        for text in ("a", "b"):
            say(through, text, room="proxied")
            assert source.event() == ("said", [text])
        source.cut()
        say(through, "c", room="proxied")
        source.connect(through)
        assert source.event() == ("said", ["c"])
        source.cut()
    finally:
        nginx.end()


@pytest.mark.extended
def test_under_gunicorn(launch: Callable[..., Any], tmp_path: Path) -> None:
    """Any worker knows what was missed, also after all were replaced."""
    server = launch(APPS, "event_stream_app:app", "--workers", "2", supervisor="gunicorn")
    server.wait_serving(2)
    source = Source(server.url, "/listen/red").opened()
    for number in range(10):
        source.cut()
        say(server.url, f"t{number}")
        source.connect(server.url)
        assert source.event() == ("said", [f"t{number}"])
    roll(server, lambda: None)
    say(server.url, "last")
    while (block := source.block()) is None or "data" not in block:
        if block is None:
            source.connect(server.url)
    assert json.loads(block["data"]) == ["last"]
    source.cut()


def test_a_generator_that_fails(serve: Callable[..., Any], tmp_path: Path) -> None:
    server = serve(APPS, "event_stream_app:app", env={"NOTES": str(tmp_path)})
    source = Source(server.url, "/fail")
    assert [source.event(), source.event()] == [("token", "first"), ("failed", None)]
    assert source.block() is None
    source.cut()
    server.wait_for("a stream's generator")


def test_a_generator_waits_for_its_client_without_a_thread(serve: Callable[..., Any], tmp_path: Path) -> None:
    """One thread serves requests: while a client does not read, others are answered."""
    server = serve(APPS, "event_stream_app:app", "--threads", "1", env={"NOTES": str(tmp_path)})
    host, _, port = server.url.removeprefix("http://").partition(":")
    slow = socket.create_connection((host, int(port)), SECONDS)
    slow.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    assert slow.recv(1)
    assert get(server.url, "/threads").status == 200  # the generator has given its thread back
    before = (tmp_path / "endless").read_text()
    assert get(server.url, "/threads").status == 200
    assert before != "closed"
    assert slow.recv(1)
    slow.close()
    while (tmp_path / "endless").read_text() != "closed":
        assert get(server.url, "/threads").status == 200


@pytest.fixture
def rolling(launch: Callable[..., Any], tmp_path: Path) -> Any:
    server = launch(
        APPS, "event_stream_app:app", "--workers", "2", "--no-access-log", env={"NOTES": str(tmp_path)}
    )
    server.wait_serving(2)
    return server


def roll(server: Any, meanwhile: Callable[[], None]) -> None:
    """Both workers are replaced."""
    server.signal(signal.SIGHUP)
    meanwhile()
    server.wait_ended(2)


def test_a_rolling_restart_hides_nothing(rolling: Any) -> None:
    sources = [Source(rolling.url, "/listen/red").opened() for _ in range(8)]
    heard: list[list[str]] = [[] for _ in sources]
    texts = [f"t{number}" for number in range(60)]
    roll(rolling, lambda: say(rolling.url, *texts))
    say(rolling.url, "last")
    for source, got in zip(sources, heard, strict=True):
        while got[-1:] != ["last"]:
            block = source.block()
            if block is None:  # its worker has ended
                source.connect(rolling.url)
            elif "data" in block:
                assert block["event"] == "said"
                got += json.loads(block["data"])
        source.cut()
    assert heard == [[*texts, "last"]] * len(sources)


def test_a_worker_is_killed(rolling: Any) -> None:
    """Its log is gone with it: who has listened there is told a hole, the others miss nothing."""
    sources = [Source(rolling.url, "/listen/red").opened() for _ in range(8)]
    victim = int(get(rolling.url, "/say/red/first").body)
    for source in sources:
        assert source.event() == ("said", ["first"])
    os.kill(victim, signal.SIGKILL)
    rolling.wait_serving(3)
    say(rolling.url, "second")
    came = []
    for source in sources:
        block: dict[str, str] | None = None
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            while (block := source.block()) is not None and "data" not in block:
                pass
        if block is None or "data" not in block:
            source.connect(rolling.url)
            came.append(source.event()[0])
        else:
            assert json.loads(block["data"]) == ["second"]
    say(rolling.url, "third")
    for source in sources:
        assert source.event() == ("said", ["third"])
        source.cut()
    assert set(came) == {"hole"}


@pytest.mark.needs_browser
def test_the_page_of_streams(serve: Callable[..., Any], browser: Any, tmp_path: Path) -> None:
    (program,) = blocks_of("docs/how-to/streams.md", "python")
    (script,) = blocks_of("docs/how-to/streams.md", "js")
    (tmp_path / "prices.py").write_text(program)
    url = serve(tmp_path, "prices:app").url
    source = Source(url, "/answer")
    assert [source.event() for _ in range(4)] == [
        *(("token", word) for word in ("One ", "by ", "one.")),
        ("end", None),
    ]
    source.cut()
    page = browser.new_page()
    page.goto(f"{url}/nothing-here")
    page.evaluate("() => { window.shown = []; window.show = (price) => shown.push(price.cents) }")
    page.evaluate(f"() => {{ {script}; window.source = source }}")
    page.wait_for_function("source.readyState === 1")
    page.evaluate("fetch('/prices/ACME/995', { method: 'POST' })")
    page.wait_for_function("shown.length === 1")
    assert page.evaluate("shown") == [995]
    page.close()


@pytest.mark.needs_browser
def test_a_page_that_loses_its_connection_misses_nothing(rolling: Any, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"{rolling.url}/page")
    page.wait_for_function("opened.length === 1")
    texts = [f"t{number}" for number in range(60)]
    roll(rolling, lambda: say(rolling.url, *texts))
    say(rolling.url, "last")
    page.wait_for_function("heard.length && heard.at(-1)[1] === 'last'", timeout=SECONDS * 1000)
    assert page.evaluate("heard") == [["said", text] for text in [*texts, "last"]]
    assert page.evaluate("opened.length") >= 2
    page.close()


@pytest.mark.long
def test_another_machine_knows_what_was_missed(
    serve: Callable[..., Any], redis_on_disk: Any, tmp_path: Path
) -> None:
    environment = {
        "BROKER": redis_on_disk.url.replace("redis://", "redis+streams://"),
        "CHANNEL": f"channel-{uuid.uuid4().hex}",
        "NOTES": str(tmp_path),
    }
    machines = [
        serve(APPS, "event_stream_app:app", "--cluster-secret", "of all", env=environment) for _ in range(2)
    ]
    for machine in machines:
        machine.wait_for("joined the broker")
    here, there = (machine.url for machine in machines)
    source = Source(here, "/listen/red").opened()
    while source.id == "-":  # until it is known from which place of the stream on all is heard
        source.cut()
        source = Source(here, "/listen/red").opened()
    say(there, "a")
    assert source.event() == ("said", ["a"])
    source.cut()
    say(here, "b")
    say(there, "c")
    source.connect(there)
    assert {source.event()[1][0], source.event()[1][0]} == {"b", "c"}
    say(here, "d")
    assert source.event() == ("said", ["d"])
    source.cut()
    say(there, "e")
    source.connect(here)
    assert source.event() == ("said", ["e"])
    source.cut()


@pytest.mark.long
def test_machines_that_share_no_stream_tell_a_hole(serve: Callable[..., Any], redis_server: Any) -> None:
    """Each keeps its own log; what is said meanwhile reaches both."""
    machines = []
    channel = f"channel-{uuid.uuid4().hex}"
    for _ in range(2):
        environment = {
            "BROKER": redis_server.url,
            "CHANNEL": channel,
            "WSFRAME_CLUSTER_LISTEN": f"127.0.0.1:{port_of_its_own()}",
            "WSFRAME_CLUSTER_SECRET": "of all",
        }
        machines.append(serve(APPS, "event_stream_app:app", env=environment))
    for machine in machines:
        machine.wait_for("joined the broker")
    here, there = (machine.url for machine in machines)
    source = Source(here, "/listen/red").opened()
    say(there, "a")
    assert source.event() == ("said", ["a"])
    source.cut()
    say(there, "b")
    source.connect(there)
    assert source.event() == ("hole", {"reason": "too long ago, or of another server"})
    say(here, "c")
    assert source.event() == ("said", ["c"])
    source.cut()
