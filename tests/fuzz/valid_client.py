"""A Socket.IO client that keeps to the protocol: polling, WebSocket, or one after the other.

It must not know what it ought to hear. One POST and one GET are open at a time, as of the official client.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from client_end import Connection
from conversations import TOKEN, UPGRADE
from operations import render_request

from wsframe import Connection as Frames
from wsframe import Role

SEPARATOR = b"\x1e"
TEXT_PACKET = re.compile(r"(\d)(?:(\d+)-)?(?:(/[^,]*),)?(\d+)?(.*)\Z", re.DOTALL)
CONNECT, DISCONNECT, EVENT, ACK = range(4)
# Kind, namespace, data, id.
Packet = tuple[int, str, Any, int | None]


def filled(value: Any, attachment: bytes) -> Any:
    """With the attachment in the place of its placeholder."""
    if isinstance(value, list):
        return [filled(item, attachment) for item in value]
    return attachment if isinstance(value, dict) and value.get("_placeholder") else value


class TextWords:
    """Packets as text, each with one attachment at most."""

    def __init__(self) -> None:
        self._waiting: tuple[int, str, Any, int | None] | None = None

    def encode(self, kind: int, namespace: str, data: Any, number: int | None) -> list[str | bytes]:
        attachments = [value for value in data or () if isinstance(value, bytes)] if kind >= EVENT else []
        if attachments:
            placeholder = {"_placeholder": True, "num": 0}
            data = [placeholder if isinstance(value, bytes) else value for value in data]
        begin = f"{kind + 3}1-" if attachments else str(kind)
        begin += "" if namespace == "/" else f"{namespace},"
        begin += "" if number is None else str(number)
        return [begin + ("" if data is None else json.dumps(data)), *attachments]

    def decode(self, message: str | bytes) -> Packet | None:
        if isinstance(message, bytes):
            assert self._waiting is not None, "an attachment without its packet"
            kind, namespace, data, number = self._waiting
            self._waiting = None
            return kind, namespace, filled(data, message), number
        assert self._waiting is None, "text where an attachment is due"
        match = TEXT_PACKET.match(message)
        assert match is not None, message
        kind = int(match[1])
        data = json.loads(match[5]) if match[5] else None
        number = None if match[4] is None else int(match[4])
        packet = (kind if match[2] is None else kind - 3, match[3] or "/", data, number)
        if match[2] is not None:
            self._waiting = packet
            return None
        return packet


class PackedWords:
    """Packets as MessagePack."""

    def encode(self, kind: int, namespace: str, data: Any, number: int | None) -> list[str | bytes]:
        fields = {"type": kind, "nsp": namespace, "data": data, "id": number}
        return [msgspec.msgpack.encode({name: each for name, each in fields.items() if each is not None})]

    def decode(self, message: str | bytes) -> Packet | None:
        assert isinstance(message, bytes), message
        fields = msgspec.msgpack.decode(message)
        return fields["type"], fields["nsp"], fields.get("data"), fields.get("id")


Words = TextWords | PackedWords


class Asking:
    """One kept connection: a request at a time."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.busy = False

    def ask(self, method: str, target: str, body: str = "") -> None:
        assert not self.busy
        self.busy = True
        framing = "length" if method == "POST" else "none"
        self.connection.unsent += render_request(method, target, [["Host", "here"], TOKEN], body, framing)

    def answer(self) -> bytes | None:
        """The body of the answer, once it is here."""
        heard = self.connection.heard
        end = heard.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = heard[:end].decode("latin-1")
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        if len(heard) < end + 4 + length:
            return None
        assert head.startswith("HTTP/1.1 200 "), f"{head}\n{bytes(heard[end:])!r}"
        body = bytes(heard[end + 4 : end + 4 + length])
        del heard[: end + 4 + length]
        self.busy = False
        return body


