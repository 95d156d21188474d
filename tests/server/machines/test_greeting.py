"""Both ends of a greeting, with a told clock and ends in memory: proofs forged, said again, sent back, cut.

It must not know sockets.
"""

from functools import partial
from typing import Any

import pytest

from joined_ends import End, Ends
from python_server.machines.greeting import (
    GONE,
    GREETING_SECONDS,
    OTHER_SECRET,
    REFUSED,
    Called,
    Caller,
    Doorkeeper,
)
from python_server.machines.stream import FrameStream
from python_server.machines.words import (
    About,
    Challenge,
    FrameReader,
    Hello,
    Kind,
    Proof,
    frame,
)
from told_time import Clock

SECRET = b"of all machines"
HELLO = Hello(1, b"n" * 32, "m1", "m2", 3, False)
NONCES = iter(range(1 << 30))


def entropy(count: int) -> bytes:
    return next(NONCES).to_bytes(count, "big")


class Greeting:
    """A caller and who is called, who lets it in."""

    def __init__(self, secret: bytes = SECRET, *, piece_bytes: int = 1 << 30, hello: Hello = HELLO) -> None:
        self.clock = Clock()
        self.ends = Ends(piece_bytes)
        self.calling: list[tuple[FrameStream | None, str]] = []
        self.called: list[tuple[Called | None, str]] = []
        self.caller = Caller(
            self.ends.first,
            SECRET,
            hello,
            lambda stream, reason: self.calling.append((stream, reason)),
            self.clock.deadline,
        )
        self.door = Doorkeeper(self.ends.second, secret, entropy, self.came, self.clock.deadline)
        self.door.begin()
        self.caller.begin()

    def came(self, door: Doorkeeper, called: Called | None, reason: str) -> None:
        assert door is self.door
        self.called.append((called, reason))
        if called is not None:
            self.ends.second.write(called.welcome)


def split(data: bytes) -> list[tuple[int, bytes]]:
    reader = FrameReader()
    reader.receive(data)
    return list(iter(reader.next, None))  # type: ignore[arg-type]


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 5, 8, 64, 1000])
def test_both_prove_themselves_in_whatever_pieces(piece_bytes: int) -> None:
    greeting = Greeting(piece_bytes=piece_bytes)
    greeting.ends.settle()
    [(called, reason)] = greeting.called
    assert called is not None
    assert (called.hello, reason) == (HELLO, "")
    [(stream, reason)] = greeting.calling
    assert stream is not None
    assert (stream.transport, reason) == (greeting.ends.first, "")
    assert not greeting.clock.waits
    assert (greeting.ends.first.ended, greeting.ends.second.ended) == (None, None)
    stream.connection_lost("later")  # its new owner's affair
    assert len(greeting.calling) == 1


def test_another_secret_is_refused_without_a_word() -> None:
    greeting = Greeting(b"another")
    greeting.ends.settle()
    assert greeting.called == [(None, "a caller has another --cluster-secret")]
    assert greeting.calling == [(None, REFUSED)]
    assert [kind for kind, _ in split(bytes(greeting.ends.passed[greeting.ends.second]))] == [Kind.CHALLENGE]
    assert not greeting.clock.waits


def test_a_worker_that_is_gone_says_so_to_who_has_proven_itself() -> None:
    greeting = Greeting()
    greeting.door.done = lambda door, called, reason: greeting.ends.second.write(frame(Kind.GONE))
    greeting.ends.settle()
    assert greeting.calling == [(None, GONE)]
    assert greeting.ends.first.ended == GONE


def recorded() -> tuple[list[bytes], list[bytes]]:
    """The frames of a good greeting, of who calls and of who is called."""
    greeting = Greeting()
    greeting.ends.settle()
    sent = greeting.ends.passed
    return tuple(  # type: ignore[return-value]
        [
            len(payload + b"k").to_bytes(4, "big") + bytes([kind]) + payload
            for kind, payload in split(bytes(data))
        ]
        for data in (sent[greeting.ends.first], sent[greeting.ends.second])
    )


class Alone:
    """One end, to which a test says what it likes."""

    def __init__(self, make: Any) -> None:
        self.clock = Clock()
        self.end = End()
        self.heard: list[Any] = []
        self.greeter = make(self)
        self.greeter.begin()

    def hear(self, data: bytes) -> None:
        self.end.receive(data)

    def lose(self) -> None:
        self.end.handler.connection_lost(self.end.ended or "reset by peer")

    @property
    def said(self) -> list[tuple[int, bytes]]:
        return split(bytes(self.end.written))


def a_door() -> Alone:
    def make(alone: Alone) -> Doorkeeper:
        return Doorkeeper(
            alone.end,
            SECRET,
            entropy,
            lambda door, called, reason: alone.heard.append((called, reason)),
            alone.clock.deadline,
        )

    return Alone(make)


def a_caller() -> Alone:
    def make(alone: Alone) -> Caller:
        done = lambda stream, reason: alone.heard.append((stream, reason))  # noqa: E731
        hello = Hello(1, entropy(32), "m1", "m2", 3, False)
        return Caller(alone.end, SECRET, hello, done, alone.clock.deadline)

    return Alone(make)


def test_what_a_caller_has_said_is_worth_nothing_when_it_is_said_again() -> None:
    (hello, proof), _ = recorded()
    door = a_door()
    door.hear(hello)
    door.hear(proof)
    assert door.end.ended == "a caller has another --cluster-secret"
    door.lose()
    assert door.heard == [(None, "a caller has another --cluster-secret")]


