"""What an option of the command line is, and the kinds of value that options take.

Must not know: any single option, or what a setting does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from typing import Any, Final

import click

ENVIRONMENT_PREFIX: Final = "WSFRAME_"
# Of options whose one text is several with commas between them; a TOML file may have a list there.
LIST_METAVAR: Final = "LIST"


# A type of click, or a function of the text.
Kind = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        flag: its long name; "--x/--no-x" pairs as click writes them. short: such as "-p".
        help: one sentence. group: heading above it.
        setting: dotted path in Settings, or "" for what the command itself uses.
        kind: None in a row of the table: by the type of the default. multiple: may be repeated.
        other_environment: variables that are looked at after our own, since other servers use them.
    """

    flag: str
    help: str
    setting: str = ""
    kind: Kind | None = None
    default: object = None
    short: str = ""
    multiple: bool = False
    metavar: str | None = None
    other_environment: tuple[str, ...] = ()
    group: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        return (self.flag, self.short) if self.short else (self.flag,)

    @property
    def name(self) -> str:
        """The parameter's name: "ws_max_size"."""
        return self.flag.partition("/")[0].lstrip("-").replace("-", "_")

    @property
    def environment(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()


def as_written(option: Option, value: object) -> object:
    """A value of a TOML file as the command line would have it: a text, a list of them, or a flag's bool.

    Raises:
        ValueError: nothing of that type can be written there.
    """
    if option.kind is bool:
        if isinstance(value, (bool, int, str)):
            return value
    elif isinstance(value, list):
        texts = [_text(item) for item in value if not isinstance(item, list)]
        if len(texts) == len(value) and (option.multiple or option.metavar == LIST_METAVAR):
            return texts if option.multiple else ",".join(texts)
    else:
        return [_text(value)] if option.multiple else _text(value)
    raise ValueError(f"{value!r} is no value of this option")


def _text(value: object) -> str:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} is no value of this option")


def octal(value: str | int) -> int:
    """File permissions as chmod writes them: 660, in a TOML file a number or a text."""
    try:
        permissions = int(str(value), 8)
    except ValueError:
        permissions = -1
    if not 0 <= permissions <= 0o777:
        raise ValueError(f"{str(value)!r} is no permissions: write them as chmod does, 660")
    return permissions


def folder(path: str) -> None:
    """Raises ValueError when there is none."""
    if not os.path.isdir(path):
        raise ValueError(f"there is no folder {path!r}")


class Whole(click.IntRange):
    """A whole number within bounds; click's own name for it is "integer range"."""

    name = "integer"


class Checked(click.ParamType):  # type: ignore[type-arg]  # not generic in older ones
    """A text that a function finds good, or raises ValueError for.

    Args:
        splitter: what stands in the environment between several; None: spaces.
    """

    name = "text"

    def __init__(self, check: Callable[[str], object], splitter: str | None = "\n") -> None:
        self._check = check
        self.envvar_list_splitter = splitter  # type: ignore[misc]  # click reads it of the instance too

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Seconds(click.FloatRange):
    """A duration; 0 is one. "nan" is a float, but neither before nor after any moment."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds
