"""JSON text in and out (socketio/jsoncodec.py): what orjson and msgspec refuse or would be silent about.

It must not know packets.
"""

import dataclasses
import datetime
import json
from collections import OrderedDict, namedtuple
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest

from python_server.socketio.jsoncodec import (
    DEPTH_MAX_COUNT,
    JSONError,
    dumps,
    dumps_plain,
    is_deeper,
    loads,
    plain,
    words_of,
)

NAME = UUID("12345678-1234-5678-1234-567812345678")
Point = namedtuple("Point", "x y")


class Colour(Enum):
    RED = "r"
    BYTES = b"b"
    NOT_A_NUMBER = float("nan")


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Record:
    a: int = 1


class Struct(msgspec.Struct):
    a: object = 1


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
        (-(2**63) - 1, str(-(2**63) - 1)),
        (NAME, f'"{NAME}"'),
        ([Colour.RED, Level.LOW, Word.YES], '["r",1,"yes"]'),
        (Point(1, None), "[1,null]"),
        (OrderedDict(b=1, a=None), '{"b":1,"a":null}'),
        ({Word.YES: 1}, '{"yes":1}'),
        ({None: 1}, '{"null":1}'),
        (["null", 1.5, None], '["null",1.5,null]'),
    ],
)
def test_written(value: Any, text: str) -> None:
    assert dumps(value) == text


@pytest.mark.parametrize(
    "value", [NAME, Colour.RED, [None, NAME, Colour.RED], (NAME, 2**70), {1: Colour.RED}]
)
def test_names_and_members_are_written_the_same_on_both_ways(value: Any) -> None:
    assert dumps(value) == dumps([value, 2**70])[1 : -len(f",{2**70}]")]


@pytest.mark.parametrize(
    "value",
    [
        b"x",
        bytearray(b"x"),
        memoryview(b"x"),
        {1},
        object(),
        Decimal(1),
        datetime.datetime(2026, 1, 1),
        Colour.BYTES,
        {b"x": 1},
        Record,
        Struct(object()),
        Struct(b"x"),
    ],
)
@pytest.mark.parametrize("beside", [[], [None], [2**70]])
def test_never_written_in_silence(value: Any, beside: list[Any]) -> None:
    for within in (value, [value, *beside], {"a": {"b": value}, "c": beside}):
        assert dumps_plain(within) is None
        with pytest.raises((TypeError, ValueError)):
            dumps(within)


@pytest.mark.parametrize(
    "record", [Record(), Struct(), Record(Struct(1)), Struct([Record()]), Struct({1: NAME})]
)
@pytest.mark.parametrize("beside", [[], [2**70]])
def test_records_are_written_as_objects(record: Any, beside: list[Any]) -> None:
    told = msgspec.to_builtins(record, str_keys=True)
    for value in (record, [record], {"a": (record,)}):
        same = told if value is record else [told] if isinstance(value, list) else {"a": [told]}
        assert loads(dumps([value, *beside])) == [same, *beside]


def test_what_is_no_record_is_as_it_was() -> None:
    for value in (Record, Struct, 5, b"x", [Record()]):
        assert plain(value) is value
    assert plain(Struct(b"x")) == {"a": b"x"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), Colour.NOT_A_NUMBER])
@pytest.mark.parametrize("beside", ["NaN", 2**70, {1: "Infinity"}])
def test_what_is_no_number_is_null(value: Any, beside: Any) -> None:
    """As JSON.stringify writes it, on the quick way and where the standard library is needed."""
    assert loads(dumps([value, {"a": value}])) == [None, {"a": None}]
    others = {"1": "Infinity"} if isinstance(beside, dict) else beside
    assert loads(dumps([value, beside])) == [None, others]


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


def own_words(**functions: Any) -> Any:
    return words_of(SimpleNamespace(**{"dumps": json.dumps, "loads": json.loads} | functions))


def test_words_of_a_module_are_compact_where_it_can_be_told_so() -> None:
    assert own_words().dumps({"a": [1, 2]}) == '{"a":[1,2]}'
    for write in (lambda value: json.dumps(value), lambda value: json.dumps(value).encode()):
        assert own_words(dumps=write).dumps({"é": [1, 2]}) == '{"\\u00e9": [1, 2]}'
    nobody_knows = type("C", (), {"__call__": lambda self, value: "[1, 2]", "__signature__": "none"})()
    assert own_words(dumps=nobody_knows).dumps([1, 2]) == "[1, 2]"
    assert own_words().dumps_plain([1]) is None, "a text of its own is not ours to guess"


def test_what_a_module_reads_is_bounded_in_depth_and_refused_in_one_word() -> None:
    assert own_words().loads('{"a":1}') == {"a": 1}
    with pytest.raises(JSONError, match="nested"):
        own_words().loads("[" * (DEPTH_MAX_COUNT + 1) + "]" * (DEPTH_MAX_COUNT + 1))

    def broken(text: str) -> Any:
        raise KeyError("of its own")

    with pytest.raises(JSONError, match="of its own"):
        own_words(loads=broken).loads("{}")


@pytest.mark.parametrize("functions", [{"dumps": None}, {"loads": 5}])
def test_what_is_no_module(functions: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="with the functions dumps and loads"):
        own_words(**functions)
