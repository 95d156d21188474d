"""The WSGI application behind the conformance tests: one path per kind of answer.

It must not know which test asks.
"""

import io
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]

TEXT = ("Content-Type", "text/plain")
FILE_BYTES = 3_000_000
closed: list[str] = []
ran: list[str] = []


def plain_file() -> Any:
    file = tempfile.TemporaryFile("w+b", buffering=0)  # noqa: SIM115  # the server closes it
    file.write(bytes(range(256)) * (FILE_BYTES // 256) + b"end")
    file.seek(0)
    return file


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "5")])
    return [b"hello"]


def env(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    shown = {key: value if isinstance(value, (str, bool)) else repr(value) for key, value in environ.items()}
    shown["kept a copy"] = type(environ) is dict and dict(environ) == environ
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class Pieces:
    """An iterable whose `close` is noted."""

    def __init__(self, name: str, pieces: Iterable[bytes]) -> None:
        self._name = name
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        closed.append(self._name)


def generator(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return Pieces("generator", (piece for piece in (b"one", b"", b"two")))


def late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])

    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("raised on purpose")

    return Pieces("late", pieces())


def short(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "10")])
    return [b"short"]


def long(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "3")])
    return [b"longer"]


def early(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("raised on purpose")


def started(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    raise RuntimeError("raised on purpose")


def nothing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return [b"no start_response"]


def writes(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", [TEXT])
    write(b"written ")
    write(b"twice ")
    return [b"returned"]


def replaced(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    try:
        raise RuntimeError("raised on purpose")
    except RuntimeError:
        start_response("503 Service Unavailable", [TEXT], sys.exc_info())
    return [b"replaced"]


def header(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The header, or status, that the query asks for: `?kind`."""
    kinds: dict[str, tuple[Any, list[Any]]] = {
        "crlf-value": ("200 OK", [TEXT, ("X", "a\r\nInjected: 1")]),
        "lf-value": ("200 OK", [TEXT, ("X", "a\nInjected: 1")]),
        "crlf-name": ("200 OK", [TEXT, ("X\r\nInjected", "1")]),
        "space-name": ("200 OK", [TEXT, ("X Y", "1")]),
        "crlf-status": ("200 OK\r\nInjected: 1", [TEXT]),
        "bytes-value": ("200 OK", [TEXT, ("X", b"1")]),
        "wide-value": ("200 OK", [TEXT, ("X", "\u20ac")]),
        "bytes-status": (b"200 OK", [TEXT]),
        "short-status": ("20", [TEXT]),
        "interim-status": ("103 Early Hints", [TEXT]),
        "hop-by-hop": ("200 OK", [TEXT, ("Transfer-Encoding", "chunked")]),
        "two-lengths": ("200 OK", [TEXT, ("Content-Length", "2"), ("Content-Length", "3")]),
        "no-number": ("200 OK", [TEXT, ("Content-Length", "-2")]),
        "204-length": ("204 No Content", [("Content-Length", "2")]),
    }
    status, headers = kinds[environ["QUERY_STRING"]]
    start_response(status, headers)
    return [b"ok"]


def twice(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    start_response("200 OK", [TEXT])
    return [b"ok"]


def text(environ: Environ, start_response: StartResponse) -> Iterable[Any]:
    start_response("200 OK", [TEXT])
    return ["text"]


def empty(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{environ['QUERY_STRING']} Bodiless", [])
    return [b"dropped"]


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = repr([environ["wsgi.input"].readline(), *environ["wsgi.input"]]).encode()
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    total = 0
    while piece := environ["wsgi.input"].read(65_536):
        total += len(piece)
    body = str(total).encode()
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def download(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    piece = bytes(65_536)
    start_response("200 OK", [TEXT])
    return (piece for _ in range(int(environ["QUERY_STRING"]) // len(piece)))


def whole(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return [bytes(int(environ["QUERY_STRING"]))]


def file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`?plain`, `?offset`, `?short` (Content-Length below the file's), `?memory` (no descriptor)."""
    kind = environ["QUERY_STRING"]
    source: Any = io.BytesIO(b"in memory") if kind == "memory" else plain_file()
    if kind == "offset":
        source.seek(FILE_BYTES)
    headers = [TEXT, ("Content-Length", "1000")] if kind == "short" else [TEXT]
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](source)


def state(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = json.dumps(
        {
            "threads": threading.active_count(),
            "descriptors": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else -1,
            "closed": closed,
            "ran": ran,
        }
    ).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


PATHS = {
    f"/{function.__name__}": function
    for function in (
        *(hello, env, generator, late, short, long, early, started, nothing, writes, replaced, header),
        *(twice, text, empty, echo, lines, upload, download, whole, file, state),
    )
}


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/state":
        ran.append(environ["PATH_INFO"])
        del ran[:-100]
    return PATHS.get(environ["PATH_INFO"], hello)(environ, start_response)
