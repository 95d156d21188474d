"""python-socketio's clients, made to handle what they receive in the order in which it came.

They must not know any server, and no hurry.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import engineio  # type: ignore[import-untyped]
import socketio  # type: ignore[import-untyped]

PATIENCE_SECONDS = 60.0  # of a machine with far more to do than this
LIBRARY_SECONDS = 3.0  # that a client waits for the answer to its close frame


class PromptEngine(engineio.Client):  # type: ignore[misc]
    """It leaves when all is sent; the library waits long for a close frame that stock never sends."""

    def disconnect(self, abort: bool = False, reason: Any = None) -> None:
        if self.state == "connected" and self.current_transport == "websocket":
            with (sent := self.queue.all_tasks_done):  # unless the server has gone meanwhile
                sent.wait_for(lambda: not self.queue.unfinished_tasks, LIBRARY_SECONDS)
            self.ws.close = partial(self.ws.close, timeout=0)
        super().disconnect(abort, reason)


class OrderedEngine(engineio.Client):  # type: ignore[misc]
    """Each message waits for the one before it.

    The library itself starts a thread for each and lets them race: handlers may then run out of order, and
    even take the attachments of one binary event for another's.
    """

    _last: threading.Thread | None = None

    def start_background_task(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if target != self.handlers.get("message"):
            return super().start_background_task(target, *args, **kwargs)
        before = self._last

        def in_turn() -> None:
            if before is not None:
                before.join()
            target(*args, **kwargs)

        self._last = super().start_background_task(in_turn)
        return self._last


class PatientClient(socketio.Client):  # type: ignore[misc]
    """One that does not come back by itself, and gives a busy server its time. It keeps no order."""

    def __init__(self, **options: Any) -> None:
        super().__init__(reconnection=False, request_timeout=PATIENCE_SECONDS, **options)
        self._websocket: Any = None

    def connect(self, url: str, **options: Any) -> None:
        super().connect(url, **{"wait_timeout": PATIENCE_SECONDS, **options})
        self._websocket = self.eio.ws

    def disconnect(self) -> None:
        """As the library's, which walks through a dictionary that its reading thread changes meanwhile."""
        for namespace in [*self.namespaces]:
            self._send_packet(self.packet_class(socketio.packet.DISCONNECT, namespace=namespace))
        self.eio.disconnect()

    def close(self) -> None:
        """Disconnected; the library leaves its socket open when the server was the first to go."""
        self.disconnect()
        if self._websocket is not None:
            self._websocket.shutdown()


class OrderedClient(PatientClient):
    def _engineio_client_class(self) -> type[engineio.Client]:
        return OrderedEngine


class SimpleClient(socketio.SimpleClient):  # type: ignore[misc]
    """Its events in order as well."""

    def __init__(self) -> None:
        super().__init__()
        self.client_class = OrderedClient

    def connect(self, url: str, **options: Any) -> None:
        super().connect(url, wait_timeout=PATIENCE_SECONDS, **options)
