"""What the codec's tests share: both cores, the vector tables, and the words in which events are compared.

It must not hold a rule of the protocol: expectations stand in the vectors and the tests.
"""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import wsframe
from deflate_libraries import TOGETHER, only_installed
from wsframe import deflate
from wsframe._compressors import Libraries

VECTORS = Path(__file__).parent.parent / "vectors"
# A build made with WSFRAME_PURE=1 has no compiled core; any other build must have one, and both are tested.
CORES = ["_pure"] if wsframe.IMPLEMENTATION == "python" else ["_codec", "_pure"]


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"wsframe.{request.param}")


@pytest.fixture(params=CORES)
def connection_type(request: pytest.FixtureRequest) -> type[wsframe.Connection]:
    """Connection on each core."""
    core = importlib.import_module(f"wsframe.{request.param}")

    class OnCore(wsframe.Connection):
        decoder_type = core.Decoder
        outbox_type = core.Outbox
        encoder_type = core.Encoder

    return OnCore


@pytest.fixture(params=TOGETHER)
def libraries(request: pytest.FixtureRequest) -> Iterator[Libraries]:
    """permessage-deflate with each library that may be installed."""
    with only_installed(request.param) as found:
        yield found


def plain(events: Iterable[Any]) -> list[list[Any]]:
    """Events as the vectors write them: kind first. A fault is its code and section, so its words may
    change.
    """
    out: list[list[Any]] = []
    for event in events:
        if isinstance(event, str):
            out.append(["text", event])
        elif isinstance(event, bytes):
            out.append(["binary", event])
        elif isinstance(event, wsframe.Close):
            out.append(["close", event.code, event.reason])
        elif isinstance(event, wsframe.ProtocolError):
            section = str(event).rpartition("(")[2].rstrip(")")
            assert isinstance(event, wsframe.MessageTooBig) is (event.code == 1009)
            out.append(["fault", event.code, section])
        else:
            out.append([type(event).__name__.lower(), event.payload])
    return out


def expand(part: Any) -> bytes:
    """Hex, {"repeat": hex, "times": n}, or a list of such."""
    if isinstance(part, list):
        return b"".join(map(expand, part))
    if isinstance(part, dict):
        return bytes.fromhex(part["repeat"]) * part["times"]
    return bytes.fromhex(part)


def expected(vector: dict[str, Any]) -> list[list[Any]]:
    out = []
    for kind, *rest in vector["expect"]:
        if kind in ("binary", "ping", "pong"):
            rest = [expand(rest[0])]
        elif kind == "text" and isinstance(rest[0], dict):
            rest = [expand(rest[0]).decode()]
        out.append([kind, *rest])
    return out


def frame_bytes(first: int, payload: bytes, mask: bytes | None) -> bytes:
    """A frame with any first byte, written down here apart from both cores; the length in its shortest
    form.
    """
    top = 0 if mask is None else 0x80
    if len(payload) < 126:
        header = bytes((first, top | len(payload)))
    elif len(payload) < 65536:
        header = bytes((first, top | 126)) + len(payload).to_bytes(2, "big")
    else:
        header = bytes((first, top | 127)) + len(payload).to_bytes(8, "big")
    if mask is None:
        return header + payload
    return header + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def mask_like_a_header(name: str) -> bytes:
    """A mask by chance that begins as a whole short frame does: what stands in a mask is no header."""
    source = random.Random(name)
    return bytes((source.choice((0x81, 0x82)), 0x80 + source.randrange(4))) + source.randbytes(2)


def role_streams(vector: dict[str, Any]) -> list[tuple[wsframe.Role, bytes]]:
    """The vector's bytes for each role that it speaks of: frames are masked when we are the server."""
    if "wire" in vector:
        return [(wsframe.Role[vector["role"].upper()], expand(vector["wire"]))]
    streams = []
    for role, mask in (
        (wsframe.Role.SERVER, b"\x37\xfa\x21\x3d"),
        (wsframe.Role.SERVER, mask_like_a_header(vector["name"])),
        (wsframe.Role.CLIENT, None),
    ):
        pieces = [frame_bytes(int(first, 16), expand(payload), mask) for first, payload in vector["frames"]]
        streams.append((role, b"".join(pieces)))
    return streams


def decoder_for(vector: dict[str, Any], core: ModuleType, role: wsframe.Role) -> wsframe.Decoder:
    options = {name: vector[name] for name in ("max_message_bytes", "max_fragments") if name in vector}
    if vector.get("deflate"):
        options["inflate"] = deflate.MessageDeflate(deflate.Agreement(), role).inflate
    decoder: wsframe.Decoder = core.Decoder(role, **options)
    return decoder


class Told(NamedTuple):
    """One stream of a vector for one core: `decoder()` is a fresh one for it, `name` says which vector."""

    name: str
    decoder: Callable[[], wsframe.Decoder]
    stream: bytes
    expectation: list[list[Any]]


def vectors_by_section() -> dict[str, list[dict[str, Any]]]:
    """A section of the RFC is one case of a test: thousands of cases cost far more than what they try."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for vector in json.loads((VECTORS / "frames.json").read_text()):
        sections.setdefault(vector["section"].partition(" (")[0], []).append(vector)
    return sections


VECTOR_TABLE = vectors_by_section()


@pytest.fixture(params=VECTOR_TABLE)
def told(core: ModuleType, request: pytest.FixtureRequest) -> list[Told]:
    """The bytes of a section's vectors for each role: all of them are to be tried."""
    return [
        Told(
            f"{vector['name']}: {role.name.lower()} {number}",
            partial(decoder_for, vector, core, role),
            stream,
            expected(vector),
        )
        for vector in VECTOR_TABLE[request.param]
        for number, (role, stream) in enumerate(role_streams(vector))
    ]


@pytest.fixture
def as_plain() -> Callable[[Iterable[Any]], list[list[Any]]]:
    return plain


@pytest.fixture
def make_frame() -> Callable[[int, bytes, bytes | None], bytes]:
    return frame_bytes
