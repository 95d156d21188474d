"""The events of an application as AsyncAPI 3: what clients send, what they are answered, what is emitted.

Must not know: how an application is found, or who reads the document.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, get_args, get_origin

import msgspec

from python_server.api.event_checks import ANYTHING, check_of, positional, refusal_of, resolved, signature_of
from python_server.api.keywords import Function
from python_server.socketio.handlers import ANY, RESERVED, Handlers
from python_server.socketio.values import JSONValue

SCHEMAS: Final = "#/components/schemas/"
# Of a schema, what is no schema itself but a value.
LITERAL: Final = frozenset({"default", "enum", "const", "examples"})
Schema = dict[str, JSONValue]


class EventFault(msgspec.Struct):
    """The acknowledgement of an event whose arguments were refused."""

    error: str
    path: str


class SchemaError(Exception):
    """The events cannot be told; the message is one line for the application's owner."""


@dataclass(slots=True)
class Values:
    """The arguments of an event, or the values of an acknowledgement.

    Attributes:
        least_count: so many must be there. endless: the last one may be repeated, or be missing.
        schemas: of the types.
    """

    names: Sequence[str]
    types: Sequence[object]
    least_count: int
    endless: bool = False
    schemas: list[Schema] = field(default_factory=list)

    def schema(self) -> Schema:
        """Of a list of them."""
        told: Schema = {"type": "array", "minItems": self.least_count}
        single: list[Schema] = self.schemas
        rest: Schema | bool = False
        if self.endless:
            *single, rest = self.schemas
        else:
            told["maxItems"] = len(single)
        return told | ({"items": single, "additionalItems": rest} if single else {"items": rest or {}})


@dataclass(slots=True)
class Event:
    """One event, with the types of what it carries.

    Attributes:
        sent: by the server, not by a client. answers: what its acknowledgement may be; empty: there is none.
    """

    namespace: str
    name: str
    sent: bool
    arguments: Values
    answers: list[Values]
    description: str = ""


def read_events(handlers: Handlers) -> tuple[list[Event], dict[str, Schema]]:
    """All events with a name, in the application's order, and the schemas of the types that have a name.

    Raises:
        SchemaError: there are none; a type has no schema, or an annotation cannot be resolved.
    """
    events = [
        _received(namespace, name, *told)
        for (namespace, name), told in handlers.functions.items()
        if ANY not in (namespace, name) and name not in RESERVED
    ]
    for (namespace, name), (types, answer) in handlers.sent.items():
        events.append(Event(namespace, name, True, _values(types, "value"), _answers(answer)))
    if not events:
        raise SchemaError(
            "the application has no events: no handler, and nothing declared by emits() [no-events]"
        )
    every = [(event, values) for event in events for values in (event.arguments, *event.answers)]
    kinds = [(event, kind) for event, values in every for kind in values.types]
    for event, kind in kinds:
        if (reason := refusal_of(kind)) is not None:
            raise SchemaError(f"event {event.name!r} of {event.namespace!r}: {reason} [no-schema]")
    plain = [kind for _, kind in kinds]
    schemas, components = msgspec.json.schema_components(plain, ref_template=SCHEMAS + "{name}")
    told = iter(schemas)
    for _, values in every:
        values.schemas = [_draft7(next(told)) for _ in values.types]
    return events, _draft7_each(components)


def _received(namespace: str, name: str, function: Function, bound_count: int) -> Event:
    try:
        parameters = positional(function, bound_count)
        types = [resolved(function, each.annotation) for each in parameters]
        said = resolved(function, signature_of(function).return_annotation)
        checked = check_of(function, bound_count) is not None
    except Exception as error:
        raise SchemaError(f"event {name!r} of {namespace!r}: {error} [no-schema]") from None
    rest_count = sum(each.kind is each.VAR_POSITIONAL for each in parameters)
    least_count = sum(each.default is each.empty for each in parameters) - rest_count
    arguments = Values([each.name for each in parameters], types, least_count, bool(rest_count))
    answers = _answers(said)
    if checked and answers:
        answers.append(_values([EventFault], "fault"))
    about = (inspect.getdoc(function) or "").partition("\n")[0]
    return Event(namespace, name, False, arguments, answers, about)