def test_what_is_called_says_no_proof_that_could_be_sent_back() -> None:
    """Who has no secret, but hears those who have it, gets from neither what it wants of the other."""
    _, (challenge, welcome) = recorded()
    caller = a_caller()
    caller.hear(challenge)
    [_, (kind, own)] = caller.said
    assert kind == Kind.PROOF
    for forged in (
        own,
        welcome[5:],
        frame(Kind.WELCOME, Proof(b""))[5:],
        frame(Kind.WELCOME, Proof(b"0" * 32))[5:],
    ):
        caller = a_caller()
        caller.hear(challenge)
        caller.hear((len(forged) + 1).to_bytes(4, "big") + bytes([Kind.WELCOME]) + forged)
        assert caller.end.ended == OTHER_SECRET
        caller.lose()
        assert caller.heard == [(None, OTHER_SECRET)]


def test_a_challenge_of_one_door_is_of_no_use_at_another_one() -> None:
    """A thief in the middle passes on the caller's own words, but has another worker in mind."""
    caller, door = a_caller(), a_door()
    other = Hello(1, b"n" * 32, "m1", "m2", 4, False)
    door.hear(frame(Kind.HELLO, other))
    [(_, challenge)] = door.said
    caller.hear((len(challenge) + 1).to_bytes(4, "big") + bytes([Kind.CHALLENGE]) + challenge)
    [_, (_, proof)] = caller.said
    door.hear((len(proof) + 1).to_bytes(4, "big") + bytes([Kind.PROOF]) + proof)
    assert door.end.ended == "a caller has another --cluster-secret"


GARBAGE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\0\0\0\0\1",
    b"\0\0\4\1\1" + b"x" * 1024,
    b"\0\0\0\2\1\xc0",
    frame(Kind.PING),
    frame(Kind.REQUEST, About(1)),
    frame(Kind.WELCOME, Proof(b"x" * 32)),
    frame(Kind.GONE),
    b"\0\0\0\2\xff\xc0",
]
FOR_A_DOOR = [
    *GARBAGE,
    frame(Kind.PROOF, Proof(b"x" * 32)),
    frame(Kind.CHALLENGE, Challenge(1, b"c" * 32)),
    frame(Kind.HELLO, Hello(1, b"n" * 31, "m1", "m2", 3, False)),
    frame(Kind.HELLO, Hello(1, b"", "m1", "m2", 3, False)),
    frame(Kind.HELLO, HELLO) * 2,
    frame(Kind.HELLO, HELLO) + frame(Kind.PROOF, Proof(b"")),
    frame(Kind.HELLO, HELLO) + frame(Kind.PROOF, About(7)),
]
FOR_A_CALLER = [
    *GARBAGE,
    frame(Kind.HELLO, HELLO),
    frame(Kind.CHALLENGE, Challenge(1, b"c" * 32)) * 2,
    frame(Kind.CHALLENGE, About(1)),
    frame(Kind.CHALLENGE, Challenge(1, b"c" * 32)) + frame(Kind.WELCOME, About(1)),
]


@pytest.mark.parametrize(
    ("make", "data"),
    [*((a_door, data) for data in FOR_A_DOOR), *((a_caller, data) for data in FOR_A_CALLER)],
)
@pytest.mark.parametrize("piece_bytes", [1, 10_000])
def test_garbage_ends_a_greeting_once(make: Any, data: bytes, piece_bytes: int) -> None:
    alone = make()
    for at in range(0, len(data), piece_bytes):
        if alone.end.ended is None:
            alone.hear(data[at : at + piece_bytes])
    assert alone.end.ended is not None
    alone.lose()
    [(nothing, reason)] = alone.heard
    assert nothing is None
    assert reason == alone.end.ended
    assert not alone.clock.waits


@pytest.mark.parametrize("make", [a_door, a_caller])
def test_who_says_nothing_is_not_waited_for(make: Any) -> None:
    alone = make()
    alone.clock.advance(GREETING_SECONDS - 0.1)
    assert alone.end.ended is None
    alone.hear(b"\0")
    alone.clock.advance(0.2)
    assert alone.end.ended in ("no proof in time", "no answer in time")
    alone.lose()
    assert len(alone.heard) == 1


@pytest.mark.parametrize("said_count", [0, 1])
@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_caller_whose_other_end_goes_is_told_why(said_count: int, how: str) -> None:
    _, (challenge, _) = recorded()
    caller = a_caller()
    if said_count:
        caller.hear(challenge)
    if how == "end":
        caller.hear(b"")
    caller.lose()
    expected = {
        ("reset", 0): "reset by peer",
        ("reset", 1): "reset by peer",
        ("end", 0): "the other machine has closed the connection",
        ("end", 1): REFUSED,
    }[how, said_count]
    assert caller.heard == [(None, expected)]


def test_a_caller_that_nobody_waits_for_tells_nobody() -> None:
    caller = a_caller()
    caller.greeter.cancel()
    assert caller.end.ended == ""
    caller.lose()
    assert caller.heard == []
    assert not caller.clock.waits


def test_a_door_that_is_shut_says_nothing() -> None:
    door = a_door()
    door.greeter.close("server stopped")
    door.lose()
    assert (door.said, door.heard) == ([], [(None, "server stopped")])


def test_a_later_release_may_say_more_in_its_greeting() -> None:
    """What it adds is a part of what is proven."""

    class LaterHello(Hello, array_like=True):
        new: str = "field"

    later: Any = partial(LaterHello, new="other")
    greeting = Greeting(hello=later(1, b"n" * 32, "m1", "m2", 3, True))
    greeting.ends.settle()
    [(called, _)] = greeting.called
    assert called is not None
    assert called.hello.websocket is True
    assert greeting.calling[0][0] is not None
