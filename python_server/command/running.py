"""Which of this user's servers a command is for: by an option, or the only one there is.

Must not know: what the command does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from python_server.control.places import Server, servers, whole_address
from python_server.net.portability import user_id

Command = TypeVar("Command", bound=Callable[..., Any])


def choosing(command: Command) -> Command:
    """Decorator: the options that name a server; `chosen` takes their values."""
    for option in (
        click.option("--control-socket", metavar="PATH", help="Control socket of the server."),
        click.option(
            "--bind", "-b", metavar="ADDRESS", help="An address of the server: host:port, unix:/path."
        ),
        click.option(
            "--port",
            type=int,
            envvar="WSFRAME_PORT",
            show_envvar=True,
            help="Port of the server. Without one of these options: the only server that runs.",
        ),
    ):
        command = option(command)
    return command


def chosen(port: int | None, bind: str | None, control_socket: str | None) -> Server:
    """The one that the options name; the narrowest of them counts.

    Raises:
        click.ClickException: none, or several.
    """
    found = running = servers()
    if control_socket is not None:
        option, path = f"--control-socket {control_socket}", os.path.abspath(control_socket)
        found = [each for each in running if each.control == path]
    elif bind is not None:
        option, address = f"--bind {bind}", whole_address(bind)
        found = [each for each in running if address in each.addresses]
    elif port is not None:
        option = f"--port {port}"
        found = [each for each in running if str(port) in each.ports]
    else:
        option = ""
    if len(found) == 1:
        return found[0]
    choices = "; ".join(each.choice() for each in found or running)
    if found:
        raise click.ClickException(f"several servers run here, name one: {choices} [several-servers]")
    there = f"; there are {choices}" if running else ""
    named = f" has {option}" if option else " runs on this machine"
    raise click.ClickException(f"no server of this user (uid {user_id()}){named}{there} [no-running-server]")
