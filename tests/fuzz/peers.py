"""Feeds generated streams to wsframe, websockets and wsproto; fails where messages or verdicts differ.

It must not excuse a difference that is not listed below with its reason. Long run: --streams 100000
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

import websockets.frames
import websockets.protocol
import wsproto.connection
import wsproto.events
import wsproto.utilities
from streams import StreamMaker

from wsframe import Close, Connection, Ping, Pong, ProtocolError, Role

MAX_MESSAGE_BYTES = 1 << 20
Outcome = tuple[list[Any], str]


def ours(stream: bytes, role: Role) -> tuple[Outcome, str]:
    """The outcome, and the words of the refusal if there was one."""
    events: list[Any] = Connection(role, max_message_bytes=MAX_MESSAGE_BYTES).receive_data(stream)
    if events and isinstance(events[-1], ProtocolError):
        return (events[:-1], "refused"), str(events[-1])
    return (events, "closed" if events and isinstance(events[-1], Close) else "read"), ""


def by_websockets(stream: bytes, role: Role) -> Outcome:
    """Its sans-I/O core gives frames; messages are put together, and text decoded, as its I/O layers do."""
    side = websockets.protocol.SERVER if role is Role.SERVER else websockets.protocol.CLIENT
    protocol = websockets.protocol.Protocol(side, state=websockets.protocol.OPEN, max_size=MAX_MESSAGE_BYTES)
    protocol.receive_data(stream)
    events: list[Any] = []
    parts: list[bytes] = []
    text = False
    for frame in protocol.events_received():
        data = bytes(frame.data)
        if frame.opcode is websockets.frames.Opcode.PING:
            events.append(Ping(data))
        elif frame.opcode is websockets.frames.Opcode.PONG:
            events.append(Pong(data))
        elif frame.opcode is websockets.frames.Opcode.CLOSE:
            close = websockets.frames.Close.parse(data)
            events.append(Close(int(close.code), close.reason))
        else:
            if frame.opcode is not websockets.frames.Opcode.CONT:
                parts, text = [], frame.opcode is websockets.frames.Opcode.TEXT
            parts.append(data)
            if frame.fin:
                whole = b"".join(parts)
                try:
                    events.append(whole.decode() if text else whole)
                except UnicodeDecodeError:
                    return events, "refused"
    if protocol.parser_exc is not None:
        return events, "refused"
    return events, "closed" if events and isinstance(events[-1], Close) else "read"


def by_wsproto(stream: bytes, role: Role) -> Outcome:
    kind = wsproto.connection.ConnectionType[role.name]
    connection = wsproto.connection.Connection(kind)
    events: list[Any] = []
    parts: list[Any] = []
    try:
        connection.receive_data(stream)
        for event in connection.events():
            if isinstance(event, wsproto.events.Ping):
                events.append(Ping(bytes(event.payload)))
            elif isinstance(event, wsproto.events.Pong):
                events.append(Pong(bytes(event.payload)))
            elif isinstance(event, wsproto.events.CloseConnection):
                # It tells its own refusals as this event too; only a close frame received moves its state.
                if connection.state is wsproto.connection.ConnectionState.OPEN:
                    return events, "refused"
                events.append(Close(int(event.code), event.reason or ""))
                return events, "closed"
            elif isinstance(event, wsproto.events.Message):
                parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                if event.message_finished:
                    events.append(parts[0][:0].join(parts))
                    parts = []
    except wsproto.utilities.RemoteProtocolError:
        return events, "refused"
    return events, "read"


def known_difference(peer: str, own: Outcome, why: str, other: Outcome) -> str | None:
    """The peer's departures from the RFC that are known, each told by what it leaves in the outcomes."""
    (events, verdict), (other_events, other_verdict) = own, other
    if (
        peer == "websockets"
        and verdict == "closed"
        and other_verdict == "refused"
        and events[:-1] == other_events
    ):
        return "websockets refuses a close frame inside a fragmented message (Autobahn 7.1.5)"
    same_until_then = verdict == "refused" and other_events[: len(events)] == events
    if peer == "websockets" and same_until_then and "text message is not UTF-8" in why:
        return "websockets looks at text when its message is whole (section 8.1 allows it)"
    long_form = "shortest form" in why or "more than 125 bytes" in why
    if peer == "websockets" and same_until_then and long_form:
        return "websockets reads a length that is not in its shortest form (section 5.2)"
    if verdict == "refused" and other_verdict == "read" and events == other_events:
        return f"{peer} waits for the rest of a frame, or of a character, before it refuses"
    return None


def sooner(peer: str, stream: bytes, role: Role, own: Outcome, other: Outcome) -> str | None:
    """Cut between a length and its mask: we judge a header when it is whole, 4 bytes later."""
    (events, verdict), (other_events, other_verdict) = own, other
    if (verdict, other_verdict) == ("read", "refused") and events == other_events:
        with_mask, _ = ours(stream + bytes(4), role)
        if with_mask == (events, "refused"):
            return f"{peer} refuses a length before the mask behind it came"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    maker = StreamMaker(options.seed)
    peers = {"websockets": by_websockets, "wsproto": by_wsproto}
    verdicts: Counter[str] = Counter()
    excused: Counter[str] = Counter()
    for number in range(options.streams):
        role = Role.SERVER if number % 2 else Role.CLIENT
        stream = maker.stream(role)
        own, why = ours(stream, role)
        verdicts[own[1]] += 1
        for name, run in peers.items():
            other = run(stream, role)
            if other != own:
                reason = known_difference(name, own, why, other) or sooner(name, stream, role, own, other)
                if reason is None:
                    print(f"{name} differs on {role.name} {stream.hex()}\n  ours  {own}\n  other {other}")
                    return 1
                excused[reason] += 1
    print(f"{options.streams} streams, seed {options.seed}: {dict(verdicts)}")
    for reason, count in excused.items():
        print(f"  {count}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
