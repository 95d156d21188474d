"""Docstrings of the public callables: parameters, results, errors and units are told, an example compiles.

It must not know whether what they say is true.
"""

import ast
import inspect
import re
import textwrap
from enum import Enum
from typing import Any

import pytest

from public_names import MADE_BY_THE_SERVER, public_callables

CALLABLES = dict(public_callables())
# Parameters that mean the same wherever they stand.
EVIDENT = {"self", "event", "sid", "room"}
SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):", re.MULTILINE)
# "name: ...", "one, other: ...", and what stands in backticks within a sentence.
NAMED = re.compile(
    r"(?:^ *|[.;,] +|: )((?:\w+, )*\w+):(?= |$)|`(\w+)`|`(\w+)\(\*(\w+), \*\*(\w+)\)`", re.MULTILINE
)
UNITS = {
    "second": re.compile(r"(^|_)(seconds|timeout|interval)$"),
    "byte": re.compile(r"(^|_)(bytes|size)$"),
}


def docstring(thing: object) -> str:
    """As the reader has it; of a class that of the class, where its constructor's parameters are told."""
    return inspect.cleandoc(thing.__doc__ or "")


def parameters(thing: Any) -> list[inspect.Parameter]:
    """Of a class those of its own constructor; an enum's and a subclass's are not its own."""
    if isinstance(thing, type) and (
        issubclass(thing, Enum) or not {"__init__", "_fields"} & vars(thing).keys()
    ):
        return []
    try:
        return list(inspect.signature(thing).parameters.values())
    except ValueError:  # of a built-in exception
        return []


def examples(text: str) -> list[str]:
    """The indented blocks between the paragraphs, before the first section."""
    prose = SECTION.split(text)[0]
    return [textwrap.dedent(block) for block in re.findall(r"\n\n((?:    .*\n?|\n(?=    ))+)", prose + "\n")]


def raised(thing: Any) -> set[str]:
    """What the function's own lines raise by name."""
    if isinstance(thing, type):
        return set()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError):
        return set()
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}


def gives_something(thing: Any) -> bool:
    if isinstance(thing, type):
        return False
    result = inspect.signature(thing).return_annotation
    return result not in (inspect.Signature.empty, None, "None")


def given_out(thing: object) -> bool:
    """Whether programs get such things, and make none: errors, constants, frozen records but for settings."""
    if not isinstance(thing, type):
        return False
    record = getattr(thing, "__dataclass_params__", None)
    frozen = record is not None and record.frozen and not thing.__name__.endswith("Settings")
    return frozen or issubclass(thing, (BaseException, Enum, tuple))


def lacks(name: str, thing: object) -> list[str]:
    """What the docstring does not tell."""
    text = docstring(thing)
    named = {word for words in NAMED.findall(text) for group in words for word in group.split(", ")}
    missing = []
    for parameter in parameters(thing) if name not in MADE_BY_THE_SERVER else ():
        if parameter.name not in named | EVIDENT:
            missing.append(parameter.name)
        missing += [unit for unit, kind in UNITS.items() if kind.search(parameter.name) and unit not in text]
    if gives_something(thing) and not re.search(r"\b[Rr]eturns?\b|^Decorator", text):
        missing.append("what it returns")
    missing += [error for error in sorted(raised(thing)) if error not in text]
    own = name.rpartition(".")[2]
    if not given_out(thing) and not any(re.search(rf"\b{own}\b", example) for example in examples(text)):
        missing.append("an example")
    return missing


@pytest.mark.parametrize("name", CALLABLES)
def test_a_docstring_tells_what_a_caller_needs(name: str) -> None:
    assert lacks(name, CALLABLES[name]) == []


def test_examples_compile() -> None:
    blocks = [(name, block) for name, thing in CALLABLES.items() for block in examples(docstring(thing))]
    assert len(blocks) > 10
    for name, block in blocks:
        compile(block, f"the example of {name}", "exec")
