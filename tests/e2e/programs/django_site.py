"""Django in one file, with python-socketio around it.

It must not know which server runs it.
"""

import os

import django
import socketio
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

settings.configure(
    DEBUG=False,
    SECRET_KEY="not a secret",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()

async_mode = "threading"
sio = socketio.Server(async_mode=async_mode, logger=False)
thread = None


def background_thread(sid):
    for count in range(3):
        sio.sleep(0.01)
        sio.emit("my_response", {"data": "Server generated event", "count": count}, to=sid, namespace="/test")


def index(request):
    return HttpResponse("Django: " + request.path)


def broadcast(request, text):
    sio.emit("my_response", {"data": text}, namespace="/test")
    return JsonResponse({"sent": text})


urlpatterns = [path("", index), path("broadcast/<text>", broadcast)]


@sio.on("connect", namespace="/test")
def test_connect(sid, environ, auth):
    sio.save_session(sid, {"agent": environ["REQUEST_METHOD"], "auth": auth}, namespace="/test")
    sio.emit("my_response", {"data": "Connected", "count": 0}, room=sid, namespace="/test")


@sio.on("my_event", namespace="/test")
def test_message(sid, message):
    with sio.session(sid, namespace="/test") as session:
        session["count"] = session.get("count", 0) + 1
        sio.emit("my_response", {"data": message["data"], **session}, to=sid, namespace="/test")


@sio.on("start", namespace="/test")
def start(sid):
    sio.start_background_task(background_thread, sid)
    return "started"


@sio.on("join", namespace="/test")
def join(sid, message):
    sio.enter_room(sid, message["room"], namespace="/test")
    return sorted(room for room in sio.rooms(sid, namespace="/test") if room != sid)


@sio.on("room_event", namespace="/test")
def room_event(sid, message):
    sio.emit("my_response", {"data": message["data"]}, room=message["room"], skip_sid=sid, namespace="/test")


@sio.on("close_room", namespace="/test")
def close(sid, message):
    sio.close_room(message["room"], namespace="/test")


@sio.on("disconnect_request", namespace="/test")
def disconnect_request(sid):
    sio.disconnect(sid, namespace="/test")


application = socketio.WSGIApp(sio, get_wsgi_application())

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", 8000)), application, threaded=True)
