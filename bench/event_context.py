"""What a Flask context costs one event: the bare call, ours, and Flask's own request context.

It must not know how a context is made. Run: python bench/event_context.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import flask

from python_server.api.flask_socketio.context import ClientState, EventContexts

CALLS_COUNT = 5_000
ROUNDS_COUNT = 9


def handler(value: int) -> int:
    return value + 1


def main() -> None:
    app = flask.Flask(__name__)
    app.secret_key = "bench"
    for number in range(20):
        app.add_url_rule(f"/page{number}/<int:id>", f"page{number}", lambda id: "")
    environ = app.test_request_context("/socket.io/?EIO=4&transport=websocket").request.environ
    event = {"message": "add", "args": (1,)}
    fast, public = (EventContexts(app, True, fast=chosen) for chosen in (True, False))
    states = [ClientState(contexts, dict(environ)) for contexts in (fast, public)]

    def bare() -> None:
        handler(1)

    def ours() -> None:
        with fast.enter(states[0], "sid", "/", event):
            handler(1)

    def ours_with_session() -> None:
        with fast.enter(states[0], "sid", "/", event):
            flask.session.get("user")
            handler(1)

    def fallback() -> None:
        with public.enter(states[1], "sid", "/", event):
            handler(1)

    def flasks() -> None:
        with app.request_context(environ):
            handler(1)

    # Interleaved, so that a busy moment of the machine falls on all alike.
    kinds: list[Callable[[], None]] = [bare, ours, ours_with_session, fallback, flasks]
    micros: dict[str, list[float]] = {kind.__name__: [] for kind in kinds}
    for _ in range(ROUNDS_COUNT):
        for kind in kinds:
            began = time.perf_counter()
            for _ in range(CALLS_COUNT):
                kind()
            micros[kind.__name__].append((time.perf_counter() - began) / CALLS_COUNT * 1e6)
    for name, values in micros.items():
        print(f"{name:20} {statistics.median(values):7.2f} us (best {min(values):.2f})")


if __name__ == "__main__":
    main()
