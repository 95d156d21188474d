"""What an option of the command line is, and the kinds of value that options take.

Must not know: any single option, or what a setting does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import click

ENVIRONMENT_PREFIX: Final = "WSFRAME_"


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        flags: "--port/-p" style names, the long one first; "--x/--no-x" pairs as click writes them.
        group: heading in the help. help: one sentence.
        setting: dotted path in Settings, or "" for what the command itself uses.
        kind: a click type. multiple: may be repeated.
        other_environment: variables that are looked at after our own, since other servers use them.
    """

    flags: tuple[str, ...]
    group: str
    help: str
    setting: str = ""
    kind: Any = str
    default: Any = None
    multiple: bool = False
    metavar: str | None = None
    other_environment: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The parameter's name: "ws_max_size"."""
        return self.flags[0].partition("/")[0].lstrip("-").replace("-", "_")

    @property
    def environment(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()


def octal(value: object) -> int:
    """File permissions as chmod writes them: 660, in a TOML file a number or a text."""
    permissions = int(str(value), 8)
    if not 0 <= permissions <= 0o777:
        raise ValueError
    return permissions


SECONDS: Final = click.FloatRange(0)
COUNT: Final = click.IntRange(1)
ANY_COUNT: Final = click.IntRange(0)
