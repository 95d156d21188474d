"""picows: its protocol fed in memory, a Python listener, a transport that discards.

It must not make a system call: the transport says that bytes are waiting, so that picows hands frames to it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any

import aiofastnet
from picows import WSAutoPingStrategy, WSListener, WSMsgType, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol

from peers.ends import Handler, Reads, Sink, always, drop

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
READ_BUFFER_BYTES = 16 * 1024  # its own default; it grows
TEXT, BINARY = WSMsgType.TEXT, WSMsgType.BINARY


class Transport(aiofastnet.Transport):  # type: ignore[misc]
    """What picows asks of the transport that it uses by default: that one takes frames without a copy."""

    def __init__(self, sink: Sink, tcp: socket.socket) -> None:
        self.tcp = tcp  # its options are set, then nothing is sent on it
        self.handshake = b""
        self.get_write_buffer_size = always(1)
        self.is_closing = always(False)
        self.write_nocheck, self.writelines_nocheck = sink.write, sink.writelines

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self.tcp
        return None if name == "ssl_object" else ("127.0.0.1", 1)

    def write(self, data: bytes) -> None:
        self.handshake += data

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


class Listener(WSListener):  # type: ignore[misc]
    def __init__(self, handle: Handler) -> None:
        super().__init__()
        self.handle = handle
        self.transport: Any = None

    def on_ws_connected(self, transport: Any) -> None:
        self.transport = transport


class BinaryListener(Listener):
    """One that knows what it is sent, and looks at nothing."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self.handle(frame.get_payload_as_bytes())


class TextListener(Listener):
    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self.handle(frame.get_payload_as_utf8_text())


class AnyListener(Listener):
    """Of all messages, also of fragments, which picows leaves to its users."""

    def __init__(self, handle: Handler) -> None:
        super().__init__(handle)
        self.parts: list[bytes] = []
        self.text = False

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        parts = self.parts
        if frame.fin and not parts:
            if frame.msg_type == TEXT:
                self.handle(frame.get_payload_as_utf8_text())
            else:
                self.handle(frame.get_payload_as_bytes())
            return
        if not parts:
            self.text = frame.msg_type == TEXT
        parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            whole = b"".join(parts)
            parts.clear()
            self.handle(whole.decode() if self.text else whole)


LISTENERS = {"text": TextListener, "binary": BinaryListener, "any": AnyListener}


def connected(role: str, listener: Listener, sink: Sink) -> Any:
    """A protocol after its handshake."""
    # The loop must look as if it ran: the protocol asks for the running one when it is made.
    loop = asyncio.new_event_loop()
    client = role == "client"

    def made(*heads: Any) -> Any:
        if client:
            return listener
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(), listener)

    async def make(tcp: socket.socket) -> Any:
        protocol = WSProtocol(
            "h", "/", client, made, logging.getLogger("bench"), False, 5, False, 10, 10,
            WSAutoPingStrategy.PING_WHEN_IDLE, True, 1 << 26, None, READ_BUFFER_BYTES,
        )  # fmt: skip
        transport = Transport(sink, tcp)
        protocol.connection_made(transport)
        feed(protocol, answer_to(transport.handshake) if client else REQUEST)
        return protocol

    with socket.socket() as tcp:
        protocol = loop.run_until_complete(make(tcp))
    loop.close()
    if listener.transport is None:
        raise RuntimeError("picows does not accept the handshake")
    return protocol


def answer_to(request: bytes) -> bytes:
    found = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    if found is None:
        raise RuntimeError("picows sends no key")
    accept = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def feed(protocol: Any, data: bytes) -> None:
    protocol.get_buffer(-1)[: len(data)] = data
    protocol.buffer_updated(len(data))


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    """What stands in a read is copied into picows' buffer, as `recv_into` does it."""
    fragmented = kind == "any" or reads.fragmented
    protocol = connected(role, (AnyListener if fragmented else LISTENERS[kind])(handle), Sink())

    def run() -> None:
        get_buffer, buffer_updated = protocol.get_buffer, protocol.buffer_updated
        for view in reads.views:
            nbytes = len(view)
            buffer = get_buffer(-1)
            while len(buffer) < nbytes:
                room = len(buffer)
                buffer[:] = view[:room]
                buffer_updated(room)
                view, nbytes, buffer = view[room:], nbytes - room, get_buffer(-1)
            buffer[:nbytes] = view
            buffer_updated(nbytes)

    return run


def send(role: str, messages: Sequence[str | bytes], kind: str, sink: Sink) -> Callable[[], None]:
    listener = AnyListener(drop)
    protocol = connected(role, listener, sink)
    transport = listener.transport

    def run(protocol: Any = protocol) -> None:
        send, text, binary = transport.send, TEXT, BINARY
        for message in messages:
            send(text if isinstance(message, str) else binary, message)

    return run
