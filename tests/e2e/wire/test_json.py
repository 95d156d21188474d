"""JSON at its edges, by raw bytes over both transports: docs/protocol.md 2.3; and beside the official parser.

It must not know how the packets are carried.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from python_server.socketio.packet import PacketError, TextDecoder

DRIVERS = Path(__file__).parents[1] / "drivers"
VECTORS = Path(__file__).parents[2] / "vectors" / "socketio.json"
PLACE = '{"_placeholder":true,"num":%s}'


@pytest.mark.parametrize(
    "value",
    [
        '"\\ud800"',
        '"\\udfff\\ud800"',
        '"\u2028\u2029\U0001f600é\\u0000"',
        "12345678901234567890123",
        "-9007199254740993",
        "1.7976931348623157e308",
        "5e-324",
        "-0.0",
        '{"b":1,"a":2}',
        '{"a":1,"a":2}',
        '{"__proto__":{"a":1},"":null}',
        "[" * 190 + "]" * 190,
        "9" * 4000,
    ],
)
def test_2_3_what_javascript_can_send_comes_back(wire: Any, way: str, value: str) -> None:
    session = wire.joined(way)
    session.send(f'42["echo",{value}]')
    answer = session.next()
    assert json.loads(answer[2:]) == ["echoed", json.loads(value)]
    answer.encode()  # no lone surrogate has been put on the wire


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000, "[" * 201 + "]" * 201]
)
def test_2_3_what_is_no_json_or_beyond_the_bounds_closes(wire: Any, way: str, value: str) -> None:
    session, other = wire.joined(way), wire.joined(way)
    session.send(f'42["echo",{value}]')
    assert session.ended()
    wire.wait_gone(session, "parse error")
    other.send('42["echo",1]')
    assert other.next() == '42["echoed",1]'


@pytest.mark.parametrize(("text", "written"), [("nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")])
def test_2_3_nan_and_infinity_are_sent_as_python_writes_them(
    wire: Any, way: str, text: str, written: str
) -> None:
    """No JSON, and what python-socketio sends: programs with clients in Python live by it."""
    session = wire.joined(way)
    session.send(f'421["number","{text}"]', '422["number","1.5"]')
    said = [session.next() for _ in range(4)]
    assert said == [f'42["numbered",[{written}]]', '431["sent"]', '42["numbered",[1.5]]', '432["sent"]']


# What the official parser says of each of these; then what this server says where it is stricter.
EDGES = [
    '2["a",NaN]',
    '2["a",1e400]',
    '2["a","\\ud800"]',
    '2["a",{"k":1,"k":2}]',
    "2[1.5]",
    '2[""]',
    '2["a"',
    '2["a"] ',
    ' 2["a"]',
    '2/a,b,["c"]',
    '2/,["a"]',
    '2,["a"]',
    '2-1["a"]',
    '200012["a"]',
    "0{}",
    "0/a?b=c,{}",
    "1/a",
    '6["a"]',
    '61-1["a"]',
    f'51-["a",{PLACE % 0}]',
    f'51-["a",{PLACE % 1}]',
    f'51-["a",{PLACE % -1}]',
    f'51-["a",{PLACE % "null"}]',
    f'51-["a",{PLACE % 0.5}]',
    f'52-["a",{PLACE % 1},{PLACE % 0}]',
    f'510-["a",{",".join(PLACE % number for number in range(10))}]',
    f'511-["a",{",".join(PLACE % number for number in range(11))}]',
    f"51-[{PLACE % 0}]",
    '51-["a",{"_placeholder":"true","num":0}]',
]
STRICTER = {
    "": "an empty packet, which the official parser takes for a CONNECT",
    f'51-["a",{PLACE % 0.5}]': "half an attachment, which becomes undefined",
    "2": "an event without data",
    "3[]": "an ack without an id",
    "317": "an ack without data",
    '2["a",1e400]': "a number beyond a double becomes Infinity, and null when it is sent on",
    '2["a",1e999]': "the same",
    "61-[]": "fewer placeholders than attachments",
    '61-1["a"]': "the same",
    '51-["a",{"_placeholder":"true","num":0}]': "the same",
    '4{"message":"x"}': "only the server sends connect errors (the official one closes later)",
}


def ours(text: str) -> Any:
    """What our decoder makes of a text and the attachments it announces; None when it refuses."""
    decoder = TextDecoder(1000)
    try:
        packet = decoder.receive(text)
        for number in range(0 if packet else 10):
            packet = decoder.receive(bytes([number]))
            if packet:
                break
    except PacketError:
        return None
    assert packet is not None
    data = packet.data
    return [int(packet.kind), packet.namespace, packet.id, data]


@pytest.mark.needs_node
def test_2_3_the_official_parser_takes_and_refuses_the_same(node: str) -> None:
    """But where this one is stricter, each such case with its reason; and it is never laxer."""
    table = json.loads(VECTORS.read_text("utf-8"))
    texts = [row[0] for row in table["packets"] + table["refused"]] + EDGES
    done = subprocess.run(
        [node, str(DRIVERS / "parser4.mjs")],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        cwd=DRIVERS,
    )
    theirs = json.loads(done.stdout)
    assert len(theirs) == len(texts)
    stricter = set()
    for text, their in zip(texts, theirs, strict=True):
        our = json.loads(json.dumps(ours(text), default=lambda data: {"bytes": list(data)}))
        if our is None and their is not None:
            stricter.add(text)
        else:
            assert our == their, text
    assert stricter == set(STRICTER)