def _answers(said: object) -> list[Values]:
    """Nothing said, or None: nobody waits for an acknowledgement. A tuple is several values."""
    if said in (ANYTHING, None, type(None)):
        return []
    several = get_origin(said) is tuple and Ellipsis not in get_args(said)
    return [_values(get_args(said) if several else [said], "answer")]


def _values(types: Iterable[object], word: str) -> Values:
    kinds = [ANYTHING if kind is object else kind for kind in types]
    names = [word] if len(kinds) == 1 else [f"{word}{place}" for place in range(1, len(kinds) + 1)]
    return Values(names, kinds, len(kinds))


def _draft7(schema: JSONValue) -> JSONValue:
    """A schema of msgspec's as JSON Schema draft 7 has it, which AsyncAPI builds upon."""
    if isinstance(schema, list):
        return [_draft7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    told = {
        key: value if key in LITERAL else _draft7_each(value) if key == "properties" else _draft7(value)
        for key, value in schema.items()
    }
    if not _is_finite(told.get("default")):
        del told["default"]
    if "prefixItems" in told:
        further = told.pop("items", True)
        told |= {"items": told.pop("prefixItems"), "additionalItems": further}
    if told.pop("contentEncoding", None):  # Socket.IO brings bytes as they are
        told["format"] = "binary"
    if isinstance(tag := told.get("discriminator"), dict):
        told["discriminator"] = tag["propertyName"]
    return told


def _draft7_each(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """By names that the application has chosen: no word of JSON Schema is one among them."""
    return {name: _draft7(schema) for name, schema in schemas.items()}


def _is_finite(value: JSONValue) -> bool:
    """Has JSON a word for each number in it? For infinity, which may be a default, there is none."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def asyncapi(events: Iterable[Event], schemas: dict[str, Schema], title: str, version: str) -> Schema:
    """The document, as the application sees it. A payload is the list of an event's arguments."""
    channels: dict[str, Schema] = {}
    operations: dict[str, Schema] = {}
    keys: dict[str, str] = {}
    for event in events:
        key = keys.setdefault(event.namespace, _unused(event.namespace.strip("/") or "root", channels))
        channel = channels.setdefault(key, {"address": event.namespace, "messages": {}})
        place = {"$ref": f"#/channels/{key}"}
        about = {"summary": event.description} if event.description else {}
        message = _add(channel, place, event.name, {"name": event.name, **about}, [event.arguments])
        action = "send" if event.sent else "receive"
        operation: Schema = {"action": action, "channel": place, "messages": [message]}
        if event.answers:
            about = {"name": event.name, "title": f"acknowledgement of {event.name}"}
            message = _add(channel, place, f"{event.name}.answer", about, event.answers)
            operation["reply"] = {"channel": place, "messages": [message]}
        operations[_unused(f"{action}.{event.name}", operations)] = operation
    info = {"title": title, "version": version}
    document = {"asyncapi": "3.0.0", "info": info, "channels": channels, "operations": operations}
    return document | {"components": {"schemas": schemas}}


def _add(channel: Schema, place: Schema, name: str, message: Schema, values: list[Values]) -> Schema:
    """A message of a channel, and the reference to it."""
    key = _unused(name, channel["messages"])
    payloads = [each.schema() for each in values]
    payload = payloads[0] if len(payloads) == 1 else {"anyOf": payloads}
    channel["messages"][key] = {**message, "payload": payload}
    return {"$ref": f"{place['$ref']}/messages/{key}"}


def _unused(name: str, taken: dict[str, Schema]) -> str:
    """A key for a name that may have any characters."""
    key = plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII) or "_"
    number = 1
    while key in taken:
        number += 1
        key = f"{plain}_{number}"
    return key
