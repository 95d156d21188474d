"""`wsframe connect`, for the list of commands: the codec's own terminal client, which needs no package.

Must not know: its options; the console script hands over to it before it imports the server.
"""

from __future__ import annotations

import sys

import click

from wsframe.__main__ import main


@click.command("connect", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("words", metavar="URL ...", nargs=-1, type=click.UNPROCESSED)
def connect_command(words: tuple[str, ...]) -> None:
    """A WebSocket in the terminal, or Socket.IO with --socketio."""
    sys.exit(main(["connect", *words]))
