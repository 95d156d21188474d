"""Several clients that keep to the protocol, and a model of rooms, acks and order that says what each hears.

It must not know how the server delivers: handlers write down what they ask for, in their order, and from that
alone follows what every client receives. Only what meets a client that is coming or going may be missing.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

from findings import Fault, Record
from served_site import Guard, check_passed
from server import ERRORS, Played
from valid_client import ACK, DISCONNECT, EVENT, PackedWords, TextWords, ValidClient

from python_server import Server
from python_server.api.python_socketio import WSGIApp
from simulated_machine import Stuck
from wsframe import ConnectionClosed

NAMES = "abcd"
NAMESPACES = ("/", "/chat")
ROOMS = ("red", "blue")
TRANSPORTS = ("polling", "websocket", "upgrade")
VALUES = (1, "x", None, "Grüße", "bytes", [1, {"a": "b"}])
QUIET_SECONDS = 3.0
QUIET_MAX_STEPS = 200_000
# What handlers asked for, in order: (kind, ...).
Asked = list[tuple[Any, ...]]


class ToldServer:
    """A Socket.IO server whose handlers write down what they have heard and what they ask for."""

    def __init__(self, seed: int) -> None:
        self.packed = seed % 3 == 0
        self.recovers = seed % 2 == 0
        options: dict[str, Any] = {"serializer": "msgpack"} if self.packed else {}
        self.server = Server(connection_state_recovery=self.recovers, **options)
        self.asked: Asked = []
        self.heard: dict[str, list[Any]] = defaultdict(list)  # by client: the numbers of its events
        self.names: dict[tuple[str, str], str] = {}
        for namespace in NAMESPACES:
            self._serve(namespace)

        def nothing(environ: Any, start_response: Any) -> list[bytes]:
            start_response("404 Not Found", [])
            return []

        self.application = Guard(WSGIApp(self.server, nothing))

    def _serve(self, namespace: str) -> None:
        server = self.server

        @server.on("connect", namespace=namespace)
        def connect(sid: str, environ: Any, auth: Any) -> None:
            check_passed(environ)
            self.names[namespace, sid] = auth["name"]
            self.asked.append(("came", auth["name"], namespace))

        def told(sid: str, number: int) -> str:
            """Who says it. It is heard now, and once."""
            name = self.names[namespace, sid]
            self.heard[name].append(number)
            return name

        def ack(name: str, number: int, *values: Any) -> tuple[Any, ...]:
            self.asked.append(("ack", name, namespace, number, [number, *values]))
            return (number, *values)

        def emit(
            event: str, values: list[Any], room: str | None, but: str | None = None, **more: Any
        ) -> None:
            skipped = None if but is None else self.names[namespace, but]
            self.asked.append(("emit", namespace, room, skipped, event, values))
            server.emit(event, values, room=room, skip_sid=but, namespace=namespace)

        @server.on("enter", namespace=namespace)
        def enter(sid: str, number: int, room: str) -> Any:
            name = told(sid, number)
            self.asked.append(("enter", name, namespace, room))
            try:
                server.enter_room(sid, room, namespace)
            except ValueError:  # it has gone meanwhile
                return None
            return ack(name, number)

        @server.on("exit", namespace=namespace)
        def leave(sid: str, number: int, room: str) -> Any:
            name = told(sid, number)
            self.asked.append(("exit", name, namespace, room))
            server.leave_room(sid, room, namespace)
            return ack(name, number)

        @server.on("tell", namespace=namespace)
        def tell(sid: str, number: int, room: str | None, value: Any) -> Any:
            name = told(sid, number)
            emit("told", [number, value], room, but=sid if number % 3 == 0 else None)
            return ack(name, number, value)

        @server.on("inline", namespace=namespace, inline=True)
        def inline(sid: str, number: int, value: Any) -> Any:
            name = told(sid, number)
            emit("inlined", [number, value], "red")
            return ack(name, number)

        @server.on("question", namespace=namespace)
        def question(sid: str, number: int, value: Any) -> None:
            name = told(sid, number)
            self.asked.append(("ask", name, namespace, number))

            def answered(*values: Any) -> None:
                self.asked.append(("answered", name, number, values))

            server.emit("asked", number, to=sid, namespace=namespace, callback=answered)


class Model:
    """What follows from what was asked for: per client and namespace (packet, must it be there?)."""

    def __init__(self, asked: Asked) -> None:
        self.expected: dict[tuple[str, str], list[tuple[Any, bool]]] = defaultdict(list)
        self.questions: dict[tuple[str, int], int] = {}
        self.wrong_answers: list[Any] = []
        self._members: dict[tuple[str, str | None], set[str]] = defaultdict(set)
        self._unsure: set[tuple[str, str]] = set()  # coming or going
        for kind, *rest in asked:
            getattr(self, f"_{kind}")(*rest)

    def _coming(self, name: str, namespace: str) -> None:
        self._members[namespace, None].add(name)
        self._unsure.add((name, namespace))

    def _came(self, name: str, namespace: str) -> None:
        """Its connect handler runs: the reply is on its way, and everything sent now comes behind it."""

    def _joined(self, name: str, namespace: str) -> None:
        self._unsure.discard((name, namespace))

    def _going(self, name: str, namespace: str) -> None:
        self._unsure.add((name, namespace))

    def _enter(self, name: str, namespace: str, room: str) -> None:
        self._members[namespace, room].add(name)

    def _exit(self, name: str, namespace: str, room: str) -> None:
        self._members[namespace, room].discard(name)

    def _expect(self, name: str, namespace: str, packet: Any) -> None:
        self.expected[name, namespace].append((packet, (name, namespace) not in self._unsure))

    def _emit(
        self, namespace: str, room: str | None, skipped: str | None, event: str, values: list[Any]
    ) -> None:
        for name in self._members[namespace, room]:
            if name != skipped:
                self._expect(name, namespace, (EVENT, namespace, [event, values], None))

    def _ack(self, name: str, namespace: str, number: int, values: list[Any]) -> None:
        self._expect(name, namespace, (ACK, namespace, values, number))

    def _ask(self, name: str, namespace: str, number: int) -> None:
        self._expect(name, namespace, (EVENT, namespace, ["asked", number], "asked"))
        if (name, namespace) not in self._unsure:
            self.questions[name, number] = 0

    def _answered(self, name: str, number: int, values: tuple[Any, ...]) -> None:
        if (name, number) in self.questions:
            self.questions[name, number] += 1
        if values != (number * 2,):
            self.wrong_answers.append((name, number, values))

    def check(self, name: str, namespace: str, heard: list[Any], *, gone: bool) -> None:
        """Every packet once and in order; those that need not be there may be missing. Raises Fault."""
        who, expected = f"{name} in {namespace}", iter(self.expected[name, namespace])
        for number, packet in enumerate(heard):
            for wanted, required in expected:
                if wanted == packet:
                    break
                if required:
                    raise Fault("another packet", f"{who} heard as packet {number} {packet}, not {wanted}")
            else:
                raise Fault("a packet too many", f"{who} heard as packet {number} {packet}")
        missing = [wanted for wanted, required in expected if required]
        if missing and not gone:
            raise Fault("packets are missing", f"{who} never heard {missing[:3]}, {len(missing)} in all")


class Meeting:
    """One record under way."""

    def __init__(self, seed: int) -> None:
        self.told = ToldServer(seed)
        self.played = Played(seed, self.told.application)
        self.clients: dict[str, ValidClient] = {}
        self.said: dict[str, list[int]] = defaultdict(list)
        self.sure: dict[str, set[str]] = defaultdict(set)  # namespaces it has joined and not left
        self.gone: set[str] = set()
        self._connections_count = 0
        self._number = 0

    def apply(self, operation: list[Any]) -> None:
        kind, *rest = operation
        if kind == "steps":
            for _ in range(rest[0]):
                self.turn()
        elif kind == "quiet":
            self.quiet()
        elif kind == "come":
            self.come(*rest)
        elif kind in ("say", "leave", "upgrade", "hold", "vanish"):
            client = self.clients.get(rest[0])
            if client is not None and rest[0] not in self.gone:
                getattr(self, kind)(client, *rest[1:])
        else:
            raise ValueError(f"no operation of a meeting: {operation!r}")

    def turn(self) -> bool:
        """A step, and whatever it lets the clients do."""
        did = self.played.step()
        moved = self.played.pump()
        for name, client in self.clients.items():
            if name not in self.gone:
                client.look()
                for namespace in client.joined - self.sure[name]:
                    self.sure[name].add(namespace)
                    self.told.asked.append(("joined", name, namespace))
        return self.played.pump() or moved or did

    def quiet(self) -> None:
        """Until nothing happens any more, in time that passes."""
        machine = self.played.machine
        end = machine.now + QUIET_SECONDS
        for _ in range(QUIET_MAX_STEPS):
            if not self.turn() and (machine.now >= end or not machine.pass_time(end - machine.now)):
                return
        raise Fault("it never becomes quiet")

    def open_one(self) -> Any:
        self._connections_count += 1
        return self.played.open(f"m{self._connections_count}", "client")

    def come(self, name: str, transport: str, namespaces: list[str]) -> None:
        if name in self.clients:
            return
        words = PackedWords() if self.told.packed else TextWords()
        client = self.clients[name] = ValidClient(name, "/socket.io/", words, self.open_one)
        client.come("websocket" if transport == "websocket" else "polling")
        for namespace in namespaces:
            self.told.asked.append(("coming", name, namespace))
            client.say(0, namespace, {"name": name})

    def say(self, client: ValidClient, namespace: str, event: str, *values: Any) -> None:
        if namespace not in self.sure[client.name]:
            return
        self._number += 1
        self.said[client.name].append(self._number)
        data = [bytes([1, 2, 255]) if value == "bytes" else value for value in values]
        client.say(
            EVENT, namespace, [event, self._number, *data], None if event == "question" else self._number
        )

    def leave(self, client: ValidClient, namespace: str) -> None:
        if namespace in self.sure[client.name]:
            self.told.asked.append(("going", client.name, namespace))
            self.sure[client.name].discard(namespace)
            client.joined.discard(namespace)
            client.say(DISCONNECT, namespace)

    def upgrade(self, client: ValidClient) -> None:
        client.upgrade()

    def hold(self, client: ValidClient, seconds: float) -> None:
        for connection in client.connections:
            self.played.machine.hold(connection.end, seconds)

    def vanish(self, client: ValidClient) -> None:
        """Without a word."""
        for namespace in NAMESPACES:
            self.told.asked.append(("going", client.name, namespace))
        self.gone.add(client.name)
        self.sure[client.name].clear()
        for name, connection in list(self.played.connections.items()):
            if connection in client.connections:
                self.played.leave(name, "end")

    def judge(self) -> Counter[str]:
        model = Model(self.told.asked)
        for name, client in self.clients.items():
            for namespace in NAMESPACES:
                heard = [self._plain(packet) for packet in client.heard if packet[1] == namespace]
                model.check(name, namespace, heard, gone=namespace not in self.sure[name])
            arrived, said = self.told.heard[name], self.said[name]
            lost = len(self.sure[name]) < len(NAMESPACES)  # it has left one of them
            if arrived != (said[: len(arrived)] if lost else said):
                raise Fault("events on their way in", f"{name} said {said}, handlers heard {arrived}")
        stayed = {name for name, namespaces in self.sure.items() if len(namespaces) == len(NAMESPACES)}
        silent = [key for key, count in model.questions.items() if count != 1 and key[0] in stayed]
        if silent or model.wrong_answers:
            raise Fault("answers to questions", f"{silent[:3]} {model.wrong_answers[:3]}")
        packets = sum(len(client.heard) for client in self.clients.values())
        upgrades = sum(client.upgraded for client in self.clients.values())
        return Counter(packets=packets, clients=len(self.clients), upgraded=upgrades)

    def _plain(self, packet: Any) -> Any:
        kind, namespace, data, number = packet
        if kind == EVENT:
            if self.told.recovers and number is None:
                data = data[:-1]  # its offset
            return kind, namespace, data, number and "asked"
        return kind, namespace, data, number


class ModelPlayer:
    """The machine that `findings.campaign` runs."""

    NAME = "model"

    def close(self) -> None:
        """It has started nothing."""

    def make(self, seed: int) -> Record:
        chance = random.Random(seed)
        names = NAMES[: chance.randrange(2, 5)]
        record: Record = []
        for name in names:
            record += [
                ["come", name, chance.choice(TRANSPORTS), list(NAMESPACES)],
                ["steps", chance.randrange(30)],
            ]
        if chance.random() < 0.7:
            record.append(["quiet"])
        for _ in range(chance.randrange(10, 60)):
            name, namespace = chance.choice(names), chance.choice(NAMESPACES)
            room, value = (
                chance.choice(ROOMS),
                chance.choice((1, "x", None, "Grüße", "bytes", [1, {"a": "b"}])),
            )
            record.append(
                chance.choices(
                    (
                        ["say", name, namespace, "enter", room],
                        ["say", name, namespace, "exit", room],
                        ["say", name, namespace, "tell", chance.choice((None, room)), value],
                        ["say", name, namespace, "inline", value],
                        ["say", name, namespace, "question", value],
                        ["upgrade", name],
                        ["steps", chance.randrange(40)],
                        ["hold", name, chance.choice((0.1, 2.0))],
                        ["leave", name, namespace],
                        ["vanish", name],
                        ["quiet"],
                    ),
                    (6, 2, 10, 5, 4, 3, 8, 2, 0.3, 0.3, 1),
                )[0]
            )
        return record

    def play(self, seed: int, record: Record) -> Counter[str]:
        meeting = Meeting(seed)
        try:
            for operation in record:
                meeting.apply(operation)
            meeting.quiet()
            counts = meeting.judge()
            meeting.played.end_all()
        except Fault:
            raise
        except (Stuck, AssertionError, ConnectionClosed) as error:
            raise Fault("a valid client is refused", repr(error)) from None
        finally:
            meeting.played.close()
        if ERRORS.lines:
            raise Fault("logged as an error", ERRORS.lines[0])
        return counts
