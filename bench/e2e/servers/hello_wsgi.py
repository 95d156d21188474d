"""The WSGI application of the HTTP scenarios: `bare` is a hello in one function, `view` the same in Flask.
It must not know which server runs it."""

from collections.abc import Callable, Iterable
from typing import Any

import busy  # noqa: F401
from flask import Flask

BODY = b"Hello, World!"
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(BODY)))]


def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", HEADERS)
    return [BODY]


view = Flask(__name__)


@view.get("/")
def hello() -> str:
    return "Hello, World!"
