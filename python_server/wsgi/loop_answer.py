"""An answer that goes on without its worker: what an application returns, and what then writes it.

Must not know: what is written, by whom, or how an application is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from python_server.connection.exchange import Exchange
from python_server.http1.response import Headers
from python_server.net.threads import Executor
from python_server.wsgi.environ import Environ, FileWrapper

# What a middleware that joins or changes the pieces of an answer would send instead: a comment of a stream.
NOT_TAKEN: Final = b": something before the server has read this stream [other-server]\n\n"


class LoopAnswer(Protocol):
    """Port: who writes the rest of an answer, as long as its client is there. The loop's thread."""

    def begin(self, exchange: Exchange, executor: Executor) -> None:
        """The head has left; `executor` has the threads that run requests."""

    def drop(self, executor: Executor) -> None:
        """Instead: it will never begin."""

    def lost(self) -> None:
        """Nobody waits for it any more."""


# Called on the loop's thread with the head that the application gave, also if nobody waits for it any more;
# None: the answer is complete already.
Begin = Callable[[Exchange, str, Headers, Executor], LoopAnswer | None]


class LoopPiece(bytes):
    """The only piece of such an answer: middleware that looks at the pieces passes it as it is."""

    begin: Begin


def loop_piece(begin: Begin) -> LoopPiece:
    piece = LoopPiece(NOT_TAKEN)
    piece.begin = begin
    return piece


def takes_loop_answers(environ: Environ) -> bool:
    """Does the request come from a server that knows them?"""
    return environ.get("wsgi.file_wrapper") is FileWrapper
