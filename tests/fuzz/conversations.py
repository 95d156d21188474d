"""Conversations with a server, made by a grammar from one seed.

It must not know what the server makes of them.
"""

from __future__ import annotations

import json
import random
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import msgspec
from operations import Conversation, Fields, latin, render_frame, render_request, utf8

Said = tuple[int, str] | None

TOKEN = ["X-Token", "good"]
PATHS = ("/", "/page", "/echo", "/big", "/stream", "/empty", "/nothing/here", "/%e2%82%ac?x=%zz", "*")
ENGINES = ("/socket.io/", "/msgpack/", "/engine.io/")
NAMESPACES = ("/", "/chat", "/open/7", "/nobody")
# What untrusted peers say like the trusted proxy does, byte for byte: nothing they say may stick.
PROXY_FIELDS: Fields = [["X-Forwarded-For", "198.51.100.7"], ["X-Forwarded-Proto", "https"]]
UPGRADE: Fields = [
    ["Connection", "Upgrade"],
    ["Upgrade", "websocket"],
    ["Sec-WebSocket-Version", "13"],
    ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
]
DEFLATE = ["Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"]
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SEPARATOR = "\x1e"
WORDS = ("", "a", "Grüße", "日本", "\U0001f600", '"\\', "x" * 70, "\u2028", "null", "{}", "0", "/chat,")


