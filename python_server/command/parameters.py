"""The table of options as click's parameters, under the table's headings in the help.

Must not know: any single option, or what a setting does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from python_server.command.options import OPTIONS, default_of

# Where a command's context keeps what stands behind the script.
SCRIPT_ARGUMENTS: Final = "python_server.script_arguments"


def is_script(word: str) -> bool:
    """Does a word of the command line name a script, not an option or module:app?"""
    return word.endswith(".py") and not word.startswith("-")


def add_options(command: Callable[..., object]) -> Callable[..., object]:
    """Decorator: give a click command all options of the table."""
    for option in reversed(OPTIONS):
        default = default_of(option)
        command = click.option(
            *option.flags,
            option.name,
            help=option.help,
            type=None if option.kind is bool else option.kind,
            is_flag=option.kind is bool,
            default=default,
            show_default=default not in (None, False, (), ""),
            multiple=option.multiple,
            metavar=option.metavar,
            envvar=[option.environment, *option.other_environment],
            cls=GroupedOption,
            group=option.group,
        )(command)
    return command


class GroupedOption(click.Option):
    """An option that knows its heading."""

    def __init__(self, *args: Any, group: str = "Other", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help shows its options under headings; what stands behind a script is the script's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        script = next((place for place, word in enumerate(args) if is_script(word)), len(args))
        ctx.meta[SCRIPT_ARGUMENTS] = args[script + 1 :]
        return super().parse_args(ctx, args[: script + 1])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        groups["Other"] = groups.pop("Other", [])
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)
