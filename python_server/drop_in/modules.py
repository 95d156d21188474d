"""The table of drop-in: which module's name stands for what.

Must not know: how modules are found and made, when the table holds.
"""

from __future__ import annotations

from typing import Final

from python_server.drop_in.importing import Package

_GREEN: Final = Package(
    "stand-ins on threads",
    "is not among the stand-ins of --drop-in: use Python's own threads, or serve the program without it",
    green=True,
)
_REAL: Final = "is the real package's, which is not installed here or has no such name: pip install python-"
PACKAGES: Final = {
    "flask_socketio": Package(
        "python_server", "has no counterpart in python_server: docs/migration.md says what to write instead"
    ),
    "socketio": Package("python_server's server, and python-socketio's clients", f"{_REAL}socketio"),
    "engineio": Package("python_server's server, and python-engineio's clients", f"{_REAL}engineio"),
    "eventlet": _GREEN,
    "gevent": _GREEN,
    "geventwebsocket": _GREEN,
}
# Where the names of the table are.
HOMES: Final = (
    "python_server.drop_in.servers",
    "python_server.drop_in.waiting",
    "python_server.drop_in.greenlets",
    "python_server.drop_in.events",
    "python_server.drop_in.words",
    "python_server.drop_in.wsgi_servers",
    "python_server",
)
_APPS: Final = "WSGIApp Middleware=WSGIApp"
_QUEUES: Final = "Empty Full LifoQueue PriorityQueue Queue"
_PLAIN: Final = (
    "http http.client http.server os select selectors socket ssl subprocess threading time "
    "urllib urllib.error urllib.parse urllib.request"
)
_SPAWN: Final = "sleep kill spawn spawn_n=spawn spawn_after=spawn_later getcurrent"
_TIMEOUT: Final = "Timeout=StartedTimeout with_timeout"

# A module's names; `theirs=ours` where two differ. Before a colon: the module that has all others, the real
# one of this name if it is installed, or one of the standard library.
MODULES: Final = {
    "flask_socketio": "ConnectionRefusedError Namespace SocketIO SocketIOTestClient call close_room "
    "disconnect emit join_room leave_room rooms send",
    "flask_socketio.namespace": "Namespace",
    "flask_socketio.test_client": "SocketIOTestClient",
    "socketio": f"real: Server Namespace=ServerNamespace {_APPS}",
    "socketio.base_server": "real: BaseServer=Server",
    "socketio.exceptions": "real: ConnectionRefusedError TimeoutError",  # which our `call` raises
    "socketio.middleware": f"real: {_APPS}",
    "socketio.namespace": "real: Namespace=ServerNamespace",
    "socketio.server": "real: Server",
    "engineio": f"real: Server=EngineServer {_APPS}",
    "engineio.middleware": f"real: {_APPS}",
    "engineio.payload": "real: Payload",
    "engineio.server": "real: Server=EngineServer",
    "eventlet": f"{_SPAWN} {_TIMEOUT} monkey_patch import_patched=original listen wrap_ssl GreenPool "
    "GreenPile Semaphore BoundedSemaphore=Semaphore Event=SentEvent Queue "
    "__version__=EVENTLET",
    "eventlet.convenience": "listen wrap_ssl",
    "eventlet.corolocal": "local",
    "eventlet.debug": "hub_blocking_detection=ignore hub_exceptions=ignore tpool_exceptions=ignore",
    "eventlet.event": "Event=SentEvent",
    "eventlet.greenpool": "GreenPile GreenPool",
    "eventlet.greenthread": f"{_SPAWN} spawn_after_local=spawn_later GreenThread=Greenlet",
    "eventlet.hubs": "trampoline use_hub=ignore",
    "eventlet.patcher": "monkey_patch is_monkey_patched=never import_patched=original original",
    "eventlet.queue": f"{_QUEUES} LightQueue=Queue",
    "eventlet.semaphore": "Semaphore BoundedSemaphore=Semaphore",
    "eventlet.timeout": _TIMEOUT,
    "eventlet.tpool": "execute Proxy=proxied killall=ignore set_num_threads=ignore",
    "eventlet.websocket": "WebSocketWSGI WebSocket=EventletWebSocket",
    "eventlet.wsgi": "server=serve_eventlet",
    "eventlet.green": "",
    "eventlet.green.BaseHTTPServer": "http.server:",
    "eventlet.green.Queue": "queue:",
    "eventlet.green.SocketServer": "socketserver:",
    "eventlet.green.builtin": "builtins:",
    "eventlet.green.httplib": "http.client:",
    "eventlet.green.thread": "_thread:",
    **{f"eventlet.green.{name}": f"{name}:" for name in _PLAIN.split()},
    "gevent": "sleep spawn spawn_raw=spawn spawn_later kill killall joinall wait iwait idle=sleep getcurrent "
    "Greenlet GreenletExit Timeout with_timeout signal_handler reinit=ignore __version__=GEVENT",
    "gevent.event": "Event=Flag AsyncResult",
    "gevent.exceptions": "GreenletExit",
    "gevent.greenlet": "Greenlet joinall killall",
    "gevent.local": "local",
    "gevent.lock": "Semaphore BoundedSemaphore=Semaphore RLock",
    "gevent.monkey": "patch_all is_module_patched=never is_object_patched=never get_original "
    "patch_time=patch_all patch_builtins=patch_all patch_dns=patch_all patch_module=patch_all "
    "patch_os=patch_all patch_queue=patch_all patch_select=patch_all patch_signal=patch_all "
    "patch_socket=patch_all patch_ssl=patch_all patch_subprocess=patch_all patch_sys=patch_all "
    "patch_thread=patch_all",
    "gevent.pool": "Pool=GreenletPool Group=GreenletPool",
    "gevent.pywsgi": "WSGIServer=PyWSGIServer WSGIHandler=PyWSGIHandler",
    "gevent.queue": f"{_QUEUES} JoinableQueue=Queue SimpleQueue=Queue",
    "gevent.socket": "socket: socket=GreenSocket wait_read wait_write",
    "gevent.threadpool": "ThreadPool",
    "gevent.timeout": "Timeout with_timeout",
    **{f"gevent.{name}": f"{name}:" for name in ("os", "select", "signal", "ssl", "subprocess", "time")},
    "geventwebsocket": "Resource WebSocketApplication WebSocketError WebSocketServer=PyWSGIServer",
    "geventwebsocket.exceptions": "WebSocketError",
    "geventwebsocket.handler": "WebSocketHandler",
    "geventwebsocket.resource": "Resource WebSocketApplication",
    "geventwebsocket.server": "WebSocketServer=PyWSGIServer",
    "geventwebsocket.websocket": "WebSocket=BlockingWebSocket WebSocketError",
}
