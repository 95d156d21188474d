"""What comes over the server's own wires, mutated: the control socket, the broker, the links of workers.

It must not know who would send such a thing: every message is taken or refused in a typed way, and clients
are served as before.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from findings import Fault, Record
from mutations import NUMBERS, Mutator
from operations import latin
from served_site import make_application, read_what_is_there
from server import ERRORS, Played

from python_server.control.commands import ControlCommands
from python_server.engineio.packet import Prepared
from python_server.net.link import DESCRIPTOR_FLAG, HEADER, LinkError
from python_server.net.system import open_descriptors_count
from python_server.serve import recovery_handover
from python_server.socketio.cluster import pipe_messages
from python_server.socketio.cluster.broker.foreign_messages import WireError
from python_server.socketio.cluster.broker.messages import ChannelReader, Channels
from python_server.socketio.cluster.broker.resp import PushReader, RESPError
from python_server.socketio.cluster.port import (
    Command,
    CommandKind,
    Envelope,
    Malformed,
    Question,
    QuestionKind,
)
from python_server.socketio.cluster.receiver import ClusterReceiver
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import TextCodec
from python_server.workers.handover import Handover
from python_server.workers.link_messages import encode
from python_server.workers.peers import MessageKind, Peers

CHANNELS = Channels("socketio", "machine.1", per_room=False)
READ_MAX_BYTES = 1 << 20
ROOMS: tuple[Any, ...] = (None, "all", ["all", "red"], [], 7, "s" * 20, {"a": 1}, "x" * 1500)
NAMESPACES: tuple[Any, ...] = ("/", "/chat", None, "chat", "/a,b", "/" + "n" * 1100)
VALUES: tuple[Any, ...] = (
    None,
    [],
    [1, "x", None],
    "text",
    {"k": [1.5]},
    [{"_placeholder": True, "num": 0}],
    -1,
    "\ud800",
)
# What a worker's links may say of a peer that broke the format: the link ends, or the message is dropped.
LINK_FAULTS = (LinkError, msgspec.MsgspecError, Malformed)


def foreign(chance: random.Random) -> dict[str, Any]:
    """A message as python-socketio's managers write them, and the control socket's commands."""
    method = chance.choice(("emit", "emit", "emit", "callback", "lead", "left", *CommandKind, "status"))
    message = {"method": str(method), "namespace": chance.choice(NAMESPACES), "host_id": "other"}
    if method == "emit":
        message |= {"event": chance.choice(("say", 7, "", None, "e" * 1100)), "data": chance.choice(VALUES)}
        message |= {
            "room": chance.choice(ROOMS),
            "skip_sid": chance.choice(ROOMS),
            "binary": chance.random() < 0.2,
        }
        message |= {"callback": chance.choice((None, None, ["r", "/", 1], [1]))}
        if message["binary"]:
            message["data"] = [chance.choice(VALUES), chance.choice(("AAAA", "%", "A", "AAAA=="))]
        if chance.random() < 0.2:
            message |= {"offset": chance.choice(("o1", None, 3)), "volatile": True}
    else:
        message |= {"sid": chance.choice(("nobody", None, 3)), "room": chance.choice(ROOMS)}
        message |= {"id": chance.choice((1, None, -1, 1 << 70)), "args": chance.choice(VALUES)}
    for name in list(message):
        if chance.random() < 0.04:
            del message[name]
        elif chance.random() < 0.04:
            message[name] = chance.choice((*VALUES, *NUMBERS))
    return message


def json_line(chance: random.Random) -> bytes:
    return json.dumps(foreign(chance)).encode()


def push(chance: random.Random) -> bytes:
    """A message of a subscription, in RESP2."""
    kinds = (json_line, json_line, json_line, asking, answered, lambda each: pickle.dumps(foreign(each)))
    channel = chance.choice(
        (CHANNELS.shared, CHANNELS.shared, CHANNELS.questions, CHANNELS.inbox, b"socketio#/#red")
    )
    parts = (b"message", channel, chance.choice(kinds)(chance))
    return b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def asking(chance: random.Random) -> bytes:
    said = {
        "id": 1,
        "sender": "other.2",
        "kind": chance.choice([*map(str, QuestionKind), "odd"]),
        "namespace": "/",
    }
    return json.dumps(said | {"data": chance.choice((*VALUES, *ROOMS)), "timeout_seconds": 1.0}).encode()


def answered(chance: random.Random) -> bytes:
    said = {"id": chance.choice((1, None)), "part": chance.choice(VALUES), "last": True}
    return json.dumps(said | {"values": chance.choice((None, ["[1]"], ["["]))}).encode()


def envelope(chance: random.Random) -> bytes:
    prepared = Prepared(
        ['42["say",1]'] if chance.random() < 0.5 else ['451-["say",{"_placeholder":true,"num":0}]', b"\x00"]
    )
    rooms = chance.choice((None, ("all",), ("all", 7)))
    message = Envelope("/", rooms, ("red",), prepared, chance.choice((None, "o1")), chance.random() < 0.2)
    command = Command(chance.choice([*CommandKind]), "/", chance.choice(("nobody", None)), "all")
    return b"".join(pipe_messages.encode_message(chance.choice((message, message, command))))


def question(chance: random.Random) -> bytes:
    asked = Question(chance.choice([*QuestionKind]), "/", chance.choice((*VALUES[:-1], "all")))
    return pipe_messages.encode_question(chance.randrange(9), asked)


def answer(chance: random.Random) -> bytes:
    return pipe_messages.encode_answer(chance.randrange(9), chance.choice(VALUES[:-1]), chance.random() < 0.5)


def records(chance: random.Random) -> bytes:
    part = recovery_handover.Part("/socket.io/", "tag", 0, [], [], last=True, heard={"tag0": ("tag01", 1.0)})
    return recovery_handover.encode(
        chance.choice((part, recovery_handover.End(), recovery_handover.Forget("/socket.io/", "p", 1.0)))
    )


def frame(chance: random.Random) -> bytes:
    """Of a link between workers; with the flag of a descriptor it comes with one."""
    kind = chance.choice([*MessageKind])
    head = b"GET /page HTTP/1.1\r\nHost: here\r\nX-Token: good\r\nConnection: close\r\n\r\n"
    payload = {
        MessageKind.CONNECTION: encode([["192.0.2.1", 1], ["192.0.2.2", 2], head]),
        MessageKind.HELLO: encode([1, [2], True]),
        MessageKind.KNOWN: encode([3]),
        MessageKind.SUCCESSOR: encode([2, chance.randrange(5)]),
        MessageKind.ENVELOPE: envelope(chance),
        MessageKind.QUESTION: question(chance),
    }.get(kind, b"")
    flags = DESCRIPTOR_FLAG if kind is MessageKind.CONNECTION or chance.random() < 0.05 else 0
    return HEADER.pack(kind, flags, len(payload)) + payload


SAYS: dict[str, Callable[[random.Random], bytes]] = {
    "control": json_line,
    "broker": push,
    "envelope": envelope,
    "question": question,
    "answer": answer,
    "records": records,
    "link": frame,
}


class Wired:
    """A worker, and the ends of its wires."""

    def __init__(self, seed: int) -> None:
        self.played = Played(seed, make_application(read_what_is_there))
        worker = self.played.worker
        self.faults: list[BaseException] = []
        self.complaints = 0
        self.hub = worker._hubs["/socket.io/"]
        running = self.hub._running
        self._control = ControlCommands(worker._hubs, lambda: {"connections": 1}, self._complain)
        heard = (running.rooms.adapters, running.broadcaster.hear, lambda marks: None)
        connections = running.connections
        done = (connections.disconnect, connections.expire, running.broadcaster.ask_here)
        done = (*done, running.rooms.enter_here, running.rooms.update_here, running.presence)
        self._receiver = ClusterReceiver(*heard, *done)
        self._pushes = PushReader(READ_MAX_BYTES)
        codec = TextCodec() if seed % 2 else MsgpackCodec()
        self._reader = ChannelReader(CHANNELS, "machine.", lambda: codec, lambda: None, lambda: None)
        self._peers = Peers(worker.loop, 1, self._report, self._complain)
        limits = self.played.worker._settings.transport
        acceptor = worker._acceptor
        Handover(
            worker.loop,
            self._peers,
            acceptor.serve,
            acceptor.add,
            acceptor.lost,
            self._report,
            self._complain,
            limits,
        )
        ours, self._other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._other.setblocking(False)
        self._peers.join(2, ours, serving=True)
        self._peers.begin(lambda: None)
        self._clients: list[socket.socket] = []

    def _report(self, what: str, error: BaseException) -> None:
        self.faults.append(error)

    def _complain(self, kind: str, sentence: str) -> None:
        self.complaints += 1

    def say(self, wire: str, data: bytes) -> None:
        getattr(self, f"_{wire}_says")(data)
        self.played.settle_a_little()

    def _control_says(self, data: bytes) -> None:
        said = json.loads(self._control.obey(data))
        if not (said.get("ok") is True or isinstance(said.get("error"), str)):
            raise Fault("no answer", f"the control socket says {said!r}")

    def _broker_says(self, data: bytes) -> None:
        try:
            pushes = self._pushes.feed(data)
        except RESPError:  # the connection ends
            self.complaints += 1
            self._pushes = PushReader(READ_MAX_BYTES)
            return
        for came in self._reader.read(pushes, 0):
            if isinstance(came, WireError):
                self.complaints += 1
            elif isinstance(came, (Envelope, Command)):
                self._typed(lambda came=came: self._receiver.receive(came))

    def _typed(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Malformed:
            self.complaints += 1

    def _envelope_says(self, data: bytes) -> None:
        self._typed(lambda: self._receiver.receive(pipe_messages.decode_message(data, 0)))

    def _question_says(self, data: bytes) -> None:
        def ask() -> None:
            _, asked = pipe_messages.decode_question(data, 0)
            self._receiver.answer(asked, lambda part, last=True: None)

        self._typed(ask)

    def _answer_says(self, data: bytes) -> None:
        self._typed(lambda: pipe_messages.decode_answer(data, 0))

    def _records_says(self, data: bytes) -> None:
        self._typed(lambda: recovery_handover._decode(data))

    def _link_says(self, data: bytes) -> None:
        """A descriptor goes with each message that announces one, and with some that do not."""
        passed: list[int] = []
        if data[1:2] == b"\x01" or len(data) % 7 == 0:
            theirs, client = socket.socketpair()
            self._clients.append(client)
            passed.append(theirs.detach())
        try:
            socket.send_fds(self._other, [data], passed) if passed else self._other.send(data)
        except OSError:
            pass  # the link has ended
        for descriptor in passed:
            os.close(descriptor)

    def end(self) -> None:
        self._other.close()
        for client in self._clients:
            client.close()

    def close(self) -> None:
        self.end()
        self._peers.close()
        self.played.close()


class WiresPlayer:
    """The machine that `findings.campaign` runs."""

    NAME = "wires"

    def close(self) -> None:
        """It has started nothing."""

    def make(self, seed: int) -> Record:
        chance, mutator = random.Random(seed), Mutator(seed)
        wire = chance.choice(list(SAYS))
        record: Record = []
        for _ in range(chance.randrange(1, 8)):
            data = latin(SAYS[wire](chance))
            for _ in range(chance.choice((0, 0, 1, 1, 3))):
                data = mutator._changed(data)
            record.append([wire, data])
        return record

    def play(self, seed: int, record: Record) -> Counter[str]:
        before = open_descriptors_count()
        wired = Wired(seed)
        counts: Counter[str] = Counter()
        try:
            for wire, data in copy.deepcopy(record):
                if wire not in SAYS:
                    raise ValueError(f"no wire: {wire!r}")
                wired.say(wire, data.encode("latin-1"))
                counts.update(("messages", f"{wire} messages"))
            counts["refusals"] += wired.complaints + len(wired.faults)
            wired.played.ask_politely()
            counts["good answers"] += wired.played.counts["good answers"]
            wired.end()
            wired.played.end_all()
        except (Malformed, msgspec.MsgspecError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise Fault(f"untyped: {type(error).__name__}", repr(error)) from error
        finally:
            wired.close()
        odd = [fault for fault in wired.faults if not isinstance(fault, LINK_FAULTS)]
        if odd or ERRORS.lines:
            raise Fault("logged as an error", f"{odd[:1]} {ERRORS.lines[:1]}")
        if open_descriptors_count() != before:
            raise Fault("descriptors", f"{open_descriptors_count()} where {before} were")
        return counts
