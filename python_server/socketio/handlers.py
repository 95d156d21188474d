"""Which handler serves an event of a namespace. Sans-I/O.

Must not know: packets, threads, what a handler does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from python_server.socketio.client import Handler

ANY: Final = "*"
# These two are the namespace's own; a catch-all event does not get them.
RESERVED: Final = frozenset({"connect", "disconnect"})

# Called with (kind, namespace, sid, room), and where it is known the metadata.
Presence = Callable[..., None]


class Handlers:
    """Handlers by namespace and event, with catch-alls in the order that python-socketio documents.

    The exact event; the namespace's "*"; the event in namespace "*"; "*" in "*"; then the handler of the
    whole namespace; then that of namespace "*". The last two take every event of theirs.
    """

    def __init__(self) -> None:
        self._events: dict[str, dict[str, Handler]] = {}
        self._whole: dict[str, Handler] = {}
        self._methods: dict[str, frozenset[str]] = {}  # of those handlers of a whole namespace that tell
        self._open: set[str] = {"/"}
        # What is told of events, by (namespace, event): the application's function, and how many arguments it
        # has before the client's; and of what the server sends the types of the arguments and of the ack.
        self.functions: dict[tuple[str, str], tuple[Callable[..., object], int]] = {}
        self.sent: dict[tuple[str, str], tuple[tuple[object, ...], object]] = {}
        # Hears ("join" or "leave", namespace, sid, room) of the clients of this process; with metadata also
        # "update", and of all processes, in one of them.
        self.presence: Presence | None = None

    def on(self, namespace: str, event: str, handler: Handler) -> None:
        self._events.setdefault(namespace, {})[event] = handler

    def on_namespace(self, namespace: str, handler: Handler, names: Iterable[str] | None = None) -> None:
        """`handler` takes the namespace's events without a handler of their own; `names`: those it uses."""
        self._whole[namespace] = handler
        self._methods.pop(namespace, None)
        if names is not None:
            self._methods[namespace] = frozenset(names)

    def only(self, namespaces: Iterable[str]) -> None:
        """Clients may join these and those with a handler of their own; not even "/" unless it is said."""
        self._open = set(namespaces)

    def allow(self, namespaces: Iterable[str]) -> None:
        """Clients may join these as well, without a handler of their own; "*": all."""
        self._open |= set(namespaces)

    def on_presence(self, presence: Presence) -> None:
        """Called on a worker for every client of this process that comes into a room or leaves it."""
        self.presence = presence

    def serves(self, namespace: str) -> bool:
        """May a client join it?"""
        return (self.permanent(namespace) and namespace != ANY) or ANY in self._open

    def handles(self, namespace: str) -> bool:
        """Has it a handler of its own?"""
        return namespace in self._events or namespace in self._whole

    def permanent(self, namespace: str) -> bool:
        """Does the application know it by name?"""
        return self.handles(namespace) or namespace in self._open

    def knows(self, namespace: str, event: str | None) -> bool:
        """Has the application named both, so that no client has made them up? None: the namespace alone."""
        return self.permanent(namespace) and (
            event is None
            or event in self._events.get(namespace, ())
            or event in self._methods.get(namespace, ())
        )

    def names(self) -> Iterator[tuple[str, str]]:
        """(namespace, event) of each event that clients send and one handler serves."""
        for known in (self._events, self._methods):
            for namespace, events in known.items():
                yield from ((namespace, event) for event in events if event not in RESERVED and event != ANY)

    def ignores(self, namespace: str, event: str) -> bool:
        """Does the event go to a handler of the whole namespace that makes no use of it?"""
        place = namespace if namespace in self._whole else ANY
        methods = self._methods.get(place)
        return (
            methods is not None and event not in methods and self.find(namespace, event) is self._whole[place]
        )

    def namespaces(self) -> set[str]:
        """Those that the application knows by name."""
        return {*self._events, *self._whole, *self._open} - {ANY}

    def find(self, namespace: str, event: str) -> Handler | None:
        own = self._events.get(namespace)
        if own is not None:
            found = own.get(event)
            if found is None and event not in RESERVED:
                found = own.get(ANY)
            if found is not None:
                return found
        return self._find_elsewhere(namespace, event)

    def _find_elsewhere(self, namespace: str, event: str) -> Handler | None:
        others = self._events.get(ANY)
        if others is not None:
            found = others.get(event)
            if found is None and event not in RESERVED:
                found = others.get(ANY)
            if found is not None:
                return found
        return self._whole.get(namespace) or self._whole.get(ANY)
