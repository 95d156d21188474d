"""What a line on the control socket asks of the Socket.IO servers of this process, done and answered.

Must not know: sockets, files, how a line came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from python_server.socketio.broadcast import DEFAULT_NAMESPACE, BroadcastOptions
from python_server.socketio.cluster.broker.foreign_messages import (
    WireError,
    WireMessage,
    arguments_of,
    excepted_of,
    read,
    rooms_of,
)
from python_server.socketio.cluster.port import CommandKind, Malformed
from python_server.socketio.jsoncodec import JSONError, dumps, loads
from python_server.socketio.server import Hub
from python_server.socketio.values import RoomName


@dataclass(slots=True, eq=False)
class ControlCommands:
    """Obeys lines. Belongs to the loop's thread.

    Args:
        hubs: the Socket.IO servers alone, by path. figures: gauges and counters of this worker.
        refused: called with (kind, message) for every line that is refused.
    """

    _hubs: Mapping[str, Hub]
    _figures: Callable[[], Mapping[str, int]]
    _refused: Callable[[str, str], None]

    def obey(self, line: bytes) -> bytes:
        """The answer to one line: {"ok": true}, or {"error": "..."} and nothing was done."""
        try:
            answer: dict[str, object] = {"ok": True}
            if self._is_status(line):
                answer["figures"] = dict(self._figures())
            else:
                self._do(read(line))
        except (WireError, Malformed, ValueError, TypeError) as error:
            self._refused("control line", f"a line on the control socket was refused: {error}")
            answer = {"error": str(error)}
        return dumps(answer).encode()

    @staticmethod
    def _is_status(line: bytes) -> bool:
        if b'"status"' not in line[:100] or len(line) > 1000:
            return False
        try:
            return bool(loads(line.decode()) == {"method": "status"})
        except (JSONError, UnicodeDecodeError):
            return False

    def _do(self, message: WireMessage) -> None:
        hub = self._hub(message.path)
        namespace = message.namespace or DEFAULT_NAMESPACE
        method = message.method
        sid = str(message.sid)
        if method == "emit":
            if type(message.event) is not str:
                raise _refused("an event's name is a string")
            rooms, excepted = rooms_of(message), excepted_of(message)
            to = BroadcastOptions(namespace, rooms, excepted, volatile=message.volatile)
            hub.emit(message.event, arguments_of(message), to)
        elif method == CommandKind.DISCONNECT:
            hub.disconnect(namespace, sid, message.detail)
        elif method == CommandKind.EXPIRE:
            hub.expire(namespace, sid, message.at)
        elif method == CommandKind.ENTER:
            hub.join(namespace, sid, _room(message))
        elif method == CommandKind.LEAVE:
            hub.leave(namespace, sid, _room(message))
        elif method == CommandKind.CLOSE_ROOM:
            hub.close_room(namespace, _room(message))
        else:
            raise _refused(f"{method} cannot be asked for here")

    def _hub(self, path: str | None) -> Hub:
        if not self._hubs:
            raise _refused("no Socket.IO server runs here that could send it")
        if path is None:
            if len(self._hubs) > 1:
                raise _refused(f"several servers run here, name the path: {', '.join(self._hubs)}")
            return next(iter(self._hubs.values()))
        hub = self._hubs.get("/" + path.strip("/") + "/")
        if hub is None:
            raise _refused(f"no Socket.IO server at {path[:100]!r}: {', '.join(self._hubs)}")
        return hub


def _refused(reason: str) -> WireError:
    return WireError("foreign message", reason)


def _room(message: WireMessage) -> RoomName:
    """Of a command about one: `read` refuses those that name none, or several."""
    room = message.room
    assert not isinstance(room, list)
    return room
