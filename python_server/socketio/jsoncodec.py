"""JSON text in and out: orjson writes, msgspec reads, the standard library does what they refuse.

Must not know: packets, placeholders, events.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from enum import Enum
from functools import partial
from typing import Final, NoReturn
from uuid import UUID

import msgspec
import orjson

from python_server.socketio.values import JSONValue

# msgspec and the standard library both stop near the interpreter's recursion limit (about 1,000); a handler
# that sends back what it got needs room to walk it again. Node has no bound and dies of 20,000 levels.
DEPTH_MAX_COUNT: Final = 200

# Of the writers orjson is the one that refuses bytes (msgspec would write base64), so that one pass below
# Python tells that there are none to be attached; of the readers msgspec is the one that keeps integers of
# any size.
_encode: Final = orjson.dumps
_AS_IN_JSON: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_decode: Final = msgspec.json.Decoder().decode
_dumps_slowly: Final = partial(json.dumps, separators=(",", ":"))
# Of what JSON is read to, what holds nothing.
ATOMS: Final = frozenset({str, int, float, bool, type(None)})


class JSONError(ValueError):
    """Text that is not JSON, or goes beyond the bounds on depth and digits."""


def dumps(value: object) -> str:
    """Compact JSON text, all of it valid UTF-8 and valid for JavaScript.

    A UUID is written as text, an enum's member as its value, a Struct or dataclass as an object, NaN and
    Infinity as null (as ECMA-262 25.5.2.2, and so the official server, writes them).

    Raises:
        TypeError: a value JSON has no word for. ValueError: a circle.
    """
    text = dumps_plain(value)
    if text is not None:
        return text
    text = _dumps_slowly(value, default=_default)
    if "NaN" in text or "Infinity" in text:  # or a string that says so
        text = _dumps_slowly(json.loads(text, parse_constant=lambda name: None))
    return text


def dumps_plain(value: object) -> str | None:
    """The same text, when all of `value` is what JSON has words for; None when it needs a closer look.

    So the writing tells that there are no bytes to be attached either.
    """
    try:
        text = _encode(value, _as_object, _AS_IN_JSON).decode()
    except TypeError:
        return None
    return text


def plain(value: object) -> object:
    """A Struct of msgspec or a dataclass as a dict, bytes within as they are; all else as it is.

    Raises TypeError: a field has something that JSON has no word for.
    """
    if isinstance(value, msgspec.Struct) or (is_dataclass(value) and not isinstance(value, type)):
        return msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), str_keys=True)
    return value


def _as_object(value: object) -> object:
    found = plain(value)
    if found is value:
        raise TypeError
    return found


def _default(value: object) -> object:
    """What orjson has a word for and the standard library has not."""
    if (found := plain(value)) is not value:
        return found
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")  # json's own words


def loads(text: str) -> JSONValue:
    """The value of JSON text.

    Integers are bounded by both readers at about 4,300 digits, before a conversion in quadratic time.

    Raises:
        JSONError: malformed, NaN or Infinity, too many digits, or deeper than 200 levels.
    """
    try:
        value = _decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        value = _loads_slowly(text)
    if len(text) > 2 * DEPTH_MAX_COUNT:  # each level has two brackets
        _check_depth(text, value)
    return value


def _check_depth(text: str, value: JSONValue) -> None:
    if text.count("[") + text.count("{") > DEPTH_MAX_COUNT and is_deeper(value, DEPTH_MAX_COUNT):
        raise JSONError(f"nested deeper than {DEPTH_MAX_COUNT} levels")


def _loads_slowly(text: str) -> JSONValue:
    try:
        return json.loads(text, parse_float=_parse_float, parse_constant=_refuse_constant)
    except RecursionError:
        raise JSONError("nested too deeply") from None
    except ValueError as error:
        raise JSONError(str(error)) from None


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JSONError("a number beyond the range of a double")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise JSONError(f"{name} is not JSON")


def is_deeper(value: JSONValue, depth: int) -> bool:
    """Is a value of lists and dicts nested more than `depth` times?"""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return False
    if depth == 0:
        return True
    return any(type(item) not in ATOMS and is_deeper(item, depth - 1) for item in value)


@dataclass(frozen=True, slots=True)
class JSONWords:
    """How values become text and come back: ours, or those of a program's own module.

    Attributes:
        dumps: raises TypeError or ValueError. loads: raises JSONError.
        dumps_plain: `dumps` of a value that surely holds no bytes, else None.
    """

    dumps: Callable[[object], str] = dumps
    loads: Callable[[str], JSONValue] = loads
    dumps_plain: Callable[[object], str | None] = dumps_plain


OWN_WORDS: Final = JSONWords()


def words_of(module: object) -> JSONWords:
    """The words of anything with `dumps` and `loads`: a JSON module, Flask's `app.json`.

    `dumps` may give text or UTF-8 bytes, and is asked for compact text if it takes `separators`. What comes
    from clients has our bound on depth; a bound on digits is the module's affair. Raises ValueError.
    """
    write, read = getattr(module, "dumps", None), getattr(module, "loads", None)
    if not callable(write) or not callable(read):
        raise ValueError("json is a module, or an object, with the functions dumps and loads")
    compact = {"separators": (",", ":")}
    try:
        inspect.signature(write).bind(None, **compact)
    except (TypeError, ValueError):  # it does not take them, or nobody knows: C without a signature
        compact = {}

    def dumps(value: object) -> str:
        text = write(value, **compact)
        return text.decode() if isinstance(text, bytes) else str(text)

    def loads(text: str) -> JSONValue:
        try:
            value = read(text)
        except Exception as error:  # whatever a module of somebody's own says about a client's text
            raise JSONError(str(error)) from None
        _check_depth(text, value)
        return value

    return JSONWords(dumps, loads, lambda value: None)  # it may write bytes in a way of its own
