"""A stream of a room over a fake exchange: what it was sent, as a browser's EventSource would read it.

It must not know sockets or how a stream is found.
"""

import json
from typing import Any

from python_server.http1.response import Framing
from wsframe import JoinCache, Outbox


class FakeExchange:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.text = ""
        self.blocked = self.finished = False
        self.aborted: str | None = None
        self.framing = Framing.CHUNKED
        self.declines = Outbox()  # as it is never opened

    def outbox(self, joins: JoinCache) -> Outbox:
        return self.declines

    def write(self, data: bytes) -> None:
        assert not self.finished
        self.text += data.decode()

    def finish(self) -> None:
        self.finished = True

    def abort(self, reason: str) -> None:
        self.aborted = reason


def read_events(text: str) -> tuple[list[tuple[str, Any]], str | None]:
    """(each dispatched event with its data, the last id) as WHATWG HTML 9.2.6 has it."""
    events, last_id = [], None
    for part in text.split("\n\n"):
        fields: dict[str, list[str]] = {}
        for line in part.split("\n"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        if "id" in fields:
            last_id = fields["id"][-1]
        if "data" in fields:
            name = fields.get("event", ["message"])[-1]
            events.append((name, json.loads("\n".join(fields["data"]))))
    return events, last_id


class Ear:
    """An EventSource: it keeps the last id, and comes back with it."""

    def __init__(self, room: Any = None, event: str | None = None, namespace: str = "/") -> None:
        self.room, self.event, self.namespace = room, event, namespace
        self.id: str | None = None
        self.heard: list[tuple[str, Any]] = []
        self.stream: Any = None

    def connect(self, hub: Any) -> "Ear":
        self.exchange = FakeExchange()
        self.stream = hub.stream(self.namespace, self.room, self.event, self.id)
        self.stream.begin(self.exchange, None)
        return self

    def take(self) -> list[tuple[str, Any]]:
        """What has come since the last time."""
        text, self.exchange.text = self.exchange.text, ""
        events, last_id = read_events(text)
        self.id = last_id or self.id
        self.heard += events
        return events

    def cut(self) -> "Ear":
        """The connection is gone, with what had not been taken."""
        self.stream.lost()
        return self
