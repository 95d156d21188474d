"""Faults of the system, each at one chosen call: which calls can fail, how, and what a client may notice.

It must not know what is said between server and clients.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from python_server.connection import acceptor
from python_server.engineio.intake import Intake
from python_server.engineio.posts import Posts
from python_server.http1.parser import RequestParser
from python_server.net import bounded_queue, link, relay, sendfile, threads, tls, transport
from python_server.net.bounded_queue import BoundedQueue
from python_server.net.loop import Loop
from python_server.net.threads import WORKER
from python_server.socketio.dispatcher import Dispatcher
from simulated_machine import Machine, Runner, ToldPoller, ToldPool
from wsframe import Connection, Decoder, Encoder, Outbox, deflate

# What a call may answer instead. WAITS: nobody notices, things are only later. ENDS: its connection may end.
# PARTS: two workers lose their link, as if one had died, and what one would have told the other is missing.
WAITS, ENDS, PARTS = "waits", "ends", "parts"
LATER = "EAGAIN EINTR short"
LOST_PEER = "ECONNRESET ETIMEDOUT EPIPE ENOBUFS ENOMEM EIO"
CALLS: dict[str, dict[str, str]] = {
    "accept": {WAITS: "EAGAIN EINTR ECONNABORTED EPROTO EMFILE ENFILE ENOMEM ENOBUFS"},
    "getsockname": {ENDS: "EINVAL ENOBUFS"},
    "setsockopt": {ENDS: "EINVAL ECONNRESET ENOBUFS ENOMEM"},
    "recv_into": {WAITS: LATER, ENDS: "ECONNRESET ETIMEDOUT ENOBUFS ENOMEM EIO"},
    "send": {WAITS: LATER, ENDS: LOST_PEER},
    "sendmsg": {WAITS: LATER, ENDS: LOST_PEER},
    "shutdown": {ENDS: "ENOTCONN ECONNRESET"},
    "sendfile": {WAITS: LATER, ENDS: "ECONNRESET EPIPE EIO ENOMEM nothing"},
    "pread": {WAITS: "short", ENDS: "EIO nothing"},
    "dup": {WAITS: "EMFILE ENFILE"},
    "register": {ENDS: "ENOMEM ENOSPC"},
    "modify": {ENDS: "ENOMEM ENOSPC"},
    "poll": {WAITS: "nothing ENOMEM MemoryError"},
    "wake": {WAITS: "EAGAIN"},
    "woken": {WAITS: "EAGAIN"},
    "link.send": {WAITS: f"{LATER} ENOBUFS ENOMEM", PARTS: "EPIPE ECONNRESET"},
    "link.sendmsg": {WAITS: f"{LATER} ENOBUFS ENOMEM ETOOMANYREFS", PARTS: "EPIPE ECONNRESET"},
    "link.recvmsg_into": {WAITS: f"{LATER} ENOBUFS ENOMEM MemoryError", PARTS: "ECONNRESET"},
    "compressor": {ENDS: "MemoryError"},
    "compress": {ENDS: "MemoryError"},
    "decompressor": {ENDS: "MemoryError"},
    "decompress": {ENDS: "MemoryError"},
    "tls.memory": {ENDS: "MemoryError"},
    "tls.wrap_bio": {ENDS: "MemoryError SSLError"},
    "tls.do_handshake": {ENDS: "MemoryError SSLError"},
    "tls.read": {WAITS: "short", ENDS: "MemoryError SSLError"},
    "tls.write": {WAITS: "short", ENDS: "MemoryError SSLError"},
    "tls.unwrap": {ENDS: "MemoryError SSLError"},
    # Memory that is asked for by a client's wish.
    "memory of heads and bodies": {ENDS: "MemoryError"},
    "memory of a waiting body": {ENDS: "MemoryError"},
    "socketpair": {ENDS: "EMFILE ENFILE ENOMEM"},
    "memory of a WebSocket": {ENDS: "MemoryError"},
    "memory of messages": {ENDS: "MemoryError"},
    "memory of a large message": {ENDS: "MemoryError"},
    "memory of a post": {ENDS: "MemoryError"},
    "memory of packets": {ENDS: "MemoryError"},
    "memory of an event": {ENDS: "MemoryError"},
    "memory of a frame": {ENDS: "MemoryError"},
    "outbox.send": {ENDS: "MemoryError"},
    "outbox.write": {ENDS: "MemoryError"},
    "outbox.take": {ENDS: "MemoryError"},
    "memory of joined pieces": {ENDS: "MemoryError"},
    "memory of a link's message": {PARTS: "MemoryError"},
}
# The call itself, of as little as possible.
SHORT: dict[str, Callable[..., Any]] = {
    "send": lambda real, data: real(memoryview(data)[:1]),
    "sendmsg": lambda real, pieces, *more: real([memoryview(pieces[0])[:1]], *more),
    "recv_into": lambda real, buffer: real(buffer, 1),
    "recv": lambda real, size: real(1),
    "recvmsg_into": lambda real, buffers, *more: real([memoryview(buffers[0])[:1]], *more),
    "sendfile": lambda real, out, source, offset, count: real(out, source, offset, 1),
    "pread": lambda real, descriptor, count, offset: real(descriptor, 1, offset),
    "read": lambda real, count, view: real(1, view[:1]),
    "write": lambda real, *more: real(*more[:-1], more[-1][:1]),  # with or without a descriptor
}
NOTHING: dict[str, Any] = {"sendfile": 0, "pread": b"", "poll": [], "recv": b""}
NAMED: dict[str, type[Exception]] = {
    "MemoryError": MemoryError,
    "RuntimeError": RuntimeError,
    "TimeoutError": TimeoutError,
    "ConnectionError": ConnectionError,
}
# Polls at one moment of told time, many times what is ever needed: more is a loop that turns without end.
POLLS_MAX_COUNT = 2_000


def fault_named(name: str) -> BaseException:
    if name in NAMED:
        return NAMED[name](name)
    if name == "SSLError":
        error = ssl.SSLError(1, "[SSL: INTERNAL_ERROR] internal error")
        error.library, error.reason = "SSL", "INTERNAL_ERROR"
        return error
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


class Faults:
    """Counts calls, and lets `times` of them fail: from number `number` of `seam` on, by `fault`.

    Attributes:
        armed: only then it counts. reached: the fault has come.
    """

    def __init__(self, seam: str = "", number: int = 0, fault: str = "", times: float = 1) -> None:
        self._seam, self._number, self._fault, self._times = seam, number, fault, times
        self.counts: Counter[str] = Counter()
        self.armed = self.reached = False

    def __str__(self) -> str:
        return f"{self._seam} number {self._number} with {self._fault}"

    def call(self, seam: str, real: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if not self.armed:
            return real(*args, **more)
        number = self.counts[seam]
        self.counts[seam] += 1
        if seam != self._seam or not self._number <= number < self._number + self._times:
            return real(*args, **more)
        self.reached = True
        name = seam.rpartition(".")[2]
        if self._fault == "short":
            return SHORT[name](real, *args, **more)
        if self._fault == "nothing":
            return NOTHING[name]
        if seam.startswith("link.") and self._fault in ("EPIPE", "ECONNRESET"):  # both ends see that
            socket.socket.shutdown(real.__self__, socket.SHUT_RDWR)  # type: ignore[attr-defined]
        raise fault_named(self._fault)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done here is a client's."""
        armed, self.armed = self.armed, False
        yield
        self.armed = armed

    def wrap(self, seam: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **more: self.call(seam, real, *args, **more)


class FaultySocket(socket.socket):
    """A UNIX socket whose calls may fail. It says that it is one of TCP, as the network's are."""

    faults: Faults
    prefix = ""

    @classmethod
    def of(cls, faults: Faults, sock: socket.socket, prefix: str = "") -> FaultySocket:
        """In place of `sock`, which is gone."""
        own = cls(socket.AF_INET, socket.SOCK_STREAM, fileno=sock.detach())
        own.faults, own.prefix = faults, prefix
        own.setblocking(False)
        return own

    def _call(self, name: str, *args: Any) -> Any:
        return self.faults.call(self.prefix + name, getattr(super(), name), *args)

    def accept(self) -> tuple[socket.socket, Any]:
        return self.faults.call("accept", self._accept_one)

    def _accept_one(self) -> tuple[socket.socket, Any]:
        descriptor, _ = self._accept()  # type: ignore[attr-defined]
        return FaultySocket.of(self.faults, socket.socket(fileno=descriptor)), ("192.0.2.1", 1)

    def getsockname(self) -> Any:
        return self.faults.call("getsockname", lambda: ("192.0.2.2", 80))

    def setsockopt(self, level: int, *option: Any) -> None:
        real = (lambda *args: None) if level == socket.IPPROTO_TCP else super().setsockopt
        self.faults.call("setsockopt", real, level, *option)

    def recv_into(self, *args: Any) -> int:
        return self._call("recv_into", *args)

    def recvmsg_into(self, *args: Any) -> Any:
        return self._call("recvmsg_into", *args)

    def send(self, *args: Any) -> int:
        return self._call("send", *args)

    def sendmsg(self, *args: Any) -> int:
        return self._call("sendmsg", *args)

    def shutdown(self, *args: Any) -> None:
        self._call("shutdown", *args)


class FaultyMachine(Machine):
    """One whose pollers may fail; its threads may wait for a condition, and look again after each turn.

    Attributes:
        parked: who waits, and the number of the turn since which nothing has happened for him.
    """

    def __init__(self, seed: int, faults: Faults) -> None:
        super().__init__(seed)
        self.polls_count = 0
        self.parked: dict[Runner, int] = {}
        self.system = replace(self.system, poller=lambda: FaultyPoller(self, faults))

    def wait_on(self, condition: threading.Condition, timeout_seconds: float | None = None) -> bool:
        """A runner: stands for `net.threads.wait_on`."""
        runner, pool = WORKER.turn, WORKER.pool
        assert isinstance(runner, Runner)
        assert isinstance(pool, ToldPool)
        condition.release()
        self.parked[runner] = self.polls_count
        runner.leave()
        runner._granted.acquire()
        pool.away.remove(runner)
        condition.acquire()
        return True

    def step(self) -> bool:
        if super().step():
            return True
        for runner, since in self.parked.items():
            if since != self.polls_count:
                del self.parked[runner]
                runner.waking = True
                return True
        return False


class FaultyPoller(ToldPoller):
    def __init__(self, machine: FaultyMachine, faults: Faults) -> None:
        super().__init__(machine)
        self._faults, self._counting = faults, machine
        self._moment, self._polls_count = 0.0, 0

    def register(self, descriptor: int, events: int) -> None:
        self._faults.call("register", super().register, descriptor, events)

    def modify(self, descriptor: int, events: int) -> None:
        self._faults.call("modify", self._modify, descriptor, events)

    def _modify(self, descriptor: int, events: int) -> None:
        ToldPoller.unregister(self, descriptor)
        ToldPoller.register(self, descriptor, events)

    def poll(self, timeout_seconds: float) -> list[tuple[int, int]]:
        self._counting.polls_count += 1
        if self._moment != self._counting.now:
            self._moment, self._polls_count = self._counting.now, 0
        self._polls_count += 1
        if self._polls_count > POLLS_MAX_COUNT:
            raise AssertionError("the loop turns without end")
        return self._faults.call("poll", super().poll, timeout_seconds)


class Instead:
    """Some names of a module, class or object are others; the rest is as it was."""

    def __init__(self, real: Any, faults: Faults, prefix: str = "", **names: str | None) -> None:
        """`names`: of calls that may fail; what such a call returns has the calls named in turn."""
        self._real = real
        for name, inner in names.items():
            call = faults.wrap(prefix + name, getattr(real, name))
            if inner is not None:
                call = _with_calls(call, faults, prefix, inner)
            setattr(self, name, call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _with_calls(make: Callable[..., Any], faults: Faults, prefix: str, names: str) -> Callable[..., Any]:
    return lambda *args, **more: Instead(make(*args, **more), faults, prefix, **dict.fromkeys(names.split()))


METHODS: list[tuple[Any, str, str]] = [
    (RequestParser, "receive", "memory of heads and bodies"),
    (BoundedQueue, "offer", "memory of a waiting body"),
    (Posts, "body_received", "memory of a post"),
    (Intake, "add", "memory of packets"),
    (Dispatcher, "on_message", "memory of an event"),
    (transport, "send_pieces", "memory of joined pieces"),
    (link.Link, "_take_bytes", "memory of a link's message"),
]


@contextmanager
def injected(faults: Faults, machine: FaultyMachine) -> Iterator[None]:
    """What is made within calls through `faults`; sockets are given to who needs them."""

    class FaultyDecoder(Instead):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(faults.call("memory of a WebSocket", real_decoder, *args, **more), faults)
            self.receive = faults.wrap("memory of messages", self._real.receive)
            self.receive_buffer = faults.wrap("memory of a large message", self._real.receive_buffer)

    class FaultyEncoder:
        def __init__(self, *args: Any, **more: Any) -> None:
            self.__dict__["_real"] = real_encoder(*args, **more)
            self.__dict__["encode"] = faults.wrap("memory of a frame", self._real.encode)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self._real, name, value)

    class FaultyOutbox(Instead):
        def __init__(self, *args: Any) -> None:
            self.__dict__["_real"] = real_outbox(*args)
            for name in ("send", "write", "take"):
                self.__dict__[name] = faults.wrap(f"outbox.{name}", getattr(self._real, name))

        def __len__(self) -> int:
            return len(self._real)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self._real, name, value)

    def faulty_context(settings: Any) -> Any:
        context = real_context(settings)
        objects = "do_handshake read write unwrap"
        return context and Instead(context, faults, "tls.", wrap_bio=objects)

    real_decoder, real_encoder, real_outbox = Decoder, Encoder, Outbox
    real_context = acceptor.tls_context
    files = Instead(os, faults, "", sendfile=None, pread=None, dup=None)
    streams = Instead(deflate._libraries, faults, "", compressor="compress", decompressor="decompress")
    security = Instead(ssl, faults)
    security.MemoryBIO = faults.wrap("tls.memory", ssl.MemoryBIO)
    with ExitStack() as stack:
        for owner, name, new in [
            (Connection, "decoder_type", FaultyDecoder),
            (Connection, "encoder_type", FaultyEncoder),
            (Connection, "outbox_type", FaultyOutbox),
            (acceptor, "tls_context", faulty_context),
            (sendfile, "os", files),
            (deflate, "_libraries", streams),
            (tls, "ssl", security),
            (relay, "socket", Instead(socket, faults, "", socketpair=None)),
            (bounded_queue, "wait_on", machine.wait_on),
            (threads, "wait_on", machine.wait_on),
        ]:
            stack.enter_context(patch.object(owner, name, new))
        for owner, name, seam in METHODS:
            stack.enter_context(patch.object(owner, name, _method(faults, seam, getattr(owner, name))))
        yield


def _method(faults: Faults, seam: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """A function, which is bound to its object as the real one is."""

    def method(*args: Any, **more: Any) -> Any:
        return faults.call(seam, real, *args, **more)

    return method


def wrap_wake_up(faults: Faults, loop: Loop) -> None:
    wake_up = loop._wake_up
    wake_up.send = faults.wrap("wake", wake_up.send)
    wake_up.receive = faults.wrap("woken", wake_up.receive)  # type: ignore[method-assign]
