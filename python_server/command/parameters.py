"""The table of options as click's parameters, under the table's headings in the help.

Must not know: any single option, or what a setting does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from python_server.command.options import APPLICATION, OPTIONS, default_of

# By the parameter's name; --config is the command's own.
HEADINGS: Final = {"config": APPLICATION} | {option.name: option.group for option in OPTIONS}
OTHER: Final = "Other"


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
        )(command)
    return command


class GroupedCommand(click.Command):
    """A command whose help shows its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*HEADINGS.values(), OTHER)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups[HEADINGS.get(parameter.name or "", OTHER)].append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)
