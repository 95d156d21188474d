"""Who may open the Admin UI: credentials of a program, and session ids in their place.

Must not know: clients, namespaces, how credentials come or what a refusal says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from hmac import compare_digest
from hmac import digest as keyed_digest
from inspect import isawaitable
from typing import Final

from python_server.net.tasks import is_async
from python_server.socketio.values import JSONValue

# As long as the official server's store keeps one.
SESSION_SECONDS: Final = 86_400
# Of a key: who has stolen a session id and tries passwords pays some 50 ms for each.
KEY_ROUNDS: Final = 100_000
ASYNC: Final = "auth is an async def: a plain function decides here [async-handler]"


def digest(value: object) -> bytes:
    """Equal for equal JSON values alone, and of one length. Raises TypeError, ValueError, RecursionError."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


class Credentials:
    """Of one program; any thread.

    Args:
        auth: a dict, a list of dicts, a function that says of a dict whether it will do, or False: nobody
            is asked. wall: the clock, in seconds since 1970.

    Raises:
        ValueError: nothing, or nothing that could ever be asked for. TypeError: something else.
    """

    def __init__(self, auth: object, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._asks: Callable[[JSONValue], object] | None = None
        self._digests: list[bytes] = []
        self.open: bool = auth is False
        if auth is None:
            raise ValueError("auth must be specified: credentials, or False")
        if self.open:
            return
        if callable(auth):
            if is_async(auth):
                raise TypeError(ASYNC)
            self._asks = auth
            return
        known = auth if isinstance(auth, (list, tuple)) else [auth]
        if not all(isinstance(each, dict) for each in known):
            raise TypeError(
                f"auth is a dict, a list of dicts, a function or False, not {type(auth).__name__}"
            )
        if not known or not all(known):
            raise ValueError("auth without any credentials would ask for nothing: auth=False says so")
        self._digests = [digest(each) for each in known]

    def accept(self, given: JSONValue) -> bool:
        """Are these the credentials, or the id of a session that began with them?

        A function's own errors are raised; TypeError: what it gives has to be awaited.
        """
        if self.open:
            return True
        if self._asks is not None:
            verdict = self._asks(given)
            if isawaitable(verdict):
                raise TypeError(ASYNC)
            return bool(verdict)
        if not isinstance(given, dict):
            return False
        session_id = given.get("sessionId")
        if isinstance(session_id, str):
            return self._knows(session_id)
        try:
            found = digest(given)
        except (TypeError, ValueError, RecursionError):
            return False
        return sum(compare_digest(found, known) for known in self._digests) > 0  # with all of them

    def session_id(self) -> str | None:
        """What is accepted for a day in the place of the credentials, by every worker; None: nothing is."""
        return self._signed(int(self._wall()) + SESSION_SECONDS) if self._digests else None

    def _knows(self, session_id: str) -> bool:
        until = session_id.partition(".")[0]
        if not (until.isascii() and until.isdecimal() and len(until) < 16 and session_id.isascii()):
            return False
        return compare_digest(session_id, self._signed(int(until))) and int(until) > self._wall()

    def _signed(self, until: int) -> str:
        return f"{until}.{keyed_digest(self._key, str(until).encode(), 'sha256').hex()}"

    @cached_property
    def _key(self) -> bytes:
        """Of the credentials, so that it is everybody's who has them, and another when they change."""
        return hashlib.pbkdf2_hmac("sha256", b"".join(self._digests), b"wsframe admin", KEY_ROUNDS)
