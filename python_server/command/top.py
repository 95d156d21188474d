"""`wsframe top`: the status of a server as a live view.

Must not know: what a status says.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import click

from python_server.command.running import choosing, chosen
from python_server.command.status import ask, lines, summary
from python_server.net.system import REAL
from python_server.net.threads import BackgroundThread, Event

EVERY_SECONDS: Final = 1.0
END: Final = b"q"


@contextmanager
def key_pressed() -> Iterator[Event]:
    """Set once somebody presses the key that ends the view; where there is no keyboard, never."""
    pressed = Event()
    if not sys.stdin.isatty():
        yield pressed
        return
    import termios
    import tty

    def read() -> None:
        while os.read(descriptor, 1) not in (END, b""):  # `sys.stdin` would hold a lock at the end
            pass
        pressed.set()

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        BackgroundThread(read, "keys")
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@click.command("top")
@choosing
def top_command(port: int | None, bind: str | None, control_socket: str | None) -> None:
    """Show the status of a server, anew each second, until q or Ctrl+C.

    Rates and durations are of the time since the last refresh.
    """
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        raise click.ClickException(
            '`wsframe top` draws with rich: pip install "wsframe[top]" [missing-package]'
        ) from None
    server = chosen(port, bind, control_socket)
    console = Console()
    before, gone = ask(server), False
    with suppress(KeyboardInterrupt), key_pressed() as ended, Live(console=console, screen=True) as live:
        wait_seconds = EVERY_SECONDS
        while not ended.wait(wait_seconds):
            began = REAL.monotonic()
            after = ask(server)
            if not after:
                gone = True
                break
            text = lines(summary(server, before, after), console.height)
            live.update(Text("\n".join(text), overflow="ellipsis", no_wrap=True), refresh=True)
            before = after
            wait_seconds = max(0.1, EVERY_SECONDS - (REAL.monotonic() - began))
    if gone:
        click.echo(f"process {server.process} has ended")
