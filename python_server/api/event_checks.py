"""What the annotations of a handler say of its arguments, and the check that msgspec makes of it.

Must not know: Flask, hubs, how a fault reaches the client.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, is_dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from python_server.api.keywords import Function
from python_server.net.tasks import name_of
from python_server.observe import log
from python_server.socketio.client import InvalidArguments
from python_server.socketio.values import JSONValue

# Of msgspec's sentence, which repeats a value where only some are allowed.
SAID_MAX_CHARACTERS: Final = 200
# Where a program or an alias of a type has another one within.
INNER: Final = ("__supertype__", "__value__")
UNRESOLVED: Final = (
    "the arguments of %s are not checked: %s cannot be resolved; import what is annotated at run time, and "
    "define it in the module, not in a function"
)


@dataclass(slots=True)
class Choice:
    """Whether handlers are checked at all: those of a program that --drop-in serves as it stands are not."""

    checks: bool = True


CHOSEN: Final = Choice()


class NoSchemaError(TypeError):
    """An annotation that says nothing about JSON."""


def positional(function: Function, bound_count: int) -> list[inspect.Parameter]:
    """The parameters that an event's arguments are given to, behind those that are bound.

    Raises TypeError, ValueError: it has no signature.
    """
    if sys.version_info >= (3, 14):  # where an annotation is looked up with the signature
        from annotationlib import Format

        signature = inspect.signature(function, annotation_format=Format.FORWARDREF)
    else:
        signature = inspect.signature(function)
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    single = [each for each in signature.parameters.values() if each.kind in kinds]
    rest = [each for each in signature.parameters.values() if each.kind is each.VAR_POSITIONAL]
    return single[bound_count:] + rest


def resolved(function: Function, annotation: Any) -> Any:
    """The type that an annotation of the function names. Raises whatever it raises."""
    if annotation is inspect.Parameter.empty:
        return Any
    while isinstance(function := inspect.unwrap(function), partial):
        function = function.func
    if not hasattr(function, "__globals__"):  # an object that can be called
        function = inspect.unwrap(type(function).__call__)
    names = getattr(function, "__globals__", {})
    return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), names, None, True)["it"]


def switches_on(kind: Any) -> bool:
    """Is it a Struct, a dataclass or a TypedDict, has it one within, or a `Meta` of msgspec?"""
    plain = get_origin(kind) or kind
    if isinstance(kind, msgspec.Meta):
        return True
    if isinstance(plain, type) and (
        issubclass(plain, msgspec.Struct) or is_dataclass(plain) or is_typeddict(plain)
    ):
        return True
    inner = (getattr(kind, name, None) for name in INNER)
    return any(map(switches_on, (*get_args(kind), *filter(None, inner))))


def converter_of(kind: Any) -> partial[Any] | None:
    """What converts a tuple of one value; None: there is nothing to be checked.

    Raises NoSchemaError: msgspec makes no JSON of it. NameError: a name within is not there yet.
    """
    if kind is Any or kind is object:
        return None
    try:
        schema = str(msgspec.json.schema(kind))
    except NameError:
        raise
    except Exception as error:
        raise NoSchemaError(f"{kind!r}: {' '.join(str(error).split())}") from None
    # A class of its own is looked through once, where `convert` would look through a plain type each time.
    one = msgspec.defstruct("One", [("value", kind)], array_like=True)
    # Else a text in place of bytes would be read as base64: Socket.IO brings bytes as they are.
    binary = (bytes, bytearray, memoryview) if "'contentEncoding': 'base64'" in schema else None
    return partial(msgspec.convert, type=one, str_keys=True, builtin_types=binary)


class Check:
    """Converts the arguments of one handler, from when its annotations are resolved: its first event at last.

    Args:
        bound_count: of the handler's parameters, those that stand before the client's. auth: its one argument
            is a client's credentials, which are None where there are none.

    Raises:
        TypeError: an annotation that is to be checked has no JSON.
    """

    def __init__(self, function: Function, bound_count: int = 0, *, auth: bool = False) -> None:
        self._function = function
        self._root = "$" if auth else "$[{}]"
        self._auth = auth
        self._parameters = positional(function, bound_count)
        single = [each for each in self._parameters if each.kind is not each.VAR_POSITIONAL]
        self._least_count = sum(each.default is each.empty for each in single)
        self._most_count = len(single) if len(single) == len(self._parameters) else sys.maxsize
        self._converters: list[partial[Any] | None] = []
        self._pending = False
        self._resolve(at_last=False)

    @property
    def needed(self) -> bool:
        return self._pending or bool(self._converters)

    def _resolve(self, *, at_last: bool) -> None:
        """Any thread; two that come at once do the same."""
        kinds: list[Any] = []
        unknown = []
        for parameter in self._parameters:
            try:
                kinds.append(resolved(self._function, parameter.annotation))
            except Exception:
                kinds.append(Any)
                unknown.append(f"{parameter.name}: {parameter.annotation}")
        self._pending = bool(unknown) and not at_last
        if self._pending:
            return
        if unknown:
            log.warn(UNRESOLVED % (name_of(self._function), ", ".join(unknown)))
        if any(map(switches_on, kinds)):
            try:
                self._converters = [*map(self._converter, kinds)]
            except NameError:  # within a type
                if at_last:
                    raise
                self._pending = True

    def _converter(self, kind: Any) -> partial[Any] | None:
        try:
            return converter_of(kind)
        except NoSchemaError as error:
            if switches_on(kind):
                raise TypeError(
                    f"the arguments of {name_of(self._function)} cannot be checked: {error} [no-schema]"
                ) from None
            return None

    def __call__(self, arguments: tuple[JSONValue, ...]) -> tuple[JSONValue, ...]:
        """The arguments as the handler wants them. Raises InvalidArguments."""
        if self._pending:
            self._resolve(at_last=True)
        if not self._converters:
            return arguments
        count = len(arguments)
        if not self._least_count <= count <= self._most_count:
            raise InvalidArguments(f"Expected {self._counts()}, got {count}", "$")
        converters = self._converters
        if count > len(converters):
            converters = converters + converters[-1:] * (count - len(converters))
        converted: list[JSONValue] = []
        for value, converter in zip(arguments, converters, strict=False):
            if converter is not None:
                value = self._convert(converter, value, len(converted))
            converted.append(value)
        return tuple(converted)

    def _convert(self, converter: partial[Any], value: JSONValue, place: int) -> JSONValue:
        try:
            return converter((value,)).value
        except msgspec.ValidationError as error:
            if self._auth and value is None:
                return self._convert(converter, {}, place)
            said, _, path = str(error).rpartition(" - at `")
            path = path.rstrip("`").partition("$[0]")[2]
            raise InvalidArguments(said[:SAID_MAX_CHARACTERS], self._root.format(place) + path) from None

    def _counts(self) -> str:
        least, most = self._least_count, self._most_count
        if most == sys.maxsize:
            return f"at least {least} arguments"
        return f"{least} arguments" if least == most else f"{least} to {most} arguments"


def check_of(function: Function, bound_count: int = 0, *, auth: bool = False) -> Check | None:
    """The check of a handler; None: its annotations ask for none. Raises TypeError as Check does."""
    if not CHOSEN.checks:
        return None
    try:
        positional(function, bound_count)
    except (TypeError, ValueError):  # in C, without a signature
        return None
    check = Check(function, bound_count, auth=auth)
    return check if check.needed else None
