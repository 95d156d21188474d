"""The server as a later release may be: what it says to other machines has more fields, and words of its own.

It must not know what an earlier release makes of that.
"""

from typing import Any

import msgspec

from python_server.command.cli import serve_command
from python_server.machines import words
from python_server.machines.stream import FrameStream

UNKNOWN_KIND = 99
encode, send = words._encode, FrameStream.send


def encode_more(word: msgspec.Struct) -> bytes:
    return encode([*msgspec.to_builtins(word, builtin_types=(bytes,)), {"from": "a later release"}])


def send_more(stream: FrameStream, kind: words.Kind, word: msgspec.Struct | None = None) -> None:
    send(stream, kind, word)
    # The greeting knows its words, and behind a client's handshake stand its own bytes.
    if words.Kind.REQUEST <= kind < words.Kind.HANDSHAKE:
        later: Any = UNKNOWN_KIND
        send(stream, later, word)


words._encode = encode_more  # type: ignore[assignment]
FrameStream.send = send_more  # type: ignore[method-assign]
serve_command()
