"""`wsframe reload`, `wsframe stop`, `wsframe dump`: what an operator tells a running server.

Must not know: how a server does it.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Final

import click

from python_server.command.running import choosing, chosen
from python_server.control.client import ask_workers
from python_server.control.places import Server, lives
from python_server.net.system import REAL

LOOK_SECONDS: Final = 0.05
# A thread answers; it waits for the interpreter alone.
DUMP_SECONDS: Final = 3.0


def send(server: Server, number: int) -> None:
    """Raises click.ClickException: the system does not let us."""
    try:
        os.kill(server.process, number)
    except OSError as error:
        raise click.ClickException(
            f"process {server.process}: {error.strerror} [no-running-server]"
        ) from None


@click.command("reload")
@choosing
def reload_command(port: int | None, bind: str | None, control_socket: str | None) -> None:
    """Have a server serve the new code, without refusing a connection.

    Several workers are replaced one by one. A single process finishes what runs and executes itself anew. The
    log says how it went; code that does not load leaves the old one in place.
    """
    server = chosen(port, bind, control_socket)
    send(server, signal.SIGHUP)
    click.echo(f"process {server.process} reloads; its log says when it is done")


@click.command("stop")
@choosing
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until it has ended.",
)
def stop_command(port: int | None, bind: str | None, control_socket: str | None, timeout: float) -> None:
    """Stop a server: what runs may finish within its --timeout-graceful. Waits until it has ended."""
    server = chosen(port, bind, control_socket)
    send(server, signal.SIGTERM)
    until = REAL.monotonic() + timeout
    while lives(server.process):
        if REAL.monotonic() >= until:
            raise click.ClickException(
                f"process {server.process} has not ended within {timeout:g} s: wait longer with --timeout, "
                f"or cut off what runs with `kill -QUIT {server.process}` [not-stopped]"
            )
        time.sleep(LOOK_SECONDS)
    click.echo(f"process {server.process} has ended")


@click.command("dump")
@choosing
@click.option("--stdout", is_flag=True, help="Print it as well.")
def dump_command(port: int | None, bind: str | None, control_socket: str | None, stdout: bool) -> None:
    """Write into the log where every thread of every worker stands, and what its loop and pools do.

    This works while a worker's loop stands still.
    """
    server = chosen(port, bind, control_socket)
    silent = []
    answers = ask_workers(server.control, "dump", DUMP_SECONDS, REAL.monotonic)
    if not answers:
        raise click.ClickException(
            f"process {server.process} has no workers that could be asked; its log says why [no-dump]"
        )
    for process, said in answers.items():
        if said is None:
            silent.append(process)
        elif stdout:
            click.echo(said.get("dump") or said.get("error"))
        else:
            click.echo(f"process {process} has written it into its log")
    if silent:
        processes = " ".join(map(str, silent))
        raise click.ClickException(
            f"nothing runs in {processes}: stopped, or within an extension that holds the interpreter; "
            f"`kill -ABRT {processes}` ends it with its stacks in the log [no-dump]"
        )
