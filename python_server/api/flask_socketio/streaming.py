"""`SocketIO.stream`: an answer of a view that goes on as server-sent events.

Must not know: handlers, who writes the answer.
"""

from __future__ import annotations

from collections.abc import Iterator

import flask

from python_server.api.event_streams import make_stream
from python_server.engineio.options import EngineOptions
from python_server.http1.event_stream import HEADERS
from python_server.socketio.server import Hub
from python_server.socketio.values import RoomName


class Streaming:
    """What a SocketIO can do for a view."""

    _hub: Hub
    _engine: EngineOptions

    def stream(
        self,
        source: RoomName | Iterator[object] = None,
        event: str | None = None,
        namespace: str | None = None,
    ) -> flask.Response:
        """Answer a request with server-sent events: what is emitted to a room, or what a generator yields.

            @app.get("/prices")
            def prices():
                return socketio.stream("prices")

        The view returns at once, and no thread waits for the client. docs/how-to/streams.md says more.

        Args:
            source: a room; None: what is emitted to everybody. Or a generator, whose values are the events.
            event: of a room: only events of this name. Of a generator: the name of its events.
            namespace: of the room, default "/".

        Returns: the response, which the view must return.

        Raises:
            RuntimeError: another WSGI server serves the request, or a test client of Flask.
            TypeError: an async generator, or what can be no room. ValueError: the room is a client's own.
        """
        body = make_stream(self._hub, self._engine, flask.request.environ, source, event, namespace)
        return flask.Response(body, headers=HEADERS)
