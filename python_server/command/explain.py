"""`wsframe explain CODE`: what caused a message that ends with a code in brackets, and what mends it.

Must not know: who says which message, or when.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.resources import files

import click


def sections() -> dict[str, str]:
    """What is said of each code; the first line says what has happened."""
    text = files("python_server.command").joinpath("errors.md").read_text("utf-8")
    parts = re.split(r"^## (.+)\n+", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))


@click.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, metavar="[CODE]")
def explain_command(words: tuple[str, ...]) -> None:
    """Say what caused a message that ends with [CODE], and what mends it.

    For example: wsframe explain port-in-use

    The whole message will do, too. Without a code: all of them, each with one line.
    """
    known = sections()
    if not words:
        width = max(map(len, known))
        for name, said in known.items():
            click.echo(f"{name:{width}}  {said.partition(chr(10))[0]}")
        return
    said = " ".join(words).strip()
    code = (re.search(r"\[([\w-]+)\]$", said) or [said, said])[1].lower()
    if code not in known:
        near = get_close_matches(code, known, 1)
        meant = f"did you mean {near[0]}?" if near else "`wsframe explain` lists all"
        raise click.UsageError(f"there is no code {code!r}: {meant}")
    click.echo(f"{code}: {known[code]}")
