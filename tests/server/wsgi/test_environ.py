"""The environ of a request, its body as a file, and files as bodies.

It must not know sockets.
"""

import io
from typing import Any

from python_server.http1.parser import Request
from python_server.wsgi.environ import (
    PIECE_BYTES,
    BodyReader,
    FileWrapper,
    ServerFacts,
    body_pieces,
    build_environ,
    environ_key,
    file_pieces,
)


def request(body_length: int | None = 0, **more: Any) -> Request:
    made = Request("GET", "/a", "/a", "", (1, 1), [], body_length=body_length, **more)
    made.peer, made.local = ("10.0.0.9", 5), ("10.0.0.1", 80)
    return made


def test_names_that_would_collide_are_dropped() -> None:
    assert environ_key("x-a") == "HTTP_X_A"
    assert environ_key("x_a") == ""
    assert environ_key("content-type") == "CONTENT_TYPE"
    assert environ_key("content-length") == "CONTENT_LENGTH"


def test_a_unix_socket_still_gives_text_r63() -> None:
    made = request()
    made.peer, made.local = "", "/run/socket"
    environ = build_environ(made, ServerFacts(), io.BytesIO())
    assert environ["SERVER_NAME"]
    assert environ["SERVER_PORT"]
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("", "")


def test_the_server_name_may_be_given_r64() -> None:
    environ = build_environ(request(), ServerFacts(server_name="shop.test"), io.BytesIO())
    assert environ["SERVER_NAME"] == "shop.test"


def test_only_plain_files_go_by_descriptor(tmp_path: Any) -> None:
    import gzip

    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.read(3)
        extent = FileWrapper(file).extent()
        assert extent is not None
        assert extent[1:] == (3, 7)
    zipped = tmp_path / "zipped"
    zipped.write_bytes(gzip.compress(b"hello"))
    with gzip.open(zipped) as packed:
        assert FileWrapper(packed).extent() is None
        assert b"".join(FileWrapper(packed)) == b"hello"
    assert FileWrapper(io.BytesIO(b"x")).extent() is None


def test_the_file_is_closed_when_it_can_be() -> None:
    file = io.BytesIO(b"x")
    FileWrapper(file).close()
    assert file.closed
    assert not hasattr(FileWrapper(iter(())), "close")


def test_pieces_of_a_body_are_views_of_it() -> None:
    body = bytes(range(256)) * 4_096
    pieces = list(body_pieces(body))
    assert b"".join(pieces) == body
    assert all(piece.obj is body for piece in pieces)


def test_what_an_application_finds_in_its_environ() -> None:
    made = Request("GET", "/a%20b?q=%2F", "/a b", "q=%2F", (1, 0), [], body_length=3)
    made.peer, made.local = ("10.0.0.9", 5), ("10.0.0.1", 80)
    made.fields = {"content-type": "text/plain", "x-a": "1, 2", "x_a": "dropped", "host": "old"}
    made.authority = "shop.test"
    body = io.BytesIO(b"abc")
    environ = build_environ(made, ServerFacts(), body)
    words = [environ[key] for key in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REQUEST_URI")]
    assert words == ["GET", "/a b", "q=%2F", "/a%20b?q=%2F"]
    assert (environ["SERVER_PROTOCOL"], environ["wsgi.url_scheme"]) == ("HTTP/1.0", "http")
    assert (environ["REMOTE_ADDR"], environ["SERVER_PORT"]) == ("10.0.0.9", "80")
    fields = [environ[key] for key in ("CONTENT_TYPE", "HTTP_X_A", "HTTP_HOST")]
    assert fields == ["text/plain", "1, 2", "shop.test"]
    assert environ["wsgi.input"] is body
    assert "dropped" not in environ.values()


def test_a_body_of_unknown_length_is_unchunked_already() -> None:
    made = request(body_length=None)
    made.fields = {"transfer-encoding": "chunked"}
    environ = build_environ(made, ServerFacts(), io.BytesIO())
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert environ["wsgi.input_terminated"] is True


def test_a_body_is_read_in_pieces_and_the_first_read_is_told() -> None:
    told: list[str] = []
    pieces = [b"abcd", b"", b"never"]

    class Queue:
        def get(self) -> bytes:
            return pieces.pop(0)

    queue: Any = Queue()
    reader = BodyReader(queue, lambda: told.append("before"), lambda: told.append("after"))
    assert reader.readable()
    assert reader.read(3) == b"abc"
    assert told == ["before", "after"]
    assert (reader.read(3), reader.read(3)) == (b"d", b"")
    assert told == ["before", "after", "after"]


def test_a_file_goes_in_blocks_or_in_slices(tmp_path: Any) -> None:
    assert list(FileWrapper(io.BytesIO(b"abcde"), 2)) == [b"ab", b"cd", b"e"]
    path = tmp_path / "file"
    path.write_bytes(bytes(PIECE_BYTES + 10))
    with path.open("rb") as file:
        file.read(4)
        extent = FileWrapper(file).extent()
        assert extent is not None
        source, offset, count = extent
        assert (offset, count) == (4, PIECE_BYTES + 6)
        slices = list(file_pieces(source, offset, count))
    assert [len(piece) for piece in slices] == [PIECE_BYTES, 6]
    with open("/dev/null", "rb") as device:
        assert FileWrapper(device).extent() is None


def test_what_a_program_wants_in_each_environ_goes_before_the_request() -> None:
    facts = ServerFacts(further={"wsgi.url_scheme": "https", "shop": 1})
    environ = build_environ(request(), facts, io.BytesIO())
    assert (environ["wsgi.url_scheme"], environ["shop"], environ["PATH_INFO"]) == ("https", 1, "/a")
