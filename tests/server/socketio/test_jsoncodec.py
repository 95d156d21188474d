"""JSON text in and out (socketio/jsoncodec.py): what msgspec refuses or would be silent about.

It must not know packets.
"""

import json
from typing import Any

import pytest

from python_server.socketio.jsoncodec import DEPTH_MAX_COUNT, JSONError, dumps, is_deeper, loads


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 1.5, "", "é\u2028😀", [], {}, [1, [2]], {"b": 1, "a": [None]}, 2**70, {"": 0}],
)
def test_there_and_back(value: Any) -> None:
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2), "[1,2]"),
        ({1: "a"}, '{"1":"a"}'),
        ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
        ("\ud800", '"\\ud800"'),
        (2**70, str(2**70)),
    ],
)
def test_written(value: Any, text: str) -> None:
    assert dumps(value) == text


@pytest.mark.parametrize("value", [b"x", {1}, object(), float("nan"), float("-inf"), [float("inf")]])
def test_never_written_in_silence(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        dumps(value)


def test_a_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises((ValueError, RecursionError)):
        dumps(circle)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "NaN", "-Infinity", "1e999", "[1] 2", "'a'", "9" * 5000])
def test_refused(text: str) -> None:
    with pytest.raises(JSONError):
        loads(text)


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_depth(bracket: str) -> None:
    close = "]" if bracket == "[" else "}"
    for depth in (DEPTH_MAX_COUNT + 1, 1_000, 200_000):
        with pytest.raises(JSONError):
            loads(bracket * (depth - 1) + "[]" + close * (depth - 1))
    assert loads(json.dumps(nested(DEPTH_MAX_COUNT))) == nested(DEPTH_MAX_COUNT)


def test_brackets_in_text_are_no_depth() -> None:
    assert loads('"' + "[" * 1000 + '"') == "[" * 1000


def test_is_deeper() -> None:
    assert not is_deeper(nested(3), 3)
    assert is_deeper(nested(4), 3)
    assert is_deeper({"a": {"b": {}}}, 2)


def test_a_lone_surrogate_can_be_read_and_written_back() -> None:
    assert dumps(loads('"\\ud800"')) == '"\\ud800"'
