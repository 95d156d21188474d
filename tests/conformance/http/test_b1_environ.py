"""Table B1: the environ an application is given, by raw sockets against the running server.

It must not know how the environ is made.
"""

import json
from typing import Any

import pytest

REQUEST = (
    b"GET /env/%C3%A9%2F?q=%41&b HTTP/1.1\r\nHost: Ex.com:81\r\nX-Forwarded-For: 9.9.9.9\r\n"
    b"X-Forwarded-Proto: https\r\nX-Dup: 1\r\nX-Dup: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX_Under: evil\r\n"
    b"X-Under: good\r\n\r\n"
)


def environ(server: Any, data: bytes) -> tuple[dict[str, Any], Any]:
    with server.connect() as client:
        client.send(data)
        answer = client.answer()
        assert answer.status == 200
        return json.loads(answer.body), client.socket.getsockname()


@pytest.fixture(scope="module")
def shown(server: Any) -> tuple[dict[str, Any], Any]:
    return environ(server, REQUEST.replace(b"/env/%C3%A9%2F", b"/env"))


EXPECTED = {
    "REQUEST_METHOD-R80": ("REQUEST_METHOD", "GET"),
    "SERVER_NAME-R63": ("SERVER_NAME", "127.0.0.1"),
    "SERVER_PROTOCOL-R80": ("SERVER_PROTOCOL", "HTTP/1.1"),
    "REMOTE_ADDR-R80": ("REMOTE_ADDR", "127.0.0.1"),
    "SCRIPT_NAME-R80": ("SCRIPT_NAME", ""),
    "PATH_INFO-R80": ("PATH_INFO", "/env"),
    "QUERY_STRING-R80": ("QUERY_STRING", "q=%41&b"),
    "two Cookies": ("HTTP_COOKIE", "a=1; b=2"),
    "repeated header": ("HTTP_X_DUP", "1,2"),
    "a header with an underscore never takes the place of another": ("HTTP_X_UNDER", "good"),
    "Host": ("HTTP_HOST", "Ex.com:81"),
    "REQUEST_URI": ("REQUEST_URI", "/env?q=%41&b"),
    "RAW_URI": ("RAW_URI", "/env?q=%41&b"),
    "scheme is http, whatever an untrusted client says": ("wsgi.url_scheme", "http"),
    "multithread": ("wsgi.multithread", True),
    "multiprocess": ("wsgi.multiprocess", False),
    "run_once": ("wsgi.run_once", False),
    "input_terminated": ("wsgi.input_terminated", True),
    "version": ("wsgi.version", "(1, 0)"),
    "a plain dict that can be kept-R52": ("kept a copy", True),
}


@pytest.mark.parametrize(("key", "value"), EXPECTED.values(), ids=EXPECTED)
def test_entry(shown: tuple[dict[str, Any], Any], key: str, value: object) -> None:
    assert shown[0][key] == value


def test_ports_are_text_r63(server: Any, shown: tuple[dict[str, Any], Any]) -> None:
    assert shown[0]["SERVER_PORT"] == str(server.port)
    assert shown[0]["REMOTE_PORT"] == str(shown[1][1])


def test_software_names_us_and_never_gevent(shown: tuple[dict[str, Any], Any]) -> None:
    assert shown[0]["SERVER_SOFTWARE"].startswith("python_server/")


def test_file_wrapper_and_errors_are_there(shown: tuple[dict[str, Any], Any]) -> None:
    assert {"wsgi.file_wrapper", "wsgi.errors", "wsgi.input"} <= set(shown[0])


def test_nothing_of_the_process_is_in_it(shown: tuple[dict[str, Any], Any]) -> None:
    assert not {"PATH", "HOME", "CONTENT_TYPE", "CONTENT_LENGTH"} & set(shown[0])


def test_path_is_percent_decoded_as_latin_1_r80(server: Any) -> None:
    with server.connect() as client:
        client.send(REQUEST)
        assert client.answer().status == 200
    assert "/env/\xc3\xa9/" in server.state()["ran"]


def test_query_is_always_there_r80(server: Any) -> None:
    found, _ = environ(server, b"GET /env HTTP/1.1\r\nHost: a\r\n\r\n")
    assert found["QUERY_STRING"] == ""


def test_absolute_form_path_and_host(server: Any) -> None:
    found, _ = environ(server, b"GET http://b.test:8/env?x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (found["PATH_INFO"], found["QUERY_STRING"], found["HTTP_HOST"]) == ("/env", "x", "b.test:8")


def test_body_headers(server: Any) -> None:
    post = b"POST /env HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\n"
    found, _ = environ(server, post + b"Content-Length: 1\r\n\r\nx")
    assert (found["CONTENT_TYPE"], found["CONTENT_LENGTH"]) == ("a/b", "1")
    assert "HTTP_CONTENT_LENGTH" not in found
    found, _ = environ(server, post + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert "CONTENT_LENGTH" not in found
    assert "HTTP_TRANSFER_ENCODING" not in found


def test_protocol_is_as_sent(server: Any) -> None:
    with server.connect() as client:
        client.send(b"GET /env HTTP/1.0\r\n\r\n")
        assert json.loads(client.answer().body)["SERVER_PROTOCOL"] == "HTTP/1.0"
