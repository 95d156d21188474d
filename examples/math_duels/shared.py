"""A lock that many processes share: who holds it has the lobbies of all, kept in Redis between two holders.

It must not know what a lobby is: it moves what the arena dumps and loads.
"""

import json
import threading
from typing import Any

import redis

# A holder that died gives way after this; each hold takes milliseconds.
HELD_SECONDS = 5.0
WAIT_SECONDS = 10.0


class SharedLock:
    """Enter: alone among all processes, the newest lobbies loaded. Leave: what has become of them is kept.

    One process after another reads and writes everything, which is right for a game of some hundred lobbies;
    an application with more of them keeps each under a key of its own.
    """

    def __init__(self, arena: Any, url: str, name: str = "math-duels") -> None:
        self._arena = arena
        self._name = name
        self._client = redis.Redis.from_url(url)
        self._threads = threading.Lock()
        self._processes = self._client.lock(
            f"{name}:lock", timeout=HELD_SECONDS, sleep=0.005, blocking_timeout=WAIT_SECONDS
        )
        self._loaded = b"[]"

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if not self._processes.acquire():
                raise TimeoutError("the lobbies are held by another process for too long")
            self._loaded = self._client.get(self._name) or b"[]"
            self._arena.load(json.loads(self._loaded))
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *error: object) -> None:
        try:
            kept = json.dumps(self._arena.dump()).encode()
            if kept != self._loaded:
                self._client.set(self._name, kept)
            self._processes.release()
        finally:
            self._threads.release()
