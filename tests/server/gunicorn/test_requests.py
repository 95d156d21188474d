"""A request as gunicorn's logger and hooks see it (requests.py).

It must not know gunicorn's workers; its configuration and loggers are the real ones.
"""

import logging
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.instrument.statsd import Statsd

from python_server.gunicorn.requests import GunicornAccessLog, access_log_of, with_hooks
from python_server.http1.parser import Request, RequestParser
from python_server.settings import HTTPSettings

ATOMS = (
    '%(h)s %(l)s %(u)s "%(r)s" %(s)s %(m)s %(U)s %(q)s %(H)s %(b)s %(B)s "%(f)s" "%(a)s" %(T)s %(D)s '
    "%(M)s %(L)s %({x-forwarded-for}i)s %({content-type}o)s %({http_host}e)s %({unknown}i)s"
)
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "/below",
    "PATH_INFO": "/here",
    "QUERY_STRING": "a=1",
    "RAW_URI": "/below/here?a=1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_USER_AGENT": "curl",
    "CONTENT_TYPE": "text/plain",
}


def configuration(**words: Any) -> Config:
    cfg = Config()
    for name, value in words.items():
        cfg.set(name, value)
    return cfg


def request(peer: object = ("192.0.2.1", 4321)) -> Request:
    head = (
        b'GET /here?a=1 HTTP/1.1\r\nHost: example.com\r\nReferer: /from\r\nUser-Agent: curl "7"\r\n'
        b"X-Forwarded-For: 198.51.100.7\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\r\n"
    )
    parser = RequestParser(HTTPSettings())
    found = next(event for event in parser.receive(head) if isinstance(event, Request))
    found.peer = peer
    return found


def written(logger: Any, caplog: pytest.LogCaptureFixture, peer: object = ("192.0.2.1", 4321)) -> str:
    logger.access_log.propagate = True
    with caplog.at_level(logging.INFO, "gunicorn.access"):
        GunicornAccessLog(logger).write(request(peer), 404, 9, 1.5)
    return caplog.records[-1].getMessage()


def test_every_atom_is_filled(caplog: pytest.LogCaptureFixture) -> None:
    logger = Logger(configuration(accesslog="-", access_log_format=ATOMS))
    assert written(logger, caplog) == (
        '192.0.2.1 - user "GET /here?a=1 HTTP/1.1" 404 GET /here a=1 HTTP/1.1 9 9 "/from" "curl \\"7\\"" '
        "1 1500000 1500 1.500000 198.51.100.7 - example.com -"
    )


def test_fields_of_the_answer_are_there_and_secrets_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    atoms = "%(r)s %(q)s %({raw_uri}e)s %({query_string}e)s %({authorization}i)s %({x}o)s %({set-cookie}o)s"
    logger = Logger(configuration(accesslog="-", access_log_format=atoms))
    logger.access_log.propagate = True
    asked = request()
    asked.target, asked.query = "/here?sid=abc&a=1", "sid=abc&a=1"
    with caplog.at_level(logging.INFO, "gunicorn.access"):
        GunicornAccessLog(logger).write(asked, 200, 9, 1.5, [("X", "y"), ("Set-Cookie", "io=abc")])
    assert caplog.records[-1].getMessage() == (
        "GET /here?sid=***&a=1 HTTP/1.1 sid=***&a=1 /here?sid=***&a=1 sid=***&a=1 *** y ***"
    )


def test_a_client_behind_a_unix_socket_has_no_address(caplog: pytest.LogCaptureFixture) -> None:
    logger = Logger(configuration(accesslog="-", access_log_format="<%(h)s>"))
    assert written(logger, caplog, peer="") == "<>"


def test_nobody_is_told_where_nobody_reads_or_counts() -> None:
    assert access_log_of(Logger(configuration())) is None
    assert access_log_of(Logger(configuration(accesslog="-"))) is not None
    statsd = Statsd(configuration(statsd_host="127.0.0.1:8125"))
    assert access_log_of(statsd) is not None
    statsd.sock.close()


def test_without_hooks_the_application_is_called_as_it_is() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        return []

    assert with_hooks(application, configuration(), object()) is application


class Recorded:
    """Hooks that write down what they are given."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def before(self, worker: object, request: Any) -> None:
        self.said.append(("before", worker, request))

    def after(self, worker: object, request: Any, environ: Any, response: Any) -> None:
        self.said.append(
            ("after", worker, request, environ, response.status, response.sent, response.headers)
        )

    def configuration(self) -> Config:
        return configuration(
            pre_request=lambda worker, request: self.before(worker, request),
            post_request=lambda worker, request, environ, response: self.after(
                worker, request, environ, response
            ),
        )


class Pieces:
    """An answer in pieces, closed at its end."""

    def __init__(self, said: list[Any]) -> None:
        self.said = said
        self.pieces = iter([b"one", b"three"])

    def __iter__(self) -> "Pieces":
        return self

    def __next__(self) -> bytes:
        return next(self.pieces)

    def close(self) -> None:
        self.said.append("closed")


@pytest.mark.parametrize("read_whole", [True, False])
def test_hooks_stand_around_the_whole_answer(read_whole: bool) -> None:
    hooks = Recorded()
    began: list[Any] = []

    def application(environ: Any, start_response: Any) -> Pieces:
        hooks.said.append("called")
        start_response("200 OK", [("X-A", "b")])
        return Pieces(hooks.said)

    hooked: Any = with_hooks(application, hooks.configuration(), "worker")
    assert hooked.app is application
    environ = dict(ENVIRON)
    answer = hooked(environ, lambda *words: began.append(words))
    pieces = list(answer) if read_whole else [next(answer)]
    answer.close()
    answer.close()
    assert pieces == ([b"one", b"three"] if read_whole else [b"one"])
    assert began == [("200 OK", [("X-A", "b")])]
    before, called, closed, after = hooks.said
    assert (called, closed) == ("called", "closed")
    request = before[2]
    assert before[:2] == ("before", "worker")
    assert (request.method, request.uri, request.path) == ("GET", "/below/here?a=1", "/below/here")
    assert (request.query, request.version) == ("a=1", (1, 1))
    assert sorted(request.headers) == [("CONTENT-TYPE", "text/plain"), ("USER-AGENT", "curl")]
    assert after == ("after", "worker", request, environ, "200 OK", 8 if read_whole else 3, [("X-A", "b")])


def test_an_application_that_fails_is_told_of_and_fails() -> None:
    hooks = Recorded()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise RuntimeError("of the application")

    hooked: Any = with_hooks(application, hooks.configuration(), "worker")
    with pytest.raises(RuntimeError, match="of the application"):
        hooked(dict(ENVIRON), lambda *words: None)
    assert [said[0] for said in hooks.said] == ["before", "after"]


def test_hooks_with_fewer_parameters_are_called_as_gunicorn_does() -> None:
    ended: list[str] = []
    cfg = configuration(
        pre_request=lambda worker, request: None,
        post_request=lambda worker, request: ended.append(request.method),
    )
    hooked: Any = with_hooks(lambda environ, start_response: [b""], cfg, "worker")
    assert list(hooked(dict(ENVIRON), lambda *words: None)) == [b""]
    assert ended == ["GET"]
