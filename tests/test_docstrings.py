"""Docstrings of the public callables: parameters, results, errors and units are told, an example compiles.

It must not know whether what they say is true.
"""

import ast
import inspect
import re
import textwrap
from enum import Enum
from typing import Any

import pytest

from public_names import public_callables

CALLABLES = dict(public_callables())
# Parameters that mean the same wherever they stand.
EVIDENT = {"self", "event", "sid", "room"}
SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):", re.MULTILINE)
# "name: ...", "one, other: ...", and what stands in backticks within a sentence.
NAMED = re.compile(
    r"(?:^ *|[.;,] +|: )((?:\w+, )*\w+):(?= |$)|`(\w+)`|`(\w+)\(\*(\w+), \*\*(\w+)\)`", re.MULTILINE
)
UNITS = {
    "second": re.compile(r"(^|_)(seconds|timeout|interval)$"),
    "byte": re.compile(r"(^|_)(bytes|size)$"),
}
# Still without one of these. This list may only become shorter.
TO_WRITE = set(
    """
    python_server.Emitter
    python_server.Emitter.emit
    python_server.Emitter.emit_to
    python_server.Emitter.send
    python_server.Emitter.disconnect
    python_server.Emitter.enter_room
    python_server.Emitter.leave_room
    python_server.Emitter.close_room
    python_server.Emitter.close
    python_server.EngineServer
    python_server.EngineServer.async_modes
    python_server.EngineServer.is_asyncio_based
    python_server.EngineServer.create_queue
    python_server.EngineServer.get_queue_empty_exception
    python_server.EngineServer.create_event
    python_server.EngineServer.generate_id
    python_server.EngineServer.handle_request
    python_server.EngineServer.shutdown
    python_server.EngineServer.send
    python_server.EngineServer.send_packet
    python_server.EngineServer.disconnect
    python_server.EngineServer.transport
    python_server.EngineServer.get_session
    python_server.EngineServer.save_session
    python_server.EngineServer.session
    python_server.GunicornWorker
    python_server.Namespace
    python_server.Namespace.call
    python_server.Namespace.enter_room
    python_server.Namespace.leave_room
    python_server.Namespace.rooms
    python_server.Namespace.disconnect
    python_server.Namespace.transport
    python_server.Namespace.get_environ
    python_server.Namespace.get_session
    python_server.Namespace.save_session
    python_server.Namespace.session
    python_server.Namespace.is_asyncio_based
    python_server.Namespace.trigger_event
    python_server.Namespace.emit
    python_server.Namespace.send
    python_server.Namespace.close_room
    python_server.Resource
    python_server.Server.handle_request
    python_server.Server.shutdown
    python_server.Server.call
    python_server.Server.enter_room
    python_server.Server.leave_room
    python_server.Server.rooms
    python_server.Server.disconnect
    python_server.Server.transport
    python_server.Server.get_environ
    python_server.Server.get_session
    python_server.Server.save_session
    python_server.Server.session
    python_server.Server.is_asyncio_based
    python_server.Server.emit
    python_server.Server.send
    python_server.Server.call_room
    python_server.Server.close_room
    python_server.Server.register_namespace
    python_server.Server.instrument
    python_server.Settings
    python_server.SocketIOTestClient
    python_server.SocketIOTestClient.is_connected
    python_server.SocketIOTestClient.connect
    python_server.SocketIOTestClient.disconnect
    python_server.SocketIOTestClient.emit
    python_server.SocketIOTestClient.send
    python_server.SocketIOTestClient.get_received
    python_server.WSGIApp.not_found
    python_server.WSGIServer.start
    python_server.WSGIServer.serve_forever
    python_server.WSGIServer.stop
    python_server.WSGIServer.close
    python_server.WebSocket
    python_server.WebSocket.header
    python_server.WebSocket.send
    python_server.WebSocket.send_frames
    python_server.WebSocket.ping
    python_server.WebSocket.close
    python_server.WebSocketApplication
    python_server.WebSocketApplication.on_open
    python_server.WebSocketApplication.on_message
    python_server.WebSocketApplication.on_close
    python_server.WebSocketApplication.broadcast
    python_server.WebSocketApplication.close_all
    python_server.WebSocketError
    wsframe.Close
    wsframe.CloseCode
    wsframe.Connection
    wsframe.Connection.receive_data
    wsframe.Connection.buffer_received
    wsframe.Connection.receive_eof
    wsframe.Connection.obey
    wsframe.Connection.encode
    wsframe.Connection.encode_pieces
    wsframe.Connection.send_text
    wsframe.Connection.send_binary
    wsframe.Connection.ping
    wsframe.Connection.pong
    wsframe.Connection.close
    wsframe.Connection.data_to_send
    wsframe.ConnectionClosed
    wsframe.Decoder
    wsframe.Decoder.at_rest
    wsframe.Decoder.close
    wsframe.Decoder.receive
    wsframe.Decoder.receive_buffer
    wsframe.Decoder.buffer_received
    wsframe.Header
    wsframe.MessageTooBig
    wsframe.Opcode
    wsframe.Outbox
    wsframe.Outbox.open
    wsframe.Outbox.close
    wsframe.Outbox.send
    wsframe.Outbox.write
    wsframe.Outbox.expect
    wsframe.Outbox.take
    wsframe.Ping
    wsframe.Pong
    wsframe.ProtocolError
    wsframe.Role
    wsframe.State
    wsframe.apply_mask
    wsframe.apply_mask_inplace
    wsframe.decode_header
    wsframe.encode_frame
    wsframe.encode_header
    wsframe.encode_message
    wsframe.handshake.HandshakeError
    wsframe.handshake.Accepted
    wsframe.handshake.Request
    wsframe.handshake.accept_key
    wsframe.handshake.is_upgrade
    wsframe.handshake.accept
    wsframe.handshake.request
    wsframe.handshake.check
    wsframe.deflate.ParameterError
    wsframe.deflate.Options
    wsframe.deflate.Agreement
    wsframe.deflate.answer
    wsframe.deflate.offer
    wsframe.deflate.agree
    wsframe.deflate.compress
    wsframe.deflate.MessageDeflate
    wsframe.deflate.MessageDeflate.wanted
    wsframe.deflate.MessageDeflate.deflate
    wsframe.deflate.MessageDeflate.begin_anew
    wsframe.deflate.MessageDeflate.inflate
    """.split()
)


