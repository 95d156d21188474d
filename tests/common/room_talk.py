"""Clients that come by any way, and whether what one says in a room is heard by all.

It must not know any server, nor what stands in front of it.
"""

from collections.abc import Sequence

from ordered_clients import PATIENCE_SECONDS, SimpleClient

POLLING, WEBSOCKET, UPGRADING = ["polling"], ["websocket"], ["polling", "websocket"]


def say_to_all(url: str, transports: Sequence[list[str]]) -> list[str]:
    """One says something in a room, all hear it; the ids of their sessions."""
    clients = [SimpleClient() for _ in transports]
    try:
        for client, ways in zip(clients, transports, strict=True):
            client.connect(url, transports=ways)
            client.call("join", "red")
        sids = [client.client.eio.sid for client in clients]
        for client in clients:
            client.emit("say", ("hello", {"to": "red"}))
            for listener in clients:
                assert listener.receive(PATIENCE_SECONDS) == ["said", "hello"]
        return sids
    finally:
        for client in clients:
            client.disconnect()
