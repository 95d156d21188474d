"""`stream` of both servers that programs see: an answer that goes on as server-sent events.

Must not know: Flask, frames; who writes the answer, on which thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import msgspec

from python_server.connection.exchange import Exchange
from python_server.engineio.cors import OriginRules
from python_server.engineio.options import EngineOptions
from python_server.http1.response import Framing, Headers
from python_server.net.threads import Executor
from python_server.socketio.broadcast import DEFAULT_NAMESPACE
from python_server.socketio.server import Hub
from python_server.socketio.values import RoomName
from python_server.wsgi.environ import Environ
from python_server.wsgi.foreign_server import NEEDS_OWN_SERVER
from python_server.wsgi.generator_stream import GeneratorStream
from python_server.wsgi.loop_answer import LoopAnswer, LoopPiece, loop_piece, takes_loop_answers

# For a client that cannot set the field Last-Event-ID.
QUERY_FIELD: Final = "last_event_id"


def make_stream(
    hub: Hub,
    engine: EngineOptions,
    environ: Environ,
    source: RoomName | Iterator[object],
    event: str | None,
    namespace: str | None,
) -> Iterator[LoopPiece]:
    """The iterable that an application returns. Raises the errors of `SocketIO.stream`."""
    if isinstance(source, AsyncIterator):
        raise TypeError("stream() takes a room or a plain generator, not an async one [async-handler]")
    services = hub.services
    if services is None or not takes_loop_answers(environ):
        raise RuntimeError(f"stream(): {NEEDS_OWN_SERVER}")
    answer: LoopAnswer
    if isinstance(source, Iterator):
        post, call_later, report = services.door.post, services.call_later, services.report
        answer = GeneratorStream(source, _text_of, event or "", post, call_later, report)
    else:
        answer = hub.stream(namespace or DEFAULT_NAMESPACE, source, event, _last_id(environ))
    origins = OriginRules(engine.cors_allowed_origins, engine.cors_credentials)
    return iter((loop_piece(partial(_begin, answer, origins)),))


def _begin(
    answer: LoopAnswer,
    origins: OriginRules,
    exchange: Exchange,
    status: str,
    headers: Headers,
    executor: Executor,
) -> LoopAnswer | None:
    """Loop's thread: with the fields of CORS, unless the application has said its own."""
    refusal = origins.refusal(exchange.request)
    if refusal is None:
        if not any(name.lower() == "access-control-allow-origin" for name, _ in headers):
            headers = headers + origins.headers(exchange.request)
        exchange.start(status, headers)
        # Else HEAD, 204, what has a Content-Length, or its client has gone
        if exchange.started and exchange.framing not in (Framing.NONE, Framing.LENGTH):
            answer.begin(exchange, executor)
            return answer
        exchange.finish()
    else:
        exchange.refuse(403, refusal)
    answer.drop(executor)
    return None


def _last_id(environ: Environ) -> str | None:
    told = parse_qs(str(environ.get("QUERY_STRING", ""))).get(QUERY_FIELD, [""])[0]
    return str(environ.get("HTTP_LAST_EVENT_ID") or told) or None


def _text_of(value: object) -> str:
    return msgspec.json.encode(value).decode()
