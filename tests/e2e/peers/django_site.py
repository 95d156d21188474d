"""A Django project of one file, with Socket.IO around it, in python-socketio's words.

It must not know which package is behind the import: the tests run it on both.
"""

from typing import Any

import django
import socketio
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from werkzeug.serving import run_simple

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="secret!")
django.setup()

async_mode = "threading"
sio = socketio.Server(async_mode=async_mode)


def page(request: HttpRequest) -> HttpResponse:
    sio.emit("viewed", request.path)
    return HttpResponse("a page")


urlpatterns = [path("", page)]
app = socketio.WSGIApp(sio, get_wsgi_application())


@sio.event
def connect(sid: str, environ: Any) -> None:
    sio.emit("hello", (1, 2, {"hello": "you"}), to=sid)


@sio.event
def ping_from_client(sid: str) -> None:
    sio.emit("pong_from_server", room=sid)


if __name__ == "__main__":
    run_simple("127.0.0.1", 0, app, threaded=True)
