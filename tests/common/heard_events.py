"""The events that a test client of SocketIO has heard.

It must not know who sent them.
"""

from typing import Any


def names(client: Any, namespace: str | None = None) -> list[str]:
    """Since the last call, in order."""
    return [item["name"] for item in client.get_received(namespace)]
