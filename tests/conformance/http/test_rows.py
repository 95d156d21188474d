"""Rows of the specification that no table of messages covers, against the running server.

It must not know how the server does it.
"""

import json
import socket
from typing import Any

GET = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"


def test_connections_do_not_disturb_each_other_r3(server: Any) -> None:
    """One object per connection: three heads arrive in turns, byte by byte."""
    with server.connect() as first, server.connect() as second, server.connect() as third:
        for index in range(len(GET)):
            for client in (first, second, third):
                client.send(GET[index : index + 1])
        assert [client.answer().body for client in (first, second, third)] == [b"hello"] * 3


def test_any_wsgi_callable_is_served_as_it_is_r16(start: Any, tmp_path: Any) -> None:
    """A class with __call__ around a function; middleware is not looked through."""
    (tmp_path / "wrapped.py").write_text(
        "class Middleware:\n"
        "    def __init__(self, app): self.app = app\n"
        "    def __call__(self, environ, start_response):\n"
        "        environ['added'] = 'by middleware'\n"
        "        return self.app(environ, start_response)\n"
        "def inner(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [environ.get('added', 'nothing').encode()]\n"
        "app = Middleware(inner)\n"
    )
    assert start("wrapped:app", folder=tmp_path).ask("/").body == b"by middleware"


def test_limits_are_options_of_one_server_r71(start: Any) -> None:
    server = start(
        "probe_app:app",
        *("--limit-request-line", "60", "--limit-request-fields", "3", "--limit-request-field-size", "50"),
        *("--limit-body", "10"),
    )
    assert server.ask("/hello").status == 200
    assert server.ask("/" + "a" * 60).status == 414
    assert server.ask("/hello", b"A: b\r\nC: d\r\n").status == 431
    assert server.ask("/hello", b"A: " + b"b" * 60 + b"\r\n").status == 431
    assert server.ask("/echo", b"Content-Length: 11\r\n", "POST", b"x" * 11).status == 413


def test_nothing_is_asked_of_a_resolver_r64_r65(server: Any) -> None:
    """The name is the numeric address: no look-up stands between a start, or a request, and its answer."""
    with server.connect() as client:
        client.send(GET.replace(b"/hello", b"/env"))
        environ = json.loads(client.answer().body)
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert "REMOTE_HOST" not in environ


def test_descriptors_are_closed_once_per_connection_r78(server: Any) -> None:
    """A descriptor closed twice would close one that was just given out again."""
    for _ in range(50):
        with server.connect() as kept, server.connect() as gone:
            gone.send(GET[:10])
            gone.socket.shutdown(socket.SHUT_RDWR)
            kept.send(GET)
            assert kept.answer().body == b"hello"


def test_a_timed_out_head_is_408_and_the_server_goes_on_r72(start: Any) -> None:
    server = start(
        "probe_app:app", "--timeout-header", "5", "--timeout-body", "0.2", "--timeout-keep-alive", "0.2"
    )
    with (
        server.connect() as silent,
        server.connect() as head,
        server.connect() as body,
        server.connect() as idle,
    ):
        head.send(GET[:20])
        body.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
        idle.send(GET)
        assert idle.answer().body == b"hello"
        assert idle.rest() == b""
        assert silent.rest() == b""
        for client in (head, body):
            answer = client.answer()
            assert (answer.status, answer.get("Connection")) == (408, "close")
            assert client.rest() == b""
    assert server.ask("/hello").status == 200
