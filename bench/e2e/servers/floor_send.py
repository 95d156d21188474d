"""The floor under any Python broadcast: `floor_send.py PORT broadcast|socketio`, a bare loop of `send`.
It knows RFC 6455's happy path and the packets of the room scenario; it is no server to expose."""

import base64
import hashlib
import re
import selectors
import socket
import sys

ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
socketio = sys.argv[2] == "socketio"
selector = selectors.DefaultSelector()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
listener.setblocking(False)
selector.register(listener, selectors.EVENT_READ)
members: set[socket.socket] = set()
rest: dict[socket.socket, bytes] = {}


def frame(payload: bytes, opcode: int) -> bytes:
    size = len(payload)
    return (
        bytes((0x80 | opcode, size)) + payload
        if size < 126
        else (bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload)
    )


def messages(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole masked messages, and the bytes of the next one."""
    found, at = [], 0
    while len(data) - at >= 6:
        size, head = data[at + 1] & 127, at + 2
        if size == 126:
            size, head = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        if len(data) < head + 4 + size:
            break
        mask = (data[head : head + 4] * (size // 4 + 1))[:size]
        body = data[head + 4 : head + 4 + size]
        found.append((int.from_bytes(body, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big"))
        at = head + 4 + size
    return found, data[at:]


def answer(client: socket.socket, message: bytes) -> None:
    if not socketio:
        broadcast(frame(message, 2))
    elif message == b"40":
        client.sendall(frame(b'40{"sid":"floor"}', 1))
    elif message.startswith(b"420"):
        members.add(client)
        client.sendall(frame(b'430["joined"]', 1))
    elif message.startswith(b'42["say"'):
        broadcast(frame(b'42["news"' + message[8:], 1))


def broadcast(data: bytes) -> None:
    for member in members:
        member.send(data)


def upgrade(client: socket.socket, head: bytes) -> None:
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
    assert key
    digest = base64.b64encode(hashlib.sha1(key[1] + ACCEPT_SUFFIX).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
    )
    if socketio:
        client.sendall(frame(b'0{"sid":"floor","upgrades":[],"pingInterval":25000,"pingTimeout":20000}', 1))
    else:
        members.add(client)
    rest[client] = b""


while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            accepted, _ = listener.accept()
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(accepted, selectors.EVENT_READ)
            continue
        client = key.fileobj
        assert isinstance(client, socket.socket)
        try:
            data = client.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            selector.unregister(client)
            members.discard(client)
            client.close()
        elif client not in rest:
            upgrade(client, data)
        else:
            found, rest[client] = messages(rest[client] + data)
            for message in found:
                answer(client, message)
