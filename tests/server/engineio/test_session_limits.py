"""How many sessions there may be, what one keeps of its request (session_limits.py, http1/packed_head.py).

It must not know sockets.
"""

import json
import tracemalloc
from io import BytesIO
from typing import Any

import pytest

from python_server.engineio.session import DisconnectReason
from python_server.engineio.session_limits import HALF_OPEN_MAX_COUNT, HEAD_UNIT_BYTES, SessionLimits, bounds
from python_server.http1.packed_head import kept
from python_server.http1.parser import Request, RequestParser
from python_server.settings import HTTPSettings
from python_server.wsgi.environ import ServerFacts, build_environ


def test_sessions_are_bounded_with_a_sentence_that_names_the_option(make_world: Any) -> None:
    world = make_world(session_limits=SessionLimits(2, 100))
    first, _ = world.open(), world.open()
    refused = world.request()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert "--limit-sessions" in world.complaints[-1]
    assert world.ask_for_websocket().status == 503
    world.engine.sessions[first].end(DisconnectReason.FORCED_CLOSE)
    assert world.request().status == 503  # it waits for a poll to fetch its close packet
    assert world.get(first).text == "1"
    assert world.request().status == 200


def test_half_open_sessions_are_bounded_until_their_clients_join(make_world: Any) -> None:
    world = make_world(session_limits=SessionLimits(100, 2))
    sids = [world.open(), world.open()]
    assert world.request().status == 503
    assert "--limit-half-open-sessions" in world.complaints[-1]
    world.engine.sessions[sids[0]].join()
    world.engine.sessions[sids[0]].join()
    assert world.request().status == 200
    assert world.request().status == 503
    world.engine.sessions[sids[1]].end(DisconnectReason.TRANSPORT_CLOSE)
    assert world.request().status == 200


def test_a_large_head_counts_for_several(make_world: Any) -> None:
    world = make_world(session_limits=SessionLimits(100, 10))
    assert world.request(x="a" * 8 * HEAD_UNIT_BYTES).status == 200
    assert world.request().status == 200
    assert world.request().status == 503


@pytest.mark.parametrize("end", DisconnectReason)
def test_every_end_is_counted_once(make_world: Any, end: DisconnectReason) -> None:
    session_limits = SessionLimits(100, 100)
    world = make_world(session_limits=session_limits)
    for sid in (world.open(), world.open()):
        world.engine.sessions[sid].end(end)
    websocket = world.websocket()
    assert session_limits.half_open_count >= 1
    websocket.lose()
    world.clock.advance(60)
    assert (session_limits.sessions_count, session_limits.half_open_count) == (0, 0)
    assert not world.engine.sessions


def test_nobody_is_asked_to_admit_what_cannot_open(make_world: Any) -> None:
    asked: list[Any] = []
    world = make_world(
        session_limits=SessionLimits(1, 1), admit=lambda exchange, admitted: (asked.append(1), admitted())
    )
    assert world.request().status == 200
    assert world.request().status == 503
    assert asked == [1]


@pytest.mark.parametrize(
    ("sessions", "half_open", "descriptors", "expected"),
    [
        (None, None, 1024, (10_000, 5_000)),
        (None, None, 50_000, (50_000, 25_000)),
        (None, None, 1_000_000, (1_000_000, HALF_OPEN_MAX_COUNT)),
        (7, None, 1024, (7, 3)),
        (1, None, 1024, (1, 1)),
        (None, 9, 1024, (10_000, 9)),
    ],
)
def test_the_default_follows_the_descriptors(
    sessions: int | None, half_open: int | None, descriptors: int, expected: tuple[int, int]
) -> None:
    assert bounds(sessions, half_open, descriptors) == expected


FIELDS = "".join(f"X-{number}: {'v' * 30}\r\n" for number in range(20))
HEAD = f"GET /socket.io/?EIO=4 HTTP/1.1\r\nHost: h\r\nCookie: a=\xe9\r\nX-Empty:\r\n{FIELDS}\r\n".encode(
    "latin-1"
)


def heads(count: int) -> list[Request]:
    parsed: list[Any] = []
    for number in range(count):  # as of so many clients, each with a cookie of its own
        parsed += RequestParser(HTTPSettings()).receive(HEAD.replace(b"a=", b"a%d=" % number))[:1]
    return parsed


def test_a_kept_head_makes_the_same_environ() -> None:
    (request,) = heads(1)
    request.peer, request.local = ("192.0.2.1", 1), ("192.0.2.2", 80)
    request.context = "the middleware's"
    again, head_bytes = kept(request)
    environs = [build_environ(item, ServerFacts(), BytesIO()) for item in (request, again)]
    for environ in environs:
        del environ["wsgi.input"]
    assert environs[0] == environs[1]
    assert environs[0]["HTTP_COOKIE"] == "a0=\xe9"
    assert again.context == request.context
    assert dict(again.fields) == dict(request.fields)
    assert (again.get("x-empty", "-"), again.get("x-none", "-"), len(again.fields)) == ("", "-", 23)
    assert (again.headers, again.raw_head) == ((), b"")
    assert 600 < head_bytes < len(HEAD) + 100


def test_a_session_keeps_a_fraction_of_what_a_parsed_head_takes(make_world: Any) -> None:
    def held(keep: Any) -> int:
        parsed = heads(300)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        things = [keep(item) for item in parsed]
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(things) == 300
        return (after - before) // 300

    heads(300)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    whole = heads(300)
    parsed_bytes = (tracemalloc.get_traced_memory()[0] - before) // len(whole)
    tracemalloc.stop()
    assert held(lambda request: kept(request)[0]) < parsed_bytes / 2


def test_the_session_s_request_is_the_kept_one(world: Any) -> None:
    sid = json.loads(world.request(x_a="1").text[1:])["sid"]
    request = world.engine.sessions[sid].request
    assert request.headers == ()
    assert request.get("x-a") == "1"
    assert build_environ(request, ServerFacts(), BytesIO())["HTTP_X_A"] == "1"
