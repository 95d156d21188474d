"""JSON text in and out: orjson writes, msgspec reads, the standard library does what they refuse.

Must not know: packets, placeholders, events.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
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
# Of what JSON is read to, what holds nothing.
ATOMS: Final = frozenset({str, int, float, bool, type(None)})
_LISTS: Final = frozenset({list, tuple})


class JSONError(ValueError):
    """Text that is not JSON, or goes beyond the bounds on depth and digits."""


def dumps(value: object, allow_nan: bool = False) -> str:
    """Compact JSON text, all of it valid UTF-8 and valid for JavaScript.

    A UUID is written as text, an enum's member as its value.

    Args:
        allow_nan: as the standard library takes it: NaN and Infinity are written so. Python reads that.

    Raises:
        TypeError: a value JSON has no word for. ValueError: NaN, Infinity, or a circle.
    """
    text = dumps_plain(value)
    if text is None:
        return json.dumps(value, separators=(",", ":"), allow_nan=allow_nan, default=_default)
    return text


def dumps_plain(value: object) -> str | None:
    """The same text, when all of `value` is what JSON has words for; None when it needs a closer look.

    So the writing tells that there are no bytes to be attached either.
    """
    try:
        text = _encode(value, None, _AS_IN_JSON).decode()
    except TypeError:
        return None
    if "null" in text and not _is_finite(value):  # orjson writes so what JSON has no number for
        return None
    return text


def _default(value: object) -> object:
    """What orjson has a word for and the standard library has not."""
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


def _is_finite(value: JSONValue) -> bool:
    """Is every number among atoms, lists and dicts one that JSON has a word for? False if there is more."""
    kind = type(value)
    for item in value.values() if kind is dict else value if kind in _LISTS else (value,):
        kind = type(item)
        if kind is float:
            if not math.isfinite(item):
                return False
        elif kind not in ATOMS and not ((kind is dict or kind in _LISTS) and _is_finite(item)):
            return False
    return True


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
# The same, but NaN is the program's affair: what python-socketio sends where no module is chosen, and what
# its clients make of it.
PEERS_WORDS: Final = JSONWords(partial(dumps, allow_nan=True))
PEERS_CLIENTS_WORDS: Final = JSONWords(loads=json.loads)


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
