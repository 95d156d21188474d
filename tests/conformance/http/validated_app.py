"""Flask, Django and a bare function, each inside wsgiref.validate: it raises on every breach of PEP 3333.

`/bare...`, `/flask...`, `/django...` choose the application; the rest of the path chooses the answer.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from flask import Flask, Response, request, send_file

DATA = b"0123456789" * 1_000


def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    kind = environ["PATH_INFO"].rpartition("/")[2]
    if kind == "echo":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
    if kind == "write":
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"hello")
        return []
    if kind == "empty":
        start_response("204 No Content", [])
        return [b""]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if kind == "stream":
        return iter([DATA[:5_000], DATA[5_000:]])
    return [b"hello"]


flask_app = Flask(__name__)


@flask_app.route("/flask/hello")
def flask_hello() -> str:
    return "hello"


@flask_app.route("/flask/echo", methods=["POST"])
def flask_echo() -> bytes:
    return request.stream.read(5)  # get_data() reads without a size, which validate forbids


@flask_app.route("/flask/stream")
def flask_stream() -> Response:
    return Response(iter([DATA[:5_000], DATA[5_000:]]))


@flask_app.route("/flask/file")
def flask_file() -> Response:
    return send_file(io.BytesIO(DATA), "application/octet-stream")


@flask_app.route("/flask/empty")
def flask_empty() -> tuple[str, int]:
    return "", 204


def django_hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def django_echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


def django_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([DATA[:5_000], DATA[5_000:]]))


def django_file(request: HttpRequest) -> FileResponse:
    return FileResponse(io.BytesIO(DATA))


def django_empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204, headers={})


urlpatterns = [
    path(f"django/{view.__name__.removeprefix('django_')}", view)
    for view in (django_hello, django_echo, django_stream, django_file, django_empty)
]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of a test", MIDDLEWARE=[])
django.setup()
APPS = {"bare": bare, "flask": flask_app, "django": WSGIHandler()}


class Lenient204:
    """validate refuses a Content-Type beside 204, which frameworks send: it is taken off here."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if status.startswith("204"):
                headers = [
                    field for field in headers if field[0].lower() not in ("content-type", "content-length")
                ]
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        result: Iterator[bytes] = self._application(environ, start)
        return result


VALIDATED = {name: validator(Lenient204(application)) for name, application in APPS.items()}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return VALIDATED[environ["PATH_INFO"].split("/")[1]](environ, start_response)