class Grammar:
    """One conversation after the other from one source of chance."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._names = iter(range(1_000_000))

    def pick(self, items: Any) -> Any:
        return self.random.choice(items)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def name(self, out: Conversation, proxy: bool = False) -> str:
        """A new connection."""
        name = f"c{next(self._names)}"
        out.append(["open", name, "proxy" if proxy else "client"])
        return name

    def conversation(self) -> Conversation:
        """One to three exchanges, their operations mixed without changing the order of each."""
        productions: list[Callable[[Conversation], None]] = [
            *(self.requests, self.raw_websocket, self.polling, self.polling, self.websocket_session),
            *(self.upgraded, self.upgraded, self.jsonp, self.heavy, self.heavy),
        ]
        threads: list[Conversation] = []
        for _ in range(self.pick((1, 1, 2, 3))):
            self.pick(productions)(thread := [])
            threads.append(thread)
        mixed: Conversation = []
        while threads:
            thread = self.pick(threads)
            for _ in range(self.random.randrange(1, 4)):
                if thread:
                    mixed.append(thread.pop(0))
            threads = [each for each in threads if each]
        return mixed

    # HTTP

    def fields(self) -> Fields:
        found: Fields = [["Host", "here"]]
        if self.chance(0.95):
            found.append(TOKEN)
        if self.chance(0.3):
            found += PROXY_FIELDS
        for share, field in (
            (0.2, ["Accept-Encoding", self.pick(("gzip", "deflate;q=0.5, gzip;q=0", "*", "br"))]),
            (0.1, ["Cookie", "a=b; c=d"]),
            (0.1, ["Connection", self.pick(("close", "keep-alive", "keep-alive, x"))]),
            (0.1, ["Origin", self.pick(("http://here", "http://elsewhere", "null"))]),
            (0.1, ["X-" + self.pick("abc"), ["*", "v", self.pick((0, 1, 100, 8_000))]]),
        ):
            if self.chance(share):
                found.append(field)
        return found

    def body(self) -> tuple[Any, str]:
        size = self.pick((0, 1, 10, 1000, 70_000))
        return ["*", self.pick("ab\n"), size], self.pick(("length", "chunked 1000", "chunked 7"))

    def requests(self, out: Conversation) -> None:
        name = self.name(out, proxy=self.chance(0.2))
        for _ in range(self.pick((1, 1, 2, 3, 6))):
            method = self.pick(("GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"))
            fields, body, framing = self.fields(), "", "none"
            if method in ("POST", "PUT"):
                body, framing = self.body()
                if self.chance(0.3):
                    fields.append(["Expect", "100-continue"])
            out.append(["http", name, method, self.pick(PATHS), fields, body, framing])
            self.pause(out)
        if self.chance(0.3):
            out.append([self.pick(("half", "end")), name])

    def pause(self, out: Conversation) -> None:
        if self.chance(0.4):
            out.append(["run"])
        elif self.chance(0.1):
            out.append(["pass", self.pick((0.1, 1.0, 11.0, 26.0, 46.0, 80.0))])

    # WebSocket

    def frames(self, out: Conversation, name: str, opcode: int, text: Any, deflate: bool = False) -> None:
        """One message, in fragments with control frames in between if chance says so."""
        if not (isinstance(text, str) and len(text) > 3 and self.chance(0.2)):
            flags = {"deflate": 1} if deflate and self.chance(0.7) else {}
            out.append(["frame", name, opcode, text, flags])
            return
        cut = self.random.randrange(1, len(text))
        out.append(["frame", name, opcode, text[:cut], {"fin": 0}])
        if self.chance(0.5):
            out.append(["frame", name, self.pick((PING, PONG)), self.pick(("", "p")), {}])
        out.append(["frame", name, 0, text[cut:], {}])

    def closing(self, out: Conversation, name: str) -> None:
        how = self.random.random()
        if how < 0.4:
            code = self.pick((1000, 1001, 3000, 4999))
            out.append(["frame", name, CLOSE, latin(struct.pack("!H", code)) + "bye", {}])
        elif how < 0.6:
            out.append([self.pick(("half", "end")), name])

    def raw_websocket(self, out: Conversation) -> None:
        name, deflate = self.name(out), self.chance(0.4)
        fields = [["Host", "here"], *UPGRADE, *([DEFLATE] if deflate else []), TOKEN]
        out.append(["http", name, "GET", self.pick(("/event", "/inline")), fields, "", "none"])
        if not self.chance(0.1):
            out.append(["run"])
        for _ in range(self.random.randrange(8)):
            opcode = self.pick((TEXT, TEXT, BINARY, PING, PONG))
            if opcode in (TEXT, BINARY):
                self.frames(out, name, opcode, utf8(self.pick(WORDS)), deflate)
            else:
                out.append(["frame", name, opcode, self.pick(("", "ping")), {}])
            self.pause(out)
        self.closing(out, name)

    # Engine.IO and Socket.IO

    def target(self, engine: str, transport: str, sid: str = "", version: int = 4, more: str = "") -> str:
        return f"{engine}?EIO={version}&transport={transport}" + (f"&sid={{sid:{sid}}}" if sid else "") + more

    def packets(self, engine: str) -> list[Said]:
        """Of one client: opcode and Engine.IO message as on a WebSocket; None: it waits for answers."""
        if engine == "/engine.io/":
            return [
                (BINARY, latin(b"\x00\xff" + word.encode())) if self.chance(0.2) else (TEXT, utf8("4" + word))
                for word in (self.pick(WORDS) for _ in range(self.random.randrange(6)))
            ]
        said: list[Said] = []
        for namespace in self.random.sample(NAMESPACES, self.random.randrange(1, 4)):
            said += self.socketio(engine, namespace)
        return said

    def value(self, depth: int = 0) -> Any:
        plain = (None, True, 7, -1, 2.5, 1e300, 10**19, self.pick(WORDS))
        if depth > 2 or self.chance(0.6):
            return self.pick(plain)
        return self.pick(([self.value(depth + 1)], {"k": self.value(depth + 1), "": 1}))

    def socketio(self, engine: str, namespace: str) -> list[Said]:
        """One client in one namespace: comes, speaks, leaves perhaps."""
        write = self.msgpack_packet if engine == "/msgpack/" else self.text_packet
        said = [*write(0, namespace, self.pick((None, {"token": "x"})), None)]
        if self.chance(0.9):
            said.append(None)
        for _ in range(self.random.randrange(6)):
            ack = self.pick((None, None, 0, 7, 10**20 if write == self.text_packet else 2**40))
            event: list[Any] = [self.pick(("say", "echo", "join", "leave", "ask", "other", "inline"))]
            event += [self.value() for _ in range(self.random.randrange(4))]
            if self.chance(0.15):
                event.append(b"\x00\x01bytes")
            said += write(2, namespace, event, ack)
        if self.chance(0.2):
            said += write(3, namespace, [self.value()], self.pick((0, 1, 2)))
        if self.chance(0.3):
            said += write(1, namespace, None, None)
        return said

    def text_packet(self, kind: int, namespace: str, data: Any, ack: int | None) -> list[Said]:
        attachments: list[bytes] = []

        def plain(value: Any) -> Any:
            if isinstance(value, bytes):
                attachments.append(value)
                return {"_placeholder": True, "num": len(attachments) - 1}
            return value

        if isinstance(data, list):
            data = [plain(value) for value in data]
        begin = f"{kind + 3 if attachments else kind}" + (f"{len(attachments)}-" if attachments else "")
        begin += "" if namespace == "/" else namespace + ","
        text = begin + ("" if ack is None else str(ack)) + ("" if data is None else json.dumps(data))
        return [(TEXT, utf8("4" + text)), *((BINARY, latin(each)) for each in attachments)]

    def msgpack_packet(self, kind: int, namespace: str, data: Any, ack: int | None) -> list[Said]:
        fields = {"type": kind, "nsp": namespace, "data": data, "id": ack}
        return [(BINARY, latin(msgspec.msgpack.encode({k: v for k, v in fields.items() if v is not None})))]

    def payload(self, packets: list[Said], version: int = 4) -> str:
        """As the body of a POST."""
        if version == 3:
            texts = [said[1].encode("latin-1").decode() for said in packets if said and said[0] == TEXT]
            return utf8("".join(f"{len(text)}:{text}" for text in texts))
        return utf8(SEPARATOR).join(
            text if opcode == TEXT else "b" + b64encode(text.encode("latin-1")).decode()
            for opcode, text in filter(None, packets)
        )

    def session(self, out: Conversation, engine: str, version: int = 4) -> str:
        name = self.name(out)
        fields = self.fields() if self.chance(0.3) else [["Host", "here"], TOKEN]
        out += [["http", name, "GET", self.target(engine, "polling", version=version), fields, "", "none"]]
        out += [["run"]]
        return name

    def get(self, out: Conversation, name: str, engine: str, sid: str) -> None:
        target = self.target(engine, "polling", sid)
        out.append(["http", name, "GET", target, [["Host", "here"], TOKEN], "", "none"])

    def post(self, out: Conversation, name: str, engine: str, sid: str, body: Any) -> None:
        target = self.target(engine, "polling", sid)
        fields = [["Host", "here"], TOKEN, ["Content-Type", "text/plain;charset=UTF-8"]]
        out.append(["http", name, "POST", target, fields, body, self.pick(("length", "length", "chunked 9"))])

    def polling(self, out: Conversation) -> None:
        engine = self.pick(ENGINES)
        version = 3 if engine == "/socket.io/" and self.chance(0.2) else 4
        name, poster = self.session(out, engine, version), self.name(out)
        packets = self.packets(engine)
        while packets:
            count = self.random.randrange(1, 4)
            count = packets.index(None) + 1 if None in packets[:count] else count
            now, packets = packets[:count], packets[count:]
            if self.chance(0.6):
                self.get(out, name, engine, name)
            if any(now):
                self.post(out, poster, engine, name, self.payload(now, version))
            out.append(["run"])
            self.pause(out)
        if self.chance(0.3):
            self.post(out, poster, engine, name, "1")
        elif self.chance(0.3):
            out.append(["pass", self.pick((20.0, 26.0, 46.0))])
            self.get(out, name, engine, name)

    def speak(self, out: Conversation, name: str, packets: list[Said], deflate: bool = False) -> None:
        for said in packets:
            if said is None:
                out.append(["run"])
            else:
                self.frames(out, name, *said, deflate)
                self.pause(out)

    def websocket_session(self, out: Conversation) -> None:
        engine, deflate = self.pick(ENGINES), self.chance(0.2)
        name = self.name(out)
        fields = [["Host", "here"], *UPGRADE, *([DEFLATE] if deflate else []), TOKEN]
        target = self.target(engine, "websocket", version=self.pick((4, 4, 4, 4, 4, 4, 4, 3)))
        out += [["http", name, "GET", target, fields, "", "none"], ["run"]]
        self.speak(out, name, self.packets(engine), deflate)
        self.closing(out, name)

    def upgraded(self, out: Conversation) -> None:
        engine = self.pick(ENGINES)
        name, link = self.session(out, engine), self.name(out)
        packets = self.packets(engine)
        half = self.random.randrange(packets.index(None) + 2 if None in packets else len(packets) + 1)
        if any(packets[:half]):
            self.post(out, name, engine, name, self.payload(packets[:half]))
            out.append(["run"])
        target = self.target(engine, "websocket", name)
        out += [["http", link, "GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none"], ["run"]]
        if self.chance(0.5):
            self.get(out, name, engine, name)
        out += [["frame", link, TEXT, "2probe", {}], ["run"], ["frame", link, TEXT, "5", {}]]
        self.speak(out, link, packets[half:])
        self.closing(out, link)

    def jsonp(self, out: Conversation) -> None:
        name = self.name(out)
        target = self.target("/socket.io/", "polling", more=f"&j={self.pick(('0', '12', 'x;y'))}")
        out += [["http", name, "GET", target, [["Host", "here"], TOKEN], "", "none"], ["run"]]
        target = self.target("/socket.io/", "polling", name, more="&j=1")
        fields = [["Host", "here"], TOKEN, ["Content-Type", "application/x-www-form-urlencoded"]]
        out.append(["http", name, "POST", target, fields, self.pick(("d=40", "d=4%22", "e=1", "")), "length"])

    # What costs the sender little

    def heavy(self, out: Conversation) -> None:
        productions = (self.many_packets, self.colliding_keys, self.deep, self.many_fields)
        productions += (self.tiny_chunks, self.tiny_frames, self.stalled, self.stalled, self.many_names)
        productions += (self.deaf, self.broadcast, self.crowd)
        self.pick(productions)(out)

    def many_packets(self, out: Conversation) -> None:
        engine = self.pick(ENGINES)
        name = self.session(out, engine)
        packet = self.pick(("4", "42[]", "40/x,", "3", "6", "bAAAA")) + utf8(SEPARATOR)
        self.post(out, name, engine, name, ["+", ["*", packet, self.pick((1_000, 300_000))], "6"])
        out.append(["run"])

    def colliding_keys(self, out: Conversation) -> None:
        """Of MessagePack: arrays of -1 and -2, which all have one hash in Python."""
        name = self.name(out)
        target = self.target("/msgpack/", "websocket")
        out += [["http", name, "GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none"], ["run"]]
        head = latin(b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1x")
        keys = ["keys", self.pick((64, 9_000))]
        out += [["frame", name, BINARY, ["+", head, keys], {}], ["run"]]

    def deep(self, out: Conversation) -> None:
        engine = self.pick(ENGINES[:2])
        name, depth = self.name(out), self.pick((150, 250, 100_000))
        target = self.target(engine, "websocket")
        out += [["http", name, "GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none"], ["run"]]
        if engine == "/msgpack/":
            levels = ["+", latin(b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data"), ["*", "\x91", depth], "\xc0"]
            out.append(["frame", name, BINARY, levels, {}])
        else:
            out += [["frame", name, TEXT, "40", {}], ["run"]]
            levels = ["+", '42["say",', ["*", self.pick(("[", '{"a":')), depth], "1", ["*", "]", depth], "]"]
            out.append(["frame", name, TEXT, levels, {}])

    def many_fields(self, out: Conversation) -> None:
        name = self.name(out)
        fields = [["Host", "here"], TOKEN] + [
            [f"X-{n}", "1"] for n in range(self.pick((90, 97, 98, 99, 120)))
        ]
        target = "/page?" + "a=b&" * self.pick((10, 99, 101, 2_000))
        out.append(["http", name, "GET", target, fields, "", "none"])

    def tiny_chunks(self, out: Conversation) -> None:
        name = self.name(out)
        body = ["*", "a", self.pick((1_000, 60_000))]
        out.append(["http", name, "POST", "/echo", [["Host", "here"], TOKEN], body, "chunked 1"])

    def tiny_frames(self, out: Conversation) -> None:
        name = self.name(out)
        path = self.pick(("/event", "/inline", self.target("/socket.io/", "websocket")))
        out += [["http", name, "GET", path, [["Host", "here"], *UPGRADE, TOKEN], "", "none"], ["run"]]
        opcode, fin = self.pick(((PING, 1), (PONG, 1), (TEXT, 1), (0, 0)))
        frame = latin(render_frame(opcode, "", {"fin": fin}))
        begin = latin(render_frame(TEXT, "", {"fin": 0})) if opcode == 0 else ""
        out += [["bytes", name, ["+", begin, ["*", frame, self.pick((300, 20_000))]]], ["run"]]

    def many_names(self, out: Conversation) -> None:
        """Rooms and namespaces that the client names."""
        name = self.session(out, "/socket.io/")
        said = ["40"] + [f"40/open/{n}," for n in range(self.pick((5, 300)))]
        said += [f'42["join","r{n}"]' for n in range(self.pick((5, 300)))]
        self.post(out, name, "/socket.io/", name, utf8(SEPARATOR.join(said)))
        out.append(["run"])

    def crowd(self, out: Conversation) -> None:
        """Sessions that nobody joins."""
        name = self.name(out)
        target = self.target(self.pick(ENGINES), "polling")
        request = latin(render_request("GET", target, [["Host", "here"], TOKEN], "", "none"))
        out += [["bytes", name, ["*", request, self.pick((20, 150))]], ["run"]]

    def deaf(self, out: Conversation) -> None:
        """It does not read, and is not read from; then it reads, and no handler runs."""
        name = self.name(out)
        target = self.target("/socket.io/", "websocket")
        out += [["http", name, "GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none"], ["run"]]
        out += [["frame", name, TEXT, "40", {}], ["run"], ["deaf", name]]
        text = ["+", '427["echo","', ["*", "x", self.pick((30, 600, 6_000))], '"]']
        flood = ["flood", name, TEXT, text, 12_000_000]
        out += [flood, ["stall"], ["hear", name], ["run"], flood, ["go on"], ["run"]]

    def broadcast(self, out: Conversation) -> None:
        """One speaks to everybody, of whom one does not read."""
        names = [self.name(out) for _ in range(self.pick((2, 3)))]
        for name in names:
            out.append(["http", name, "GET", "/event", [["Host", "here"], *UPGRADE, TOKEN], "", "none"])
        text = ["+", "all", ["*", "x", self.pick((500, 60_000))]]
        out += [["run"], ["deaf", names[0]], ["flood", names[-1], TEXT, text, 12_000_000]]
        out += [["hear", names[0]], ["run"]]

    def stalled(self, out: Conversation) -> None:
        """No handler runs meanwhile: what is taken from the client must have an end."""
        name = self.name(out)
        path = self.pick(("/event", *ENGINES))
        if path != "/event":
            path = self.target(path, "websocket")
        out += [["http", name, "GET", path, [["Host", "here"], *UPGRADE, TOKEN], "", "none"], ["run"]]
        if path.startswith("/socket.io"):
            out += [["frame", name, TEXT, "40", {}], ["run"]]
        text = ["+", '42["say","', ["*", "x", self.pick((10, 60_000))], '"]']
        if path.startswith("/msgpack"):
            opener = msgspec.msgpack.encode({"type": 0, "nsp": "/"})
            out += [["frame", name, BINARY, latin(opener), {}], ["run"]]
            text = latin(msgspec.msgpack.encode({"type": 2, "nsp": "/", "data": ["say", "x" * 30_000]}))
        opcode = BINARY if path.startswith("/msgpack") else TEXT
        out += [["stall"], ["flood", name, opcode, text, 8_000_000], ["go on"], ["run"]]
