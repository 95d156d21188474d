"""How an engine answers in HTTP: polls, posts, refusals, each with its CORS fields.

Must not know: sessions, which request gets which answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from python_server.connection.exchange import Exchange
from python_server.engineio.cors import OriginRules
from python_server.engineio.options import EngineError, EngineOptions
from python_server.engineio.polling import accepted_encoding, compress, error_body, jsonp_wrap
from python_server.http1.response import Headers

PLAIN: Final = ("Content-Type", "text/plain; charset=utf-8")


class PollingAnswers:
    """Every method belongs to the loop's thread.

    Args:
        complain: called with (kind, sentence) for what an operator should see.
    """

    def __init__(
        self, options: EngineOptions, origins: OriginRules, complain: Callable[[str, str], None]
    ) -> None:
        self._options = options
        self._origins = origins
        self._complain = complain

    def poll(
        self, exchange: Exchange, payload: str, jsonp: str | None, cookie: Headers | None = None
    ) -> None:
        """The packets that a poll has waited for."""
        request, options = exchange.request, self._options
        content_type = "text/plain; charset=UTF-8"
        if jsonp is not None:
            payload = jsonp_wrap(jsonp, payload)
            content_type = "text/javascript; charset=UTF-8"
        body = payload.encode("utf-8", "replace")
        headers = [
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
            *(cookie or ()),
            *self._origins.headers(request),
        ]
        if options.http_compression and len(body) >= options.compression_threshold_bytes:
            encoding = accepted_encoding(request.get("accept-encoding"))
            if encoding is not None:
                body = compress(body, encoding)
                headers.append(("Content-Encoding", encoding))
        exchange.respond(200, headers, body)

    def post(self, exchange: Exchange) -> None:
        """The packets of a POST have been taken."""
        headers = [
            ("Content-Type", "text/html"),  # some browsers offer to save text/plain of a form's POST
            ("Cache-Control", "no-store"),
            *self._origins.headers(exchange.request),
        ]
        exchange.respond(200, headers, b"ok")

    def refuse(self, exchange: Exchange, error: EngineError, message: str | None = None) -> None:
        """One of the protocol's refusals."""
        code, text, status = error.value
        message = message or text
        if exchange.request.upgrade == "websocket":  # a plain answer, and the end of the connection
            exchange.refuse_keep_alive()
            headers, body = [PLAIN], message.encode()
        else:
            headers, body = [("Content-Type", "application/json")], error_body(code, message)
        exchange.respond(status, [*headers, *self._origins.headers(exchange.request)], body)

    def too_large(self, exchange: Exchange) -> None:
        """A POST's body, above the bound."""
        exchange.refuse_keep_alive()
        text = self.too_large_text("a polling request")
        self._complain("payload too large", text)
        exchange.respond(413, [PLAIN, *self._origins.headers(exchange.request)], f"{text}\n".encode())

    def too_large_text(self, what: str) -> str:
        limit_bytes = self._options.max_payload_bytes
        return f"message too large: {what} exceeds max_http_buffer_size ({limit_bytes} bytes)"

    def come_again(self, exchange: Exchange) -> None:
        """Nothing can begin here now: 503, with the moment to try again (RFC 9110 15.6.4)."""
        exchange.refuse_keep_alive()
        exchange.respond(503, [("Retry-After", "1"), *self._origins.headers(exchange.request)])
