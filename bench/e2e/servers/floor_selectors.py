"""The floor under any Python server: `floor_selectors.py PORT [SWITCH_INTERVAL]`, a bare `selectors` echo.
No WebSocket, one receive and one send per turn; it must not know messages."""

import selectors
import socket
import sys

import busy  # noqa: F401

if len(sys.argv) > 2:
    sys.setswitchinterval(float(sys.argv[2]))
selector = selectors.DefaultSelector()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
listener.setblocking(False)
selector.register(listener, selectors.EVENT_READ)
buffer = bytearray(256 << 10)
view = memoryview(buffer)
unsent: dict[socket.socket, bytes] = {}


def close(client: socket.socket) -> None:
    selector.unregister(client)
    unsent.pop(client, None)
    client.close()


def send(client: socket.socket, data: memoryview | bytes) -> None:
    try:
        sent = client.send(data)
    except BlockingIOError:
        sent = 0
    if sent < len(data):
        unsent[client] = bytes(data[sent:])
        selector.modify(client, selectors.EVENT_WRITE)
    elif client in unsent:
        del unsent[client]
        selector.modify(client, selectors.EVENT_READ)


while True:
    for key, events in selector.select():
        if key.fileobj is listener:
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(accepted, selectors.EVENT_READ)
            continue
        client = key.fileobj
        assert isinstance(client, socket.socket)
        try:
            if events & selectors.EVENT_WRITE:
                send(client, unsent[client])
            elif received := client.recv_into(buffer):
                send(client, view[:received])
            else:
                close(client)
        except ConnectionError:
            close(client)
