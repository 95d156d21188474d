"""`serializer="msgpack"` by raw bytes over both transports: docs/protocol.md 2.4.

It must not know how the packets are carried. The JavaScript parser is driven by plain4.mjs.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

APPS = Path(__file__).parents[1] / "apps"
encode = msgspec.msgpack.encode
decode = msgspec.msgpack.decode


@pytest.fixture(scope="module")
def server(serve: Any) -> Any:
    return serve(APPS, "plain_app:app", env={"SERIALIZER": "msgpack"})


@pytest.fixture
def session(wire: Any, way: str) -> Any:
    session = wire.session(way)
    session.send(encode({"type": 0, "nsp": "/", "data": {"name": "ada"}}))
    reply = decode(session.next())
    assert (reply["type"], reply["nsp"], set(reply["data"])) == (0, "/", {"sid", "pid"})
    return session


def test_2_4_every_packet_is_one_binary_message_with_its_bytes_inline(session: Any) -> None:
    data = ["echo", b"\x00\xff", {"a": [1.5, None, "é", -(2**63)]}]
    session.send(encode({"type": 2, "nsp": "/", "data": data, "id": 7}))
    assert decode(session.next()) == {"type": 3, "nsp": "/", "data": [data[1:]], "id": 7}


def test_2_4_namespaces_and_refusals(session: Any) -> None:
    session.send(encode({"type": 0, "nsp": "/nowhere"}))
    assert decode(session.next()) == {"type": 4, "nsp": "/nowhere", "data": {"message": "Invalid namespace"}}
    session.send(encode({"type": 1, "nsp": "/"}), encode({"type": 0, "nsp": "/"}))
    assert decode(session.next())["type"] == 0


@pytest.mark.parametrize(
    "packet",
    [
        '42["echo"]',
        b"",
        b"\xc1",
        encode([2, "/"]),
        encode({"type": 2, "data": ["echo"]}),
        encode({"type": 2, "nsp": "/", "data": ["connect", {}]}),
        encode({"type": 2, "nsp": "/", "data": []}),
        encode({"type": 2, "nsp": "/"}),
        encode({"type": 5, "nsp": "/", "data": ["echo"]}),
        encode({"type": 3, "nsp": "/", "data": []}),
        encode({"type": 4, "nsp": "/", "data": {}}),
        encode({"type": 0, "nsp": "/"}),
        encode({"type": 2, "nsp": "/", "data": ["echo"], "id": -1}),
        encode({"type": 2, "nsp": "/", "data": ["echo"]}) + b"\x00",
        b"\x91" * 100_000 + b"\xc0",
    ],
)
def test_2_4_a_packet_of_another_form_closes(session: Any, packet: Any) -> None:
    session.send(packet)
    assert session.ended()
