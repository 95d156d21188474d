"""python-socketio's clients, made to keep the order of what they hear, and to leave nothing unsent or open.

They must not know any server, and no hurry.
"""

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import engineio  # type: ignore[import-untyped]
import socketio  # type: ignore[import-untyped]
import websocket

PATIENCE_SECONDS = 60.0  # of a machine with far more to do than this


class Unsent(queue.Queue[Any]):
    """What a writer is to send: it can be waited for that it has sent all, and will take what comes next."""

    _is_asked = _has_ended = False

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block:
            with self.all_tasks_done:
                self._is_asked = True
                self.all_tasks_done.notify_all()
        item = super().get(block, timeout)
        self._is_asked = False
        return item

    def end(self) -> None:
        """Nobody sends any more."""
        with self.all_tasks_done:
            self._has_ended = True
            self.all_tasks_done.notify_all()

    def wait_sent(self) -> None:
        with self.all_tasks_done:
            self.all_tasks_done.wait_for(
                lambda: self._has_ended or (self._is_asked and not self.unfinished_tasks), PATIENCE_SECONDS
            )


class ClosingEngine(engineio.Client):  # type: ignore[misc]
    """It leaves when all is sent, and closes each socket that it has opened.

    The library itself leaves what its writing thread has not come to, the farewell among it, and forgets its
    WebSocket when the server's close frame came before its own, or when an upgrade failed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._websockets: list[websocket.WebSocket] = []
        self.websocket_extra_options["class_"] = self._new_websocket

    def _new_websocket(self, **options: Any) -> websocket.WebSocket:
        self._websockets.append(websocket.WebSocket(**options))
        return self._websockets[-1]

    def create_queue(self) -> Unsent:
        return Unsent()

    def connect(self, *arguments: Any, **options: Any) -> None:
        self.queue = self.create_queue()
        try:
            super().connect(*arguments, **options)
        except BaseException:
            self._reset()
            raise

    def disconnect(self, abort: bool = False, reason: Any = None) -> None:
        if self.state == "connected" and not abort:
            self.queue.wait_sent()
        super().disconnect(abort, reason)

    def _write_loop(self) -> None:
        unsent = self.queue
        try:
            super()._write_loop()
        finally:
            unsent.end()

    def _reset(self) -> None:
        super()._reset()
        while self._websockets:
            self._websockets.pop().shutdown()


class PromptEngine(ClosingEngine):
    """The library waits long for a close frame that stock never sends."""

    def disconnect(self, abort: bool = False, reason: Any = None) -> None:
        if self.state == "connected" and self.current_transport == "websocket":
            self.ws.close = partial(self.ws.close, timeout=0)
        super().disconnect(abort, reason)


class OrderedEngine(ClosingEngine):
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
    """One that gives a busy server its time, and comes back by itself only if asked to. It keeps no order."""

    def __init__(self, *, reconnection: bool = False, **options: Any) -> None:
        super().__init__(reconnection=reconnection, request_timeout=PATIENCE_SECONDS, **options)

    def _engineio_client_class(self) -> type[ClosingEngine]:
        return ClosingEngine

    def connect(self, url: str, **options: Any) -> None:
        super().connect(url, **{"wait_timeout": PATIENCE_SECONDS, **options})

    def disconnect(self) -> None:
        """As the library's, which walks through a dictionary that its reading thread changes meanwhile."""
        for namespace in [*self.namespaces]:
            self._send_packet(self.packet_class(socketio.packet.DISCONNECT, namespace=namespace))
        self.eio.disconnect()

    def close(self) -> None:
        self.disconnect()


class OrderedClient(PatientClient):
    def _engineio_client_class(self) -> type[ClosingEngine]:
        return OrderedEngine


class SimpleClient(socketio.SimpleClient):  # type: ignore[misc]
    """Its events in order as well."""

    def __init__(self) -> None:
        super().__init__()
        self.client_class = OrderedClient

    def connect(self, url: str, **options: Any) -> None:
        super().connect(url, wait_timeout=PATIENCE_SECONDS, **options)