class ValidClient:
    """heard: packets in their order. joined: namespaces that have answered."""

    def __init__(
        self, name: str, path: str, words: TextWords | PackedWords, open_one: Callable[[], Connection]
    ) -> None:
        self.name = name
        self.heard: list[Packet] = []
        self.joined: set[str] = set()
        self._path = f"{path}?EIO=4&transport="
        self._words = words
        self._open = open_one
        self._sid = ""
        self._out: deque[str | bytes] = deque()
        self._getting: Asking | None = None
        self._posting: Asking | None = None
        self._link: Connection | None = None
        self._frames = Frames(Role.CLIENT)
        self._head: bytes | None = b""  # of the WebSocket's answer, as long as it is not whole
        self._probe = ""  # how far an upgrade is: "", "sent", "heard", "done"
        self.connections: list[Connection] = []

    def _new(self) -> Connection:
        self.connections.append(self._open())
        return self.connections[-1]

    def come(self, transport: str) -> None:
        if transport == "websocket":
            self._open_link("")
            self._probe = "done"
        else:
            self._getting, self._posting = Asking(self._new()), Asking(self._new())
            self._getting.ask("GET", self._path + "polling")

    def _open_link(self, sid: str) -> None:
        self._link = self._new()
        target = self._path + "websocket" + sid
        self._link.unsent += render_request("GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none")

    def say(self, kind: int, namespace: str, data: Any = None, number: int | None = None) -> None:
        packets = self._words.encode(kind, namespace, data, number)
        self._out += ["4" + each if isinstance(each, str) else each for each in packets]

    def upgrade(self) -> None:
        if self._sid and not self._probe:
            self._probe = "sent"
            self._open_link(f"&sid={self._sid}")
            self._frames.send_text("2probe")

    @property
    def upgraded(self) -> bool:
        return self._probe == "done" and self._getting is not None

    def look(self) -> None:
        """Take what has come, and send what may be sent."""
        if self._link is not None:
            self._look_at_link()
        if self._posting is not None and self._posting.busy and (said := self._posting.answer()) is not None:
            assert said == b"ok", said
        if self._getting is not None and self._getting.busy and (body := self._getting.answer()) is not None:
            for part in body.split(SEPARATOR):
                self._take(b64decode(part[1:]) if part[:1] == b"b" else part.decode())
        self._speak()

    def _speak(self) -> None:
        if self._probe == "heard" and not self._getting.busy and not self._posting.busy:
            self._frames.send_text("5")
            self._probe = "done"
        if self._probe == "done":
            while self._out:
                said = self._out.popleft()
                (self._frames.send_text if isinstance(said, str) else self._frames.send_binary)(said)
        elif self._probe in ("", "sent") and self._sid:
            if not self._getting.busy:
                self._getting.ask("GET", f"{self._path}polling&sid={self._sid}")
            if self._out and not self._posting.busy:
                said = [
                    each if isinstance(each, str) else "b" + b64encode(each).decode() for each in self._out
                ]
                self._out.clear()
                body = "\x1e".join(said).encode().decode("latin-1")
                self._posting.ask("POST", f"{self._path}polling&sid={self._sid}", body)
        if self._link is not None and self._head is None:
            self._link.unsent += self._frames.data_to_send()

    def _look_at_link(self) -> None:
        heard, self._link.heard = bytes(self._link.heard), bytearray()
        if self._head is not None:
            self._head += heard
            head, found, heard = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._head = None
        for message in self._frames.receive_data(heard) if heard else ():
            if isinstance(message, (str, bytes)):
                self._take(message)

    def _take(self, packet: str | bytes) -> None:
        if isinstance(packet, bytes):
            self._hear(packet)
        elif packet[:1] == "0":
            self._sid = json.loads(packet[1:])["sid"]
        elif packet == "2":
            self._out.append("3")
        elif packet == "3probe":
            self._probe = "heard"
        elif packet[:1] == "4":
            self._hear(packet[1:])
        else:
            assert packet == "6", f"{self.name} heard {packet!r}"

    def _hear(self, message: str | bytes) -> None:
        packet = self._words.decode(message)
        if packet is None:
            return
        if packet[0] == CONNECT:
            self.joined.add(packet[1])
        elif packet[1] in self.joined:  # it has not left meanwhile
            self.heard.append(packet)
            if packet[0] == EVENT and packet[3] is not None:  # a question, which is answered
                self.say(ACK, packet[1], [packet[2][1] * 2], packet[3])
