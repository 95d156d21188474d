"""The events of an application as TypeScript: the two interfaces that the official client is typed with.

Must not know: AsyncAPI, handlers, msgspec; it writes JSON Schema of draft 7 as types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Final

from python_server.api.event_schema import SCHEMAS, Event, Schema, Values

ATOMS: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
IDENTIFIER: Final = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
# Names in Python that are words of TypeScript. One that is taken there gets a bar behind; so does one that
# has bars already, or two names might become one.
WORDS: Final = (
    "case|catch|const|debugger|default|delete|do|enum|export|extends|false|function|implements|instanceof"
    "|interface|let|new|null|package|private|protected|public|static|super|switch|this|throw|true|try|typeof"
    "|var|void"
)
TAKEN_TYPE: Final = re.compile(
    f"(?:{WORDS}|any|as|bigint|boolean|never|number|object|string|symbol|undefined|unknown"
    "|ArrayBuffer|Uint8Array|.*(?:ClientToServer|ServerToClient)Events)_*"
)
TAKEN_PARAMETER: Final = re.compile(f"(?:{WORDS}|arguments|callback|eval)_*")
# A client in a browser gives out the first, one under Node the second.
BYTES: Final = "ArrayBuffer | Uint8Array"


def typescript(events: Iterable[Event], schemas: dict[str, Schema]) -> str:
    """What the events name, and two interfaces for each namespace; those of "/" have no prefix."""
    parts = [_declaration(name, schema) for name, schema in schemas.items()]
    interfaces: dict[str, str] = {}
    prefixes = {"/": ""}
    for event in events:
        prefix = prefixes.get(event.namespace)
        if prefix is None:
            prefix = prefixes[event.namespace] = _prefix(event.namespace, prefixes.values())
        names = f"{prefix}ClientToServerEvents", f"{prefix}ServerToClientEvents"
        interfaces = dict.fromkeys(names, "") | interfaces
        about = _comment(event.description, "  ")
        interfaces[names[event.sent]] += f"{about}  {_key(event.name)}: {_function(event)};\n"
    parts += [f"export interface {name} {{\n{lines}}}\n" for name, lines in interfaces.items()]
    return "\n".join(parts)


def _prefix(namespace: str, taken: Collection[str]) -> str:
    """Of a namespace's interfaces: its words, with a number where another namespace has the same."""
    prefix = "".join(word[:1].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", namespace))
    if not prefix[:1].isalpha():
        prefix = f"Namespace{prefix}"
    each, number = prefix, 1
    while each in taken:
        number += 1
        each = f"{prefix}_{number}"
    return each


def _function(event: Event) -> str:
    arguments = event.arguments
    single_count = len(arguments.schemas) - arguments.endless
    callback = [f"callback: {_callback(event.answers)}"] if event.answers else []
    lists = [_labelled(arguments, count) for count in range(arguments.least_count, single_count + 1)]
    if arguments.endless:
        lists[-1].append(f"...{_parameter(arguments.names[-1])}: {_item(arguments.schemas[-1])}[]")
    told = [", ".join([*each, *callback]) for each in lists]
    if len(told) == 1 and not arguments.endless:
        return f"({told[0]}) => void"
    return f"(...given: {' | '.join(f'[{each}]' for each in told)}) => void"


def _callback(answers: list[Values]) -> str:
    if all(len(each.schemas) == 1 for each in answers):
        kinds = (_type(each.schemas[0]) for each in answers)
        return f"({answers[0].names[0]}: {' | '.join(kinds)}) => void"
    lists = (f"[{', '.join(_labelled(each, len(each.schemas)))}]" for each in answers)
    return f"(...answer: {' | '.join(lists)}) => void"


def _labelled(values: Values, count: int) -> list[str]:
    pairs = zip(values.names, values.schemas, strict=True)
    return [f"{_parameter(name)}: {_type(schema)}" for name, schema in pairs][:count]


def _declaration(name: str, schema: Schema) -> str:
    about, name = _comment(schema.get("description", ""), ""), _name(name)
    if "properties" in schema:
        return f"{about}export interface {name} {_object(schema)}\n"
    return f"{about}export type {name} = {_type(schema)};\n"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return _name(schema["$ref"].removeprefix(SCHEMAS))
    if "enum" in schema or "const" in schema:
        return " | ".join(map(json.dumps, schema.get("enum") or [schema["const"]]))
    if "anyOf" in schema or "oneOf" in schema:
        return " | ".join(map(_type, schema.get("anyOf") or schema["oneOf"]))
    kind = schema.get("type")
    if kind == "array":
        return _array(schema)
    if kind == "object":
        return _object(schema)
    return BYTES if schema.get("format") == "binary" else ATOMS.get(kind or "", "any")


def _item(schema: Schema) -> str:
    """A type in front of brackets."""
    told = _type(schema)
    return f"({told})" if " " in told else told


def _array(schema: Schema) -> str:
    items = schema.get("items", {})
    if isinstance(items, dict):
        return f"{_item(items)}[]"
    least_count = schema.get("minItems", 0)
    kinds = (f"{_item(item)}{'' if place < least_count else '?'}" for place, item in enumerate(items))
    return f"[{', '.join(kinds)}]"


def _object(schema: Schema) -> str:
    if "properties" not in schema:
        further = schema.get("additionalProperties", True)
        return f"{{ [key: string]: {_type(further) if isinstance(further, dict) else 'any'} }}"
    required = schema.get("required", ())
    fields = (
        f"{_key(name)}{'' if name in required else '?'}: {_type(field)};"
        for name, field in schema["properties"].items()
    )
    return f"{{ {' '.join(fields)} }}" if schema["properties"] else "{}"


def _name(name: str) -> str:
    """Of a component as of a type: dots and hyphens stand in none."""
    name = re.sub(r"\W", "_", name)
    return f"{name}_" if TAKEN_TYPE.fullmatch(name) else name


def _parameter(name: str) -> str:
    return f"{name}_" if TAKEN_PARAMETER.fullmatch(name) else name


def _key(name: str) -> str:
    return name if IDENTIFIER.fullmatch(name) else json.dumps(name)


def _comment(text: str, indent: str) -> str:
    said = " ".join(text.split()).replace("*/", "* /")
    return f"{indent}/** {said} */\n" if said else ""