def docstring(thing: object) -> str:
    """As the reader has it; of a class that of the class, where its constructor's parameters are told."""
    return inspect.cleandoc(thing.__doc__ or "")


def parameters(thing: Any) -> list[inspect.Parameter]:
    """Of a class those of its own constructor; an enum's and a subclass's are not its own."""
    if isinstance(thing, type) and (
        issubclass(thing, Enum) or not {"__init__", "_fields"} & vars(thing).keys()
    ):
        return []
    try:
        return list(inspect.signature(thing).parameters.values())
    except ValueError:  # of a built-in exception
        return []


def examples(text: str) -> list[str]:
    """The indented blocks between the paragraphs, before the first section."""
    prose = SECTION.split(text)[0]
    return [textwrap.dedent(block) for block in re.findall(r"\n\n((?:    .*\n?|\n(?=    ))+)", prose + "\n")]


def raised(thing: Any) -> set[str]:
    """What the function's own lines raise by name."""
    if isinstance(thing, type):
        return set()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError):
        return set()
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}


def gives_something(thing: Any) -> bool:
    if isinstance(thing, type):
        return False
    result = inspect.signature(thing).return_annotation
    return result not in (inspect.Signature.empty, None, "None")


def lacks(name: str, thing: object) -> list[str]:
    """What the docstring does not tell."""
    text = docstring(thing)
    named = {word for words in NAMED.findall(text) for group in words for word in group.split(", ")}
    missing = []
    for parameter in parameters(thing):
        if parameter.name not in named | EVIDENT:
            missing.append(parameter.name)
        missing += [unit for unit, kind in UNITS.items() if kind.search(parameter.name) and unit not in text]
    if gives_something(thing) and not re.search(r"\b[Rr]eturns?\b|^Decorator", text):
        missing.append("what it returns")
    missing += [error for error in sorted(raised(thing)) if error not in text]
    own = name.rpartition(".")[2]
    if not any(re.search(rf"\b{own}\b", example) for example in examples(text)):
        missing.append("an example")
    return missing


@pytest.mark.parametrize("name", CALLABLES)
def test_a_docstring_tells_what_a_caller_needs(name: str) -> None:
    missing = lacks(name, CALLABLES[name])
    assert bool(missing) == (name in TO_WRITE), missing or "take it off the list"


def test_examples_compile() -> None:
    blocks = [(name, block) for name, thing in CALLABLES.items() for block in examples(docstring(thing))]
    assert len(blocks) > 10
    for name, block in blocks:
        compile(block, f"the example of {name}", "exec")


def test_the_list_names_what_there_is() -> None:
    assert not set(TO_WRITE) - CALLABLES.keys()
