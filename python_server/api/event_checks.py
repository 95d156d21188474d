"""What the annotations of a handler say of its arguments, and the check that msgspec makes of it.

Must not know: Flask, hubs, how a fault reaches the client.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from functools import partial
from types import GenericAlias, SimpleNamespace
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from msgspec import convert
from msgspec.structs import astuple

from python_server.api.keywords import Function, Keywords
from python_server.net.tasks import name_of
from python_server.observe import log
from python_server.socketio.client import InvalidArguments
from python_server.socketio.values import JSONValue

# Of msgspec's sentence, which repeats a value where only some are allowed.
SAID_MAX_CHARACTERS: Final = 200
# What values make `convert` raise: half a surrogate, and in older releases others, in Python's own words.
REFUSALS: Final = (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError)
VAR_POSITIONAL: Final = inspect.Parameter.VAR_POSITIONAL
# Of what msgspec's description of a type says: keys of a dict that are no text, and bytes.
UNUSUAL: Final = re.compile(r"key_type=(?!StrType|AnyType)|BytesType|ByteArrayType|MemoryViewType")
# Where a program or an alias of a type has another one within.
INNER: Final = ("__supertype__", "__value__")
CIRCLE: Final = object()
ANYTHING: Final[object] = Any
UNRESOLVED: Final = (
    "the arguments of %s are not checked: %s cannot be resolved; import what is annotated at run time, and "
    "define it in the module, not in a function"
)


@dataclass(slots=True)
class Choice:
    """Whether handlers are checked at all: those of a program that --drop-in serves as it stands are not."""

    checks: bool = True


CHOSEN: Final = Choice()


def signature_of(function: Function) -> inspect.Signature:
    """Its annotations may name what is not there yet. Raises TypeError, ValueError: it has no signature."""
    if sys.version_info >= (3, 14):  # where it would look its annotations up
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def positional(function: Function, bound_count: int) -> list[inspect.Parameter]:
    """The parameters that an event's arguments are given to, behind those that are bound.

    Raises TypeError, ValueError: as `signature_of`.
    """
    parameters = signature_of(function).parameters.values()
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    single = [each for each in parameters if each.kind in kinds]
    return single[bound_count:] + [each for each in parameters if each.kind is VAR_POSITIONAL]


def resolved(function: Function, annotation: object) -> object:
    """The type that an annotation of the function names. Raises whatever it raises."""
    if annotation is inspect.Parameter.empty or annotation is object:
        return ANYTHING
    while isinstance(function := inspect.unwrap(function), partial):
        function = function.func
    if not hasattr(function, "__globals__"):  # an object that can be called
        function = inspect.unwrap(type(function).__call__)
    names = getattr(function, "__globals__", {})
    named = SimpleNamespace(__annotations__={"it": annotation})
    kind: object = get_type_hints(named, names, include_extras=True)["it"]
    return kind


def parts(kind: object, above: tuple[object, ...] = ()) -> Iterator[object]:
    """A type and what it is made of; CIRCLE where an alias is part of itself."""
    if any(kind is each for each in above):
        yield CIRCLE
        return
    yield kind
    inner = (getattr(kind, name, None) for name in INNER)
    within = get_args(kind)
    if get_origin(kind) is Annotated:  # of what is remarked there, only msgspec's own word is part of it
        within = (within[0], *(each for each in within[1:] if isinstance(each, msgspec.Meta)))
    for each in (*within, *filter(None, inner)):
        yield from parts(each, (*above, kind))


def switches_on(kind: object) -> bool:
    """Is it a Struct, a dataclass or a TypedDict, has it one within, or a `Meta` of msgspec?"""
    for part in parts(kind):
        plain = get_origin(part) or part
        if isinstance(part, msgspec.Meta) or is_typeddict(plain):
            return True
        if isinstance(plain, type) and (issubclass(plain, msgspec.Struct) or is_dataclass(plain)):
            return True
    return False


def refusal_of(kind: object) -> str | None:
    """Why msgspec makes no JSON of a type; None: it does. Raises NameError: a name within is not there."""
    if any(part is CIRCLE for part in parts(kind)):  # it would never come to an end
        return "it is part of itself: name it as a Struct"
    try:
        msgspec.json.schema(kind)
    except NameError:
        raise
    except Exception as error:
        return " ".join(str(error).split())
    return None


class Check:
    """Converts the arguments of one handler, from when its annotations are resolved: its first event at last.

    Args:
        bound_count: of the handler's parameters, those that stand before the client's. auth: its one argument
            is a client's credentials, which are None where there are none.

    Attributes:
        needed: something is checked, or it is not known yet.

    Raises:
        TypeError: an annotation that is to be checked has no JSON.
    """

    def __init__(self, function: Function, bound_count: int = 0, *, auth: bool = False) -> None:
        self._function = function
        self._auth = auth
        self._parameters = positional(function, bound_count)
        self._endless = bool(self._parameters) and self._parameters[-1].kind is VAR_POSITIONAL
        self._single_count = len(self._parameters) - self._endless
        self._least_count = sum(each.default is each.empty for each in self._parameters) - self._endless
        self._options: Keywords = {}
        # It has a field for each parameter; msgspec looks through a class once, not with each event.
        self._class: type[msgspec.Struct] | None = None
        self._pending = True
        self._is_plain = False  # each argument must be there, and `convert` needs no option
        self._resolve(at_last=False)
        self.needed: bool = self._pending or self._class is not None

    def _resolve(self, *, at_last: bool) -> None:
        """Any thread; two that come at once do the same."""
        kinds: list[object] = []
        unknown = []
        for parameter in self._parameters:
            try:
                kinds.append(resolved(self._function, parameter.annotation))
            except Exception:
                kinds.append(ANYTHING)
                unknown.append(f"{parameter.name}: {parameter.annotation}")
        if unknown and not at_last:
            return
        try:
            if any(map(switches_on, kinds)):
                self._class = self._class_of([*map(self._checked, kinds)])
        except NameError:  # within a type
            if at_last:
                raise
            return
        exact = not self._endless and self._least_count == self._single_count
        self._is_plain = self._class is not None and exact and not self._options
        if unknown:
            log.warn(UNRESOLVED % (name_of(self._function), ", ".join(unknown)))
        self._pending = False

    def _checked(self, kind: object) -> object:
        reason = refusal_of(kind)
        if reason is not None and switches_on(kind):
            what = f"the arguments of {name_of(self._function)} cannot be checked"
            raise TypeError(f"{what}: {kind!r}: {reason} [no-schema]")
        return kind if reason is None else ANYTHING

    def _class_of(self, kinds: list[object]) -> type[msgspec.Struct]:
        if UNUSUAL.search(repr(msgspec.inspect.multi_type_info(kinds))):
            # The keys of JSON are text; and bytes come as they are, never as text in base64.
            self._options = {"str_keys": True, "builtin_types": (bytes, bytearray, memoryview)}
        if self._endless:
            kinds[-1] = GenericAlias(tuple, (kinds[-1], ...))
        fields = [(f"value{place}", kind, None) for place, kind in enumerate(kinds)]
        fields[: self._least_count] = [field[:2] for field in fields[: self._least_count]]  # type: ignore[misc]
        return msgspec.defstruct("Arguments", fields, array_like=True, forbid_unknown_fields=True, gc=False)

    def convert(self, arguments: tuple[JSONValue, ...]) -> tuple[JSONValue, ...]:
        """The arguments as the handler wants them. Raises InvalidArguments, TypeError, NameError."""
        if self._pending:
            self._resolve(at_last=True)
        try:
            if self._is_plain:
                return astuple(convert(arguments, self._class))
            return self._convert(arguments)
        except REFUSALS as error:
            if self._auth and arguments == (None,):
                return self.convert(({},))
            raise self._fault(len(arguments), str(error)) from None

    def _convert(self, arguments: tuple[JSONValue, ...]) -> tuple[JSONValue, ...]:
        if self._class is None:
            return arguments
        single_count, sent = self._single_count, arguments
        more = self._endless and len(arguments) > single_count
        if more:
            sent = (*arguments[:single_count], arguments[single_count:])
        values = astuple(convert(sent, self._class, **self._options))
        return (*values[:single_count], *values[single_count]) if more else values[: len(arguments)]

    def _fault(self, count: int, said: str) -> InvalidArguments:
        least, most = self._least_count, self._single_count
        if count < least or (count > most and not self._endless):
            span = f"at least {least}" if self._endless else f"{least} to {most}"
            span = str(least) if least == most and not self._endless else span
            return InvalidArguments(f"Expected {span} arguments, got {count}", "$")
        told, _, path = said.rpartition(" - at `")
        path = path.partition("$")[2].rstrip("`") if told else ""
        if self._auth:
            path = path.removeprefix("[0]")
        elif self._endless and (found := re.match(rf"\[{most}\]\[(\d+)\]", path)):
            path = f"[{most + int(found[1])}]{path[found.end() :]}"
        return InvalidArguments((told or said)[:SAID_MAX_CHARACTERS], f"${path}")


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
