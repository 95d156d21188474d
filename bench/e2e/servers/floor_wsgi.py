"""The floor under any Python WSGI server: `floor_wsgi.py PORT APPLICATION each|burst|threads`.
No checks, limits, timeouts or bodies. `each` receives, runs and sends one by one; `burst` takes each step for
all that are ready; `threads` runs them in a second thread. It must not know what the application does."""

import io
import selectors
import socket
import sys
import threading
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any

import hello_wsgi
import httptools

port, application, how = int(sys.argv[1]), getattr(hello_wsgi, sys.argv[2]), sys.argv[3]
CONSTANTS: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": str(port),
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": how == "threads",
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


class Request:
    """What llhttp calls for one GET; then its answer."""

    def __init__(self, client: socket.socket, data: bytes) -> None:
        self.client = client
        self.environ = CONSTANTS.copy()
        self.head = ""
        httptools.HttpRequestParser(self).feed_data(data)
        self.environ["wsgi.input"] = io.BytesIO()

    def on_url(self, url: bytes) -> None:
        path, _, query = url.decode("latin-1").partition("?")
        self.environ.update(REQUEST_METHOD="GET", PATH_INFO=path, QUERY_STRING=query)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.environ["HTTP_" + name.decode().upper().replace("-", "_")] = value.decode("latin-1")

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.head = f"HTTP/1.1 {status}\r\n" + "".join([f"{n}: {v}\r\n" for n, v in headers]) + "\r\n"

    def run(self) -> bytes:
        result: Iterable[bytes] = application(self.environ, self.start_response)
        body = b"".join(result)
        if hasattr(result, "close"):
            result.close()
        return self.head.encode() + body


selector = selectors.DefaultSelector()
listener = socket.create_server(("127.0.0.1", port), backlog=4096)
listener.setblocking(False)
selector.register(listener, selectors.EVENT_READ)
asked: SimpleQueue[Request] = SimpleQueue()
answered: SimpleQueue[tuple[Request, bytes]] = SimpleQueue()
bell, ringer = socket.socketpair()
buffer = bytearray(256 << 10)


def work() -> None:
    while True:
        request = asked.get()
        answered.put((request, request.run()))
        ringer.send(b"\0")


if how == "threads":
    selector.register(bell, selectors.EVENT_READ)
    threading.Thread(target=work, daemon=True).start()

while True:
    ready: list[Request] = []
    for key, _ in selector.select():
        if key.fileobj is listener:
            client, _ = listener.accept()
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client, selectors.EVENT_READ)
            continue
        if key.fileobj is bell:
            bell.recv(4096)
            while not answered.empty():
                request, data = answered.get()
                request.client.send(data)
            continue
        client = key.fileobj  # type: ignore[assignment]
        try:
            received = client.recv_into(buffer)
        except ConnectionError:
            received = 0
        if not received:
            selector.unregister(client)
            client.close()
            continue
        request = Request(client, bytes(memoryview(buffer)[:received]))
        if how == "each":
            client.send(request.run())
        elif how == "burst":
            ready.append(request)
        else:
            asked.put(request)
    for request, data in [(request, request.run()) for request in ready]:
        request.client.send(data)
