"""A blocking WebSocket client, small, in the words of `websockets.sync.client` and `websockets.exceptions`.

It must not be imported by the codec, which opens no socket and reads no clock; nor start a thread.
"""

from .client import connect
from .connection import ClientConnection
from .exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

__all__ = [
    "ClientConnection",
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "InvalidHandshake",
    "InvalidMessage",
    "InvalidStatus",
    "InvalidURI",
    "WebSocketException",
    "connect",
]
